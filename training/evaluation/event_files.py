"""Files of events: CSV or JSON lines, one row per act.

    RetailRocket    timestamp, visitorid, event, itemid
    REES46          event_time, event_type, product_id, user_id, user_session
    any other       user, item and, if there are, time and session

The header tells which of them it is. Sessions that the data does not name end after 30 minutes without an act.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from events.errors import NotFound
from events.reasons import Unfit
from events.row_reader import ENCODING, BadRow, Row, rows
from events.skew import parse_time
from training.evaluation.data_folder import BadData, folder
from training.evaluation.history_table import HistoryTable, Int64, table

SESSION_GAP_MS: Final = 30 * 60_000
"""The usual boundary of web analytics; the next act after a longer pause begins a new session."""
_SUFFIXES: Final = (".csv", ".tsv", ".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column is what; ``time`` and ``session`` may be absent from a file of our own kind."""

    user: str
    item: str
    time: str
    session: str
    in_order: bool = True
    """Whether each user's rows must stand in the order of their times. RetailRocket publishes its file unsorted."""


RETAIL_ROCKET: Final = Columns("visitorid", "itemid", "timestamp", "", in_order=False)
REES46: Final = Columns("user_id", "product_id", "event_time", "user_session")
GENERIC: Final = Columns("user", "item", "time", "session")
OTHER_TIMES: Final = ("timestamp", "event_time", "datetime", "date", "at")
"""Columns that surely mean the time. Without one, rows are taken in the order of the file: a guess nobody should be
given who wrote down when."""


def load(data: Path, encoding: str = ENCODING) -> HistoryTable:
    """The table of a file, or of the one such file in a folder. Raises `NotFound`, `BadData` and `BadRow`, naming file,
    line and field."""
    if not data.exists():
        raise NotFound(f"{data} is no file and no folder: give the file of events as --data")
    path = data if data.is_file() else _only_file(data)
    _known(encoding)
    users: list[str] = []
    items: list[str] = []
    times: list[int] = []
    sessions: list[str] = []
    latest: dict[str, int] = {}
    for number, columns, row in _with_columns(path, rows(path, encoding)):
        user, item = (_text(path, number, row, name) for name in (columns.user, columns.item))
        users.append(user)
        items.append(item)
        if columns.time:
            at = _time(path, number, row, columns.time)
            if columns.in_order and at < latest.get(user, at):
                raise BadRow(
                    f"{path} line {number}: {columns.time} runs backwards for user {user[:40]}: sort the file by time"
                )
            latest[user] = at
            times.append(at)
        if columns.session:
            sessions.append(f"{user}\0{_text(path, number, row, columns.session)}")
    at_ms = np.array(times, np.int64) if times else None
    if not sessions and at_ms is not None:
        sessions = by_pause(users, at_ms)
    return table(users, items, at_ms, sessions=sessions or None)


def by_pause(users: Sequence[str], at: Int64) -> list[str]:
    """A session name for each row: a user's rows no more than `SESSION_GAP_MS` apart share one."""
    order = np.lexsort((at, np.asarray(users, dtype=str)))
    who = np.asarray(users, dtype=str)[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (who[1:] != who[:-1]) | (np.diff(at[order]) > SESSION_GAP_MS)
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(begins)
    return [str(session) for session in number]


def _known(encoding: str) -> None:
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise BadData(f"--encoding {encoding} is not known: use a name such as utf-8 or latin-1") from None


def _only_file(data: Path) -> Path:
    found = sorted(p for p in folder(data).iterdir() if set(p.suffixes) & set(_SUFFIXES) and p.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise BadData(f"{data}: one file of {', '.join(_SUFFIXES)} (also .gz) is needed, found {names}")
    return found[0]


def _with_columns(path: Path, of: Iterator[Row]) -> Iterator[tuple[int, Columns, dict[str, object]]]:
    """The rows with what their columns mean, decided by the first one."""
    columns: Columns | None = None
    for number, row in of:
        columns = columns or _columns(path, number, row)
        yield number, columns, row
    if columns is None:
        raise BadData(f"{path} is empty: no row of data")


def _columns(path: Path, number: int, row: dict[str, object]) -> Columns:
    for known in (RETAIL_ROCKET, REES46):
        if known.user in row and known.item in row:
            missing = [name for name in (known.time, known.session) if name and name not in row]
            if missing:
                raise BadRow(
                    f"{path} line {number}: column {missing[0]} is missing, which files with {known.user} and "
                    f"{known.item} have, found {', '.join(map(str, row))[:200]}: complete it, or name the columns "
                    f"{GENERIC.user}, {GENERIC.item}, {GENERIC.time}, {GENERIC.session}"
                )
            return known
    for name in (GENERIC.user, GENERIC.item):
        if name not in row:
            raise BadRow(f"{path} line {number}: column {name} is missing, found {', '.join(map(str, row))[:200]}")
    strange = [name for name in OTHER_TIMES if name in row]
    if strange and GENERIC.time not in row:
        raise BadRow(f"{path} line {number}: column {strange[0]} would not be read as the time: name it {GENERIC.time}")
    return Columns(
        GENERIC.user,
        GENERIC.item,
        GENERIC.time if GENERIC.time in row else "",
        GENERIC.session if GENERIC.session in row else "",
    )


def _text(path: Path, number: int, row: dict[str, object], field: str) -> str:
    value = row.get(field)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise BadRow(f"{path} line {number}: {field} is missing")
    return str(value)


def _time(path: Path, number: int, row: dict[str, object], field: str) -> int:
    value = row.get(field)
    if isinstance(value, str):
        value = value.strip().removesuffix(" UTC")
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else value
    try:
        at = parse_time(value)
    except Unfit as wrong:
        raise BadRow(f"{path} line {number}: {field}: {wrong}") from None
    if not at:
        raise BadRow(f"{path} line {number}: {field} is missing")
    return at
