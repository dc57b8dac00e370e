"""What the routes need from the state, wherever it lives: in this process (`serving.embedded`), or in the partition
hosts of a Ray cluster (`serving.on_ray`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from actors.history import Told
from actors.profile import Glance
from actors.wire import Marks, Placed
from events.ids import Key, Micros, Millis
from events.intake import Rejected
from events.record import Draft
from serving.token import Token

Part: TypeAlias = Literal["log", "state", "followers", "replicas"]
PARTS: tuple[Part, ...] = ("log", "state", "followers", "replicas")


@dataclass(frozen=True, slots=True)
class Seen:
    """A profile as some reader saw it. ``profile`` is None for one never heard of. ``age_ms``: how long ago the state
    it was read from was known to be current; 0 while its host lives, -1: unknown."""

    profile: Glance | None
    age_ms: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """How the service is. ``faults`` says of a part that is not ready why; parts not in it are ready. ``numbers`` are
    those of hosts and followers, in the form of `serving.metrics.Numbers.read`."""

    faults: Mapping[Part, str]
    numbers: Mapping[str, list[float]]


class Writer(Protocol):
    """The way into the log."""

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Placed]:
        """What became of each draft, in order; returns once all are durable and folded.

        Raises `Unavailable` when some partition did not answer in time: the caller sends the same ids again.
        """
        ...

    async def set_aside(self, rejected: Sequence[Rejected], received_at: Millis) -> None:
        """Put events that cannot be facts into quarantine. Raises `Unavailable`."""
        ...

    async def imports(self, producer: str) -> Marks:
        """How far a producer came. Raises `Unavailable`."""
        ...


class Reader(Protocol):
    """The ways to what the facts add up to."""

    async def profile(self, key: Key, as_of: Micros | None = None) -> Seen: ...

    async def history(self, key: Key, limit: int) -> Sequence[Told]:
        """The newest ``limit`` facts of a profile, newest first. Raises `Unavailable`."""
        ...

    async def seen(self, token: Token, wait_ms: int) -> bool:
        """Whether this replica's readers see what the token stands for, waiting up to ``wait_ms``.

        Raises `BadRequest` for a token of another store.
        """
        ...


class Backend(Writer, Reader, Protocol):
    async def status(self) -> Status: ...
