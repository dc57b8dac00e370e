"""Partition hosts and followers as Ray actors, and the handles to reach them.

Ray is a shell here: `actors.host.PartitionHost` is a plain class, `HOST` makes an actor of it, and everything below
turns Ray's answers into ours. What Ray promises little about is decided elsewhere: order by the host's LSNs, ownership
by the lock on the folder, retries by the caller's event ids (``max_task_retries=0``).

    profiles = Profiles(store, hosts)
    ray.get(profiles.actor("u42").view.remote())
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.batcher import Batcher
from actors.directory import Directory
from actors.garbage import collect_seldom
from actors.host import PartitionHost
from actors.profile import decode
from actors.store import Store
from actors.view import view as shown
from actors.wire import (
    Marks,
    Placed,
    pack_drafts,
    pack_keys,
    pack_marks,
    pack_placed,
    unpack_drafts,
    unpack_marks,
    unpack_placed,
    unpack_views,
)
from events.clock import Clock, SystemClock, millis
from events.errors import EverfoldError, Held, Unavailable
from events.ids import Key, PartitionId, user_key
from events.record import Draft

NAMESPACE: Final = "everfold"
WRITE_S: Final = 5.0
READ_S: Final = 0.2
STATUS_S: Final = 1.0
INLINE_BYTES: Final = 96 << 10
"""Arguments above 100 KiB take the way through the object store, which costs a millisecond."""
_HELD_AGAIN_S: Final = 0.1
_FATAL_S: Final = 1.0

GROUPS: Final = {"read": 64, "control": 8}
"""Beside the default group, which takes the writes: a view or a sign of life never waits behind a batch of events. Each
group has an event loop of its own in Ray; they hand over to the host's, which is that of the default group."""

T = TypeVar("T")
P = ParamSpec("P")


class Hosted:
    """A `PartitionHost` inside its actor process: opened here, so that Ray's restart opens it anew.

    ``make`` builds the host. As long as another process holds a folder (a stopped owner that is about to be killed) it
    waits; a host that says it had better be replaced ends its process.
    """

    def __init__(self, make: Callable[[], PartitionHost]) -> None:
        collect_seldom()
        self._loop = asyncio.get_running_loop()
        self._make = make
        self._host: PartitionHost | None = None
        self._why = "the partition host is starting"
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        while self._host is None:
            host = self._make()
            try:
                await host.start()
            except EverfoldError as error:
                self._why = str(error)
                await asyncio.sleep(_HELD_AGAIN_S if isinstance(error, Held) else _FATAL_S)
            else:
                self._host = host
        while not (await self._host.status())["fatal"]:
            await asyncio.sleep(_FATAL_S)
        os._exit(70)  # Ray starts a new process, which opens the folders anew

    def _ready(self) -> PartitionHost:
        if self._host is None:
            raise Unavailable(f"{self._why}: send again")
        return self._host

    async def _handed(self, call: Callable[[PartitionHost], Coroutine[Any, Any, T]]) -> T:
        """Run on the host's event loop a call that came in on a group's."""
        running = asyncio.run_coroutine_threadsafe(call(self._ready()), self._loop)
        return await asyncio.wrap_future(running)

    async def append(self, packed: bytes) -> bytes:
        return await self._ready().append(packed)

    async def append_each(self, batches: Sequence[bytes]) -> list[bytes | EverfoldError]:
        """`append` of several callers in one call; each fails by itself. The writer takes them into one commit."""
        return await asyncio.gather(*(self._append_one(packed) for packed in batches))

    async def _append_one(self, packed: bytes) -> bytes | EverfoldError:
        try:
            return await self._ready().append(packed)
        except EverfoldError as error:
            return error

    async def set_aside(self, packed: bytes) -> None:
        await self._ready().set_aside(packed)

    async def erase(self, key: Key, reason: str = "") -> Placed:
        return await self._ready().erase(key, reason)

    async def imports(self, producer: str) -> bytes:
        return await self._ready().imports(producer)

    @ray.method(concurrency_group="read")
    async def views(self, number: PartitionId, packed: bytes) -> bytes:
        return await self._handed(lambda host: host.views(number, packed))

    @ray.method(concurrency_group="read")
    async def view(self, key: Key, now: int) -> dict[str, object] | None:
        """One profile as shown at ``now`` (ms); None for one never heard of."""
        (found,) = unpack_views(await self._handed(lambda host: host.views(PartitionId(-1), pack_keys([key]))))
        return None if found.blob is None else shown(decode(found.blob), now)

    @ray.method(concurrency_group="read")
    async def history(self, key: Key, limit: int) -> bytes:
        return await self._handed(lambda host: host.history(key, limit))

    @ray.method(concurrency_group="read")
    async def as_of(self, key: Key, appended: int) -> bytes:
        return await self._handed(lambda host: host.as_of(key, appended))

    @ray.method(concurrency_group="read")
    async def applied(self, number: PartitionId, lsn: int, timeout_s: float) -> bool:
        return await self._handed(lambda host: host.applied(number, lsn, timeout_s))

    @ray.method(concurrency_group="control")
    async def status(self) -> dict[str, object]:
        return await self._handed(lambda host: host.status())

    @ray.method(concurrency_group="control")
    async def checkpoint(self) -> None:
        await self._handed(lambda host: host.checkpoint())

    @ray.method(concurrency_group="control")
    async def pid(self) -> int:
        """Answered once the actor's process is there, whether its partitions are open or not."""
        return os.getpid()

    @ray.method(concurrency_group="control")
    async def close(self) -> None:
        """A clean end: everything accepted is durable, the folders are free."""
        self._opening.cancel()
        host, self._host, self._why = self._host, None, "the partition host is stopping"
        if host is not None:
            closing = asyncio.run_coroutine_threadsafe(host.close(), self._loop)
            await asyncio.wrap_future(closing)


