"""Who is in a cluster: the profiles nearest to its centroid among those of its clustering.

A clustering measures profiles by features xₖ, each an expression of the rule language that gives a number or a
duration, cut to [lowₖ, highₖ], and scaled: zₖ = (xₖ - centreₖ) / scaleₖ. What nobody knows counts as the centre.
A profile is in cluster i when no other centroid is nearer (squared Euclidean distance; of equally near ones the first).

    |z - cᵢ|² <= |z - cⱼ|²   ⟺   Σₖ 2·(cⱼₖ - cᵢₖ)·zₖ + |cᵢ|² - |cⱼ|² <= 0

is linear in z, and z moves with time as `actors.quantity` says: so the moment at which somebody can drift into another
cluster is bounded in the same way as for any rule, without polling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from actors.quantity import NEVER, Quantity, first_crossing, steady
from actors.segment_feature import understand_feature
from actors.segment_rules import Expression, Part, Rule, Subject, Verdict
from events.errors import BadRequest
from events.types import Json

CLUSTERS_MAX: Final = 64
FEATURES_MAX: Final = 64


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One axis."""

    value: str
    """An expression such as ``spent`` or ``count(view, 30 days)``, or a condition, which counts as 1 or 0."""
    centre: float
    scale: float
    """Above 0; durations are in ms."""
    low: float
    high: float
    known: str = ""
    """A condition about traits and groups; of who does not meet it the value is unknown."""


class Clustering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `SegmentDefined.cluster` holds: the whole clustering, and which of its clusters this one is."""

    number: int
    features: tuple[Feature, ...]
    centroids: tuple[tuple[float, ...], ...]
    """Scaled, one number per feature."""


class BadCluster(BadRequest):
    code = "bad_cluster"


def understand_cluster(told: Mapping[str, Json]) -> Rule:
    """The membership of one cluster as a rule. Raises `BadCluster`, or `BadRule` for a feature."""
    try:
        clustering = msgspec.convert(dict(told), Clustering)
    except msgspec.ValidationError as wrong:
        raise BadCluster(f"the cluster cannot be read: {wrong}") from None
    _check(clustering)
    features = [understand_feature(feature.value, feature.known) for feature in clustering.features]
    nearest = _nearest(
        clustering, [measured(each.read, axis) for each, axis in zip(features, clustering.features, strict=True)]
    )
    return Rule(
        f"cluster {clustering.number}",
        nearest,
        frozenset().union(*(each.reads for each in features)),
        frozenset().union(*(each.segments for each in features)),
        parts=tuple({each.text: Part(each.text, _reading(each)) for each in features}.values()),
    )


def _reading(expression: Expression) -> Callable[[Subject], Json]:
    def value(subject: Subject) -> Json:
        amount = expression.read(subject)
        return None if amount is None else round(amount.now, 6)

    return value


def _check(clustering: Clustering) -> None:
    features, centroids = clustering.features, clustering.centroids
    if not 1 <= len(features) <= FEATURES_MAX or not 1 <= len(centroids) <= CLUSTERS_MAX:
        raise BadCluster(f"a clustering has 1 to {CLUSTERS_MAX} centroids of 1 to {FEATURES_MAX} features")
    if not 0 <= clustering.number < len(centroids):
        raise BadCluster(f"cluster {clustering.number} has no centroid: there are {len(centroids)}, numbered from 0")
    if any(len(centroid) != len(features) for centroid in centroids):
        raise BadCluster(f"every centroid has one number for each of the {len(features)} features")
    for feature in features:
        if not feature.scale > 0 or not feature.low <= feature.centre <= feature.high:
            raise BadCluster(f"feature {feature.value[:64]!r}: scale > 0 and low <= centre <= high are needed")
    numbers = [number for centroid in centroids for number in centroid]
    numbers += [number for each in features for number in (each.centre, each.scale, each.low, each.high)]
    if not all(abs(number) <= 1e15 for number in numbers):
        raise BadCluster("numbers of a cluster lie within 1e15")


def measured(read: Callable[[Subject], Quantity | None], axis: Feature) -> Callable[[Subject], Quantity]:
    """The scaled feature of a profile."""
    neutral = steady(0.0)
    factor = 1.0 / axis.scale

    def scaled(subject: Subject) -> Quantity:
        value = read(subject)
        return neutral if value is None else (_cut(value, axis.low, axis.high) - steady(axis.centre)).times(factor)

    return scaled


def _cut(value: Quantity, low: float, high: float) -> Quantity:
    """``value`` where it lies in [low, high], else the end it is beyond, for as long as that stands."""
    now = value.now
    below, above = value - steady(low), value - steady(high)
    if now <= low:
        return steady(low, first_crossing(below))
    if now >= high:
        return steady(high, first_crossing(above))
    until = min(first_crossing(below), first_crossing(above))
    return Quantity(value.constant, value.slope, value.decays, until)


def _nearest(clustering: Clustering, features: list[Callable[[Subject], Quantity]]) -> Callable[[Subject], Verdict]:
    own = clustering.centroids[clustering.number]
    planes = []
    for number, other in enumerate(clustering.centroids):
        if number != clustering.number:
            weights = [2.0 * (theirs - ours) for ours, theirs in zip(own, other, strict=True)]
            offset = sum(ours * ours for ours in own) - sum(theirs * theirs for theirs in other)
            planes.append((weights, offset, number > clustering.number))

    def nearest(subject: Subject) -> Verdict:
        values = [feature(subject) for feature in features]
        until = NEVER
        for weights, offset, first in planes:
            margin = steady(offset)
            for weight, value in zip(weights, values, strict=True):
                margin = margin + value.times(weight)
            now, stands = margin.now, first_crossing(margin)
            if now > 0 or (now == 0 and not first):
                return Verdict(False, stands)
            until = min(until, stands)
        return Verdict(True, until)

    return nearest
