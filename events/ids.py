"""Typed ids, parsed once at the door.

A *profile key* names a profile from outside: ``u:`` + userId, or ``a:`` + anonymousId. An *item key* is
``i:`` + item id and a *system key* ``s:`` + name; they own records in the log like profiles do, so that every
record has exactly one key, hence one partition and one chain.

A *key hash* is the 16-byte keyed BLAKE2b of a key (secret: the store's). State is stored under it, so no external
id lies in clear in the state. A *subject id* is 16 bytes: 12 random ones and the 4-byte big-endian number of the
vault slot. It stands in the log envelope; once the slot is overwritten nothing leads from it to a person.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NewType

import xxhash

from events.errors import BadId

Key = NewType("Key", str)
"""``u:…``, ``a:…``, ``i:…`` or ``s:…``."""
KeyHash = NewType("KeyHash", bytes)
SubjectId = NewType("SubjectId", bytes)
EventId = NewType("EventId", bytes)
ItemId = NewType("ItemId", str)
PartitionId = NewType("PartitionId", int)
Lsn = NewType("Lsn", int)
Millis = NewType("Millis", int)
"""Event time: integer milliseconds since the Unix epoch, UTC."""
Micros = NewType("Micros", int)
"""Appended time: integer microseconds since the Unix epoch, UTC."""

ID_CHARS_MAX = 256
"""Longest external id accepted, in characters. Segment's own bound for messageId is 100; e-mail addresses used as
user ids reach 254."""


def _checked(kind: str, raw: str) -> str:
    if not raw:
        raise BadId(f"{kind} is empty: send a non-empty string")
    if len(raw) > ID_CHARS_MAX:
        raise BadId(f"{kind} starting {raw[:32]!r} has {len(raw)} characters: the most is {ID_CHARS_MAX}")
    if "\x00" in raw:
        raise BadId(f"{kind} {raw[:32]!r} holds a NUL character: remove it")
    if not raw.isprintable():
        raise BadId(f"{kind} {raw[:32]!r} holds a control character or a lone surrogate: remove it")
    return raw


def user_key(user_id: str) -> Key:
    """The profile key of a known user.

    >>> user_key("42")
    'u:42'
    """
    return Key("u:" + _checked("userId", user_id))


def anonymous_key(anonymous_id: str) -> Key:
    """The profile key of an anonymous visitor.

    >>> anonymous_key("b-7")
    'a:b-7'
    """
    return Key("a:" + _checked("anonymousId", anonymous_id))


def external_id(name: str, raw: str) -> str:
    """Any other id of a client (messageId, groupId, ...), checked; ``name`` is for the message. Raises `BadId`."""
    return _checked(name, raw)


def item_id(raw: str) -> ItemId:
    """An item id, checked. Raises `BadId`."""
    return ItemId(_checked("item_id", raw))


def item_key(item: ItemId) -> Key:
    """The key that owns an item's catalogue records."""
    return Key("i:" + item)


def system_key(name: str) -> Key:
    """The key that owns facts about the store itself (imports, configuration)."""
    return Key("s:" + name)


def is_profile(key: Key) -> bool:
    return key[0] in "ua"


def partition_of(key: Key, partitions: int) -> PartitionId:
    """The partition that owns ``key``: XXH3-64 of its UTF-8 bytes modulo the number of partitions.

    Never Python's ``hash()``, which is salted per process. The number is fixed when a store is made;
    ``everfold repartition`` replays into a new one.

    >>> partition_of(user_key("42"), 2), partition_of(user_key("43"), 2)
    (0, 1)
    """
    return PartitionId(xxhash.xxh3_64_intdigest(key.encode()) % partitions)


def key_hash(secret: bytes, key: Key) -> KeyHash:
    """The name of ``key`` inside the store: 16 bytes, keyed so that ids cannot be guessed from the state."""
    return KeyHash(blake2b(key.encode(), digest_size=16, key=secret, person=b"everfold-key").digest())


def event_id(secret: bytes, write_key: str, message_id: str) -> EventId:
    """The id by which a fact is known once: keyed hash of (write key, messageId), 16 bytes."""
    text = f"{write_key}\x00{message_id}".encode(errors="surrogatepass")
    return EventId(blake2b(text, digest_size=16, key=secret, person=b"everfold-event").digest())
