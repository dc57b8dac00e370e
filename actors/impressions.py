"""Impressions: what was really seen, and how tired of it somebody is.

The decayed count only adds, so it does not depend on the order of arrival. That somebody acted on an item is known
from the recent items and purchases and applied when reading: an item acted on at or after its last impression tires
nobody. Beyond 200 items the one seen longest ago gives way.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.profile import IMPRESSIONS_MAX, LONG_AGO, Impressions, Profile


def shown(impressions: Impressions, items: Sequence[str], at: int) -> Impressions:
    """After one impression of each of ``items``; an item named twice was seen once."""
    fresh = sorted(set(items))[-IMPRESSIONS_MAX:]
    last = impressions.last.copy()
    newest = next(reversed(last.values())) if last else LONG_AGO
    if at > newest:
        for item in fresh:
            last.pop(item, None)
            last[item] = at
    else:
        for item in fresh:
            last[item] = max(at, last.get(item, at))
        last = dict(sorted(last.items(), key=lambda entry: (entry[1], entry[0])))
    seen = impressions.seen.add(at, fresh, 1.0, bound=2 * IMPRESSIONS_MAX)
    if len(last) > IMPRESSIONS_MAX:
        while len(last) > IMPRESSIONS_MAX:
            del last[next(iter(last))]
        seen = seen.only(last)
    return Impressions(seen, last)


def fatigue(profile: Profile, now: int) -> dict[str, float]:
    """Item → impressions decayed with a half-life of a day at ``now``, 0.0 where it was acted on since."""
    acted = {name: purchase.times[-1] for name, purchase in profile.purchases.items() if purchase.times}
    for entry in profile.recent:
        acted[entry.item] = max(entry.at, acted.get(entry.item, entry.at))
    last = profile.impressions.last
    return {
        item: 0.0 if acted.get(item, LONG_AGO) >= last.get(item, LONG_AGO) else value
        for item, value in profile.impressions.seen.values(now).items()
    }
