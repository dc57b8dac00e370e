"""Imports are numbered by their producer and may wish for the time they are stamped with."""

from __future__ import annotations

import json

import pytest
from bodies import CATALOGUE, NOW, SECRET, accepted, payload_of, rejected, track

from events.errors import BadId, BadRequest, TooLarge
from events.import_intake import ImportIntake
from events.intake import IntakeSettings, Outcome
from events.types import ImportCompleted, ImportStarted, ItemUpserted
from events.vocabulary import Vocabulary

DAY = 86_400_000


def send(*events: object, producer: object = "p-1", first_seq: object = 1, **more: object) -> list[Outcome]:
    text = json.dumps({"producer": producer, "first_seq": first_seq, "batch": events, **more}).encode()
    return ImportIntake(SECRET, IntakeSettings(), Vocabulary(), CATALOGUE.get).batch(text, NOW)


def test_every_event_carries_producer_and_number() -> None:
    drafts = [accepted(one) for one in send(track("A"), track("B"), first_seq=41)]
    assert [(draft.producer, draft.seq) for draft in drafts] == [("p-1", 41), ("p-1", 42)]


def test_a_rejected_event_keeps_its_number_and_moves_no_other() -> None:
    first, second = send({"type": "dance", "userId": "u"}, track("B"), first_seq=5)
    assert rejected(first).reason == "unknown_type"
    assert accepted(second).seq == 6


def test_equal_rows_are_two_facts_and_a_part_sent_again_is_the_same_facts() -> None:
    one, two = (accepted(outcome) for outcome in send(track("A"), track("A")))
    assert one.event_id != two.event_id
    assert [one, two] == [accepted(outcome) for outcome in send(track("A"), track("A"))]


def test_stamping_is_asked_for_at_the_events_own_time() -> None:
    event = track("A") | {"timestamp": NOW - DAY}
    assert accepted(send(event)[0]).appended == 0
    stamped = accepted(send(event, stamp=True)[0])
    assert (stamped.event_time, stamped.appended) == (NOW - DAY, (NOW - DAY) * 1000)


def test_the_future_is_not_imported() -> None:
    assert accepted(send(track("A") | {"timestamp": NOW + DAY}, stamp=True)[0]).appended == NOW * 1000


def test_items_are_upserted_whole() -> None:
    outcome = send({"type": "item", "item_id": 4, "title": "T", "timestamp": NOW - DAY}, stamp=True)[0]
    assert payload_of(outcome).event == ItemUpserted("4", "T")
    draft = accepted(outcome)
    assert (draft.key, draft.event_time, draft.appended) == ("i:4", NOW - DAY, (NOW - DAY) * 1000)


def test_beginning_and_end_are_facts_of_the_import() -> None:
    began, ended = send(
        {"type": "import_started", "source": "S", "source_hash": "h", "shift_ms": 7 * DAY, "stamped": True},
        {"type": "import_completed", "source": "S", "source_hash": "h", "events": 2},
    )
    assert payload_of(began).event == ImportStarted("p-1", "S", "h", 7 * DAY, True)
    assert payload_of(ended).event == ImportCompleted("p-1", "S", "h", 2)
    assert accepted(began).key == accepted(ended).key == "s:import:p-1"


def test_an_order_too_long_for_a_browser_can_be_imported() -> None:
    products = [{"product_id": str(n), "category": "A > B", "brand": "b" * 60} for n in range(600)]
    assert accepted(send(track("Order Completed", products=products))[0]).type == "interaction"


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"type": "item"}, "missing_item"),
        ({"type": "item", "item_id": "x", "timestamp": "soon"}, "bad_time"),
        ({"type": "import_started", "shift_ms": "week"}, "bad_type"),
        ({"type": "import_completed", "events": True}, "bad_type"),
        (5, "not_an_object"),
        ({"type": ["item"], "userId": "u"}, "bad_type"),
    ],
)
def test_what_cannot_be_imported_has_a_reason(event: object, why: str) -> None:
    assert rejected(send(event)[0]).reason == why


@pytest.mark.parametrize("first_seq", [0, -1, "1", None, 1.5, 2**63])
def test_numbers_begin_at_one(first_seq: object) -> None:
    with pytest.raises(BadRequest):
        send(track("A"), first_seq=first_seq)


@pytest.mark.parametrize("producer", ["", "p" * 1_000, "\x00"])
def test_a_producer_is_an_id(producer: str) -> None:
    with pytest.raises(BadId):
        send(track("A"), producer=producer)


def test_a_body_of_another_shape_is_a_bad_request() -> None:
    intake = ImportIntake(SECRET, IntakeSettings(), Vocabulary())
    for text in (b"", b"[]", b"{}", b'{"batch": []}', b"\xff"):
        with pytest.raises(BadRequest):
            intake.batch(text, NOW)
    with pytest.raises(TooLarge):
        send(*[0] * 10_001)
