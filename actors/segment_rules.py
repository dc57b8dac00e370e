"""Segment rules: a tree of `actors.segment_syntax`, typed against what a profile has, made into a function.

A rule answers twice: whether it holds for a profile now, and for how long that answer is certain to stand while no
fact arrives (`Verdict`). The second comes from the closed forms of `actors.quantity`, so that the passing of time moves
segments without polling.

A value nobody knows (a trait never set, a time of something never done) fails every comparison but ``!=``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil, floor
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

from actors.quantity import NEVER, Quantity, against, first_crossing, steady
from actors.segment_syntax import (
    Among,
    BadRule,
    Called,
    Duration,
    Joined,
    Negated,
    Node,
    Number,
    Steps,
    Text,
    Truth,
    parse,
    written,
)
from events.types import Json, Signal

SIGNALS_KNOWN: Final[tuple[str, ...]] = (*get_args(Signal), "visit", "impression", "tracked")
HALF_LIVES: Final = ("day", "month")


class Verdict(NamedTuple):
    """Whether a rule holds, and for how many ms that stands unless a fact arrives (at least 1)."""

    holds: bool
    stands: int


class Subject(Protocol):
    """A profile at a moment, as rules read it. Times are event times, ms."""

    now: int

    def times(self, signal: str) -> tuple[int, ...]:
        """When it was done, ascending; the latest `TIMES_KEPT` at most."""
        ...

    def total(self, signal: str) -> int:
        """How often it was ever done."""
        ...

    def decayed(self, signal: str, half_life: str) -> Quantity: ...

    def interest(self, key: str) -> Quantity:
        """``category:…``, ``brand:…`` or ``attr:…``."""
        ...

    def bought(self, item: str) -> tuple[int, ...]:
        """When this item was bought, ascending."""
        ...

    def trait(self, name: str) -> Json: ...

    def grouped(self, group: str) -> bool: ...

    def consented(self, purpose: str) -> bool: ...

    def member(self, segment: str) -> bool: ...

    def number(self, field: str) -> Quantity | None:
        """A field of `NUMBERS` or `DURATIONS`."""
        ...

    def text(self, field: str) -> str | None:
        """A field of `TEXTS`."""
        ...

    def flag(self, field: str) -> Verdict:
        """A field of `FLAGS`."""
        ...

    def quantile(self, field: str, share: float) -> float | None:
        """Of the live population; None while nothing is known of it."""
        ...


TIMES_KEPT: Final = 32
"""Times of each signal a profile keeps: counts in a window are exact up to here, so rules may not ask beyond."""

NUMBERS: Final = (
    "sessions",
    "engagement",
    "loyalty",
    "price_sensitivity",
    "churn_risk",
    "purchase_intent",
    "recency_quintile",
    "frequency_quintile",
    "monetary_quintile",
    "spent",
    "scroll",
    "watched",
    "session.depth",
)
DURATIONS: Final = ("age", "idle", "dwell", "session.duration")
TEXTS: Final = ("session.device", "session.channel", "session.landing", "session.exit")
FLAGS: Final = ("weekend",)
FUNCTIONS: Final = (
    "count",
    "did",
    "since",
    "decayed",
    "interest",
    "bought",
    "trait",
    "group",
    "consent",
    "segment",
    "sequence",
    "quantile",
)

Kind: TypeAlias = Literal["number", "duration", "text", "truth", "any"]
Reads: TypeAlias = frozenset[str]
"""What a rule depends on: signals by name, ``segment:NAME``, ``traits``, ``groups``, ``consent``, ``time``; fields by
name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule ready to be asked."""

    text: str
    holds: Callable[[Subject], Verdict]
    reads: Reads
    segments: frozenset[str]
    """The segments it refers to."""
    quantiles: frozenset[tuple[str, float]] = frozenset()
    """The (field, share) it compares with the live population."""
    parts: tuple[Part, ...] = ()
    """The fields and functions in it, in order of appearance, each once."""

    def evidence(self, subject: Subject) -> dict[str, Json]:
        """What its parts are for ``subject``: numbers, durations in ms, texts, truths; None for what nobody knows."""
        return {part.text: part.value(subject) for part in self.parts}


@dataclass(frozen=True, slots=True)
class Part:
    """A field or function as it is written in a rule."""

    text: str
    value: Callable[[Subject], Json]


@dataclass(frozen=True, slots=True)
class Expression:
    """A number or a duration ready to be read."""

    text: str
    read: Callable[[Subject], Quantity | None]
    reads: Reads
    segments: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Value:
    """A typed part: how to read it. ``get`` gives what its kind says: Quantity or None, str or None, Verdict, Json."""

    kind: Kind
    position: int
    quantity: Callable[[Subject], Quantity | None] | None = None
    text: Callable[[Subject], str | None] | None = None
    verdict: Callable[[Subject], Verdict] | None = None
    anything: Callable[[Subject], Json] | None = None
    constant: float | str | bool | None = None
    steps: bool = False
    """Whether it only ever changes in steps, so that ``==`` makes sense."""
    counted: tuple[str, int] | None = None
    """(signal, window) of a count in a window, which is exact up to `TIMES_KEPT`."""


def understand(text: str) -> Rule:
    """The rule in a text. Raises `BadRule` naming the position, and the nearest name for an unknown one.

    >>> understand("count(view, 7 days) >= 3").reads
    frozenset({'view'})
    >>> understand("engagment > 0.5")
    Traceback (most recent call last):
    actors.segment_syntax.BadRule: position 0: 'engagment' is unknown, did you mean 'engagement'?
    """
    typing = _Typing()
    value = typing.of(parse(text))
    if value.verdict is None:
        raise BadRule(f"a rule says yes or no, this is a {value.kind}: compare it with something", value.position)
    return Rule(
        text,
        value.verdict,
        frozenset(typing.reads),
        frozenset(typing.segments),
        frozenset(typing.quantiles),
        tuple(typing.parts.values()),
    )


def either(one: Rule, other: Rule) -> Rule:
    """Holds while one of two rules does."""
    return Rule(
        f"({one.text}) or ({other.text})",
        _disjoined(one.holds, other.holds),
        one.reads | other.reads,
        one.segments | other.segments,
        one.quantiles | other.quantiles,
        tuple({part.text: part for part in (*one.parts, *other.parts)}.values()),
    )


def understand_value(text: str) -> Expression:
    """The number or duration (ms) in a text, such as a cluster measures by. Raises `BadRule`.

    >>> sorted(understand_value("count(view, 7 days) / 7").reads)
    ['view']
    """
    typing = _Typing()
    value = typing.of(parse(text))
    if value.quantity is None:
        raise BadRule(f"a number or a duration is expected, this is a {value.kind}", value.position)
    return Expression(text, value.quantity, frozenset(typing.reads), frozenset(typing.segments))


class _Typing:
    """One pass over a tree: types, functions, and what is read."""

    def __init__(self) -> None:
        self.reads: set[str] = set()
        self.segments: set[str] = set()
        self.quantiles: set[tuple[str, float]] = set()
        self.parts: dict[str, Part] = {}

    def of(self, node: Node) -> _Value:
        value = self._typed(node)
        if isinstance(node, Called):
            text = written(node)
            self.parts.setdefault(text, Part(text, _shown(value)))
        return value

    def _typed(self, node: Node) -> _Value:
        match node:
            case Number(value, position):
                return _fixed(value, "number", position)
            case Duration(ms, position):
                return _fixed(float(ms), "duration", position)
            case Text(text, position):
                return _Value("text", position, text=lambda _: text, constant=text)
            case Truth(truth, position):
                return _Value("truth", position, verdict=lambda _: Verdict(truth, NEVER), constant=truth)
            case Negated("not", operand, position):
                return _not(self._truth(operand), position)
            case Negated(_, operand, position):
                return self._scaled(self.of(operand), -1.0, position)
            case Joined("and" | "or" as operator, left, right, position):
                return _joined(operator, self._truth(left), self._truth(right), position)
            case Joined("+" | "-" | "*" | "/" as operator, left, right, position):
                return self._arithmetic(operator, self.of(left), self.of(right), position)
            case Joined(operator, left, right, position):
                return _compared(operator, self.of(left), self.of(right), position)
            case Among(value, options, position):
                return self._among(self.of(value), [self.of(option) for option in options], position)
            case Called(name, None, position):
                return self._field(name, position)
            case Called(name, arguments, position) if arguments is not None:
                return self._function(name, arguments, position)
        raise BadRule("steps belong into `sequence(...)`", node.position)

    def _truth(self, node: Node) -> Callable[[Subject], Verdict]:
        value = self.of(node)
        if value.verdict is None:
            raise BadRule(f"a condition is expected here, this is a {value.kind}", value.position)
        return value.verdict

    def _field(self, name: str, position: int) -> _Value:
        if name in NUMBERS or name in DURATIONS:
            self.reads.add(name)
            kind: Kind = "number" if name in NUMBERS else "duration"
            steps = name in ("sessions", "session.depth") or name.endswith("_quintile")
            return _Value(kind, position, quantity=lambda subject: subject.number(name), steps=steps)
        if name in TEXTS:
            self.reads.add(name)
            return _Value("text", position, text=lambda subject: subject.text(name))
        if name in FLAGS:
            self.reads.add(name)
            return _Value("truth", position, verdict=lambda subject: subject.flag(name))
        if name in FUNCTIONS:
            raise BadRule(f"`{name}` needs arguments, as in `{_EXAMPLES[name]}`", position)
        raise _unknown(name, (*NUMBERS, *DURATIONS, *TEXTS, *FLAGS, *FUNCTIONS), position)

    def _function(self, name: str, arguments: tuple[Node, ...], position: int) -> _Value:
        make = _MAKERS.get(name)
        if make is None:
            raise _unknown(name, FUNCTIONS, position)
        return make(self, arguments, position)

    def _scaled(self, value: _Value, factor: float, position: int) -> _Value:
        read = value.quantity
        if read is None or value.kind not in ("number", "duration"):
            raise BadRule(f"a {value.kind} cannot be calculated with", position)
        if isinstance(value.constant, float):
            return _fixed(value.constant * factor, value.kind, position)
        return _Value(value.kind, position, quantity=lambda subject: _times(read(subject), factor), steps=value.steps)

    def _arithmetic(self, operator: str, left: _Value, right: _Value, position: int) -> _Value:
        if operator in "*/":
            return self._product(operator, left, right, position)
        one, other = left.quantity, right.quantity
        if one is None or other is None or left.kind != right.kind:
            raise BadRule(f"a {left.kind} and a {right.kind} cannot be added", position)
        if isinstance(left.constant, float) and isinstance(right.constant, float):
            added = left.constant + right.constant if operator == "+" else left.constant - right.constant
            return _fixed(added, left.kind, position)
        sign = 1.0 if operator == "+" else -1.0

        def total(subject: Subject) -> Quantity | None:
            first, second = one(subject), other(subject)
            return None if first is None or second is None else first + second.times(sign)

        return _Value(left.kind, position, quantity=total, steps=left.steps and right.steps)

    def _product(self, operator: str, left: _Value, right: _Value, position: int) -> _Value:
        if operator == "*" and isinstance(left.constant, float) and left.kind == "number":
            left, right = right, left
        if not isinstance(right.constant, float) or right.kind != "number":
            raise BadRule("multiply and divide by plain numbers: two moving values cannot be foreseen", position)
        if operator == "/" and not right.constant:
            raise BadRule("division by zero", position)
        return self._scaled(left, 1.0 / right.constant if operator == "/" else right.constant, position)

    def _among(self, value: _Value, options: list[_Value], position: int) -> _Value:
        found = _compared("==", value, options[0], position)
        for option in options[1:]:
            other = _compared("==", value, option, position)
            assert found.verdict is not None
            assert other.verdict is not None
            found = _joined("or", found.verdict, other.verdict, position)
        return found

    # Functions: each is given the unread arguments.

    def signal(self, arguments: tuple[Node, ...], name: str, position: int) -> str:
        """The first argument as a signal's name."""
        first = arguments[0] if arguments else None
        if not isinstance(first, Called) or first.arguments is not None:
            raise BadRule(f"a signal is expected, as in `{_EXAMPLES[name]}`", first.position if first else position)
        return self._signal(first.name, first.position)

    def _signal(self, name: str, position: int) -> str:
        if name not in SIGNALS_KNOWN:
            raise _unknown(name, SIGNALS_KNOWN, position, "signal ")
        self.reads.add(name)
        return name

    def window(self, arguments: tuple[Node, ...], at: int, name: str) -> int | None:
        """The argument at this place as a duration; None where it is left out."""
        if len(arguments) > at + 1:
            raise BadRule(f"too many arguments: `{_EXAMPLES[name]}`", arguments[at + 1].position)
        if len(arguments) <= at:
            return None
        node = arguments[at]
        if not isinstance(node, Duration):
            raise BadRule("a duration such as `7 days` is expected", node.position)
        return node.ms

    def name(self, arguments: tuple[Node, ...], function: str, position: int) -> str:
        """The first argument as a quoted text."""
        first = arguments[0] if arguments else None
        if not isinstance(first, Text) or not first.value:
            raise BadRule(
                f"a quoted name is expected, as in `{_EXAMPLES[function]}`", getattr(first, "position", position)
            )
        return first.value

    def steps(self, arguments: tuple[Node, ...], position: int) -> tuple[tuple[str, int], ...]:
        first = arguments[0] if arguments else None
        if not isinstance(first, Steps):
            raise BadRule(f"steps are expected, as in `{_EXAMPLES['sequence']}`", getattr(first, "position", position))
        steps = first.steps
        for number, step in enumerate(steps):
            if step.quiet_ms and (number == 0 or number < len(steps) - 1):
                raise BadRule("`no ... for ...` may only be the last of several steps", step.position)
        return tuple((self._signal(step.name, step.position), step.quiet_ms) for step in steps)


