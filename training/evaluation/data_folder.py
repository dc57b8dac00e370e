"""A folder somebody downloaded: finding its files, and reading their cells so that every complaint names file, line and
field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from events.errors import BadRequest, NotFound
from events.row_reader import ENCODING, BadRow, lines

LATIN: Final = "latin-1"
"""What GroupLens wrote its titles in."""


class BadData(BadRequest):
    """A folder or file that is not what its format says; the message names it and what was expected."""

    code = "bad_data"


def folder(path: Path) -> Path:
    """``path`` if it is a folder. Raises `NotFound`."""
    if not path.is_dir():
        raise NotFound(f"{path} is no folder: give the one the data was unpacked to as --data")
    return path


def only(of: Path, pattern: str) -> Path:
    """The one file of the folder that matches. Raises `BadData` for none and for several."""
    found = sorted(path for path in folder(of).glob(pattern) if path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise BadData(f"{of}: one file {pattern} is needed, found {names}")
    return found[0]


def cells(
    path: Path, separator: str | None, fields: Sequence[str], encoding: str = ENCODING
) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each line that is not empty. ``separator`` None: spaces.

    Raises `BadRow` for a line with another number of cells than ``fields`` and an empty cell, `BadData` for no lines.
    """
    count = 0
    for number, line in lines(path, encoding):
        text = line.rstrip("\r\n")
        if not text.strip():
            continue
        count += 1
        found = text.split(separator)
        if len(found) != len(fields):
            raise BadRow(f"{path} line {number}: {len(found)} cells where {', '.join(fields)} are expected")
        for field, cell in zip(fields, found, strict=True):
            if not cell.strip():
                raise BadRow(f"{path} line {number}: {field} is missing")
        yield number, found
    if not count:
        raise BadData(f"{path} is empty")


def header_cells(
    path: Path, separator: str, needed: Sequence[str], encoding: str = ENCODING
) -> Iterator[tuple[int, list[str]]]:
    """(line number, the ``needed`` cells of the line, in that order) of a file whose first line names the columns.

    A column may carry a type after a colon, as in RecBole's atomic files (``user_id:token``).
    Raises `BadRow` for a missing column, a short line and an empty cell, `BadData` for a file without rows.
    """
    at: list[int] = []
    names: list[str] = []
    count = 0
    for number, line in lines(path, encoding):
        found = line.rstrip("\r\n").split(separator)
        if not names:
            names = [name.split(":")[0].strip() for name in found]
            missing = [name for name in needed if name not in names]
            if missing:
                raise BadRow(f"{path} line {number}: column {missing[0]} is missing, found {', '.join(names)[:200]}")
            at = [names.index(name) for name in needed]
            continue
        if not line.strip():
            continue
        count += 1
        if len(found) != len(names):
            raise BadRow(f"{path} line {number}: {len(found)} cells where the first line names {len(names)}")
        for place in at:
            if not found[place].strip():
                raise BadRow(f"{path} line {number}: {names[place]} is missing")
        yield number, [found[place] for place in at]
    if not count:
        raise BadData(f"{path} is empty: no row after the names of its columns")


def whole(path: Path, number: int, field: str, cell: str) -> int:
    """The cell as a number that is not negative. Raises `BadRow`."""
    if not (cell.isascii() and cell.isdigit() and len(cell) < 19):
        raise BadRow(f"{path} line {number}: {field} is {cell[:40]!r}, a whole number is expected")
    return int(cell)


def real(path: Path, number: int, field: str, cell: str) -> float:
    """The cell as a finite number. Raises `BadRow`."""
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise BadRow(f"{path} line {number}: {field} is {cell[:40]!r}, a number is expected")
    return value
