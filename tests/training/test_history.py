"""What a profile says as arrays agrees with what the profile says itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_shop import CATALOGUE, DAY, NOW, did, profile_of, small_shop

from actors.impressions import fatigue
from events.ids import Millis
from events.types import Event, Impression
from training.history import history_of

SHOP = small_shop().snapshot()
ITEMS = st.sampled_from([*CATALOGUE, "nobody sells this"])
EVENTS = st.one_of(
    ITEMS.map(lambda item: Impression((item,))),
    ITEMS.map(lambda item: did("view", item)),
    ITEMS.map(lambda item: did("purchase", item)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.integers(0, 20)), max_size=25), st.integers(0, 30))
def test_exposures_are_the_profiles_fatigue(facts: list[tuple[Event, int]], days: int) -> None:
    ordered = sorted(facts, key=lambda fact: -fact[1])
    profile = profile_of(*[(event, NOW - ago * DAY) for event, ago in ordered])
    now = Millis(NOW + days * DAY)
    idx = np.arange(SHOP.size, dtype=np.int32)
    exposures = history_of(profile, SHOP).seen.exposures(idx, now)
    expected = fatigue(profile, now)
    wanted = [expected.get(SHOP.ids[number], 0.0) for number in idx]
    assert exposures.tolist() == pytest.approx(wanted, rel=1e-10, abs=1e-12)  # kept as logarithms of about 10,000
