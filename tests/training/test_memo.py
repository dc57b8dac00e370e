"""What is kept of a person's start is what would be worked out anew, and nothing outlives what it was made from."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
from small_model import MODEL, bound
from small_shop import NOW, Facts, buyer, did, small_shop

from events.ids import Key, Millis
from training.anchors import choose_anchors
from training.history import history_of
from training.inventory import FROM_ROWS, FROM_TASTE, INVENTORY
from training.memo import MemoCache, Remembering, RememberingRows, remembering
from training.recommender import ABSTAIN, READ_AT_MS, Memo, Query, Scored, whole_minute
from training.surface import SURFACES

ITEMS = small_shop().snapshot()
HISTORY = history_of(buyer(), ITEMS)
BOUND = bound(ITEMS, MODEL)
WHO, OTHER = Key("u:1"), Key("u:2")
MINUTE = whole_minute(NOW)


def start(cache: MemoCache, who: Key = WHO, now: int = MINUTE, given: tuple[int, ...] = (), **other: object) -> Memo:
    parts = {"history": HISTORY, "share": 1.0, "model": BOUND} | other
    return cache.of(who, given, now=Millis(now), **parts)[1]  # type: ignore[arg-type]


class Counting:
    name = "ease"

    def __init__(self, fails: bool = False) -> None:
        self.asked, self.fails = 0, fails

    def recommend(self, query: Query) -> Scored:
        self.asked += 1
        if self.fails:
            raise ValueError("no")
        return ABSTAIN


def test_one_memo_serves_a_minute_and_no_longer() -> None:
    cache = MemoCache()
    first = start(cache)
    assert start(cache, now=MINUTE + READ_AT_MS - 1) is first
    assert start(cache, now=MINUTE + READ_AT_MS) is not first


@pytest.mark.parametrize(
    "other",
    [
        {"history": history_of(buyer(), ITEMS)},
        {"model": bound(ITEMS, MODEL)},
        {"model": None},
        {"share": 0.5},
        {"given": (1,)},
        {"who": OTHER},
    ],
    ids=["profile", "model", "no model", "share", "items given", "person"],
)
def test_another_start_is_another_memo(other: dict[str, object]) -> None:
    cache = MemoCache()
    assert start(cache, **other) is not start(cache)  # type: ignore[arg-type]


def test_memos_of_an_older_model_are_let_go() -> None:
    """Each would keep the arrays of its model: a growing item table makes new ones with every item."""
    older = bound(ITEMS, MODEL)
    gone, cache = weakref.ref(older.to_view), MemoCache()
    start(cache, model=older)
    del older
    start(cache, who=OTHER)
    assert gone() is None


def test_the_least_recently_used_gives_way() -> None:
    cache = MemoCache(kept=2)
    first = start(cache, given=(0,))
    start(cache, given=(1,))
    assert start(cache, given=(0,)) is first
    start(cache, given=(2,))
    assert start(cache, given=(0,)) is first


def test_the_anchors_are_those_chosen_anew() -> None:
    kept, _ = MemoCache().of(WHO, (1,), HISTORY, MINUTE, 0.5, None)
    assert kept == choose_anchors((1,), HISTORY, MINUTE, 0.5)


def test_it_is_asked_once_per_memo_and_a_failure_is_not_remembered() -> None:
    query = Query(ITEMS, NOW, SURFACES["home"])
    well, broken = Counting(), Counting(fails=True)
    for _ in range(2):
        assert Remembering(well).recommend(query) is ABSTAIN
        with pytest.raises(ValueError, match="no"):
            Remembering(broken).recommend(replace(query, memo=Memo()))
    assert (well.asked, broken.asked) == (1, 2)


def test_rows_are_read_again_when_the_item_table_moved_on() -> None:
    shop, facts = small_shop(), Facts()
    before = Query(shop.snapshot(), NOW, SURFACES["home"])
    one = Counting()
    kept = RememberingRows(one)
    for _ in range(2):
        kept.recommend(before)
    assert one.asked == 1
    shop.fold([facts.add(did("purchase", "tea", "wipes"), NOW)])
    after = replace(before, items=shop.snapshot())
    assert after.items.version != before.items.version
    for _ in range(2):
        kept.recommend(after)
    assert one.asked == 2


def test_another_depth_or_category_is_another_question_to_rows() -> None:
    one = Counting()
    kept, home = RememberingRows(one), Query(ITEMS, NOW, SURFACES["home"])
    for query in (home, replace(home, depth=3), replace(home, category=1), home):
        kept.recommend(query)
    assert one.asked == 3


def test_the_others_are_asked_every_time() -> None:
    for name, one in INVENTORY.items():
        assert (remembering(one) is one) == (name not in FROM_TASTE | FROM_ROWS)


@pytest.mark.parametrize("name", sorted(FROM_TASTE | FROM_ROWS))
def test_what_is_kept_depends_on_nothing_else_in_the_query(name: str) -> None:
    anchors = choose_anchors((), HISTORY, NOW, 1.0)
    asked = Query(ITEMS, NOW, SURFACES["home"], HISTORY, anchors, model=BOUND)
    narrowed = {"category": ITEMS.category_id("Snacks"), "depth": 3} if name in FROM_TASTE else {}
    others = replace(asked, surface=SURFACES["discover"], segments=("vip",), memo=Memo(), **narrowed)
    one, two = (INVENTORY[name].recommend(query) for query in (asked, others))
    assert len(one.idx)
    assert [part.tolist() for part in (one.idx, one.score, one.because)] == [
        part.tolist() for part in (two.idx, two.score, two.because)
    ]
