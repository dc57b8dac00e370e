"""Content alerts: who is told of a new item, once, and who is not."""

from __future__ import annotations

from collections.abc import Sequence

from crashing_state import Crash, CrashingState
from partition_world import SECRETS
from segment_world import DAY, SegmentWorld

from actors.content_alerts import FLOOD, GATHERED_MS, NEWS_MAX, SLICE, ContentAlerts, Watched
from actors.outbox import Settled
from actors.state import MemoryState, StateStore
from events.ids import ItemId, item_key, partition_of
from events.record import Draft
from events.types import (
    Consented,
    ContentAlerted,
    ImportCompleted,
    ImportStarted,
    Interaction,
    ItemDeleted,
    ItemUpserted,
    Line,
)
from events.unseal import Unsealer


class Desk:
    """Two partitions and a follower of content alerts that can die."""

    def __init__(self) -> None:
        self.world = SegmentWorld()
        self.store = MemoryState()
        self.alerts = self.reopened()

    def reopened(self, store: StateStore | None = None) -> ContentAlerts:
        sources = []
        for number in range(2):
            followed = self.world._followed(number)
            assert isinstance(followed.opener, Unsealer)
            sources.append(Watched(number, followed.log, followed.opener, followed.state))
        self.alerts = ContentAlerts(
            sources, store or self.store, SECRETS.key_hash, lambda key: partition_of(key, 2), "g"
        )
        return self.alerts

    def likes(self, user: str, category: str, times: int = 2, brand: str = "") -> None:
        for _ in range(times):
            line = Line("known", category, brand, price=2.0)
            self.world.say(f"u:{user}", Interaction("purchase", (line,), revenue=5.0))

    def item(self, item: str, category: str = "Drinks > Tea", **more: object) -> None:
        event = ItemUpserted(item, category=category, **more)  # type: ignore[arg-type]
        self.world.say(item_key(ItemId(item)), event)

    def settle(self, wait_ms: int = 3_000) -> None:
        """Read everything, let a moment pass, look at everybody, send."""
        for _ in range(2):
            while self.alerts.step(self.world.now):
                pass
            self.world.passes(wait_ms)
        while self.alerts.step(self.world.now):
            pass
        self.alerts.send(self.append)

    def append(self, target: int, drafts: Sequence[Draft]) -> Sequence[Settled]:
        return self.world.hosts[target].append(drafts)

    def told(self) -> list[tuple[str, tuple[str, ...], str]]:
        """(user, items, interest), as the log has them, by user."""
        found = []
        for number in range(2):
            followed = self.world._followed(number)
            for record in self.world.worlds[number].records():
                if record.type == "content_alerted":
                    payload = followed.opener.payload(record)
                    assert payload is not None
                    assert isinstance(payload.event, ContentAlerted)
                    owner = followed.vault.open(record.subject).owner.key_hash
                    found.append((owner.hex(), payload.event.items, payload.event.interest))
        return sorted(found)


def test_who_has_a_strong_interest_hears_of_a_new_item_and_nobody_else() -> None:
    desk = Desk()
    desk.likes("fan", "Drinks > Tea")
    desk.likes("curious", "Drinks > Tea", times=1)
    desk.likes("thirsty", "Drinks > Coffee", times=3)
    desk.likes("branded", "Snacks", brand="Acme")
    desk.settle()
    desk.item("green", brand="Acme")
    desk.settle()
    assert sorted((items, interest) for _, items, interest in desk.told()) == [
        (("green",), "brand:Acme"),
        (("green",), "category:Drinks > Tea"),
    ]
    assert (desk.alerts.told, desk.alerts.waiting, desk.alerts.fresh) == (2, 0, 0)


