"""Splits that respect time: what may be learned from, and what is predicted.

    leave_last_out     each user's last row is the test, the one before the validation; time is each user's own
    global_timeline    one moment for everybody: learned before it, tested after it
    per_session        whole sessions on either side of one moment
    cross_validation   blocks of whole sessions in time order; each is predicted from those that ended before it
    prequential        every row predicted from all that came before it

A *request* is one predicted row. What a model may look at to answer it is `history` (the same user's earlier rows) and
``fit`` (rows its statistics are learned from). `leaks` finds every row that breaks this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from events.errors import BadRequest
from training.evaluation.history_table import HistoryTable, Int64, Rows

Scope: TypeAlias = Literal["user", "everyone"]
SPLITS: Final = ("leave-last-out", "tuning", "timeline", "per-session", "cross-validation")
"""What ``--split`` takes. ``tuning`` is leave-last-out of the table `without_last`: where hyper-parameters are chosen,
as no test row is in it."""


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint sets of rows of one table."""

    name: str
    fit: Rows
    validation: Rows
    test: Rows
    scope: Scope
    """Whose later rows must not be learned from: the predicted user's own, or everybody's."""

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": len(self.fit), "validation": len(self.validation), "test": len(self.test)}


@dataclass(frozen=True, slots=True)
class Leak:
    """A row that is learned from although it is not before what it helps to predict."""

    request: int
    row: int


def leave_last_out(table: HistoryTable) -> Split:
    """Test: the last row of every user with at least three. Validation: the one before it, of the users that the data
    reserves for that (default all). Everything else is learned from.

    The protocol of SASRec (Kang, McAuley, ICDM 2018) and its successors; other users' rows may be younger than a test
    row, which the protocol accepts and published figures share.
    """
    count = np.diff(table.start)
    tested = np.flatnonzero(count >= 3)
    reserved = tested if table.validation_users is None else tested[table.validation_users[tested]]
    test, validation = table.start[tested + 1] - 1, table.start[reserved + 1] - 2
    fit = np.ones(len(table), bool)
    fit[test] = fit[validation] = False
    return _checked(Split("leave-last-out", np.flatnonzero(fit), validation, test, "user"), table)


def without_last(table: HistoryTable) -> HistoryTable:
    """The table without each user's last row."""
    kept = np.ones(len(table), bool)
    kept[table.start[1:][np.diff(table.start) > 0] - 1] = False
    return table.only(kept)


def global_timeline(table: HistoryTable, validation_share: float = 0.1, test_share: float = 0.1) -> Split:
    """Two moments cut the rows of everybody: the newest ``test_share`` is the test, ``validation_share`` before it.

    Rows of the same time stay on the same side, so the shares are met from above.
    """
    _needs_time(table, "timeline")
    ordered = np.sort(table.at)
    test_at = ordered[int(len(ordered) * (1 - test_share))]
    validation_at = ordered[int(len(ordered) * (1 - test_share - validation_share))]
    after, between = table.at >= test_at, (table.at >= validation_at) & (table.at < test_at)
    fit, validation, test = (np.flatnonzero(part) for part in (table.at < validation_at, between, after))
    return _checked(Split("timeline", fit, validation, test, "everyone"), table)


def per_session(table: HistoryTable, validation_share: float = 0.1, test_share: float = 0.1) -> Split:
    """As `global_timeline`, of whole sessions: one that runs across a moment belongs to neither side."""
    _needs_time(table, "per-session")
    first, last = _session_spans(table)
    ordered = np.sort(first)
    test_at = ordered[int(len(ordered) * (1 - test_share))]
    validation_at = ordered[int(len(ordered) * (1 - test_share - validation_share))]
    parts = (last < validation_at, (first >= validation_at) & (last < test_at), first >= test_at)
    fit, validation, test = (np.flatnonzero(part[table.session]) for part in parts)
    return _checked(Split("per-session", fit, validation, test, "everyone"), table)


