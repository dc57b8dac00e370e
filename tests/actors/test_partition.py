from __future__ import annotations

import pytest
from partition_world import NOW, SMALL, World, fact, fact_id, picky, view

from actors.partition import Outcome, PartitionSettings
from events.errors import BadRequest, DiskFull, NotOwner, PartitionStopped, SyncFailed
from events.ids import Key, Micros
from events.record import Draft
from events.types import Identified, ImportCompleted, ImportStarted, ItemUpserted, SegmentChanged, SubjectErased


@pytest.fixture
def world() -> World:
    return World()


def test_every_new_fact_gets_the_next_lsn_and_is_folded(world: World) -> None:
    partition = world.opened()
    assert partition.append([view("ann", 1), view("bob", 2), view("ann", 3)]) == [
        Outcome("ok", 0),
        Outcome("ok", 1),
        Outcome("ok", 2),
    ]
    assert (world.version("ann"), world.version("bob"), world.version("eve")) == (2, 1, 0)


def test_a_subjects_records_are_linked_into_a_chain(world: World) -> None:
    partition = world.opened()
    partition.append([view("ann", 1), view("bob", 2), view("ann", 3)])
    partition.append([view("ann", 4)])
    links = [record.links for record in world.records()]
    assert links == [(), (), ((0, 0),), ((0, 2),)]
    told = world.history().events(Key("u:ann"), 2)
    assert [(each.record.lsn, each.payload.meta.message_id) for each in told] == [(3, "4"), (2, "3")]


def test_items_and_the_system_own_chains_without_profiles(world: World) -> None:
    partition = world.opened()
    partition.append([fact("i:tea", 1, ItemUpserted("tea")), fact("i:tea", 2, ItemUpserted("tea", price=2.0))])
    assert [record.links for record in world.records()] == [(), ((0, 0),)]
    assert [each.record.lsn for each in world.history().events(Key("i:tea"), 9)] == [1, 0]
    assert world.history().profile(Key("i:tea")) is None
    assert world.digests() == {}


def test_no_external_id_lies_in_clear_in_log_or_state(world: World) -> None:
    world.opened().append([view("ann-the-person", 1)])
    (record,) = world.records()
    assert b"ann-the-person" not in record.payload + record.subject + record.event_id
    assert not any(b"ann-the-person" in key for key, _ in world.state.scan("profiles"))


def test_appended_is_strictly_monotone_whatever_the_clock_does(world: World) -> None:
    partition = world.opened()
    partition.append([view("ann", 1), view("ann", 2)])
    world.clock.at = Micros(NOW - 1_000_000)
    partition.append([view("ann", 3)])
    world.clock.at = Micros(NOW + 500)
    partition.append([view("ann", 4)])
    assert [record.appended - NOW for record in world.records()] == [0, 1, 2, 500]


def test_a_fact_counts_once_however_often_it_is_sent(world: World) -> None:
    partition = world.opened()
    partition.append([view("ann", 1)])
    again = partition.append([view("ann", 1), view("ann", 2), view("ann", 2)])
    assert [outcome.status for outcome in again] == ["duplicate", "ok", "duplicate"]
    assert [outcome.lsn for outcome in again] == [1, 1, 1], "a duplicate is known to be folded at its lsn"
    world.kill()
    assert world.opened().append([view("ann", 2)]) == [Outcome("duplicate", 1)]
    assert world.version("ann") == 2


def test_a_producers_facts_count_once_by_their_number(world: World) -> None:
    partition = world.opened()
    sent = [view("ann", number, producer="outbox", seq=number) for number in (1, 2, 3)]
    partition.append(sent[:2])
    assert [each.status for each in partition.append(sent)] == ["duplicate", "duplicate", "ok"]
    assert (partition.mark("outbox"), partition.mark("another")) == (3, 0)
    world.kill()
    partition = world.opened()
    assert [each.status for each in partition.append(sent)] == ["duplicate"] * 3
    assert partition.mark("outbox") == 3
    world.power_loss()
    assert [each.status for each in world.opened().append(sent)] == ["duplicate"] * 3


def test_what_cannot_be_decoded_or_may_not_be_sent_goes_to_quarantine(world: World) -> None:
    partition = world.opened()
    bad = [
        fact("u:ann", 1, SubjectErased()),
        Draft("u:ann", fact_id(2), 0, "interaction", 1, b"garbage"),
        Draft("u:ann", fact_id(3), 0, "teleported", 1, b""),
    ]
    outcomes = partition.append([view("ann", 4), *bad, view("ann", 5)])
    assert [each.status for each in outcomes] == ["ok", "quarantined", "quarantined", "quarantined", "ok"]
    assert [each.reason for each in outcomes[1:4]] == ["reserved_type", "undecodable", "undecodable"]
    assert [record.lsn for record in world.records()] == [0, 1]
    entries = [entry for _, entry in world.ports.quarantine.entries()]
    assert [entry.reason for entry in entries] == ["reserved_type", "undecodable", "undecodable"]
    assert b"teleported" in entries[2].raw


