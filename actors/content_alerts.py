"""Content alerts: whoever has a strong interest hears of an item that is new in the catalogue.

A follower of the logs. It knows every item it ever read of; one that it did not, and that may be shown, is new. Once no
other comes for a moment, all profiles are passed over in slices, and each that has a strong interest in a new item's
innermost category, brand or attributes is told once, of a few of them, through the outbox. State, offsets, the pass and
the facts commit together, so whatever is killed, an alert is found once and lands once.

Bounded: a person hears once a day at most; of many items the latest count; more at once than `FLOOD` are a catalogue
that comes in, and no news to its end; neither is what an import brings, nor what is there when a state begins. An item
whose first fact was trimmed from the log before the state began counts as new when it is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from actors.follower import Opener
from actors.import_watch import ImportWatch
from actors.outbox import Append, Outbox
from actors.profile import decode_head
from actors.segment_subject import ProfileSubject, key_of
from actors.segment_tables import number_at, number_key
from actors.signals import facets
from actors.state import Change, HoldingReader, StateStore
from actors.working_set import PROFILES
from events import payload
from events.ids import Key
from events.log import LogReader
from events.record import Draft, Record
from events.types import ContentAlerted, ItemDeleted, ItemUpserted, Meta

FOLDER: Final = "followers/content_alerts"
FOLLOWER: Final = "content-alerts"
ITEMS: Final = "items"
"""Hash of an item's id → nothing: it was heard of."""
FRESH: Final = "fresh"
"""Number, in the order they came → `Fresh`: new, and not told about yet."""
TOLD: Final = "told"
"""Profile number → when it was told last, ms."""
META: Final = "meta"
META_KEY: Final = b"content_alerts"

STRONG: Final = 5.5
"""In the weights of `actors.signals`: lately something was bought (5) and looked at (1), or twice put into the cart
(3)."""
REST_MS: Final = 86_400_000
ITEMS_MAX: Final = 5
"""Per alert."""
NEWS_MAX: Final = 100
"""New items a pass is made for."""
FLOOD: Final = 1_000
SETTLED_MS: Final = 2_000
"""So long without another new item before a pass begins."""
GATHERED_MS: Final = 30_000
"""So long after the first at most."""
RECORDS: Final = 2_048
SLICE: Final = 512

_ITEM_TYPES: Final = frozenset({"item_upserted", "item_deleted"})
_BYTES: Final = 8


class Fresh(msgspec.Struct, frozen=True, array_like=True):
    """A new item."""

    item: str
    keys: tuple[str, ...]
    """The interest keys that may meet it."""
    at: int
    """When it was appended, us."""


class Pass(msgspec.Struct, frozen=True):
    """A pass over everybody, for the news up to a number."""

    upto: int
    at: int
    """When it began, ms: interests are read as of then."""
    partition: int = 0
    key: bytes = b""


class State(msgspec.Struct, frozen=True):
    generation: str
    known: dict[int, int]
    """Partition → the log's end when this began, or an import ended: what stands before it is no news."""
    importing: bool = False
    flood_at: int = 0
    """When the latest item of a flood was appended, us; 0: there was none."""
    numbered: int = 0
    """New items ever."""
    under_way: Pass | None = None
    told: int = 0
    """Alerts ever."""


_STATE: Final = msgspec.msgpack.Decoder(State)
_FRESH: Final = msgspec.msgpack.Decoder(Fresh)


@dataclass(frozen=True)
class Watched:
    """One partition, read-only."""

    partition: int
    log: LogReader
    opener: Opener
    state: HoldingReader


class Strongest(NamedTuple):
    """A new item, and the interest that meets it."""

    strength: float
    item: str
    interest: str


