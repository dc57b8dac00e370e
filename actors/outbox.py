"""The outbox: facts a follower writes back to the log, landing exactly once.

(target partition, seq, draft) commits with the follower's offsets. A sender appends in order with producer = the
follower's name; the target partition keeps the highest seq per producer with its state and drops what is not above it.
So re-sending is the only retry, and nothing is ever recomputed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from actors.state import Change, StateStore
from events.ids import Key
from events.record import Draft

OUTBOX: Final = "outbox"
"""(target partition, seq) → draft."""
SEQS: Final = "outbox_seq"
"""Target partition → last seq given."""
SEND_MAX: Final = 256

_KEY = struct.Struct(">IQ")
_TARGET = struct.Struct(">I")
_SEQ = struct.Struct(">Q")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Draft)


class Settled(Protocol):
    """What became of a draft. Any outcome settles it: appended, dropped as a duplicate, or quarantined with its
    reason."""

    @property
    def status(self) -> str: ...


Append: TypeAlias = Callable[[int, Sequence[Draft]], Sequence[Settled]]
"""Appends drafts to a partition in order and returns one outcome for each once they are durable; raises otherwise."""


class Outbox:
    """Drafts on their way from one follower to the partitions their keys belong to."""

    def __init__(self, follower: str, store: StateStore, owner: Callable[[Key], int]) -> None:
        """``owner``: the partition that takes the facts of a key, `actors.store.Store.partition`."""
        self._follower = follower
        self._store = store
        self._owner = owner
        self._seqs: dict[int, int] = {}
        self.reload()

    def reload(self) -> None:
        """Forget what was staged but not committed."""
        self._seqs = {_TARGET.unpack(key)[0]: _SEQ.unpack(seq)[0] for key, seq in self._store.scan(SEQS)}

    def stage(self, drafts: Iterable[Draft]) -> list[Change]:
        """Number the drafts; the rows are to be committed together with the offsets that caused them."""
        out: list[Change] = []
        targets: set[int] = set()
        for draft in drafts:
            target = int(self._owner(Key(draft.key)))
            seq = self._seqs[target] = self._seqs.get(target, 0) + 1
            numbered = msgspec.structs.replace(draft, producer=self._follower, seq=seq)
            out.append((OUTBOX, _KEY.pack(target, seq), _ENCODER.encode(numbered)))
            targets.add(target)
        return [*out, *((SEQS, _TARGET.pack(target), _SEQ.pack(self._seqs[target])) for target in sorted(targets))]

    def send(self, append: Append, limit: int | None = None) -> int:
        """Send what waits, in order, and delete what was settled; returns how much. With ``limit``, of each partition
        no further batch once so many were sent to it. What ``append`` raises ends it: call again later, the rest is
        sent then."""
        sent = 0
        for target in sorted(self._seqs):
            stop = None if limit is None else sent + limit
            while (stop is None or sent < stop) and (waiting := self._waiting(target)):
                settled = append(target, [draft for _, draft in waiting])
                assert len(settled) == len(waiting), f"partition {target} answered {len(settled)} of {len(waiting)}"
                self._store.commit([(OUTBOX, key, None) for key, _ in waiting])
                sent += len(waiting)
        return sent

    def backlog(self) -> int:
        """Drafts not settled yet."""
        return sum(1 for _ in self._store.scan(OUTBOX))

    def _waiting(self, target: int) -> list[tuple[bytes, Draft]]:
        out: list[tuple[bytes, Draft]] = []
        for key, row in self._store.scan(OUTBOX, _KEY.pack(target, 0)):
            if _KEY.unpack(key)[0] != target or len(out) == SEND_MAX:
                break
            out.append((key, _DECODER.decode(row)))
        return out
