"""Through a window of the log: time never leaks, whatever is planted in the future."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from small_shop import BASKETS, CATALOGUE, DAY, NOW, Facts, described, did

from actors.follower import Fact
from events.ids import Millis
from events.types import Meta
from training.dataset import gather, joined
from training.inventory import INVENTORY
from training.pseudo_requests import Asking, situations
from training.surface import SURFACES
from training.window import Moment, Window, choose_window, moments, window_since

PEOPLE = [bytes([number]) * 16 for number in range(1, 7)]
WINDOW = Window(NOW - 20 * DAY, NOW - 10 * DAY, NOW + 1, True, 1.0, 1.0, 1.0, seed=3)


def history() -> Facts:
    facts = Facts()
    for item in CATALOGUE:
        facts.add(described(item), NOW - 90 * DAY)
    for day in range(60, 0, -1):
        person = PEOPLE[day % len(PEOPLE)]
        facts.add(did("purchase", *BASKETS[day % len(BASKETS)]), NOW - day * DAY, person)
    return facts


def walked(facts: Sequence[Fact], window: Window = WINDOW) -> list[Moment]:
    return list(moments(facts, window))


def seen(moment: Moment) -> tuple[object, ...]:
    """Everything a policy could go by."""
    said = [Asking(INVENTORY, None).answer(one) for one in situations(SURFACES["home"], moment.items, *asked(moment))]
    return (
        moment.subject,
        moment.at,
        [moment.items.ids[item] for item in moment.taken],
        moment.history.recent.tolist(),
        moment.history.purchases.log2_sum.tolist(),
        [(one.idx.tolist(), one.features.tolist()) for one in said],
    )


def asked(moment: Moment) -> tuple[object, ...]:
    return moment.history, Millis(moment.at), moment.taken


def test_every_act_of_the_window_is_asked_for_in_its_order() -> None:
    found = walked(history().made)
    assert [moment.at for moment in found] == [NOW - day * DAY for day in range(20, 0, -1)]
    assert [moment.judging for moment in found] == [False] * 10 + [True] * 10
    assert {moment.acts for moment in found} <= set(range(6, 11))


def test_what_a_policy_sees_does_not_depend_on_anything_that_comes_later() -> None:
    """The same log with a planted future: a craze, a rewritten catalogue, tomorrow's orders of the same people."""
    plain = history()
    cut = [fact for fact in plain.made if fact.record.event_time < NOW - 5 * DAY]
    planted = Facts()
    planted.made = list(cut)
    for person in PEOPLE:
        for _ in range(20):
            planted.add(did("purchase", "wipes", "mint tea"), NOW - 4 * DAY, person)
    for item in CATALOGUE:
        planted.add(described(item, category="Elsewhere"), NOW - 4 * DAY)
    before = [seen(moment) for moment in moments(cut, WINDOW)]
    after = [seen(moment) for moment in moments(planted.made, WINDOW) if moment.at < NOW - 4 * DAY]
    assert len(before) == 15
    assert before == after


def test_the_act_itself_is_not_known_when_it_is_asked_for() -> None:
    facts = Facts()
    for item in CATALOGUE:
        facts.add(described(item), NOW - 90 * DAY)
    facts.add(did("purchase", "tea"), NOW - 30 * DAY, PEOPLE[0])
    facts.add(did("purchase", "milk"), NOW - 5 * DAY, PEOPLE[0])
    (moment,) = walked(facts.made)
    assert [moment.items.ids[item] for item in moment.history.purchases.idx.tolist()] == ["tea"]
    assert [moment.items.ids[item] for item in moment.taken] == ["milk"]


@pytest.mark.parametrize(
    "meta", [Meta(test=True), Meta(bot=True), Meta(consent={"personalization": False}), Meta(default_consent=False)]
)
def test_who_must_not_be_learned_from_is_not_asked_for(meta: Meta) -> None:
    facts = history()
    before = len(walked(facts.made))
    stranger = b"s" * 16
    facts.add(did("purchase", "tea"), NOW - DAY, stranger, meta)
    facts.add(did("purchase", "tea"), NOW - DAY // 2, stranger, meta)
    assert len(walked(facts.made)) == before


def test_samples_are_the_same_in_every_run_and_grow_with_their_share() -> None:
    facts = history().made
    some = Window(WINDOW.validation_from, WINDOW.judging_from, WINDOW.until, True, 1.0, 0.5, 0.5, seed=3)
    chosen = [moment.at for moment in walked(facts, some)]
    assert chosen == [moment.at for moment in walked(facts, some)]
    assert 0 < len(chosen) < 20
    assert set(chosen) <= {moment.at for moment in walked(facts)}


def test_a_window_is_the_last_days_and_as_many_before() -> None:
    rows = joined([gather(history().made)]).interactions
    window = choose_window(rows, 7, (4, 4), 100, seed=1)
    assert (window.until, window.judging_from) == (NOW - DAY + 1, NOW - 8 * DAY + 1)
    assert window.judging_from - window.validation_from == 7 * DAY
    assert window.judging == pytest.approx(4 / 7)
    assert choose_window(rows, 365, (9, 9), 100, seed=1).until == window.until
    young = choose_window(rows, 365, (9, 9), 100, seed=1)
    assert young.validation_from > int(rows.at[0]) + (rows.at[-1] - rows.at[0]) // 2


def test_a_log_without_acts_has_an_empty_window() -> None:
    rows = joined([gather([])]).interactions
    assert choose_window(rows, 7, (4, 4), 100, seed=1).judging == 0.0
    assert window_since(rows, NOW, 4, 100, seed=1).judging == 0.0


def test_a_window_since_holds_only_what_came_later() -> None:
    facts = history().made
    rows = joined([gather(facts)]).interactions
    window = window_since(rows, NOW - 4 * DAY, 100, 100, seed=1)
    found = walked(facts, window)
    assert [moment.at for moment in found] == [NOW - day * DAY for day in (4, 3, 2, 1)]
    assert all(moment.judging for moment in found)


def test_where_nobody_buys_any_act_is_asked_for() -> None:
    facts = Facts()
    for number in range(20):
        facts.add(did("view", "tea" if number % 2 else "milk"), NOW - (20 - number) * DAY, PEOPLE[0])
    rows = joined([gather(facts.made)]).interactions
    window = choose_window(rows, 3, (100, 100), 10, seed=1)
    assert not window.bought
    assert len(walked(facts.made, window)) == len(np.unique(rows.event[rows.at >= window.validation_from]))
