"""Decisions leave their spools exactly once and are found before, during and after."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.state import MemoryState
from events.errors import BadId, NotFound, Unavailable
from events.ids import Key, KeyHash, Micros
from events.log import scan
from events.memory_disk import MemoryDisk
from events.memory_log import MemoryLog
from events.vault import Vault
from serving import spool
from serving.answered import Answered
from serving.decision import Decision, Owner, Place, Rules, Shown, Versions, encode, request_hash
from serving.decisions import INDEXED, Decisions, Shipper, open_decisions, open_shipper
from serving.sealing import Sealer, Vaults
from serving.spool import Spool

AT = Micros(1_700_000_000_000_000)
DAY_US = 86_400_000_000
SECRET = bytes(range(32))


def decision(item: str) -> Decision:
    return Decision(
        format=1,
        versions=Versions("fixed-1", "fixed-0", "items-1", 7, 41),
        consent="default",
        rules=Rules("home", "allow", (1.0, 3.0, 10.0), "seen", 0.0, 0.0),
        read_at=AT,
        asked=1,
        anchors=(),
        exclude=(),
        category="",
        context={},
        recommenders=("popularity",),
        weights=(1.0,),
        candidates=(item,),
        scores=b"\x00\x00\x80?",
        features=b"",
        gains=b"\x00\x00\x80?",
        seed=0,
        slate=(Shown(item, 1.0, 1.0, ("popularity",), "Popular right now"),),
    )


class Desk:
    """A spool folder with a writer, a sealer and a shipper over memory backends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = Vault(MemoryDisk().open("slots"), SECRET)
        self.sealer = Sealer(SECRET, Vaults(lambda _: self.vault))
        self.log = MemoryLog()
        self.index = MemoryState()
        self.spool = Spool(folder)
        self.shipper = Shipper(folder, self.log, self.index)
        self.decisions = Decisions(folder, self.log, self.index, self.sealer)

    def write(self, item: str, owner: Owner | None = None, request: bytes = spool.NO_REQUEST, at: Micros = AT) -> Place:
        owner = owner or self.sealer.nobody()
        plain = encode(decision(item))
        place = self.spool.write(at, owner, lambda place: self.sealer.seal(owner, place, plain), request=request)
        assert place is not None
        return place

    def found(self, place: Place) -> str:
        return self.decisions.lookup(place.text).slate[0].item

    def close(self) -> None:
        self.spool.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_a_decision_is_found_in_its_spool_and_after_shipping(desk: Desk) -> None:
    place = desk.write("tea")
    assert desk.found(place) == "tea"
    assert desk.shipper.ship() == 1
    assert desk.found(place) == "tea"


def test_a_spool_is_removed_once_its_replica_is_gone_and_all_is_shipped(desk: Desk) -> None:
    place = desk.write("tea")
    desk.shipper.ship()
    assert spool.spools(desk.folder) == [place.spool]
    desk.spool.close()
    assert desk.shipper.ship() == 0
    assert spool.spools(desk.folder) == []
    assert desk.found(place) == "tea"


def test_shipping_again_ships_only_what_is_new(desk: Desk) -> None:
    desk.write("tea")
    assert desk.shipper.backlog() > 0
    assert desk.shipper.ship() == 1
    assert desk.shipper.backlog() == 0
    assert desk.shipper.ship() == 0
    desk.write("milk")
    assert desk.shipper.ship() == 1
    assert len(list(scan(desk.log, 0))) == desk.index.offsets()[INDEXED] == 2


@pytest.mark.parametrize("lost", ["the last commit", "the whole index"])
def test_a_crash_between_log_and_index_keeps_every_decision_once(desk: Desk, lost: str) -> None:
    first = desk.write("tea", request=b"1" * 16)
    desk.shipper.ship()
    before = copy.deepcopy(desk.index)
    second = desk.write("milk", request=b"2" * 16)
    desk.shipper.ship()
    desk.spool.close()

    index = before if lost == "the last commit" else MemoryState()
    restarted = Shipper(desk.folder, desk.log, index)
    assert restarted.ship() == 0
    decisions = Decisions(desk.folder, desk.log, index, desk.sealer)
    assert [decisions.lookup(place.text).slate[0].item for place in (first, second)] == ["tea", "milk"]
    found = decisions.answered(b"2" * 16)
    assert found is not None
    assert found.place == second
    assert len(list(scan(desk.log, 0))) == 2


def test_a_dead_replicas_spool_is_adopted_and_its_torn_end_counted(desk: Desk) -> None:
    place = desk.write("tea")
    desk.spool.close()
    with spool.path_of(desk.folder, place.spool).open("ab") as file:
        file.write(b"torn")
    assert desk.shipper.ship() == 1
    assert desk.shipper.torn_bytes == 4
    assert spool.spools(desk.folder) == []


def test_a_live_replicas_unfinished_entry_is_waited_for(desk: Desk) -> None:
    place = desk.write("tea")
    with spool.path_of(desk.folder, place.spool).open("ab") as file:
        file.write(b"half of an entry")
    assert desk.shipper.ship() == 1
    assert desk.shipper.torn_bytes == 0
    assert spool.spools(desk.folder) == [place.spool]


def test_appended_times_stay_monotone_where_clocks_do_not(desk: Desk) -> None:
    desk.write("tea", at=Micros(AT + 10))
    desk.write("milk", at=AT)
    desk.shipper.ship()
    assert [r.appended for r in scan(desk.log, 0)] == [AT + 10, AT + 11]


