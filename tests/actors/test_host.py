from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from partition_world import fact, view
from reader_contract import ANN, hosted
from store_world import made, opening, sent, until

from actors.host import HostSettings, PartitionHost
from actors.profile import decode
from actors.reader import LocalProfiles
from actors.wire import (
    Placed,
    pack_drafts,
    pack_entries,
    pack_keys,
    unpack_history,
    unpack_marks,
    unpack_placed,
    unpack_views,
)
from actors.writer import WriterSettings
from events.errors import BadRequest, Corrupt, Held, NotFound, NotOwner, Unavailable
from events.ids import PartitionId, user_key
from events.quarantine import Entry
from events.types import ImportStarted


def test_outcomes_come_back_in_order_over_all_partitions(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path)
        async with hosted(store) as host:
            drafts = [view(f"user-{number}", number) for number in range(40)]
            placed = await sent(host, [*drafts, drafts[7]])
            assert [each.status for each in placed] == ["ok"] * 40 + ["duplicate"]
            assert [each.partition for each in placed[:40]] == [
                store.partition(user_key(f"user-{n}")) for n in range(40)
            ]
            for number in store.numbers():
                assert [each.lsn for each in placed[:40] if each.partition == number] == list(
                    range(sum(each.partition == number for each in placed[:40]))
                )
            assert {each.partition for each in placed} == {0, 1}
            assert await sent(host, []) == []

    asyncio.run(scene())


def test_many_calls_at_once_share_rounds_and_all_are_answered(tmp_path: Path) -> None:
    async def scene() -> None:
        async with hosted(made(tmp_path)) as host:
            calls = [[view(f"user-{n % 7}", n * 10 + k) for k in range(3)] for n in range(100)]
            answers = await asyncio.gather(*(sent(host, call) for call in calls))
            assert all(each.status == "ok" for placed in answers for each in placed)
            lsns = sorted((each.partition, each.lsn) for placed in answers for each in placed)
            assert len(set(lsns)) == 300
            status = await host.status()
            assert status["events"] == 300
            assert sum(status["append"]["counts"]) < 300  # type: ignore[index]

    asyncio.run(scene())


def test_every_query_of_a_profile_agrees(tmp_path: Path) -> None:
    async def scene() -> None:
        async with hosted(made(tmp_path)) as host:
            await sent(host, [view("ann", number, item=f"item-{number}") for number in range(5)])
            told = unpack_history(await host.history(ANN, 3))
            assert [each.payload.meta.message_id for each in told] == ["4", "3", "2"]
            (now,) = unpack_views(await host.views(PartitionId(0), pack_keys([ANN])))
            (then,) = unpack_views(await host.as_of(ANN, told[2].record.appended))
            assert now.blob is not None
            assert then.blob is not None
            assert (decode(now.blob).version, decode(then.blob).version) == (5, 3)
            (nothing,) = unpack_views(await host.as_of(ANN, 0))
            assert nothing.blob is None

    asyncio.run(scene())


def test_a_token_can_be_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with hosted(made(tmp_path)) as host:
            moved: list[dict[int, int]] = []
            host.listen(lambda ends: moved.append(dict(ends)))
            (placed,) = await sent(host, [view("ann", 1)])
            assert await host.applied(PartitionId(placed.partition), placed.lsn, 1.0)
            waiting = asyncio.create_task(host.applied(PartitionId(placed.partition), placed.lsn + 1, 30.0))
            await sent(host, [view("ann", 2)])
            assert await waiting
            assert not await host.applied(PartitionId(placed.partition), placed.lsn + 2, 0.01)
            assert moved == [{placed.partition: 1}, {placed.partition: 2}]

    asyncio.run(scene())


def test_erasing_tells_where_and_what_was_erased_is_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path)
        async with hosted(store) as host:
            assert (await host.erase(ANN)).lsn == -1
            await sent(host, [view("ann", 1)])
            assert await host.erase(ANN) == Placed("ok", store.partition(ANN), 1)
            assert unpack_history(await host.history(ANN, 9)) == []

    asyncio.run(scene())


def test_imports_producers_and_quarantine_are_known(tmp_path: Path) -> None:
    async def scene() -> None:
        async with hosted(made(tmp_path)) as host:
            await sent(host, [fact("s:imports", 1, ImportStarted("journey", "tcj", "abc"))])
            await sent(host, [view(f"user-{n}", n, producer="journey", seq=n) for n in range(2, 30)])
            marks = unpack_marks(await host.imports("journey"))
            assert max(marks.marks.values()) == 29
            assert [each.source_hash for each in marks.imports] == ["abc"]
            await host.set_aside(pack_entries([Entry(1, "not_json", "no", b"{")]))

    asyncio.run(scene())


def test_a_second_host_is_refused_with_the_pid(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path)
        async with hosted(store) as host:
            with pytest.raises(Held, match="process"):
                await PartitionHost(store, store.numbers(), opening(store)).start()
            assert (await sent(host, [view("ann", 1)]))[0].status == "ok"

    asyncio.run(scene())


