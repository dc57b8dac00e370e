"""What a client sends: everything is understood, and nothing of it is truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace

import msgspec

from events.catalogue_intake import CatalogueIntake
from events.ids import Millis
from events.intake import Accepted, Intake, IntakeSettings, Origin
from events.vocabulary import Vocabulary
from simulate.payloads import acts, batch, entries, impression, opening, organic
from simulate.shelf import Shelf
from simulate.shopper import Mood, People
from simulate.truth import Truth
from simulate.world import World
from simulate.world_spec import DAY_MS, SPECS, START_MS, WorldSpec

SECRET = bytes(32)
CLIENT_KEYS = {
    "type", "messageId", "anonymousId", "userId", "timestamp", "context", "event", "properties", "name", "traits",
    "plan", "library", "version", "userAgent", "path", "list_id", "products", "product_id", "position", "order_id",
    "quantity",
}  # fmt: skip
TRUTH_NAMES = {field.name for kind in (WorldSpec, Shelf, People, Mood) for field in fields(kind)}
TRUTH_NAMES |= {name for name in vars(Truth) if not name.startswith("_")}
TRUTH_NAMES |= {"utility", "truth", "intent", "taste", "person", "key"}


def messages(days: float = 2.0) -> list[dict[str, object]]:
    of, sent = World(replace(SPECS["tiny"], base=-1.0), 4), []
    for visit in of.visits(START_MS, START_MS + round(days * DAY_MS)):
        outcome = of.answer(visit, of.shelf.ids[:10])
        sent += [*opening(visit), impression(visit, outcome, f"list-{visit.at}")]
        sent += [message for _, message in acts(visit, outcome, f"list-{visit.at}")]
        sent += [message for _, message in organic(visit, of.organic(visit))]
    return sent


def leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """(name, value) of everything inside, names of objects included."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield key, None
            yield from leaves(inside, key)
    elif isinstance(value, list):
        for inside in value:
            yield from leaves(inside, name)
    else:
        yield name, value


def test_no_message_holds_a_truth_field() -> None:
    sent = messages()
    assert {message["type"] for message in sent} == {"identify", "page", "track"}
    for message in sent:
        for name, value in leaves(message):
            assert name in CLIENT_KEYS, f"{name} is no field of a client"
            assert name not in TRUTH_NAMES
            assert not isinstance(value, float), f"{name}={value}: what people feel is a float, what they do is not"


def test_no_catalogue_entry_holds_a_truth_field() -> None:
    of = World(SPECS["tiny"], 4)
    for entry in entries(of.shelf, START_MS):
        assert set(entry) == {"item_id", "title", "category", "brand", "price"}


def test_every_message_is_a_fact_that_means_something() -> None:
    intake = Intake(SECRET, IntakeSettings(), Vocabulary())
    sent = messages()
    outcomes = intake.batch(
        json.dumps(batch(sent, START_MS + 5 * DAY_MS)).encode(), Origin("w", Millis(START_MS + 5 * DAY_MS))
    )
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    kinds = {outcome.draft.type for outcome in outcomes if isinstance(outcome, Accepted)}
    assert kinds == {"identified", "visited", "impression", "interaction"}
    assert len({outcome.draft.event_id for outcome in outcomes if isinstance(outcome, Accepted)}) == len(sent)


def test_the_catalogue_is_taken_as_it_is() -> None:
    of = World(SPECS["tiny"], 4)
    body = msgspec.json.encode({"items": entries(of.shelf, START_MS)})
    outcomes = CatalogueIntake(SECRET).batch(body, "r", Millis(START_MS))
    assert len(outcomes) > 100
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)


def test_no_act_is_earlier_than_its_impression() -> None:
    of = World(replace(SPECS["tiny"], base=0.0), 4)
    for visit in of.visits(START_MS, START_MS + DAY_MS):
        outcome = of.answer(visit, of.shelf.ids[:10])
        assert [act.delay for act in outcome.acts] == sorted(act.delay for act in outcome.acts)
        for act in outcome.acts:
            assert 1 <= act.slot <= outcome.seen
            assert outcome.slate[act.slot - 1] == act.item
