"""A grocer's year in small, with the tables of The Complete Journey: households with habits, fuel, coupons, lines of
products nobody described."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PRODUCTS = 60
FUEL, COUPON, BARE = 900, 901, 902
FIRST_MS = int(np.datetime64("2017-01-02T00:00:00", "ms").astype(np.int64))
DAY_MS = 86_400_000

Columns = dict[str, list[int] | list[str] | list[str | None] | list[float]]


def transactions(households: int = 12, seed: int = 0) -> dict[str, list[int]]:
    """Every household comes once a week and takes its five staples most of the time, and something else."""
    random = np.random.default_rng(seed)
    staples = {house: random.choice(PRODUCTS, 5, replace=False) for house in range(households)}
    rows: dict[str, list[int]] = {
        name: [] for name in ("household_id", "basket_id", "store_id", "product_id", "week", "at")
    }
    for week in range(1, 54):
        for house in range(households):
            at = FIRST_MS + ((week - 1) * 7 + int(random.integers(7))) * DAY_MS + int(random.integers(DAY_MS))
            items = [int(item) for item in staples[house] if random.random() < 0.7]
            items += random.integers(PRODUCTS, size=2).tolist()
            items += [FUEL] if random.random() < 0.2 else []
            items += [COUPON] if random.random() < 0.1 else []
            items += [BARE] if random.random() < 0.05 else []
            for item in items:
                values = (house + 1, 1000 * week + house, 300 + house % 3, item + 1, week, at)
                for name, value in zip(rows, values, strict=True):
                    rows[name].append(value)
    return rows


def write_journey(folder: Path, rows: dict[str, list[int]] | None = None) -> Path:
    """The three files; ``rows`` default to `transactions`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, object] = dict(transactions() if rows is None else rows)
    at = np.array(lines.pop("at"), np.int64).astype("datetime64[ms]")
    lines["transaction_timestamp"] = at.astype("datetime64[ns]")
    count = len(at)
    table(folder, "transactions", lines | {"quantity": [1] * count, "sales_value": [1.0] * count})
    numbers = [*range(1, PRODUCTS + 1), FUEL + 1, COUPON + 1]
    departments = ["GROCERY" if n % 2 else "PRODUCE" for n in range(PRODUCTS)] + ["FUEL", "COUPON"]
    kinds = [f"KIND {n % 12}" for n in range(PRODUCTS)] + ["GASOLINE", "COUPON"]
    products = {
        "product_id": numbers,
        "manufacturer_id": [1] * len(numbers),
        "department": departments,
        "brand": ["National"] * len(numbers),
        "product_category": [f"CATEGORY {kind}" for kind in kinds],
        "product_type": kinds,
        "package_size": [""] * len(numbers),
    }
    table(folder, "products", products)
    told = list(range(1, 9))
    ages = ["25-34" if house % 2 else "45-54" for house in told]
    traits = ("income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
    table(folder, "demographics", {"household_id": told, "age": ages} | {name: ["1"] * len(told) for name in traits})
    return folder


def table(folder: Path, name: str, columns: dict[str, object]) -> None:
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")
