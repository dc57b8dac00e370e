from __future__ import annotations

from itertools import pairwise
from random import Random

from partition_world import NOW, World, fact, view

from actors.profile import EMPTY, digest
from events.ids import Key
from events.types import Consented, Identified, Impression, Interaction, Line, Visited

ANN = Key("u:ann")


def some_fact(random: Random, number: int) -> object:
    kind = random.randrange(6)
    item = f"item-{random.randrange(4)}"
    event = (
        Interaction(random.choice(["view", "cart", "purchase", "refund"]), (Line(item, "A > B", quantity=2.0),)),
        Impression((item, "x")),
        Visited("home", dwell_ms=100),
        Identified({"plan": number}),
        Consented({"personalization": random.random() < 0.7}),
        Interaction("click", (Line(item),)),
    )[kind]
    return fact(random.choice(["u:ann", "u:ann", "u:bob"]), number, event)  # type: ignore[arg-type]


def test_as_of_a_time_equals_the_view_returned_live_at_that_version() -> None:
    for seed in range(15):
        world, random = World(seed), Random(seed)
        partition = world.opened()
        live = [(NOW - 1, EMPTY)]
        for number in range(1, 25):
            world.clock.advance(random.randrange(1, 5_000_000))
            partition.append([some_fact(random, number)])  # type: ignore[list-item]
            profile = world.history().profile(ANN)
            live.append((world.records()[-1].appended, EMPTY if profile is None else profile))
        history = world.history()
        for appended, profile in live:
            assert digest(history.as_of(ANN, appended)) == digest(profile)
        for (before, profile), (after, _) in pairwise(live):
            assert digest(history.as_of(ANN, (before + after) // 2)) == digest(profile)


def test_as_of_before_the_first_fact_nothing_is_known() -> None:
    world = World()
    world.opened().append([view("ann", 1)])
    assert world.history().as_of(ANN, NOW - 1) == EMPTY
    assert world.history().as_of(ANN, NOW).version == 1
    assert world.history().as_of(Key("u:nobody"), NOW) == EMPTY


def test_a_walk_ends_at_the_start_of_a_trimmed_log() -> None:
    world = World()
    partition = world.opened()
    for number in range(400):
        partition.append([view("ann", number)])
    start = world.ports.log.trim(200)
    assert 0 < start <= 200
    assert [told.record.lsn for told in world.history().walk(ANN)] == list(range(399, start - 1, -1))


def test_only_the_chain_is_read() -> None:
    world = World()
    partition = world.opened()
    partition.append([view("ann" if number % 10 == 0 else f"other-{number}", number) for number in range(100)])
    assert [told.record.lsn for told in world.history().events(ANN, 4)] == [90, 80, 70, 60]
    assert len(list(world.history().walk(ANN))) == 10
