"""Consent as clients put it: three vocabularies, one set of purposes.

``context.consent.categoryPreferences`` (Segment), ``context.consentManagement`` (RudderStack) and Google Consent Mode's
names (``ad_storage: denied``) are mapped to our purposes. A category we do not know keeps its own name as a purpose,
so no choice is lost. Where several categories mean one purpose, it is granted only if none of them is denied.
A choice that cannot be read is never taken for consent: the event is quarantined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from events.reasons import Unfit

PURPOSES: Final = ("personalization", "measurement", "advertising", "sale_share")
"""What Everfold decides by. An empty ``categoryPreferences`` denies all of them."""

_CATEGORIES_MAX = 64
_NAME_CHARS_MAX = 128

CATEGORIES: Final[Mapping[str, str]] = {
    name: purpose
    for purpose, names in {
        "personalization": (
            "personalization personalisation personalizationstorage functional functionality functionalitystorage "
            "preferences c0003"
        ),
        "measurement": "measurement analytics analyticsstorage statistics performance c0002",
        "advertising": (
            "advertising marketing targeting targetedadvertising adstorage aduserdata adpersonalization c0004"
        ),
        "sale_share": "saleshare datasharing saleofdata donotsell sale",
    }.items()
    for name in names.split()
}
"""Category name, lower case without spaces, ``_`` and ``-`` → purpose. The C000n are OneTrust's; functional cookies
are those "enhanced functionality and personalization" needs."""

_WORDS: Final[Mapping[object, bool]] = {"granted": True, "denied": False, "true": True, "false": False}
_SKELETON = str.maketrans("", "", " _-")


def purpose_of(category: str) -> str:
    """
    >>> purpose_of("Ad_Storage"), purpose_of("Analytics"), purpose_of("our newsletter")
    ('advertising', 'measurement', 'our newsletter')
    """
    return CATEGORIES.get(category.casefold().translate(_SKELETON), category)


def purposes_in(context: Mapping[str, object]) -> dict[str, bool]:
    """The purposes decided by an event's context; empty when it decides none.

    Raises `Unfit` ``bad_consent`` for a consent object of another shape.
    """
    consent, managed = context.get("consent"), context.get("consentManagement")
    if consent is None and managed is None:
        return {}
    choices: list[tuple[str, bool]] = []
    if consent is not None:
        choices += _choices(_object("context.consent", consent))
    if managed is not None:
        choices += _managed(_object("context.consentManagement", managed))
    return _joined(choices)


def _object(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Unfit("bad_consent", f"{name} must be an object, not {type(value).__name__}")
    return value


def _choices(consent: dict[str, object]) -> list[tuple[str, bool]]:
    """Segment's ``categoryPreferences``, or category names standing directly in ``consent``."""
    preferences = consent.get("categoryPreferences")
    if preferences is not None:
        chosen = _object("context.consent.categoryPreferences", preferences)
        if not chosen:
            return [(purpose, False) for purpose in PURPOSES]
        return [(name, _decision(name, value)) for name, value in chosen.items() if value is not None]
    return [
        (name, _decision(name, value))
        for name, value in consent.items()
        if isinstance(value, bool) or (isinstance(value, str) and value.casefold() in _WORDS)
    ]


def _decision(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = _WORDS.get(value.casefold()) if isinstance(value, str) else None
    if word is None:
        raise Unfit("bad_consent", f"consent for {name[:40]!r} must be true, false, granted or denied")
    return word


def _managed(managed: dict[str, object]) -> list[tuple[str, bool]]:
    allowed = _ids("allowedConsentIds", managed.get("allowedConsentIds"))
    denied = _ids("deniedConsentIds", managed.get("deniedConsentIds"))
    return [(name, True) for name in allowed] + [(name, False) for name in denied]


def _ids(name: str, value: object) -> list[str]:
    """A list of category ids; OneTrust's is an object id → label."""
    if value is None:
        return []
    if isinstance(value, (list, dict)) and all(isinstance(one, str) for one in value):
        return list(value)
    raise Unfit("bad_consent", f"context.consentManagement.{name} must be a list of texts")


def _joined(choices: Iterable[tuple[str, bool]]) -> dict[str, bool]:
    purposes: dict[str, bool] = {}
    for count, (category, granted) in enumerate(choices):
        if count >= _CATEGORIES_MAX or len(category) > _NAME_CHARS_MAX:
            raise Unfit("bad_consent", f"more than {_CATEGORIES_MAX} consent categories, or an overlong name")
        purpose = purpose_of(category)
        purposes[purpose] = granted and purposes.get(purpose, True)
    return purposes
