"""The service retrains by itself once it has a history, and goes on answering while the first model takes over."""

from __future__ import annotations

from pathlib import Path

import pytest
from grown_shop import ITEMS, START, TYPES, orders
from running import Running, until

pytestmark = pytest.mark.ray

RETRAIN_S = 240.0
SETTINGS = "[retrain]\nshadow_hours = 0\nwindow_days = 14\n[retrain.gate]\nmargin = 0.2\nresamples = 200\n"


def history() -> list[dict[str, object]]:
    about = {"source": "Grown", "source_hash": "grown-1", "timestamp": START}
    items = [
        {"type": "item", "item_id": f"i{n}", "title": f"Item {n}", "category": f"C{n % TYPES}"} for n in range(ITEMS)
    ]
    return [
        {"type": "import_started", **about},
        *items,
        *orders(households=60, weeks=10, seed=1),
        {"type": "import_completed", **about, "events": 640},
    ]


def test_after_an_import_a_first_model_is_fitted_judged_and_serves(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "everfold.toml").write_text(SETTINGS)
    versions: set[str] = set()
    with Running(tmp_path / "data") as service:
        batch = history()
        for first in range(0, len(batch), 100):
            body = {"producer": "grown", "first_seq": first + 1, "stamp": True, "batch": batch[first : first + 100]}
            answer = service.call("POST", "/v1/import", body)
            assert answer.status == 200, answer

        def swapped() -> bool:
            answer = service.call("GET", "/v1/recommend?user_id=h1&n=5")
            assert answer.status == 200, answer  # all the while
            versions.add(str(answer.json["model_version"]))
            return any(version.startswith("learned-") and "-none-" not in version for version in versions)

        until(swapped, RETRAIN_S, "a model serves")
        told = service.call("GET", "/v1/models").json
        assert any(str(told["champion"])[:8] in version for version in versions)
        promotions = told["promotions"]
        assert isinstance(promotions, list)
        assert [fact["by"] for fact in promotions] == ["first"]
    assert "serves." in (tmp_path / "data" / "run" / "retrain.log").read_text()