_remote: Any = ray.remote
HOST: Any = _remote(
    num_cpus=0,
    max_restarts=-1,
    max_task_retries=0,
    max_concurrency=1000,
    concurrency_groups=GROUPS,
    enable_task_events=False,
)(Hosted)


class Ref(Protocol):
    """What Ray answers a call with."""

    def __await__(self) -> Any: ...


@dataclass(frozen=True)
class Call(Generic[P]):
    """A method of an actor behind a handle: ``call.remote(...)`` returns an ObjectRef at once."""

    start: Callable[P, Ref]

    def remote(self, *args: P.args, **kwargs: P.kwargs) -> Ref:
        return self.start(*args, **kwargs)


@dataclass(frozen=True)
class ProfileActor:
    """One profile's handle. Behaves like a Ray actor's; the process behind it hosts many."""

    key: Key
    host: Any
    clock: Clock

    @property
    def view(self) -> Call[[]]:
        """→ the profile as shown now, a dict; None for one never heard of."""
        return Call(lambda: self.host.view.remote(self.key, millis(self.clock.now())))

    @property
    def history(self) -> Call[[int]]:
        """→ the newest facts, packed (`actors.wire.unpack_history`)."""
        return Call(lambda limit: self.host.history.remote(self.key, limit))

    @property
    def as_of(self) -> Call[[int]]:
        """→ the profile as known at an instant (us), packed (`actors.wire.unpack_views`)."""
        return Call(lambda appended: self.host.as_of.remote(self.key, appended))

    @property
    def append(self) -> Call[[Sequence[Draft]]]:
        """→ what became of the drafts, packed (`actors.wire.unpack_placed`)."""
        return Call(lambda drafts: self.host.append.remote(pack_drafts(drafts)))


class Hosts:
    """The hosts of a store, by partition. Picklable: a replica gets it as an argument."""

    def __init__(self, directory: Directory, handles: Mapping[str, Any]) -> None:
        self.directory = directory
        self.handles = dict(handles)

    def of(self, number: PartitionId) -> Any:
        return self.handles[self.directory.hosts[number]]

    def all(self) -> list[Any]:
        return list(self.handles.values())

    @classmethod
    def start(cls, directory: Directory, make: Callable[[tuple[PartitionId, ...]], PartitionHost]) -> Hosts:
        """Create an actor per host; they open their partitions side by side. ``make`` runs inside each."""
        handles = {
            name: HOST.options(name=name, namespace=NAMESPACE).remote(functools.partial(make, directory.owned_by(name)))
            for name in directory.names()
        }
        return cls(directory, handles)


class Profiles:
    """Profile actors by who they are."""

    def __init__(self, store: Store, hosts: Hosts, clock: Clock | None = None) -> None:
        self._store = store
        self._hosts = hosts
        self._clock = clock or SystemClock()

    def actor(self, who: str) -> ProfileActor:
        """The handle of a known user, or of the profile a key (``u:…``, ``a:…``) names. Makes nothing, asks nobody."""
        key = Key(who) if who[:2] in ("u:", "a:") else user_key(who)
        return ProfileActor(key, self._hosts.of(self._store.partition(key)), self._clock)


