"""The page as a person uses it: a real Chromium, a real service, real baskets (a sample of them)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest
from browser import Browser, binary
from requirements import require
from service import Service

from events.ids import Millis
from serving.import_client import ImportClient
from serving.importing import run_import
from serving.journey import Journey
from serving.source import SourceEvent

pytestmark = pytest.mark.browser

HOUSEHOLDS = 400
NACHOS = "tortilla/nacho chips"
DIPPED = ("dip", "salsa")
SECOND = "[data-row=foryou]"


class Sample:
    """The Complete Journey of its first households: everything they bought, and the catalogue of that."""

    name, source_hash, producer = "sample", "0" * 64, "sample"

    def __init__(self, journey: Journey) -> None:
        self._journey = journey

    def total(self) -> None:
        return None

    def shift_ms(self, now: Millis) -> int:
        return self._journey.shift_ms(now)

    def events(self, shift_ms: int) -> Iterator[SourceEvent]:
        told = list(self._journey.events(shift_ms))
        buyers = [event for event in told if str(event.get("userId", "")).isdigit()]
        buyers = [event for event in buyers if int(str(event["userId"])) <= HOUSEHOLDS]
        bought = {
            line["product_id"]
            for event in buyers
            if event["type"] == "track"
            for line in cast("list[dict[str, object]]", cast("dict[str, object]", event["properties"])["products"])
        }
        yield from (event for event in told if event["type"] == "item" and event["item_id"] in bought)
        yield from buyers


class Silent:
    def begin(self, total: int | None, done: int) -> None: ...
    def advance(self, events: int, rejected: int) -> None: ...


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    require("browser", present=binary() is not None, missing="no Chromium found")
    with Service(tmp_path_factory.mktemp("shop"), demo=True) as running:
        client = ImportClient(running.address, running.embedded.keys.api_key, threading.Event().wait)
        run_import(Sample(Journey.installed()), client, Millis(int(time.time() * 1000)), Silent())
        client.close()
        running.settle()
        yield running


def wait_for(holds: object, what: str, seconds: float = 60.0) -> None:
    pause, end = threading.Event(), time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        pause.wait(0.05)


@pytest.fixture
def tab(shop: Service) -> Iterator[Browser]:
    with Browser() as browser:
        browser.open(f"{shop.address}/")
        browser.until(f"document.querySelectorAll('{SECOND} .card').length > 0")
        yield browser
        assert not browser.problems


def cards(tab: Browser, row: str, what: str = "dataset.item") -> list[str]:
    return list(tab.evaluate(f"[...document.querySelectorAll('[data-row={row}] .card')].map((card) => card.{what})"))


def act(tab: Browser, selector: str) -> None:
    """Click, and wait until the page shows what came of it."""
    loads = int(tab.evaluate("document.body.dataset.loads"))
    tab.click(selector)
    tab.until(f"Number(document.body.dataset.loads) > {loads}")


def search(tab: Browser, words: str) -> None:
    tab.evaluate(f"document.querySelector('#query').value = {json.dumps(words)}")
    tab.evaluate("document.querySelector('#find').requestSubmit()")
    tab.until("document.querySelectorAll('[data-row=found] .card').length > 0")


def test_a_click_on_nachos_brings_a_dip_or_salsa_into_the_second_row(tab: Browser) -> None:
    search(tab, "nacho")
    before = cards(tab, "foryou")
    act(tab, "[data-row=found] .card [data-act=view]")
    shown = " | ".join(cards(tab, "foryou", "textContent")).lower()
    assert cards(tab, "foryou") != before
    assert any(word in shown for word in DIPPED), shown


def test_reloading_without_a_new_fact_changes_nothing(tab: Browser, shop: Service) -> None:
    search(tab, "milk")
    act(tab, "[data-row=found] .card [data-act=buy]")
    tab.open(f"{shop.address}/")
    tab.until(f"document.querySelectorAll('{SECOND} .card').length > 0")
    before = cards(tab, "again"), cards(tab, "foryou"), cards(tab, "foryou", "querySelector('.why').textContent")
    tab.open(f"{shop.address}/")
    tab.until(f"document.querySelectorAll('{SECOND} .card').length > 0")
    assert before == (
        cards(tab, "again"),
        cards(tab, "foryou"),
        cards(tab, "foryou", "querySelector('.why').textContent"),
    )


def test_a_household_sees_what_it_buys_again_and_why(tab: Browser) -> None:
    loads = int(tab.evaluate("document.body.dataset.loads"))
    tab.evaluate("document.querySelector('#household').value = '1'")
    tab.evaluate("document.querySelector('#who').requestSubmit()")
    tab.until(f"Number(document.body.dataset.loads) > {loads}")
    assert len(cards(tab, "again")) > 3
    assert all(cards(tab, "again", "querySelector('.why').textContent"))
    assert all(cards(tab, "foryou", "querySelector('.why').textContent"))
    assert "household 1" in str(tab.evaluate("document.querySelector('#profile').textContent"))


def test_no_two_cards_of_a_row_carry_the_same_label(tab: Browser) -> None:
    for household in ("1", "7", "13"):
        loads = int(tab.evaluate("document.body.dataset.loads"))
        tab.evaluate(f"document.querySelector('#household').value = '{household}'")
        tab.evaluate("document.querySelector('#who').requestSubmit()")
        tab.until(f"Number(document.body.dataset.loads) > {loads}")
        for row in ("again", "foryou"):
            labels = cards(tab, row, "querySelector('h4').textContent")
            assert len(labels) == len(set(labels)), labels


def test_a_purchase_shows_in_the_profile_and_in_buy_again_at_once(tab: Browser) -> None:
    act(tab, "#newcomer")
    assert cards(tab, "again") == []
    bought = cards(tab, "foryou")[0]
    act(tab, f"{SECOND} .card [data-act=buy]")
    assert bought in cards(tab, "again")
    changed = str(tab.evaluate("document.querySelector('#changed').textContent"))
    assert "bought" in changed
    assert "version 0 → 1" in changed
    assert str(tab.evaluate("document.querySelector('#purchases').textContent")).strip() != "none yet"


def test_the_slider_rewinds_profile_and_list(tab: Browser) -> None:
    loads = int(tab.evaluate("document.body.dataset.loads"))
    tab.evaluate("document.querySelector('#household').value = '1'")
    tab.evaluate("document.querySelector('#who').requestSubmit()")
    tab.until(f"Number(document.body.dataset.loads) > {loads}")
    now_facts, now_rows = tab.evaluate("document.querySelector('#profile-facts').textContent"), cards(tab, "again")
    loads = int(tab.evaluate("document.body.dataset.loads"))
    tab.evaluate("document.querySelector('#rewind').focus()")
    tab.press("Home")
    for _ in range(30):
        tab.press("ArrowRight")
    tab.until(f"Number(document.body.dataset.loads) > {loads}")
    tab.until("!document.querySelector('#rewound').hidden")
    tab.until(f"document.querySelector('#profile-facts').textContent !== {json.dumps(now_facts)}")
    assert cards(tab, "again") != now_rows
    act(tab, "#rewind-now")
    tab.until("document.querySelector('#rewound').hidden")
    assert cards(tab, "again") == now_rows


def test_a_segment_somebody_enters_shows_as_it_happens_and_rewinds(tab: Browser, shop: Service) -> None:
    assert shop.call("PUT", "/v1/segments/lookers", {"rule": "count(view, 7 days) >= 2"}).status == 200
    act(tab, "#newcomer")
    listed = "document.querySelector('#segments').textContent"
    search(tab, "milk")
    act(tab, "[data-row=found] .card [data-act=view]")
    assert "lookers" not in str(tab.evaluate(listed))
    act(tab, "[data-row=found] .card [data-act=view]")
    tab.until(f"{listed}.includes('lookers')")
    reason = "document.querySelector('#segments li').title"
    assert tab.evaluate(reason) == "count(view, 7 days) = 2"
    tab.evaluate("document.querySelector('#rewind').focus()")
    tab.press("Home")
    tab.until(f"!{listed}.includes('lookers')")


def test_the_page_can_be_used_with_the_keyboard_alone(tab: Browser) -> None:
    act(tab, "#newcomer")
    tab.evaluate("document.querySelector('#query').focus()")
    tab.type("nacho")
    tab.press("Enter")
    tab.until("document.querySelectorAll('[data-row=found] .card').length > 0")
    for _ in range(4):
        tab.press("Tab")
        if tab.evaluate("document.activeElement.dataset.act") == "view":
            break
    loads = int(tab.evaluate("document.body.dataset.loads"))
    assert tab.evaluate("document.activeElement.dataset.act") == "view"
    tab.press("Enter")
    tab.until(f"Number(document.body.dataset.loads) > {loads}")
    assert "viewed" in str(tab.evaluate("document.querySelector('#changed').textContent"))
    assert tab.evaluate("document.activeElement !== document.body")


def test_what_was_seen_is_sent_as_an_impression(tab: Browser, shop: Service) -> None:
    act(tab, "#newcomer")
    visitor = str(tab.evaluate("JSON.parse(sessionStorage.getItem('everfold')).anonymous"))

    def seen() -> bool:
        facts = shop.get(f"/v1/profiles/{visitor}/events?anonymous=true").json["events"]
        return any(fact["type"] == "impression" and fact["body"].get("list_id") for fact in cast("list[dict]", facts))  # type: ignore[type-arg]

    wait_for(seen, "an impression with its list_id")


def test_the_page_asks_nobody_else(shop: Service) -> None:
    for path in ("/", "/page/shop.js", "/page/shop.css"):
        text = shop.get(path, {}).body.decode()
        assert "://" not in text.replace("http://127.0.0.1", ""), path
