"""Writes rectools_figures.json: what RecTools says of made-up lists. RecTools needs numpy 1 and pandas 2, so it runs in
an environment of its own (``pip install rectools==0.19.0``) and its figures lie here:

    python tests/training/evaluation/rectools_figures.py tests/training/evaluation/rectools_figures.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import rectools
from rectools import Columns, metrics

ITEMS, DEPTH = 25, 10


def main(out: Path) -> None:
    rng = np.random.default_rng(0)
    ranked = [rng.permutation(ITEMS)[:DEPTH].tolist() for _ in range(40)]
    wanted = [sorted(rng.permutation(ITEMS)[: rng.integers(1, 13)].tolist()) for _ in range(40)]
    reco = pd.DataFrame(
        [(user, item, rank) for user, items in enumerate(ranked) for rank, item in enumerate(items, 1)],
        columns=[Columns.User, Columns.Item, Columns.Rank],
    )
    acts = pd.DataFrame(
        [(user, item) for user, items in enumerate(wanted) for item in items], columns=[Columns.User, Columns.Item]
    )
    figures = {}
    for k in (1, 5, 10):
        asked = {
            f"ndcg@{k}": metrics.NDCG(k, divide_by_achievable=True),
            f"hr@{k}": metrics.HitRate(k),
            f"recall@{k}": metrics.Recall(k),
            f"precision@{k}": metrics.Precision(k),
            f"mrr@{k}": metrics.MRR(k),
            f"map@{k} by all wanted": metrics.MAP(k),
        }
        for name, metric in asked.items():
            figures[name] = metric.calc_per_user(reco, acts).sort_index().tolist()
        figures[f"coverage@{k}"] = metrics.CatalogCoverage(k, normalize=True).calc(reco, list(range(ITEMS)))
    made = {"rectools": rectools.__version__, "items": ITEMS, "ranked": ranked, "wanted": wanted, "figures": figures}
    out.write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
