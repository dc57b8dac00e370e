"""The board: lists whose windows are open. The join of `training.attribution`, kept in tables as facts come in.

    pending     list id → the list, who saw it, what came of it
    by_subject  subject → (shown at, list id) of its lists, in that order
    due         (log time, kind, id) → ∅   what ends then: a window of a list, or the memory of something
    shown_order (shown at, list id) → ∅    for making room
    refused     subject → when it refused personalization
    taught      subject → (hour, rows, acts): what it has taught within this hour of log time, until the hour is over
    held        list id → acts that name it, on items that were not seen yet

Changes are held in memory until they are committed; reading sees them.
"""

from __future__ import annotations

import struct
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from actors.state import Change, StateReader
from training.attribution import HOUR_US, Act, counts_for, waits
from training.learned import OUTCOMES, Outcome
from training.learner.settings import LearnerSettings
from training.learner.shown import ShownList

PENDING: Final = "pending"
BY_SUBJECT: Final = "by_subject"
DUE: Final = "due"
ORDER: Final = "shown_order"
REFUSED: Final = "refused"
TAUGHT: Final = "taught"
HELD: Final = "held"

KIND_FORGET: Final = len(OUTCOMES)
"""Kind of a due row that ends the memory of a refusal; lower ones are outcomes whose window closes."""
KIND_TAUGHT: Final = KIND_FORGET + 1
"""Ends an hour of what one person taught."""
KIND_HELD: Final = KIND_FORGET + 2
"""Ends the wait of acts for the list they name."""
HELD_MAX: Final = 10_000
"""Lists that acts wait for at once, some 100 bytes each: whoever sends clicks for lists nobody sees fills no disk."""
HELD_PER_LIST: Final = 16
LIST_ID_BYTES_MAX: Final = 64
LISTS_PER_PERSON: Final = 256
"""Lists of one person that wait at once: thirty-six a day. Beyond, the one shown first gives way."""
CLOSE_MAX: Final = 512
"""Windows that may close in one round: half a second of learning at most."""

_DUE = struct.Struct(">QB")
_AT = struct.Struct(">Q")
_ENCODE: Final = msgspec.msgpack.Encoder().encode


class Pending(msgspec.Struct, array_like=True):
    """A shown list."""

    subject: bytes
    at: int
    """When it was first seen, us of log time. All its windows count from here."""
    surface: str
    items: tuple[str, ...]
    seen: list[int]
    """Slots, from 0, that were seen."""
    acted: tuple[list[int], list[int], list[int]]
    """By outcome: slots it came of."""
    void: list[int]
    """Slots acted on beyond what one person may teach: left out."""
    open: list[int]
    """Outcomes not learned yet."""


class _Held(msgspec.Struct, array_like=True):
    """An act that waits."""

    subject: bytes
    at: int
    kind: int
    """Number of the outcome."""
    items: tuple[str, ...]


class Joined(NamedTuple):
    """An act that belongs to a shown row."""

    list_id: str
    seen: list[int]
    """The slots of its list that were seen."""
    slot: int
    first: bool
    """Whether nothing had come of the row before."""


class Acted(NamedTuple):
    """What became of an act."""

    joined: list[Joined]
    unseen: list[str]
    """Items that are not seen yet in the list it names, or all, where the board does not know that list. Whoever knows
    that it was answered may `hold` them."""


