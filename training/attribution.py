"""Attribution: which shown item an act belongs to. Pure; the learner, the export and off-policy estimates share it.

    shown row   one item of one answered list that was seen (Product List Viewed), or answered on a surface that counts
                the answer itself
    act         somebody clicked, carted or bought an item

An act belongs to the row its ``list_id`` names, else to the latest row of the same subject and item; and only while the
row's window for that outcome is open. Times are those of the log (``appended``): the join then says what the system
knew, and a window that is closed stays closed.

An act may come before the impression of the list it names: from another device's queue, through another partition. It
waits for as long as a click may follow an impression; when its row is seen meanwhile, it belongs to that row too,
whatever it was joined to at first: to call the row not acted on would be a lie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from events.types import Interaction
from training.learned import OUTCOMES, Outcome

HOUR_US: Final = 3_600_000_000
EARLY_US: Final = 5_000_000
"""How much earlier than acts an impression counts as appended where facts are put into order. The two may lie in
different partitions (seen anonymously, clicked as a known user) and travel in one flush of an SDK; partitions stamp one
after the other."""

How: TypeAlias = Literal["list", "subject", "unjoined", "late"]
"""Joined by ``list_id``; by (subject, item); or belonging to no open row. And ``late``: to the row it names, which was
seen after it; counted before as one of the last two."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How long after the impression an outcome still counts, in microseconds of log time.

    Clicks come within a visit, carts within a day, purchases within the week: the usual attribution windows of shops
    (Segment's and Google's defaults lie between 30 minutes for a session and 7 days for a conversion).
    """

    click: int = HOUR_US // 2
    cart: int = 24 * HOUR_US
    purchase: int = 7 * 24 * HOUR_US

    def of(self, outcome: Outcome) -> int:
        """
        >>> Windows().of("click") // 60_000_000
        30
        """
        return self.click if outcome == "click" else self.cart if outcome == "cart" else self.purchase

    @property
    def longest(self) -> int:
        return max(self.click, self.cart, self.purchase)


DEFAULT_WINDOWS: Final = Windows()


@dataclass(frozen=True, slots=True)
class Impressed:
    """Items of one answered list that were seen together. ``items`` are those that stand in its slate."""

    list_id: str
    subject: bytes
    items: Sequence[str]
    at: int
    """Appended, us."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something done with items that may be an outcome of showing them."""

    subject: bytes
    items: Sequence[str]
    outcome: Outcome
    at: int
    """Appended, us."""
    list_id: str = ""


@dataclass(slots=True)
class Row:
    """A shown item and what became of it."""

    list_id: str
    item: str
    subject: bytes
    at: int
    """When its list was first seen, us: all windows of a list count from there."""
    outcome_at: dict[Outcome, int] = field(default_factory=dict)
    """When each outcome first happened within its window."""


@dataclass(frozen=True, slots=True)
class Attributed:
    """All rows in the order they were first seen, and how many (outcome, how) pairs of act and item there were."""

    rows: list[Row]
    counts: Counter[tuple[Outcome, How]]


def outcome_of(event: Interaction) -> Outcome | None:
    """The outcome an interaction is; None for one that says nothing about a shown item.

    Looking at an item's page is how most integrations report a click, so a full-weight ``view`` is one; a weaker one (a
    look at the cart, a heartbeat of a video) repeats what was said before.

    >>> outcome_of(Interaction("view")), outcome_of(Interaction("view", weight=0.2)), outcome_of(Interaction("rate"))
    ('click', None, None)
    """
    match event.signal:
        case "click":
            return "click"
        case "view":
            return "click" if event.weight >= 1 else None
        case "cart" | "purchase":
            return event.signal if event.weight > 0 else None
        case _:
            return None


def act_of(subject: bytes, at: int, event: Interaction) -> Act | None:
    """What ``event``, appended at ``at`` (us), may be an outcome of."""
    outcome = outcome_of(event)
    if outcome is None or not event.lines:
        return None
    return Act(subject, tuple(dict.fromkeys(line.item for line in event.lines)), outcome, at, event.list_id)


