"""Segment actors from outside: addressed by name, paged in a total order, with their history."""

from __future__ import annotations

import pytest
from segment_world import DAY, HOUR, MINUTE, SegmentWorld

from actors.segment_follower import Pace
from actors.segment_reader import HOURS, MINUTES, SegmentActors


@pytest.fixture
def world() -> SegmentWorld:
    world = SegmentWorld()
    world.define("viewers", "did(view)")
    world.define("buyers", "did(purchase)")
    world.settle()
    for user in range(30):
        world.does(f"v{user}", "view")
    for user in range(0, 30, 3):
        world.does(f"v{user}", "purchase")
    world.settle()
    return world


def actors(world: SegmentWorld) -> SegmentActors:
    return SegmentActors(world.store, 2)


def test_members_come_in_one_order_that_any_page_may_stop_in(world: SegmentWorld) -> None:
    viewers = actors(world).actor("viewers")
    numbers = list(viewers.numbers())
    assert len(numbers) == 30
    assert numbers == sorted(numbers)
    assert [member.number for member in viewers.members()] == numbers
    assert [member.number for member in viewers.members(above=numbers[9])] == numbers[10:]


def test_members_are_asked_for_by_the_other_segments_they_are_in(world: SegmentWorld) -> None:
    viewers = actors(world).actor("viewers")
    buyers = set(actors(world).actor("buyers").numbers())
    assert {member.number for member in viewers.members(also=["buyers"])} == buyers
    assert {member.number for member in viewers.members(without=["buyers"])} == set(viewers.numbers()) - buyers
    assert list(viewers.members(also=["nobody-defined-this"])) == []
    assert len(list(viewers.members(without=["nobody-defined-this"]))) == 30


def test_a_membership_tells_since_when_and_why(world: SegmentWorld) -> None:
    buyers = actors(world).actor("buyers")
    number = next(buyers.numbers())
    told = actors(world).of(number)
    assert list(told) == ["buyers", "viewers"]
    assert told["buyers"] == buyers.membership(number)
    assert told["buyers"].evidence == {"cause": "fact", "version": 1, "values": {"did(purchase)": True}}
    assert told["viewers"].since <= told["buyers"].since <= world.now // 1000


def test_counts_of_the_past_are_the_present_ones_with_what_came_since_taken_back(world: SegmentWorld) -> None:
    noon = world.now // 1000
    for hours in range(1, 60):
        world.passes(HOUR)
        world.does(f"later{hours}", "purchase")
        world.settle()
    now, buyers = world.now // 1000, actors(world).actor("buyers")
    assert [buyers.count_at(noon + hours * HOUR, now) for hours in (0, 1, 30, 59)] == [10, 11, 40, 69]
    assert buyers.moved(now - DAY, now).entered == 24
    assert len(buyers.history(HOURS, 0, now)) == 60
    assert len(buyers.history(MINUTES, 0, now)) == 49  # those of two days are kept
    assert buyers.history(MINUTES, now - HOUR, now)[-1].members == 69


def test_how_far_a_new_definition_was_looked_at_is_told_until_its_members_are_exact() -> None:
    world = SegmentWorld(pace=Pace(slice=4))
    for user in range(40):
        world.does(f"v{user}", "view")
    world.define("viewers", "did(view)")
    seen = []
    for _ in range(40):
        world.follower.step(world.now)
        world.follower.send(world.append)
        live = actors(world).actor("viewers").live()
        assert live is not None
        assert live.members == len(list(actors(world).actor("viewers").numbers()))
        seen.append((live.phase, live.progress))
    shares = [progress for phase, progress in seen if phase == "filling"]
    assert shares == sorted(shares)
    assert len(set(shares)) > 5
    assert seen[-1] == ("live", 1.0)


def test_a_segment_nobody_defined_is_an_empty_one(world: SegmentWorld) -> None:
    nobody = actors(world).actor("nobody")
    assert (nobody.live(), list(nobody.members()), nobody.history(HOURS, 0, DAY), nobody.count_at(0, MINUTE)) == (
        None,
        [],
        [],
        0,
    )


def test_every_segment_tells_how_many_it_has_and_had(world: SegmentWorld) -> None:
    world.drop("buyers")
    world.settle()
    all_of_them = actors(world).all()
    assert [(live.name, live.members, live.entered, live.exited) for live in all_of_them] == [("viewers", 30, 30, 0)]
    assert actors(world).clock() >= world.now // 1000
