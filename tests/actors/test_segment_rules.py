"""Segment rules: understood or refused with the position; true exactly when they should be, for as long as they say."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.quantity import NEVER, Quantity, decaying, growing, steady
from actors.segment_rules import Verdict, understand
from actors.segment_syntax import CHARS_MAX, BadRule
from events.types import Json

MINUTE = 60_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE


@dataclass
class Timeline:
    """Somebody of whom every act is known, read at ``now``."""

    now: int = 0
    acts: dict[str, list[int]] = field(default_factory=dict)
    traits: dict[str, Json] = field(default_factory=dict)
    segments: frozenset[str] = frozenset()

    def times(self, signal: str) -> tuple[int, ...]:
        return tuple(sorted(self.acts.get(signal, ())))

    def total(self, signal: str) -> int:
        return len(self.acts.get(signal, ()))

    def decayed(self, signal: str, half_life: str) -> Quantity:
        life = DAY if half_life == "day" else 30 * DAY
        return decaying(sum(2.0 ** ((at - self.now) / life) for at in self.acts.get(signal, ())), life)

    def interest(self, key: str) -> Quantity:
        return decaying(3.0, HOUR) + decaying(1.0, DAY) if key == "category:Tea" else steady(0.0)

    def bought(self, item: str) -> tuple[int, ...]:
        return self.times("purchase") if item == "tea" else ()

    def trait(self, name: str) -> Json:
        return self.traits.get(name)

    def grouped(self, group: str) -> bool:
        return group == "acme"

    def consented(self, purpose: str) -> bool:
        return purpose == "personalization"

    def member(self, segment: str) -> bool:
        return segment in self.segments

    def number(self, field: str) -> Quantity | None:
        return steady(0.5) if field == "engagement" else None

    def text(self, field: str) -> str | None:
        return "mobile" if field == "session.device" else None

    def flag(self, field: str) -> Verdict:
        return Verdict(True, NEVER)

    def quantile(self, field: str, share: float) -> float | None:
        return share


ACTS = st.fixed_dictionaries(
    {signal: st.lists(st.integers(0, 200), max_size=5).map(lambda t: [each * MINUTE for each in t]) for signal in "abc"}
).map(lambda acts: {"cart": acts["a"], "view": acts["b"], "purchase": acts["c"]})
CLOCK = st.integers(0, 400).map(lambda each: each * MINUTE)

RULES = st.recursive(
    st.sampled_from(
        [
            "count(view, 60 minutes) >= 2",
            "count(cart, 90 minutes) == 1",
            "count(purchase) > 1",
            "did(cart, 45 minutes)",
            "since(purchase) > 30 minutes",
            "since(view) <= 20 minutes",
            "sequence(cart then no purchase for 30 minutes)",
            "sequence(view then cart then no purchase for 10 minutes, 2 hours)",
            "sequence(view then cart, 1 hour)",
            "sequence(cart then cart)",
            'bought("tea", 50 minutes) >= 1',
            'decayed(view, "day") > 1.5',
            "since(view) + 10 minutes < since(cart)",
        ]
    ),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})")
        | inner.map(lambda rule: f"not ({rule})")
    ),
    max_leaves=4,
)


@given(RULES, ACTS, CLOCK, st.floats(0, 1))
def test_an_answer_stands_for_as_long_as_it_says(rule: str, acts: dict[str, list[int]], now: int, share: float) -> None:
    holds = understand(rule).holds
    answer = holds(Timeline(now, acts))
    assert answer.stands >= 1
    later = now + int(share * (min(answer.stands, 10 * DAY) - 1))
    # acts ahead of the clock happen when their time comes, except that totals and decayed sums know them already
    assert holds(Timeline(later, acts)).holds == answer.holds


def happened(acts: dict[str, list[int]], now: int, steps: list[str], window: int | None) -> bool:
    """Every way of choosing one time per step, in order."""

    def follow(rest: list[str], least: float) -> bool:
        if not rest:
            return True
        return any(follow(rest[1:], at) for at in acts[rest[0]] if least <= at <= now)

    start = float("-inf") if window is None else now - window + 1
    return follow(steps, start)


@given(ACTS, CLOCK, st.sampled_from([None, 30 * MINUTE, 2 * HOUR]))
def test_a_sequence_is_found_exactly_when_some_way_of_matching_it_exists(
    acts: dict[str, list[int]], now: int, window: int | None
) -> None:
    within = f", {window // MINUTE} minutes" if window else ""
    found = understand(f"sequence(view then cart then purchase{within})").holds(Timeline(now, acts)).holds
    assert found == happened(acts, now, ["view", "cart", "purchase"], window)


@given(ACTS, CLOCK)
def test_an_abandoned_cart_has_some_cart_with_no_order_since_for_half_an_hour(
    acts: dict[str, list[int]], now: int
) -> None:
    found = understand("sequence(cart then no purchase for 30 minutes)").holds(Timeline(now, acts)).holds
    orders = [at for at in acts["purchase"] if at <= now]
    assert found == any(at <= now - 30 * MINUTE and not any(order >= at for order in orders) for at in acts["cart"])


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ('trait("plan") == "gold"', True),
        ('trait("plan") in ("silver", "gold")', True),
        ('trait("plan") > 3', False),
        ('trait("age") >= 18', True),
        ('18 <= trait("age")', True),
        ('trait("nothing") == 1', False),
        ('trait("nothing") != 1', True),
        ('segment("loyal") and not segment("vip")', True),
        ('group("acme") and consent("personalization")', True),
        ('session.device == "mobile"', True),
        ("session.landing != 'home'", True),
        ("engagement >= quantile(engagement, 0.4)", True),
        ("loyalty > 0", False),
        ('interest("category:Tea") * 2 > 7.5', True),
        ("since(purchase) > 1 day", False),
        ("weekend", True),
    ],
)
def test_a_rule_reads_what_it_names(rule: str, holds: bool) -> None:
    somebody = Timeline(DAY, {}, {"plan": "gold", "age": 30}, frozenset(["loyal"]))
    assert understand(rule).holds(somebody).holds == holds


@pytest.mark.parametrize(
    ("rule", "position", "says"),
    [
        ("engagment > 1", 0, "did you mean 'engagement'"),
        ("count(veiw) > 1", 6, "did you mean 'view'"),
        ("count(view, 7 days) > 40", 20, "kept up to 32"),
        ("since(view) > 3", 12, "a duration cannot be compared with a number"),
        ("engagement == 1", 11, "only in passing"),
        ("count(view)", 0, "says yes or no"),
        ("engagement * loyalty > 1", 11, "plain numbers"),
        ("engagement / 0 > 1", 11, "division by zero"),
        ("sequence(no cart for 1 day)", 12, "last of several"),
        ("true and", 8, "a value is missing"),
        ('trait("x', 6, "no closing quote"),
        ("(" * 30 + "true", 25, "nested at most"),
        ("true or " * 200 + "true", None, "at most 256 parts"),
        ("x" * (CHARS_MAX + 1), CHARS_MAX, "at most 4096 characters"),
    ],
)
def test_a_rule_that_cannot_be_understood_is_refused_with_the_place(rule: str, position: int | None, says: str) -> None:
    with pytest.raises(BadRule, match=says) as refused:
        understand(rule)
    assert position is None or abs(refused.value.position - position) <= 1


@given(st.text(max_size=200))
def test_any_text_is_understood_or_refused(text: str) -> None:
    with suppress(BadRule):
        understand(text)


def test_a_rule_tells_what_it_reads() -> None:
    rule = understand('count(view, 1 day) > 1 and segment("loyal") or trait("a") == 1')
    assert rule.reads == {"view", "segment:loyal", "traits"}
    assert rule.segments == {"loyal"}


@dataclass
class Scored(Timeline):
    """Somebody with a score that is a sum of parts, beside a population in which everybody is alike."""

    score: Quantity = field(default_factory=lambda: steady(0.5))

    def number(self, field: str) -> Quantity | None:
        return self.score

    def quantile(self, field: str, share: float) -> float | None:
        return self.score.now


@given(
    st.floats(0.0, 1.0),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.sampled_from([HOUR, DAY, 30 * DAY])), max_size=4).map(tuple),
)
def test_nobody_lies_above_a_level_that_is_their_own_value(
    constant: float, decays: tuple[tuple[float, int], ...]
) -> None:
    like_all = Scored(score=Quantity(constant, decays=decays))
    above = understand("engagement > quantile(engagement, 0.9)").holds(like_all)
    assert not above.holds
    assert understand("engagement >= quantile(engagement, 0.9)").holds(like_all).holds
    assert above.stands <= 1 or like_all.score.still or not any(value for value, _ in decays)


def test_a_time_since_grows() -> None:
    assert understand("since(view) > 30 minutes").holds(Timeline(HOUR, {"view": [HOUR]})) == (False, 30 * MINUTE)
    assert growing(1.0).at(2) == 3.0


def test_evidence_names_every_part_as_it_reads_now() -> None:
    rule = understand(
        'count(view, 24 hours) >= 2 and (trait("plan") == "gold" or sequence(cart then no purchase for 90 minutes))'
    )
    subject = Timeline(DAY, {"view": [DAY - 1, DAY - 2], "cart": [HOUR]}, {"plan": "free"})
    assert rule.evidence(subject) == {
        "count(view, 1 day)": 2.0,
        'trait("plan")': "free",
        "sequence(cart then no purchase for 90 minutes)": True,
    }
