"""Prequential evaluation through the recommenders that serve."""

from __future__ import annotations

import numpy as np
from small_shop import BASKETS, CATALOGUE, DAY, NOW, Facts, described, did

from training.evaluation.prequential import Answer, Ranked, measured, served, walk
from training.initial_blend import alone_weights
from training.inventory import INVENTORY
from training.pseudo_requests import Asking, Situation
from training.surface import SURFACES
from training.window import Window

PEOPLE = [bytes([number]) * 16 for number in range(1, 7)]
WINDOW = Window(NOW - 20 * DAY, NOW - 10 * DAY, NOW + 1, True, 1.0, 1.0, 1.0, seed=3)
HOME = SURFACES["home"]


def history(planted: bool = False) -> Facts:
    """Six people, an order a day. ``planted``: near the end everybody buys what nobody had heard of before."""
    facts = Facts()
    for item in CATALOGUE:
        facts.add(described(item), NOW - 90 * DAY)
    for day in range(60, 0, -1):
        basket = BASKETS[day % len(PEOPLE)]
        facts.add(did("purchase", *basket), NOW - day * DAY, PEOPLE[day % len(PEOPLE)])
        if planted and day == 5:
            facts.add(described("from the future"), NOW - day * DAY + 1)
            for place, person in enumerate(PEOPLE):
                facts.add(did("purchase", "from the future"), NOW - day * DAY + 2 + place, person)
    return facts


def answers(facts: Facts, window: Window = WINDOW) -> list[Answer]:
    return list(walk(facts.made, served(Asking(INVENTORY, None)), HOME, window))


def test_habits_are_found_by_what_serves() -> None:
    found = measured(answers(history()))
    assert found.values["recall@10"].mean() > 0.9
    assert len(found.subjects) == len(found.values["ndcg@10"]) == 20


def test_what_happens_later_changes_no_answer_before_it() -> None:
    plain, planted = answers(history()), answers(history(planted=True))
    moment = NOW - 5 * DAY
    before = [answer for answer in planted if answer.at < moment]
    assert len(before) == 15
    assert [shown(answer) for answer in before] == [shown(answer) for answer in plain[:15]]
    assert any(len(answer.ranked) for answer in before)


def shown(answer: Answer) -> tuple[object, ...]:
    return answer.at, answer.ranked.tolist(), answer.score.tolist(), answer.wanted


def test_a_policy_sees_the_profile_without_the_act_it_is_asked_about() -> None:
    facts = Facts()
    for item in CATALOGUE:
        facts.add(described(item), NOW - 90 * DAY)
    facts.add(did("purchase", "tea"), NOW - 3 * DAY, PEOPLE[0])
    facts.add(did("purchase", "milk"), NOW - 2 * DAY, PEOPLE[0])
    seen: list[tuple[list[str], list[str]]] = []

    def policy(situation: Situation, slots: int) -> Ranked:
        ids = situation.items.ids
        bought = situation.history.purchases.idx.tolist()
        seen.append(([ids[item] for item in bought], [ids[item] for item in situation.wanted]))
        return np.empty(0, np.int32), np.empty(0)

    found = list(walk(facts.made, policy, HOME, WINDOW))
    assert seen == [([], ["tea"]), (["tea"], ["milk"])]
    assert [answer.new == answer.wanted for answer in found] == [True, True]


def test_the_same_seed_samples_the_same_requests() -> None:
    window = Window(NOW - 20 * DAY, NOW - 10 * DAY, NOW + 1, True, 1.0, 0.5, 0.5, seed=7)
    first, again = answers(history(), window), answers(history(), window)
    assert 0 < len(first) < 20
    assert [shown(answer) for answer in first] == [shown(answer) for answer in again]


def test_a_blend_orders_the_list() -> None:
    asking = Asking(INVENTORY, None)
    weights = alone_weights(asking.names, "popularity")
    popular = next(iter(walk(history().made, served(asking, weights), HOME, WINDOW, slots=3)))
    fixed = next(iter(walk(history().made, served(asking), HOME, WINDOW, slots=3)))
    assert len(popular.ranked) == 3
    assert popular.ranked.tolist() != fixed.ranked.tolist()


def test_new_items_are_measured_on_lists_without_what_was_bought_before() -> None:
    def one(wanted: tuple[int, ...], new: tuple[int, ...]) -> Answer:
        known = np.array([5], np.int32)
        return Answer(1, NOW, True, np.array([5, 6, 7], np.int32), np.zeros(3), wanted, new, known)

    found = measured([one((5, 7), (7,)), one((5,), ())], new_only=True)
    assert found.values["mrr@10"].tolist() == [0.5]
    assert measured([], new_only=True).values == {}
