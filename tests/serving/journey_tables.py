"""A few rows in the shape of The Complete Journey's tables, written as its files are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet

CHIPS, DIP, FUEL, COUPON, BARE, UNSOLD, STRAY = 30, 4, 5, 6, 7, 8, 9
UNKNOWN = 99
"""A product the product table does not describe."""

time = datetime.fromisoformat

PRODUCTS = [
    (CHIPS, 69, "GROCERY", "Private", "BAG SNACKS", "TORTILLA/NACHO CHIPS", "16 OZ"),
    (DIP, 2, "GROCERY", "National", "CHEESE", "PREMIUM", None),
    (FUEL, 2, "FUEL", "National", "COUPON/MISC ITEMS", "GASOLINE-REG UNLEADED", None),
    (COUPON, 2, "DRUG GM", "National", "COUPON/MISC ITEMS", "TICKETS", None),
    (BARE, 2, "MISCELLANEOUS", "National", None, None, None),
    (STRAY, 2, "MISCELLANEOUS", "National", "SEAFOOD", "TUNA", None),
    (UNSOLD, 2, "PRODUCE", "National", "TROPICAL FRUIT", "BANANAS", "1 LB"),
]
LINES = [  # household, store, basket, product, quantity, sales, time
    (2, 10, 502, CHIPS, 1, 2.0, time("2017-03-02T18:30:00")),
    (1, 10, 501, CHIPS, 2, 6.0, time("2017-03-01T09:15:00")),
    (1, 10, 501, DIP, 1, 4.5, time("2017-03-01T09:15:00")),
    (1, 11, 503, FUEL, 8_963, 20.0, time("2017-12-31T23:59:59")),
    (1, 11, 503, UNKNOWN, 1, 1.0, time("2017-12-31T23:59:59")),
    (2, 10, 502, COUPON, 0, 0.0, time("2017-03-02T18:30:00")),
]
SAVED: dict[tuple[object, object], tuple[float, float, float]] = {
    (501, CHIPS): (1.5, 0.0, 0.0),
    (502, CHIPS): (0.0, 0.5, 0.25),
}
"""(basket, product) → discounts of the card, of a coupon, and what the retailer adds to a coupon."""
PEOPLE = [
    (2, "65+", "35-49K", None, "Married", "2", "2 Adults No Kids", "0"),
    (1, "19-24", None, None, None, None, None, None),
    (77, "25-34", None, None, None, None, None, None),
]


def write_journey(folder: Path, lines: Sequence[tuple[object, ...]] = LINES) -> Path:
    """The three files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    demographics = "household_id age income home_ownership marital_status household_size household_comp kids_count"
    products = "product_id manufacturer_id department brand product_category product_type package_size"
    transactions = "household_id store_id basket_id product_id quantity sales_value transaction_timestamp"
    transactions += " retail_disc coupon_disc coupon_match_disc"
    bought = [(*line, *SAVED.get((line[2], line[3]), (0.0, 0.0, 0.0))) for line in lines]
    for table, names, found in (
        ("demographics", demographics, PEOPLE),
        ("products", products, PRODUCTS),
        ("transactions", transactions, bought),
    ):
        columns = dict(zip(names.split(), map(list, zip(*found, strict=True)), strict=True))
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"{table}.parquet")
    return folder
