"""The vault: who a subject is, and the key that its facts are sealed with. Erasing a key erases the facts.

One slot of 128 bytes per subject, overwritten in place: the log only ever grows and LMDB is copy-on-write, so both
would keep a deleted key for a while. (On a file system that is itself copy-on-write the old blocks live on until they
are reused.) A slot holds state, CRC-32, key hash, subject id, the first letter of the external key, and, wrapped with
the store's wrap key, the subject's AES-256-GCM data key and the external key's digest (for ``everfold repartition``).

A sealed payload is ``nonce (12 random bytes) ‖ ciphertext ‖ tag``; subject, event id and LSN are authenticated with it,
so a payload cannot be moved to another record. Up to 2^32 payloads may be sealed under one key with random nonces
(NIST SP 800-38D, 8.3); a key serves one subject only.

The owner syncs a new slot before the first record that needs it is written, so a record without a slot is damage.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import xxhash
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.disk import Disk, File, join
from events.errors import Corrupt, KeyMissing
from events.ids import Key, KeyHash, SubjectId, is_profile

SLOTS = "vault/slots"
"""The file, below the partition's folder."""
SLOT_BYTES = 128

_HEAD = struct.Struct("<B3xI")
_BODY = struct.Struct("<16s16s12s56sc")
_PLAIN = struct.Struct("<32sQ")
_LSN = struct.Struct("<Q")
_NONCE_BYTES = 12
_LIVE = 1
_ERASED = 2
_PAD = bytes(SLOT_BYTES - _HEAD.size - _BODY.size)

CACHED_KEYS = 16_384
"""Unwrapped keys held in memory, about 3 kB each; a miss costs 3 us."""


def open_slots(disk: Disk, folder: str = "") -> File:
    """The slots file of the partition in ``folder``, for its owner; made, with a durable name, when there is none."""
    path = join(folder, SLOTS)
    if path.rpartition("/")[2] not in disk.list(path.rpartition("/")[0]):
        disk.open(path + ".new").close()
        disk.rename(path + ".new", path)
    return disk.open(path)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a subject is, as far as the store knows."""

    key_hash: KeyHash
    key_digest: int
    """XXH3-64 of the external key: what its partition is computed from."""
    kind: str
    """First letter of the external key."""
    has_profile: bool
    """False for items and the system."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An unwrapped slot, as it lay there when it was opened."""

    subject: bytes
    owner: Owner
    cipher: AESGCM
    raw: bytes

    def unseal(self, event_id: bytes, lsn: int, sealed: bytes) -> bytes:
        """The plain payload. Raises `Corrupt` when the bytes do not match."""
        try:
            return self.cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], b"".join((self.subject, event_id, _LSN.pack(lsn)))
            )
        except (InvalidTag, ValueError):  # the latter for bytes too short to hold a nonce
            raise Corrupt(f"the payload of LSN {lsn} fails its check: restore the segment from a backup") from None

    def seal(self, event_id: bytes, lsn: int, nonce: bytes, payload: bytes) -> bytes:
        """``payload`` for the record at ``lsn``; a nonce serves once."""
        return nonce + self.cipher.encrypt(nonce, payload, b"".join((self.subject, event_id, _LSN.pack(lsn))))


