"""Learning while serving: from an answer, over what became of it, to the weights of the next answer."""

from __future__ import annotations

import asyncio
import io
import json
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from pydantic import SecretStr
from service import Service, bought, until

from actors.host import PartitionHost
from actors.lmdb_state import LmdbReader
from actors.wire import pack_drafts, unpack_history
from benchmarks.learner import Folder
from events.clock import ManualClock
from events.ids import Micros, user_key
from events.payload import encode, type_of
from events.record import Draft
from events.types import Impression, Interaction, Line, Meta, ModelPromoted
from serving.alerts import Alerts
from serving.decision import encode as encode_decision
from serving.decisions import open_decisions, open_shipper
from serving.follower_host import Learning, appending, unpack_status
from serving.learning import DecidedLists, Learner, shown_list
from serving.logs import JsonLog
from serving.opening import host_settings, opening
from serving.settings import AlertsSettings, LearningSettings, Settings
from serving.weights import FOLDER
from training.learned import KEY, TABLE, Learned, SurfaceWeights, unpack
from training.model import FOLDER as MODELS
from training.model import Provenance, model_of, save
from training.registry import DRIFT_KEY, MODELS_KEY
from training.surface import Surface

MINUTE = 60_000_000
START = 1_790_000_000_000_000
MAIL = Surface(name="mail", weights={"popularity": 1.0}, impression="assumed")


class Shop:
    """An embedded service whose time is set by hand."""

    def __init__(self, service: Service, clock: ManualClock) -> None:
        self.service = service
        self.clock = clock

    def ask(self, user: str, **fields: object) -> dict[str, Any]:
        self.clock.advance(1_000_000)
        answer = self.service.call("POST", "/v1/recommend", {"user_id": user, "n": 6, **fields})
        assert answer.status == 200, answer
        return answer.json

    def explain(self, answer: dict[str, Any]) -> dict[str, Any]:
        return self.service.get(f"/v1/recommendations/{answer['recommendation_id']}").json

    def tell(self, user: str, event: str, answer: dict[str, Any], *items: str, **context: object) -> None:
        """Send an event about ``items`` of an answered list; without any, about all of it."""
        self.clock.advance(1_000_000)
        named = items or tuple(item["item_id"] for item in answer["items"])
        about: dict[str, object] = {"list_id": answer["recommendation_id"]}
        if event == "Product List Viewed":
            about["products"] = [{"product_id": item} for item in named]
        else:
            about["product_id"] = named[0]
        self.service.send({"type": "track", "userId": user, "event": event, "properties": about, "context": context})

    def number(self, series: str) -> float:
        """One figure of the learner; 0 where there is none."""
        told = unpack_status(self.service.run(self.service.embedded.followers.status()))
        return next(one for one in told if one.name == "learner").numbers.get(series, 0.0)

    def comes(self, series: str, value: float) -> None:
        assert until(lambda: self.number(series) == value), f"{series} is {self.number(series)}, not {value}"

    def learned(self, outcome: str) -> float:
        return self.number(f'everfold_learner_rows_total{{outcome="{outcome}"}}')

    def pass_time(self, minutes: int) -> None:
        self.clock.advance(minutes * MINUTE)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    clock = ManualClock(Micros(START))
    settings = Settings(surfaces={"mail": MAIL}, learning=LearningSettings(rows_per_hour=60))
    with Service(tmp_path_factory.mktemp("learning"), settings, clock=clock) as service:
        service.add_items(
            *({"item_id": f"{kind}-{n}", "title": f"{kind} {n}", "category": kind} for kind in "ab" for n in range(8))
        )
        service.send(*(bought(f"crowd-{n}", f"a-{n % 8}", f"b-{n % 5}") for n in range(40)))
        service.settle()
        yield Shop(service, clock)


def published(service: Service) -> Learned:
    """What replicas would score with; empty where nothing was published."""
    row = LmdbReader(service.data / FOLDER).get(TABLE, KEY)
    return unpack(row) if row is not None else Learned("", "", (), {})


ROWS = 'everfold_learner_rows_total{outcome="click"}'
CLICKS = 'everfold_learner_positives_total{outcome="click"}'
PENDING = "everfold_learner_lists_pending"


