"""Where a person was when something happened: device, channel and campaign, read from the client's ``context``.

Lenient: clients put these things in many places, and what cannot be read is unknown (empty), never an error. The fields
are those of the Segment spec's context (campaign, device, page, referrer, userAgent, userAgentData); channels are named
after the default channel group of Google Analytics 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from events.types import Json

DEVICES: Final = ("", "desktop", "mobile", "tablet", "tv", "other")
CHANNELS: Final = (
    "", "direct", "search", "paid", "social", "email", "referral", "display", "affiliate", "sms", "push", "video",
    "app", "other",
)  # fmt: skip
"""Both are stored as their place here: new ones are added at the end."""

TEXT_CHARS_MAX: Final = 64
"""Longest campaign name that is kept; longer ones are cut."""
_HEADER_CHARS_MAX: Final = 1024


class Touchpoint(NamedTuple):
    """Each is empty when unknown."""

    device: str = ""
    """One of `DEVICES`."""
    channel: str = ""
    """One of `CHANNELS`: how the person came. Unknown on a page reached from another page of the same site."""
    campaign: str = ""


NOWHERE: Final = Touchpoint()

_TYPES: Final[Mapping[str, str]] = {
    "desktop": "desktop",
    "computer": "desktop",
    "mobile": "mobile",
    "phone": "mobile",
    "smartphone": "mobile",
    "ios": "mobile",
    "android": "mobile",
    "tablet": "tablet",
    "ipad": "tablet",
    "tv": "tv",
    "smarttv": "tv",
    "console": "tv",
}
_APPS: Final = frozenset({"ios", "android"})
"""As ``context.device.type``: what Segment's and RudderStack's mobile SDKs call themselves."""

_AGENTS: Final = (
    ("tv", re.compile(r"smart-?tv|apple ?tv|googletv|hbbtv|netcast|web0s.*tv|tizen.*tv|roku|bravia", re.IGNORECASE)),
    ("tablet", re.compile(r"ipad|tablet|playbook|silk(?!.*mobile)|android(?!.*mobile)", re.IGNORECASE)),
    ("mobile", re.compile(r"mobi|iphone|ipod|android|windows phone", re.IGNORECASE)),
    ("desktop", re.compile(r"windows nt|macintosh|x11|cros|linux", re.IGNORECASE)),
)
"""In this order: Android says "Mobile" on telephones only."""

_MEDIA: Final = (
    ("email", re.compile(r"e[-_ ]?mail|newsletter")),
    ("sms", re.compile(r"sms")),
    ("push", re.compile(r"push|notification")),
    ("affiliate", re.compile(r"affiliate|partner")),
    ("display", re.compile(r"display|banner|expandable|interstitial|cpm")),
    ("video", re.compile(r"video")),
    ("social", re.compile(r"social|^sm$")),
    ("paid", re.compile(r"^(.*cp[ca].*|ppc|retargeting|paid.*)$")),
    ("search", re.compile(r"organic|^search$")),
    ("referral", re.compile(r"referral|^(app|link)$")),
)
"""``utm_medium`` by the rules of the default channel group."""
_SEARCH: Final = frozenset(
    (
        "google",
        "bing",
        "yahoo",
        "duckduckgo",
        "baidu",
        "yandex",
        "ecosia",
        "qwant",
        "startpage",
        "naver",
        "seznam",
        "brave",
        "kagi",
    )
)
_SOCIAL: Final = frozenset(
    (
        "facebook",
        "instagram",
        "twitter",
        "x",
        "linkedin",
        "lnkd",
        "pinterest",
        "reddit",
        "tiktok",
        "snapchat",
        "threads",
        "mastodon",
        "bsky",
        "vk",
        "weibo",
    )
)


def touchpoint(context: Mapping[str, Json]) -> Touchpoint:
    """What ``context`` tells.

    >>> touchpoint({"device": {"type": "ios"}, "campaign": {"name": "spring", "medium": "email"}})
    Touchpoint(device='mobile', channel='email', campaign='spring')
    >>> touchpoint({"userAgent": "Mozilla/5.0 (X11; Linux x86_64)", "page": {"path": "/", "referrer": ""}})
    Touchpoint(device='desktop', channel='direct', campaign='')
    """
    if not context:
        return NOWHERE
    campaign = _part(context, "campaign")
    name = _text(campaign, "name") or _text(campaign, "source")
    return Touchpoint(_device(context), _channel(context, campaign), name[:TEXT_CHARS_MAX])


def _device(context: Mapping[str, Json]) -> str:
    named = _part(context, "device")
    kind = _text(named, "type").lower()
    if kind in _TYPES:
        return "tablet" if "ipad" in _text(named, "model").lower() else _TYPES[kind]
    if _part(context, "userAgentData").get("mobile") is True:
        return "mobile"
    return _of_agent(_text(context, "userAgent"))


@lru_cache(4096)
def _of_agent(agent: str) -> str:
    if not agent:
        return ""
    return next((device for device, words in _AGENTS if words.search(agent)), "other")


def _channel(context: Mapping[str, Json], campaign: Mapping[str, Json]) -> str:
    medium = _text(campaign, "medium")
    if medium:
        return _of_medium(medium)
    page = context.get("page")
    referrer = _text(_part(context, "referrer"), "url")
    if isinstance(page, dict):
        return _of_referrer(referrer or _text(page, "referrer"), _text(page, "url"))
    if referrer:
        return _of_referrer(referrer, "")
    return "app" if _text(_part(context, "device"), "type").lower() in _APPS else ""


@lru_cache(1024)
def _of_medium(medium: str) -> str:
    medium = medium.strip().lower()
    return next((channel for channel, words in _MEDIA if words.search(medium)), "other")


@lru_cache(4096)
def _of_referrer(referrer: str, page: str) -> str:
    """An own page tells nothing of how somebody came; an app's referrer (``android-app://…``) is one like others."""
    if not referrer:
        return "direct"
    host = _host(referrer)
    if not host or host == _host(page):
        return ""
    labels = set(host.split(".")[-3:-1]) | ({"x"} if host == "t.co" else set())
    if labels & _SEARCH:
        return "search"
    return "social" if labels & _SOCIAL else "referral"


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _part(of: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def _text(of: Mapping[str, Json], name: str) -> str:
    value = of.get(name)
    return value[:_HEADER_CHARS_MAX] if isinstance(value, str) else ""
