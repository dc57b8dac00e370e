"""Who sends and asks: people with consent and without, a catalogue, an import, a privacy office. All of them retry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from random import Random
from typing import Final, Protocol

from actors.partition import Outcome
from actors.profile import PERSONALIZATION
from actors.segment_definition import SEGMENTS_KEY
from events.ids import Key
from events.payload import encode, type_of
from events.record import Draft
from events.types import (
    Consented,
    Event,
    Identified,
    Impression,
    Interaction,
    ItemDeleted,
    ItemUpserted,
    Line,
    Meta,
    SegmentDefined,
    SegmentDropped,
    Signal,
    Visited,
)
from serving.answer import Answer, RecommendRequest
from simulate.following import IMPORT
from simulate.owner import OwnerStation, Request
from simulate.replica import ReplicaStation
from simulate.scheduler import MILLISECOND, SECOND
from simulate.site import PARTITIONS, SURFACES, Site, partition

PEOPLE: Final = ("ann", "bob", "cid", "dee", "eve", "fay")
CATALOGUE: Final = {
    "tea": "Drinks > Tea",
    "mint": "Drinks > Tea",
    "coffee": "Drinks > Coffee",
    "milk": "Dairy > Milk",
    "oat": "Dairy > Milk",
    "butter": "Dairy > Butter",
    "nachos": "Snacks > Chips",
    "crisps": "Snacks > Chips",
    "salsa": "Snacks > Dips",
    "soap": "Home > Care",
}
UNNAMED: Final = "ghost"
"""An item the catalogue never names."""
ITEMS: Final = (*CATALOGUE, UNNAMED)
THINK_US: Final = (SECOND, 20 * SECOND)
PATIENCE_US: Final = (4 * SECOND, 20 * SECOND)
"""How long a reply is waited for before the same is sent again."""
LATE_MS: Final = 60_000
SIGNALS: Final[tuple[Signal, ...]] = ("view", "view", "click", "cart", "purchase", "uncart", "wish")
ASKING: Final = 0.4
"""Share of a person's acts that are questions."""
REPLICAS: Final = 2
SHOWN: Final = 4


class Sender:
    """Sends facts until they are acknowledged, one batch at a time."""

    def __init__(self, site: Site, name: str) -> None:
        self.name = name
        self.waiting = False
        self._site = site
        self._turn = 0

    def send(
        self, drafts: Sequence[Draft], done: Callable[[Sequence[Outcome]], None], erase: Key | None = None
    ) -> None:
        """All ``drafts`` belong to one partition."""
        key = drafts[0].key if erase is None else erase
        number = partition(Key(key))
        self.waiting = True
        self._turn += 1
        self._try(self._turn, number, tuple(drafts), done, erase)

    def _try(
        self,
        turn: int,
        number: int,
        drafts: tuple[Draft, ...],
        done: Callable[[Sequence[Outcome]], None],
        erase: Key | None,
    ) -> None:
        if turn != self._turn or not self.waiting:
            return
        scheduler, station = self._site.scheduler, self._site.stations[f"owner{number}"]
        assert isinstance(station, OwnerStation)

        def told(outcomes: Sequence[Outcome] | None) -> None:
            if outcomes is not None:
                scheduler.send(f"reply to {self.name}", lambda: self._told(turn, number, drafts, outcomes, done, erase))

        request = Request(drafts, told, erase)
        scheduler.send(f"{self.name} to p{number}", lambda: station.deliver(request))
        scheduler.soon(*PATIENCE_US, f"{self.name} looks again", lambda: self._try(turn, number, drafts, done, erase))

    def _told(
        self,
        turn: int,
        number: int,
        drafts: Sequence[Draft],
        outcomes: Sequence[Outcome],
        done: Callable[[Sequence[Outcome]], None],
        erase: Key | None,
    ) -> None:
        checks = self._site.checks
        if erase is None:
            for draft, outcome in zip(drafts, outcomes, strict=True):
                checks.acknowledged(number, draft, outcome.status, outcome.lsn)
        elif outcomes[0].lsn >= 0:
            checks.erased(number, outcomes[0].lsn)
        if turn == self._turn and self.waiting:
            self.waiting = False
            done(outcomes)


class Somebody(Protocol):
    """Somebody with a life."""

    stopped: bool
    """From here on they begin nothing new."""

    @property
    def waiting(self) -> bool:
        """Whether something they sent is not acknowledged yet."""
        ...

    def live(self) -> None:
        """One moment of this life; it asks for the next."""
        ...


