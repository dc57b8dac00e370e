from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from actors.batcher import Batcher
from events.errors import Unavailable


class Gate:
    """The other side: answers nothing until it is opened, remembers what came together."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.calls.append(list(items))
        self.entered.set()
        await self.open.wait()
        if -1 in items:
            raise Unavailable("down")
        return [item * 10 for item in items]


async def settled(gate: Gate, *submits: asyncio.Task[Sequence[int]]) -> list[Sequence[int]]:
    gate.open.set()
    return await asyncio.gather(*submits)


def test_a_call_at_rest_leaves_at_once_and_those_meanwhile_travel_together() -> None:
    async def story() -> None:
        gate = Gate()
        batcher: Batcher[int, int] = Batcher(gate, in_flight=1)
        submits = [asyncio.ensure_future(batcher.submit([n, n + 1])) for n in (1, 3, 5)]
        await gate.entered.wait()
        assert gate.calls == [[1, 2]]
        assert await settled(gate, *submits) == [[10, 20], [30, 40], [50, 60]]
        assert gate.calls == [[1, 2], [3, 4, 5, 6]]

    asyncio.run(story())


def test_a_batch_stays_within_its_bound_and_a_large_submit_goes_alone() -> None:
    async def story() -> None:
        gate = Gate()
        batcher: Batcher[int, int] = Batcher(gate, in_flight=1, size_max=4)
        submits = [asyncio.ensure_future(batcher.submit(list(range(size)))) for size in (1, 3, 2, 9, 1)]
        await settled(gate, *submits)
        assert [len(call) for call in gate.calls] == [1, 3, 2, 9, 1]

    asyncio.run(story())


def test_a_failed_call_fails_every_submit_it_carried_and_no_other() -> None:
    async def story() -> None:
        gate = Gate()
        batcher: Batcher[int, int] = Batcher(gate, in_flight=1)
        good, bad, beside = (asyncio.ensure_future(batcher.submit([n])) for n in (1, -1, 2))
        gate.open.set()
        results = await asyncio.gather(good, bad, beside, return_exceptions=True)
        assert results[0] == [10]
        assert isinstance(results[1], Unavailable)
        assert isinstance(results[2], Unavailable)
        assert await batcher.submit([7]) == [70]

    asyncio.run(story())


def test_a_caller_that_gave_up_before_leaving_is_not_sent() -> None:
    async def story() -> None:
        gate = Gate()
        batcher: Batcher[int, int] = Batcher(gate, in_flight=1)
        first = asyncio.ensure_future(batcher.submit([1]))
        await gate.entered.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await batcher.submit([2])
        third = asyncio.ensure_future(batcher.submit([3]))
        assert await settled(gate, first, third) == [[10], [30]]
        assert gate.calls == [[1], [3]]

    asyncio.run(story())
