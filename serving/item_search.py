"""Finding items by words, for people: every word must occur in title, category, brand or id.

One long string holds a row per item, so that the common case is a substring search at memory speed (about 1 ms over
92,000 items) and nothing has to be installed. New items are found at once; changed words of a known item after
`REFRESH_US` at the latest, when the next search rebuilds the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from actors.item_view import ItemView
from events.ids import Micros

REFRESH_US: Final = 10_000_000
MATCHES_MAX: Final = 2_000
"""Matches looked at before ranking; a search with more is too vague for its order to matter."""
POPULAR_LOOKED_AT: Final = 2_000
SLICE: Final = 256
"""Items read between two looks at other requests, about a millisecond."""


class ItemSearch:
    """The words of one item table, for one event loop."""

    def __init__(self) -> None:
        self._rows: list[str] = []
        self._text = ""
        self._starts: npt.NDArray[np.int64] = np.zeros(1, np.int64)
        self._version = ""
        self._read_at = Micros(0)
        self._updating = asyncio.Lock()

    async def update(self, view: ItemView, now: Micros) -> None:
        """Take in what is new in ``view``, a slice at a time, so that other requests are answered in between."""
        async with self._updating:
            if view.version == self._version:
                return
            whole = now - self._read_at > REFRESH_US
            rows = [] if whole else self._rows[: view.size]
            for start in range(len(rows), view.size, SLICE):
                rows += [_words(view, idx) for idx in range(start, min(start + SLICE, view.size))]
                await asyncio.sleep(0)
            lengths = np.fromiter((len(row) + 1 for row in rows), np.int64, len(rows))
            self._starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
            self._rows, self._text, self._version = rows, "\n".join(rows), view.version
            self._read_at = now if whole else self._read_at

    def find(self, words: str, view: ItemView) -> list[int]:
        """Indices of the items that hold all ``words``, popular ones first, then by index."""
        wanted = sorted(words.casefold().split(), key=lambda word: (-len(word), word))
        if not wanted:
            return []
        popular, _ = view.popular(None, POPULAR_LOOKED_AT)
        rank = {int(idx): at for at, idx in enumerate(popular)}
        return sorted(self._matches(wanted), key=lambda idx: (rank.get(idx, POPULAR_LOOKED_AT), idx))

    def _matches(self, wanted: list[str]) -> Iterator[int]:
        longest, *others = wanted
        at, found = self._text.find(longest), 0
        while at >= 0 and found < MATCHES_MAX:
            idx = int(np.searchsorted(self._starts, at, "right")) - 1
            if all(word in self._rows[idx] for word in others):
                found += 1
                yield idx
            at = self._text.find(longest, int(self._starts[idx + 1]))


def _words(view: ItemView, idx: int) -> str:
    item = view.item(idx)
    text = f"{item.title} {item.category} {item.brand} {item.item}".casefold()
    return text.replace("\n", " ")
