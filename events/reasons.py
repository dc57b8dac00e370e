"""Why a single event cannot be taken: the closed list of quarantine reasons.

A malformed event never fails the batch it came in. While it is read, `Unfit` carries the reason up to the intake, which
turns it into a *value*; nothing outside the intake sees the exception.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Reason: TypeAlias = Literal[
    "not_json",
    "not_an_object",
    "too_large",
    "too_deep",
    "too_wide",
    "bad_type",
    "bad_id",
    "bad_time",
    "bad_number",
    "bad_consent",
    "unknown_type",
    "unknown_field",
    "not_identifiable",
    "missing_event",
    "bad_name",
    "missing_group",
    "missing_previous_id",
    "missing_item",
]
"""``bad_type``: a field of the envelope has the wrong JSON type. ``bad_number``: an integer beyond 64 bits.
``not_identifiable``: neither a usable userId nor an anonymousId. ``missing_item``: an event about one item names none.
``unknown_field``: a catalogue entry with a field that does not exist."""


class Unfit(Exception):
    """This event cannot become a fact; ``detail`` says what was found and what to send instead."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail
