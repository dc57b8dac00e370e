"""Models over HTTP: what serves, who may change it, and what never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artefacts import made
from service import Answered, Service, until

from serving.embedded import Embedded
from serving.settings import LearningSettings, Settings


def promote(service: Service, model: str, **wish: object) -> Answered:
    return service.call("POST", f"/v1/models/{model}/promote", wish)


def serving(service: Service) -> str:
    champion = service.get("/v1/models").json["champion"]
    assert isinstance(champion, str)
    return champion


def states(service: Service) -> dict[str, str]:
    models: Any = service.get("/v1/models").json["models"]
    return {model["model"]: model["state"] for model in models}


def test_a_new_store_has_no_model(fresh: Service) -> None:
    assert fresh.get("/v1/models").json == {
        "champion": "",
        "predecessor": "",
        "models": [],
        "promotions": [],
        "drift": [],
    }
    assert fresh.call("POST", "/v1/models/rollback").status == 409


def test_promotion_and_rollback_are_facts_with_their_reasons(fresh: Service) -> None:
    one, two = made(fresh.data, 1), made(fresh.data, 2, "shadow")
    assert promote(fresh, one).json == {"applied": True, "champion": one, "predecessor": ""}
    assert promote(fresh, two, by="ann", reasons=["looks good"]).json["champion"] == two
    assert states(fresh) == {one: "predecessor", two: "champion"}
    back = fresh.call("POST", "/v1/models/rollback", {"by": "bob", "reasons": ["it does not"]})
    assert back.json == {"applied": True, "champion": one, "predecessor": ""}
    told: Any = fresh.get("/v1/models").json["promotions"]
    assert [(fact["model"], fact["previous"], fact["by"], fact["reasons"], fact["rollback"]) for fact in told] == [
        (one, two, "bob", ["it does not"], True),
        (two, one, "ann", ["looks good"], False),
        (one, "", "hand", ["because promote"], False),
    ]


def test_a_service_started_again_serves_what_was_promoted(tmp_path: Path) -> None:
    with Service(tmp_path / "data") as service:
        model = made(service.data, 1)
        promote(service, model)
    with Service(tmp_path / "data") as service:
        assert serving(service) == model


def test_without_learning_models_serve_and_are_rolled_back(tmp_path: Path) -> None:
    with Service(tmp_path / "data", Settings(learning=LearningSettings(enabled=False))) as service:
        service.add_items({"item_id": "tea", "title": "Tea"}, {"item_id": "milk", "title": "Milk"})
        service.settle()

        def version() -> str:
            return str(service.get("/v1/recommend?user_id=ann&n=2").json["model_version"])

        assert version().startswith("fixed-")
        model = made(service.data, 1)
        promote(service, model)
        assert until(lambda: model[:8] in version()), version()
        service.call("POST", "/v1/models/rollback")
        assert until(lambda: model[:8] not in version()), version()


def test_promoting_what_serves_changes_nothing(fresh: Service) -> None:
    model = made(fresh.data, 1)
    promote(fresh, model)
    assert promote(fresh, model).json == {"applied": False, "champion": model, "predecessor": ""}
    told: Any = fresh.get("/v1/models").json["promotions"]
    assert len(told) == 1


def test_rejected_unjudged_damaged_and_unknown_models_never_serve(fresh: Service) -> None:
    rejected, unjudged, damaged = made(fresh.data, 1, "reject"), made(fresh.data, 2, None), made(fresh.data, 3)
    path = fresh.data / "models" / damaged / "ease.weight.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    for model, status, why in (
        (rejected, 409, "because reject"),
        (unjudged, 409, "never judged"),
        (damaged, 409, "ease.weight.npy"),
        ("f" * 32, 404, "no model"),
        ("..%2F..%2Fkeys.toml", 404, "no model"),
    ):
        answer = promote(fresh, model)
        assert (answer.status, why in str(answer.json["message"])) == (status, True), answer
    assert serving(fresh) == ""
    assert fresh.get("/v1/models").json["promotions"] == []


def test_a_damaged_verdict_is_listed_as_unreadable_and_stops_nobody(fresh: Service) -> None:
    damaged, good = made(fresh.data, 1), made(fresh.data, 2)
    (fresh.data / "models" / "verdicts" / damaged).write_bytes(b"{")
    assert states(fresh) == {damaged: "unreadable", good: "accepted"}
    assert fresh.get(f"/v1/models/{damaged}").json["state"] == "unreadable"
    refused = promote(fresh, damaged)
    assert (refused.status, "not a verdict" in str(refused.json["message"])) == (409, True), refused
    assert promote(fresh, good).json["champion"] == good


def test_what_is_wrong_with_a_model_is_said_without_paths_of_the_server(fresh: Service) -> None:
    damaged, torn = made(fresh.data, 1), made(fresh.data, 2)
    (fresh.data / "models" / damaged / "manifest.json").write_bytes(b"{}")
    (fresh.data / "models" / "verdicts" / torn).write_bytes(b"{")
    asked = [
        fresh.get(f"/v1/models/{'e' * 32}"),
        fresh.get(f"/v1/models/{damaged}"),
        promote(fresh, "e" * 32),
        promote(fresh, damaged),
        promote(fresh, torn),
    ]
    assert [answer.status for answer in asked] == [404, 409, 404, 409, 409]
    for answer in asked:
        assert str(fresh.data) not in str(answer.json["message"]), answer


def test_a_rollback_to_a_damaged_predecessor_is_refused(fresh: Service) -> None:
    one, two = made(fresh.data, 1), made(fresh.data, 2)
    promote(fresh, one)
    promote(fresh, two)
    (fresh.data / "models" / one / "items.msgpack").write_bytes(b"")
    assert fresh.call("POST", "/v1/models/rollback").status == 409
    assert serving(fresh) == two


def test_a_promotion_that_the_log_did_not_take_leaves_the_old_model(fresh: Service) -> None:
    """The host goes away between the checks and the append."""
    one, two = made(fresh.data, 1), made(fresh.data, 2)
    promote(fresh, one)
    embedded: Embedded = fresh.embedded
    fresh.run(embedded.host.close())
    assert promote(fresh, two).status in (500, 503)
    assert serving(fresh) == one


def test_a_page_session_may_look_but_not_promote(tmp_path: Path) -> None:
    with Service(tmp_path / "data", demo=True) as service:
        model = made(service.data, 1)
        cookies = {"Cookie": "; ".join(service.cookies("/"))}
        assert service.get("/v1/models", cookies).status == 200
        assert service.call("POST", f"/v1/models/{model}/promote", {}, cookies).status == 401
        assert service.call("POST", "/v1/models/rollback", {}, cookies).status == 401
        assert serving(service) == ""


def test_bodies_that_are_none_are_refused(fresh: Service) -> None:
    model = made(fresh.data, 1)
    for body in (b"{", b"[]", {"by": 3}, {"buy": "x"}, {"by": "x" * 200}):
        answer = fresh.call("POST", f"/v1/models/{model}/promote", body)
        assert answer.status == 400, body
    assert serving(fresh) == ""


def test_a_model_is_shown_with_what_it_was_made_from(fresh: Service) -> None:
    model = made(fresh.data, 7)
    shown: Any = fresh.get(f"/v1/models/{model}").json
    assert shown["state"] == "accepted"
    assert shown["manifest"]["provenance"]["offsets"] == {"p0": 7}
    assert shown["judged"]["verdict"]["reasons"] == ["because promote"]
    assert fresh.get(f"/v1/models/{'e' * 32}").status == 404
