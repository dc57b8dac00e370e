"""Anybody's event log as a source: JSON lines or CSV, with a mapping of columns to our fields.

Without a mapping every JSON line must be a Segment event already. Rows may stand in a wrong order: up to 10,000 of them
are held back and sorted by time; one that is later still than that is passed on as it comes, which the log takes
like any late event.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Final

from events.envelope import text
from events.errors import NotFound
from events.ids import Millis
from events.lines import number
from events.reasons import Unfit
from events.row_reader import ENCODING, BadRow, rows
from events.skew import parse_time
from events.vocabulary import Vocabulary
from serving.field_mapping import Column
from serving.source import SourceEvent

REORDER_ROWS: Final = 10_000
COMPLAINTS_KEPT: Final = 10

_NUMBERS: Final = ("price", "quantity", "rating", "rating_scale", "revenue")
_IN_THE_LINE: Final = ("category", "brand", "price", "quantity")
_OF_THE_EVENT: Final = ("rating", "rating_scale", "order_id", "revenue", "query")


class GenericSource:
    """The events of ``path``. ``vocabulary`` says where an event of some name has its items. Bad rows raise `BadRow`
    unless ``skip_bad``, which counts them in ``skipped`` and keeps the first ten messages in ``complaints``.
    Raises `NotFound` for a missing file."""

    def __init__(
        self,
        path: Path,
        mapping: Mapping[str, Column] | None,
        vocabulary: Vocabulary,
        *,
        encoding: str = ENCODING,
        skip_bad: bool = False,
    ) -> None:
        if not path.is_file():
            raise NotFound(f"{path} is no file")
        self._path = path
        self._mapping = mapping
        self._vocabulary = vocabulary
        self._encoding = encoding
        self._skip_bad = skip_bad
        self.skipped = 0
        self.complaints: list[str] = []
        self.name = path.name
        self.source_hash = _hash(path)
        self.producer = f"file-{self.source_hash[:12]}"

    def total(self) -> None:
        """Not known before the file was read."""
        return

    def shift_ms(self, now: Millis) -> int:
        """Somebody's own data stays where it is."""
        return 0

    def events(self, shift_ms: int) -> Iterator[SourceEvent]:
        """The rows as Segment events, by time as far as 10,000 rows of patience reach."""
        self.skipped, self.complaints = 0, []
        read = self._mapped if self._mapping is not None else _as_it_is
        for event in by_time(self._read(read), REORDER_ROWS):
            at = event.get("timestamp")
            yield {**event, "timestamp": at + shift_ms} if shift_ms and isinstance(at, int) else event

    def _read(self, read: Callable[[dict[str, object]], SourceEvent]) -> Iterator[SourceEvent]:
        for line, row in rows(self._path, self._encoding):
            try:
                yield read(row)
            except Unfit as unfit:
                complaint = f"{self._path} line {line}, {unfit.detail}"
                if not self._skip_bad:
                    raise BadRow(complaint) from None
                self.skipped += 1
                if len(self.complaints) < COMPLAINTS_KEPT:
                    self.complaints.append(complaint)

    def _mapped(self, row: dict[str, object]) -> SourceEvent:
        """A row as a track call. Raises `Unfit` whose detail begins with the field."""
        found = {field: self._value(field, column, row) for field, column in (self._mapping or {}).items()}
        found = {field: value for field, value in found.items() if value not in (None, "")}
        if "event" not in found:
            raise Unfit("missing_event", f"field event: column {self._column('event')} is empty")
        if "user" not in found and "anonymous" not in found:
            raise Unfit("not_identifiable", "field user: nobody is named in this row")
        name = str(found["event"])
        properties: dict[str, object] = {field: found[field] for field in _OF_THE_EVENT if field in found}
        line: dict[str, object] = {field: found[field] for field in _IN_THE_LINE if field in found}
        place = self._vocabulary.meaning(name).place
        if place is not None and "item" in found:
            line[place.ids[0]] = found["item"]
        if place is not None and place.list_at:
            properties[place.list_at] = [line] if "item" in found else []
        else:
            properties |= line
        event: SourceEvent = {"type": "track", "event": name, "properties": properties}
        for field, key in (("user", "userId"), ("anonymous", "anonymousId"), ("time", "timestamp")):
            if field in found:
                event[key] = found[field]
        if "message_id" in found:
            event["messageId"] = found["message_id"]
        return event

    def _value(self, field: str, column: Column, row: dict[str, object]) -> object:
        """The value of one field, checked as far as a file can be."""
        if column.constant is None and column.name not in row and "." not in column.name:
            raise Unfit("missing_event", f"field {field}: there is no column {column.name!r}")
        value = column.of(row)
        if value is None or value == "":
            return None
        try:
            if field == "time":
                return parse_time(_numeric(value))
            if field in _NUMBERS:
                amount = number(value, -1e12, 1e12)
                if amount is None:
                    raise Unfit("bad_number", f"{value!r} is no number")
                return amount
            return text(field, value)
        except Unfit as unfit:
            raise Unfit(unfit.reason, f"field {field} (column {column.name!r}): {unfit.detail}") from None

    def _column(self, field: str) -> str:
        return repr(self._mapping[field].name) if self._mapping else ""


def by_time(events: Iterator[SourceEvent], held_max: int) -> Iterator[SourceEvent]:
    """Events sorted by their integer timestamp within a window of ``held_max``; equal times keep their order, events
    without a time go with the one before them."""
    held: list[tuple[int, int, SourceEvent]] = []
    latest = 0
    for order, event in enumerate(events):
        at = event.get("timestamp")
        latest = at if isinstance(at, int) else latest
        heapq.heappush(held, (latest, order, event))
        if len(held) > held_max:
            yield heapq.heappop(held)[2]
    while held:
        yield heapq.heappop(held)[2]


def _as_it_is(row: dict[str, object]) -> SourceEvent:
    """A Segment event with its time read, so that it can be sorted."""
    at = row.get("originalTimestamp") or row.get("timestamp")
    try:
        return {**row, "timestamp": parse_time(at)} if at else row
    except Unfit as unfit:
        raise Unfit(unfit.reason, f"field timestamp: {unfit.detail}") from None


def _numeric(value: object) -> object:
    """CSV knows texts only: a time that is all digits is a number, but for the date ``20240131``."""
    if not isinstance(value, str):
        return value
    value = value.strip()
    digits = value.replace(".", "", 1)
    if digits.isdigit() and len(value) != len("20240131"):
        return number(value, 0, 1e15)
    return value


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
