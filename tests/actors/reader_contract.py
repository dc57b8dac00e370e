"""What every reader of profiles must do. A reader's test class inherits `ReaderContract` and says how to make one."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from partition_world import view
from store_world import made, opening, sent

from actors.host import PartitionHost
from actors.reader import ProfileReader
from actors.store import Store
from events.ids import Key, user_key

ANN = user_key("ann")


@asynccontextmanager
async def hosted(store: Store) -> AsyncIterator[PartitionHost]:
    host = PartitionHost(store, store.numbers(), opening(store))
    await host.start()
    try:
        yield host
    finally:
        await host.close()


class ReaderContract:
    @abstractmethod
    def reader(self, store: Store, host: PartitionHost) -> ProfileReader:
        """A reader of ``store``, which ``host`` owns."""

    def run(self, path: Path, scene: Callable[[Store, PartitionHost, ProfileReader], Awaitable[None]]) -> None:
        async def play() -> None:
            store = made(path)
            async with hosted(store) as host:
                await scene(store, host, self.reader(store, host))

        asyncio.run(play())

    def test_nobody_is_known_at_first(self, tmp_path: Path) -> None:
        async def scene(store: Store, host: PartitionHost, reader: ProfileReader) -> None:
            read = await reader.fetch(ANN)
            assert (read.profile, read.applied, read.age_ms) == (None, 0, 0)
            assert read.partition == store.partition(ANN)

        self.run(tmp_path, scene)

    def test_what_was_acknowledged_is_seen_by_the_next_read(self, tmp_path: Path) -> None:
        async def scene(store: Store, host: PartitionHost, reader: ProfileReader) -> None:
            for number in range(5):
                (placed,) = await sent(host, [view("ann", number)])
                read = await reader.fetch(ANN)
                assert read.profile is not None
                assert read.profile.version == number + 1
                assert read.profile.user_id == "ann"
                assert (read.partition, read.applied) == (placed.partition, placed.lsn + 1)

        self.run(tmp_path, scene)

    def test_many_are_read_at_once(self, tmp_path: Path) -> None:
        async def scene(store: Store, host: PartitionHost, reader: ProfileReader) -> None:
            await sent(host, [view(f"user-{number % 20}", number) for number in range(60)])
            keys = [user_key(f"user-{number}") for number in (*range(30), 3, 3)]
            reads = await asyncio.gather(*(reader.fetch(key) for key in keys))
            versions = [0 if read.profile is None else read.profile.version for read in reads]
            assert versions == [3] * 20 + [0] * 10 + [3, 3]

        self.run(tmp_path, scene)

    def test_the_erased_are_unknown(self, tmp_path: Path) -> None:
        async def scene(store: Store, host: PartitionHost, reader: ProfileReader) -> None:
            await sent(host, [view("ann", 1), view("bob", 2)])
            await host.erase(ANN)
            assert (await reader.fetch(ANN)).profile is None
            assert (await reader.fetch(Key("u:bob"))).profile is not None

        self.run(tmp_path, scene)
