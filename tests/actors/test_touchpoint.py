"""Device, channel and campaign of a client's context."""

from __future__ import annotations

import pytest
from fold_facts import OBJECT
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.touchpoint import CHANNELS, DEVICES, touchpoint
from events.types import Json

FIELDS = ("campaign", "device", "page", "referrer", "userAgent", "userAgentData")
CONTEXTS = st.dictionaries(
    st.sampled_from(FIELDS),
    OBJECT
    | st.text(max_size=30)
    | st.none()
    | st.dictionaries(st.sampled_from(["url", "referrer", "type", "medium", "name", "mobile"]), st.text() | st.none()),
)


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/130.0", "desktop"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148", "mobile"),
        ("Mozilla/5.0 (Linux; Android 14; Pixel 8) Chrome/130.0 Mobile Safari/537.36", "mobile"),
        ("Mozilla/5.0 (Linux; Android 14; SM-X700) Chrome/130.0 Safari/537.36", "tablet"),
        ("Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) Mobile/15E148", "tablet"),
        ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) SamsungBrowser", "tv"),
        ("curl/8.5.0", "other"),
        ("", ""),
    ],
)
def test_a_user_agent_names_a_device(agent: str, device: str) -> None:
    assert touchpoint({"userAgent": agent, "x": 1}).device == device


@pytest.mark.parametrize(
    ("context", "channel"),
    [
        ({"page": {"url": "https://a.example/x", "referrer": ""}}, "direct"),
        ({"page": {"url": "https://www.a.example/x", "referrer": "https://a.example/"}}, ""),
        ({"page": {"url": "https://a.example/x", "referrer": "https://www.google.co.uk/"}}, "search"),
        ({"page": {"url": "https://a.example/x", "referrer": "https://t.co/abc"}}, "social"),
        ({"page": {"url": "https://a.example/x", "referrer": "https://blog.example/post"}}, "referral"),
        ({"page": {"url": "https://a.example/x", "referrer": "http://[broken"}}, ""),
        ({"campaign": {"medium": "CPC"}, "page": {"referrer": "https://www.google.com/"}}, "paid"),
        ({"campaign": {"medium": "e-mail"}}, "email"),
        ({"campaign": {"medium": "paid_social"}}, "social"),
        ({"campaign": {"medium": "leaflet"}}, "other"),
        ({"referrer": {"url": "https://duckduckgo.com/"}}, "search"),
        ({"device": {"type": "ios"}}, "app"),
        ({"library": {"name": "analytics-python"}}, ""),
    ],
)
def test_how_somebody_came_is_read_from_campaign_then_referrer(context: dict[str, Json], channel: str) -> None:
    assert touchpoint(context).channel == channel


@given(CONTEXTS)
@settings(max_examples=150, deadline=None)
def test_whatever_a_client_sends_is_read_or_unknown(context: dict[str, Json]) -> None:
    where = touchpoint(context)
    assert where.device in DEVICES
    assert where.channel in CHANNELS
    assert len(where.campaign) <= 64