def counts_for(row_at: int, act: Act, windows: Windows, *, named: bool) -> bool:
    """Whether ``act`` happened inside the window of a row seen at ``row_at``; ``named``: it names the row's list."""
    waited = act.at - row_at
    return (-waits(windows) if named else 0) <= waited <= windows.of(act.outcome)


def waits(windows: Windows) -> int:
    """How long an act waits for the impression of the list it names, us."""
    return max(EARLY_US, windows.click)


def in_order(facts: Iterable[Impressed | Act]) -> list[Impressed | Act]:
    """By time; an impression as if `EARLY_US` earlier, so that it stands before the acts that may name it. Stable."""
    return sorted(facts, key=lambda fact: fact.at - EARLY_US if isinstance(fact, Impressed) else fact.at)


def attribute(facts: Iterable[Impressed | Act], windows: Windows = DEFAULT_WINDOWS) -> Attributed:
    """Join all ``facts``, in any order. An act about several items is joined item by item. Seeing a list again does not
    start its windows again; items of it that are seen only after its window for clicks are no rows. Of several rows of
    one subject and item the list shown last wins.

    >>> seen = Impressed("r1", b"s", ("tea", "milk"), at=0)
    >>> done = attribute([seen, Act(b"s", ("tea",), "click", at=60_000_000, list_id="r1")])
    >>> [(row.item, row.outcome_at) for row in done.rows]
    [('tea', {'click': 60000000}), ('milk', {})]
    """
    rows: dict[tuple[str, str], Row] = {}
    first: dict[str, Impressed] = {}
    shown_to: dict[tuple[bytes, str], list[Row]] = {}
    early: dict[tuple[str, str], list[Act]] = {}
    counts: Counter[tuple[Outcome, How]] = Counter()
    for fact in in_order(facts):
        if isinstance(fact, Impressed):
            opened = first.setdefault(fact.list_id, fact)
            for item in fact.items if fact.at - opened.at <= windows.click else ():
                if (fact.list_id, item) not in rows:
                    row = rows[fact.list_id, item] = Row(fact.list_id, item, opened.subject, opened.at)
                    shown_to.setdefault((row.subject, item), []).append(row)
                    for act in early.get((fact.list_id, item), ()):
                        if fact.at - act.at <= waits(windows) and counts_for(row.at, act, windows, named=True):
                            row.outcome_at.setdefault(act.outcome, act.at)
                            counts[act.outcome, "late"] += 1
            continue
        for item in fact.items:
            named = rows.get((fact.list_id, item)) if fact.list_id else None
            if named is None and fact.list_id:
                early.setdefault((fact.list_id, item), []).append(fact)
            how: How = "list"
            if named is None or not counts_for(named.at, fact, windows, named=True):
                how, named = "subject", latest(shown_to.get((fact.subject, item), ()), fact.at)
                if named is None or not counts_for(named.at, fact, windows, named=False):
                    how, named = "unjoined", None
            counts[fact.outcome, how] += 1
            if named is not None:
                named.outcome_at.setdefault(fact.outcome, fact.at)
    return Attributed(list(rows.values()), counts)


def latest(rows: Sequence[Row], at: int) -> Row | None:
    """The row whose list was shown last, at ``at`` at the latest; of two shown at once the later given."""
    shown = [(row.at, place) for place, row in enumerate(rows) if row.at <= at]
    return rows[max(shown)[1]] if shown else None


def counted(counts: Counter[tuple[Outcome, How]]) -> dict[str, int]:
    """``counts`` as plain names, complete: ``click_list`` and so on."""
    hows: tuple[How, ...] = ("list", "subject", "unjoined", "late")
    return {f"{outcome}_{how}": counts[outcome, how] for outcome in OUTCOMES for how in hows}