class Facts:
    """Makes drafts; no two with one id, none dated later than the machine's clock, as the door sees to it."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self._name = name
        self._random = Random(f"{site.seed} facts {name}")
        self._made = 0

    def draft(self, key: str, event: Event, meta: Meta = Meta(), producer: str = "", seq: int = 0) -> Draft:  # noqa: B008
        self._made += 1
        identity = blake2b(f"{self._name} {self._made}".encode(), digest_size=16).digest()
        at = self._site.machine.now() // 1000 - (self._random.randrange(LATE_MS) if self._random.random() < 0.2 else 0)
        return Draft(key, identity, at, *type_of(event), encode(meta, event), producer, seq)

    def broken(self, key: str) -> Draft:
        """A draft that no version can read."""
        return Draft(key, self.draft(key, Visited()).event_id, 0, "interaction", 99, b"")


class Person:
    """Looks, buys, decides, asks, and sees what is answered."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self._name = name
        self._key = f"u:{name}"
        self._meta = Meta(user_id=name)
        self._random = Random(f"{site.seed} person {name}")
        self._facts = Facts(site, name)
        self._sender = Sender(site, name)
        self._asked = 0
        self._seen: Answer | None = None
        self.stopped = False

    @property
    def waiting(self) -> bool:
        return self._sender.waiting

    def live(self) -> None:
        """One moment of this life."""
        if self.stopped:
            return
        self._site.scheduler.soon(*THINK_US, f"{self._name} acts", self.live)
        if self._random.random() < ASKING:
            self._ask()
        elif not self.waiting:
            drafts = [self._draft() for _ in range(self._random.randint(1, 3))]
            self._sender.send(drafts, lambda outcomes: None)

    def _draft(self) -> Draft:
        random, seen = self._random, self._seen
        chance = random.random()
        if chance < 0.04:
            return self._facts.broken(self._key)
        if chance < 0.12:
            choice = Consented({PERSONALIZATION: random.random() < 0.5}, "choice")
            return self._facts.draft(self._key, choice, self._meta)
        if chance < 0.15:
            meta = Meta(user_id=self._name, consent={PERSONALIZATION: random.random() < 0.7})
            return self._facts.draft(self._key, Visited("home"), meta)
        if chance < 0.2:
            return self._facts.draft(self._key, Identified({"plan": random.choice(("free", "paid"))}), self._meta)
        if seen is not None and seen.items and chance < 0.45:
            items = tuple(item.item_id for item in seen.items)
            return self._facts.draft(self._key, Impression(items, seen.recommendation_id or ""), self._meta)
        if seen is not None and seen.items and chance < 0.65:
            line = Line(random.choice(seen.items).item_id)
            event = Interaction(
                random.choice(("click", "cart", "purchase")), (line,), list_id=seen.recommendation_id or ""
            )
            return self._facts.draft(self._key, event, self._meta)
        return self._facts.draft(self._key, self._act(), self._meta)

    def _act(self) -> Interaction:
        random = self._random
        items = random.sample(ITEMS, random.randint(1, 3))
        return Interaction(random.choice(SIGNALS), tuple(Line(item, CATALOGUE.get(item, "")) for item in items))

    def _ask(self) -> None:
        random = self._random
        self._asked += 1
        request = RecommendRequest(
            user_id=self._name if random.random() < 0.9 else "",
            n=random.randint(1, SHOWN),
            surface=random.choice(tuple(SURFACES)),
            items=(random.choice(ITEMS),) if random.random() < 0.3 else (),
            pinned=(random.choice(ITEMS),) if random.random() < 0.1 else (),
            context={"consent": {"categoryPreferences": {PERSONALIZATION: False}}} if random.random() < 0.06 else {},
            request_id=f"{self._name}-{self._asked}" if random.random() < 0.5 else "",
        )
        self._try(request, 3)

    def _try(self, request: RecommendRequest, tries: int) -> None:
        scheduler = self._site.scheduler
        station = self._site.stations[f"replica{self._random.randrange(REPLICAS)}"]
        assert isinstance(station, ReplicaStation)

        def told(answer: Answer | None) -> None:
            scheduler.send(f"answer to {self._name}", lambda: self._see(request, tries, answer))

        scheduler.send(f"{self._name} asks {station.name}", lambda: station.ask(request, told))

    def _see(self, request: RecommendRequest, tries: int, answer: Answer | None) -> None:
        if answer is not None:
            self._seen = answer
        elif tries and not self.stopped:
            self._site.scheduler.soon(*PATIENCE_US, f"{self._name} asks again", lambda: self._try(request, tries - 1))


