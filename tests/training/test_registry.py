"""Which model serves, which may, and which are removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from artefacts import made, verdict
from hypothesis import given
from hypothesis import strategies as st

from actors.locking import is_alive
from events.errors import Conflict, Corrupt, NotFound
from events.types import ModelPromoted
from training.registry import STALE_S, Judged, Registry, Standing, standing


def test_what_serves_is_what_the_facts_add_up_to() -> None:
    facts = [ModelPromoted("m1"), ModelPromoted("m2", "m1"), ModelPromoted("m3", "m2")]
    assert standing([]) == Standing()
    assert standing(facts) == Standing("m3", "m2", ("m1", "m2", "m3"))


def test_rolling_back_twice_goes_back_twice() -> None:
    facts = [ModelPromoted("m1"), ModelPromoted("m2"), ModelPromoted("m1", rollback=True)]
    assert standing(facts) == Standing("m1", "", ("m1", "m2"))
    assert standing([*facts, ModelPromoted("", rollback=True)]) == Standing("", "", ("m1", "m2"))


@given(st.lists(st.sampled_from(["m1", "m2", "m3"]), max_size=8))
def test_as_many_rollbacks_as_promotions_lead_to_the_start(models: list[str]) -> None:
    facts = [ModelPromoted(model) for model in models]
    while (now := standing(facts)).champion:
        facts.append(ModelPromoted(now.predecessor, now.champion, rollback=True))
        assert standing(facts).champion == now.predecessor
    assert len(facts) <= 2 * len(models)


def test_only_judged_models_that_were_not_rejected_may_serve(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    good, shadow = made(tmp_path, 1), made(tmp_path, 2, "shadow")
    bad, new = made(tmp_path, 3, "reject"), made(tmp_path, 4, None)
    assert registry.check(good).verdict.decision == "promote"
    assert registry.check(shadow).verdict.decision == "shadow"
    with pytest.raises(Conflict, match="because reject"):
        registry.check(bad)
    with pytest.raises(Conflict, match="never judged"):
        registry.check(new)
    for nobody in ("0" * 32, "../../etc", "verdicts", ""):
        with pytest.raises(NotFound):
            registry.check(nobody)


def test_a_damaged_artefact_may_not_serve(tmp_path: Path) -> None:
    model = made(tmp_path, 1)
    path = tmp_path / "models" / model / "ease.weight.npy"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(Corrupt, match=r"ease\.weight\.npy"):
        Registry(tmp_path).check(model)


def test_a_damaged_verdict_lets_nothing_pass(tmp_path: Path) -> None:
    model = made(tmp_path, 1)
    (tmp_path / "models" / "verdicts" / model).write_text('{"model": 1}')
    with pytest.raises(Corrupt, match="not a verdict"):
        Registry(tmp_path).check(model)


def test_every_model_has_a_state(tmp_path: Path) -> None:
    one, two, three = (made(tmp_path, number) for number in (1, 2, 3))
    rejected, shadow, unjudged = made(tmp_path, 4, "reject"), made(tmp_path, 5, "shadow"), made(tmp_path, 6, None)
    waiting = made(tmp_path, 7)
    now = standing([ModelPromoted(model) for model in (one, two, three)])
    states = {model: Registry(tmp_path).state(model, now) for model in Registry(tmp_path).ids()}
    assert states == {
        one: "retired",
        two: "predecessor",
        three: "champion",
        rejected: "rejected",
        shadow: "shadow",
        unjudged: "unjudged",
        waiting: "accepted",
    }


def test_a_damaged_verdict_hides_no_other_model(tmp_path: Path) -> None:
    damaged, shadow = made(tmp_path, 1, "shadow"), made(tmp_path, 2, "shadow")
    registry = Registry(tmp_path)
    registry.keep(Judged(shadow, verdict("shadow"), 5, shadow_until=9))
    (tmp_path / "models" / "verdicts" / damaged).write_bytes(b"\xff")
    assert [registry.state(model, Standing()) for model in (damaged, shadow)] == ["unreadable", "shadow"]
    assert registry.readable(damaged) is None
    assert [one.model for one in registry.waiting(Standing())] == [shadow]


def test_a_model_that_served_waits_for_no_verdict(tmp_path: Path) -> None:
    """Somebody took it back: a shadow period that ends must not bring it in again."""
    models = [made(tmp_path, number) for number in (1, 2, 3)]
    registry = Registry(tmp_path)
    for number, model in enumerate(models):
        registry.keep(Judged(model, verdict("shadow"), number, shadow_until=9))
    assert [one.model for one in registry.waiting(Standing())] == models[::-1]
    taken_back = standing([ModelPromoted(models[1]), ModelPromoted("", models[1], rollback=True)])
    assert [one.model for one in registry.waiting(taken_back)] == [models[2], models[0]]


def test_what_a_killed_run_left_is_removed_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    kept = made(tmp_path, 1)
    registry, folder = Registry(tmp_path), tmp_path / "models"
    ours, dead = os.getpid(), 999_999_999
    names = (f".new-{kept}-{dead}", f".bad-{kept}-{dead}", f".new-{'a' * 32}-{ours}")
    for name in names:
        (folder / name).mkdir()
        (folder / name / "items.msgpack").write_bytes(b"x")
    (folder / "verdicts" / f".{kept}.{dead}").write_bytes(b"{")
    (folder / f".last.json.{dead}").write_bytes(b"{")
    now = (folder / names[2]).stat().st_mtime
    assert registry.sweep(now, is_alive) == 4
    assert sorted(entry.name for entry in folder.iterdir()) == sorted([kept, "verdicts", names[2]])
    assert registry.sweep(now + STALE_S + 1, is_alive) == 1, "its number is another process's by now"
    assert registry.check(kept).model == kept
    assert Registry(tmp_path / "nothing").sweep(now, is_alive) == 0


def test_old_artefacts_go_but_never_the_champion_nor_its_predecessor(tmp_path: Path) -> None:
    models = [made(tmp_path, number) for number in range(1, 8)]
    registry = Registry(tmp_path)
    now = Standing(champion=models[1], predecessor=models[0])
    assert registry.collect(now, using=(models[2],), kept=2) == models[3:5]
    assert set(registry.ids()) == {*models[:3], *models[5:]}
    assert registry.judged(models[3]) is None
    assert registry.collect(now, kept=10) == []


def test_a_folder_without_models_has_none(tmp_path: Path) -> None:
    assert Registry(tmp_path).ids() == []
    assert Registry(tmp_path).collect(Standing()) == []
