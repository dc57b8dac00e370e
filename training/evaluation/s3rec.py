"""S3-Rec folders (Zhou et al., CIKM 2020): one ``NAME.txt`` with a user and its items in order on each line, one
``NAME_item2attributes.json`` from item to attribute numbers, of any name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from events.row_reader import BadRow, lines
from training.evaluation.data_folder import BadData, only, whole
from training.evaluation.history_table import HistoryTable, table
from training.evaluation.movielens import attribute_matrix

ATTRIBUTES: Final = "_item2attributes.json"


def load(data: Path) -> HistoryTable:
    """The table of the folder. Raises `NotFound`, `BadData` and `BadRow`, naming file, line and field."""
    facts = only(data, f"*{ATTRIBUTES}")
    path = data / (facts.name.removesuffix(ATTRIBUTES) + ".txt")
    if not path.is_file():
        raise BadData(f"{data}: {path.name} is missing beside {facts.name}")
    users: list[str] = []
    items: list[str] = []
    known: set[str] = set()
    for number, line in lines(path):
        cells = line.split()
        if not cells:
            continue
        if len(cells) < 2:
            raise BadRow(f"{path} line {number}: items are missing after user {cells[0][:40]}")
        for field, cell in zip(["user"] + ["item"] * (len(cells) - 1), cells, strict=True):
            whole(path, number, field, cell)
        if cells[0] in known:
            raise BadRow(f"{path} line {number}: user {cells[0]} stands here a second time")
        known.add(cells[0])
        users += [cells[0]] * (len(cells) - 1)
        items += cells[1:]
    if not users:
        raise BadData(f"{path} is empty")
    made = table(users, items)
    return replace(made, attributes=attribute_matrix(made.item_ids, _attributes(facts)))


def _attributes(path: Path) -> dict[str, list[str]]:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, list[int | str]])
    except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
        raise BadData(f"{path}: not an object of item → list of attributes ({wrong})") from None
    return {item: [str(word) for word in words] for item, words in found.items()}
