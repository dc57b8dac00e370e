"""A model artefact: the tables retraining fitted, content-addressed, memory-mapped by replicas.

    DIR/models/<id>/manifest.json          format, digest of every file, provenance
    DIR/models/<id>/items.msgpack          item ids, in the artefact's numbering
    DIR/models/<id>/initial.msgpack        blend weights to start from, where there are any
    DIR/models/<id>/<table>.<array>.npy

The id is a digest of the manifest, which holds the digest of every file: a byte changed anywhere is noticed on loading,
and the same tables of the same provenance have the same id. When it was made is not part of it.
Items have the artefact's own numbers; `Bound` translates them to those of the item table a request looks at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeAlias, cast

import msgspec
import numpy as np
import numpy.typing as npt

from actors.item_view import ItemView
from events.errors import Corrupt, NotFound
from events.secrets import sync_folder
from training.learned import Learned, pack, unpack

Array: TypeAlias = npt.NDArray[np.generic]
Table: TypeAlias = Mapping[str, Array]
"""The arrays of one recommender, by name."""
Scalar: TypeAlias = bool | int | float | str

FOLDER: Final = "models"
"""Where artefacts lie inside the data folder."""
FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
ITEMS: Final = "items.msgpack"
INITIAL: Final = "initial.msgpack"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_ID: Final = re.compile(r"[0-9a-f]{32}")


class Measured(msgspec.Struct, frozen=True):
    """A metric with its interval."""

    value: float
    low: float
    high: float


class Provenance(msgspec.Struct, frozen=True):
    """What a model was made from. All of it counts for the id, so nothing here may depend on when or how fast."""

    offsets: Mapping[str, int] = {}
    """Partition → the LSN after the last record that was read."""
    settings: Mapping[str, Mapping[str, Scalar]] = {}
    """Recommender → its hyper-parameters."""
    seeds: Mapping[str, int] = {}
    versions: Mapping[str, str] = {}
    """Library → version."""
    evaluation: Mapping[str, Mapping[str, Measured]] = {}
    """Recommender (or ``ensemble``) → metric → what it reached on the validation it was not fitted on."""


class Manifest(msgspec.Struct, frozen=True):
    """What an artefact holds."""

    format: int
    files: Mapping[str, str]
    """File → BLAKE2b of its bytes, in hex."""
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Model:
    """Fitted tables over items 0..len(item_ids)-1."""

    id: str
    item_ids: Sequence[str]
    tables: Mapping[str, Table]
    """By recommender name; one that is absent abstains."""
    initial: Learned | None = None
    """Blend weights fitted with these tables on pseudo-requests: where the learner starts from after promotion. Their
    ``model`` is empty: the id is made of them."""
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True)
class Bound:
    """A model seen through one item table."""

    model: Model
    to_view: npt.NDArray[np.int32]
    """By the model's item number: index in the view, -1 when the view does not know it."""
    to_model: npt.NDArray[np.int32]
    """By the view's index: the model's item number, -1 when the model does not know it."""


def ints(table: Table, part: str) -> npt.NDArray[np.int32]:
    """An array of a table that holds int32: item numbers, places, -1 for none."""
    array = table[part]
    assert array.dtype == np.int32, f"{part} is {array.dtype}, not int32"
    return cast("npt.NDArray[np.int32]", array)


def floats(table: Table, part: str) -> npt.NDArray[np.float32]:
    """An array of a table that holds float32: weights, factors."""
    array = table[part]
    assert array.dtype == np.float32, f"{part} is {array.dtype}, not float32"
    return cast("npt.NDArray[np.float32]", array)


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


class _Digest:
    """Digests what is written, and passes it on."""

    def __init__(self, out: BinaryIO | None = None) -> None:
        self._hash = blake2b(digest_size=16)
        self._out = out

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return len(data) if self._out is None else self._out.write(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def model_of(
    item_ids: Sequence[str], tables: Mapping[str, Table], initial: Learned | None, provenance: Provenance
) -> Model:
    """The model of these tables, with its id.

    Raises `ValueError` for arrays of Python objects and for names other than lower-case words (a-z, 0-9, _): they
    become file names.
    """
    arrays = {name: {part: np.asarray(a, order="C") for part, a in table.items()} for name, table in tables.items()}
    names = [*arrays, *(part for table in arrays.values() for part in table)]
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong:
        raise ValueError(f"a table or array cannot be named {wrong[0]!r}: use a-z, 0-9 and _")
    model = Model("", tuple(item_ids), arrays, initial, provenance)
    _, identity = _manifest(model, {name: _digested(write) for name, write in _files(model).items()})
    return Model(identity, model.item_ids, arrays, initial, provenance)


def save(models: Path, model: Model) -> Path:
    """Write ``model`` into the folder ``models``, whole and synced or not at all; returns its folder.

    An artefact that is already there is left as it is, or replaced where it fails its check. Raises `OSError`; then
    nothing of it is left.
    """
    folder = models / model.id
    if folder.exists() and _whole(models, model.id):
        return folder
    models.mkdir(parents=True, exist_ok=True)
    fresh = models / f".new-{model.id}-{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        _write_whole(fresh, model)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(models / f".bad-{model.id}-{os.getpid()}")
    fresh.rename(folder)
    sync_folder(models)
    shutil.rmtree(models / f".bad-{model.id}-{os.getpid()}", ignore_errors=True)
    return folder


def _write_whole(folder: Path, model: Model) -> None:
    digests = {name: _written(folder / name, write) for name, write in _files(model).items()}
    manifest, identity = _manifest(model, digests)
    assert identity == model.id, f"model {model.id} changed since it was made: its tables are now those of {identity}"
    _written(folder / MANIFEST, lambda out: out.write(manifest))
    sync_folder(folder)


def load(models: Path, identity: str) -> Model:
    """The artefact ``identity``, checked byte by byte (about 1 ms per MB), its arrays memory-mapped and read-only.

    Raises `NotFound`, or `Corrupt` naming the file that is missing, changed, or of a format this version cannot read.
    """
    manifest = inspect(models, identity)
    folder = models / identity
    for name, digest in manifest.files.items():
        _checked(folder / name, digest, identity)
    tables: dict[str, dict[str, Array]] = {}
    for name in manifest.files:
        if name.endswith(".npy"):
            table, part, _ = name.split(".")
            tables.setdefault(table, {})[part] = np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False))
    item_ids = msgspec.msgpack.decode((folder / ITEMS).read_bytes(), type=tuple[str, ...])
    initial = unpack((folder / INITIAL).read_bytes()) if INITIAL in manifest.files else None
    return Model(identity, item_ids, tables, initial, manifest.provenance)


