"""The data folder: what a store is made of, and who may open it.

`DIR/manifest.json` is written last when a store is made, so a folder either is a store or is not. It says how many
partitions there are, for good; a partition it lists whose folder is missing is an error, never a creation.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import xxhash

from events.errors import BadSettings, Conflict, KeyMissing, NotFound
from events.ids import Key, PartitionId, partition_of
from events.secrets import Secrets, sync_folder

MANIFEST = "manifest.json"
PARTITIONS = "partitions"
FORMAT = 1
PARTITIONS_MAX = 4096
SETTINGS = ("everfold.toml", "keys.toml")
"""Files of the store that a copy of it keeps, besides its facts."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is fixed when a store is made."""

    format: int
    store_id: str
    """16 hex digits."""
    partitions: int
    """Partitions that take keys by their hash."""
    created: int
    """Milliseconds."""
    key_check: str
    """Tells whether a master key is this store's; says nothing about it."""
    pinned: tuple[str, ...] = ()
    """Keys with a partition of their own, numbered on from the hashed ones."""


@dataclass(frozen=True)
class Store:
    """An existing data folder."""

    path: Path
    manifest: Manifest
    secrets: Secrets

    @classmethod
    def create(
        cls, path: Path, partitions: int, now_ms: int, pinned: tuple[str, ...] = (), store_id: str = ""
    ) -> Store:
        """Make a store in ``path``, which may exist but hold no store; a master key found there is used. ``store_id``
        is drawn at random unless given.

        Raises `Conflict` when there is a store already, `BadSettings` for an impossible number of partitions.
        """
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise BadSettings(f"{partitions} partitions: choose 1 to {PARTITIONS_MAX}")
        if (path / MANIFEST).exists():
            raise Conflict(f"{path} holds a store already: open it, or choose an empty folder")
        path.mkdir(parents=True, exist_ok=True)
        secrets = Secrets.open(path, create=True)
        manifest = Manifest(FORMAT, store_id or os.urandom(8).hex(), partitions, now_ms, _check(secrets), pinned)
        store = cls(path, manifest, secrets)
        for number in store.numbers():
            store.folder(number).mkdir(parents=True, exist_ok=True)
        sync_folder(path / PARTITIONS)
        store._write_manifest()
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """The store in ``path``.

        Raises `NotFound` when there is none or a partition's folder is missing, `BadSettings` for a manifest of
        another format, `KeyMissing` when ``master.key`` is not the one it was made with.
        """
        try:
            text = (path / MANIFEST).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no store in {path}: make one with `everfold up --data {path}`") from None
        try:
            manifest = msgspec.json.decode(text, type=Manifest)
        except msgspec.ValidationError as error:
            raise BadSettings(f"{path / MANIFEST} cannot be read ({error}): use the Everfold that wrote it") from None
        if manifest.format != FORMAT:
            raise BadSettings(f"{path} has format {manifest.format}, this Everfold reads {FORMAT}: run a newer one")
        secrets = Secrets.open(path, create=False)
        if _check(secrets) != manifest.key_check:
            raise KeyMissing(f"{path / 'master.key'} is not the key this store was made with: restore the right one")
        store = cls(path, manifest, secrets)
        for number in store.numbers():
            if not store.folder(number).is_dir():
                raise NotFound(f"{store.folder(number)} is missing: restore it from a backup, the manifest lists it")
        return store

    def numbers(self) -> list[PartitionId]:
        """Every partition, hashed and pinned."""
        return [PartitionId(number) for number in range(self.manifest.partitions + len(self.manifest.pinned))]

    def partition(self, key: Key) -> PartitionId:
        """The partition that owns ``key``."""
        if key in self.manifest.pinned:
            return PartitionId(self.manifest.partitions + self.manifest.pinned.index(key))
        return partition_of(key, self.manifest.partitions)

    def partition_of_digest(self, key_digest: int) -> PartitionId:
        """`partition` for who knows only the XXH3-64 of the key (`events.vault.Owner`)."""
        for index, key in enumerate(self.manifest.pinned):
            if xxhash.xxh3_64_intdigest(key.encode()) == key_digest:
                return PartitionId(self.manifest.partitions + index)
        return PartitionId(key_digest % self.manifest.partitions)

    def folder(self, number: PartitionId) -> Path:
        """Where a partition lies."""
        return partition_folder(self.path, number)

    def _write_manifest(self) -> None:
        fresh = self.path / (MANIFEST + ".new")
        with open(fresh, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self.manifest), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self.path / MANIFEST)
        sync_folder(self.path)


def partition_folder(path: Path, number: PartitionId) -> Path:
    return path / PARTITIONS / f"p{number}"


def _check(secrets: Secrets) -> str:
    return secrets.check[:8].hex()