class VaultReader:
    """Opens what was sealed. Every call looks at the slot itself, so that an erased key is gone at once, in every
    process that has the file open."""

    def __init__(self, slots: File, wrap_key: bytes, cached_keys: int = CACHED_KEYS) -> None:
        self._slots = slots
        self._wrap = AESGCM(wrap_key)
        self._cached_keys = cached_keys
        self._opened: OrderedDict[bytes, Opened] = OrderedDict()

    def open(self, subject: bytes) -> Opened:
        """The subject's slot. Raises `KeyMissing` when its key is gone. Not to be kept."""
        raw = self._read(_slot(subject))
        opened = self._opened.get(subject)
        if opened is not None and opened.raw == raw:
            return opened
        self._opened.pop(subject, None)
        opened = self._unwrap(subject, raw)
        self._opened[subject] = opened
        if len(self._opened) > self._cached_keys:
            self._opened.popitem(last=False)
        return opened

    def erased(self, subject: bytes) -> bool:
        """Whether the slot says that its key was destroyed (a slot never written or damaged says nothing)."""
        raw = self._read(_slot(subject))
        return len(raw) == SLOT_BYTES and raw[0] == _ERASED and _intact(raw) and _subject(raw) == subject

    def entries(self, start: int) -> Iterator[tuple[KeyHash, SubjectId]]:
        """(key hash, subject) of every live slot from number ``start`` on. A torn slot is passed over: nothing can
        have been written under it."""
        for slot in range(start, self.count()):
            raw = self._read(slot)
            if len(raw) == SLOT_BYTES and raw[0] == _LIVE and _intact(raw):
                key_hash, subject, _, _, _ = _BODY.unpack_from(raw, _HEAD.size)
                yield KeyHash(key_hash), SubjectId(subject)

    def erasures(self) -> Iterator[SubjectId]:
        """Every subject whose key was destroyed."""
        for slot in range(self.count()):
            raw = self._read(slot)
            if len(raw) == SLOT_BYTES and raw[0] == _ERASED and _intact(raw):
                yield SubjectId(_subject(raw))

    def count(self) -> int:
        """Slots ever begun."""
        return -(-self._slots.size() // SLOT_BYTES)

    def close(self) -> None:
        self._opened.clear()
        self._slots.close()

    def _read(self, slot: int) -> bytes:
        return self._slots.read(slot * SLOT_BYTES, SLOT_BYTES)

    def _unwrap(self, subject: bytes, raw: bytes) -> Opened:
        name = subject.hex()
        if len(raw) != SLOT_BYTES or raw[0] != _LIVE:
            raise KeyMissing(f"the key of subject {name} is gone: restore vault/slots unless the subject was erased")
        key_hash, owner, nonce, wrapped, kind = _BODY.unpack_from(raw, _HEAD.size)
        if not _intact(raw) or owner != subject:
            raise KeyMissing(f"the vault slot of subject {name} is damaged: restore vault/slots from a backup")
        try:
            key, digest = _PLAIN.unpack(self._wrap.decrypt(nonce, wrapped, key_hash + subject))
        except InvalidTag:
            raise KeyMissing(f"the key of subject {name} does not unwrap: use the master.key of this store") from None
        letter = kind.decode()
        return Opened(subject, Owner(KeyHash(key_hash), digest, letter, is_profile(Key(letter))), AESGCM(key), raw)


class Vault(VaultReader):
    """The owner's side: makes, uses and destroys keys. ``random`` draws subject ids, keys and nonces."""

    def __init__(
        self,
        slots: File,
        wrap_key: bytes,
        cached_keys: int = CACHED_KEYS,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(slots, wrap_key, cached_keys)
        self._random = random

    def open(self, subject: bytes) -> Opened:
        """As `VaultReader.open`, but without looking again at a slot that nobody else writes."""
        return self._opened.get(subject) or super().open(subject)

    def create(self, key: Key, key_hash: KeyHash) -> SubjectId:
        """A new subject for ``key``, with a key to seal with; durable after `sync`. Raises `DiskFull`."""
        return self.adopt(key_hash, xxhash.xxh3_64_intdigest(key.encode()), key[0])

    def adopt(self, key_hash: KeyHash, key_digest: int, kind: str) -> SubjectId:
        """`create` for who knows the external key only by its hash, digest and first letter."""
        slot = self.count()
        subject = SubjectId(self._random(12) + slot.to_bytes(4, "big"))
        nonce = self._random(_NONCE_BYTES)
        wrapped = self._wrap.encrypt(nonce, _PLAIN.pack(self._random(32), key_digest), key_hash + subject)
        self._write(slot, _LIVE, _BODY.pack(key_hash, subject, nonce, wrapped, kind.encode()))
        return subject

    def renew(self, subject: bytes) -> None:
        """Write the subject's slot again as it lies there; durable after `sync`. For a slot another process made: where
        its sync failed, the bytes are in the page cache only, marked clean, and no later sync would write them."""
        slot = _slot(subject)
        self._slots.write(slot * SLOT_BYTES, self._read(slot))

    def seal(self, subject: bytes, event_id: bytes, lsn: int, payload: bytes) -> bytes:
        """``payload`` sealed for the record at ``lsn``. Raises `KeyMissing`."""
        return self.open(subject).seal(event_id, lsn, self._random(_NONCE_BYTES), payload)

    def erase(self, subject: bytes) -> None:
        """Destroy the subject's key for good and forget whose it was; durable on return. Erasing twice is harmless, and
        writes twice: where the first sync failed, a second one alone would not reach the device."""
        self._opened.pop(subject, None)
        slot = _slot(subject)
        if slot < self.count():
            self._write(slot, _ERASED, _BODY.pack(bytes(16), subject, bytes(12), bytes(56), b"-"))
        self._slots.sync()

    def sync(self) -> None:
        """New slots are durable on return. Raises `SyncFailed`."""
        self._slots.sync()

    def _write(self, slot: int, state: int, body: bytes) -> None:
        padded = body + _PAD
        self._slots.write(slot * SLOT_BYTES, _HEAD.pack(state, zlib.crc32(padded, state)) + padded)


def _slot(subject: bytes) -> int:
    return int.from_bytes(subject[12:], "big")


def _subject(raw: bytes) -> bytes:
    return raw[_HEAD.size + 16 : _HEAD.size + 32]


def _intact(raw: bytes) -> bool:
    state, crc = _HEAD.unpack_from(raw)
    return bool(zlib.crc32(raw[_HEAD.size :], state) == crc)
