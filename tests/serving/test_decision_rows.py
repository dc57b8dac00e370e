"""What became of a list, joined as a stream, is what joining everything at once says."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from serving.decision import Decision, Owner, Place, Rules, Shown, Versions
from serving.decision_period import Answered
from serving.decision_rows import LATE_US, JoinedList, in_moments, joined
from training.attribution import DEFAULT_WINDOWS, EARLY_US, Act, Impressed, attribute
from training.learned import OUTCOMES

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = 100 * DAY
ANN, BOB = b"ann".ljust(16), b"bob".ljust(16)
ITEMS = ("tea", "milk", "jam")


def place(number: int) -> Place:
    return Place(b"spol", number, b"random")


def answered(
    number: int, at: int, subject: bytes = ANN, items: Sequence[str] = ITEMS, impression: str = "seen"
) -> Answered:
    decision = Decision(
        format=1,
        versions=Versions("fixed-1", "fixed-0", "items-1", 7, 41),
        consent="default",
        rules=Rules("home", "allow", (1.0, 3.0, 10.0), impression, 0.0, 0.0),
        read_at=at,
        asked=3,
        anchors=(),
        exclude=(),
        category="",
        context={},
        recommenders=("popularity",),
        weights=(1.0,),
        candidates=(),
        scores=b"",
        features=b"",
        gains=b"",
        seed=0,
        slate=tuple(Shown(item, 1.0, 1.0, (), "") for item in items),
    )
    return Answered(place(number), at, Owner(0, subject), decision)  # type: ignore[arg-type]


def became(lists: Sequence[JoinedList]) -> dict[tuple[str, str], dict[str, int]]:
    """(list, item) → outcomes, of the rows seen."""
    return {(row.list_id, row.item): dict(row.outcome_at) for one in lists for row in one.rows if row is not None}


def run(decisions: Sequence[Answered], facts: Sequence[Impressed | Act]) -> list[JoinedList]:
    by_time = sorted(facts, key=lambda fact: fact.at)
    return list(joined(decisions, in_moments(by_time), end=START + 400 * DAY))


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Answered], list[Impressed | Act]]:
    """A few lists of two people; impressions that name them, acts that do or do not, at all distances."""
    gaps = st.sampled_from([1, MINUTE, 29 * MINUTE, HOUR, 5 * HOUR, DAY - 1, 3 * DAY, 7 * DAY - HOUR, 9 * DAY])
    at, decisions, facts = START, [], []
    for number in range(draw(st.integers(1, 4))):
        at += draw(gaps)
        one = answered(number, at, draw(st.sampled_from([ANN, BOB])))
        decisions.append(one)
        for _ in range(draw(st.integers(0, 2))):
            waited = draw(st.sampled_from([1, MINUTE, HOUR, LATE_US - HOUR]))
            seen = tuple(draw(st.lists(st.sampled_from(ITEMS), min_size=1, unique=True)))
            facts.append(Impressed(one.place.text, one.subject, seen, at + waited))
    for _ in range(draw(st.integers(0, 6))):
        when = START + draw(st.integers(0, 20 * DAY))
        near = draw(st.sampled_from([None, *[fact.at for fact in facts]]))
        if near is not None:
            when = near + draw(st.sampled_from([-30 * MINUTE, -MINUTE, -EARLY_US, -1, 0, MINUTE, HOUR, 2 * DAY]))
        named = draw(st.sampled_from(["", "elsewhere", *[one.place.text for one in decisions]]))
        when = max([when, *[one.at for one in decisions if one.place.text == named]])  # nobody names what is not there
        items = tuple(draw(st.lists(st.sampled_from(ITEMS), min_size=1, unique=True)))
        facts.append(Act(draw(st.sampled_from([ANN, BOB])), items, draw(st.sampled_from(OUTCOMES)), when, named))
    return decisions, facts


@given(stories())
def test_joining_a_stream_says_what_joining_everything_says(
    story: tuple[list[Answered], list[Impressed | Act]],
) -> None:
    decisions, facts = story
    whole = {(row.list_id, row.item): dict(row.outcome_at) for row in attribute(sorted(facts, key=lambda f: f.at)).rows}
    assert became(run(decisions, facts)) == whole


def test_every_list_comes_once_in_the_order_it_was_answered() -> None:
    decisions = [answered(number, START + number * DAY) for number in range(40)]
    found = run(decisions, [Act(ANN, ("tea",), "click", START + 39 * DAY)])
    assert [one.answered for one in found] == decisions
    assert all(one.closed for one in found)


def test_a_list_is_let_go_once_its_windows_are_closed() -> None:
    """Not held until the end: facts are drawn one by one."""
    decisions = [answered(number, START + number * DAY) for number in range(40)]
    drawn: list[int] = []

    def facts() -> list[Impressed | Act]:
        return []

    def watched() -> object:
        for one in decisions:
            drawn.append(one.place.offset)
            yield one

    stream = joined(watched(), facts(), end=START)  # type: ignore[arg-type]
    assert next(stream).answered is decisions[0]
    assert max(drawn) <= 2 + (LATE_US + DEFAULT_WINDOWS.longest) // DAY


def test_windows_still_open_at_the_end_of_the_log_are_told() -> None:
    decisions = [answered(0, START), answered(1, START + 20 * DAY)]
    found = list(joined(decisions, [], end=START + 21 * DAY))
    assert [one.closed for one in found] == [True, False]


def test_an_impression_without_an_id_belongs_to_the_latest_list_with_the_item() -> None:
    decisions = [answered(0, START), answered(1, START + MINUTE, items=("jam",)), answered(2, START + MINUTE, BOB)]
    seen = Impressed("", ANN, ITEMS, START + HOUR)
    assert set(became(run(decisions, [seen]))) == {
        (place(0).text, "tea"),
        (place(0).text, "milk"),
        (place(1).text, "jam"),
    }


def test_an_impression_with_the_clients_own_list_id_is_one_without() -> None:
    assert became(run([answered(0, START)], [Impressed("deals", ANN, ("tea",), START + 1)]))


def test_an_impression_of_a_list_of_ours_that_is_not_here_belongs_nowhere() -> None:
    assert not became(run([answered(0, START)], [Impressed(place(9).text, ANN, ("tea",), START + 1)]))


def test_an_impression_a_day_late_does_not_count() -> None:
    late = Impressed(place(0).text, ANN, ("tea",), START + LATE_US + 1)
    assert not became(run([answered(0, START)], [late]))


def test_where_answers_count_as_seen_every_slot_is() -> None:
    found = became(run([answered(0, START, impression="assumed")], [Act(ANN, ("jam",), "cart", START + HOUR)]))
    assert found == {
        (place(0).text, "tea"): {},
        (place(0).text, "milk"): {},
        (place(0).text, "jam"): {"cart": START + HOUR},
    }