def test_a_click_changes_the_weights_of_the_next_answer_once_its_window_closed(shop: Shop) -> None:
    before, rows = published(shop.service).version, shop.number(ROWS)
    answer = shop.ask("ann")
    shop.tell("ann", "Product List Viewed", answer)
    shop.tell("ann", "Product Clicked", answer, answer["items"][2]["item_id"])
    shop.comes('everfold_learner_acts_total{outcome="click",joined="list"}', 1)
    assert shop.number(ROWS) == rows, "the window is open still"
    shop.pass_time(31)
    shop.comes(ROWS, rows + 6)
    shop.comes(CLICKS, 1)
    shop.clock.advance(2_000_000)
    assert until(lambda: published(shop.service).version not in ("", before))
    after = shop.explain(shop.ask("ann"))
    assert published(shop.service).version in after["model_version"]
    assert shop.explain(answer)["model_version"] != after["model_version"]


def test_a_test_request_and_a_refusal_teach_nothing(shop: Shop) -> None:
    rows = shop.number(ROWS)
    shop.tell("bob", "Product List Viewed", shop.ask("bob", test=True))
    refusing = {"consent": {"categoryPreferences": {"personalization": False}}}
    shop.tell("eve", "Product List Viewed", shop.ask("eve", context=refusing))
    granted = shop.ask("joe")
    shop.tell("joe", "Product List Viewed", granted, **refusing)
    shop.comes('everfold_learner_left_out_total{reason="test"}', 1)
    shop.comes('everfold_learner_left_out_total{reason="consent"}', 2)
    shop.pass_time(31)
    shop.tell("zoe", "Product List Viewed", shop.ask("zoe"))
    shop.pass_time(31)
    shop.comes(ROWS, rows + 6)


def test_one_person_teaches_no_more_than_the_cap(shop: Shop) -> None:
    for _ in range(12):
        shop.tell("eager", "Product List Viewed", shop.ask("eager"))
    shop.comes('everfold_learner_left_out_total{reason="row_cap"}', 12)


def test_a_surface_that_assumes_impressions_learns_from_answers_alone(shop: Shop) -> None:
    waiting = shop.number(PENDING)
    shop.ask("dan", surface="mail", n=3)
    shop.comes(PENDING, waiting + 1)


def test_figures_of_the_learner_are_metrics(shop: Shop) -> None:
    text = shop.service.get("/metrics").body.decode()
    for name in (
        "everfold_learner_rows_total",
        "everfold_learner_log_loss",
        'everfold_follower_up{follower="learner"}',
    ):
        assert name in text


def test_a_restarted_service_goes_on_learning(tmp_path: Path) -> None:
    clock = ManualClock(Micros(START))
    with Service(tmp_path, clock=clock) as service:
        service.add_items(*({"item_id": f"a-{n}"} for n in range(8)))
        service.send(*(bought(f"crowd-{n}", f"a-{n % 8}") for n in range(20)))
        service.settle()
        first = Shop(service, clock)
        first.tell("ann", "Product List Viewed", first.ask("ann"))
        first.comes(PENDING, 1)
    with Service(tmp_path, clock=clock) as service:
        again = Shop(service, clock)
        again.pass_time(31)
        again.comes(ROWS, 6)


