"""Definitions: refused with a reason where they make no sense, and always evaluated in one order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.segment_definition import (
    CLUSTER_BYTES_MAX,
    DEFINITIONS_MAX,
    DESCRIPTION_CHARS_MAX,
    BadDefinition,
    Definitions,
    understood,
)
from actors.segment_syntax import BadRule
from events.errors import BadRequest, NotFound
from events.types import SegmentDefined


def asking(name: str, *others: str) -> SegmentDefined:
    return SegmentDefined(name, " and ".join([f'segment("{other}")' for other in others] or ["did(view)"]))


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (SegmentDefined("Big Spenders", "did(view)"), "a name has 1 to 64"),
        (SegmentDefined("", "did(view)"), "a name has 1 to 64"),
        (SegmentDefined("x" * 65, "did(view)"), "a name has 1 to 64"),
        (SegmentDefined("vip"), "has no rule"),
        (SegmentDefined("vip", "did(view)", description="x" * (DESCRIPTION_CHARS_MAX + 1)), "description"),
        (SegmentDefined("vip", 'segment("vip") or did(view)'), "refer to others"),
        (SegmentDefined("vip", "did(view)", 'segment("vip")'), "refer to others"),
        (SegmentDefined("vip", "engagment > 0.5"), "position 0: 'engagment' is unknown, did you mean 'engagement'"),
        (SegmentDefined("vip", "did(view)", "spent"), "position 0: a rule says yes or no"),
        (SegmentDefined("vip", "did(view)" + " or did(view)" * 100_000), "at most 4096 characters"),
        (SegmentDefined("c1", "did(view)", kind="cluster"), "it has no rule"),
        (SegmentDefined("c1", kind="cluster", cluster={"number": 0}), "cannot be read"),
        (SegmentDefined("c1", kind="cluster", cluster={"number": "x" * CLUSTER_BYTES_MAX}), "bytes"),
        (SegmentDefined("vip", "did(view)", cluster={"number": 0}), "only one of kind `cluster`"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_with_the_reason(told: SegmentDefined, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        Definitions().check(told)


def test_a_segment_nobody_defined_is_refused_at_the_door_and_named_with_the_nearest() -> None:
    held = Definitions().defined(understood(asking("loyal")))
    with pytest.raises(BadDefinition, match="'loyall', which is unknown: did you mean 'loyal'"):
        held.check(asking("vip", "loyall"))
    assert held.check(asking("vip", "loyal")).segments == {"loyal"}


def test_a_circle_is_refused_and_leaves_the_others_as_they_were() -> None:
    held = Definitions()
    for told in (asking("a"), asking("b", "a"), asking("c", "b")):
        held = held.defined(understood(told))
    with pytest.raises(BadDefinition, match="circle with b, c"):
        held.defined(understood(asking("a", "c")))
    assert [each.name for each in held.order] == ["a", "b", "c"]


def test_one_definition_too_many_is_refused() -> None:
    held = Definitions({f"s{n}": understood(asking(f"s{n}")) for n in range(DEFINITIONS_MAX)})
    held.defined(understood(asking("s7")))
    with pytest.raises(BadDefinition, match="at most 200"):
        held.check(asking("another"))


def test_a_segment_others_ask_about_is_not_dropped() -> None:
    held = Definitions().defined(understood(asking("a"))).defined(understood(asking("b", "a")))
    with pytest.raises(BadDefinition, match="asked about by b"):
        held.check_drop("a")
    with pytest.raises(NotFound):
        held.check_drop("nobody")
    held.check_drop("b")
    held.dropped("b").check_drop("a")


def test_without_hysteresis_a_member_stays_while_the_rule_holds() -> None:
    plain, held = (
        understood(SegmentDefined("a", "spent > 5")),
        understood(SegmentDefined("b", "spent > 5", "spent > 4")),
    )
    assert plain.stay is plain.enter
    assert held.stay.text == "(spent > 5) or (spent > 4)"


@given(st.permutations("abcdef"), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=10))
def test_the_order_is_total_and_the_same_however_definitions_came(
    names: list[str], pairs: list[tuple[int, int]]
) -> None:
    asks: dict[str, set[str]] = {name: set() for name in "abcdef"}
    for one, other in pairs:
        if one > other:
            asks["abcdef"[one]].add("abcdef"[other])
    held = Definitions()
    for name in names:
        held = held.defined(understood(asking(name, *sorted(asks[name]))))
    order = [each.name for each in held.order]
    assert order == [each.name for each in Definitions(dict(sorted(held.by_name.items()))).order]
    assert all(order.index(other) < order.index(name) for name in asks for other in asks[name])


def test_rules_that_ask_in_depth_are_refused_by_bounds_not_by_a_crash() -> None:
    with pytest.raises(BadRule, match="nested"):
        understood(SegmentDefined("deep", "(" * 4_000))