def test_a_missing_folder_is_an_error_and_lets_go_of_the_others(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path)
        (tmp_path / "partitions" / "p1").rmdir()
        with pytest.raises(NotFound, match="p1"):
            await PartitionHost(store, store.numbers(), opening(store)).start()
        (tmp_path / "partitions" / "p1").mkdir()
        async with hosted(store) as host:
            assert (await sent(host, [view("ann", 1)]))[0].status == "ok"

    asyncio.run(scene())


def test_a_key_of_another_hosts_partition_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path)
        host = PartitionHost(store, [PartitionId(0)], opening(store))
        await host.start()
        elsewhere = next(f"user-{n}" for n in range(99) if store.partition(user_key(f"user-{n}")) == 1)
        with pytest.raises(NotOwner, match="does not live on this host"):
            await sent(host, [view(elsewhere, 1)])
        await host.close()

    asyncio.run(scene())


def test_a_damaged_partition_is_kept_out_and_the_others_work(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path)
        users = {store.partition(user_key(name)): name for name in ("ann", "bob", "eve", "joe", "kim")}
        async with hosted(store) as host:
            await sent(host, [view(name, number) for number, name in users.items()])
        (segment,) = (tmp_path / "partitions" / "p0" / "log").glob("*.seg")
        data = bytearray(segment.read_bytes())
        data[100] ^= 1
        segment.write_bytes(data)
        async with hosted(store) as host:
            assert isinstance(host.unopened[PartitionId(0)], Corrupt)
            with pytest.raises(Corrupt):
                await sent(host, [view(users[PartitionId(0)], 5)])
            assert (await sent(host, [view(users[PartitionId(1)], 6)]))[0].status == "ok"
            status = await host.status()
            assert list(status["unopened"]) == [0]  # type: ignore[call-overload]
        assert LocalProfiles(store).read(user_key(users[PartitionId(0)])).profile is not None

    asyncio.run(scene())


def test_too_much_waiting_is_sent_back_and_nothing_of_it_taken(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path)
        settings = HostSettings(writer=WriterSettings(round_drafts=10, queue_drafts=50))
        host = PartitionHost(store, store.numbers(), opening(store), settings)
        await host.start()
        calls = [[view(f"user-{n % 3}", n * 20 + k) for k in range(20)] for n in range(12)]
        answers = await asyncio.gather(*(sent(host, call) for call in calls), return_exceptions=True)
        refused = [call for call, answer in zip(calls, answers, strict=True) if isinstance(answer, BaseException)]
        assert all(isinstance(each, list | Unavailable) for each in answers)
        assert refused
        for call in refused:
            assert [each.status for each in await sent(host, call)] == ["ok"] * 20
        await host.close()

    asyncio.run(scene())


def test_a_write_whose_time_is_up_is_not_begun(tmp_path: Path) -> None:
    async def scene() -> None:
        async with hosted(made(tmp_path)) as host:
            with pytest.raises(Unavailable):
                await host.append(pack_drafts([view("ann", 1)]), timeout_s=0.0)
            assert [each.status for each in unpack_placed(await host.append(pack_drafts([view("ann", 1)])))] in (
                ["ok"],
                ["duplicate"],
            )

    asyncio.run(scene())


def test_a_malformed_draft_fails_its_own_call_only(tmp_path: Path) -> None:
    async def scene() -> None:
        async with hosted(made(tmp_path)) as host:
            bad = fact("nobody", 1, ImportStarted("a", "b", "c"))
            answers = await asyncio.gather(
                sent(host, [view("ann", 1)]), sent(host, [bad]), sent(host, [view("bob", 2)]), return_exceptions=True
            )
            assert isinstance(answers[1], BadRequest)
            assert [answers[0][0].status, answers[2][0].status] == ["ok", "ok"]  # type: ignore[index]

    asyncio.run(scene())


def test_checkpoints_are_taken_when_something_moved_and_at_a_clean_close(tmp_path: Path) -> None:
    folder = tmp_path / "partitions" / "p0" / "checkpoints"

    async def scene() -> None:
        store = made(tmp_path, 1)
        async with hosted(store) as host:
            await host.checkpoint()
            assert not folder.exists()
            await sent(host, [view("ann", 1)])
            await host.checkpoint()
            await host.checkpoint()
            assert [path.name for path in folder.iterdir()] == ["00000001"]
        assert sorted(path.name for path in folder.iterdir()) == ["00000001", "00000002"]

    asyncio.run(scene())


def test_the_heart_beats_while_the_host_lives(tmp_path: Path) -> None:
    async def scene() -> None:
        store = made(tmp_path, 1)
        settings = HostSettings(writer=WriterSettings(idle_s=0.01), beat_s=0.01)
        host = PartitionHost(store, store.numbers(), opening(store), settings)
        await host.start()
        beat = store.folder(PartitionId(0)) / "beat"
        before = beat.read_bytes()

        def both_moved() -> bool:
            now = beat.read_bytes()
            return now[:8] != before[:8] and now[8:16] != before[8:16]

        await asyncio.to_thread(until, both_moved, "loop and writer beat")
        await host.close()

    asyncio.run(scene())