class Shopkeeper:
    """Names every item once, then hides, shows, sells out and deletes."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._random = Random(f"{site.seed} shopkeeper")
        self._facts = Facts(site, "shopkeeper")
        self._sender = Sender(site, "shopkeeper")
        self._unnamed = list(CATALOGUE)
        self.stopped = False

    @property
    def waiting(self) -> bool:
        return self._sender.waiting

    def live(self) -> None:
        if self.stopped:
            return
        pause = (50 * MILLISECOND, SECOND) if self._unnamed else THINK_US
        self._site.scheduler.soon(*pause, "shopkeeper acts", self.live)
        if not self.waiting:
            self._sender.send([self._draft()], lambda outcomes: None)

    def _draft(self) -> Draft:
        random = self._random
        fresh = bool(self._unnamed)
        item = self._unnamed.pop() if fresh else random.choice(tuple(CATALOGUE))
        chance = random.random()
        if chance < 0.08 and not fresh:
            return self._facts.draft(f"i:{item}", ItemDeleted(item))
        event = ItemUpserted(
            item,
            title=item.title(),
            category=CATALOGUE[item],
            brand=random.choice(("", "Own", "Fine")),
            stock=0 if chance < 0.16 else -1,
            hidden=chance > 0.85,
            recommendable=chance < 0.97,
        )
        return self._facts.draft(f"i:{item}", event)


class Importer:
    """A producer that numbers its facts: one batch after another to each partition, in order."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._random = Random(f"{site.seed} importer")
        self._facts = Facts(site, "importer")
        self._senders = [Sender(site, f"importer{number}") for number in range(PARTITIONS)]
        self._seqs = [0] * PARTITIONS
        self.stopped = False

    @property
    def waiting(self) -> bool:
        return any(sender.waiting for sender in self._senders)

    def live(self) -> None:
        if self.stopped:
            return
        self._site.scheduler.soon(*THINK_US, "importer acts", self.live)
        number = self._random.randrange(PARTITIONS)
        if not self._senders[number].waiting:
            keys = [key for key in map("u:old{}".format, range(12)) if partition(Key(key)) == number]
            self._senders[number].send([self._draft(number, keys) for _ in range(2)], lambda outcomes: None)

    def _draft(self, number: int, keys: Sequence[str]) -> Draft:
        self._seqs[number] += 1
        key = self._random.choice(keys)
        event = Interaction("purchase", (Line(self._random.choice(ITEMS)),))
        return self._facts.draft(key, event, Meta(user_id=key[2:]), IMPORT, self._seqs[number])


RULES: Final = (
    "count(view) >= 3",
    "did(purchase, 2 minutes)",
    "did(view, 1 minute)",
    "since(view) > 1 minute",
    'decayed(view, "hour") > 1.5',
    'trait("plan") == "paid"',
    'segment("s0") and not segment("s1")',
    "spent > quantile(spent, 0.5)",
    "engagement > 0.3",
)


class Analyst:
    """Defines segments, and drops them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._random = Random(f"{site.seed} analyst")
        self._facts = Facts(site, "analyst")
        self._sender = Sender(site, "analyst")
        self.stopped = False

    @property
    def waiting(self) -> bool:
        return self._sender.waiting

    def live(self) -> None:
        if self.stopped:
            return
        self._site.scheduler.soon(5 * SECOND, 60 * SECOND, "analyst acts", self.live)
        if self.waiting:
            return
        name = f"s{self._random.randrange(3)}"
        defined = self._random.random() < 0.8
        event: Event = SegmentDefined(name, self._random.choice(RULES)) if defined else SegmentDropped(name)
        self._sender.send([self._facts.draft(SEGMENTS_KEY, event)], lambda outcomes: None)


class PrivacyOffice:
    """Erases somebody now and then."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._random = Random(f"{site.seed} privacy office")
        self._sender = Sender(site, "privacy office")
        self.stopped = False

    @property
    def waiting(self) -> bool:
        return self._sender.waiting

    def live(self) -> None:
        if self.stopped:
            return
        self._site.scheduler.soon(10 * SECOND, 50 * SECOND, "privacy office acts", self.live)
        if not self.waiting:
            who = self._random.choice((*PEOPLE, "echo1"))
            self._sender.send([], lambda outcomes: None, Key(f"u:{who}"))
