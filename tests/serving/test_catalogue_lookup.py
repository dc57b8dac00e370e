"""What the doors look up: how dear an item is in its category."""

from __future__ import annotations

from item_shop import DAY, NOW, Shop

from actors.item_view import ItemView
from events.clock import ManualClock
from events.ids import Micros
from events.types import ItemDeleted, ItemUpserted
from serving.catalogue_lookup import FRESH_US, PRICES_FRESH_US, CatalogueLookup


class Priced(Shop):
    """A shop whose teas cost 1, 2, 3, 4 and 4, among other things."""

    def __init__(self) -> None:
        super().__init__()
        for number, price in enumerate((1.0, 2.0, 3.0, 4.0, 4.0)):
            self.stock(f"tea{number}", price)
        self.stock("gift", 0.0)
        self.stock("lamp", 9.0, "Home > Light")
        self.stock("loose", 9.0, "")

    def stock(self, item: str, price: float, category: str = "Drinks > Tea") -> None:
        self.facts.add(ItemUpserted(item, title=item, category=category, price=price), NOW - DAY)

    def snapshot(self) -> ItemView:
        return self.view()


def test_an_item_is_ranked_among_the_prices_of_its_category_and_equals_count_half() -> None:
    lookup = CatalogueLookup(Priced(), ManualClock(Micros(NOW * 1000)))
    assert [lookup.rank(f"tea{number}", 99.0) for number in range(5)] == [0.1, 0.3, 0.5, 0.8, 0.8]
    assert (lookup.rank("gift", 2.5), lookup.rank("gift", 0.0)) == (0.4, None)


def test_what_cannot_be_compared_has_no_rank() -> None:
    lookup = CatalogueLookup(Priced(), ManualClock(Micros(NOW * 1000)))
    assert [lookup.rank(item, 1.0) for item in ("lamp", "loose", "unheard-of")] == [None, None, None]


def test_prices_are_looked_at_again_within_the_hour() -> None:
    shop, clock = Priced(), ManualClock(Micros(NOW * 1000))
    lookup = CatalogueLookup(shop, clock)
    assert lookup.rank("tea0", 0.0) == 0.1
    for number in range(5, 10):
        shop.stock(f"tea{number}", 0.5)
    shop.facts.add(ItemDeleted("tea4"), NOW)
    clock.advance(FRESH_US)
    assert lookup.rank("tea0", 0.0) == 0.1
    clock.advance(PRICES_FRESH_US)
    assert lookup.rank("tea0", 0.0) == 5.5 / 9
