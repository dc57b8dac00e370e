"""Our accuracy metrics are those of trec_eval (through pytrec_eval) and of RecTools, which share no line with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from training.evaluation.metrics import Relevant, accuracy, accuracy_at_ranks, coverage, mean_ranks, top

FIGURES = Path(__file__).with_name("rectools_figures.json")
REQUESTS, ITEMS, DEPTH = 150, 60, 30


def made(seed: int) -> tuple[np.ndarray, list[set[int]]]:
    """Lists of different lengths over a small catalogue, and one to twenty wanted items each."""
    rng = np.random.default_rng(seed)
    ranked = np.array([rng.permutation(ITEMS)[:DEPTH] for _ in range(REQUESTS)])
    ranked[np.arange(DEPTH) >= rng.integers(1, DEPTH + 1, REQUESTS)[:, None]] = -1
    wanted = [set(rng.permutation(ITEMS)[: rng.integers(1, 21)].tolist()) for _ in range(REQUESTS)]
    return ranked, wanted


def theirs(ranked: np.ndarray, wanted: list[set[int]], measures: set[str]) -> list[dict[str, float]]:
    """trec_eval orders by score, so ranks become falling scores. It leaves out requests with an empty list."""
    asked = {f"{row:04d}": {str(item): 1 for item in items} for row, items in enumerate(wanted)}
    run = {
        f"{row:04d}": {str(item): float(DEPTH - rank) for rank, item in enumerate(items) if item >= 0}
        for row, items in enumerate(ranked.tolist())
    }
    found = pytrec_eval.RelevanceEvaluator(asked, measures).evaluate(run)
    return [found[name] for name in sorted(found)]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_accuracy_equals_trec_eval(seed: int, k: int) -> None:
    ranked, wanted = made(seed)
    ours = accuracy(ranked, Relevant.of(wanted), k)
    cut = theirs(ranked[:, :k], wanted, {"ndcg_cut", "recall", "P", "recip_rank", "map_cut", "success"})
    assert len(cut) == REQUESTS
    full = theirs(ranked, wanted, {f"ndcg_cut.{k}", f"recall.{k}", f"P.{k}", f"map_cut.{k}", f"success.{k}"})
    for row, (short, whole) in enumerate(zip(cut, full, strict=True)):
        assert ours[f"ndcg@{k}"][row] == pytest.approx(whole[f"ndcg_cut_{k}"], abs=1e-6)
        assert ours[f"recall@{k}"][row] == pytest.approx(whole[f"recall_{k}"], abs=1e-6)
        assert ours[f"precision@{k}"][row] == pytest.approx(whole[f"P_{k}"], abs=1e-6)
        assert ours[f"hr@{k}"][row] == whole[f"success_{k}"]
        assert ours[f"mrr@{k}"][row] == pytest.approx(short["recip_rank"], abs=1e-6)
        # trec_eval divides average precision by all wanted items, we by at most k: a list of k cannot hold more
        ours_by_all = ours[f"map@{k}"][row] * min(len(wanted[row]), k) / len(wanted[row])
        assert ours_by_all == pytest.approx(whole[f"map_cut_{k}"], abs=1e-6)


def test_leave_one_out_ranks_equal_trec_eval() -> None:
    rng = np.random.default_rng(3)
    scores, target = rng.random((REQUESTS, ITEMS)), rng.integers(0, ITEMS, REQUESTS)
    ours = accuracy_at_ranks(mean_ranks(scores, target), 10)
    found = theirs(top(scores, DEPTH), [{int(item)} for item in target], {"ndcg_cut.10", "success.10"})
    assert ours["ndcg@10"].tolist() == pytest.approx([row["ndcg_cut_10"] for row in found], abs=1e-6)
    assert ours["hr@10"].tolist() == [row["success_10"] for row in found]


def test_accuracy_and_coverage_equal_rectools() -> None:
    """RecTools does not install beside numpy 2, so its figures lie in a file (see rectools_figures.py)."""
    made_there = json.loads(FIGURES.read_text())
    ranked, wanted = np.array(made_there["ranked"]), [set(items) for items in made_there["wanted"]]
    for name, figures in made_there["figures"].items():
        metric, k = name.split(" ")[0], int(name.split("@")[1].split(" ")[0])
        if metric.startswith("coverage"):
            assert coverage(ranked[:, :k], made_there["items"]) == pytest.approx(figures)
            continue
        ours = accuracy(ranked, Relevant.of(wanted), k)[metric]
        if metric.startswith("map"):  # RecTools too divides by all wanted items
            sizes = np.array([len(items) for items in wanted])
            ours = ours * np.minimum(sizes, k) / sizes
        assert ours.tolist() == pytest.approx(figures), name
    assert len(made_there["figures"]) == 21
