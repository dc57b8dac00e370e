"""The past as it was known then: item table and profiles at the moment of each decision, folded from the log again.

Nothing from after a decision may reach the policy that is tried in its place: an item table of today knows what people
bought of the very lists that are judged. So facts are folded in the order they were appended, and never beyond the
decision in hand. Profiles are exact to the record (`Versions.profile_lsn`); the item table is at most `REFRESH_US` old,
as making its rows anew for every answer would take longer than the period did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from actors.fold import fold
from actors.follower import Fact
from actors.item_reader import MemoryItems
from actors.item_view import ItemView
from actors.profile import EMPTY, Profile
from serving.decision_period import Answered

REFRESH_US: Final = 10 * 60 * 1_000_000
"""Popularity has a half-life of a month and trends one of a day: ten minutes move no list anybody could tell apart. New
items come that much late."""
BATCH: Final = 16_384
"""Facts held before they are folded, about 2 kB each."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known when a decision was made."""

    items: ItemView
    profile: Profile | None
    """None where none was read then."""


class Past:
    """Asked for one decision after the other, in the order of time."""

    def __init__(self, facts: Iterator[Fact], people: Set[bytes], refresh_us: int = REFRESH_US) -> None:
        """
        Args:
            facts: of all types and partitions from the logs' beginning, in the order they were appended.
            people: subjects whose profiles will be asked for.
        """
        self._facts = facts
        self._next = next(facts, None)
        self._waiting: dict[bytes, deque[Fact]] = {subject: deque() for subject in people}
        self._profiles: dict[bytes, Profile] = {}
        self._items = MemoryItems()
        self._pending: list[Fact] = []
        self._refresh_us = refresh_us
        self._refreshed: int | None = None

    def at(self, answered: Answered) -> Moment | None:
        """None where the profile cannot be made again: the log no longer reaches back to its first record."""
        self._advance(answered.at)
        if self._refreshed is None or answered.at - self._refreshed >= self._refresh_us:
            self._fold_items()
            self._refreshed = answered.at
        items = self._items.snapshot()
        versions = answered.decision.versions
        if versions.profile_lsn is None:
            return Moment(items, None)
        profile = self._profile(answered.subject, versions.profile_lsn)
        return Moment(items, profile) if profile.version == versions.profile else None

    def _advance(self, until: int) -> None:
        """Take the facts appended up to ``until``, inclusive."""
        while self._next is not None and self._next.record.appended <= until:
            fact = self._next
            self._pending.append(fact)
            waiting = self._waiting.get(fact.record.subject)
            if waiting is not None:
                waiting.append(fact)
            if len(self._pending) >= BATCH:
                self._fold_items()
            self._next = next(self._facts, None)

    def _fold_items(self) -> None:
        if self._pending:
            self._items.fold(self._pending)
            self._pending = []

    def _profile(self, subject: bytes, lsn: int) -> Profile:
        """The fold of the subject's records up to ``lsn``."""
        profile = self._profiles.get(subject) or replace(EMPTY, subject=subject)
        waiting = self._waiting[subject]
        while waiting and waiting[0].record.lsn <= lsn:
            fact = waiting.popleft()
            record = fact.record
            profile = fold(profile, record.lsn, record.event_time, record.event_id, fact.payload)
        self._profiles[subject] = profile
        return profile
