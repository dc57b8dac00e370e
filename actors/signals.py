"""What each signal says about taste: how strongly, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from actors.decay import HalfLife


@dataclass(frozen=True, slots=True)
class Strength:
    """``weight``: relative to one view; negative takes back. ``half_life``: the table it is folded into."""

    weight: float
    half_life: HalfLife


SIGNALS: Final[Mapping[str, Strength]] = {
    "search": Strength(0.5, "hour"),
    "view": Strength(1.0, "day"),
    "click": Strength(1.5, "day"),
    "watch": Strength(2.0, "day"),
    "share": Strength(2.0, "month"),
    "cart": Strength(3.0, "month"),
    "wish": Strength(3.0, "month"),
    "rate": Strength(3.0, "month"),
    "uncart": Strength(-3.0, "month"),
    "unwish": Strength(-3.0, "month"),
    "purchase": Strength(5.0, "quarter"),
    "refund": Strength(-5.0, "quarter"),
}
"""Signal → its strength. Looking is cheap and soon over, buying costs something and lasts; what takes an act back has
the opposite weight under the same half-life, so the two cancel at whatever time they are read. The ratios 1 : 3 : 5 for
view : cart : purchase are the common starting point for implicit feedback; the blend learns its own on top."""

CATEGORY_DEPTH_MAX: Final = 4
ATTRIBUTES_MAX: Final = 8
KEY_CHARS_MAX: Final = 320
"""Longer interest keys are not folded: a profile is read on every request."""


@lru_cache(maxsize=16_384)
def facets(category: str, brand: str, attributes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The interest keys of an item: every level of its category path, its brand, its attributes.

    >>> facets("Drinks > Tea", "Acme", ("colour:green",))
    ('category:Drinks', 'category:Drinks > Tea', 'brand:Acme', 'attr:colour:green')
    """
    parts = [part for part in map(str.strip, category.split(" > ")) if part][:CATEGORY_DEPTH_MAX]
    keys = ["category:" + " > ".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    if brand:
        keys.append("brand:" + brand)
    keys += ["attr:" + attribute for attribute in attributes[:ATTRIBUTES_MAX] if attribute]
    return tuple(key for key in keys if len(key) <= KEY_CHARS_MAX)
