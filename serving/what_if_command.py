"""``everfold what-if``: what another configuration would have earned, and what it would show a few people now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from actors.item_reader import LocalItems
from actors.item_view import ItemSource
from actors.lmdb_state import LmdbReader
from actors.reader import LocalProfiles
from actors.store import Store
from events.clock import Clock, ManualClock
from events.errors import BadRequest
from events.ids import Key, Micros, anonymous_key, user_key
from serving.answer import AnsweredItem, RecommendRequest
from serving.decision_period import Period, open_period, since_of
from serving.recommend import Answerer
from serving.replica import rules_of
from serving.settings import Settings
from serving.weights import FOLDER as LEARNED
from serving.weights import PublishedWeights, Weights
from serving.what_if import Asking, Judged, what_if
from training.evaluation.intervals import Interval
from training.model import FOLDER as MODELS
from training.model import load
from training.ope.estimators import UNBIASED
from training.ope.evaluation import HEADLINE, Evaluation
from training.surface import Surface

LISTED: Final = 12
"""Items shown of a person's list."""


@dataclass(frozen=True)
class Supposing:
    """What is supposed, and over which period. ``profiles``: user ids, or ``a:`` + anonymous ids."""

    config: Path
    data: Path
    since: str
    profiles: Sequence[str] = ()
    seed: int = 0


@dataclass(frozen=True)
class _Both:
    """A store under the configuration it has and the one to be tried, at one moment."""

    store: Store
    before: Settings
    after: Settings
    now: Micros

    def changed(self) -> dict[str, Surface]:
        """The rules to be tried of every surface that has others now. One that is new was never answered."""
        old, new = self.before.all_surfaces(), self.after.all_surfaces()
        return {name: surface for name, surface in new.items() if name in old and old[name] != surface}


def suppose(what: Supposing, environ: Mapping[str, str], clock: Clock, out: Console) -> bool:
    """Judge every surface that ``config`` changes, and print it; whether any of them could be judged.

    Raises `BadSettings` for a configuration that is none, `BadRequest` for one that changes nothing, `NotFound` for a
    folder without a store.
    """
    both = _Both(
        Store.open(what.data), Settings.load(what.data, environ), Settings.read(what.config, environ), clock.now()
    )
    changed = both.changed()
    if not changed:
        raise BadRequest(f"{what.config} changes no surface of {what.data}: there is nothing to compare")
    period = Period(since_of(what.since, both.now), both.now)
    judged = _judged(both, changed, period, what.seed)
    for one in judged:
        print_judged(one, out)
    for name in what.profiles:
        _print_lists(both, _key(name), sorted(changed), out)
    return any(not one.evaluation.refusals for one in judged)


def _judged(both: _Both, changed: Mapping[str, Surface], period: Period, seed: int) -> list[Judged]:
    items = LocalItems(both.store.path)
    try:
        with open_period(both.store.path) as reading, _answerer(both, both.after, items) as answerer:
            windows = both.before.learning.learner().windows
            return what_if(reading, period, both.now, Asking(changed, answerer.ranked, seed, windows=windows))
    finally:
        items.close()


@contextmanager
def _answerer(both: _Both, settings: Settings, items: ItemSource) -> Iterator[Answerer]:
    """Answers by these settings, with the learned weights and the model that are serving; keeps nothing. Its clock
    stands, so that no recommender is ever too slow: what is estimated must not depend on how busy this machine is."""
    path = both.store.path
    published = PublishedWeights(LmdbReader(path / LEARNED))
    weights = Weights(published, lambda identity: load(path / MODELS, identity))
    try:
        yield Answerer(items, None, ManualClock(both.now), rules_of(both.store, settings), weights)
    finally:
        weights.close()


# ---- printing ----------------------------------------------------------------------------------------------------


def print_judged(judged: Judged, out: Console) -> None:
    """One surface: the headline or the refusals, what they stand on, and the table of all estimators."""
    found = judged.evaluation
    looked = "" if judged.share >= 1 else f" ({judged.share:.0%} of the people looked at)"
    out.print(
        f"\n[bold]{escape(judged.surface)}[/bold]: {judged.lists:,} answers, {judged.seen:,} of them seen{looked}"
    )
    if judged.lost:
        out.print(f"  left out: {judged.lost:,} whose profile the log no longer reaches back to")
    for refusal in found.refusals:
        out.print(f"  no estimate, {refusal.reason}: {refusal.text}", soft_wrap=True, markup=False)
    if found.headline is not None and found.baseline is not None:
        relative, value, base = found.headline.relative, found.headline.value, found.baseline
        out.print(
            f"  estimated lift {_percent(relative)}: {_plain(value)} instead of {_plain(base)} per answer",
            soft_wrap=True,
        )
    if found.support:
        _print_support(found, out)
        out.print(_table(found))


