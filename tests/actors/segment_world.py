"""Two partitions, their segment follower, and what asking everybody would give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crashing_state import CrashingState
from partition_world import FOLDER, NOW, SECRETS, World, fact_id

from actors.outbox import Settled
from actors.partition import Partition
from actors.segment_definition import SEGMENTS_KEY
from actors.segment_follower import PACE, Followed, Pace, SegmentFollower
from actors.segment_rows import mask_of
from actors.segment_subject import ProfileSubject, Surroundings, entered_before, key_of
from actors.segment_tables import ROWS, number_at, number_key
from actors.segments import Segments
from actors.state import MemoryState, StateStore
from actors.working_set import PROFILES
from events.ids import Key, Micros, partition_of
from events.payload import encode, type_of
from events.record import Draft
from events.segment_log import SegmentLogReader
from events.types import Event, Interaction, Line, Meta, SegmentChanged, SegmentDefined, SegmentDropped, Signal
from events.unseal import Unsealer

MINUTE = 60_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE


class SegmentWorld:
    """A store with its hosts, its clock and its segment follower, each of which can die."""

    def __init__(self, seed: int = 0, store: StateStore | None = None, pace: Pace = PACE) -> None:
        self.worlds = [World(seed), World(seed + 1)]
        self.hosts: list[Partition] = [world.opened() for world in self.worlds]
        self.store = store or MemoryState()
        self.generations = 0
        self.now = NOW
        self.pace = pace
        self._facts = 0
        self.follower = self.reopened()

    # What happens

    def does(self, user: str, signal: Signal, at: int | None = None, item: str = "tea", **meta: object) -> None:
        self.say(
            f"u:{user}", Interaction(signal, (Line(item, "Drinks > Tea", "Brand", price=2.0),), revenue=5.0), at, **meta
        )

    def define(self, name: str, rule: str, stay: str = "", version: int = 1) -> None:
        self.say(SEGMENTS_KEY, SegmentDefined(name, rule, stay, version=version))

    def drop(self, name: str) -> None:
        self.say(SEGMENTS_KEY, SegmentDropped(name))

    def say(self, key: str, event: Event, at: int | None = None, **meta: object) -> None:
        self._facts += 1
        self.now += 50
        self._tell_clocks()
        name, version = type_of(event)
        user = key[2:] if key[0] == "u" else ""
        surrounding = Meta(user_id=user, anonymous_id=key[2:] if key[0] == "a" else "", **meta)  # type: ignore[arg-type]
        time = self.now // 1000 if at is None else at
        draft = Draft(key, fact_id(self._facts), time, name, version, encode(surrounding, event))
        (outcome,) = self.host(key).append([draft])
        assert outcome.status == "ok", outcome

    def erase(self, user: str) -> None:
        self._tell_clocks()
        self.host(f"u:{user}").erase(Key(f"u:{user}"))

    def passes(self, ms: int) -> None:
        self.now += ms * 1000
        self._tell_clocks()

    def host(self, key: str) -> Partition:
        return self.hosts[partition_of(Key(key), 2)]

    def _tell_clocks(self) -> None:
        for world in self.worlds:
            world.clock.at = Micros(self.now)

    # Who dies

    def reopened(
        self, steps: Callable[[str], None] = lambda step: None, store: StateStore | None = None
    ) -> SegmentFollower:
        """The follower in a new process, over what the last one committed."""
        self.generations += 1
        sources = [self._followed(number) for number in range(2)]
        self.follower = SegmentFollower(
            sources,
            store or self.store,
            SECRETS.key_hash,
            lambda key: partition_of(key, 2),
            f"g{self.generations}",
            steps,
            self.pace,
        )
        return self.follower

    def crashing(self, at: int, after: bool) -> SegmentFollower:
        """The follower, to die at commit number ``at``."""
        return self.reopened(store=CrashingState(self.store, at, after))

    def lose_state(self) -> None:
        """The machine crashed: what the follower knew is gone."""
        self.store = MemoryState()
        self.reopened()

    def kill_host(self, number: int) -> None:
        self.worlds[number].kill()
        self.hosts[number] = self.worlds[number].opened()

    def _followed(self, number: int) -> Followed:
        world = self.worlds[number]
        log = SegmentLogReader(FOLDER, world.disk)
        vault = world.ports.vault
        return Followed(number, log, Unsealer(log, vault), vault, world.state, world.history().walk)

    # What the follower does

    def settle(self, rounds: int = 100) -> None:
        """Rounds until there is nothing to do, everything sent."""
        for _ in range(rounds):
            more = self.follower.step(self.now)
            if not self.follower.send(self.append) and not more:
                return
        raise AssertionError("the follower does not come to rest")

    def append(self, target: int, drafts: Sequence[Draft]) -> Sequence[Settled]:
        return self.hosts[target].append(drafts)

    # What is so

    @property
    def segments(self) -> Segments:
        segments = self.follower.opened
        assert segments is not None
        return segments

    def inside(self, user: str) -> set[str]:
        """The segments a profile is in."""
        return self.everybody().get(f"u:{user}", set())

    def everybody(self) -> dict[str, set[str]]:
        """Key → segments, as the follower's rows have it; checked against the membership sets."""
        found: dict[str, set[str]] = {}
        held: dict[int, set[int]] = {slot: set() for slot in self.segments.states}
        for partition, world in enumerate(self.worlds):
            for name, blob in world.state.scan(PROFILES):
                seen = ProfileSubject(blob, 0).seen
                number = number_at(seen.subject, partition, 2)
                data = self.store.get(ROWS, number_key(number))
                mask = 0 if data is None else mask_of(data)
                key = key_of(seen, SECRETS.key_hash, name)
                assert key is not None
                slots = [slot for slot in self.segments.states if mask >> slot & 1]
                found[key] = {self.segments.states[slot].told.name for slot in slots}
                for slot in slots:
                    held[slot].add(number)
        for slot, numbers in held.items():
            assert set(self.segments.members.numbers(slot, 10**6)) == numbers
            assert self.segments.states[slot].members == len(numbers)
        return found

    def check(self) -> None:
        """Membership is what asking every profile gives, at the follower's offsets and clock."""
        everybody = self.everybody()
        around = self.segments.around
        for partition, world in enumerate(self.worlds):
            clock = self.follower.clock(partition)
            for name, blob in world.state.scan(PROFILES):
                key = key_of(ProfileSubject(blob, 0).seen, SECRETS.key_hash, name)
                inside = everybody[str(key)]
                context = Surroundings(inside.__contains__, around.quantiles, around.cuts)
                subject = ProfileSubject(blob, clock, context)
                if not subject.counts():
                    assert inside == set(), (key, inside)
                    continue
                for definition in self.segments.definitions.order:
                    enters, stays = definition.enter.holds(subject).holds, definition.stay.holds(subject).holds
                    member = definition.name in inside
                    assert member or not enters, (key, definition.enter.text, clock)
                    assert stays or not member, (key, definition.stay.text, clock)
                assert inside <= set(self.segments.definitions.by_name)

    def transitions(self) -> dict[tuple[str, str], list[tuple[int, bool]]]:
        """(key, segment) → (time, entered) in the order of the log."""
        found: dict[tuple[str, str], list[tuple[int, bool]]] = {}
        for world in self.worlds:
            unsealer = Unsealer(SegmentLogReader(FOLDER, world.disk), world.ports.vault)
            for record in world.records():
                payload = unsealer.payload(record) if record.type == "segment_changed" else None
                if payload is not None and isinstance(payload.event, SegmentChanged):
                    owner = world.ports.vault.open(record.subject).owner
                    place = (owner.key_hash.hex(), payload.event.segment)
                    found.setdefault(place, []).append((record.event_time, payload.event.entered))
        return found

    def check_transitions(self) -> None:
        """Each once, in order, and what they come to is membership; the profile has heard of it."""
        everybody = self.everybody()
        told: dict[str, set[str]] = {}
        for (owner, segment), moves in self.transitions().items():
            assert [entered for _, entered in moves] == [n % 2 == 0 for n in range(len(moves))], (segment, moves)
            times = [at for at, _ in moves]
            assert times == sorted(set(times)), (segment, moves)
            if moves[-1][1]:
                told.setdefault(owner, set()).add(segment)
        for world in self.worlds:
            for name, blob in world.state.scan(PROFILES):
                key = key_of(ProfileSubject(blob, 0).seen, SECRETS.key_hash, name)
                assert told.get(name.hex(), set()) == everybody[str(key)], key
                subject = ProfileSubject(blob, 0)
                if subject.counts():
                    assert {segment for segment, _ in entered_before(subject.seen)} == everybody[str(key)], key
