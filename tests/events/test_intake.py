"""The door: batches, ids, times, consent and limits, as existing SDKs need them."""

from __future__ import annotations

import gzip
import json

import pytest
from bodies import (
    NOW,
    ORIGIN,
    accepted,
    body,
    fact,
    intake,
    meta,
    payload_of,
    reason,
    rejected,
    track,
)

from events.errors import BadRequest, TooLarge
from events.ids import Millis
from events.intake import Accepted, IntakeSettings, Origin
from events.types import Identified

HOUR = 3_600_000


def test_a_gzipped_batch_labelled_as_anything_is_read() -> None:
    outcomes = intake().batch(gzip.compress(body(track("A"), track("B"))), ORIGIN, "gzip")
    assert [accepted(one).type for one in outcomes] == ["tracked", "tracked"]


def test_a_malformed_event_costs_the_others_nothing() -> None:
    outcomes = intake().batch(body(track("A"), 7, {"type": "dance", "userId": "u"}, track("B")), ORIGIN)
    assert [isinstance(one, Accepted) for one in outcomes] == [True, False, False, True]


@pytest.mark.parametrize(
    "broken",
    [
        b'{"type":"track","event":"x","userId":"u","properties":{"n":NaN}}',
        b'{"type":"track","event":"x","userId":"u","properties":{"n":-Infinity}}',
        b'{"type":"track","event":"x","userId":"u","properties":{"n":1e999}}',
        b'{"type":"track","event":"x","userId":"u","properties":{"n":"\\ud800"}}',
        b'{"type":"track","event":"x","userId":"u","properties":{"n":"\xff"}}',
        b'{"type":"track","event":"x","userId":"u","properties":{"n":"\x00"}}',
        b'{"type":"track","event":"x","userId":"u","properties":{"n":' + b"9" * 5_000 + b"}}",
        b'{"type":"track","event":"x","userId":"u","properties":{"n":' + b"9" * 30 + b"}}",
        b'{"type":"track","event":"x","userId":"u","properties":{"n":01}}',
        b"[" * 3_000 + b"]" * 3_000,
        b'{"type":"track","event":"x","userId":"u","properties":' + b'{"a":' * 2_000 + b"1" + b"}" * 2_001,
    ],
)
def test_an_event_that_is_not_even_json_costs_the_others_nothing(broken: bytes) -> None:
    good = json.dumps(track("A")).encode()
    text = b'{"batch":[%s,%s,%s],"sentAt":"2024-05-01T10:00:00Z"}' % (good, broken, good)
    outcomes = intake().batch(text, ORIGIN)
    assert [isinstance(one, Accepted) for one in outcomes] == [True, False, True]
    assert payload_of(outcomes[2]).meta.sent_at == NOW


def test_a_rejected_event_can_be_sent_in_again_with_all_it_shared() -> None:
    shared = {"context": {"consent": {"categoryPreferences": {"Functional": False}}}, "sentAt": "2024-05-01T09:59:59Z"}
    origin = Origin("wk", NOW, gpc=True)
    first = rejected(intake().batch(body({"type": "track", "userId": "u"}, **shared), origin)[0])
    repaired = first.raw.replace(b'"userId"', b'"event": "x", "userId"')
    again = payload_of(intake().batch(repaired, Origin("wk", Millis(NOW + HOUR)))[0])
    assert again.meta.consent == {"personalization": False}
    assert again.meta.gpc
    assert again.meta.sent_at == NOW - 1_000


def test_a_rejected_single_call_keeps_its_kind_when_sent_in_again() -> None:
    first = rejected(intake().single("group", b'{"userId": "u"}', ORIGIN))
    again = intake().batch(first.raw.replace(b'"userId"', b'"groupId": "g", "userId"'), ORIGIN)[0]
    assert accepted(again).type == "grouped"


@pytest.mark.parametrize(
    "text", [b"", b"no", b"[]", b"5", b"{}x", b"{}", b'{"batch": 5}', b'{"batch": {}}', b"\xff\xfe", b'{"batch":']
)
def test_a_body_that_is_no_batch_is_a_bad_request(text: bytes) -> None:
    with pytest.raises(BadRequest):
        intake().batch(text, ORIGIN)


def test_an_empty_batch_is_no_error() -> None:
    assert intake().batch(body(), ORIGIN) == []


def test_batch_context_and_integrations_are_merged_under_the_events_own() -> None:
    event = track("A") | {"context": {"locale": "de", "library": {"name": "x"}}}
    found = meta(event, context={"locale": "en", "ip": "1.2.3.4"}, integrations={"All": False})
    assert found.context == {
        "locale": "de",
        "ip": "1.2.3.4",
        "library": {"name": "x"},
        "integrations": {"All": False},
    }


