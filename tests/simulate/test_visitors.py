"""People of a world using a real service over HTTP: the whole application in this process, under a real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from service import Service
from targets import nobody

from actors.reader import PartitionFiles
from actors.store import Store
from events.log import scan
from events.types import Event, Impression, Interaction
from events.unseal import Unsealer
from simulate import payloads
from simulate.business import verdict
from simulate.clients import Lines, Reply, Target
from simulate.freshness import Prober
from simulate.load import Load, Plan, Tally
from simulate.load_process import NotTaken, restock, take_catalogue
from simulate.scenario import SCENARIOS, Scenario
from simulate.visitors import BATCH_MAX, Deserted, Habits, Visitors
from simulate.world import World
from simulate.world_spec import SPECS, WEEK_MS

TINY = Scenario("tiny", "A small shop", SPECS["tiny"])
PLAN = Plan(users=60, rate=60, duration_s=1.5, connections=8, seed=4)


@dataclass
class Lived:
    visitors: Visitors
    tally: Tally
    fresh: list[float]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("load") / "data") as running:
        yield running


def target_of(service: Service) -> Target:
    return Target.named(service.address, service.embedded.keys)


def lived(service: Service, run: str) -> Lived:
    """A short run as one process makes it."""

    async def live() -> Lived:
        target, world = target_of(service), TINY.world(PLAN, 0)
        await take_catalogue(target, world)
        visitors = Visitors(target, world, PLAN.duration_s, run, Habits(judged=2))
        load = Load(target, visitors, PLAN, TINY.mix(), np.random.default_rng(1))
        prober = Prober(target, world.shelf.ids[0], run, PLAN.duration_s)
        start = asyncio.get_running_loop().time()
        probing = asyncio.create_task(prober.run(start))
        tally = await load.run(start)
        while not (prober.found.new.number or prober.found.stale):
            await asyncio.sleep(0.01)
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
        return Lived(visitors, tally, prober.found.new.quantiles((1.0,)))

    return asyncio.run(live())


@pytest.fixture(scope="module")
def run(service: Service) -> Lived:
    return lived(service, "one")


def test_lists_are_asked_for_looked_at_and_clicked(run: Lived) -> None:
    assert set(run.tally.outcomes["recommend"]) == {"200"}
    assert set(run.tally.outcomes["events"]) == {"200"}
    found = verdict(run.visitors.business)
    assert found.lists == run.tally.outcomes["recommend"]["200"]
    assert found.clicks_per_list > 0
    assert found.foreign == run.visitors.unread == run.visitors.lost == 0
    assert 0 < found.judged <= found.lists // 2 + 1


def test_what_people_did_comes_back_and_is_taken_whole(service: Service, run: Lived) -> None:
    world = TINY.world(PLAN, 0)
    items = len(payloads.entries(world.shelf, world.spec.start_ms))
    probes = service.get("/v1/profiles/probe-one-0").json["version"]
    assert isinstance(probes, int)
    taken = {name: number for name, number in outcomes(service).items() if number}
    assert taken == {"ok": run.tally.events + items + probes}


def outcomes(service: Service) -> dict[str, int]:
    """What became of all events so far."""
    text = service.get("/metrics").body.decode()
    found = re.findall(r'everfold_events_total\{outcome="(\w+)"\} (\S+)', text)
    aside = re.findall(r"everfold_quarantined_total\{.*\} (\S+)", text)
    return {outcome: int(float(number)) for outcome, number in found} | {
        "quarantined": sum(map(int, map(float, aside)))
    }


def test_clicks_name_the_list_they_come_of(service: Service, run: Lived) -> None:
    facts = list(told(service))
    shown = {fact.list_id for fact in facts if isinstance(fact, Impression)}
    clicked = {fact.list_id for fact in facts if isinstance(fact, Interaction) and fact.signal == "click"}
    assert clicked
    assert clicked <= shown
    assert "" not in shown


def told(service: Service) -> Iterator[Event]:
    """Everything in the log."""
    store = Store.open(service.data)
    for number in store.numbers():
        files = PartitionFiles(store.folder(number), number, store)
        opener = Unsealer(files.log, files.vault)
        for record in scan(files.log, 0):
            payload = opener.payload(record)
            assert payload is not None
            yield payload.event
        files.close()


def test_freshness_is_the_time_to_an_answer_that_knows(run: Lived) -> None:
    assert 0 < run.fresh[0] < 10


def test_the_same_world_may_be_lived_twice_over_one_service(service: Service, run: Lived) -> None:
    again = lived(service, "two")
    assert again.tally.events > 0
    assert not outcomes(service)["duplicate"]


def test_what_comes_onto_the_shelf_is_told_and_what_goes_is_hidden(service: Service) -> None:
    async def grow() -> World:
        plan = replace(PLAN, seed=9)
        spec = replace(SPECS["tiny"], new_items_per_week=0.2, item_life_weeks=4.0)
        world, target = Scenario("short", "Short lives", spec).world(plan, 0), target_of(service)
        visitors = Visitors(target, world, 1.0, "three", Habits())
        visitors.now = world.spec.start_ms + WEEK_MS
        restocking = asyncio.create_task(restock(target, visitors, world))
        await asyncio.sleep(1.5)
        restocking.cancel()
        await asyncio.gather(restocking, return_exceptions=True)
        return world

    world = asyncio.run(grow())
    came, went = world.shelf.changed(world.spec.start_ms, world.spec.start_ms + WEEK_MS)
    assert len(came) > 0 < len(went)
    assert service.get(f"/v1/items/item-{came[0]}").json["title"] == f"Item {came[0]}"
    assert service.get(f"/v1/items/item-{went[0]}").json["hidden"] is True


def test_a_target_that_does_not_take_the_catalogue_says_why(service: Service) -> None:
    wrong = replace(target_of(service), keys=replace(service.embedded.keys, api_key="sk_" + "0" * 64))
    with pytest.raises(NotTaken, match="API key"):
        asyncio.run(take_catalogue(wrong, TINY.world(PLAN, 0)))


def test_a_store_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    world = TINY.world(PLAN, 0)
    with Service(tmp_path / "data") as shop:
        shop.add_items({"item_id": "sku-1", "title": "A real mug"})
        with pytest.raises(NotTaken, match=r"'sku-1'.*--anyway"):
            asyncio.run(take_catalogue(target_of(shop), world))
        assert shop.get("/v1/items/item-0").status == 404
        asyncio.run(take_catalogue(target_of(shop), world, anyway=True))
        asyncio.run(take_catalogue(target_of(shop), world, anyway=True))
        assert shop.get(f"/v1/items/{payloads.entries(world.shelf, world.spec.start_ms)[0]['item_id']}").status == 200


def test_people_do_what_they_do_also_where_no_list_comes() -> None:
    target, world = nobody(), TINY.world(PLAN, 0)
    visitors = Visitors(target, world, 1.0, "r", Habits())
    for _ in range(50):
        visitors.answered(visitors.ask(0.0), Reply(503), 0.0)
    assert visitors.business.lists.sum() == 0
    assert visitors.waiting >= 50
    visitors.answered(visitors.ask(0.0), Reply(200, b"<html>"), 0.0)
    visitors.answered(visitors.ask(0.0), Reply(200, b'{"items": 3}'), 0.0)
    assert visitors.unread == 2


def test_a_world_without_lists_sends_full_batches() -> None:
    visitors = Visitors(
        nobody(), SCENARIOS["organic"].world(replace(PLAN, users=300), 0), 1.0, "r", Habits(lists=False)
    )
    batch = visitors.flush(0.0)
    assert batch is not None
    assert batch.events == BATCH_MAX


def test_dirt_arrives_as_dirt_and_is_set_aside_without_failing_a_batch(service: Service) -> None:
    async def send() -> int:
        target, world = target_of(service), TINY.world(replace(PLAN, seed=5), 0)
        visitors = Visitors(target, world, 1.0, "four", Habits(lists=False, dirt=True))
        lines, sent = Lines(target, 1, 4), 0
        for _ in range(12):
            batch = visitors.flush(0.0)
            assert batch is not None
            reply = await lines.ask(batch.data, 30)
            assert reply.status == 200
            sent += batch.events
        await lines.close()
        return sent

    before = outcomes(service)
    sent = asyncio.run(send())
    after = outcomes(service)
    became = {name: after[name] - before.get(name, 0) for name in after}
    assert sum(became.values()) == sent
    assert became["ok"] > 0.8 * sent
    assert became["duplicate"] > 0
    assert became["quarantined"] > 0


def test_people_who_do_nothing_besides_send_only_what_comes_of_lists() -> None:
    visitors = Visitors(nobody(), TINY.world(PLAN, 0), 1.0, "r", Habits(besides=False))
    for _ in range(30):
        visitors.answered(visitors.ask(0.0), Reply(503), 0.0)
    batch = visitors.flush(0.0)
    assert batch is not None
    assert {message["type"] for message in orjson.loads(batch.data.partition(b"\r\n\r\n")[2])["batch"]} <= {
        "page",
        "identify",
    }


def test_where_nothing_comes_back_nothing_is_kept_to_be_sent() -> None:
    visitors = Visitors(nobody(), TINY.world(PLAN, 0), 1.0, "r", Habits(tells=False))
    for _ in range(30):
        visitors.answered(visitors.ask(0.0), Reply(503), 0.0)
    assert visitors.flush(0.0) is None
    assert visitors.waiting == visitors.lost == 0


def test_a_request_says_who_and_where_and_nothing_else() -> None:
    visitors = Visitors(nobody(), TINY.world(PLAN, 0), 1.0, "r", Habits())
    questions = [visitors.ask(0.0) for _ in range(300)]
    for question in questions:
        visitors.answered(question, Reply(503), 0.0)
    asked = [visitors.ask(0.0).data.split(b"\r\n")[0].decode() for _ in range(300)]
    names = {name for line in asked for name in re.findall(r"[?&](\w+)=", line)}
    assert names == {"user_id", "anonymous_id", "n", "surface", "items"}


def test_a_world_nobody_comes_to_ends_the_run() -> None:
    world = TINY.world(PLAN, 0)
    world._away[:] = 1 << 62
    with pytest.raises(Deserted, match="nobody came"):
        Visitors(nobody(), world, 1.0, "r", Habits()).ask(0.0)
