"""The log read again, partition by partition, up to given offsets: what retraining starts from.

Opened beside a running service or on a stopped folder; nothing is written. A record of an erased person cannot be
opened and is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import merge
from pathlib import Path
from typing import TypeAlias

from actors.follower import Fact
from actors.reader import PartitionFiles
from actors.store import Store
from events.ids import PartitionId
from events.log import scan
from events.unseal import Unsealer

Offsets: TypeAlias = Mapping[str, int]
"""Partition (``p0``, ``p1``, ...) → the LSN after the last record that counts."""


def offsets_now(data: Path) -> dict[str, int]:
    """The durable end of every partition's log. Raises `NotFound` for a folder without a store."""
    store = Store.open(data)
    ends: dict[str, int] = {}
    for number in store.numbers():
        files = PartitionFiles(store.folder(number), number, store)
        try:
            ends[f"p{number}"] = files.log.bounds()[1]
        finally:
            files.close()
    return ends


def facts_of(data: Path, number: PartitionId, end: int, tail: int | None = None) -> Iterator[Fact]:
    """The facts of one partition in the order of its log, up to LSN ``end``; of ``tail`` only so many records before.

    Raises as `events.unseal.Unsealer.payload`, and `NotFound` when the log was trimmed meanwhile.
    """
    store = Store.open(data)
    files = PartitionFiles(store.folder(number), number, store)
    try:
        opener = Unsealer(files.log, files.vault)
        start = files.log.bounds()[0]
        for record in scan(files.log, start if tail is None else max(start, end - tail), end):
            payload = opener.payload(record)
            if payload is not None:
                yield Fact(int(number), record, payload)
    finally:
        files.close()


def all_facts(data: Path, offsets: Offsets) -> Iterator[Fact]:
    """The facts of all partitions in the order they were appended, ties by partition: as one log would have them."""
    streams = [facts_of(data, PartitionId(int(name[1:])), end) for name, end in sorted(offsets.items())]
    return merge(*streams, key=lambda fact: (fact.record.appended, fact.partition))
