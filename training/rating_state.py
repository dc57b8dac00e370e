"""The rating model as bytes and back, every bit of it. No pickle: msgpack around little-endian arrays."""

from __future__ import annotations

from typing import Final, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from river import stats

from events.errors import Corrupt
from training.rating import FEATURES, VARIANTS, Rating, Scale
from training.rating_pairs import PairCovariance
from training.rating_residuals import HISTORY
from training.rating_slots import Slots

FORMAT: Final = 1

Array: TypeAlias = npt.NDArray[np.generic]
K = TypeVar("K", str, int)


class _People(msgspec.Struct, frozen=True):
    """`Slots` of strings: (id, slot) with the one used longest ago first."""

    most: int
    pairs: tuple[tuple[str, int], ...]
    free: tuple[int, ...]


class _Rows(msgspec.Struct, frozen=True):
    """`Slots` of item slots."""

    most: int
    pairs: tuple[tuple[int, int], ...]
    free: tuple[int, ...]


class _Packed(msgspec.Struct, frozen=True):
    format: int
    low: float
    high: float
    people: _People
    items: _People
    pairs: _Rows
    sum: float
    count: int
    serials: int
    means: tuple[tuple[float, float], ...]
    """Per variant of `reco.BiasedMF`: (ratings, mean)."""
    arrays: dict[str, bytes]


class _Format(msgspec.Struct, frozen=True):
    format: int


def pack(rating: Rating) -> bytes:
    """Equal models, equal bytes."""
    residuals = rating.residuals
    people, items, pairs = rating.people, rating.items, residuals.pairs.slots
    packed = _Packed(
        FORMAT,
        rating.scale.low,
        rating.scale.high,
        _People(people.most, tuple(people), tuple(people.free)),
        _People(items.most, tuple(items), tuple(items.free)),
        _Rows(pairs.most, tuple(pairs), tuple(pairs.free)),
        residuals.sum,
        residuals.count,
        residuals.serials,
        tuple((float(f.model.global_mean.n), float(f.model.global_mean.get())) for f in rating.factors),
        {name: _bytes(array) for name, array in _arrays(rating).items()},
    )
    return msgspec.msgpack.encode(packed, order="sorted")


def unpack(data: bytes) -> Rating:
    """What `pack` was given: it predicts and goes on learning as the original would.

    Raises `Corrupt` for bytes of another format or that are none of ours.
    """
    try:
        number = msgspec.msgpack.decode(data, type=_Format).format
        if number != FORMAT:
            raise Corrupt(f"rating model: format {number}, this Everfold reads {FORMAT}: learn it again from the log")
        packed = msgspec.msgpack.decode(data, type=_Packed)
        return _restored(packed)
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise Corrupt(f"rating model: not what was written ({error}): learn it again from the log") from error


def _restored(packed: _Packed) -> Rating:
    rating = Rating(Scale(packed.low, packed.high), packed.people.most, packed.items.most, packed.pairs.most)
    rating.people = Slots.restored(packed.people.most, packed.people.pairs, packed.people.free)
    rating.items = Slots.restored(packed.items.most, packed.items.pairs, packed.items.free)
    residuals, raw = rating.residuals, packed.arrays
    residuals.sum, residuals.count, residuals.serials = packed.sum, packed.count, packed.serials
    residuals.item_sum = _floats(raw["item_sum"])
    residuals.item_count = _longs(raw["item_count"])
    residuals.item_serial = _longs(raw["item_serial"])
    residuals.past_item = np.frombuffer(raw["past_item"], "<i4").astype(np.int32).reshape(-1, HISTORY)
    residuals.past_serial = _longs(raw["past_serial"]).reshape(-1, HISTORY)
    residuals.past_stars = _singles(raw["past_stars"]).reshape(-1, HISTORY)
    residuals.past_length = np.frombuffer(raw["past_length"], "<i4").astype(np.int32)
    rows = Slots.restored(packed.pairs.most, packed.pairs.pairs, packed.pairs.free)
    shape = (rows.used, rows.used)
    total, people = _singles(raw["pair_sum"]).reshape(shape), _singles(raw["pair_people"]).reshape(shape)
    residuals.pairs = PairCovariance.restored(rows, total, people)
    rating.person_count, rating.person_sum = _longs(raw["person_count"]), _floats(raw["person_sum"])
    rating.blend.weights = _floats(raw["weights"])
    rating.blend.covariance = _floats(raw["covariance"]).reshape(FEATURES, FEATURES)
    for number, (factors, (seen, mean)) in enumerate(zip(rating.factors, packed.means, strict=True)):
        model, size = factors.model, VARIANTS[number].factors
        model.global_mean = _mean(seen, mean)
        model.u_biases, model.i_biases = _floats(raw[f"u_biases{number}"]), _floats(raw[f"i_biases{number}"])
        model.u_latents = _floats(raw[f"u_latents{number}"]).reshape(-1, size)
        model.i_latents = _floats(raw[f"i_latents{number}"]).reshape(-1, size)
    return rating


def _arrays(rating: Rating) -> dict[str, Array]:
    """Every array, cut to the slots in use: how much room was made for growth is not part of the model."""
    residuals, people, items = rating.residuals, rating.people.used, rating.items.used
    total, seen = residuals.pairs.tables()
    arrays: dict[str, Array] = {
        "item_sum": residuals.item_sum[:items],
        "item_count": residuals.item_count[:items],
        "item_serial": residuals.item_serial[:items],
        "past_item": residuals.past_item[:people],
        "past_serial": residuals.past_serial[:people],
        "past_stars": residuals.past_stars[:people],
        "past_length": residuals.past_length[:people],
        "pair_sum": total,
        "pair_people": seen,
        "person_count": rating.person_count[:people],
        "person_sum": rating.person_sum[:people],
        "weights": rating.blend.weights,
        "covariance": rating.blend.covariance,
    }
    for number, factors in enumerate(rating.factors):
        model = factors.model
        arrays[f"u_biases{number}"], arrays[f"i_biases{number}"] = model.u_biases[:people], model.i_biases[:items]
        arrays[f"u_latents{number}"], arrays[f"i_latents{number}"] = model.u_latents[:people], model.i_latents[:items]
    return arrays


def _mean(seen: float, mean: float) -> stats.Mean:
    out = stats.Mean()
    out.n, out._mean = seen, mean
    return out


def _bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _floats(raw: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(raw, "<f8").astype(np.float64)


def _singles(raw: bytes) -> npt.NDArray[np.float32]:
    return np.frombuffer(raw, "<f4").astype(np.float32)


def _longs(raw: bytes) -> npt.NDArray[np.int64]:
    return np.frombuffer(raw, "<i8").astype(np.int64)
