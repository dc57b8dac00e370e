"""Rows of a CSV or JSON-lines file, each with its line number. Compressed files (``.gz``) are opened as they are."""

from __future__ import annotations

import codecs
import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from events.errors import BadRequest

Row: TypeAlias = tuple[int, dict[str, object]]
"""(line number, column → value)"""

ENCODING: Final = "utf-8-sig"
"""UTF-8, with or without a byte order mark."""
_DELIMITERS: Final = ",;\t|"
_OBJECT = msgspec.json.Decoder(dict[str, object])


class BadRow(BadRequest):
    """A row that cannot be imported; the message names file, line and field."""

    code = "bad_row"


def rows(path: Path, encoding: str = ENCODING) -> Iterator[Row]:
    """The rows of ``path`` in the order they stand there: CSV for ``.csv``, ``.tsv`` and ``.txt``, else JSON lines.

    A CSV's first line names the columns, its delimiter is whichever of ``, ; tab |`` stands in there most.
    Raises `BadRow` for a line that cannot be read.
    """
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    is_table = plain.suffix.lower() in (".csv", ".tsv", ".txt")
    return table_rows(path, encoding) if is_table else json_rows(path, encoding)


def lines(path: Path, encoding: str = ENCODING) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1. Raises `BadRow` for bytes that are not in ``encoding``."""
    number = 0
    with (
        gzip.open(path, "rt", encoding=encoding, newline="")
        if path.suffix == ".gz"
        else path.open(encoding=encoding, newline="") as file
    ):
        try:
            for number, line in enumerate(file, 1):
                yield number, line
        except UnicodeDecodeError as wrong:
            raise BadRow(
                f"{path} line {_undecodable(path, encoding, number + 1)}: not {encoding.removesuffix('-sig')} "
                f"({wrong.reason}): name the encoding of the file"
            ) from None
        except (EOFError, gzip.BadGzipFile, UnicodeError) as broken:
            raise BadRow(f"{path} after line {number}: {broken}") from None


def _undecodable(path: Path, encoding: str, otherwise: int) -> int:
    """The line that cannot be decoded: text is decoded ahead of the lines it is cut into."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                decoder.decode(line)
            except UnicodeDecodeError:
                return number
    return otherwise


def json_rows(path: Path, encoding: str = ENCODING) -> Iterator[Row]:
    """One JSON object a line; empty lines are passed over. Raises `BadRow`."""
    for number, line in lines(path, encoding):
        if not line.strip():
            continue
        try:
            yield number, _OBJECT.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
            raise BadRow(f"{path} line {number}: not a JSON object ({wrong})"[:300]) from None


def table_rows(path: Path, encoding: str = ENCODING) -> Iterator[Row]:
    """CSV whose first line names the columns, delimited by whichever of ``, ; tab |`` stands in there most. Raises
    `BadRow`."""
    numbered = lines(path, encoding)
    _, head = next(numbered, (0, ""))
    delimiter = max(_DELIMITERS, key=head.count)
    names = next(csv.reader([head], delimiter=delimiter), [])
    if not any(name.strip() for name in names):
        raise BadRow(f"{path} line 1: the names of the columns are missing")
    reader = csv.reader((line for _, line in numbered), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 2
        try:
            cells = next(reader, None)
        except csv.Error as wrong:
            raise BadRow(f"{path} line {number}: {wrong}") from None
        if cells is None:
            return
        if not cells:
            continue
        if len(cells) != len(names):
            raise BadRow(f"{path} line {number}: {len(cells)} columns where the first line names {len(names)}")
        yield number, dict(zip(names, cells, strict=True))
