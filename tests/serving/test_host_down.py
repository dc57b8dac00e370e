"""While the partition host is away: reads go on and say how old they are, writes wait for it."""

from __future__ import annotations

from pathlib import Path

from service import Service, until, viewed


def test_reads_go_on_and_writes_are_told_to_come_back(tmp_path: Path) -> None:
    with Service(tmp_path / "data") as service:
        service.add_items({"item_id": "milk", "title": "Milk"}, {"item_id": "bread", "title": "Bread"})
        service.send(viewed("h-1", "milk"))
        service.run(service.embedded.host.close())

        refused = service.call("POST", "/v1/batch", {"batch": [viewed("h-1", "bread")]}, service.sdk)
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert set(refused.json) == {"code", "message"}
        assert service.call("POST", "/v1/items", {"items": [{"item_id": "milk", "price": 3}]}).status == 503

        assert until(lambda: service.get("/v1/profiles/h-1").json["state_age_ms"] != 0)
        profile = service.get("/v1/profiles/h-1").json
        assert profile["version"] == 1
        answer = service.get("/v1/recommend?user_id=h-1").json
        assert answer["profile_version"] == 1
        assert isinstance(answer["state_age_ms"], int)
        assert len(service.get("/v1/profiles/h-1/events").json["events"]) == 1  # type: ignore[arg-type]

        ready = service.get("/readyz", {})
        assert ready.status == 503
        assert ready.json["ready"] is False
        assert ready.json["log"] != "ready"
        assert ready.json["state"] == "ready"
        assert "everfold_host_up 0" in service.get("/metrics").body.decode()
        assert service.get("/healthz", {}).status == 200