class ContentAlerts:
    """See the module. One thread."""

    def __init__(
        self,
        sources: Sequence[Watched],
        store: StateStore,
        secret: bytes,
        owner: Callable[[Key], int],
        generation: str,
        strong: float = STRONG,
    ) -> None:
        """``sources`` by partition number, all there are; ``secret`` is `Secrets.key_hash`, ``owner``
        `Store.partition`; ``generation`` names a state begun here."""
        self._sources = tuple(sources)
        self._store = store
        self._secret = secret
        self._strong = strong
        held = store.get(META, META_KEY)
        self._state = _STATE.decode(held) if held is not None else self._begun(generation)
        self._outbox = Outbox(f"{FOLLOWER}-{self._state.generation}", store, owner)
        self._waiting = self._outbox.backlog()
        self._offsets = store.offsets()
        self._fresh = {int.from_bytes(key, "big"): _FRESH.decode(row) for key, row in store.scan(FRESH)}
        self._imports = ImportWatch([source.state for source in self._sources])

    @property
    def told(self) -> int:
        """Alerts ever."""
        return self._state.told

    @property
    def waiting(self) -> int:
        """Alerts that are not in the log yet."""
        return self._waiting

    @property
    def fresh(self) -> int:
        """New items that nobody was told about yet."""
        return len(self._fresh)

    def lag(self) -> int:
        """Durable records not read yet."""
        return sum(max(0, source.log.bounds()[1] - self._offset(source)) for source in self._sources)

    def step(self, now: int) -> bool:
        """Read on, and look at some profiles, at clock time ``now`` (us); whether more waits right now. Raises what
        reading raises; nothing of the step is kept then."""
        if self._imports.busy(now) or self._state.importing:
            self._import(self._imports.busy(now))
            return False
        read = [self._read(source) for source in self._sources]
        if self._state.under_way is None and self._fresh and not any(read):
            self._begin(now)
        if self._state.under_way is not None:
            self._slice(self._state.under_way)
        return any(read) or self._state.under_way is not None

    def send(self, append: Append) -> int:
        """Send the facts that wait; returns how many were settled. Raises what ``append`` raises: call again later."""
        if not self._waiting:
            return 0
        try:
            return self._outbox.send(append)
        finally:
            self._waiting = self._outbox.backlog()

    def _begun(self, generation: str) -> State:
        return State(generation, self._ends())

    def _ends(self) -> dict[int, int]:
        return {source.partition: source.log.bounds()[1] for source in self._sources}

    def _import(self, busy: bool) -> None:
        """One is under way, or came to its end."""
        if busy != self._state.importing:
            state = replace(self._state, importing=busy, known=self._state.known if busy else self._ends())
            self._store.commit([(META, META_KEY, msgspec.msgpack.encode(state))])
            self._state = state

    def _offset(self, source: Watched) -> int:
        return max(self._offsets.get(f"p{source.partition}", 0), source.log.bounds()[0])

    # New items

    def _read(self, source: Watched) -> bool:
        start = self._offset(source)
        records = source.log.read(start, RECORDS)
        if not records:
            return False
        heard: set[bytes] = set()
        changes: list[Change] = []
        state, fresh = self._state, dict(self._fresh)
        for record in records:
            item = self._heard(source, record, heard) if record.type in _ITEM_TYPES else None
            if item is None or record.lsn < state.known.get(source.partition, 0):
                continue
            if state.flood_at and record.appended < state.flood_at + 1_000 * GATHERED_MS:
                state = replace(state, flood_at=max(state.flood_at, record.appended))
                continue
            number = state.numbered + 1
            fresh[number] = Fresh(item.item, _keys(item), record.appended)
            changes.append((FRESH, _number(number), msgspec.msgpack.encode(fresh[number])))
            state = replace(state, numbered=number)
        changes += [(ITEMS, known, b"") for known in sorted(heard)]
        if len(fresh) > FLOOD:
            state = replace(state, flood_at=max(each.at for each in fresh.values()))
            changes += [(FRESH, _number(number), None) for number in fresh]
            fresh = {}
        changes.append((META, META_KEY, msgspec.msgpack.encode(state)))
        offsets = {f"p{source.partition}": records[-1].lsn + 1}
        self._store.commit(changes, offsets)
        self._offsets.update(offsets)
        self._state, self._fresh = state, fresh
        return len(records) == RECORDS

    def _heard(self, source: Watched, record: Record, heard: set[bytes]) -> ItemUpserted | None:
        """The item in a record, if it was never heard of before and may be shown to somebody; ``heard`` is added to."""
        told = source.opener.payload(record)
        if told is None or not isinstance(told.event, ItemUpserted | ItemDeleted):
            return None
        item = told.event
        known = blake2b(item.item.encode(), digest_size=_BYTES).digest()
        if known in heard or self._store.get(ITEMS, known) is not None:
            return None
        heard.add(known)
        return item if isinstance(item, ItemUpserted) and _shown(item) and _keys(item) else None

    # Passes over everybody

    def _begin(self, now: int) -> None:
        times = [each.at for each in self._fresh.values()]
        if now < max(times) + 1_000 * SETTLED_MS and now < min(times) + 1_000 * GATHERED_MS:
            return
        state = replace(self._state, under_way=Pass(max(self._fresh), now // 1000))
        self._store.commit([(META, META_KEY, msgspec.msgpack.encode(state))])
        self._state = state

    def _news(self, upto: int) -> dict[str, list[str]]:
        """Interest key → the new items it meets, the latest first."""
        news: dict[str, list[str]] = {}
        fresh = [each for number, each in self._fresh.items() if number <= upto]
        for each in sorted(fresh, key=lambda one: (-one.at, one.item))[:NEWS_MAX]:
            for key in each.keys:
                news.setdefault(key, []).append(each.item)
        return news

    def _slice(self, under_way: Pass) -> None:
        source, partitions = self._sources[under_way.partition], len(self._sources)
        news = self._news(under_way.upto)
        with source.state.held(PROFILES) as held:
            rows = held.rows(under_way.key, SLICE)
        numbers = [number_at(decode_head(blob).subject, source.partition, partitions) for _, blob in rows]
        last = self._store.get_many(TOLD, [number_key(number) for number in numbers])
        changes: list[Change] = []
        drafts: list[Draft] = []
        for (name, blob), number, at in zip(rows, numbers, last, strict=True):
            if at is not None and under_way.at < int.from_bytes(at, "big") + REST_MS:
                continue
            draft = self._alert(name, blob, number, news, under_way.at)
            if draft is not None:
                drafts.append(draft)
                changes.append((TOLD, number_key(number), under_way.at.to_bytes(8, "big")))
        state = replace(self._state, under_way=self._then(under_way, rows), told=self._state.told + len(drafts))
        done = [] if state.under_way is not None else [number for number in self._fresh if number <= under_way.upto]
        changes += [(FRESH, _number(number), None) for number in done]
        changes.append((META, META_KEY, msgspec.msgpack.encode(state)))
        self._store.commit([*changes, *self._outbox.stage(drafts)])
        self._state, self._waiting = state, self._waiting + len(drafts)
        for number in done:
            del self._fresh[number]

    def _then(self, under_way: Pass, rows: Sequence[tuple[bytes, bytes]]) -> Pass | None:
        if len(rows) == SLICE:
            return replace(under_way, key=rows[-1][0] + b"\0")
        if under_way.partition + 1 < len(self._sources):
            return replace(under_way, partition=under_way.partition + 1, key=b"")
        return None

    def _alert(self, name: bytes, blob: bytes, number: int, news: dict[str, list[str]], at: int) -> Draft | None:
        subject = ProfileSubject(blob, at)
        if not subject.counts():
            return None
        found = strongest(subject, news, self._strong)
        key = key_of(subject.seen, self._secret, name) if found else None
        if key is None:
            return None
        event = ContentAlerted(tuple(each.item for each in found), found[0].interest, round(found[0].strength, 6))
        kind, version = payload.type_of(event)
        told = f"{number}/{self._state.told}/{at}/{self._state.generation}"
        meta = Meta(told, received_at=at, default_consent=subject.seen.default_consent)
        identity = blake2b(told.encode(), digest_size=16, person=b"everfold-content").digest()
        return Draft(key, identity, at, kind, version, payload.encode(meta, event))


def strongest(subject: ProfileSubject, news: dict[str, list[str]], strong: float) -> list[Strongest]:
    """Up to `ITEMS_MAX` of the new items that meet an interest of ``strong`` or more, the strongest interest first,
    ties by item."""
    found: dict[str, Strongest] = {}
    for key, items in news.items():
        strength = subject.interest(key).now
        if strength >= strong:
            for item in items:
                best = found.get(item)
                if best is None or (strength, key) > (best.strength, best.interest):
                    found[item] = Strongest(strength, item, key)
    return sorted(found.values(), key=lambda each: (-each.strength, each.item))[:ITEMS_MAX]


def _shown(item: ItemUpserted) -> bool:
    return not item.hidden and item.recommendable and item.stock != 0


def _keys(item: ItemUpserted) -> tuple[str, ...]:
    """The innermost category, brand and attributes: an interest in all groceries is none in a new kind of tea.

    >>> _keys(ItemUpserted("t", category="Drinks > Tea", brand="Acme"))
    ('category:Drinks > Tea', 'brand:Acme')
    """
    keys = facets(item.category, item.brand, item.attributes)
    categories = [key for key in keys if key.startswith("category:")]
    return tuple(key for key in keys if key not in categories[:-1])


def _number(number: int) -> bytes:
    return number.to_bytes(8, "big")
