"""The formats ``everfold evaluate`` knows, each with its protocol. A new one is a function and a row in `PROTOCOLS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from events.errors import BadRequest
from events.row_reader import ENCODING
from training.evaluation import event_files, journey, movielens, next_item, prequential_ratings, s3rec, store_log
from training.evaluation.data_folder import BadData
from training.evaluation.history_table import HistoryTable
from training.evaluation.next_item import Protocol
from training.evaluation.next_item_recipes import few_but_long, many_but_short
from training.evaluation.report import Report
from training.evaluation.splits import (
    SPLITS,
    Split,
    cross_validation,
    global_timeline,
    leave_last_out,
    per_session,
    without_last,
)


def silent(step: str) -> None:
    """Listens to progress and says nothing."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is to be evaluated."""

    data: Path
    split: str = ""
    """Empty: the format's own."""
    seed: int = 0
    encoding: str = ENCODING
    """Of event files."""
    refit: bool = True
    """Whether next-item columns learn from the validation rows too before they are asked on the test."""
    say: Callable[[str], None] = silent


Evaluate: TypeAlias = Callable[[Evaluation], Report]

LEAVE_LAST_OUT: Final = "leave-last-out"
_FULL_RANKING: Final = "all items that the history does not hold are ranked, ties at their mean rank"


def ml_1m(what: Evaluation) -> Report:
    """Next item of ML-1M as gSASRec splits it, or of another MovieLens folder in the same way."""
    protocol = Protocol(
        "MovieLens, next item, leave-last-out: test = last item of each user, validation = second-last item of the "
        f"listed users (all where none are listed), weights learned on validation; {_FULL_RANKING}",
        few_but_long,
        l2=1e-3,
    )
    return _next_item(movielens.load(what.data), what, protocol, LEAVE_LAST_OUT)


def s3rec_folder(what: Evaluation) -> Report:
    """Next item of a folder as S3-Rec splits it."""
    protocol = Protocol(
        "S3-Rec sequences, next item, leave-last-out: test = last item of each user, validation = second-last, weights "
        f"learned on validation, statistics from what is before both; {_FULL_RANKING}",
        many_but_short,
        l2=1e-3,
    )
    return _next_item(s3rec.load(what.data), what, protocol, LEAVE_LAST_OUT)


def ml_100k(what: Evaluation) -> Report:
    """Ratings of a MovieLens folder in the order of time, each predicted before it is learned."""
    if what.split not in ("", prequential_ratings.SPLIT):
        raise BadRequest(f"--split {what.split} is not for ratings: leave it out, or say {prequential_ratings.SPLIT}")
    table = movielens.load(what.data)
    what.say(f"read {len(table):,} ratings of {table.users:,} users and {table.items:,} items")
    return prequential_ratings.evaluate(table, what.seed, what.say)


def event_file(what: Evaluation) -> Report:
    """Next item of a file of events, repeats allowed."""
    table = event_files.load(what.data, what.encoding)
    protocol = Protocol(
        "Events, next item, repeats allowed, weights learned on validation; all items are ranked, ties at mean rank",
        many_but_short if table.items > MANY_ITEMS else few_but_long,
        repeats=True,
    )
    return _next_item(table, what, protocol, "timeline" if table.timed else LEAVE_LAST_OUT)


def next_basket(what: Evaluation) -> Report:
    """Next basket of The Complete Journey."""
    split = what.split or journey.SPLITS[0]
    read = journey.load(what.data, split)
    what.say(f"read {len(read.log):,} baskets of {read.log.households:,} households and {read.log.items:,} items")
    return journey.evaluate(read, split, what.seed, what.say)


def own_log(what: Evaluation) -> Report:
    """What serves, over a store's own log."""
    if what.split not in ("", store_log.SPLIT):
        raise BadRequest(f"--split {what.split} is not for a store's log: leave it out, or say {store_log.SPLIT}")
    return store_log.evaluate(what.data, what.seed, what.say)


MANY_ITEMS: Final = 5_000
"""Catalogues beyond this get the recipe of large, sparse ones."""

PROTOCOLS: Final[Mapping[str, Evaluate]] = {
    "ml-1m": ml_1m,
    "ml-100k": ml_100k,
    "s3rec": s3rec_folder,
    "csv": event_file,
    "journey": next_basket,
    "store": own_log,
}
"""What ``--format`` takes."""


def evaluate(format_name: str, what: Evaluation) -> Report:
    """Runs the format's protocol. Raises `BadRequest` for an unknown format or split and whatever its loader raises."""
    if format_name not in PROTOCOLS:
        raise BadRequest(f"--format {format_name} is not known: use one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[format_name](what)


def _next_item(table: HistoryTable, what: Evaluation, protocol: Protocol, usual: str) -> Report:
    what.say(f"read {len(table):,} rows of {table.users:,} users and {table.items:,} items")
    name = what.split or usual
    kept = without_last(table) if name == "tuning" else table
    asked = replace(protocol, refit=what.refit)
    splits = _splits(kept, name)
    for split in splits:
        empty = [part for part, rows in split.sizes.items() if not rows]
        if empty:
            raise BadData(
                f"{what.data}: of its {len(kept):,} rows, split {split.name} leaves none as {empty[0]}: give more "
                "rows, or another --split"
            )
    return next_item.evaluate(kept, splits, asked, what.seed, what.say)


def _splits(table: HistoryTable, name: str) -> list[Split]:
    if name in (LEAVE_LAST_OUT, "tuning"):
        return [leave_last_out(table)]
    if name == "timeline":
        return [global_timeline(table)]
    if name == "per-session":
        return [per_session(table)]
    if name == "cross-validation":
        return cross_validation(table)
    raise BadRequest(f"--split {name} is not known: use one of {', '.join(SPLITS)}")
