"""What a person or a page is shown of a profile: decayed to one instant, in a total order, plain JSON values."""

from __future__ import annotations

from typing import Final

from actors import decay
from actors.engagement import last
from actors.impressions import fatigue
from actors.profile import Profile, Spending, allowed
from actors.scores import RFM, SCORES, number
from actors.sessions import POLICY, Session, SessionPolicy, count, sessions
from events.types import Json

_DECIMALS: Final = 4
_SHOWN_MIN: Final = 0.5 * 10.0**-_DECIMALS
"""What would round to zero is not shown."""


def interests(profile: Profile, now: int) -> dict[str, float]:
    """Every interest at ``now``: what its signals still weigh, summed over the half-lives."""
    total: dict[str, float] = {}
    for table in profile.interests.values():
        for key, value in table.values(now).items():
            total[key] = total.get(key, 0.0) + value
    return total


def view(profile: Profile, now: int, policy: SessionPolicy = POLICY) -> dict[str, Json]:
    """The whole profile as read at ``now`` (ms). Interests sorted by (-value, key), items and sessions latest first,
    steps by time."""
    liked = _interests(profile, now)
    purchases = _purchases(profile, now)
    seen = _impressions(profile, now)
    return {
        "version": profile.version,
        "read_at": now,
        "first_at": profile.first_at,
        "last_at": profile.last_at,
        "user_id": profile.user_id or None,
        "anonymous_ids": list(profile.anonymous_ids),
        "previous_ids": list(profile.previous_ids),
        "personalized": allowed(profile),
        "consent": {
            purpose: {"granted": choice.granted, "at": choice.at, "source": choice.source}
            for purpose, choice in sorted(profile.consent.items())
        },
        "traits": {name: trait.value for name, trait in sorted(profile.traits.items()) if trait.value is not None},
        "groups": sorted(profile.groups),
        "segments": sorted(name for name, membership in profile.segments.items() if membership.entered),
        "experiments": {name: exposure.variation for name, exposure in sorted(profile.experiments.items())},
        "interests": [{"key": key, "value": value} for key, value in liked],
        "recent": [
            {"item": entry.item, "at": entry.at, "signal": entry.signal, "weight": _rounded(entry.weight)}
            for entry in profile.recent
        ],
        "purchases": purchases,
        "impressions": seen,
        "sessions": [_session(session) for session in reversed(sessions(profile, policy))],
        "scores": {score: _number(profile, score, now) for score in SCORES},
        "rfm": {name if name != "recency" else "recency_ms": _number(profile, name, now) for name in RFM},
        "spending": _spending(profile.spending),
        "engagement": _engagement(profile, now, policy),
        "totals": {
            "interests": _rounded(sum(value for _, value in liked)),
            "recent": len(profile.recent),
            "purchases": sum(purchase.count for purchase in profile.purchases.values()),
            "impressions": len(seen),
            "facts": sum(profile.engagement.counts.values()),
        },
    }


def _interests(profile: Profile, now: int) -> list[tuple[str, float]]:
    shown = ((key, _rounded(value)) for key, value in interests(profile, now).items() if abs(value) >= _SHOWN_MIN)
    return sorted(shown, key=lambda entry: (-entry[1], entry[0]))


def _purchases(profile: Profile, now: int) -> list[Json]:
    held = sorted(
        (each for each in profile.purchases.values() if each.times), key=lambda each: (-each.times[-1], each.item)
    )
    return [
        {
            "item": each.item,
            "count": each.count,
            "quantity": _rounded(each.quantity),
            "lately": _rounded(decay.read(each.k, each.s, now, "quarter")),
            "last_at": each.times[-1],
            "times": list(each.times),
        }
        for each in held
    ]


def _impressions(profile: Profile, now: int) -> list[Json]:
    tired, last = fatigue(profile, now), profile.impressions.last
    seen = profile.impressions.seen
    return [
        {
            "item": item,
            "last_at": last[item],
            "seen": _rounded(seen.value(item, now)),
            "fatigue": _rounded(tired.get(item, 0.0)),
        }
        for item in sorted(last, key=lambda item: (-last[item], item))
    ]


def _session(session: Session) -> Json:
    return {
        "started_at": session.started,
        "ended_at": session.ended,
        "duration_ms": session.duration,
        "depth": session.depth,
        "landing": session.landing,
        "exit": session.exit,
        "channel": session.channel or None,
        "campaign": session.campaign or None,
        "device": session.device or None,
        "devices": list(session.devices),
        "steps": [
            {"at": step.at, "what": step.what, "label": step.label, "device": step.device or None}
            for step in session.steps
        ],
    }


def _spending(spending: Spending) -> Json:
    return {
        "spent": spending.paid / 1000,
        "saved": spending.saved / 1000,
        "orders_with_coupon": spending.coupons,
        "price_rank": _rounded(spending.ranks / (1000 * spending.ranked)) if spending.ranked else None,
    }


def _number(profile: Profile, field: str, now: int) -> Json:
    value = number(profile, field, now)
    return None if value is None else _rounded(value.now)


def _engagement(profile: Profile, now: int, policy: SessionPolicy) -> dict[str, Json]:
    """Counts by signal, sessions, dwell and depth as plain numbers; what has structure under ``last`` and ``rates``."""
    engagement = profile.engagement
    counts = engagement.counts
    shown: dict[str, Json] = dict(sorted(counts.items()))
    visits, watches = counts.get("visit", 0), counts.get("watch", 0)
    return shown | {
        "sessions": count(profile, policy),
        "dwell_ms": engagement.dwell_ms,
        "scroll": _rounded(engagement.scroll_permille / (1000 * visits)) if visits else 0.0,
        "watched": _rounded(engagement.watched_permille / (1000 * watches)) if watches else 0.0,
        "last": {signal: last(engagement, signal) for signal in sorted(engagement.stamps)},
        "rates": {
            half_life: {signal: _rounded(value) for signal, value in sorted(table.values(now).items())}
            for half_life, table in sorted(engagement.rates.items())
        },
    }


def _rounded(value: float) -> float:
    return round(value, _DECIMALS) + 0.0  # -0.0 reads as a riddle
