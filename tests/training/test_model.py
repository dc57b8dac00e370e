"""A model artefact is what was saved, bit for bit, or it is refused."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_shop import described, small_shop

from events.errors import Corrupt, NotFound
from training.learned import CONTEXT, OUTCOMES, Learned, SurfaceWeights, pack, unpack
from training.model import (
    MANIFEST,
    Binder,
    Manifest,
    Measured,
    Model,
    Provenance,
    identities,
    inspect,
    load,
    model_of,
    save,
)

NAMES = ("ease", "ials")
PROVENANCE = Provenance(
    offsets={"p0": 7, "p1": 0},
    settings={"ease": {"ridge": 0.1, "rows": 200, "centred": True, "kind": "top"}},
    seeds={"ials": 3},
    versions={"numpy": "2"},
    evaluation={"ease": {"recall@10": Measured(0.1, 0.05, 0.15)}},
)

ARRAYS = arrays.arrays(
    st.sampled_from([np.dtype(code) for code in ("<f4", "<f8", "<i4", "<i8", "?", "u1")]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
NAME = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
TABLES = st.dictionaries(NAME, st.dictionaries(NAME, ARRAYS, min_size=1, max_size=3), max_size=3)
FLOATS = st.floats(allow_nan=False, width=64)


@st.composite
def learned(draw: st.DrawFn) -> Learned:
    def matrix(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return draw(arrays.arrays(np.float64, shape, elements=FLOATS))

    weights = SurfaceWeights(
        matrix(len(OUTCOMES)),
        matrix(len(OUTCOMES), 4 * len(NAMES)),
        matrix(len(OUTCOMES), len(CONTEXT)),
        matrix(2),
        {name: matrix(2) for name in draw(st.sets(st.text(max_size=4), max_size=2))},
    )
    return Learned(draw(st.text(max_size=4)), draw(st.text(max_size=4)), NAMES, {draw(st.text(max_size=4)): weights})


def same(one: Model, two: Model) -> None:
    assert (one.id, tuple(one.item_ids), one.provenance) == (two.id, tuple(two.item_ids), two.provenance)
    assert one.tables.keys() == {name for name in two.tables if two.tables[name]}
    for name, table in one.tables.items():
        assert table.keys() == two.tables[name].keys()
        for part, array in table.items():
            other = two.tables[name][part]
            assert (array.dtype, array.shape, array.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert (one.initial is None) == (two.initial is None)
    if one.initial is not None and two.initial is not None:
        assert pack(one.initial) == pack(two.initial)


def small(number: float = 1.0) -> Model:
    table = {"row": np.array([[number, 2.0]], np.float32), "empty": np.empty(0, np.int32)}
    return model_of(["tea", "milk"], {"ease": table, "ials": {"one": np.array(3)}}, None, PROVENANCE)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=5), max_size=4), TABLES, st.none() | learned())
def test_what_is_loaded_is_what_was_saved_bit_for_bit(
    items: list[str], tables: dict[str, dict[str, np.ndarray]], initial: Learned | None  # type: ignore[type-arg]
) -> None:  # fmt: skip
    made = model_of(items, tables, initial, PROVENANCE)
    with TemporaryDirectory() as folder:
        save(Path(folder), made)
        same(load(Path(folder), made.id), made)
        assert identities(Path(folder)) == [made.id]


@settings(max_examples=50)
@given(learned())
def test_weights_survive_packing_bit_for_bit(weights: Learned) -> None:
    again = unpack(pack(weights))
    assert (again.version, again.model, again.names) == (weights.version, weights.model, weights.names)
    for name, surface in weights.surfaces.items():
        for part in ("intercept", "recommenders", "context", "hedge"):
            one, two = getattr(surface, part), getattr(again.surfaces[name], part)
            assert (one.shape, one.tobytes()) == (two.shape, two.tobytes())
        held = {segment: hedge.tobytes() for segment, hedge in surface.hedges.items()}
        assert {segment: hedge.tobytes() for segment, hedge in again.surfaces[name].hedges.items()} == held


def test_one_flipped_byte_in_any_file_is_refused_by_its_name(tmp_path: Path) -> None:
    made = model_of(["tea"], {"ease": {"row": np.arange(3)}}, None, PROVENANCE)
    folder = save(tmp_path, made)
    files = sorted(folder.iterdir())
    assert len(files) == 3
    for file in files:
        raw = file.read_bytes()
        for at in range(len(raw)):
            file.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
            with pytest.raises(Corrupt, match=file.name):
                load(tmp_path, made.id)
        for other in (raw[:-1], raw + b"\0"):
            file.write_bytes(other)
            with pytest.raises(Corrupt, match=file.name):
                load(tmp_path, made.id)
        file.unlink()
        with pytest.raises(Corrupt, match=file.name):
            load(tmp_path, made.id)
        file.write_bytes(raw)
    same(load(tmp_path, made.id), made)


def test_the_same_content_has_the_same_id_and_any_other_has_another(tmp_path: Path) -> None:
    assert small().id == small().id
    assert save(tmp_path, small()) == save(tmp_path, small())
    others = [
        small(1.5),
        model_of(["tea"], small().tables, None, PROVENANCE),
        model_of(["tea", "milk"], small().tables, None, Provenance()),
        model_of(["tea", "milk"], {"ease": small().tables["ease"]}, None, PROVENANCE),
    ]
    assert len({small().id, *(other.id for other in others)}) == 5
    columns = model_of(["tea", "milk"], {"ease": {"row": np.ones((2, 2), order="F")}}, None, PROVENANCE)
    assert columns.id == model_of(["tea", "milk"], {"ease": {"row": np.ones((2, 2))}}, None, PROVENANCE).id


def test_a_format_of_the_future_is_refused(tmp_path: Path) -> None:
    raw = msgspec.json.encode(Manifest(2, {}, PROVENANCE))
    name = blake2b(raw, digest_size=16).hexdigest()
    (tmp_path / name).mkdir()
    (tmp_path / name / MANIFEST).write_bytes(raw)
    with pytest.raises(Corrupt, match="format 2"):
        load(tmp_path, name)


@pytest.mark.parametrize("name", ["", "0" * 32, "../secrets", "A" * 32])
def test_a_model_that_is_not_there_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        load(tmp_path, name)


def test_what_a_kill_left_half_written_is_no_model_and_no_obstacle(tmp_path: Path) -> None:
    made = small()
    half = tmp_path / f".new-{made.id}-1"
    half.mkdir()
    (half / "ease.row.npy").write_bytes(b"half")
    assert identities(tmp_path) == []
    save(tmp_path, made)
    assert identities(tmp_path) == [made.id]


def test_saving_again_heals_an_artefact_that_fails_its_check(tmp_path: Path) -> None:
    made = small()
    (save(tmp_path, made) / "ease.row.npy").write_bytes(b"gone")
    save(tmp_path, made)
    same(load(tmp_path, made.id), made)
    assert [entry.name for entry in tmp_path.iterdir()] == [made.id]


def test_a_manifest_tells_where_a_model_comes_from(tmp_path: Path) -> None:
    made = small()
    save(tmp_path, made)
    assert inspect(tmp_path, made.id).provenance == PROVENANCE


def test_loaded_arrays_cannot_be_written_to(tmp_path: Path) -> None:
    made = small()
    save(tmp_path, made)
    with pytest.raises(ValueError, match="read-only"):
        load(tmp_path, made.id).tables["ease"]["row"][0] = 0


@pytest.mark.parametrize("name", ["", "a.b", "../a", "Ease", "a b"])
def test_names_that_could_not_be_files_are_refused(name: str) -> None:
    for tables in ({name: {"row": np.ones(1)}}, {"ease": {name: np.ones(1)}}):
        with pytest.raises(ValueError, match="cannot be named"):
            model_of([], tables, None, PROVENANCE)


def test_a_bound_model_translates_both_ways() -> None:
    items = small_shop().snapshot()
    model = model_of(["tea", "gone", "milk"], {}, None, PROVENANCE)
    bound = Binder().bind(model, items)
    assert bound.to_view.tolist() == [items.index("tea"), -1, items.index("milk")]
    assert [int(bound.to_model[items.index(item)]) for item in ("tea", "milk", "dip")] == [0, 2, -1]
    assert len(bound.to_model) == items.size


def test_a_binding_is_kept_while_nothing_changes_and_grows_with_the_items() -> None:
    small_one, grown = small_shop().snapshot(), small_shop([described("late")]).snapshot()
    model = model_of(["late", "tea"], {}, None, PROVENANCE)
    binder = Binder()
    before = binder.bind(model, small_one)
    assert binder.bind(model, small_one) is before
    after = binder.bind(model, grown)
    assert before.to_view.tolist() == [-1, small_one.index("tea")]
    assert after.to_view.tolist() == [grown.index("late"), grown.index("tea")]
    assert after.to_model.tolist() == Binder().bind(model, grown).to_model.tolist()


def test_another_model_or_another_numbering_is_bound_anew() -> None:
    view = small_shop().snapshot()
    other = small_shop().snapshot()
    other.numbering = "another"
    one, two = model_of(["tea"], {}, None, PROVENANCE), model_of(["milk"], {}, None, PROVENANCE)
    binder = Binder()
    first = binder.bind(one, view)
    assert binder.bind(two, view).to_view.tolist() == [view.index("milk")]
    assert binder.bind(one, other) is not first
    assert binder.bind(model_of([], {}, None, PROVENANCE), view).to_model.tolist() == [-1] * view.size