async def answered(ref: Awaitable[T], seconds: float, what: str) -> T:
    """The answer of a call, within its deadline. Raises what the actor raised where that is ours, `Unavailable` for
    everything Ray says about an actor that is gone, restarting or silent."""
    try:
        return await asyncio.wait_for(ref, seconds)
    except (TimeoutError, GetTimeoutError):
        raise Unavailable(f"{what} took longer than {seconds:g} s: send again with the same ids") from None
    except RayTaskError as error:
        if isinstance(error.cause, EverfoldError):
            raise error.cause from None
        raise
    except (RayActorError, RayError) as error:
        raise Unavailable(f"{what} is not possible right now ({type(error).__name__}): send again") from None


class RayHost:
    """All hosts of a store behind one address, as a replica sees them: calls with deadlines, appends micro-batched per
    host. For one event loop. Everything raises `Unavailable` where a host is gone, restarting or silent."""

    def __init__(self, store: Store, hosts: Hosts, deadline_s: float = WRITE_S) -> None:
        self._store = store
        self._hosts = hosts
        self._deadline_s = deadline_s
        self._batchers = {name: self._batcher(name) for name in hosts.handles}

    async def append(self, packed: bytes) -> bytes:
        """As `PartitionHost.append`. When it raises, some drafts may have been taken: send all again."""
        if len(self._batchers) == 1:
            (batcher,) = self._batchers.values()
            return await self._through(batcher, packed)
        return await self._spread(unpack_drafts(packed))

    async def set_aside(self, packed: bytes) -> None:
        await answered(self._hosts.of(PartitionId(0)).set_aside.remote(packed), self._deadline_s, "quarantine")

    async def imports(self, producer: str) -> bytes:
        asked = [answered(one.imports.remote(producer), self._deadline_s, "imports") for one in self._hosts.all()]
        told = [unpack_marks(packed) for packed in await asyncio.gather(*asked)]
        marks = {number: seq for each in told for number, seq in each.marks.items()}
        return pack_marks(Marks(marks, [known for each in told for known in each.imports]))

    async def views(self, number: PartitionId, packed: bytes) -> bytes:
        """`actors.reader.HostCalls`: for readers on another machine than the host."""
        return await answered(self._hosts.of(number).views.remote(number, packed), READ_S, "reading profiles")

    async def status(self) -> dict[str, object]:
        """The hosts' figures as those of one."""
        asked = [answered(one.status.remote(), STATUS_S, "the host's status") for one in self._hosts.all()]
        return functools.reduce(_together, await asyncio.gather(*asked))

    async def _spread(self, drafts: Sequence[Draft]) -> bytes:
        by_host: dict[str, list[int]] = {}
        for index, draft in enumerate(drafts):
            name = self._hosts.directory.hosts[self._store.partition(Key(draft.key))]
            by_host.setdefault(name, []).append(index)
        sent = [
            self._through(self._batchers[name], pack_drafts([drafts[index] for index in at]))
            for name, at in by_host.items()
        ]
        placed: dict[int, Placed] = {}
        for at, answer in zip(by_host.values(), await asyncio.gather(*sent), strict=True):
            placed.update(zip(at, unpack_placed(answer), strict=True))
        return pack_placed([placed[index] for index in range(len(drafts))])

    async def _through(self, batcher: Batcher[bytes, bytes | EverfoldError], packed: bytes) -> bytes:
        (answer,) = await batcher.submit([packed])
        if isinstance(answer, EverfoldError):
            raise answer
        return answer

    def _batcher(self, name: str) -> Batcher[bytes, bytes | EverfoldError]:
        handle = self._hosts.handles[name]

        async def carry(batches: Sequence[bytes]) -> Sequence[bytes | EverfoldError]:
            ref = handle.append_each.remote(list(batches))
            return await answered(ref, self._deadline_s, "writing events")

        return Batcher(carry, size_max=INLINE_BYTES, size_of=len)


def _together(one: dict[str, object], other: dict[str, object]) -> dict[str, object]:
    """Two statuses as one: figures add up, texts stand beside each other, tables are joined."""
    return {key: _added(value, other[key]) for key, value in one.items()}


def _added(one: object, other: object) -> object:
    match one, other:
        case (dict(), dict()):
            both = {key: _added(one[key], other[key]) for key in one.keys() & other.keys()}
            return {**one, **other, **both}
        case (list(), list()):
            return [_added(left, right) for left, right in zip(one, other, strict=True)]
        case (str(), str()):
            return "; ".join(text for text in (one, other) if text)
        case (int() | float(), int() | float()):
            return one + other
    raise AssertionError(f"statuses do not match: {one!r}, {other!r}")
