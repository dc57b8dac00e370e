"""Engines with one fault each. None is far-fetched: each is a line forgotten, or two in the wrong order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from actors.fold import fold
from actors.follower import Follower
from actors.item_reader import StoredItems, StoredView
from actors.outbox import OUTBOX, Append, Outbox
from actors.partition import Partition
from actors.profile import Glance, Profile, decode
from actors.state import Change
from events import epoch
from events.disk import Disk
from events.record import Draft
from events.segment_log import SegmentLog, SegmentLogReader
from events.types import Payload
from serving.explain import Made
from serving.recommend import Answerer
from simulate.faults import SimulatedSpool
from simulate.invariants import Invariant
from simulate.site import Engine


def folds_otherwise(profile: Profile, lsn: int, at: int, event_id: bytes, payload: Payload) -> Profile:
    """Live only, and only now and then: as a fold that looks at a clock would."""
    after = fold(profile, lsn, at, event_id, payload)
    return msgspec.structs.replace(after, first_at=after.first_at + 1) if after.first_at and lsn % 5 == 0 else after


class KnowsTooMuch(Partition):
    """Takes some facts for known that it never heard of."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        honest = self._ledger.fresh

        def fresh(drafts: Sequence[Draft]) -> list[bool]:
            return [new and draft.event_id[0] > 20 for draft, new in zip(drafts, honest(drafts), strict=True)]

        self._ledger.fresh = fresh  # type: ignore[method-assign]


class ForgetsIds(Partition):
    """Takes every fact for new."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._ledger.dedupe.seen = lambda ids: [False] * len(ids)  # type: ignore[method-assign]


class KeepsKeys(Partition):
    """Says that somebody is erased and leaves the key where it is."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._ports.vault.erase = lambda subject: None  # type: ignore[method-assign]


class AcknowledgesBeforeTheSync(SegmentLog):
    def _commit(self) -> None:
        self._writer.sync = lambda: None  # type: ignore[method-assign]
        super()._commit()


class DropsTheTail(SegmentLog):
    """Opens a log by throwing away what comes after its first segment's first half."""

    def __init__(self, disk: Disk, folder: str, *rest: Any) -> None:
        names = [name for name in disk.list(f"{folder}/log") if name.endswith(".seg")]
        if names:
            file = disk.open(f"{folder}/log/{names[-1]}")
            file.truncate(max(file.size() // 2, 72))
            disk.remove(f"{folder}/watermark")
        super().__init__(disk, folder, *rest)


class ReadsPastTheWatermark(SegmentLogReader):
    def bounds(self) -> tuple[int, int]:
        start, end = super().bounds()
        if not end:
            return start, end
        self._again(self._segments.refresh)
        self._segments.active.walk(1 << 62)
        self._end = max(end, self._segments.active.end)
        return start, self._end


class CommitsTheOffsetLater(Follower):
    def _commit(self, changes: list[Change], offsets: dict[str, int]) -> None:
        super()._commit(changes, {})
        super()._commit([], offsets)


class DeletesBeforeItSends(Outbox):
    def send(self, append: Append, limit: int | None = None) -> int:
        sent = 0
        for target in sorted(self._seqs):
            waiting = self._waiting(target)
            if waiting:
                self._store.commit([(OUTBOX, key, None) for key, _ in waiting])
                append(target, [draft for _, draft in waiting])
            sent += len(waiting)
        return sent


class NeverWrites(SimulatedSpool):
    def _append(self, record: bytes) -> None:
        self._size += len(record)


class ShadesTheTruth(Answerer):
    """Logs propensities that are a little too low."""

    def _make(self, *args: Any, **named: Any) -> Made:
        made = super()._make(*args, **named)
        shaded = [
            msgspec.structs.replace(one, propensity=0.99 * one.propensity) if one.propensity < 1 else one
            for one in made.shown
        ]
        return replace(made, shown=tuple(shaded))


class ShowsEverything(StoredItems):
    def snapshot(self) -> StoredView:
        view = super().snapshot()
        view.blocked = np.zeros(view.size, np.bool_)
        return view


class Stumbles(Follower):
    def catch_up(self, limit: int = 0) -> int:
        if self.lag() > 8:
            raise ZeroDivisionError("a batch of nine")
        return super().catch_up(limit)


def forgets_consent(row: bytes) -> Glance:
    return msgspec.structs.replace(decode(row), consent={})


def takes_without_saying_so(disk: Disk, folder: str) -> int:
    return epoch.current(disk, folder) + 1 if epoch.current(disk, folder) else epoch.take(disk, folder)


PLANTED: Mapping[str, tuple[Engine, Invariant]] = {
    "a fold that is not pure": (Engine(folding=folds_otherwise), Invariant.REPLAY),
    "facts taken for known": (Engine(partition=KnowsTooMuch), Invariant.KEPT),
    "a tail dropped at opening": (Engine(log=DropsTheTail), Invariant.KEPT),
    "ids forgotten": (Engine(partition=ForgetsIds), Invariant.ONCE),
    "records that are not written": (Engine(spool=NeverWrites), Invariant.SPOOLED),
    "propensities shaded": (Engine(answerer=ShadesTheTruth), Invariant.PROPENSITIES),
    "consent not looked at": (Engine(profile=forgets_consent), Invariant.CONSENT),
    "blocked items not looked at": (Engine(items=ShowsEverything), Invariant.HIDDEN),
    "an epoch that is not written": (Engine(take=takes_without_saying_so), Invariant.EPOCHS),
    "state and offset in two commits": (Engine(follower=CommitsTheOffsetLater), Invariant.FOLLOWED),
    "acknowledged before the sync": (Engine(log=AcknowledgesBeforeTheSync), Invariant.WATERMARK),
    "read past the watermark": (Engine(reader=ReadsPastTheWatermark), Invariant.WATERMARK),
    "an outbox emptied before it is sent": (Engine(outbox=DeletesBeforeItSends), Invariant.OUTBOX),
    "keys that outlive an erasure": (Engine(partition=KeepsKeys), Invariant.ERASED),
    "a follower that stumbles": (Engine(follower=Stumbles), Invariant.RUNS),
}
"""What is wrong → the engine, and the invariant that must trip."""
