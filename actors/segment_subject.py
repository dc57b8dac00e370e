"""A profile at a moment, as rules read it: `actors.segment_rules.Subject` over the stored bytes.

Only the layer that every rule needs is decoded at once; the others when a rule looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from actors.decay import HALF_LIVES_MS, DecayTable, read
from actors.engagement import times
from actors.profile import PERSONALIZATION, Choice, Engagement, Membership, Profile, Purchase, Spending, Trait, encode
from actors.quantity import NEVER, Quantity, decaying, steady
from actors.scores import NO_CUTS, Cuts, number
from actors.segment_rules import Verdict
from actors.sessions import flag, text
from events.ids import Key, anonymous_key, key_hash, user_key
from events.types import Json

_NOTHING: Final = msgspec.Raw(b"\x80")
_NONE: Final = steady(0.0)
_NO_STEPS: Final = msgspec.Raw(b"\x90")


class Glimpse(msgspec.Struct, frozen=True, gc=False):
    """The fields of `Profile` that rules may read, with the same names; most are decoded when they are asked for."""

    subject: bytes = b""
    first_at: int | None = None
    last_at: int | None = None
    user_id: str = ""
    default_consent: bool = True
    engagement: Engagement = Engagement()
    spending: Spending = Spending()
    steps: msgspec.Raw = _NO_STEPS
    anonymous: msgspec.Raw = _NOTHING
    consent: msgspec.Raw = _NOTHING
    traits: msgspec.Raw = _NOTHING
    groups: msgspec.Raw = _NOTHING
    interests: msgspec.Raw = _NOTHING
    purchases: msgspec.Raw = _NOTHING
    segments: msgspec.Raw = _NOTHING


_GLIMPSE: Final = msgspec.msgpack.Decoder(Glimpse)
_STEPS: Final = msgspec.msgpack.Decoder(tuple[bytes, ...])
_CONSENT: Final = msgspec.msgpack.Decoder(dict[str, Choice])
_TRAITS: Final = msgspec.msgpack.Decoder(dict[str, Trait])
_GROUPS: Final = msgspec.msgpack.Decoder(dict[str, int])
_TABLES: Final = msgspec.msgpack.Decoder(dict[str, DecayTable])
_SEGMENTS: Final = msgspec.msgpack.Decoder(dict[str, Membership])
_PURCHASES: Final = msgspec.msgpack.Decoder(dict[str, Purchase])


class Surroundings(msgspec.Struct, frozen=True):
    """What a rule may ask that is not in the profile."""

    member: Callable[[str], bool]
    """Whether it is in another segment."""
    quantiles: Mapping[tuple[str, float], float]
    """(field, share) → its value in the live population, where that is known."""
    cuts: Cuts = NO_CUTS
    """What parts the population into fifths, where that is known."""


def _nowhere(_: str) -> bool:
    return False


ALONE: Final = Surroundings(_nowhere, {})


class ProfileSubject:
    """See the module. ``now`` in ms."""

    def __init__(self, blob: bytes, now: int, around: Surroundings = ALONE) -> None:
        """``blob``: as in the state store. Raises `msgspec.ValidationError` for other bytes."""
        self.now = now
        self.seen = _GLIMPSE.decode(blob)
        self.member = around.member
        self.first_at = self.seen.first_at
        self.last_at = self.seen.last_at
        self.engagement = self.seen.engagement
        self.spending = self.seen.spending
        self._around = around
        self._times: dict[str, tuple[int, ...]] = {}
        self._numbers: dict[str, Quantity | None] = {}
        self._steps: tuple[bytes, ...] | None = None
        self._consents: dict[str, Choice] | None = None
        self._traits: dict[str, Trait] | None = None
        self._interests: list[tuple[str, DecayTable]] | None = None

    @classmethod
    def of(cls, profile: Profile, now: int, around: Surroundings = ALONE) -> ProfileSubject:
        """For a profile that is decoded already, such as one of the past."""
        return cls(encode(profile), now, around)

    @property
    def steps(self) -> tuple[bytes, ...]:
        """As `actors.profile.Behaviour` has it."""
        if self._steps is None:
            self._steps = _STEPS.decode(self.seen.steps)
        return self._steps

    def counts(self) -> bool:
        """Whether anything is known of the person that may be used: whoever did nothing, or does not allow
        personalization, is in no segment."""
        return self.last_at is not None and self.consented(PERSONALIZATION)

    def times(self, signal: str) -> tuple[int, ...]:
        known = self._times.get(signal)
        if known is None:
            known = self._times[signal] = times(self.engagement, signal)
        return known

    def total(self, signal: str) -> int:
        return self.engagement.counts.get(signal, 0)

    def decayed(self, signal: str, half_life: str) -> Quantity:
        table = self.engagement.rates.get(half_life)
        if table is None:
            return steady(0.0)
        return decaying(table.value(signal, self.now), HALF_LIVES_MS[half_life])

    def interest(self, key: str) -> Quantity:
        if key.encode() not in bytes(self.seen.interests):
            return _NONE
        total = steady(0.0)
        if self._interests is None:
            self._interests = sorted(_TABLES.decode(self.seen.interests).items())
        for half_life, table in self._interests:
            if key in table.sums:
                total = total + decaying(read(table.k, table.sums[key], self.now, half_life), HALF_LIVES_MS[half_life])
        return total

    def bought(self, item: str) -> tuple[int, ...]:
        if item.encode() not in bytes(self.seen.purchases):
            return ()  # as most do not have most things: looked for in the bytes, 0.2 us instead of 2
        held = _PURCHASES.decode(self.seen.purchases).get(item)
        return held.times if held is not None else ()

    def trait(self, name: str) -> Json:
        if self._traits is None:
            self._traits = _TRAITS.decode(self.seen.traits)
        held = self._traits.get(name)
        return None if held is None else held.value

    def grouped(self, group: str) -> bool:
        return group in _GROUPS.decode(self.seen.groups)

    def consented(self, purpose: str) -> bool:
        if self._consents is None:
            self._consents = _CONSENT.decode(self.seen.consent)
        choice = self._consents.get(purpose)
        return self.seen.default_consent if choice is None else choice.granted

    def number(self, field: str) -> Quantity | None:
        if field not in self._numbers:
            self._numbers[field] = number(self, field, self.now, self._around.cuts)
        return self._numbers[field]

    def text(self, field: str) -> str | None:
        return text(self, field)

    def flag(self, field: str) -> Verdict:
        return Verdict(flag(self, field), NEVER)

    def quantile(self, field: str, share: float) -> float | None:
        return self._around.quantiles.get((field, share))


def key_of(seen: Glimpse, secret: bytes, name: bytes) -> Key | None:
    """The external key of the profile that stands under key hash ``name``; None where its own facts never told it."""
    if seen.user_id:
        key = user_key(seen.user_id)
        return key if key_hash(secret, key) == name else None
    for anonymous in sorted(_GROUPS.decode(seen.anonymous)):
        key = anonymous_key(anonymous)
        if key_hash(secret, key) == name:
            return key
    return None


class _Moved(msgspec.Struct):
    segments: dict[str, Membership] = {}


_MOVED: Final = msgspec.msgpack.Decoder(_Moved)


def moved_last(blob: bytes) -> int:
    """When a stored profile last entered or left a segment, ms; 0: never."""
    return max([membership.at for membership in _MOVED.decode(blob).segments.values()], default=0)


def entered_before(seen: Glimpse) -> list[tuple[str, int]]:
    """The segments a profile is in as its own facts tell, and since when; by name."""
    held = _SEGMENTS.decode(seen.segments)
    return sorted((name, membership.at) for name, membership in held.items() if membership.entered)
