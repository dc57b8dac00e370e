"""Sessions: a person's steps, stitched where no pause lies between them.

The fold keeps *steps* only: the latest 64 things done, on any device, in the order of (time, content), packed. Sessions
are derived from them when somebody asks, with the `SessionPolicy` as an argument. So the fold needs no configuration,
changing the policy needs no refold, and a late fact lands in the session it belongs to, joining or parting what lies
around it: the same facts give the same sessions in whatever order they arrive. A list that was only shown is no step.

What lies before the oldest step kept is known by its half hours alone; `count` includes it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import sub
from struct import Struct, unpack
from typing import Final, NamedTuple, TypeAlias

from actors.engagement import SLOT_MS, half_hours, runs
from actors.profile import STEPS_MAX, Behaviour
from actors.touchpoint import CHANNELS, DEVICES, Touchpoint
from events.types import Interaction, Tracked, Visited

DAY_MS: Final = 86_400_000
TIMEOUT_MS: Final = 1_800_000
"""Thirty minutes, as in Google Analytics 4, Segment and Snowplow."""
LABEL_BYTES_MAX: Final = 64
"""Longer labels are cut: a profile is read on every request."""

KINDS: Final = (
    "visit", "tracked", "view", "click", "cart", "uncart", "wish", "unwish", "purchase", "refund", "share", "rate",
    "watch", "search",
)  # fmt: skip
"""What a step can be. Stored as the place here: new ones are added at the end."""

_KIND: Final[Mapping[str, int]] = {name: place for place, name in enumerate(KINDS)}
_DEVICE: Final[Mapping[str, int]] = {name: place for place, name in enumerate(DEVICES)}
_CHANNEL: Final[Mapping[str, int]] = {name: place for place, name in enumerate(CHANNELS)}
_HEAD: Final = Struct(">QBBBB")
"""Time (moved by 2^63, so that bytes sort as times do), kind, device, channel, length of the label."""
_AT: Final = Struct(">Q")
_AT_BYTES: Final = 8
_EPOCH: Final = 1 << 63

Steps: TypeAlias = tuple[bytes, ...]
"""As a profile keeps them, in ascending order."""


class Step(NamedTuple):
    """One thing done."""

    at: int
    what: str
    """One of `KINDS`."""
    label: str
    """A page's path, else its name; an item; what was searched; an event's name."""
    device: str
    channel: str
    campaign: str


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Where one session ends and the next begins."""

    timeout_ms: int = TIMEOUT_MS
    """A longer pause parts."""
    campaign: bool = False
    """Whether another campaign parts, as it did in Universal Analytics; Google Analytics 4 ended that."""
    midnight: bool = False
    """Whether midnight parts, as it did there."""
    offset_ms: int = 0
    """Local time minus UTC: when midnight is, and when the weekend."""

    def day(self, at: int) -> int:
        """Days since 1970-01-01, local."""
        return (at + self.offset_ms) // DAY_MS


POLICY: Final = SessionPolicy()


@dataclass(frozen=True, slots=True)
class Session:
    """Steps without a pause: at least one, in the order of time, across the person's devices."""

    steps: tuple[Step, ...]

    @property
    def started(self) -> int:
        return self.steps[0].at

    @property
    def ended(self) -> int:
        """Time of its last step. A session goes on until the policy's pause has passed."""
        return self.steps[-1].at

    @property
    def duration(self) -> int:
        """First to last step, ms: what happened after the last step nobody knows."""
        return self.ended - self.started

    @property
    def depth(self) -> int:
        """Steps, at most 64."""
        return len(self.steps)

    @property
    def landing(self) -> str:
        """The first page; without pages, the first thing."""
        return self._page(self.steps)

    @property
    def exit(self) -> str:
        """The last page; without pages, the last thing."""
        return self._page(self.steps[::-1])

    @property
    def device(self) -> str:
        """Of the first step that tells one; `devices` has all."""
        return next((step.device for step in self.steps if step.device), "")

    @property
    def devices(self) -> tuple[str, ...]:
        """In the order of first use."""
        return tuple(dict.fromkeys(step.device for step in self.steps if step.device))

    @property
    def channel(self) -> str:
        """How the person came: of the first step that tells."""
        return next((step.channel for step in self.steps if step.channel), "")

    @property
    def campaign(self) -> str:
        return next((step.campaign for step in self.steps if step.campaign), "")

    def _page(self, steps: tuple[Step, ...]) -> str:
        return next((step.label for step in steps if step.what == "visit"), steps[0].label)


# ---- what the fold does -------------------------------------------------------------------------------------------


def walked(held: Steps, at: int, event: Interaction | Visited | Tracked, where: Touchpoint) -> Steps:
    """The steps kept after one more."""
    step = _packed(at, event, where)
    if not held or step >= held[-1]:
        return (*held[1 - STEPS_MAX :], step) if len(held) >= STEPS_MAX else (*held, step)
    place = bisect_right(held, step)
    return (*held[:place], step, *held[place:])[-STEPS_MAX:]


