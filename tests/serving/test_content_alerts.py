"""A new item for a strong interest is told over the stream, by webhook, and stands among the person's facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hearing import told_until_quiet
from pydantic import SecretStr
from receiving import receiver
from service import Service, bought, until, viewed

from serving.settings import ContentAlertSettings, Settings, WebhookSettings

TEA = {"category": "Drinks > Tea", "price": 3.0}


def test_a_new_item_reaches_who_has_a_strong_interest_by_stream_and_webhook(tmp_path: Path) -> None:
    with receiver() as other:
        hook = WebhookSettings(url=other.url, secret=SecretStr("x" * 16), events=("content_alert",), segments=("fans",))
        with Service(tmp_path / "data", Settings(segments_shipped=False, webhooks={"crm": hook})) as service:
            service.add_items({"item_id": "tea1", "title": "Tea one", **TEA})
            service.send(bought("ann", "tea1"), bought("bob", "tea1"), viewed("ann", "tea1"))
            assert until(lambda: "everfold_content_alerts_total 1" in service.get("/metrics").body.decode(), 30)
            assert until(lambda: len(other.taken) == 1, 30)
            told: Any = other.taken[0].told
            assert told["event"] == "content_alert"
            assert told["data"]["items"] == ["tea1"]
            assert (told["data"]["user_id"], told["data"]["interest"]) == ("ann", "category:Drinks > Tea")
            assert 5.9 < told["data"]["strength"] <= 6
            everything = "as_of=2020-01-01T00:00:00Z"
            (heard,) = told_until_quiet(service, everything + "&events=content_alert").events
            assert (heard["event"], heard["user_id"], heard["items"]) == ("content_alert", "ann", ["tea1"])
            assert told_until_quiet(service, everything).events == []
            events: Any = service.get("/v1/profiles/ann/events").json
            assert [one["type"] for one in events["events"]].count("content_alerted") == 1
            wrong = service.get("/v1/segments/stream?events=content_alrt")
            assert (wrong.status, "did you mean `content_alert`" in str(wrong.json["message"])) == (400, True)


def test_content_alerts_can_be_turned_off(tmp_path: Path) -> None:
    off = Settings(segments_shipped=False, content_alerts=ContentAlertSettings(enabled=False))
    with Service(tmp_path / "data", off) as service:
        assert "everfold_content_alerts_total" not in service.get("/metrics").body.decode()
