"""A reason for every item, for a person to read. It names what really spoke loudest, not what sounds best."""

from __future__ import annotations

from actors.item_view import ItemView
from training.history import Purchases
from training.recommender import Query

_DAY_MS = 86_400_000
TITLE_CHARS_MAX = 60


def reason(source: str, because: int, query: Query) -> str:
    """Why the recommender ``source`` named an item, ``because`` being the cause it gave (see `Scored`)."""
    match source:
        case "repeat_purchase":
            return _rhythm(query.history.purchases, because)
        case "covisitation" | "item_knn" | "ease":
            return _neighbour(because, query)
        case "ridge_next_item":
            return f"Comes next after {title(query.items, because)}"
        case "session_knn":
            return f"Others with {title(query.items, because)} also chose this"
        case "content":
            return f"Similar to {title(query.items, because)}"
        case "popularity" if because >= 0:
            return f"Popular in {query.items.category_path(because).rpartition(' > ')[2]}"
        case "popularity":
            return "Popular right now"
        case "newest":
            return "New here"
        case "user_knn":
            return "People with similar taste like this"
        case "ials":
            return "Fits your taste"
        case "trending":
            return "Trending now"
        case "segment_popularity":
            return "Popular with people like you"
        case "exploration":
            return "Trying something new"
        case "rating":
            return "You are likely to rate this highly"
        case _:
            return ""


def title(items: ItemView, idx: int) -> str:
    """What people call the item; its id where it has no title."""
    entry = items.item(idx)
    text = entry.title or entry.item
    return text if len(text) <= TITLE_CHARS_MAX else text[: TITLE_CHARS_MAX - 1].rstrip() + "…"


def _neighbour(anchor: int, query: Query) -> str:
    name = title(query.items, anchor)
    match query.history.signals.get(anchor):
        case "view" | "click" | "watch" | "search" | "share":
            return f"Because you viewed {name}"
        case "wish" | "rate":
            return f"Because you like {name}"
        case "cart":
            return f"Goes with {name} in your cart"
        case _:
            return f"Often bought with {name}"


def _rhythm(bought: Purchases, idx: int) -> str:
    gap = bought.gap_of.get(idx)
    if gap is None:
        return "You bought this before"
    days = max(1, round(gap / _DAY_MS))
    return f"You buy this about every {days} days" if days > 1 else "You buy this about every day"