class Board:
    """One learner's. Not shared between threads."""

    def __init__(self, store: StateReader, settings: LearnerSettings, count: int) -> None:
        """``count``: how many lists ``store`` holds."""
        self._store = store
        self._settings = settings
        self._changed: dict[tuple[str, bytes], bytes | None] = {}
        self._soon: tuple[int, int] | None = None
        self._soon_known = False
        self._oldest_from = b""
        """Of the order, what lies before was given up since the last commit."""
        self.count = count
        self.held = sum(1 for _ in store.scan(HELD))
        """Lists that acts wait for."""
        self.counts: Counter[str] = Counter()
        """What happened since `changes` was last called."""

    def show(self, list_id: str, subject: bytes, at: int, shown: ShownList, items: Sequence[str]) -> list[Joined]:
        """``items`` of a list were seen by ``subject`` at ``at`` (us). Returns what had been done with them before."""
        slots = {item: slot for slot, item in enumerate(shown.items)}
        seen = sorted({slots[item] for item in items if item in slots})
        self.counts["seen_elsewhere"] += len(items) - len(seen)
        pending = self._pending(list_id)
        if pending is None:
            if at - shown.at > self._settings.late_us:
                self.counts["rows_late"] += len(seen)
            elif seen and self.may_teach(subject, at, len(seen)):
                pending = Pending(subject, at, shown.surface, shown.items, seen, ([], [], []), [], [0, 1, 2])
                self._open(list_id, pending)
                return self._late(list_id, pending, seen, at)
            return []
        fresh = [slot for slot in seen if slot not in pending.seen]
        if not fresh:
            return []
        if 0 not in pending.open or at - pending.at > self._settings.windows.click:
            self.counts["rows_late"] += len(fresh)
        elif self.may_teach(pending.subject, at, len(fresh)):
            pending.seen.extend(fresh)
            self._put(PENDING, list_id.encode(), _ENCODE(pending))
            return self._late(list_id, pending, fresh, at)
        return []

    def act(self, act: Act) -> Acted:
        """Join an act, item by item."""
        acted = Acted([], [])
        read: dict[str, Pending | None] = {}
        mine: list[str] | None = None
        for item in act.items:
            how, found = "list", self._named(act, item, read)
            if found is None:
                if self._unseen(act, item, read):
                    acted.unseen.append(item)
                mine = self._within(act) if mine is None else mine
                how, found = "subject", self._latest(item, mine, read)
            if found is None:
                self.counts[f"unjoined_{act.outcome}"] += 1
                continue
            self.counts[f"joined_{act.outcome}_{how}"] += 1
            marked = self._mark(act, *found)
            if marked is not None:
                acted.joined.append(marked)
        return acted

    def hold(self, act: Act, items: Sequence[str]) -> None:
        """Keep an act on ``items`` of the list it names until they are seen there, or it has waited long enough."""
        name = act.list_id.encode()
        held = self._held(name)
        if len(held) >= HELD_PER_LIST or (not held and self.held >= HELD_MAX):
            self.counts["acts_not_held"] += len(items)
            return
        self.held += not held
        held.append(_Held(act.subject, act.at, OUTCOMES.index(act.outcome), tuple(items)))
        self._put(HELD, name, _ENCODE(held))
        self._put(DUE, _due_key(act.at + waits(self._settings.windows), KIND_HELD, name), b"")

    def forget(self, subject: bytes) -> None:
        """Drop everything that waits of one subject: erased, or no longer consenting. How much it taught within the
        hour stays known: whoever takes consent back and gives it again has not taught less."""
        for list_id, pending in self._lists_of(subject):
            self.counts["rows_forgotten"] += len(pending.seen)
            self._drop(list_id, pending)
        for name in self._held_names() if self.held else ():
            self._keep_held(name, [held for held in self._held(name) if held.subject != subject])

    def erase(self, subject: bytes) -> None:
        """`forget`, and how much it taught: a person who comes back is another subject."""
        self.forget(subject)
        row = self._get(TAUGHT, subject)
        if row is not None:
            hour = msgspec.msgpack.decode(row, type=tuple[int, int, int])[0]
            self._put(TAUGHT, subject, None)
            self._put(DUE, _due_key((hour + 1) * HOUR_US, KIND_TAUGHT, subject), None)

    def refuse(self, subject: bytes, at: int) -> None:
        """``subject`` takes personalization back at ``at`` (us): what waits is dropped, and lists answered before are
        not learned from when they are seen later."""
        self.forget(subject)
        self.allow(subject)
        self._put(REFUSED, subject, _AT.pack(at))
        self._put(DUE, _due_key(at + self._settings.late_us, KIND_FORGET, subject), b"")

    def allow(self, subject: bytes) -> None:
        """``subject`` grants personalization (again)."""
        row = self._get(REFUSED, subject)
        if row is not None:
            self._put(REFUSED, subject, None)
            self._put(DUE, _due_key(_AT.unpack(row)[0] + self._settings.late_us, KIND_FORGET, subject), None)

    def refused(self, subject: bytes) -> bool:
        return self._get(REFUSED, subject) is not None

    def closing(self, clock: int) -> Iterator[tuple[str, Pending, Outcome]]:
        """Every window that is closed at ``clock`` (us), in the order they close; each once."""
        for key in self._due_until(clock):
            kind, name = key[8], key[9:]
            self._put(DUE, key, None)
            if kind >= KIND_FORGET:
                self._expire(kind, name, _AT.unpack_from(key)[0])
                continue
            list_id = name.decode()
            pending = self._pending(list_id)
            assert pending is not None, f"list {list_id} is due and not pending"
            pending.open.remove(kind)
            if pending.open:
                self._put(PENDING, name, _ENCODE(pending))
            else:
                self._drop(list_id, pending)
            yield list_id, pending, OUTCOMES[kind]

    def due(self) -> int | None:
        """When the next window closes, us of log time."""
        soon = self._look_ahead()
        return None if soon is None else soon[0]

    def horizon(self) -> int | None:
        """When the `CLOSE_MAX`-th next one does, or the last there is."""
        soon = self._look_ahead()
        return None if soon is None else soon[1]

    def changes(self) -> list[Change]:
        """What changed since the last call."""
        out: list[Change] = [(table, key, value) for (table, key), value in self._changed.items()]
        self._changed.clear()
        self.counts.clear()
        self._soon_known = False
        self._oldest_from = b""
        return out

    def _expire(self, kind: int, name: bytes, at: int) -> None:
        """What is remembered beside lists ends at ``at`` (us)."""
        if kind == KIND_FORGET:
            self._put(REFUSED, name, None)
        elif kind == KIND_HELD:
            wait = waits(self._settings.windows)
            self._keep_held(name, [held for held in self._held(name) if held.at + wait > at])
        elif self._taught(name, at - 1)[0] * HOUR_US < at:
            self._put(TAUGHT, name, None)

    def _look_ahead(self) -> tuple[int, int] | None:
        """(first, `CLOSE_MAX`-th) due time of what is committed."""
        if not self._soon_known:
            times = [key for (key, _), _ in zip(self._store.scan(DUE), range(CLOSE_MAX), strict=False)]
            self._soon = (_AT.unpack_from(times[0])[0], _AT.unpack_from(times[-1])[0]) if times else None
            self._soon_known = True
        return self._soon

    def may_teach(self, subject: bytes, at: int, rows: int) -> bool:
        """Whether one person may teach so much more within the hour; then it counts."""
        hour, taught, acts = self._taught(subject, at)
        if taught + rows > self._settings.rows_per_hour:
            self.counts["rows_capped"] += rows
            return False
        self._teach(subject, hour, taught + rows, acts)
        return True

    def _taught(self, subject: bytes, at: int) -> tuple[int, int, int]:
        """(hour, rows, acts). What comes a little late counts for the hour that has begun."""
        row = self._get(TAUGHT, subject)
        hour = at // HOUR_US
        if row is not None:
            known = msgspec.msgpack.decode(row, type=tuple[int, int, int])
            if known[0] >= hour:
                return known
        return hour, 0, 0

    def _teach(self, subject: bytes, hour: int, rows: int, acts: int) -> None:
        self._put(TAUGHT, subject, _ENCODE((hour, rows, acts)))
        self._put(DUE, _due_key((hour + 1) * HOUR_US, KIND_TAUGHT, subject), b"")

    def _open(self, list_id: str, pending: Pending) -> None:
        if self.count >= self._settings.lists_max:
            self._crowd_out(self._oldest())
        mine = self._shown_to(pending.subject)
        if len(mine) >= LISTS_PER_PERSON:
            self._crowd_out(mine[0][1])
        name = list_id.encode()
        self._put(PENDING, name, _ENCODE(pending))
        self._put(ORDER, _AT.pack(pending.at) + name, b"")
        shown = self._shown_to(pending.subject)
        insort(shown, (pending.at, list_id), key=lambda entry: entry[0])
        self._put(BY_SUBJECT, pending.subject, _ENCODE(shown))
        for kind, outcome in enumerate(OUTCOMES):
            self._put(DUE, _due_key(pending.at + self._settings.windows.of(outcome), kind, name), b"")
        self.count += 1
        self.counts["lists"] += 1

    def _oldest(self) -> str:
        """The list shown first, of those committed before those that are not."""
        for key, _ in self._store.scan(ORDER, self._oldest_from):
            self._oldest_from = key
            if self._changed.get((ORDER, key), b"") is not None:
                return key[8:].decode()
        fresh = (key for (table, key), value in self._changed.items() if table == ORDER and value is not None)
        return min(fresh)[8:].decode()

    def _crowd_out(self, list_id: str) -> None:
        pending = self._pending(list_id)
        assert pending is not None, f"list {list_id} stands in an index and is not pending"
        self.counts["rows_crowded_out"] += len(pending.seen)
        self._drop(list_id, pending)

    def _drop(self, list_id: str, pending: Pending) -> None:
        name = list_id.encode()
        self._put(PENDING, name, None)
        self._put(ORDER, _AT.pack(pending.at) + name, None)
        left = [entry for entry in self._shown_to(pending.subject) if entry[1] != list_id]
        self._put(BY_SUBJECT, pending.subject, _ENCODE(left) if left else None)
        for kind in pending.open:
            self._put(DUE, _due_key(pending.at + self._settings.windows.of(OUTCOMES[kind]), kind, name), None)
        self.count -= 1

    def _named(self, act: Act, item: str, read: dict[str, Pending | None]) -> tuple[str, Pending, int] | None:
        """The row of the list the act names; ``read`` holds what this act has looked at."""
        if not act.list_id or len(act.list_id) > LIST_ID_BYTES_MAX:
            return None
        pending = self._read(act.list_id, read)
        slot = _slot(pending, item)
        if pending is None or slot < 0 or not counts_for(pending.at, act, self._settings.windows, named=True):
            return None
        return act.list_id, pending, slot

    def _unseen(self, act: Act, item: str, read: dict[str, Pending | None]) -> bool:
        """Whether the act may name a row that is still to be seen."""
        if not act.list_id or len(act.list_id) > LIST_ID_BYTES_MAX:
            return False
        pending = self._read(act.list_id, read)
        if pending is None:
            return True
        return 0 in pending.open and item in pending.items and pending.items.index(item) not in pending.seen

    def _late(self, list_id: str, pending: Pending, slots: Sequence[int], at: int) -> list[Joined]:
        """Join what was done with rows seen only at ``at`` (us)."""
        windows, joined = self._settings.windows, []
        for held in self._held(list_id.encode()) if self.held else ():
            act = Act(held.subject, held.items, OUTCOMES[held.kind], held.at, list_id)
            if at - act.at > waits(windows) or not counts_for(pending.at, act, windows, named=True):
                continue
            for slot in slots:
                if pending.items[slot] in act.items:
                    self.counts[f"joined_{act.outcome}_late"] += 1
                    marked = self._mark(act, list_id, pending, slot)
                    joined += [marked] if marked is not None else []
        return joined

    def _held(self, name: bytes) -> list[_Held]:
        row = self._get(HELD, name)
        return [] if row is None else msgspec.msgpack.decode(row, type=list[_Held])

    def _held_names(self) -> list[bytes]:
        """Every list that acts wait for, sorted."""
        changed = {key: value for (table, key), value in self._changed.items() if table == HELD}
        kept = {key for key, _ in self._store.scan(HELD) if key not in changed}
        return sorted(kept | {key for key, value in changed.items() if value is not None})

    def _keep_held(self, name: bytes, held: Sequence[_Held]) -> None:
        """Of a list that acts wait for; none left: nothing waits for it."""
        if not held and self._get(HELD, name) is not None:
            self._put(HELD, name, None)
            self.held -= 1
        elif held:
            self._put(HELD, name, _ENCODE(held))

    def _within(self, act: Act) -> list[str]:
        """The subject's lists whose window for the outcome is open, the last shown first."""
        windows = self._settings.windows
        shown = self._shown_to(act.subject)
        return [list_id for at, list_id in reversed(shown) if counts_for(at, act, windows, named=False)]

    def _latest(
        self, item: str, lists: Sequence[str], read: dict[str, Pending | None]
    ) -> tuple[str, Pending, int] | None:
        """The row of the first of ``lists`` that holds the item."""
        for list_id in lists:
            pending = self._read(list_id, read)
            slot = _slot(pending, item)
            if pending is not None and slot >= 0:
                return list_id, pending, slot
        return None

    def _read(self, list_id: str, read: dict[str, Pending | None]) -> Pending | None:
        if list_id not in read:
            read[list_id] = self._pending(list_id)
        return read[list_id]

    def _mark(self, act: Act, list_id: str, pending: Pending, slot: int) -> Joined | None:
        """Note what came of a row; None where it was known, or where this person has taught enough."""
        kind = OUTCOMES.index(act.outcome)
        if kind not in pending.open or slot in pending.acted[kind] or slot in pending.void:
            return None
        first = not any(slot in slots for slots in pending.acted)
        hour, rows, acts = self._taught(pending.subject, act.at)
        capped = acts >= self._settings.positives_per_hour
        if capped:
            self.counts["acts_capped"] += 1
            pending.void.append(slot)
        else:
            self._teach(pending.subject, hour, rows, acts + 1)
            pending.acted[kind].append(slot)
        self._put(PENDING, list_id.encode(), _ENCODE(pending))
        return None if capped else Joined(list_id, pending.seen, slot, first)

    def _due_until(self, clock: int) -> list[bytes]:
        last = _AT.pack(clock + 1)
        keys: list[bytes] = []
        for key, _ in self._store.scan(DUE):
            if key >= last:
                break
            keys.append(key)
        changed = {key: value for (table, key), value in self._changed.items() if table == DUE and key < last}
        return sorted(
            {key for key in keys if key not in changed} | {key for key, v in changed.items() if v is not None}
        )

    def _lists_of(self, subject: bytes) -> list[tuple[str, Pending]]:
        found = ((list_id, self._pending(list_id)) for _, list_id in self._shown_to(subject))
        return [(list_id, pending) for list_id, pending in found if pending is not None]

    def _shown_to(self, subject: bytes) -> list[tuple[int, str]]:
        """(when it was shown, id) of the subject's lists, the last shown last."""
        row = self._get(BY_SUBJECT, subject)
        return [] if row is None else msgspec.msgpack.decode(row, type=list[tuple[int, str]])

    def _pending(self, list_id: str) -> Pending | None:
        row = self._get(PENDING, list_id.encode())
        return None if row is None else msgspec.msgpack.decode(row, type=Pending)

    def _get(self, table: str, key: bytes) -> bytes | None:
        place = table, key
        return self._changed[place] if place in self._changed else self._store.get(table, key)

    def _put(self, table: str, key: bytes, value: bytes | None) -> None:
        self._changed[table, key] = value


def _due_key(at: int, kind: int, name: bytes) -> bytes:
    return _DUE.pack(at, kind) + name


def _slot(pending: Pending | None, item: str) -> int:
    """The slot in which ``item`` was seen; -1: it was not."""
    if pending is None or item not in pending.items:
        return -1
    slot = pending.items.index(item)
    return slot if slot in pending.seen else -1
