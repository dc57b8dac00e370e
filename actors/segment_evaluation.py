"""Which segments a profile is in, and for how long that stands: all definitions asked in their order, those concerned.

A definition is asked when something it reads was touched, when time may have changed its answer, or when a segment it
asks about changed just before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log, nan
from typing import Final, NamedTuple

from actors.engagement import PASSIVE
from actors.quantity import NEVER
from actors.scores import INTENT, RFM
from actors.segment_definition import Definition
from actors.segment_rules import DURATIONS, FLAGS, NUMBERS, SIGNALS_KNOWN, TEXTS, Subject, Verdict
from actors.segment_subject import Surroundings
from actors.signals import SIGNALS

QUINTILE_SHARES: Final = (0.2, 0.4, 0.6, 0.8)

COMBINATIONS_MAX: Final = 4_096

_LN2: Final = log(2.0)
_ROUNDED_UP: Final = 1.000001
"""A rate is kept in single precision: a bound may not shrink by that."""
FIRST: Final = "first"
LAST: Final = "last"
"""The time of the first and of the latest fact moved."""
TOUCHES: Final = (*SIGNALS_KNOWN, FIRST, LAST)
"""What facts can do to a profile besides what `_BY_CHOICE` names."""
_DONE: Final = frozenset(SIGNALS_KNOWN) - PASSIVE
_PAID: Final = frozenset(("purchase", "refund"))
_TOUCHED_BY: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys((*NUMBERS, *DURATIONS, *TEXTS, *FLAGS), _DONE),
    **dict.fromkeys(("loyalty", "price_sensitivity", "spent"), _PAID),
    **dict.fromkeys([f"{field}_quintile" for field in RFM], _PAID),
    "purchase_intent": frozenset(INTENT),
    "scroll": frozenset(("visit",)),
    "watched": frozenset(("watch",)),
    "interests": frozenset(SIGNALS),
    "age": frozenset((FIRST,)),
    "idle": frozenset((LAST,)),
}
"""What a rule reads → which touches can change it. By time alone, levels of the population and choices it is asked
for other reasons."""
_BY_CHOICE: Final = frozenset(("traits", "groups", "consent"))


class Answer(NamedTuple):
    """What asking came to."""

    mask: int
    stands: int
    """ms until asking again could give another answer, while no fact comes."""
    changed: int
    """Bits of the segments entered or left."""


class Standing:
    """The segments one profile is in, while it is being asked about."""

    def __init__(self, bits: dict[str, int]) -> None:
        self.mask = 0
        self._bits = bits

    def member(self, segment: str) -> bool:
        return bool(self.mask & self._bits.get(segment, 0))


@dataclass(frozen=True, slots=True)
class _Asked:
    number: int
    """Its place in the order."""
    bit: int
    enter: Callable[[Subject], Verdict]
    stay: Callable[[Subject], Verdict]
    dependents: int
    """Bits of those that ask about this one."""


class Evaluation:
    """The definitions of a store, each with its slot: a small number, its bit in a mask."""

    def __init__(self, ordered: Sequence[tuple[int, Definition]]) -> None:
        """``ordered``: (slot, definition) in order of evaluation."""
        self.slot_of = {definition.name: slot for slot, definition in ordered}
        self.slots = tuple(slot for slot, _ in ordered)
        """In order of evaluation."""
        self.bits = {definition.name: 1 << slot for slot, definition in ordered}
        self.all = sum(self.bits.values())
        self.standing = Standing(self.bits)
        self._asked = [
            _Asked(
                number,
                1 << slot,
                each.enter.holds,
                each.stay.holds,
                sum(1 << other for other, one in ordered if each.name in one.segments),
            )
            for number, (slot, each) in enumerate(ordered)
        ]
        self._combinations: dict[int, list[_Asked]] = {}
        self._reads = {1 << slot: each.reads for slot, each in ordered}
        self._by_choice = self._bits_reading(_BY_CHOICE)
        self._by_touch = {touch: self._bits_reading(_read_where(touch)) for touch in TOUCHES}
        self.quantiles = tuple(sorted({pair for _, each in ordered for pair in quantiles_of(each)}))
        """(field, share) asked for."""
        self.fields = tuple(sorted({field for field, _ in self.quantiles}))
        """Fields whose quantiles are asked for."""
        self.moving_fields = frozenset[str]().union(*(touched_by(field) for field in self.fields))
        """Touches that can move a value of these."""

    def touched(self, touches: Iterable[str], choice: bool) -> int:
        """Bits of the definitions whose answer one of ``touches`` can change, or with ``choice`` consent, traits or
        groups."""
        bits = self._by_choice if choice else 0
        for touch in touches:
            bits |= self._by_touch[touch]
        return bits

    def ask(self, subject: Subject, mask: int, concerned: int) -> Answer:
        """``mask``: the segments it was in. ``subject`` must have `standing` around it."""
        standing = self.standing
        standing.mask, stands, before = mask, NEVER, mask
        place, asking = 0, self._those(concerned)
        while place < len(asking):
            each = asking[place]
            place += 1
            inside = bool(mask & each.bit)
            holds, lasts = (each.stay if inside else each.enter)(subject)
            if lasts < stands:
                stands = lasts
            if holds != inside:
                standing.mask = mask = mask ^ each.bit
                if each.dependents & ~concerned:
                    concerned |= each.dependents
                    done = each.number
                    place, asking = 0, [other for other in self._those(concerned) if other.number > done]
        return Answer(mask, stands, mask ^ before)

    def _those(self, concerned: int) -> list[_Asked]:
        """In order of evaluation; few combinations ever come."""
        known = self._combinations.get(concerned)
        if known is None:
            if len(self._combinations) >= COMBINATIONS_MAX:
                self._combinations.clear()
            known = self._combinations[concerned] = [each for each in self._asked if concerned & each.bit]
        return known

    def _bits_reading(self, tokens: frozenset[str]) -> int:
        return sum(bit for bit, reads in self._reads.items() if not reads.isdisjoint(tokens))


def touched_by(field: str) -> frozenset[str]:
    """Touches that can move a field of `Subject.number`, or of `RFM`."""
    return _TOUCHED_BY.get(field, _PAID if field in RFM else _DONE)


def _read_where(touch: str) -> frozenset[str]:
    return frozenset((touch, *(read for read, touches in _TOUCHED_BY.items() if touch in touches)))


def surroundings(levels: Iterable[tuple[str, float, float | None]], member: Callable[[str], bool]) -> Surroundings:
    """What rules may ask beside a profile; ``levels``: (field, share, level) of the live population."""
    known = {(field, share): level for field, share, level in levels if level is not None}
    cuts = {
        field: tuple([known[field, share] for share in QUINTILE_SHARES])
        for field in RFM
        if all((field, share) in known for share in QUINTILE_SHARES)
    }
    return Surroundings(member, known, cuts)


def levels_of(subject: Subject, fields: Sequence[str]) -> tuple[list[tuple[float, float]], int]:
    """For each of ``fields``: its value (NaN: unknown) and the most it moves per ms; and for how long that stands."""
    levels, stands = [], NEVER
    for field in fields:
        quantity = subject.number(field)
        if quantity is None:
            levels.append((nan, 0.0))
            continue
        steepest = abs(quantity.slope) + max(quantity.fall, quantity.rise)
        steepest += _LN2 * sum([abs(value) / life for value, life in quantity.decays])
        levels.append((quantity.now, min(steepest * _ROUNDED_UP, 1e38)))
        stands = min(stands, quantity.until)
    return levels, stands


def quantiles_of(definition: Definition) -> frozenset[tuple[str, float]]:
    """The (field, share) of the live population a definition depends on."""
    by_quintile = (field for field in RFM if f"{field}_quintile" in definition.reads)
    return definition.quantiles | {(field, share) for field in by_quintile for share in QUINTILE_SHARES}