def test_a_promoted_model_is_what_is_learned_on_from_there(tmp_path: Path) -> None:
    clock = ManualClock(Micros(START))
    with Service(tmp_path, clock=clock) as service:
        service.add_items(*({"item_id": f"a-{n}"} for n in range(8)))
        service.send(*(bought(f"crowd-{n}", f"a-{n % 8}") for n in range(20)))
        service.settle()
        shop = Shop(service, clock)
        weights = SurfaceWeights(np.full(3, -2.0), np.full((3, 4), 0.5), np.zeros((3, 3)), np.ones(1))
        initial = Learned("", "", ("popularity",), {"home": weights})
        model = model_of(["a-0", "a-1"], {}, initial, Provenance())
        save(tmp_path / MODELS, model)
        event = ModelPromoted(model.id)
        name, version = type_of(event)
        draft = Draft(MODELS_KEY, bytes(16), START // 1000, name, version, encode(Meta(), event))
        service.run(service.embedded.host.append(pack_drafts([draft])))
        assert until(lambda: published(service).model == model.id)
        first = published(service).surfaces["home"]
        at = published(service).names.index("popularity")
        assert first.intercept.tolist() == [-2.0] * 3
        assert first.recommenders[0, 4 * at : 4 * at + 4].tolist() == [0.5] * 4
        answer = shop.ask("ann")
        assert published(service).version in answer["model_version"]
        assert model.id[:8] in answer["model_version"]
        shop.tell("ann", "Product List Viewed", answer)
        shop.comes(PENDING, 1)
        shop.pass_time(31)
        shop.comes(ROWS, 6)
        shop.clock.advance(2_000_000)
        assert until(lambda: published(service).surfaces["home"].intercept[0] != -2.0)
        assert published(service).model == model.id


class Received(BaseHTTPRequestHandler):
    """Keeps what is POSTed."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Received)
    server.bodies = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_drift_becomes_one_fact_in_the_log_and_one_alert(tmp_path: Path, hook: ThreadingHTTPServer) -> None:
    """Some hundred lists of which little is clicked, then as many of which most is."""
    settings = Settings(
        alerts=AlertsSettings(webhook=f"http://127.0.0.1:{hook.server_port}/", secret=SecretStr("x" * 16)),
        learning=LearningSettings(click_minutes=1, cart_hours=1 / 60, purchase_days=1 / 1440),
    )
    clock, chance = ManualClock(Micros(START)), random.Random(4)
    folder = Folder.make(tmp_path, settings, clock)

    async def live() -> tuple[float, int]:
        store = folder.store
        host = PartitionHost(store, store.numbers(), opening(store, settings, clock), host_settings(settings))
        await host.start()
        open_shipper(tmp_path, 0).close()
        alerts = Alerts(settings.alerts, clock, JsonLog(clock, io.StringIO()))
        learning = Learning(Learner(store, settings), clock, appending(host, asyncio.get_running_loop()), alerts)
        drafts: list[Draft] = []
        for number in range(1_200):
            clock.advance(20 * MINUTE)
            drafts += list_with_clicks(folder, number, clock.now(), chance, 0.03 if number < 600 else 0.6)
            if number % 20 == 19:
                await host.append(pack_drafts(drafts))
                await asyncio.to_thread(followed, learning)
                drafts.clear()
        found = learning.status().numbers["everfold_drift_detections_total"]
        told = unpack_history(await host.history(DRIFT_KEY, 100))
        assert learning.status().numbers["everfold_outbox_backlog"] == 0
        learning.close()
        alerts.close()
        await host.close()
        return found, len(told)

    found, told = asyncio.run(live())
    assert found >= 1
    assert told == found
    assert [body["event"] for body in hook.bodies] == ["drift_detected"] * told  # type: ignore[attr-defined]


def list_with_clicks(folder: Folder, number: int, at: int, chance: random.Random, rate: float) -> list[Draft]:
    list_id, items = folder.answer(at)
    key, items = user_key(f"person-{number % 200}"), items[:6]
    drafts = [folder.draft(key, f"seen-{number}", at, Impression(items, list_id))]
    for item in items:
        if chance.random() < rate:
            event = Interaction("click", (Line(item),), list_id=list_id)
            drafts.append(folder.draft(key, f"click-{number}-{item}", at, event))
    return drafts


def followed(learning: Learning) -> None:
    while learning.step():
        pass


def test_a_decision_without_features_is_no_list_to_learn_from(tmp_path: Path) -> None:
    settings, clock = Settings(), ManualClock(Micros(START))
    folder = Folder.make(tmp_path, settings, clock)
    decisions = open_decisions(tmp_path, folder.sealer)
    lists = DecidedLists(decisions)
    list_id, items = folder.answer(START)
    found = lists.shown(list_id)
    assert found is not None
    assert found.items == items
    assert found.features.shape == (len(items), 4 * len(found.names))
    bare = encode_decision(replace(decisions.lookup(list_id), features=b""))
    owner = folder.sealer.nobody()
    place = folder.spool.write(Micros(START), owner, lambda place: folder.sealer.seal(owner, place, bare))
    assert place is not None
    assert lists.shown(place.text) is None
    assert lists.shown("no id at all") is None


def test_a_decision_of_format_1_knows_its_positions(tmp_path: Path) -> None:
    folder = Folder.make(tmp_path, Settings(), ManualClock(Micros(START)))
    decisions = open_decisions(tmp_path, folder.sealer)
    old = replace(decisions.lookup(folder.answer(START)[0]), context_features=b"", format=1)
    assert shown_list(old).context[:3, 0] == pytest.approx([1.0, 0.63093, 0.5], abs=1e-5)
