"""The profile: what the facts of one key add up to. Values only; `actors.fold` is the one writer.

Layers about items name the item only: what it is stands in the catalogue, what it says about taste in the interests.
Everything is frozen. A fold copies the layers it changes and shares the rest, so a reader may keep any profile it was
given. Every layer is bounded, and built so that facts may arrive in any order: decayed sums add, sets and maxima do
not care, and what can have one value only keeps the one with the greatest (event time, event id).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, Protocol

import msgspec

from actors.decay import DecayTable
from events.types import Json

PERSONALIZATION: Final = "personalization"
"""The purpose that decides whether anything but consent and ids is folded."""
SALE_SHARE: Final = "sale_share"
"""The purpose that Global Privacy Control denies."""

RECENT_MAX: Final = 50
PURCHASES_MAX: Final = 256
PURCHASE_TIMES_MAX: Final = 8
IMPRESSIONS_MAX: Final = 200
SLOTS_MAX: Final = 256
STEPS_MAX: Final = 64
TIMES_MAX: Final = 32
"""Event times kept of each signal: rules count in windows up to here."""
TRAITS_MAX: Final = 256
PURPOSES_MAX: Final = 64
SEGMENTS_MAX: Final = 256
EXPERIMENTS_MAX: Final = 64
GROUPS_MAX: Final = 16
IDS_MAX: Final = 8

LONG_AGO: Final = -(2**63)
"""Before every event time."""


class Recent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The latest thing done with an item."""

    item: str
    at: int
    signal: str
    weight: float
    """The signal's weight times the event's; not above 0 where something was taken back or disliked."""