def cross_validation(table: HistoryTable, folds: int = 5) -> list[Split]:
    """Blocks of sessions by their beginning; each block but the first two is the test of one fold, the block before it
    the validation, and what ended before that is learned from.

    No session is ever split; one that reaches into the next block's time is left out of that fold. Folds drawn at
    random would learn from sessions that came later.
    """
    _needs_time(table, "cross-validation")
    first, last = _session_spans(table)
    blocks = folds + 2
    if len(first) < 2 * blocks:
        raise BadRequest(f"{len(first)} sessions cannot make {folds} folds: use more data or --split timeline")
    begins = [*np.sort(first)[[len(first) * block // blocks for block in range(1, blocks)]], np.iinfo(np.int64).max]
    found = []
    for number in range(folds):
        checked, tested, end = begins[number : number + 3]
        parts = (last < checked, (first >= checked) & (last < tested), (first >= tested) & (first < end))
        fit, validation, test = (np.flatnonzero(part[table.session]) for part in parts)
        if len(fit) and len(validation) and len(test):
            found.append(Split(f"fold {number + 1}", fit, validation, test, "everyone"))
    if not found:
        raise BadRequest("no fold has sessions on all sides of its moments: use more data or --split timeline")
    return found


def prequential(table: HistoryTable, warm_up: int = 0) -> Iterator[Split]:
    """Test, then learn: for each moment, its rows are the test and all rows of earlier moments are learned from.

    ``warm_up``: how many of the oldest rows are only learned from. ``fit`` grows by a view, so a step costs no copy.
    """
    _needs_time(table, "prequential")
    order = np.argsort(table.at, kind="stable")
    times = table.at[order]
    begin = int(np.searchsorted(times, times[warm_up], "left")) if warm_up < len(times) else len(times)
    while begin < len(times):
        end = int(np.searchsorted(times, times[begin], "right"))
        yield Split("prequential", order[:begin], np.empty(0, np.int64), order[begin:end], "everyone")
        begin = end


def history(table: HistoryTable, request: int) -> Rows:
    """Rows of the same user that a model may look at when row ``request`` is predicted: those before it.

    In data with times, rows of the very same moment do not count: which of them came first is not known.
    """
    begin = int(table.start[table.user[request]])
    return np.arange(begin, begin + int(visible_until(table, np.array([request]))[0]), dtype=np.int64)


def visible_until(table: HistoryTable, requests: Rows, *, ties_ordered: bool = False) -> Int64:
    """How many of its user's rows each request may look at (see `history`).

    ``ties_ordered``: rows of one moment are in their true order (a file that says it is chronological), so those before
    the request count.
    """
    place = table.place[requests]
    if ties_ordered or not table.timed:
        return place
    same = np.flatnonzero(np.diff(table.at, prepend=np.iinfo(np.int64).min) != 0)
    new_user = table.start[:-1][np.diff(table.start) > 0]
    moments = np.union1d(same, new_user)
    first_of_moment = moments[np.searchsorted(moments, requests, "right") - 1]
    return np.asarray(first_of_moment - table.start[table.user[requests]], np.int64)


def leaks(split: Split, table: HistoryTable) -> list[Leak]:
    """Every learned row that is not before what is predicted, with one request it would help; empty for a sound split.

    Validation rows may be learned from after the weights are chosen, so they too must lie before the test.
    """
    found = [Leak(int(row), int(row)) for row in np.intersect1d(split.fit, np.union1d(split.validation, split.test))]
    for learned, asked in ((split.fit, split.validation), (split.fit, split.test), (split.validation, split.test)):
        found += _later(learned, asked, split.scope, table)
    return found


def _later(learned: Rows, asked: Rows, scope: Scope, table: HistoryTable) -> list[Leak]:
    if not len(learned) or not len(asked):
        return []
    if scope == "everyone":
        earliest = asked[np.argmin(table.at[asked])]
        late = learned[table.at[learned] >= table.at[earliest]]
        return [Leak(int(earliest), int(row)) for row in late]
    first = np.full(table.users, np.iinfo(np.int64).max)
    np.minimum.at(first, table.user[asked], asked)
    late = learned[learned >= first[table.user[learned]]]
    return [Leak(int(first[table.user[row]]), int(row)) for row in late]


def _session_spans(table: HistoryTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(first, last) time of each session."""
    count = int(table.session.max(initial=-1)) + 1
    first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(first, table.session, table.at)
    np.maximum.at(last, table.session, table.at)
    return first, last


def _needs_time(table: HistoryTable, name: str) -> None:
    if not table.timed:
        raise BadRequest(f"--split {name} needs times, and this data only has an order: use --split leave-last-out")


def _checked(split: Split, table: HistoryTable) -> Split:
    """Refuses a split with nothing to learn from or to test."""
    if not len(split.fit) or not len(split.test):
        raise BadRequest(
            f"--split {split.name} of {len(table):,} rows of {table.users:,} users leaves {len(split.fit):,} to learn "
            f"from and {len(split.test):,} to test: use more data or another split"
        )
    return split