def test_what_does_not_fold_never_enters_the_log(world: World) -> None:
    partition = world.opened(folding=picky)
    outcomes = partition.append([view("new", 13), view("ann", 1), view("ann", 14), view("new", 2)])
    assert [each.status for each in outcomes] == ["quarantined", "ok", "quarantined", "ok"]
    assert [record.lsn for record in world.records()] == [0, 1]
    assert world.ports.quarantine.counts() == {"does_not_fold": 2}
    assert (world.version("ann"), world.version("new")) == (1, 1)
    assert world.refolded() == world.digests()


def test_a_record_that_folds_no_longer_stops_writes_and_is_named_while_reads_go_on(world: World) -> None:
    world.opened().append([view("ann", 12), view("ann", 13), view("ann", 15)])
    world.power_loss()
    partition = world.opened(folding=picky)
    with pytest.raises(PartitionStopped, match=r"LSN 1 .* does not fold"):
        partition.append([view("ann", 16)])
    assert world.version("ann") == 1
    world.kill()
    assert world.opened().append([view("ann", 16)]) == [Outcome("ok", 3)]
    assert world.version("ann") == 4


def test_a_malformed_draft_is_the_callers_mistake_and_stops_nothing(world: World) -> None:
    partition = world.opened()
    good = view("ann", 1)
    for bad in (
        Draft("ann", good.event_id, 0, "interaction", 1, good.payload),
        Draft("u:ann", b"short", 0, "interaction", 1, good.payload),
        Draft("u:ann", good.event_id, 0, "interaction", 1, good.payload, "p" * 101, 1),
    ):
        with pytest.raises(BadRequest, match="malformed"):
            partition.append([good, bad])
    assert partition.append([good]) == [Outcome("ok", 0)]


def test_an_import_into_an_empty_log_stamps_its_own_times(world: World) -> None:
    partition = world.opened()
    year_ago = NOW - 365 * 86_400_000_000
    partition.append([view("ann", 1, producer="journey", seq=1, appended=year_ago)])
    partition.append([view("ann", 2, producer="journey", seq=2, appended=year_ago + 60)])
    partition.append([view("ann", 3, producer="journey", seq=3, appended=NOW + 10**12)])
    assert [record.appended - year_ago for record in world.records()] == [0, 60, NOW - year_ago]


def test_appended_is_the_clocks_once_anything_else_is_in_the_log(world: World) -> None:
    partition = world.opened()
    partition.append([view("ann", 1, producer="journey", seq=1, appended=NOW - 500), view("bob", 2)])
    partition.append([view("ann", 3, producer="journey", seq=2, appended=NOW - 400)])
    world.kill()
    world.clock.advance(7)
    world.opened().append([view("ann", 4, producer="journey", seq=3, appended=NOW - 300)])
    assert [record.appended - NOW for record in world.records()] == [-500, 0, 1, 7]


def test_another_producer_does_not_stamp_into_a_log_that_is_not_empty(world: World) -> None:
    partition = world.opened()
    partition.append([view("ann", 1, producer="journey", seq=1, appended=NOW - 500)])
    partition.append([view("ann", 2, producer="other", seq=1, appended=NOW - 400)])
    assert [record.appended - NOW for record in world.records()] == [-500, 0]


def test_imports_are_known_so_that_a_second_one_can_be_refused(world: World) -> None:
    partition = world.opened()
    partition.append([fact("s:imports", 1, ImportStarted("journey", "tcj", "abc", shift_ms=7, stamped=True))])
    (begun,) = partition.imports()
    assert (begun.source_hash, begun.shift_ms, begun.stamped, begun.completed) == ("abc", 7, True, False)
    partition.append([fact("s:imports", 2, ImportCompleted("journey", "tcj", "abc", events=5))])
    for _ in range(2):
        (done,) = partition.imports()
        assert (done.completed, done.events, done.shift_ms) == (True, 5, 7)
        world.power_loss()
        partition = world.opened()


def test_a_full_disk_refuses_writes_and_changes_nothing(world: World) -> None:
    partition = world.opened()
    partition.append([view("ann", 1)])
    world.disk.capacity = 0
    for _ in range(2):
        with pytest.raises(DiskFull):
            partition.append([view("ann", 2), view("new", 3)])
    assert (world.version("ann"), world.version("new")) == (1, 0)
    world.disk.capacity = None
    assert partition.append([view("ann", 2), view("new", 3)]) == [Outcome("ok", 1), Outcome("ok", 2)]
    assert world.refolded() == world.digests()


