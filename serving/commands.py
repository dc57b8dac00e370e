"""What the command line does besides ``up``: one function a command, printing to the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from actors.backup import backup, restore
from actors.locking import FolderLock, holder
from actors.reader import PartitionFiles
from actors.repartition import repartition
from actors.store import Store
from actors.verify import verify
from events.clock import SystemClock, millis
from events.errors import BadSettings, Conflict, Held
from events.ids import PartitionId
from events.log import scan
from events.record import Record
from events.types import Payload
from events.unseal import Unsealer
from serving.field_mapping import read_mapping
from serving.generic_source import GenericSource
from serving.import_client import ImportClient
from serving.import_progress import ImportBar
from serving.importing import run_import
from serving.journey import Journey
from serving.keys import Keys
from serving.settings import Settings
from serving.source import Source

_OUT = Console(highlight=False)


@dataclass(frozen=True)
class Importing:
    """What is to be imported, and where to."""

    source: str
    data: Path
    address: str
    mapping: str = ""
    keep_times: bool = False
    skip_bad: bool = False
    quiet_when_done: bool = False


class NotAgain(Conflict):
    """The import is complete, or under way in another process."""


def import_history(what: Importing) -> None:
    """Raises as `run_import` and the sources do, and `NotAgain` unless ``quiet_when_done``."""
    source = _source(what)
    client = ImportClient(what.address, Keys.open(what.data, create=False).api_key, time.sleep)
    try:
        with _alone(what.data, source):
            _import(what, source, client)
    except NotAgain:
        if not what.quiet_when_done:
            raise
    finally:
        client.close()


@contextmanager
def _alone(data: Path, source: Source) -> Iterator[None]:
    """Hold the source while it is imported; the kernel lets go of it when this process ends, however it does. Two at
    once would lose nothing, but the bars and figures of both would lie. Raises `NotAgain`."""
    folder = data / "run" / "imports" / source.producer
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        lock = FolderLock(folder)
    except Held:
        raise NotAgain(f"{source.name} is being imported already, by process {holder(folder)}: let it end") from None
    try:
        yield
    finally:
        lock.release()


def _import(what: Importing, source: Source, client: ImportClient) -> None:
    if client.status(source.producer).completed:
        raise NotAgain(f"{source.name} has been imported before: a second import of it is refused")
    began = time.monotonic()
    with ImportBar(source.name, _OUT) as bar:
        report = run_import(source, client, millis(SystemClock().now()), bar, what.keep_times)
    seconds = time.monotonic() - began
    _OUT.print(
        f"{source.name}: {report.sent:,} events in {seconds:.0f} s ({report.sent / max(seconds, 0.001):,.0f}/s), "
        f"{report.rejected:,} in quarantine."
    )


def _source(what: Importing) -> Source:
    if what.source == "journey":
        return Journey.installed()
    if what.keep_times:
        raise BadSettings("--keep-times is about the journey: a file's times are never shifted")
    mapping = read_mapping(what.mapping) if what.mapping else None
    vocabulary = Settings.load(what.data, {}).event_vocabulary()
    return GenericSource(Path(what.source), mapping, vocabulary, skip_bad=what.skip_bad)


def verify_store(data: Path) -> bool:
    """Whether every partition's state is what its log says. The scratch space is in the data folder."""
    store = Store.open(data)
    whole = True
    for number in store.numbers():
        found = verify(store, number, data / "run" / f"verify-p{number}")
        whole &= found.equal
        verdict = "equal" if found.equal else f"DIFFERENT, first: {', '.join(found.differing)}"
        _OUT.print(
            f"partition {number}: {found.records:,} records, {found.actors:,} actors, {found.skipped:,} skipped, "
            f"live {found.live}, refolded {found.refolded}: {verdict}",
            soft_wrap=True,
        )
    return whole


def back_up(data: Path, dest: Path) -> None:
    store = Store.open(data)
    copied = backup(store, dest)
    _OUT.print(f"{copied.records:,} records of {copied.subjects:,} subjects are in {dest}, without the master key:")
    _OUT.print(f"keep {data / 'master.key'} elsewhere, or the backup cannot be read.")


def restore_store(source: Path, data: Path, master_key: Path) -> None:
    restored = restore(source, data, master_key)
    _OUT.print(f"Store {restored.manifest.store_id} is in {data}: start it with `everfold up --data {data}`.")


def repartition_store(data: Path, dest: Path, partitions: int) -> None:
    _, moved = repartition(Store.open(data), dest, partitions)
    _OUT.print(f"{moved.records:,} records are in {dest}, {moved.skipped:,} of erased subjects stayed behind.")


@dataclass(frozen=True)
class Looking:
    """Which records to show; ``start`` of None: the newest ``limit``."""

    data: Path
    partition: int
    start: int | None
    limit: int
    payloads: bool


def show_log(what: Looking) -> None:
    store = Store.open(what.data)
    number = PartitionId(what.partition)
    if number not in store.numbers():
        raise BadSettings(f"there is no partition {number}: the store has {len(store.numbers())}")
    files = PartitionFiles(store.folder(number), number, store)
    try:
        first, end = files.log.bounds()
        start = max(first, end - what.limit) if what.start is None else what.start
        opener = Unsealer(files.log, files.vault)
        for record in scan(files.log, start, min(end, start + what.limit)):
            payload = opener.payload(record) if what.payloads else None
            _OUT.print(json.dumps(_shown(record, payload), ensure_ascii=False), soft_wrap=True, markup=False)
    finally:
        files.close()


def _shown(record: Record, payload: Payload | None) -> dict[str, object]:
    import msgspec

    shown: dict[str, object] = {
        "lsn": record.lsn,
        "links": [list(link) for link in record.links],
        "appended": record.appended,
        "event_time": record.event_time,
        "type": f"{record.type}/{record.version}",
        "subject": record.subject.hex(),
        "event_id": record.event_id.hex(),
        "bytes": len(record.payload),
    }
    if record.producer:
        shown |= {"producer": record.producer, "seq": record.seq}
    if payload is not None:
        shown["payload"] = msgspec.to_builtins(payload)
    return shown
