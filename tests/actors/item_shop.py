"""Facts about items and people, folded into `MemoryItems`; neighbours by name."""

from __future__ import annotations

from collections.abc import Sequence

from small_shop import Facts

from actors.follower import Fact
from actors.item_reader import MemoryItems
from actors.item_view import ItemView
from actors.ranked import Row
from events.types import Interaction, ItemUpserted, Line, Meta, Signal

NOW = 1_760_000_000_000
DAY = 86_400_000
NO_META = Meta()


class Shop:
    """Facts are folded as they are made, each batch at once."""

    def __init__(self, catalogue: dict[str, str] | None = None) -> None:
        """``catalogue``: item → category path."""
        self.items = MemoryItems()
        self.facts = Facts()
        self.folded = 0
        for item, category in (catalogue or {}).items():
            self.facts.add(ItemUpserted(item, title=item, category=category), NOW - 300 * DAY)
        self.fold()

    def did(
        self,
        signal: Signal,
        *items: str,
        who: str = "",
        at: int = NOW,
        meta: Meta = NO_META,
        list_id: str = "",
    ) -> None:
        subject = who.encode().ljust(16, b"_") if who else b""
        event = Interaction(signal, tuple(Line(item) for item in items), list_id=list_id)
        self.facts.add(event, at, subject, meta)

    def bought(self, *items: str, times: int = 1) -> None:
        for _ in range(times):
            self.did("purchase", *items)
        self.fold()

    def fold(self) -> None:
        new: Sequence[Fact] = self.facts.made[self.folded :]
        self.folded = len(self.facts.made)
        if new:
            self.items.fold(new)

    def view(self) -> ItemView:
        self.fold()
        return self.items.snapshot()

    def goes_with(self, item: str) -> list[str]:
        return self._names(self.view().covisited((self.view().index(item),), 64)[0])

    def similar(self, item: str) -> dict[str, float]:
        row = self.view().similar((self.view().index(item),), 64)[0]
        return dict(zip(self._names(row), row[1].tolist(), strict=True))

    def content(self, item: str) -> list[str]:
        return self._names(self.view().content((self.view().index(item),), 64)[0])

    def popular(self, path: str | None = None) -> list[str]:
        view = self.view()
        return self._names(view.popular(None if path is None else view.category_id(path), 100))

    def _names(self, row: Row) -> list[str]:
        view = self.items.snapshot()
        return [view.item(int(idx)).item for idx in row[0]]
