"""The decision record: what was answered, to whom, under which rules, and everything needed to ask "why" and "what if"
afterwards.

Item ids are strings, so a record outlives the table that numbered them. Arrays of numbers are little-endian float32
bytes: exactly what was compared when the list was made, so the slate can be computed again bit for bit.
"""

from __future__ import annotations

from base64 import b32decode
from binascii import Error as Base32Error
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import msgspec
import numpy as np

from events.errors import BadId
from events.ids import Key
from training.blend import feature_names
from training.learned import CONTEXT

Consent = Literal["granted", "default", "denied", "undecided", "nobody"]
"""Why the answer was personal (`granted` explicitly, or by `default` as nothing was decided), or why not (`denied`,
`undecided` where the default is no, or `nobody`: the request names no one)."""

PERSONAL: frozenset[Consent] = frozenset({"granted", "default"})

_ID_BYTES = 16
_ID_CHARS = 27
_DIGITS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
"""`base64.b32encode` runs in Python and takes 8 us."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a decision was first written, and a recommendation's id: 16 bytes, spool (4), offset (6), random (6).

    The id leads to the record without an index, seconds after it was given and whoever gave it; the random part keeps
    ids from being guessed.

    >>> place = Place(b"spol", 4096, b"random")
    >>> place.text, Place.parse(place.text) == place
    ('ronyg63aaaaaaaeaaojqw4zdpnu', True)
    """

    spool: bytes
    offset: int
    nonce: bytes

    @property
    def id(self) -> bytes:
        return self.spool + self.offset.to_bytes(6, "big") + self.nonce

    @property
    def text(self) -> str:
        """The ``recommendation_id`` clients see: ``r`` and base 32, two digits at a time."""
        number = int.from_bytes(self.id, "big") << 2
        return "r" + "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])

    @classmethod
    def of(cls, raw: bytes) -> Place:
        assert len(raw) == _ID_BYTES
        return cls(raw[:4], int.from_bytes(raw[4:10], "big"), raw[10:])

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises `BadId` for anything that is not a recommendation id."""
        if len(text) == _ID_CHARS and text[0] == "r" and text.isascii():
            try:
                return cls.of(b32decode(text[1:].upper() + "======"))
            except Base32Error:
                pass
        raise BadId(f"{text[:64]!r} is not a recommendation id: send one as an answer gave it")


def request_hash(secret: bytes, key: Key | None, request_id: str) -> bytes:
    """The name under which an answered request is found again: 16 bytes, keyed. It covers who asked, so that the same
    request id sent for somebody else is another request and never returns another person's list."""
    text = f"{key or ''}\x00{request_id}".encode(errors="surrogatepass")
    return blake2b(text, digest_size=16, key=secret[:32], person=b"everfold-reqst").digest()


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Whose decision it is: the partition whose vault holds the key, and the subject. Not set for an answer to nobody,
    or to somebody without facts yet; then ``subject`` is a throw-away."""

    partition: int
    subject: bytes

    @property
    def known(self) -> bool:
        return self.partition != NOBODY


NOBODY = 0xFFFF


class Versions(msgspec.Struct, frozen=True, array_like=True):
    """What the answer was computed from."""

    policy: str
    """Which code and weights chose: ``fixed-1`` and so on."""
    model: str
    items: str
    """State of the item table."""
    profile: int | None
    """Records folded into the profile; null where none was read."""
    profile_lsn: int | None
    learned: str = ""
    """Version of the learned weights that scored; empty: the surface's fixed ones."""
    artefact: str = ""
    """Id of the model artefact the recommenders read; empty: none."""


