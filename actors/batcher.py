"""Micro-batching: calls made while others are under way travel together.

A call to another process costs about a tenth of a millisecond of somebody's core whatever it carries. So the first
call leaves at once, and those that arrive while ``in_flight`` are out wait and leave together: no timer, no added
latency at rest, batches that grow with the load.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Batcher(Generic[In, Out]):
    """Joins `submit` calls of one event loop.

    ``call`` takes the items of several submits in order and answers one result per item. Two calls ``in_flight``
    keep the other side busy while the next batch gathers. ``size_max`` bounds the sum of ``size_of`` the items of a
    batch; one submit above it still goes, alone.
    """

    def __init__(
        self,
        call: Callable[[Sequence[In]], Awaitable[Sequence[Out]]],
        in_flight: int = 2,
        size_max: int = 256,
        size_of: Callable[[In], int] = lambda item: 1,
    ) -> None:
        self._call = call
        self._free = in_flight
        self._size_max = size_max
        self._size_of = size_of
        self._waiting: deque[tuple[Sequence[In], asyncio.Future[Sequence[Out]]]] = deque()
        self._out: set[asyncio.Task[None]] = set()

    async def submit(self, items: Sequence[In]) -> Sequence[Out]:
        """The results of ``items``, in order. What the call raises is raised to every submit it carried."""
        done: asyncio.Future[Sequence[Out]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, done))
        self._send()
        return await done

    def _send(self) -> None:
        while self._free and self._waiting:
            batch = self._next()
            if not batch:
                continue
            self._free -= 1
            task = asyncio.create_task(self._carry(batch))
            self._out.add(task)
            task.add_done_callback(self._out.discard)

    def _next(self) -> list[tuple[Sequence[In], asyncio.Future[Sequence[Out]]]]:
        """Submits for one call; those whose caller gave up before leaving are dropped."""
        batch: list[tuple[Sequence[In], asyncio.Future[Sequence[Out]]]] = []
        size = 0
        while self._waiting:
            items, done = self._waiting[0]
            more = sum(map(self._size_of, items))
            if batch and size + more > self._size_max:
                break
            self._waiting.popleft()
            if not done.done():
                batch.append((items, done))
                size += more
        return batch

    async def _carry(self, batch: Sequence[tuple[Sequence[In], asyncio.Future[Sequence[Out]]]]) -> None:
        try:
            results = await self._call([item for items, _ in batch for item in items])
            start = 0
            for items, done in batch:
                if not done.done():
                    done.set_result(results[start : start + len(items)])
                start += len(items)
        except Exception as error:
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
        finally:
            self._free += 1
            self._send()