def test_a_shared_context_cannot_be_used_to_multiply_a_body() -> None:
    with pytest.raises(TooLarge, match="context"):
        intake().batch(body(*[{}] * 9_000, context={"x": "y" * 4_000}), ORIGIN)


def test_more_events_than_the_limit_are_refused_as_a_whole() -> None:
    with pytest.raises(TooLarge, match="10000"):
        intake().batch(body(*[0] * 10_001), ORIGIN)


def test_an_event_of_33_kilobytes_is_rejected_and_those_beside_it_are_not() -> None:
    outcomes = intake().batch(body(track("A", x="y" * 33 * 1024), track("B", x="y" * 31 * 1024)), ORIGIN)
    assert rejected(outcomes[0]).reason == "too_large"
    assert accepted(outcomes[1]).type == "tracked"
    with pytest.raises(TooLarge):
        intake().single("track", json.dumps(track("A", x="y" * 33 * 1024)).encode(), ORIGIN)


def test_a_body_of_five_megabytes_is_refused_and_four_thousand_kilobytes_are_read() -> None:
    with pytest.raises(TooLarge):
        intake().batch(body(*[track("A", x="y" * 30_000)] * 170), ORIGIN)
    assert len(intake().batch(body(*[track("A", x="y" * 30_000)] * 130), ORIGIN)) == 130


def test_the_user_is_the_profile_and_the_anonymous_id_is_kept() -> None:
    both = {"type": "identify", "userId": "u", "anonymousId": "a"}
    assert accepted(intake().batch(body(both), ORIGIN)[0]).key == "u:u"
    assert (meta(both).user_id, meta(both).anonymous_id) == ("u", "a")
    assert accepted(intake().batch(body(both | {"userId": None}), ORIGIN)[0]).key == "a:a"


@pytest.mark.parametrize(
    ("given", "key"), [(42, "u:42"), (42.0, "u:42"), ("42", "u:42"), (" 42 ", "u:42"), (4.5, "u:4.5")]
)
def test_ids_may_be_numbers(given: object, key: str) -> None:
    event = {"type": "identify", "userId": given, "anonymousId": None}
    assert accepted(intake().batch(body(event), ORIGIN)[0]).key == key


@pytest.mark.parametrize(
    "nobody",
    [
        "",
        " ",
        "null",
        "undefined",
        "NaN",
        "0",
        "00000000-0000-0000-0000-000000000000",
        "-1",
        "anonymous",
        "guest",
        "[object Object]",
    ],
)
def test_an_id_that_stands_for_nobody_makes_no_profile(nobody: str) -> None:
    event = {"type": "identify", "userId": nobody, "anonymousId": "a"}
    assert accepted(intake().batch(body(event), ORIGIN)[0]).key == "a:a"
    assert reason(event | {"anonymousId": nobody}) == "not_identifiable"


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        ({}, "not_identifiable"),
        ({"userId": "u" * 10_000}, "bad_id"),
        ({"userId": "u", "anonymousId": "a" * 10_000}, "bad_id"),
        ({"userId": "a\x00b"}, "bad_id"),
        ({"userId": True}, "bad_type"),
        ({"userId": []}, "bad_type"),
        ({"userId": {}}, "bad_type"),
        ({"userId": 10**60}, "bad_type"),
        ({"userId": "u", "messageId": "m" * 257}, "bad_id"),
        ({"userId": "u", "messageId": []}, "bad_type"),
    ],
)
def test_ids_that_cannot_be_ids_have_a_reason(ids: dict[str, object], why: str) -> None:
    assert reason({"type": "identify"} | ids) == why


def test_the_event_id_is_that_of_write_key_and_message_id() -> None:
    event = track("A") | {"messageId": "m" * 200}
    first, second = (accepted(one) for one in intake().batch(body(event, event), ORIGIN))
    other = accepted(intake().batch(body(event), Origin("another", NOW))[0])
    assert first.event_id == second.event_id != other.event_id


def test_without_message_id_a_retry_is_the_same_event_and_another_content_another() -> None:
    def sent(event: dict[str, object], at: int) -> bytes:
        stamped = event | {"sentAt": at}
        return accepted(intake().batch(body(stamped, sentAt=at), Origin("wk", Millis(NOW + at)))[0]).event_id

    assert sent(track("A", n=1), 1) == sent(track("A", n=1), 2)
    assert sent(track("A", n=1), 1) != sent(track("A", n=2), 1)
    single = [accepted(intake().single(kind, b'{"userId":"u","event":"e"}', ORIGIN)) for kind in ("track", "page")]
    assert single[0].event_id != single[1].event_id