class Purchase(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known about buying one item."""

    item: str
    times: tuple[int, ...]
    """Distinct times of the latest purchases, ascending, at most 8. Empty when only a refund has been seen."""
    count: int
    """Orders that held the item minus refunds of it."""
    quantity: float
    k: int
    s: float
    """`count` decayed with a half-life of 90 days, as stored (`actors.decay.read`, "quarter")."""


class Impressions(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was really seen, for fatigue: the 200 items seen last."""

    seen: DecayTable = DecayTable("day")
    last: dict[str, int] = {}
    """Item → when it was seen last, in ascending (time, item)."""


class Engagement(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How much, how often, how lately, regardless of the item."""

    counts: dict[str, int] = {}
    """Facts by signal, and by ``visit``, ``impression``, ``tracked``, ``test``, ``bot``."""
    stamps: dict[str, bytes] = {}
    """Signal → its latest 32 event times, packed: `actors.engagement.times`."""
    rates: dict[str, DecayTable] = {}
    """Half-life → decayed counts by signal."""
    dwell_ms: int = 0
    scroll_permille: int = 0
    """Sum of the deepest points reached by visits, in thousandths: integers add up exactly in any order."""
    watched_permille: int = 0
    """Sum of the shares watched or read, in thousandths."""
    slots: bytes = b""
    """The latest 256 half hours in which something was done, packed: `actors.engagement.half_hours`."""


class Spending(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Money and what was saved, in thousandths: integers add up exactly in any order (`actors.spending`)."""

    paid: int = 0
    """Revenue of purchases minus that of refunds."""
    gross: int = 0
    """Revenue of purchases before discounts."""
    saved: int = 0
    """Discounts."""
    coupons: int = 0
    """Purchases with a coupon."""
    ranks: int = 0
    """Sum of the price ranks of the purchases that have one."""
    ranked: int = 0
    """How many have one."""


class Choice(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest decision about one purpose."""

    granted: bool
    at: int
    tie: bytes
    source: str


class Trait(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest value of one trait; None: removed (kept, so that an older value arriving late does not return)."""

    value: Json
    at: int
    tie: bytes


class Membership(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Whether the profile was last seen entering or leaving a segment."""

    entered: bool
    at: int
    tie: bytes


class Exposure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first variation of an experiment that this profile was shown."""

    variation: str
    at: int
    tie: bytes


class Profile(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One profile. The default is that of somebody of whom nothing is known (`EMPTY`)."""

    version: int = 0
    """Facts folded, those without effect included."""
    lsn: int = -1
    """Of the last fact folded: the head of the subject's chain. -1: none."""
    subject: bytes = b""
    """The vault's name of the person; set by the partition, kept by the fold."""
    first_at: int | None = None
    """Earliest event time folded into the layers below; None: none was."""
    last_at: int | None = None
    user_id: str = ""
    anonymous: dict[str, int] = {}
    """Anonymous id → when last seen; the latest 8."""
    previous: dict[str, int] = {}
    """Ids said to be the same person (alias) → when last said; the latest 8. Links to follow, nothing is merged."""
    default_consent: bool = True
    """The store's default for undecided purposes, as stamped on the last fact folded."""
    consent: dict[str, Choice] = {}
    since: int = LONG_AGO
    """Facts of an earlier event time are not folded: the person took back consent, or had not given it then."""
    traits: dict[str, Trait] = {}
    groups: dict[str, int] = {}
    """Group id → when last said; the latest 16."""
    interests: dict[str, DecayTable] = {}
    """Half-life → sums by ``category:…``, ``brand:…``, ``attr:…``; at most 256 keys each."""
    recent: tuple[Recent, ...] = ()
    """Newest first, ties by item, one entry per item, at most 50."""
    purchases: dict[str, Purchase] = {}
    """In ascending (latest time, item); the latest 256."""
    engagement: Engagement = Engagement()
    steps: tuple[bytes, ...] = ()
    """The latest 64 things done, in the order of (time, content), packed: `actors.sessions`."""
    spending: Spending = Spending()
    impressions: Impressions = Impressions()
    segments: dict[str, Membership] = {}
    experiments: dict[str, Exposure] = {}

    def whole(self) -> Profile:
        """Itself: see `Glance`."""
        return self

    @property
    def anonymous_ids(self) -> tuple[str, ...]:
        """Latest first."""
        return newest(self.anonymous)

    @property
    def previous_ids(self) -> tuple[str, ...]:
        """Latest first."""
        return newest(self.previous)


EMPTY: Final = Profile()


class Glance(Protocol):
    """What every answer looks at. The layers behind it are 20 kB that only a new version is decoded for."""

    @property
    def version(self) -> int: ...

    @property
    def lsn(self) -> int: ...

    @property
    def subject(self) -> bytes: ...

    @property
    def consent(self) -> dict[str, Choice]: ...

    def whole(self) -> Profile: ...


class Head(msgspec.Struct, frozen=True, gc=False):
    """The fields of `Profile` that a `Glance` shows, with the same names and defaults."""

    version: int = 0
    lsn: int = -1
    subject: bytes = b""
    consent: dict[str, Choice] = {}


class Stored:
    """A `Glance` at a blob: the head is decoded, the rest when it is asked for."""

    __slots__ = ("_blob", "consent", "lsn", "subject", "version")

    def __init__(self, head: Head, blob: bytes) -> None:
        self.version = head.version
        self.lsn = head.lsn
        self.subject = head.subject
        self.consent = head.consent
        self._blob = blob

    def whole(self) -> Profile:
        return decode(self._blob)


class Behaviour(Protocol):
    """What sessions and scores are read from: a `Profile`, or whatever decodes these fields of one."""

    @property
    def first_at(self) -> int | None: ...

    @property
    def last_at(self) -> int | None: ...

    @property
    def engagement(self) -> Engagement: ...

    @property
    def steps(self) -> tuple[bytes, ...]: ...

    @property
    def spending(self) -> Spending: ...


def newest(seen: dict[str, int]) -> tuple[str, ...]:
    """The keys, latest first, ties by key."""
    return tuple(sorted(seen, key=lambda key: (-seen[key], key)))


def allowed(profile: Profile, purpose: str = PERSONALIZATION, default: bool | None = None) -> bool:
    """Whether ``purpose`` is consented to: by the newest decision, else ``default``, else the store's default as last
    seen.

    >>> allowed(EMPTY), allowed(EMPTY, default=False)
    (True, False)
    """
    choice = profile.consent.get(purpose)
    if choice is not None:
        return choice.granted
    return profile.default_consent if default is None else default


_ENCODER: Final = msgspec.msgpack.Encoder()
_SORTED: Final = msgspec.msgpack.Encoder(order="sorted")
_DECODER: Final = msgspec.msgpack.Decoder(Profile)
_HEAD: Final = msgspec.msgpack.Decoder(Head)

MARK_BYTES: Final = 64
"""Length of a blob's `mark`: map, version, LSN and subject take 59 bytes at most."""


def encode(profile: Profile) -> bytes:
    """The blob kept in the state store."""
    return _ENCODER.encode(profile)


def decode(blob: bytes) -> Profile:
    """The profile in a blob. Raises `msgspec.ValidationError` for other bytes."""
    return _DECODER.decode(blob)


def decode_head(blob: bytes) -> Head:
    """As `decode`, passing over what a head does not show: a fifth of the time."""
    return _HEAD.decode(blob)


def mark(blob: bytes) -> bytes:
    """The blob's first bytes, which differ wherever version, LSN or subject do: those fields come first."""
    return blob[:MARK_BYTES]


def digest(profile: Profile) -> bytes:
    """16 bytes that are equal for profiles equal bit by bit: BLAKE2b of the blob with every map sorted by key.

    Depends on no hash seed and no insertion order; two folds of the same facts in log order have the same digest.
    """
    return blake2b(_SORTED.encode(profile), digest_size=16, person=b"everfold-profile").digest()
