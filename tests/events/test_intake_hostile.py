"""Whatever arrives is accepted, put aside with a reason, or refused as a body: never another exception."""

from __future__ import annotations

import json
from typing import get_args

from bodies import CATALOGUE, NOW, ORIGIN, SECRET, intake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.catalogue_intake import CatalogueIntake
from events.errors import BadRequest
from events.import_intake import ImportIntake
from events.intake import Accepted, IntakeSettings, Outcome, Rejected
from events.payload import decode
from events.reasons import Reason
from events.vocabulary import SEGMENT, Vocabulary

NASTY = [
    None,
    True,
    False,
    0,
    -1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    float("nan"),
    float("inf"),
    1e308,
    5e-324,
    "",
    "\x00",
    "\ud800",
    "\u202e",
    "i" * 10_000,
    "2024-05-01T00:00:00Z",
    "nan",
    "-1e999",
    [],
    {},
    [[]],
    [{}],
    {"": {}},
    {"\ud800": 1},
    [None],
    ["p1"],
    [{"product_id": "p1", "price": 10**400}],
    [{"product_id": None}],
    {"categoryPreferences": {"a": True}},
    {"allowedConsentIds": [None]},
    {"traits": []},
    {"consent": 1},
]
FIELDS = [
    "type",
    "event",
    "name",
    "category",
    "userId",
    "anonymousId",
    "previousId",
    "groupId",
    "messageId",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "properties",
    "traits",
    "context",
    "integrations",
    "item_id",
    "title",
    "price",
    "stock",
    "attributes",
    "hidden",
    "shift_ms",
    "events",
    "source",
]
PROPERTIES = [
    "product_id",
    "products",
    "category",
    "brand",
    "price",
    "quantity",
    "attributes",
    "rating",
    "rating_scale",
    "position",
    "total_length",
    "revenue",
    "order_id",
    "list_id",
    "query",
    "dwell_ms",
    "scroll",
    "name",
    "asset_id",
    "experiment_id",
    "variation_id",
]
TYPES = ["track", "identify", "page", "screen", "group", "alias", "item", "import_started", "import_completed", "dance"]

leaves = st.sampled_from(NASTY) | st.text(max_size=8) | st.integers() | st.floats()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
properties = st.dictionaries(st.sampled_from(PROPERTIES), values, max_size=6)
events = st.dictionaries(st.sampled_from(FIELDS), values, max_size=6)
plausible = st.builds(
    lambda kind, name, ids, props, rest: rest | {"type": kind, "event": name, "properties": props} | ids,
    st.sampled_from(TYPES),
    st.sampled_from(sorted(SEGMENT)) | values,
    st.sampled_from([{"userId": "u"}, {"anonymousId": 7}, {"userId": "u", "item_id": "x"}]),
    properties | values,
    st.just({}) | events,
)
batches = st.lists(plausible | events | values, max_size=4)
effort = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])

IMPORTS = ImportIntake(SECRET, IntakeSettings(), Vocabulary(), CATALOGUE.get)
ITEMS = CatalogueIntake(SECRET)


def check(outcomes: list[Outcome], sent: int) -> None:
    """Every event has an outcome; what was accepted can be read back, what was not has a reason of the list."""
    assert len(outcomes) == sent
    for one in outcomes:
        match one:
            case Accepted(draft):
                decode(draft.type, draft.version, draft.payload)
                assert len(draft.event_id) == 16
                assert 0 <= draft.event_time <= NOW
            case Rejected(reason, detail, raw):
                assert reason in get_args(Reason)
                assert detail
                assert raw


@effort
@given(
    batches, st.dictionaries(st.sampled_from(["context", "integrations", "sentAt", "type", "gpc"]), values, max_size=2)
)
def test_any_batch(batch: list[object], shared: dict[str, object]) -> None:
    text = json.dumps({"batch": batch, **shared}).encode()
    try:
        check(intake().batch(text, ORIGIN), len(batch))
    except BadRequest:
        assert shared, "only what the batch shares can make it fail as a whole"


@effort
@given(st.sampled_from(TYPES), plausible | events | values)
def test_any_single_call(kind: str, event: object) -> None:
    try:
        check([intake().single(kind, json.dumps(event).encode(), ORIGIN)], 1)
    except BadRequest:
        pass


@effort
@given(batches, values, values)
def test_any_import(batch: list[object], producer: object, first_seq: object) -> None:
    good = json.dumps({"producer": "p", "first_seq": 1, "batch": batch}).encode()
    odd = json.dumps({"producer": producer, "first_seq": first_seq, "batch": batch}).encode()
    for text in (good, odd):
        try:
            check(IMPORTS.batch(text, NOW), len(batch))
        except BadRequest:
            pass


@effort
@given(batches)
def test_any_catalogue(items: list[object]) -> None:
    try:
        check(ITEMS.batch(json.dumps({"items": items}).encode(), "r", NOW), len(items))
    except BadRequest:
        pass


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text(alphabet='{}[]",:\\ abtchnul1.e-').map(str.encode),
    st.sampled_from(["", "gzip", "br"]),
)
def test_any_bytes(text: bytes, encoding: str) -> None:
    for read in (
        lambda: intake().batch(text, ORIGIN, encoding),
        lambda: intake().batch(b'{"batch":[' + text + b"]}", ORIGIN),
        lambda: intake().single("track", text, ORIGIN, encoding),
        lambda: IMPORTS.batch(text, NOW, encoding),
        lambda: ITEMS.batch(text, "r", NOW, encoding),
    ):
        try:
            read()
        except BadRequest:
            pass
