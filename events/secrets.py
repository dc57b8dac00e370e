"""The store's secrets: one random master key in ``DIR/master.key``, and the keys derived from it.

Derivation is HKDF-SHA256 (RFC 5869) without salt and with a label per purpose, so that no derived key tells anything
about another. The file is made once, readable by its owner only, and is no part of a backup of the data: data and
master key kept apart are what makes a stolen backup useless.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from events.errors import KeyMissing

MASTER_KEY = "master.key"
MASTER_KEY_BYTES = 32


@dataclass(frozen=True, repr=False)
class Secrets:
    """Derived keys, 32 bytes each. Its repr shows none of them."""

    key_hash: bytes
    """Names profile keys inside the store (`events.ids.key_hash`)."""
    event_id: bytes
    """Names facts (`events.ids.event_id`)."""
    vault_wrap: bytes
    """Wraps the subjects' data keys (`events.vault`)."""
    decisions: bytes
    """Seals decision records."""
    quarantine: bytes
    """Seals the quarantine log."""
    noise: bytes
    """Seeds the stable noise of sampling."""
    check: bytes
    """Tells whether a master key is the one a store was made with; 8 bytes of it stand in the manifest."""

    @classmethod
    def derive(cls, master: bytes) -> Secrets:
        """All keys of one master key.

        >>> a, b = Secrets.derive(bytes(32)), Secrets.derive(bytes(32))
        >>> a == b, len(a.noise), a.noise == a.decisions
        (True, 32, False)
        """
        assert len(master) == MASTER_KEY_BYTES

        def derived(label: bytes) -> bytes:
            return HKDF(algorithm=SHA256(), length=32, salt=None, info=label).derive(master)

        return cls(
            key_hash=derived(b"key-hash"),
            event_id=derived(b"event-id"),
            vault_wrap=derived(b"vault-wrap"),
            decisions=derived(b"decisions"),
            quarantine=derived(b"quarantine"),
            noise=derived(b"noise"),
            check=derived(b"check"),
        )

    @classmethod
    def open(cls, folder: Path, create: bool) -> Secrets:
        """The secrets of the store in ``folder``; with ``create`` the master key is made when there is none.

        Raises `KeyMissing` when there is none and none may be made, or when the file is not 32 bytes long.
        """
        path = folder / MASTER_KEY
        if create and not path.exists():
            _make(path)
        try:
            master = path.read_bytes()
        except FileNotFoundError:
            raise KeyMissing(f"{path} is missing: put the master key this store was made with there") from None
        if len(master) != MASTER_KEY_BYTES:
            raise KeyMissing(f"{path} has {len(master)} bytes instead of {MASTER_KEY_BYTES}: restore the right one")
        return cls.derive(master)


def _make(path: Path) -> None:
    """A new master key, whole and durable before its name appears; an existing one is never replaced."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, os.urandom(MASTER_KEY_BYTES))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