def test_after_the_retention_a_decision_is_forgotten(desk: Desk) -> None:
    old = desk.write("tea", request=b"1" * 16)
    young = desk.write("milk", at=Micros(AT + 20 * DAY_US))
    desk.shipper.ship()
    desk.spool.close()
    desk.shipper.ship()
    assert desk.shipper.trim(Micros(AT + 31 * DAY_US)) == 1
    assert desk.shipper.trim(Micros(AT + 31 * DAY_US)) == 0
    assert desk.found(young) == "milk"
    assert desk.decisions.answered(b"1" * 16) is None
    with pytest.raises(NotFound, match="kept for 30 days"):
        desk.decisions.lookup(old.text)


def test_an_erased_subjects_decisions_cannot_be_read_wherever_they_lie(desk: Desk) -> None:
    subject = desk.vault.create(Key("u:42"), KeyHash(b"k" * 16))
    shipped, waiting = desk.write("tea", Owner(0, subject)), None
    desk.shipper.ship()
    waiting = desk.write("milk", Owner(0, subject))
    assert [desk.found(shipped), desk.found(waiting)] == ["tea", "milk"]
    desk.vault.erase(subject)
    for place in (shipped, waiting):
        with pytest.raises(NotFound, match="erased"):
            desk.decisions.lookup(place.text)


def test_what_is_not_an_id_is_refused_and_an_unknown_one_not_found(desk: Desk) -> None:
    for wrong in ("", "r", "x" * 27, "r" + "1" * 26, "rünknown", "r" + "a" * 300):
        with pytest.raises(BadId):
            desk.decisions.lookup(wrong)
    with pytest.raises(NotFound):
        desk.decisions.lookup(Place(b"none", 8, b"random").text)


def test_no_decision_lies_in_clear(desk: Desk) -> None:
    place = desk.write("a very telling item")
    assert b"telling" not in spool.path_of(desk.folder, place.spool).read_bytes()


def test_on_disk_it_works_as_in_memory_and_after_a_restart(tmp_path: Path) -> None:
    sealer = Sealer(SECRET, Vaults(lambda _: Vault(MemoryDisk().open("slots"), SECRET)))
    decisions = open_decisions(tmp_path, sealer)
    writer = Spool(tmp_path / "spool")
    owner = sealer.nobody()
    places = []
    for item in ("tea", "milk"):
        plain = encode(decision(item))
        places.append(writer.write(AT, owner, lambda p, plain=plain: sealer.seal(owner, p, plain), request=b"r" * 16))
    for round_ in range(3):
        shipper = open_shipper(tmp_path, 0)
        assert shipper.ship() == (2 if round_ == 0 else 0)
        shipper.close()
        assert [decisions.lookup(p.text).slate[0].item for p in places if p] == ["tea", "milk"]
        writer.close()
    assert spool.spools(tmp_path / "spool") == []
    found = open_decisions(tmp_path, sealer).answered(b"r" * 16)
    assert found is not None


# ---- request ids ------------------------------------------------------------------------------------------------


def hashed(request_id: str, who: str = "u:42") -> bytes:
    return request_hash(SECRET, Key(who), request_id)


def test_an_answered_request_is_found_by_every_replica_in_spool_and_log(desk: Desk) -> None:
    here, there = Answered(desk.folder, desk.decisions), Answered(desk.folder, desk.decisions)
    with here.claim(hashed("one")) as entry:
        assert entry is None
        place = desk.write("tea", request=hashed("one"))
    for replica in (here, there):
        with replica.claim(hashed("one")) as entry:
            assert entry is not None
            assert entry.place == place
    desk.spool.close()
    desk.shipper.ship()
    assert spool.spools(desk.folder) == []
    for replica in (here, there, Answered(desk.folder, desk.decisions)):
        with replica.claim(hashed("one")) as entry:
            assert entry is not None
            assert entry.place == place


def test_the_same_request_id_of_somebody_else_is_another_request(desk: Desk) -> None:
    answered = Answered(desk.folder, desk.decisions)
    desk.write("tea", request=hashed("one"))
    with answered.claim(hashed("one", "u:43")) as entry:
        assert entry is None


def test_two_replicas_never_answer_one_request_side_by_side(desk: Desk) -> None:
    here, there = Answered(desk.folder, desk.decisions), Answered(desk.folder, desk.decisions)
    with here.claim(hashed("one")):
        with pytest.raises(Unavailable), there.claim(hashed("one")):
            pass
        with there.claim(hashed("two")) as entry:
            assert entry is None
    with there.claim(hashed("one")) as entry:
        assert entry is None


def test_without_a_disk_for_the_lock_requests_are_still_answered(tmp_path: Path, desk: Desk) -> None:
    nowhere = tmp_path / "file"
    nowhere.write_text("a file where the folder should be")
    with Answered(nowhere / "spool", desk.decisions).claim(hashed("one")) as entry:
        assert entry is None


def test_while_the_index_is_made_again_it_says_so(desk: Desk) -> None:
    desk.write("tea")
    desk.shipper.ship()
    assert desk.decisions.whole()
    emptied = MemoryState()
    assert not Decisions(desk.folder, desk.log, emptied, desk.sealer).whole()
    Shipper(desk.folder, desk.log, emptied)
    assert Decisions(desk.folder, desk.log, emptied, desk.sealer).whole()


def test_without_an_index_nothing_can_be_said_to_be_whole(tmp_path: Path) -> None:
    assert not open_decisions(
        tmp_path, Sealer(SECRET, Vaults(lambda _: Vault(MemoryDisk().open("slots"), SECRET)))
    ).whole()