def test_below_the_free_space_floor_nothing_is_touched(world: World) -> None:
    world.opened().append([view("ann", 1)])
    world.kill()
    partition = world.opened(settings=PartitionSettings(free_floor_bytes=10_000, dedupe=SMALL))
    world.disk.capacity = 0
    world.disk.capacity = 9_999 - world.disk.free()
    steps = world.disk.steps
    with pytest.raises(DiskFull, match="nothing was taken"):
        partition.append([view("new", 2)])
    assert world.disk.steps == steps


def test_a_state_without_room_catches_up_before_anything_new_is_taken(world: World) -> None:
    partition = world.opened()
    world.state.full = True
    for _ in range(2):
        with pytest.raises(DiskFull):
            partition.append([view("ann", 1)])
    assert world.version("ann") == 0
    assert len(world.records()) == 1
    world.state.full = False
    assert [each.status for each in partition.append([view("ann", 1), view("ann", 2)])] == ["duplicate", "ok"]
    assert world.version("ann") == 2
    assert world.refolded() == world.digests()


@pytest.mark.parametrize("user", ["ann", "somebody new, whose key is synced first"])
def test_after_a_failed_sync_nothing_more_is_taken(world: World, user: str) -> None:
    partition = world.opened()
    partition.append([view("ann", 1)])
    world.disk.fail_sync_after(0)
    with pytest.raises(SyncFailed):
        partition.append([view(user, 2)])
    with pytest.raises(SyncFailed):
        partition.append([view("ann", 3)])
    assert world.version("ann") == 1


def test_an_owner_that_was_replaced_is_refused_and_its_batch_never_seen(world: World) -> None:
    old = world.opened()
    old.append([view("ann", 1)])
    state, world.state = world.state, type(world.state)()
    new = world.opened()
    new.append([view("ann", 2)])
    for _ in range(2):
        with pytest.raises(NotOwner):
            old.append([view("ann", 3)])
    assert [record.lsn for record in world.records()] == [0, 1]
    assert [record.event_id for record in world.records()] == [fact_id(1), fact_id(2)]
    assert new.append([view("ann", 3)]) == [Outcome("ok", 2)]
    assert state.offsets() == {"log": 1}


def test_an_unexpected_failure_stops_the_partition(world: World) -> None:
    def explode(step: str) -> None:
        if step == "appended":
            raise RuntimeError("bug")

    partition = world.opened(steps=explode)
    with pytest.raises(RuntimeError):
        partition.append([view("ann", 1)])
    with pytest.raises(PartitionStopped, match="failed unexpectedly"):
        partition.append([view("ann", 2)])
    world.kill()
    assert world.opened().append([view("ann", 1)]) == [Outcome("duplicate", 0)]


@pytest.mark.parametrize(("cache_bytes", "active"), [(1, 0), (10_000, 3), (1_000_000, 5)])
def test_passivated_actors_come_back_as_they_were(world: World, cache_bytes: int, active: int) -> None:
    partition = world.opened(settings=PartitionSettings(cache_bytes=cache_bytes, free_floor_bytes=0, dedupe=SMALL))
    for number in range(20):
        partition.append([view(f"user-{number % 5}", number)])
        status = partition.status()
        assert status["actors_bytes"] <= cache_bytes
        assert (status["actors_bytes"] > 0) == (status["actors_active"] > 0)
    assert status["actors_active"] == active
    assert [world.version(f"user-{number}") for number in range(5)] == [4] * 5
    assert world.refolded() == world.digests()


def test_slots_with_a_record_are_not_looked_at_again_when_opened(world: World) -> None:
    partition = world.opened()
    partition.append([view(f"user-{number}", number) for number in range(7)])
    partition.append([view("user-7", 8)])
    assert int.from_bytes(world.state.get("meta", b"slots") or b"", "little") == 8


def test_identify_without_interactions_makes_a_profile(world: World) -> None:
    world.opened().append([fact("u:ann", 1, Identified({"plan": "pro"}))])
    profile = world.history().profile(Key("u:ann"))
    assert profile is not None
    assert profile.traits["plan"].value == "pro"
    assert profile.subject == world.records()[0].subject


def test_what_a_follower_concluded_about_somebody_who_was_erased_makes_nobody_anew(world: World) -> None:
    partition = world.opened()
    partition.append([view("ann", 1)])
    told = fact("u:ann", 2, SegmentChanged("fans", True), producer="segments", seq=1)
    partition.erase(Key("u:ann"))
    (outcome,) = partition.append([told])
    assert outcome.status == "duplicate"
    assert world.digests() == {}
    again = view("ann", 3), fact("u:ann", 4, SegmentChanged("fans", True), producer="segments", seq=2)
    assert [each.status for each in partition.append(again)] == ["ok", "ok"]
    assert world.refolded() == world.digests() != {}