def test_a_slow_clock_is_corrected_and_the_original_kept() -> None:
    event = track("A") | {"timestamp": "2024-05-01T08:59:50Z"}
    draft = accepted(intake().batch(body(event, sentAt="2024-05-01T09:00:00Z"), ORIGIN)[0])
    assert draft.event_time == NOW - 10_000
    found = meta(event, sentAt="2024-05-01T09:00:00Z")
    assert (found.original_at, found.sent_at, found.received_at) == (NOW - HOUR - 10_000, NOW - HOUR, NOW)


def test_the_devices_time_goes_before_the_timestamp_and_the_batchs_sent_at_before_the_events() -> None:
    event = track("A") | {
        "originalTimestamp": "2024-05-01T09:00:00Z",
        "timestamp": "2024-05-01T07:00:00Z",
        "sentAt": "2024-05-01T05:00:00Z",
    }
    draft = accepted(intake().batch(body(event, sentAt="2024-05-01T09:59:59Z"), ORIGIN)[0])
    assert draft.event_time == NOW - HOUR


def test_an_unreadable_sent_at_corrects_nothing_and_an_unreadable_time_is_quarantined() -> None:
    event = track("A") | {"timestamp": "2024-05-01T09:00:00Z"}
    assert accepted(intake().batch(body(event, sentAt="now"), ORIGIN)[0]).event_time == NOW - HOUR
    assert reason(event | {"timestamp": "now"}) == "bad_time"


def test_consent_of_the_batch_and_the_browsers_signal_reach_every_event() -> None:
    shared = {"consent": {"categoryPreferences": {"Advertising": False}}}
    settings = IntakeSettings(default_consent=False)
    outcomes = intake(settings).batch(body(track("A"), track("B"), context=shared), Origin("wk", NOW, gpc=True))
    for found in (payload_of(one).meta for one in outcomes):
        assert (found.consent, found.gpc, found.default_consent) == ({"advertising": False}, True, False)


def test_consent_that_cannot_be_read_puts_the_event_aside() -> None:
    assert reason(track("A") | {"context": {"consent": {"categoryPreferences": "all"}}}) == "bad_consent"


def test_crawlers_are_flagged_and_kept_and_servers_never_judged_by_their_agent() -> None:
    crawler = track("A") | {"context": {"userAgent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}}
    phone = track("A") | {"context": {"userAgent": "Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20)"}}
    server = track("A") | {"context": {"library": {"name": "analytics-python"}}}
    assert [meta(one).bot for one in (crawler, phone, server)] == [True, False, False]
    trusted = intake().batch(body(crawler), Origin("wk", NOW, trusted=True))[0]
    assert not payload_of(trusted).meta.bot


def test_a_test_event_says_so() -> None:
    assert meta(track("A") | {"context": {"test": True}}).test
    assert not meta(track("A") | {"context": {"test": "no"}}).test


def test_a_hundred_thousand_property_names_are_a_reason_and_names_are_not_remembered() -> None:
    settings = IntakeSettings(event_bytes_max=4 << 20)
    wide = track("A", **{f"n{i}": i for i in range(100_000)})
    assert rejected(intake(settings).batch(body(wide), ORIGIN)[0]).reason == "too_wide"
    many = body(*[track("A", **{f"n{i}_{j}": 1 for j in range(100)}) for i in range(1_000)])
    assert all(isinstance(one, Accepted) for one in intake().batch(many, ORIGIN))


@pytest.mark.parametrize("where", ["properties", "traits", "context", "integrations"])
def test_deep_nesting_is_a_reason_wherever_it_is(where: str) -> None:
    deep: object = 1
    for _ in range(40):
        deep = [{"a": deep}]
    kind = "identify" if where == "traits" else "track"
    assert reason({"type": kind, "event": "x", "userId": "u", where: {"deep": deep}}) == "too_deep"
    shallow = {"deep": [[[[1]]]], "wide": [{"a": 1}] * 30}
    assert fact({"type": "identify", "userId": "u", "traits": shallow}) == Identified(shallow)


def test_a_shared_context_too_deep_is_a_bad_request() -> None:
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    with pytest.raises(BadRequest, match="deeper"):
        intake().batch(body(track("A"), context={"deep": deep}), ORIGIN)


def test_a_single_call_takes_its_kind_from_the_path() -> None:
    outcome = intake().single(
        "page", json.dumps({"anonymousId": "a", "name": "Home", "writeKey": "wk"}).encode(), ORIGIN
    )
    assert accepted(outcome).type == "visited"
    for text in (b"", b"[]", b"no", b"\xff"):
        with pytest.raises(BadRequest):
            intake().single("page", text, ORIGIN)