def _packed(at: int, event: Interaction | Visited | Tracked, where: Touchpoint) -> bytes:
    what, label = _named(event)
    name = label.encode()[:LABEL_BYTES_MAX]
    head = _HEAD.pack(at + _EPOCH, _KIND[what], _DEVICE[where.device], _CHANNEL[where.channel], len(name))
    return head + name + where.campaign.encode()


def _named(event: Interaction | Visited | Tracked) -> tuple[str, str]:
    if isinstance(event, Interaction):
        return event.signal, event.lines[0].item if event.lines else event.query or event.name
    if isinstance(event, Tracked):
        return "tracked", event.name
    path = event.properties.get("path")
    return "visit", path if isinstance(path, str) and path else event.name or event.category


# ---- reading ------------------------------------------------------------------------------------------------------


def steps(profile: Behaviour) -> tuple[Step, ...]:
    """The journey: the latest 64 steps, oldest first."""
    return tuple(map(_step, profile.steps))


def sessions(profile: Behaviour, policy: SessionPolicy = POLICY) -> tuple[Session, ...]:
    """The sessions of the steps kept, oldest first; the oldest may have lost steps."""
    return tuple(_stitched(steps(profile), policy))


def latest(profile: Behaviour, policy: SessionPolicy = POLICY) -> Session | None:
    """The session of the latest step; None without steps. Looks no further back than its pause."""
    held = profile.steps
    if not held:
        return None
    start = _after_pause(held, policy)
    *_, last = _stitched(tuple(map(_step, held[start:])), policy)
    return last


def count(profile: Behaviour, policy: SessionPolicy = POLICY) -> int:
    """How many sessions there were: those of the steps kept, and before the oldest of these one for every run of
    adjacent half hours among the latest 256 (a pause under 30 minutes never parts a run, one of an hour always does).
    """
    exact = _stitches(profile.steps, policy)
    if len(profile.steps) < STEPS_MAX:
        return exact
    slots, slot = half_hours(profile.engagement), _time(profile.steps[0]) // SLOT_MS
    before = slots[: bisect_left(slots, slot)]
    return exact + runs(before) - (before[-1:] == (slot - 1,))


def last_done(profile: Behaviour) -> int | None:
    """Time of the latest step; None without steps."""
    return _time(profile.steps[-1]) if profile.steps else None


def text(profile: Behaviour, field: str, policy: SessionPolicy = POLICY) -> str | None:
    """``session.device``, ``.channel``, ``.landing``, ``.exit`` or ``.campaign`` of the latest session; None when
    unknown."""
    session = latest(profile, policy)
    return None if session is None else str(getattr(session, field.removeprefix("session."))) or None


def flag(profile: Behaviour, field: str, policy: SessionPolicy = POLICY) -> bool:
    """``weekend``: whether the latest session began on a Saturday or Sunday. Changes by facts only."""
    assert field == "weekend", field
    if not profile.steps:
        return False
    if policy.midnight or policy.campaign:
        session = latest(profile, policy)
        started = session.started if session is not None else 0
    else:
        started = _time(profile.steps[_after_pause(profile.steps, policy)])
    return (policy.day(started) + 3) % 7 >= 5  # 1970-01-01 was a Thursday


def _after_pause(held: tuple[bytes, ...], policy: SessionPolicy) -> int:
    """The place of the first step that no pause parts from the latest."""
    start, later = len(held) - 1, _time(held[-1])
    while start:
        earlier = _time(held[start - 1])
        if later - earlier > policy.timeout_ms:
            break
        start, later = start - 1, earlier
    return start


def _stitches(held: tuple[bytes, ...], policy: SessionPolicy) -> int:
    """How many sessions `_stitched` makes. Where only pauses part, the times say it: 3 us for 64 steps, not 50."""
    if policy.midnight or policy.campaign:
        return sum(1 for _ in _stitched(tuple(map(_step, held)), policy))
    at = unpack(f">{len(held)}Q", b"".join([step[:_AT_BYTES] for step in held]))
    return sum(map(policy.timeout_ms.__lt__, map(sub, at[1:], at))) + bool(at)


def _stitched(walk: tuple[Step, ...], policy: SessionPolicy) -> Iterator[Session]:
    start, campaign = 0, ""
    for place, step in enumerate(walk):
        if place > start and _parts(walk[place - 1], step, campaign, policy):
            yield Session(walk[start:place])
            start, campaign = place, ""
        campaign = step.campaign or campaign
    if walk:
        yield Session(walk[start:])


def _parts(before: Step, after: Step, campaign: str, policy: SessionPolicy) -> bool:
    """Whether a session ends between two steps, the campaign so far being ``campaign``."""
    if after.at - before.at > policy.timeout_ms:
        return True
    if policy.midnight and policy.day(before.at) != policy.day(after.at):
        return True
    return policy.campaign and after.campaign not in ("", campaign)


def _time(step: bytes) -> int:
    at: int = _AT.unpack_from(step)[0]
    return at - _EPOCH


def _step(step: bytes) -> Step:
    at, kind, device, channel, length = _HEAD.unpack_from(step)
    end = _HEAD.size + length
    label = step[_HEAD.size : end].decode(errors="ignore")
    return Step(at - _EPOCH, KINDS[kind], label, DEVICES[device], CHANNELS[channel], step[end:].decode())