_EXAMPLES: Final[Mapping[str, str]] = {
    "count": "count(view, 7 days)",
    "did": "did(purchase, 30 days)",
    "since": "since(purchase)",
    "decayed": 'decayed(view, "day")',
    "interest": 'interest("category:Drinks > Tea")',
    "bought": 'bought("1029743", 90 days)',
    "trait": 'trait("plan")',
    "group": 'group("acme")',
    "consent": 'consent("personalization")',
    "segment": 'segment("loyal")',
    "sequence": "sequence(cart then no purchase for 30 minutes)",
    "quantile": "quantile(engagement, 0.9)",
}


def _count(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    signal, window = typing.signal(arguments, "count", position), typing.window(arguments, 1, "count")
    if window is None:
        return _Value("number", position, quantity=lambda subject: steady(float(subject.total(signal))), steps=True)

    def within(subject: Subject) -> Quantity:
        return _within(subject.times(signal), subject.now, window)

    return _Value("number", position, quantity=within, steps=True, counted=(signal, window))


def _did(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    signal, window = typing.signal(arguments, "did", position), typing.window(arguments, 1, "did")
    if window is None:
        return _Value("truth", position, verdict=lambda subject: Verdict(subject.total(signal) > 0, NEVER))

    def lately(subject: Subject) -> Verdict:
        times = subject.times(signal)
        last = times[-1] if times else None
        if last is None or last <= subject.now - window:
            return Verdict(False, NEVER)
        return (
            Verdict(True, last + window - subject.now)
            if last <= subject.now
            else Verdict(*_later(times, subject.now, window))
        )

    return _Value("truth", position, verdict=lately)


def _later(times: tuple[int, ...], now: int, window: int) -> tuple[bool, int]:
    """As `_did` where some times lie ahead of the clock: they count from when they come."""
    count = _within(times, now, window)
    return count.constant > 0, count.until


def _since(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    signal = typing.signal(arguments, "since", position)
    typing.window(arguments, 1, "since") if len(arguments) > 1 else None

    def passed(subject: Subject) -> Quantity | None:
        times = subject.times(signal)
        return Quantity(float(subject.now - times[-1]), 1.0) if times else None

    return _Value("duration", position, quantity=passed)


def _decayed(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    signal = typing.signal(arguments, "decayed", position)
    if len(arguments) != 2 or not isinstance(arguments[1], Text) or arguments[1].value not in HALF_LIVES:
        raise BadRule(f'a half-life is expected: `{_EXAMPLES["decayed"]}`, or "month"', arguments[-1].position)
    half_life = arguments[1].value
    return _Value("number", position, quantity=lambda subject: subject.decayed(signal, half_life))


def _interest(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    key = typing.name(arguments, "interest", position)
    typing.reads.add("interests")
    if key.partition(":")[0] not in ("category", "brand", "attr"):
        raise BadRule("an interest begins with `category:`, `brand:` or `attr:`", arguments[0].position)
    return _Value("number", position, quantity=lambda subject: subject.interest(key))


def _bought(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    item, window = typing.name(arguments, "bought", position), typing.window(arguments, 1, "bought")
    typing.reads.update(("purchase", "refund"))

    def times_bought(subject: Subject) -> Quantity:
        times = subject.bought(item)
        return steady(float(len(times))) if window is None else _within(times, subject.now, window)

    return _Value("number", position, quantity=times_bought, steps=True)


def _trait(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    name = typing.name(arguments, "trait", position)
    typing.reads.add("traits")
    return _Value("any", position, anything=lambda subject: subject.trait(name))


def _group(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    group = typing.name(arguments, "group", position)
    typing.reads.add("groups")
    return _Value("truth", position, verdict=lambda subject: Verdict(subject.grouped(group), NEVER))


def _consent(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    purpose = typing.name(arguments, "consent", position)
    typing.reads.add("consent")
    return _Value("truth", position, verdict=lambda subject: Verdict(subject.consented(purpose), NEVER))


def _segment(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    name = typing.name(arguments, "segment", position)
    typing.reads.add(f"segment:{name}")
    typing.segments.add(name)
    return _Value("truth", position, verdict=lambda subject: Verdict(subject.member(name), NEVER))


def _sequence(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    steps, window = typing.steps(arguments, position), typing.window(arguments, 1, "sequence")
    return _Value("truth", position, verdict=lambda subject: _followed(subject, steps, window))


def _quantile(typing: _Typing, arguments: tuple[Node, ...], position: int) -> _Value:
    if len(arguments) != 2:
        raise BadRule(f"a field and a share are expected: `{_EXAMPLES['quantile']}`", position)
    field, share = arguments
    if not isinstance(field, Called) or field.arguments is not None or field.name not in NUMBERS:
        raise _unknown(getattr(field, "name", "this"), NUMBERS, field.position, "number ")
    if not isinstance(share, Number) or not 0 < share.value < 1:
        raise BadRule("a share between 0 and 1 is expected", share.position)
    name, q = field.name, share.value
    typing.reads.add("quantiles")
    typing.quantiles.add((name, q))

    def level(subject: Subject) -> Quantity | None:
        value = subject.quantile(name, q)
        return None if value is None else steady(value)

    return _Value("number", position, quantity=level)


_Maker: TypeAlias = Callable[[_Typing, tuple[Node, ...], int], _Value]
_MAKERS: Final[Mapping[str, _Maker]] = {
    "count": _count,
    "did": _did,
    "since": _since,
    "decayed": _decayed,
    "interest": _interest,
    "bought": _bought,
    "trait": _trait,
    "group": _group,
    "consent": _consent,
    "segment": _segment,
    "sequence": _sequence,
    "quantile": _quantile,
}


def _fixed(value: float, kind: Kind, position: int) -> _Value:
    quantity = steady(value)
    return _Value(kind, position, quantity=lambda _: quantity, constant=value, steps=True)


def _times(quantity: Quantity | None, factor: float) -> Quantity | None:
    return None if quantity is None else quantity.times(factor)


def _not(condition: Callable[[Subject], Verdict], position: int) -> _Value:
    def denied(subject: Subject) -> Verdict:
        holds, stands = condition(subject)
        return Verdict(not holds, stands)

    return _Value("truth", position, verdict=denied)


def _joined(
    operator: str, left: Callable[[Subject], Verdict], right: Callable[[Subject], Verdict], position: int
) -> _Value:
    """The side that decides alone also says how long; the left one is asked first."""
    deciding = operator == "or"

    def both(subject: Subject) -> Verdict:
        first = left(subject)
        if first.holds == deciding and first.stands >= NEVER:
            return first
        second = right(subject)
        if first.holds == deciding:
            return Verdict(deciding, max(first.stands, second.stands) if second.holds == deciding else first.stands)
        return second if second.holds == deciding else Verdict(not deciding, min(first.stands, second.stands))

    return _Value("truth", position, verdict=both)


def _disjoined(one: Callable[[Subject], Verdict], other: Callable[[Subject], Verdict]) -> Callable[[Subject], Verdict]:
    verdict = _joined("or", one, other, 0).verdict
    assert verdict is not None
    return verdict


def _shown(value: _Value) -> Callable[[Subject], Json]:
    """A part's value as plain JSON."""
    quantity, text, verdict, anything = value.quantity, value.text, value.verdict, value.anything

    def shown(subject: Subject) -> Json:
        if quantity is not None:
            amount = quantity(subject)
            return None if amount is None else round(amount.now, 6)
        if text is not None:
            return text(subject)
        if verdict is not None:
            return verdict(subject).holds
        return anything(subject) if anything is not None else None

    return shown


def _compared(operator: str, left: _Value, right: _Value, position: int) -> _Value:
    if left.kind == "any" or right.kind == "any":
        return _compared_traits(operator, left, right, position)
    if left.kind != right.kind:
        raise BadRule(f"a {left.kind} cannot be compared with a {right.kind}", position)
    if left.text is not None and right.text is not None:
        return _compared_texts(operator, left.text, right.text, position)
    if left.quantity is None or right.quantity is None:
        raise BadRule("conditions are joined with `and`, `or`, `not`; they are not compared", position)
    if operator in ("==", "!=") and not (left.steps and right.steps):
        raise BadRule("a value that moves with time equals another only in passing: use < or >", position)
    return _compared_numbers(operator, left, right, position)


def _compared_numbers(operator: str, left: _Value, right: _Value, position: int) -> _Value:
    _reachable(left, right, position)
    if isinstance(left.constant, float) and not isinstance(right.constant, float):
        operator, left, right = _MIRRORED.get(operator, operator), right, left
    one, other, level = left.quantity, right.quantity, right.constant
    assert one is not None
    assert other is not None
    if not isinstance(level, float):
        return _Value("truth", position, verdict=_between_moving(operator, one, other))
    compare = _with_level(operator, one, level)
    if left.counted is not None and operator in _MIRRORED:
        compare = _counted_to(operator, left.counted, level, compare)
    return _Value("truth", position, verdict=compare)


def _between_moving(
    operator: str, one: Callable[[Subject], Quantity | None], other: Callable[[Subject], Quantity | None]
) -> Callable[[Subject], Verdict]:
    test = _TESTS[operator]

    def compare(subject: Subject) -> Verdict:
        first, second = one(subject), other(subject)
        if first is None or second is None:
            return Verdict(operator == "!=", NEVER)
        apart, difference = first.now - second.now, first - second
        if (apart > 0) != (difference.now > 0) or (apart < 0) != (difference.now < 0):  # as close as rounding allows
            return Verdict(test(apart), difference.until if difference.still else 1)
        return Verdict(test(apart), first_crossing(difference))

    return compare


def _with_level(operator: str, one: Callable[[Subject], Quantity | None], level: float) -> Callable[[Subject], Verdict]:
    """The same for a level that stays: most comparisons are with one, so it is spared a second quantity."""
    test = _TESTS[operator]
    below, at, above = test(-1.0), test(0.0), test(1.0)
    unknown = Verdict(operator == "!=", NEVER)

    def compare(subject: Subject) -> Verdict:
        first = one(subject)
        if first is None:
            return unknown
        apart, stands = against(first, level)
        return Verdict(above if apart > 0 else below if apart < 0 else at, stands)

    return compare


def _counted_to(
    operator: str, counted: tuple[str, int], level: float, otherwise: Callable[[Subject], Verdict]
) -> Callable[[Subject], Verdict]:
    """``count(signal, window) >= level`` and its like, from the times themselves: what is enough stays enough until the
    one that makes it so leaves the window, and what is not stays so. ``otherwise`` answers where times lie ahead."""
    signal, window = counted
    least = floor(level) + 1 if operator in (">", "<=") else ceil(level)
    wanted = operator in (">", ">=")
    enough, too_few = Verdict(wanted, NEVER), Verdict(not wanted, NEVER)

    def compare(subject: Subject) -> Verdict:
        times, now = subject.times(signal), subject.now
        if times and times[-1] > now:
            return otherwise(subject)
        if least <= 0:
            return enough
        if len(times) < least or times[-least] <= now - window:
            return too_few
        return Verdict(wanted, times[-least] + window - now)

    return compare


def _reachable(left: _Value, right: _Value, position: int) -> None:
    for one, other in ((left, right), (right, left)):
        if one.counted is not None and isinstance(other.constant, float) and other.constant > TIMES_KEPT:
            raise BadRule(f"counts in a window are kept up to {TIMES_KEPT}", position)


def _compared_texts(
    operator: str, left: Callable[[Subject], str | None], right: Callable[[Subject], str | None], position: int
) -> _Value:
    if operator not in ("==", "!="):
        raise BadRule("texts are equal (==) or not (!=), none is greater", position)
    wanted = operator == "=="

    def same(subject: Subject) -> Verdict:
        first, second = left(subject), right(subject)
        return Verdict((first is not None and first == second) == wanted, NEVER)

    return _Value("truth", position, verdict=same)


def _compared_traits(operator: str, left: _Value, right: _Value, position: int) -> _Value:
    """A trait's type is known only when it is read: one of another type fails the comparison."""
    trait, value = (left, right) if left.kind == "any" else (right, left)
    if value.constant is None or trait.anything is None:
        raise BadRule("a trait is compared with a number, a text, true or false", position)
    if value.kind == "duration" or (operator not in ("==", "!=") and value.kind != "number"):
        raise BadRule(f"a trait cannot be compared with a {value.kind} by {operator}", position)
    read, constant = trait.anything, value.constant
    test = _TESTS[operator if trait is left else _MIRRORED.get(operator, operator)]

    def compare(subject: Subject) -> Verdict:
        known = read(subject)
        if isinstance(constant, float) and isinstance(known, int | float) and not isinstance(known, bool):
            return Verdict(test(known - constant), NEVER)
        equal = type(known) is type(constant) and known == constant
        return Verdict(equal if operator == "==" else not equal and operator == "!=", NEVER)

    return _Value("truth", position, verdict=compare)


_TESTS: Final[Mapping[str, Callable[[float], bool]]] = {
    "<": lambda difference: difference < 0,
    "<=": lambda difference: difference <= 0,
    ">": lambda difference: difference > 0,
    ">=": lambda difference: difference >= 0,
    "==": lambda difference: difference == 0,
    "!=": lambda difference: difference != 0,
}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _within(times: tuple[int, ...], now: int, window: int) -> Quantity:
    """How many of ``times`` (ascending) lie in (now - window, now]; until one leaves, or one ahead of now comes."""
    low, high = bisect_right(times, now - window), bisect_right(times, now)
    until = times[low] + window - now if low < high else NEVER
    if high < len(times):
        until = min(until, times[high] - now)
    return steady(float(high - low), until)


def _followed(subject: Subject, steps: tuple[tuple[str, int], ...], window: int | None) -> Verdict:
    """Whether the steps were done one after another, each at or after the one before; with ``window``, all of them
    since ``now - window``.

    Of all ways the steps can be matched, the earliest end serves for "then it was done", and for a last "no x for D"
    the earliest end after the latest x, which is the first to have been quiet for D. Only times up to now count, and
    the next one ahead of the clock bounds how long the answer stands.
    """
    now = subject.now
    start = now - window if window is not None else None
    signal, quiet_ms = steps[-1]
    done = steps[:-1] if quiet_ms else steps
    ahead, floor = NEVER, None
    for name, _ in steps:
        times = subject.times(name)
        known = bisect_right(times, now)
        if known < len(times):
            ahead = min(ahead, times[known] - now)
        if quiet_ms and known and name == signal:
            floor = times[known - 1]
    end = _matched(subject, done, start, floor)
    if end is None:
        return Verdict(False, ahead)
    begun = _latest_begin(subject, done, end)
    leaves = begun + window - now if window is not None else NEVER
    if not quiet_ms:
        return Verdict(True, max(1, min(leaves, ahead)))
    waited = now - end
    if waited < quiet_ms:
        return Verdict(False, max(1, min(quiet_ms - waited, ahead)))
    return Verdict(True, max(1, min(leaves, ahead)))


def _matched(subject: Subject, steps: tuple[tuple[str, int], ...], start: int | None, floor: int | None) -> int | None:
    """The earliest time at which the last step can be matched, later than ``floor``; None for no match."""
    at = start
    for number, (name, _) in enumerate(steps):
        least = at
        if number == len(steps) - 1 and floor is not None:
            least = floor + 1 if least is None else max(least, floor + 1)
        strictly = number == 0 and start is not None and least == start
        times = subject.times(name)
        place = 0 if least is None else (bisect_right if strictly else bisect_left)(times, least)
        if place == len(times) or times[place] > subject.now:
            return None
        at = times[place]
    return at


def _latest_begin(subject: Subject, steps: tuple[tuple[str, int], ...], end: int) -> int:
    """Of the matches that end at ``end``, the latest beginning: the answer may change when that leaves the window."""
    at = end
    for name, _ in reversed(steps[:-1]):
        times = subject.times(name)
        at = times[bisect_right(times, at) - 1]
    return at


def _unknown(name: str, known: tuple[str, ...], position: int, what: str = "") -> BadRule:
    near = get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(sorted(known))}"
    return BadRule(f"{what}{name[:64]!r} is unknown, {hint}", position)
