"""Sealing decisions: with the subject's own key where there is one, so that erasing the subject erases them too; else
with the store's secret for decisions."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.errors import Corrupt, KeyMissing, NotFound
from events.vault import VaultReader
from serving.decision import NOBODY, Owner

NONCE_BYTES = 12
_THROW_AWAY_BYTES = 16


class Ciphers(Protocol):
    """The subjects' keys, as `events.vault.VaultReader` holds them, over all partitions."""

    def cipher(self, owner: Owner) -> AESGCM:
        """Asked anew for every record, so that an erased key is gone at once. Raises `KeyMissing`."""
        ...


class Vaults:
    """The vaults of all partitions. ``opened`` opens one's reader and is called once per partition."""

    def __init__(self, opened: Callable[[int], VaultReader]) -> None:
        self._opened = opened
        self._readers: dict[int, VaultReader] = {}

    def cipher(self, owner: Owner) -> AESGCM:
        reader = self._readers.get(owner.partition)
        if reader is None:
            try:
                reader = self._readers[owner.partition] = self._opened(owner.partition)
            except NotFound:
                raise KeyMissing(f"partition {owner.partition} has no vault here: restore its vault/slots") from None
        return reader.open(owner.subject).cipher

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()


class Sealer:
    """AES-256-GCM, ``nonce (12 random bytes) ‖ ciphertext ‖ tag``; place and owner are authenticated with it, so a
    record cannot be moved to another id or person."""

    def __init__(self, secret: bytes, ciphers: Ciphers, random: Callable[[int], bytes] = os.urandom) -> None:
        self._own = AESGCM(secret)
        self._ciphers = ciphers
        self._random = random

    def nobody(self) -> Owner:
        """A throw-away subject: nothing leads from it to anyone, nor from one answer to the next."""
        return Owner(NOBODY, self._random(_THROW_AWAY_BYTES))

    def seal(self, owner: Owner, place: bytes, plain: bytes) -> bytes:
        """Raises `KeyMissing`."""
        nonce = self._random(NONCE_BYTES)
        return nonce + self._cipher(owner).encrypt(nonce, plain, place + owner.subject)

    def unseal(self, owner: Owner, place: bytes, sealed: bytes) -> bytes:
        """Raises `KeyMissing` (erased) or `Corrupt`."""
        try:
            return self._cipher(owner).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place + owner.subject)
        except InvalidTag:
            raise Corrupt(f"decision {place.hex()} fails its check: it was damaged or moved") from None

    def _cipher(self, owner: Owner) -> AESGCM:
        return self._ciphers.cipher(owner) if owner.known else self._own
