"""A replica's spool keeps decisions through anything but the machine's end, or says that it did not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.ids import Micros
from serving import spool
from serving.decision import NOBODY, Owner, Place
from serving.spool import Spool

OWNER = Owner(1, b"s" * 16)
AT = Micros(1_700_000_000_000_000)


def seal(body: bytes) -> Callable[[bytes], bytes]:
    return lambda place: body


def written(folder: Path, place: Place) -> spool.Entry:
    entry = spool.entry_at(folder, place)
    assert entry is not None
    return entry


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Spool]:
    writer = Spool(tmp_path)
    yield writer
    writer.close()


def test_an_entry_is_found_by_its_id_as_it_was_written(tmp_path: Path, one: Spool) -> None:
    place = one.write(AT, OWNER, seal(b"sealed"), request=b"r" * 16, test=True)
    assert place is not None
    entry = written(tmp_path, Place.parse(place.text))
    assert (entry.at, entry.owner, entry.request, entry.test, entry.sealed) == (AT, OWNER, b"r" * 16, True, b"sealed")


def test_the_seal_is_given_the_id_the_entry_will_have(tmp_path: Path, one: Spool) -> None:
    place = one.write(AT, OWNER, lambda place: b"for " + place)
    assert place is not None
    assert written(tmp_path, place).sealed == b"for " + place.id


def test_entries_come_back_in_order_from_any_entry_on(tmp_path: Path, one: Spool) -> None:
    places = [one.write(AT, OWNER, seal(b"%d" % n)) for n in range(5)]
    third = places[2]
    assert third is not None
    assert [e.sealed for e in spool.entries(tmp_path, third.spool, 0)] == [b"0", b"1", b"2", b"3", b"4"]
    assert [e.sealed for e in spool.entries(tmp_path, third.spool, third.offset)] == [b"2", b"3", b"4"]


def test_a_small_look_still_ends_at_a_whole_entry(tmp_path: Path, one: Spool) -> None:
    place = one.write(AT, OWNER, seal(b"x" * 100))
    one.write(AT, OWNER, seal(b"y" * 100))
    assert place is not None
    seen = list(spool.entries(tmp_path, place.spool, 0, limit=200))
    assert [e.sealed[:1] for e in seen] == [b"x"]


def test_an_id_with_another_random_part_finds_nothing(tmp_path: Path, one: Spool) -> None:
    place = one.write(AT, OWNER, seal(b"sealed"))
    assert place is not None
    assert spool.entry_at(tmp_path, Place(place.spool, place.offset, b"guess!")) is None


@settings(max_examples=60)
@given(offset=st.integers(0, 2**48 - 1))
def test_an_id_with_any_other_offset_finds_nothing(offset: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("spool")
    writer = Spool(folder)
    place = writer.write(AT, OWNER, seal(bytes(range(200))))
    writer.close()
    assert place is not None
    if offset != place.offset:
        assert spool.entry_at(folder, Place(place.spool, offset, place.nonce)) is None


def test_a_full_spool_is_followed_by_another(tmp_path: Path) -> None:
    writer = Spool(tmp_path, roll_bytes=100)
    places = [writer.write(AT, OWNER, seal(b"x" * 60)) for _ in range(3)]
    assert len({place.spool for place in places if place}) == 3
    assert [spool.is_written(tmp_path, place.spool) for place in places if place] == [False, False, True]
    writer.close()


def test_a_spool_belongs_to_its_replica_until_that_ends(tmp_path: Path) -> None:
    writer = Spool(tmp_path)
    place = writer.write(AT, OWNER, seal(b"x"))
    assert place is not None
    assert spool.is_written(tmp_path, place.spool)
    writer.close()
    assert not spool.is_written(tmp_path, place.spool)


def test_a_folder_that_cannot_be_written_is_said_and_survived(tmp_path: Path) -> None:
    place_taken = tmp_path / "spool"
    place_taken.write_text("a file where the folder should be")
    writer = Spool(place_taken)
    assert writer.write(AT, OWNER, seal(b"x")) is None
    assert writer.failures == 1
    place_taken.unlink()
    assert writer.write(AT, OWNER, seal(b"x")) is not None
    writer.close()


CUT_SHORT = """
import resource, signal, sys
from pathlib import Path
from serving.decision import Owner
from serving.spool import Spool
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = Spool(Path(sys.argv[1]))
kept = [writer.write(1, Owner(0, bytes(16)), lambda _: b"x" * 100)]
resource.setrlimit(resource.RLIMIT_FSIZE, (400, resource.RLIM_INFINITY))
kept += [writer.write(1, Owner(0, bytes(16)), lambda _: b"y" * 100) for _ in range(3)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept += [writer.write(1, Owner(0, bytes(16)), lambda _: b"z" * 100)]
print([place is not None for place in kept], writer.failures)
"""


def test_a_write_that_comes_up_short_is_taken_back(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CUT_SHORT, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[True, True, False, False, True] 2"
    (name,) = spool.spools(tmp_path)
    assert [e.sealed[:1] for e in spool.entries(tmp_path, name, 0)] == [b"x", b"y", b"z"]


KILLED = """
import sys
from pathlib import Path
from serving.decision import Owner
from serving.spool import Spool
writer = Spool(Path(sys.argv[1]))
for n in range(10**9):
    place = writer.write(1, Owner(0, bytes(16)), lambda _: b"%d" % n * 50)
    print(place.text, flush=True)
"""


def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = [process.stdout.readline().strip() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    seen += [line for line in process.stdout.read().splitlines() if len(line) == 27]
    process.wait()
    process.stdout.close()
    for n, text in enumerate(seen):
        assert written(tmp_path, Place.parse(text)).sealed == b"%d" % n * 50
    assert not spool.is_written(tmp_path, Place.parse(seen[0]).spool)


@settings(max_examples=40)
@given(cut=st.integers(0, 300), flip=st.integers(0, 299))
def test_torn_or_garbled_bytes_end_a_spool_and_never_show(
    cut: int, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    writer = Spool(folder, random=lambda size: b"n" * size)
    for n in range(3):
        writer.write(AT, Owner(NOBODY, b"s" * 16), seal(b"%d" % n * 40))
    writer.close()
    whole = list(spool.entries(folder, b"nnnn", 0))
    path = spool.path_of(folder, b"nnnn")
    data = bytearray(path.read_bytes()[: -cut or None])
    if flip < len(data):
        data[flip] ^= 0xFF
    path.write_bytes(bytes(data))
    intact = [e for e in whole if e.end <= len(data) and not e.place.offset <= flip < e.end]
    before_damage = [e for n, e in enumerate(intact) if whole[n] == e]
    assert list(spool.entries(folder, b"nnnn", 0)) == before_damage