def inspect(models: Path, identity: str) -> Manifest:
    """The manifest of an artefact, without a look at its tables. Raises as `load` for the manifest."""
    path = models / identity / MANIFEST
    if not _ID.fullmatch(identity) or not path.parent.exists():
        raise NotFound(f"there is no model {identity[:64]!r}: `everfold models` lists those there are")
    if not path.exists():
        raise Corrupt(f"model {identity}: {path.name} is missing: retrain, or restore the folder from a backup")
    raw = path.read_bytes()
    if blake2b(raw, digest_size=16).hexdigest() != identity:
        raise Corrupt(f"model {identity}: {path.name} is not what was written: retrain, or restore it from a backup")
    number = msgspec.json.decode(raw, type=_Format).format
    if number != FORMAT:
        raise Corrupt(
            f"model {identity}: {path.name} has format {number}, this Everfold reads {FORMAT}: use the newer one"
        )
    return msgspec.json.decode(raw, type=Manifest)


def identities(models: Path) -> list[str]:
    """The ids of all artefacts in the folder, sorted; unfinished ones are not among them."""
    return sorted(entry.name for entry in models.iterdir() if _ID.fullmatch(entry.name)) if models.exists() else []


class Binder:
    """Makes `Bound`s for one replica. One is kept per model and numbering, and grows with the item table: only items
    that came since are looked up (a new binding of 92,000 items takes 20 ms, a grown one a tenth of a millisecond).
    """

    def __init__(self) -> None:
        self._bound: Bound | None = None
        self._numbering = ""
        self._numbers: dict[str, int] = {}

    def bind(self, model: Model, view: ItemView) -> Bound:
        """``model`` as ``view`` sees it. A look-up while neither changed; the arrays never change once given out."""
        bound = self._bound
        if bound is None or bound.model is not model:
            self._numbers = {item: number for number, item in enumerate(model.item_ids)}
            bound = None
        if bound is None or self._numbering != view.numbering or len(bound.to_model) > view.size:
            bound = Bound(model, np.full(len(model.item_ids), -1, np.int32), np.empty(0, np.int32))
        if len(bound.to_model) < view.size or bound is not self._bound:
            bound = self._grown(bound, view)
        self._bound, self._numbering = bound, view.numbering
        return bound

    def _grown(self, bound: Bound, view: ItemView) -> Bound:
        known, size = len(bound.to_model), view.size
        get = self._numbers.get
        fresh = np.array([get(item, -1) for item in view.ids[known:size]], np.int32)
        to_view = bound.to_view.copy()
        seen = np.flatnonzero(fresh >= 0)
        to_view[fresh[seen]] = seen + known
        to_model = np.concatenate((bound.to_model, fresh))
        for array in (to_view, to_model):
            array.flags.writeable = False
        return Bound(bound.model, to_view, to_model)


class _Format(msgspec.Struct, frozen=True):
    format: int


_Write: TypeAlias = Callable[[_Writable], object]


def _files(model: Model) -> dict[str, _Write]:
    """File → what writes its bytes."""
    files: dict[str, _Write] = {ITEMS: _bytes(msgspec.msgpack.encode(model.item_ids))}
    if model.initial is not None:
        files[INITIAL] = _bytes(pack(model.initial))
    for name, table in model.tables.items():
        for part, array in table.items():
            files[f"{name}.{part}.npy"] = _npy(array)
    return files


def _bytes(data: bytes) -> _Write:
    return lambda out: out.write(data)


def _npy(array: Array) -> _Write:
    return lambda out: np.lib.format.write_array(out, array, version=(1, 0), allow_pickle=False)


def _digested(write: _Write) -> str:
    out = _Digest()
    write(out)
    return out.hexdigest()


def _written(path: Path, write: _Write) -> str:
    with path.open("wb") as file:
        out = _Digest(file)
        write(out)
        file.flush()
        os.fsync(file.fileno())
    return out.hexdigest()


def _manifest(model: Model, digests: Mapping[str, str]) -> tuple[bytes, str]:
    raw = msgspec.json.encode(Manifest(FORMAT, digests, model.provenance), order="sorted")
    return raw, blake2b(raw, digest_size=16).hexdigest()


def _checked(path: Path, digest: str, identity: str) -> None:
    if not path.exists():
        raise Corrupt(f"model {identity}: {path.name} is missing: retrain, or restore the folder from a backup")
    with path.open("rb") as file:
        found = file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()
    if found != digest:
        raise Corrupt(f"model {identity}: {path.name} is not what was written: retrain, or restore it from a backup")


def _whole(models: Path, identity: str) -> bool:
    try:
        load(models, identity)
    except Corrupt:
        return False
    return True
