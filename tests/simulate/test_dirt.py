"""The dirty stream: every kind is there, labelled beside it, and a perfect guard finds the clean stream in it."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from events.ids import Millis
from events.intake import Accepted, Intake, IntakeSettings, Origin, Rejected
from events.vocabulary import Vocabulary
from simulate.dirt import AGAIN, BOTS, DirtSpec, Dirty, dirty
from simulate.payloads import Message, acts, impression, opening, organic
from simulate.world import World
from simulate.world_spec import HOUR_MS, SPECS, START_MS

SPEC = DirtSpec(duplicates=0.05, retries=0.05, late=0.1, skewed=0.2, malformed=0.05)
WORLD = World(SPECS["tiny"], 6)


def clean() -> list[tuple[int, Message]]:
    of = World(SPECS["tiny"], 6)
    sent: list[tuple[int, Message]] = []
    for visit in of.visits(START_MS + 17 * HOUR_MS, START_MS + 23 * HOUR_MS):
        outcome = of.answer(visit, of.shelf.ids[:10])
        sent += [(visit.at, message) for message in opening(visit)]
        sent.append((visit.at + 1_000, impression(visit, outcome, f"l-{visit.key}")))
        sent += acts(visit, outcome, f"l-{visit.key}") + organic(visit, of.organic(visit))
    return sent


@pytest.fixture(scope="module")
def found() -> Dirty:
    return dirty(clean(), SPEC, 6, WORLD.shelf)


def test_every_kind_of_dirt_is_there_and_labelled(found: Dirty) -> None:
    counts = Counter(found.labels)
    assert len(found.labels) == len(found.deliveries)
    assert set(counts) == {"clean", "duplicate", "retry", "late", "skewed", *BOTS, "malformed"}
    assert counts["clean"] > counts["late"] > 5


def test_no_label_stands_in_the_stream(found: Dirty) -> None:
    kinds = set(found.labels) - {"late"}
    for delivery in found.deliveries:
        text = json.dumps(delivery.message)
        assert not any(f'"{kind}"' in text for kind in kinds)


def test_deliveries_come_in_the_order_of_arrival(found: Dirty) -> None:
    times = [delivery.at for delivery in found.deliveries]
    assert times == sorted(times)


def test_a_guard_that_knows_the_labels_gets_the_clean_stream_back(found: Dirty) -> None:
    kept = {
        str(delivery.message["messageId"])
        for delivery, label in zip(found.deliveries, found.labels, strict=True)
        if label not in BOTS | AGAIN | {"malformed"}
    }
    sent = {str(message["messageId"]): message for _, message in clean()}
    lost = set(sent) - kept
    assert kept <= set(sent)
    assert {sent[name]["event"] for name in lost} <= {"Product List Viewed"}
    assert 0 < len(lost) < 0.2 * len(sent)


def test_what_comes_again_is_what_came_under_the_same_id(found: Dirty) -> None:
    first: dict[str, Message] = {}
    for delivery, label in zip(found.deliveries, found.labels, strict=True):
        name = str(delivery.message["messageId"])
        assert (name in first) == (label in AGAIN)
        assert first.setdefault(name, delivery.message) == delivery.message


def test_the_door_refuses_what_is_malformed_and_nothing_else(found: Dirty) -> None:
    intake = Intake(bytes(32), IntakeSettings(), Vocabulary())
    for delivery, label in zip(found.deliveries, found.labels, strict=True):
        if label in BOTS and delivery.at % 50:
            continue
        body = json.dumps({"batch": [delivery.message]}).encode()
        (outcome,) = intake.batch(body, Origin("w", Millis(delivery.at)))
        assert isinstance(outcome, Rejected if label == "malformed" else Accepted), delivery.message


def test_a_wrong_clock_is_put_right_to_minutes_where_the_event_is_sent_at_once(found: Dirty) -> None:
    intake = Intake(bytes(32), IntakeSettings(), Vocabulary())
    happened = {str(message["messageId"]): at for at, message in clean()}
    skewed = [found.deliveries[place] for place in found.numbers("skewed")]
    assert len(skewed) > 10
    for delivery in skewed:
        body = json.dumps({"batch": [delivery.message]}).encode()
        (outcome,) = intake.batch(body, Origin("w", Millis(delivery.at)))
        assert isinstance(outcome, Accepted)
        assert abs(outcome.draft.event_time - happened[str(delivery.message["messageId"])]) <= 5 * 60_000


def test_pumpers_agree_on_one_item(found: Dirty) -> None:
    texts = [json.dumps(found.deliveries[place].message["properties"]) for place in found.numbers("pumper")]
    assert all(found.pumped in text for text in texts)
    assert len({found.deliveries[place].message["anonymousId"] for place in found.numbers("pumper")}) == SPEC.pumpers


def test_the_same_seed_soils_alike() -> None:
    stream = clean()[:60]
    assert dirty(stream, SPEC, 1, WORLD.shelf) == dirty(stream, SPEC, 1, WORLD.shelf)
    assert dirty(stream, SPEC, 1, WORLD.shelf) != dirty(stream, SPEC, 2, WORLD.shelf)


def test_nothing_gives_nothing() -> None:
    assert dirty([], SPEC, 1, WORLD.shelf) == Dirty((), (), "")


def test_without_any_dirt_everything_is_clean() -> None:
    none = DirtSpec(0, 0, 0, skewed=0, missing_impressions=0, malformed=0, scrapers=0, clickers=0, pumpers=0)
    stream = clean()
    assert set(dirty(stream, none, 1, WORLD.shelf).labels) == {"clean"}
