"""Whether history is being written into a store: whoever concludes waits for it, but not for ever."""

from __future__ import annotations

from partition_world import NOW, World, fact, view

from actors.import_watch import PAUSE_US, ImportWatch
from events.types import ImportCompleted, ImportStarted


def watch(world: World) -> ImportWatch:
    return ImportWatch([world.state])


def test_an_import_that_stamps_its_facts_is_waited_for_until_it_is_complete() -> None:
    world = World()
    partition = world.opened()
    assert not watch(world).busy(NOW)
    partition.append([fact("s:import:j", 1, ImportStarted("j", "tcj", "abc", stamped=True))])
    assert watch(world).busy(NOW)
    partition.append([fact("s:import:j", 2, ImportCompleted("j", "tcj", "abc", events=5))])
    assert not watch(world).busy(NOW)


def test_one_that_keeps_its_times_to_itself_disturbs_nobody() -> None:
    world = World()
    world.opened().append([fact("s:import:j", 1, ImportStarted("j", "tcj", "abc"))])
    assert not watch(world).busy(NOW)


def test_one_whose_facts_stop_coming_is_not_waited_for() -> None:
    world = World()
    partition = world.opened()
    partition.append([fact("s:import:j", 1, ImportStarted("j", "tcj", "abc", stamped=True))])
    watching = watch(world)
    assert watching.busy(NOW)
    assert watching.busy(NOW + PAUSE_US - 1)
    assert not watching.busy(NOW + PAUSE_US)
    partition.append([view("ann", 2)])
    assert not watching.busy(NOW + PAUSE_US), "what others send meanwhile is no sign of it"
    partition.append([view("bob", 3, producer="j", seq=1)])
    assert watching.busy(NOW + PAUSE_US)