class Rules(msgspec.Struct, frozen=True, array_like=True):
    """What the surface said when the answer was given (see `training.surface`)."""

    surface: str
    repeats: str
    values: tuple[float, float, float]
    """Of a click, a cart, a purchase."""
    impression: str
    tau: float
    floor: float
    exploration_slots: tuple[int, ...] = ()
    diversity: float = 0.0
    fatigue: float = 1.0
    fairness: float = 0.0


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """One slot of the slate."""

    item: str
    score: float
    propensity: float
    """Probability of this item in this slot, given the slots above it. 1.0 without sampling, and where forced."""
    sources: tuple[str, ...]
    reason: str
    forced: bool = False
    """It was put there by the caller: no choice, so it enters no estimate and teaches nothing."""
    explored: bool = False
    """The uniform floor of an exploration slot put it there, not its gain."""


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """See the module. New fields go to the end, with defaults; ``format`` changes only when that is not enough."""

    format: int
    versions: Versions
    consent: Consent
    rules: Rules
    read_at: int
    """The clock decayed values were read at, us; rounded down to milliseconds for reading them."""
    asked: int
    """How many items were wanted."""
    anchors: tuple[str, ...]
    exclude: tuple[str, ...]
    category: str
    context: dict[str, object]
    recommenders: tuple[str, ...]
    weights: tuple[float, ...]
    """As applied, in the order of ``recommenders``; 0 for those that abstained."""
    candidates: tuple[str, ...]
    """The shortlist slots were filled from, in the order ties are broken in, or none where this decision is not in the
    logged share. Who writes may give them packed already, as `msgspec.Raw`; who reads sees strings."""
    scores: bytes
    """float32 per candidate: the standardised gain, as drawn from. In format 1 the blended relevance."""
    features: bytes
    """float32, shape (slate, recommenders · 4): `training.blend.FEATURES` of the shown items."""
    gains: bytes
    """float32 per shown item: what the slot was decided by, redundancy taken off."""
    seed: int
    """64 bits that the noise of sampling was made from; 0 where nothing was sampled."""
    slate: tuple[Shown, ...]
    test: bool = False
    """Marked by the caller: it teaches nothing and enters no estimate."""
    kinds: bytes = b""
    """int32, shape (4, candidates): `actors.item_view.ItemView.kinds`, what redundancy and labels were judged by."""
    context_features: bytes = b""
    """float32, shape (slate, 3): `training.learned.CONTEXT` of the shown items, with the position they stood at."""
    standard: tuple[float, float] = (0.0, 1.0)
    """(mean, deviation): a candidate's log-odds, fatigue taken off, are its gain (fairness taken off) · deviation +
    mean."""
    scored_at: int = 0
    """When the candidates were scored, us, where that was before ``read_at``: a contextual answer may reuse them for a
    moment. 0: for this answer."""
    failed: tuple[str, ...] = ()
    """Recommenders that dropped out of this answer."""
    segments: tuple[str, ...] = ()
    """Segments the profile was in, as far as the answer looked at them."""


FORMAT = 2
"""2: slates are sampled from a shortlist. Records of format 1 are read as ever; their slates cannot be made again."""
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Decision)


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One shown item as the learner sees it."""

    item: str
    slot: int
    """From 1."""
    propensity: float
    forced: bool
    features: Mapping[str, float]
    """float32 values by name (`training.blend.feature_names` and `training.learned.CONTEXT`); those that are 0 are
    left out, as a sparse learner wants them."""


def shown_rows(decision: Decision) -> list[ShownRow]:
    """The slate, slot by slot, with what the blend saw of each item."""
    shown = len(decision.slate)
    table = np.frombuffer(decision.features, "<f4").reshape(shown, -1) if decision.features else np.empty((shown, 0))
    context = np.frombuffer(decision.context_features, "<f4").reshape(shown, -1) if decision.context_features else table
    names = feature_names(decision.recommenders) if decision.features else []
    if decision.context_features:
        table, names = np.concatenate((table, context), axis=1), [*names, *CONTEXT]
    return [
        ShownRow(
            one.item,
            slot,
            one.propensity,
            one.forced,
            {name: value for name, value in zip(names, row, strict=True) if value},
        )
        for slot, (one, row) in enumerate(zip(decision.slate, table.tolist(), strict=True), 1)
    ]


def encode(decision: Decision) -> bytes:
    return _ENCODER.encode(decision)


def decode(data: bytes) -> Decision:
    return _DECODER.decode(data)
