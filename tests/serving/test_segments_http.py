"""Segments over HTTP: saying what they are, being refused, and looking at what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service import Answered, Service

from serving.settings import SegmentEntry, Settings


def define(service: Service, name: str, rule: str, **more: object) -> Answered:
    return service.call("POST", "/v1/segments", {"name": name, "rule": rule, **more})


def put(service: Service, name: str, rule: str, **more: object) -> Answered:
    return service.call("PUT", f"/v1/segments/{name}", {"rule": rule, **more})


def names(service: Service, query: str = "") -> list[str]:
    listed: Any = service.get("/v1/segments" + query).json
    return [one["name"] for one in listed["segments"]]


def test_a_segment_is_defined_changed_and_dropped_and_every_version_is_kept(fresh: Service) -> None:
    made = define(fresh, "fans", "count(view, 7 days) >= 3", description="lookers", by="ann")
    assert (made.status, made.json["version"], made.json["by"]) == (200, 1, "ann")
    changed = put(fresh, "fans", "count(view, 7 days) >= 4", stay="count(view, 7 days) >= 2", by="bob")
    assert (changed.json["version"], changed.json["stay"]) == (2, "count(view, 7 days) >= 2")
    shown: Any = fresh.get("/v1/segments/fans").json
    assert [(one["version"], one["by"]) for one in shown["versions"]] == [(2, "bob"), (1, "ann")]
    before = shown["versions"][0]["at"]
    assert fresh.call("DELETE", "/v1/segments/fans", {"by": "cy"}).json == {"applied": True, "segments": 0}
    assert fresh.get("/v1/segments/fans").status == 404
    assert names(fresh) == []
    assert names(fresh, f"?as_of={before}") == ["fans"]
    then: Any = fresh.get(f"/v1/segments/fans?as_of={before}").json
    assert then["version"] == 2
    again = define(fresh, "fans", "did(view)")
    assert again.json["version"] == 3


def test_a_write_can_be_read_back_by_its_token(fresh: Service) -> None:
    token = define(fresh, "fans", "did(view)").token
    assert names(fresh, f"?after={token}") == ["fans"]


def test_defining_what_stands_already_is_no_new_fact(fresh: Service) -> None:
    assert put(fresh, "fans", "did(view)").json["applied"] is True
    again = put(fresh, "fans", "did(view)", by="somebody else")
    assert (again.json["applied"], again.json["version"]) == (False, 1)
    assert "x-everfold-token" not in again.headers


def test_segments_are_listed_in_the_order_they_are_evaluated_in(fresh: Service) -> None:
    define(fresh, "z", "did(view)")
    define(fresh, "a", 'segment("z")')
    define(fresh, "b", "did(view)")
    assert names(fresh) == ["b", "z", "a"]


def test_what_makes_no_sense_is_refused_with_where_and_what_is_near(service: Service) -> None:
    define(service, "known", "did(view)")
    for rule, said in (
        ("did(view) and engagment > 0.5", "position 14: 'engagment' is unknown, did you mean 'engagement'?"),
        ("count(view, 7 days)", "position 0: a rule says yes or no"),
        ("count(view, 7 days) >= 'x'", "position 20: a number cannot be compared with a text"),
        ('segment("knwon")', "did you mean 'known'"),
        ("did(view) or " * 1_000, "at most 4096 characters"),
        ("(" * 30 + "did(view)" + ")" * 30, "at most 24 deep"),
        (" or ".join(["did(view)"] * 200), "256"),
        ("", "has no rule"),
    ):
        answer = define(service, "wrong", rule)
        assert (answer.status, said in str(answer.json["message"])) == (400, True), answer
        assert answer.json["code"] in ("bad_rule", "bad_segment")
    assert "wrong" not in names(service)


def test_a_definition_of_a_megabyte_is_refused_and_nothing_else_disturbed(service: Service) -> None:
    define(service, "steady", "did(view)")
    answer = define(service, "large", "did(view) or " * 80_000 + "did(view)")
    assert (answer.status, answer.json["code"]) == (413, "too_large")
    described = define(service, "large", "did(view)", description="x" * 100_000)
    assert described.status == 400
    assert "steady" in names(service)
    assert "large" not in names(service)


def test_a_segment_may_not_decide_about_itself_even_in_a_circle(service: Service) -> None:
    assert define(service, "own", 'segment("own")').status == 400
    define(service, "one", "did(view)")
    define(service, "two", 'segment("one")')
    closed = put(service, "one", 'segment("two")')
    assert (closed.status, "circle" in str(closed.json["message"])) == (400, True)
    asked = service.call("DELETE", "/v1/segments/one", {})
    assert (asked.status, "two" in str(asked.json["message"])) == (400, True)


def test_names_that_are_taken_reserved_or_none_are_refused(service: Service) -> None:
    define(service, "taken", "did(view)")
    assert define(service, "taken", "did(click)").status == 409
    for name in ("preview", "stream", "Big Spenders", "", "x" * 65, "../x"):
        assert define(service, name, "did(view)").status == 400, name
    renamed = service.call("PUT", "/v1/segments/taken", {"name": "other", "rule": "did(view)"})
    assert renamed.status == 400
    assert service.call("DELETE", "/v1/segments/unheard-of", {}).status == 404
    assert service.get("/v1/segments/unheard-of").status == 404


def test_bodies_that_are_none_are_refused(service: Service) -> None:
    for body in (b"{", b"[]", b'"x"', {"rule": 3}, {"rul": "did(view)"}, {"by": "x" * 200}, {"by": "settings"}):
        assert service.call("PUT", "/v1/segments/x", body).status == 400, body


def test_a_page_session_may_look_but_not_define(tmp_path: Path) -> None:
    with Service(tmp_path / "data", demo=True) as service:
        cookies = {"Cookie": "; ".join(service.cookies("/"))}
        assert service.get("/v1/segments", cookies).status == 200
        body = {"name": "fans", "rule": "did(view)"}
        assert service.call("POST", "/v1/segments", body, cookies).status == 401
        assert service.call("PUT", "/v1/segments/fans", body, cookies).status == 401
        assert service.call("DELETE", "/v1/segments/fans", {}, cookies).status == 401
        assert service.get("/v1/segments", {}).status == 401
        assert names(service) == []


def test_the_settings_file_defines_segments_changes_and_drops_them(tmp_path: Path) -> None:
    def entry(name: str, rule: str) -> SegmentEntry:
        return SegmentEntry(name=name, rule=rule)

    one = Settings(segments=(entry("a", 'segment("b")'), entry("b", "did(view)")))
    with Service(tmp_path / "data", one) as service:
        assert names(service) == ["b", "a"]
        define(service, "own", 'segment("a")')
        refused = put(service, "a", "did(click)")
        assert (refused.status, "everfold.toml" in str(refused.json["message"])) == (409, True)
        assert service.call("DELETE", "/v1/segments/b", {}).status in (400, 409)
    with Service(tmp_path / "data", one) as service:
        shown: Any = service.get("/v1/segments/a").json
        assert [said["version"] for said in shown["versions"]] == [1]
    turned = Settings(segments=(entry("b", 'segment("a")'), entry("a", "did(click)")))
    with Service(tmp_path / "data", turned) as service:
        assert names(service) == ["a", "b", "own"]
        assert service.get("/v1/segments/b").json["version"] == 2
    with Service(tmp_path / "data", Settings(segments=(SegmentEntry(name="b", enabled=False),))) as service:
        assert names(service) == ["own"]
