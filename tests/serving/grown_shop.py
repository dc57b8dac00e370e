"""A data folder with a history in it: households that buy by types of basket, week after week."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from service import Service

DAY = 86_400_000
START = 1_760_000_000_000
TYPES = 4
ITEMS = 40
"""Ten per type, the first of each type bought most."""


def grow(service: Service, households: int = 60, weeks: int = 10, seed: int = 1) -> None:
    """Import the history; the item follower has read it on return."""
    batch = [
        {"type": "item", "item_id": f"i{n}", "title": f"Item {n}", "category": f"C{n % TYPES}"} for n in range(ITEMS)
    ]
    batch += list(orders(households, weeks, seed))
    for first in range(0, len(batch), 200):
        body = {"producer": "grown", "first_seq": first + 1, "stamp": True, "batch": batch[first : first + 200]}
        answer = service.call("POST", "/v1/import", body)
        assert answer.status == 200, answer
        assert answer.json["rejected"] == 0, answer
    service.settle()


def orders(households: int, weeks: int, seed: int) -> Iterator[dict[str, object]]:
    """One a week and household, in order of time: three items of the household's type, one of any."""
    rng = np.random.default_rng(seed)
    for week in range(weeks):
        for household in range(households):
            own = household % TYPES + TYPES * np.minimum(rng.geometric(0.3, 3) - 1, ITEMS // TYPES - 1)
            items = sorted({*own.tolist(), int(rng.integers(ITEMS))})
            at = START + week * 7 * DAY + household * 60_000
            yield {
                "type": "track",
                "userId": f"h{household}",
                "event": "Order Completed",
                "timestamp": at,
                "properties": {
                    "products": [{"product_id": f"i{item}", "category": f"C{item % TYPES}"} for item in items]
                },
            }


def grown(data: Path, households: int = 60, weeks: int = 10) -> Path:
    """A stopped folder."""
    with Service(data) as service:
        grow(service, households, weeks)
    return data


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