def _print_support(found: Evaluation, out: Console) -> None:
    cascade = found.support["cascade"]
    left = found.left
    out.print(
        f"  slots judged: {found.depth} of {found.slots}; {found.slates:,} answers to {found.people:,} people; "
        f"left out: {left.test:,} test answers, {left.forced:,} forced slots",
        soft_wrap=True,
    )
    effective = ", ".join(f"{size:.0f}" for size in cascade.effective)
    out.print(f"  effective sample size by slot: {effective}", soft_wrap=True)
    out.print(
        f"  mean weight {cascade.mean.value:.3f} ± {cascade.mean.standard_error:.3f}, largest {cascade.largest:.1f}; "
        f"beyond the log: {found.unsupported:.1%} of its choices",
        soft_wrap=True,
    )


def _table(found: Evaluation) -> Table:
    """Every estimate; the headline first."""
    table = Table("weights", "estimator", "effective", "per answer", "lift", "", box=None, pad_edge=False)
    for (structure, name), lift in found.estimates.items():
        effective = min(found.support[structure].effective[: max(found.depth, 1)])
        mark = "headline" if (structure, name) == HEADLINE else "" if name in UNBIASED else "biased"
        table.add_row(structure, name, f"{effective:.0f}", f"{lift.value.value:.4f}", _percent(lift.relative), mark)
    return table


def _plain(interval: Interval) -> str:
    return f"{interval.value:.4f} \\[{interval.low:.4f}, {interval.high:.4f}]"


def _percent(interval: Interval) -> str:
    return f"{interval.value:+.1%} \\[{interval.low:+.1%}, {interval.high:+.1%}]"


# ---- a few people ------------------------------------------------------------------------------------------------


def _key(name: str) -> Key:
    """Raises `BadId`."""
    return anonymous_key(name[2:]) if name.startswith("a:") else user_key(name)


def _print_lists(both: _Both, key: Key, surfaces: Sequence[str], out: Console) -> None:
    """What this person would be shown now, before and after."""
    items, profiles = LocalItems(both.store.path), LocalProfiles(both.store)
    try:
        for surface in surfaces:
            old, new = (
                _answer(both, settings, items, profiles, key, surface) for settings in (both.before, both.after)
            )
            out.print(f"\n[bold]{key[2:]}[/bold] on {surface}", highlight=False)
            out.print(_side_by_side(old, new))
    finally:
        profiles.close()
        items.close()


def _answer(
    both: _Both, settings: Settings, items: ItemSource, profiles: LocalProfiles, key: Key, surface: str
) -> list[AnsweredItem]:
    """The same noise for both, so that what differs differs because of the configuration."""
    known, anonymous = (key[2:], "") if key.startswith("u:") else ("", key[2:])
    request = RecommendRequest(
        user_id=known, anonymous_id=anonymous, n=LISTED, surface=surface, as_of=both.now, details=True
    )
    with _answerer(both, settings, items) as answerer:
        profile = profiles.glance(key).profile if answerer.reads(request) else None
        return answerer.recommend(request, profile).items


def _side_by_side(old: Sequence[AnsweredItem], new: Sequence[AnsweredItem]) -> Table:
    table = Table("slot", "before", "after", "", box=None, pad_edge=False)
    stood = {one.item_id: slot for slot, one in enumerate(old, 1)}
    for slot in range(max(len(old), len(new))):
        left = _named(old[slot]) if slot < len(old) else ""
        right = _named(new[slot]) if slot < len(new) else ""
        moved = _moved(new[slot].item_id, slot + 1, stood) if slot < len(new) else ""
        table.add_row(str(slot + 1), left, right, moved)
    return table


def _moved(item: str, slot: int, stood: Mapping[str, int]) -> str:
    """Where it came from."""
    before = stood.get(item)
    if before is None:
        return "new"
    return "" if before == slot else f"from {before}"


def _named(item: AnsweredItem) -> str:
    title = str(item.item.get("title") or "") if item.item else ""
    return escape(f"{title} ({item.item_id})" if title and title != item.item_id else item.item_id)
