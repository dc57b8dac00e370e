"""A host as a process of its own, to be killed: appends what it is told on its input, tells on its output.

Lines in: ``<first> <stop>``: append facts first..stop - 1. Lines out: ``open``, then one ``ok <first> <stop>`` for each
line in, once it was acknowledged.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from partition_world import view
from store_world import opening, sent

from actors.host import HostSettings, PartitionHost
from actors.store import Store
from actors.writer import WriterSettings
from events.record import Draft

USERS = 20


def facts(first: int, stop: int) -> list[Draft]:
    return [view(f"user-{number % USERS}", number, item=f"item-{number % 7}") for number in range(first, stop)]


async def main() -> None:
    store = Store.open(Path(sys.argv[1]))
    settings = HostSettings(writer=WriterSettings(idle_s=0.02), beat_s=0.02, checkpoint_s=0.2)
    host = PartitionHost(store, store.numbers(), opening(store), settings)
    await host.start()
    print("open", flush=True)
    calls = []

    async def take(first: int, stop: int) -> None:
        await sent(host, facts(first, stop))
        print(f"ok {first} {stop}", flush=True)

    while line := await asyncio.to_thread(sys.stdin.readline):
        first, stop = line.split()
        calls.append(asyncio.create_task(take(int(first), int(stop))))
    await asyncio.gather(*calls)
    await host.close()


if __name__ == "__main__":
    asyncio.run(main())
