"""MovieLens folders, in the shapes they are passed around in:

    sequences_chronological.tsv   user, index, item ids oldest first; val_users_sas.txt lists validation users by index
    ratings.dat                   user::item::rating::seconds, as GroupLens publishes ML-1M and ML-10M
    u.data                        user, item, rating, seconds, by tabs: ML-100K
    NAME.inter                    RecBole's atomic files

with people (users.dat, u.user, NAME.user) and films (movies.dat, u.item, NAME.item) beside them where present. Ratings
are rows whatever their value: the task is what somebody watches next. Rows of one second keep the file's order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from scipy import sparse

from events.row_reader import BadRow
from training.evaluation.data_folder import LATIN, BadData, cells, folder, header_cells, only, real, whole
from training.evaluation.history_table import HistoryTable, table

SEQUENCES: Final = "sequences_chronological.tsv"
_YEAR = re.compile(r"\((\d{4})\)\s*$")
_AGE_GROUPS: Final = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}

Words: TypeAlias = Mapping[str, Sequence[str]]
"""Item id → its attributes."""
People: TypeAlias = Mapping[str, Mapping[str, str]]
"""Attribute → user id → value."""


def load(data: Path) -> HistoryTable:
    """The table of the folder. Raises `NotFound`, `BadData` and `BadRow`, naming file, line and field."""
    if (folder(data) / SEQUENCES).is_file():
        return _with_facts(_sequences(data), _films_dat(data), _users_dat(data))
    if (data / "ratings.dat").is_file():
        rows = cells(data / "ratings.dat", "::", ("user", "item", "rating", "timestamp"))
        return _with_facts(_rated(data / "ratings.dat", rows), _films_dat(data), _users_dat(data))
    if (data / "u.data").is_file():
        rows = cells(data / "u.data", "\t", ("user", "item", "rating", "timestamp"))
        return _with_facts(_rated(data / "u.data", rows), {}, _users_100k(data))
    if not any(data.glob("*.inter")):
        raise BadData(f"{data}: none of {SEQUENCES}, ratings.dat, u.data, NAME.inter is there")
    path = only(data, "*.inter")
    rows = header_cells(path, "\t", ("user_id", "item_id", "rating", "timestamp"))
    return _with_facts(_rated(path, rows), {}, _users_atomic(path.with_suffix(".user")))


def _sequences(data: Path) -> HistoryTable:
    path = data / SEQUENCES
    users: list[str] = []
    items: list[str] = []
    numbers: dict[int, str] = {}
    known: set[str] = set()
    for number, (user, index, listed) in header_cells(path, "\t", ("user_id", "sas_user", "movie_ids_oldest_first")):
        place = whole(path, number, "sas_user", index)
        if place in numbers or user in known:
            raise BadRow(f"{path} line {number}: user_id {user} with sas_user {index} stands here a second time")
        numbers[place] = user
        known.add(user)
        films = listed.split()
        for film in films:
            whole(path, number, "movie_ids_oldest_first", film)
        users += [user] * len(films)
        items += films
    return replace(made := table(users, items), validation_users=_validation_users(data, numbers, made.user_ids))


def _validation_users(data: Path, numbers: Mapping[int, str], user_ids: Sequence[str]) -> np.ndarray | None:
    path = data / "val_users_sas.txt"
    if not path.is_file():
        return None
    reserved = set()
    for number, (cell,) in cells(path, None, ("sas_user",)):
        index = whole(path, number, "sas_user", cell)
        if index not in numbers:
            raise BadRow(f"{path} line {number}: sas_user {index} is not in {SEQUENCES}")
        reserved.add(numbers[index])
    return np.array([user in reserved for user in user_ids])


def _rated(path: Path, rows: Iterator[tuple[int, list[str]]]) -> HistoryTable:
    users: list[str] = []
    items: list[str] = []
    ratings: list[float] = []
    seconds: list[int] = []
    for number, (user, item, rating, timestamp) in rows:
        users.append(user)
        items.append(item)
        ratings.append(real(path, number, "rating", rating))
        seconds.append(int(real(path, number, "timestamp", timestamp)))
    return table(users, items, np.array(seconds, np.int64) * 1000, rating=np.array(ratings, np.float32))


def _films_dat(data: Path) -> Words:
    """Genres, the year and the years around it, of movies.dat."""
    path = data / "movies.dat"
    if not path.is_file():
        return {}
    found = {}
    for number, (item, title, genres) in cells(path, "::", ("item", "title", "genres"), LATIN):
        dated = _YEAR.search(title)
        if dated is None:
            raise BadRow(f"{path} line {number}: title has no year in brackets at its end")
        year = int(dated.group(1))
        found[item] = [*genres.split("|"), f"year {year}", f"years {year // 5}", f"around {(year + 2) // 5}"]
    return found


def _users_dat(data: Path) -> People:
    path = data / "users.dat"
    if not path.is_file():
        return {}
    gender, age = {}, {}
    for _, (user, sex, years, _work, _zip) in cells(path, "::", ("user", "gender", "age", "occupation", "zip"), LATIN):
        gender[user], age[user] = sex, _AGE_GROUPS.get(years, years)
    return {"gender": gender, "age": age}


def _users_100k(data: Path) -> People:
    path = data / "u.user"
    if not path.is_file():
        return {}
    rows = list(cells(path, "|", ("user", "age", "gender", "occupation", "zip"), LATIN))
    return _gender_and_age((path, number, user, sex, age) for number, (user, age, sex, _, _) in rows)


def _users_atomic(path: Path) -> People:
    if not path.is_file():
        return {}
    rows = header_cells(path, "\t", ("user_id", "gender", "age"))
    return _gender_and_age((path, number, user, sex, age) for number, (user, sex, age) in rows)


def _gender_and_age(rows: Iterator[tuple[Path, int, str, str, str]]) -> People:
    gender, age = {}, {}
    for path, number, user, sex, years in rows:
        decade = whole(path, number, "age", years) // 10 * 10
        gender[user], age[user] = sex, f"{decade}-{decade + 9}"
    return {"gender": gender, "age": age}


def _with_facts(made: HistoryTable, words: Words, people: People) -> HistoryTable:
    groups = {name: [values.get(user, "unknown") for user in made.user_ids] for name, values in people.items()}
    return replace(made, groups=groups, attributes=attribute_matrix(made.item_ids, words) if words else None)


def attribute_matrix(item_ids: Sequence[str], words: Words) -> sparse.csr_matrix:
    """Shape (items, attributes): 1 where the item has the attribute. Attributes in alphabetical order."""
    names = {
        name: number for number, name in enumerate(sorted({word for item in item_ids for word in words.get(item, ())}))
    }
    pairs = [(row, names[word]) for row, item in enumerate(item_ids) for word in sorted(set(words.get(item, ())))]
    rows, columns = ([row for row, _ in pairs], [column for _, column in pairs])
    return sparse.csr_matrix((np.ones(len(pairs), np.float32), (rows, columns)), (len(item_ids), len(names)))
