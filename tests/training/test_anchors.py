"""Anchors: what the request names first, then what the profile did lately, heaviest first."""

from __future__ import annotations

import pytest
from small_shop import DAY, NOW, did, profile_of, small_shop

from actors.profile import Profile
from training.anchors import ANCHORS_MAX, NO_ANCHORS, Anchors, choose_anchors
from training.history import NO_HISTORY, HistoryCache, history_of

ITEMS = small_shop().snapshot()


def anchors(profile: Profile, *given: str, share: float = 1.0) -> dict[str, float]:
    chosen = choose_anchors([ITEMS.index(item) for item in given], history_of(profile, ITEMS), NOW, share)
    return {ITEMS.ids[idx]: weight for idx, weight in zip(chosen.idx, chosen.weight, strict=True)}


def test_a_newcomer_without_items_has_no_anchors() -> None:
    assert choose_anchors([], NO_HISTORY, NOW, 1.0) == NO_ANCHORS


def test_items_of_the_request_come_first_with_full_weight_and_once() -> None:
    profile = profile_of((did("view", "tea"), NOW), (did("view", "milk"), NOW))
    chosen = anchors(profile, "dip", "tea", "dip", share=0.25)
    assert list(chosen.items()) == [("dip", 1.0), ("tea", 1.0), ("milk", 0.25)]


def test_a_share_of_nothing_leaves_the_items_alone() -> None:
    profile = profile_of((did("view", "tea"), NOW))
    assert anchors(profile, "dip", share=0.0) == {"dip": 1.0}
    assert anchors(profile, share=0.0) == {"tea": 1.0}


def test_a_stronger_signal_weighs_more_and_time_takes_from_both() -> None:
    profile = profile_of((did("view", "tea"), NOW - 1000), (did("cart", "milk"), NOW - 1000))
    assert anchors(profile)["tea"] == pytest.approx(1 / 3, rel=1e-3)
    profile = profile_of((did("view", "tea"), NOW - DAY), (did("view", "milk"), NOW))
    assert anchors(profile)["tea"] == pytest.approx(0.5 * 2 ** (-1 / 4) / 13, rel=1e-3)


def test_the_lines_of_one_order_share_its_weight() -> None:
    one = profile_of((did("purchase", "tea"), NOW - DAY), (did("view", "dip"), NOW))
    three = profile_of((did("purchase", "tea", "milk", "wipes"), NOW - DAY), (did("view", "dip"), NOW))
    assert anchors(three)["tea"] == pytest.approx(anchors(one)["tea"] / 3)


def test_what_was_taken_back_is_no_anchor() -> None:
    profile = profile_of((did("view", "dip"), NOW - 2), (did("cart", "tea"), NOW - 1), (did("uncart", "tea"), NOW))
    assert anchors(profile) == {"dip": 1.0}


def test_ties_go_to_the_lower_item_and_there_are_never_too_many() -> None:
    profile = profile_of((did("purchase", *ITEMS.ids), NOW))
    assert list(anchors(profile)) == list(ITEMS.ids)[:ANCHORS_MAX]
    assert choose_anchors(list(range(30)), NO_HISTORY, NOW, 1.0) == Anchors(
        tuple(range(ANCHORS_MAX)), (1.0,) * ANCHORS_MAX, ANCHORS_MAX
    )


def test_a_clock_that_runs_behind_reads_finite_numbers() -> None:
    ahead = profile_of((did("search", "tea"), NOW + 3000 * DAY), (did("purchase", "tea"), NOW + 3000 * DAY))
    history = history_of(ahead, ITEMS)
    assert choose_anchors([], history, NOW, 1.0).weight == (1.0,)
    assert history.interests.strongest(NOW)[0][1] == 1.0


def test_histories_are_made_once_per_version_and_again_when_the_catalogue_grows() -> None:
    cache = HistoryCache(kept=2)
    profile = profile_of((did("view", "tea"), NOW))
    first = cache.of("u:1", profile, ITEMS)  # type: ignore[arg-type]
    assert cache.of("u:1", profile, ITEMS) is first  # type: ignore[arg-type]
    newer = profile_of((did("view", "tea"), NOW), (did("view", "milk"), NOW))
    assert len(cache.of("u:1", newer, ITEMS).recent) == 2  # type: ignore[arg-type]
    assert cache.of("u:2", profile, ITEMS) is not first  # type: ignore[arg-type]
    assert cache.of("u:1", profile, ITEMS) is not first  # type: ignore[arg-type]
