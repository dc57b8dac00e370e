"""Deaths at every step between a draft and its acknowledgement: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from partition_world import FOLDER, SECRETS, World, fact, fact_id, view

from actors.partition import Partition
from events.errors import KeyMissing, SyncFailed
from events.ids import Key
from events.memory_disk import Crashed
from events.types import ItemUpserted, SubjectErased
from events.vault import Vault, open_slots

Op = Callable[[Partition], object]

BATCHES = [
    [view("ann", 1), view("bob", 2)],
    [view("ann", 3), view("ann", 1), view("eve", 4), fact("u:eve", 5, SubjectErased())],
    [view("bob", 6), view("ann", 7, producer="outbox", seq=1), fact("i:tea", 8, ItemUpserted("tea"))],
]
OPS: list[Op] = [
    *(lambda partition, batch=batch: partition.append(batch) for batch in BATCHES[:2]),
    lambda partition: partition.erase(Key("u:bob")),
    lambda partition: partition.append(BATCHES[2]),
]
KEPT = Counter({fact_id(number): 1 for number in (1, 2, 3, 4, 6, 7, 8)})


def finished(world: World, steps: Callable[[str], None] = lambda step: None) -> None:
    partition = world.opened(steps)
    for op in OPS:
        op(partition)


@pytest.fixture(scope="module")
def expected() -> dict[bytes, bytes]:
    world = World()
    finished(world)
    assert world.version("bob") == 1
    return world.digests()


def check(world: World, expected: dict[bytes, bytes]) -> None:
    assert world.digests() == expected
    assert world.refolded() == expected
    sent = Counter(record.event_id for record in world.records() if record.type != "subject_erased")
    assert sent == KEPT
    (farewell,) = (record for record in world.records() if record.type == "subject_erased")
    assert world.ports.vault.erased(farewell.subject)


def continued(world: World, acknowledged: int) -> None:
    """The client sends again whatever was not acknowledged, and to be sure also all batches that were."""
    partition = world.opened()
    for op in OPS[acknowledged:]:
        op(partition)
    for batch in BATCHES:
        assert {outcome.status for outcome in partition.append(batch)} <= {"duplicate", "quarantined"}


def died(world: World, steps: Callable[[str], None] = lambda step: None, disk_steps: int = 0) -> int | None:
    """How many operations were acknowledged before the death; None when there was none."""
    acknowledged = 0
    try:
        partition = world.opened(steps)
        if disk_steps:
            world.disk.crash_after(disk_steps)
        for op in OPS:
            op(partition)
            acknowledged += 1
    except Crashed:
        return acknowledged
    return None


@pytest.mark.parametrize("power", [False, True], ids=["process dies", "power fails"])
def test_death_at_any_step_of_the_disk_is_made_good(expected: dict[bytes, bytes], power: bool) -> None:
    deaths = 0
    for disk_steps in range(1, 1000):
        world = World(seed=disk_steps)
        acknowledged = died(world, disk_steps=disk_steps)
        if acknowledged is None:
            break
        deaths += 1
        world.power_loss() if power else world.kill()
        continued(world, acknowledged)
        check(world, expected)
    assert deaths > 40


@pytest.mark.parametrize("power", [False, True], ids=["process dies", "power fails"])
def test_death_between_any_two_steps_of_the_partition_is_made_good(expected: dict[bytes, bytes], power: bool) -> None:
    passed: list[str] = []
    finished(World(), passed.append)
    assert set(passed) == {"folded", "vault synced", "refused", "appended", "key destroyed", "committed"}
    for number in range(len(passed)):
        world = World(seed=number)
        left = [number]

        def dying(step: str, left: list[int] = left) -> None:
            if not left[0]:
                raise Crashed(step)
            left[0] -= 1

        acknowledged = died(world, dying)
        assert acknowledged is not None
        world.power_loss() if power else world.kill()
        continued(world, acknowledged)
        check(world, expected)


def test_death_during_replay_is_made_good(expected: dict[bytes, bytes]) -> None:
    for disk_steps in range(1, 1000):
        world = World(seed=disk_steps)
        finished(world)
        world.power_loss()
        world.disk.crash_after(disk_steps)
        try:
            world.opened()
        except Crashed:
            world.power_loss()
            continued(world, len(OPS))
            check(world, expected)
        else:
            assert disk_steps > 5
            break


def test_replaying_twice_changes_nothing(expected: dict[bytes, bytes]) -> None:
    world = World()
    finished(world)
    for _ in range(2):
        world.power_loss()
        world.opened()
        check(world, expected)
        assert world.replay_skipped == 1


def test_an_erased_subject_is_unreadable_at_once_and_skipped_and_counted_in_replay() -> None:
    world = World()
    partition = world.opened()
    partition.append([view("ann", 1), view("bob", 2), view("bob", 3)])
    history = world.history()
    assert len(history.events(Key("u:bob"), 9)) == 2
    assert partition.erase(Key("u:bob"), "asked to") == 3
    assert history.events(Key("u:bob"), 9) == []
    assert history.profile(Key("u:bob")) is None
    with pytest.raises(KeyMissing):
        world.ports.vault.open(world.records()[1].subject)
    assert partition.erase(Key("u:bob")) == -1
    assert world.refolded() == world.digests()
    world.power_loss()
    world.opened()
    assert world.replay_skipped == 2
    assert (world.version("ann"), world.version("bob")) == (1, 0)


def test_a_person_who_returns_after_erasure_is_somebody_new() -> None:
    world = World()
    partition = world.opened()
    partition.append([view("bob", 1), view("bob", 2)])
    partition.erase(Key("u:bob"))
    partition.append([view("bob", 3)])
    assert [told.record.event_id for told in world.history().events(Key("u:bob"), 9)] == [fact_id(3)]
    assert world.records()[3].links == ()
    assert world.records()[3].subject != world.records()[0].subject
    world.power_loss()
    world.opened()
    assert world.version("bob") == 1


def test_a_state_older_than_an_erasure_forgets_the_erased_too() -> None:
    """Restored from a checkpoint: the row is there, its name is not known any more."""
    world = World()
    partition = world.opened()
    partition.append([view("ann", 1), view("bob", 2)])
    checkpoint = type(world.state)()
    tables = ("profiles", "meta", "heads", "producers")
    checkpoint.commit([(t, key, row) for t in tables for key, row in world.state.scan(t)], world.state.offsets())
    partition.erase(Key("u:bob"))
    partition.append([view("bob", 3)])
    world.kill()
    world.state = checkpoint
    world.opened()
    assert (world.version("ann"), world.version("bob")) == (1, 1)
    assert world.refolded() == world.digests()


def test_a_missing_key_without_an_erasure_stops_the_partition() -> None:
    world = World()
    world.opened().append([view("ann", 1), view("bob", 2), view("ann", 3)])
    world.ports.vault.erase(world.records()[1].subject)
    world.power_loss()
    partition = world.opened()
    with pytest.raises(KeyMissing, match="LSN 1 cannot be read"):
        partition.append([view("ann", 4)])
    assert world.version("ann") == 1


def test_an_orphan_slot_is_used_by_the_next_record_of_its_key() -> None:
    world = World()

    def dying(step: str) -> None:
        if step == "vault synced":
            raise Crashed(step)

    with pytest.raises(Crashed):
        world.opened(dying).append([view("ann", 1)])
    assert world.ports.vault.count() == 1
    world.kill()
    partition = world.opened()
    partition.append([view("bob", 2)])
    world.kill()
    partition = world.opened()
    partition.append([view("ann", 1)])
    assert world.ports.vault.count() == 2
    assert world.version("ann") == 1


@pytest.mark.parametrize("seed", range(8))
def test_a_key_whose_sync_failed_is_written_again_before_it_is_used(seed: int) -> None:
    """The page cache still holds it, but marked clean: no later sync would bring it to the device."""
    world = World(seed)
    partition = world.opened()
    world.disk.fail_sync_after(0)
    with pytest.raises(SyncFailed):
        partition.append([view("ann", 1)])
    world.kill()
    world.opened().append([view("ann", 1)])
    world.power_loss()
    partition = world.opened()
    assert partition.stopped is None
    assert world.version("ann") == 1


@pytest.mark.parametrize("seed", range(8))
def test_an_erasure_whose_sync_failed_is_made_good_by_replay(seed: int) -> None:
    world = World(seed)
    partition = world.opened()
    partition.append([view("bob", 1)])
    subject = world.records()[0].subject
    world.disk.fail_sync_after(1)
    with pytest.raises(SyncFailed):
        partition.erase(Key("u:bob"))
    world.kill()
    world.opened()
    world.power_loss()
    assert Vault(open_slots(world.disk, FOLDER), SECRETS.vault_wrap).erased(subject)