def test_what_was_there_before_changed_or_may_not_be_shown_is_no_news() -> None:
    desk = Desk()
    desk.likes("fan", "Drinks > Tea")
    desk.item("old")
    desk.reopened(MemoryState())
    desk.settle()
    desk.item("old", price=1.0)
    desk.item("hidden", hidden=True)
    desk.item("sold", stock=0)
    desk.item("plain", category="")
    desk.world.say(item_key(ItemId("gone")), ItemDeleted("gone"))
    desk.item("gone")
    desk.settle()
    assert desk.told() == []
    desk.item("hidden")
    desk.settle()
    assert desk.told() == []


def test_of_many_new_items_a_few_are_told_at_once_the_strongest_interest_first() -> None:
    desk = Desk()
    desk.likes("fan", "Drinks > Tea", times=4)
    desk.likes("fan", "Drinks > Coffee", times=2)
    desk.settle()
    for n in range(4):
        desk.item(f"coffee{n}", "Drinks > Coffee")
        desk.item(f"tea{n}", "Drinks > Tea")
    desk.settle()
    ((_, items, interest),) = desk.told()
    assert items == ("tea0", "tea1", "tea2", "tea3", "coffee0")
    assert interest == "category:Drinks > Tea"


def test_nobody_hears_twice_a_day() -> None:
    desk = Desk()
    desk.likes("fan", "Drinks > Tea", times=5)
    desk.settle()
    for hour in (0, 1, 20, 26):
        desk.item(f"tea{hour}")
        desk.settle()
        if hour == 20:
            desk.world.passes(DAY)
    assert [items for _, items, _ in desk.told()] == [("tea0",), ("tea26",)]


def test_a_whole_catalogue_is_no_news_and_of_many_the_latest_count() -> None:
    desk = Desk()
    desk.likes("fan", "Drinks > Tea", times=5)
    desk.settle()
    for n in range(2 * FLOOD + 500):
        desk.item(f"flood{n}")
        if n % 700 == 0:
            desk.alerts.step(desk.world.now)
    desk.settle()
    assert desk.told() == []
    assert desk.alerts.fresh == 0
    desk.world.passes(GATHERED_MS)
    for n in range(NEWS_MAX + 50):
        desk.item(f"news{n:04}", "Drinks > Tea" if n >= 50 else "Drinks > Mate")
    desk.likes("mate", "Drinks > Mate", times=5)
    desk.settle()
    ((_, items, _),) = desk.told()
    assert len(items) == 5


def test_what_an_import_brings_is_no_news() -> None:
    desk = Desk()
    desk.likes("fan", "Drinks > Tea", times=5)
    desk.settle()
    desk.world.say("s:import:j", ImportStarted("j", "journey", "0" * 64, stamped=True))
    for n in range(5):
        desk.item(f"imported{n}")
    desk.settle()
    assert desk.told() == []
    desk.world.say("s:import:j", ImportCompleted("j", "journey", "0" * 64))
    desk.settle()
    desk.item("tea1")
    desk.settle()
    assert [items for _, items, _ in desk.told()] == [("tea1",)]


def test_without_consent_nobody_is_told() -> None:
    desk = Desk()
    desk.likes("fan", "Drinks > Tea", times=5)
    desk.world.say("u:fan", Consented({"personalization": False}))
    desk.item("tea1")
    desk.settle()
    assert desk.told() == []


def test_killed_at_any_commit_everybody_is_told_once() -> None:
    people = 6
    for at in range(20):
        for after in (False, True):
            desk = Desk()
            for n in range(people):
                desk.likes(f"fan{n}", "Drinks > Tea")
            desk.settle()
            desk.reopened(CrashingState(desk.store, at, after))
            try:
                desk.item("tea1")
                desk.settle()
            except Crash:
                desk.reopened()
                desk.settle()
            assert len(desk.told()) == people, (at, after)
            assert len({owner for owner, _, _ in desk.told()}) == people
            if at == 0 and not after:
                desk.settle()
                assert len(desk.told()) == people


def test_everybody_is_passed_over_in_slices() -> None:
    desk = Desk()
    people = SLICE + 88
    for n in range(people):
        desk.likes(f"fan{n}", "Drinks > Tea")
    desk.item("tea1")
    desk.settle()
    assert len(desk.told()) == people
