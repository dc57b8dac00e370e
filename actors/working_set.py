"""Activated actors: decoded from the state store on demand, passivated least recently used first.

An actor that is here is always equal to its row in the store (or to what the commit under way will put there), so
passivating one is forgetting it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from actors.profile import EMPTY, Profile, decode, encode
from actors.state import Change, StateReader

PROFILES: Final = "profiles"
"""key hash → profile."""
HEADS: Final = "heads"
"""key hash → `Head`, for the keys that own records but have no profile: items, the system."""

DECODED_FACTOR: Final = 6
"""Bytes of Python objects per byte of profile blob, measured on profiles of 0.5 to 10 kB."""
ACTOR_BYTES: Final = 600
"""What an actor costs besides its profile."""


class Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The end of a chain."""

    subject: bytes
    lsn: int = -1


Actor: TypeAlias = Profile | Head
"""One key's present. Both know the subject and the LSN of its newest record (-1: none)."""

_HEADS: Final = msgspec.msgpack.Decoder(Head)
_ENCODER: Final = msgspec.msgpack.Encoder()


def newborn(subject: bytes, has_profile: bool) -> Actor:
    """An actor that has no record yet."""
    return replace(EMPTY, subject=subject) if has_profile else Head(subject)


def table_of(has_profile: bool) -> str:
    return PROFILES if has_profile else HEADS


def to_row(key_hash: bytes, actor: Actor) -> Change:
    if isinstance(actor, Head):
        return HEADS, key_hash, _ENCODER.encode(actor)
    return PROFILES, key_hash, encode(actor)


def from_row(table: str, value: bytes) -> Actor:
    return _HEADS.decode(value) if table == HEADS else decode(value)


class WorkingSet:
    """Actors over one state store, by key hash. ``bytes_max`` bounds the estimated memory of the decoded ones."""

    def __init__(self, store: StateReader, bytes_max: int) -> None:
        self._store = store
        self._bytes_max = bytes_max
        self._actors: OrderedDict[bytes, tuple[Actor, int]] = OrderedDict()
        self.bytes = 0
        """Estimated memory of the activated actors."""

    def __len__(self) -> int:
        return len(self._actors)

    def get(self, key_hash: bytes, has_profile: bool) -> Actor | None:
        """The actor, from memory or the store; None when the key has no record."""
        held = self._actors.get(key_hash)
        if held is not None:
            self._actors.move_to_end(key_hash)
            return held[0]
        table = table_of(has_profile)
        value = self._store.get(table, key_hash)
        if value is None:
            return None
        actor = from_row(table, value)
        self._hold(key_hash, actor, len(value))
        return actor

    def put(self, key_hash: bytes, actor: Actor) -> Change:
        """Hold ``actor`` from now on; returns what has to be committed for it."""
        change = to_row(key_hash, actor)
        assert change[2] is not None
        self._hold(key_hash, actor, len(change[2]))
        return change

    def drop(self, key_hash: bytes) -> list[Change]:
        """Forget the actor; returns what has to be committed for that."""
        held = self._actors.pop(key_hash, None)
        if held is not None:
            self.bytes -= held[1]
        return [(PROFILES, key_hash, None), (HEADS, key_hash, None)]

    def shrink(self) -> None:
        """Passivate what is over the bound. To be called when everything held has been committed."""
        while self.bytes > self._bytes_max and self._actors:
            _, (_, size) = self._actors.popitem(last=False)
            self.bytes -= size

    def _hold(self, key_hash: bytes, actor: Actor, row_bytes: int) -> None:
        size = ACTOR_BYTES + DECODED_FACTOR * row_bytes
        held = self._actors.get(key_hash)
        self.bytes += size - (0 if held is None else held[1])
        self._actors[key_hash] = (actor, size)
        self._actors.move_to_end(key_hash)
