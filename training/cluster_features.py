"""What people are clustered by: expressions of the segments' language over the profile, made comparable.

A feature is cut to its 5th and 95th percentile and divided by the deviation of what is left, so neither one enormous
order nor the unit decides who is near whom (winsorising: Tukey, "The Future of Data Analysis", 1962). What nobody knows
of somebody counts as the middle. A feature that is the same for everybody, or tells what an earlier one told, is left
out. Everything a membership needs lies in `actors.segment_cluster.Feature`: the service computes it from the profile
alone, without the population.

Demographics enter as conditions, one of each trait: the upper half of ordered values ("45-54", "55-64" and "65+"), or
the most common of unordered ones. All of them together weigh as much as `DEMOGRAPHIC` behavioural features.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from actors.segment_cluster import FEATURES_MAX, Feature
from actors.segment_feature import understand_feature
from actors.segment_rules import Subject
from events.errors import BadSettings
from events.types import Json

Matrix: TypeAlias = npt.NDArray[np.float64]
TraitCounts: TypeAlias = Mapping[str, Mapping[Json, int]]
"""Trait → value → how many people have it."""

K_MIN: Final = 4
"""Three are always the busy, the ordinary and those who left, which rules tell apart as well."""
K_MAX: Final = 12
"""More than a dozen groups nobody keeps apart."""
CUT: Final = 0.05
"""Share of either end that is cut."""
KNOWN_MIN: Final = 0.01
"""A feature known of fewer people is left out."""
ALIKE: Final = 0.95
"""Features correlated beyond this (Pearson, as scaled) tell the same."""
COMPARED: Final = 50_000
"""People, evenly taken, whom features are compared on: a correlation's standard error is below .005."""
DEMOGRAPHIC: Final = 2.0
TRAITS_MAX: Final = 8
_BAND: Final = re.compile(r"(?i)(under|below|less( than)?|over|above|more( than)?|to|[\d\s.,$€£%<>=+–-]|\d[km])+")
"""Numbers, what stands between two of them, and what says that a band is open."""
COVERED_MIN: Final = 0.05
"""A trait is looked at when so many people have it."""
VALUES_MAX: Final = 24
"""Text traits with more values than this are names, not groups."""
DIGITS: Final = 9
"""Significant digits of what is stored of a feature: the last bits of a quantile are no knowledge."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One feature before it is scaled."""

    value: str
    """An expression, or a condition (`actors.segment_feature`)."""
    known: str = ""
    says: str = ""
    """For people: "money spent"."""

    @property
    def told(self) -> bool:
        """Whether it is a condition about what somebody is, not what somebody does."""
        return bool(self.known)


BEHAVIOUR: Final = (
    Measure("spent", says="money spent"),
    Measure('decayed(purchase, "month")', says="orders lately"),
    Measure('decayed(view, "month")', says="views lately"),
    Measure('decayed(cart, "month")', says="put into the cart lately"),
    Measure("idle", says="time since the last act"),
    Measure("age", says="time since the first act"),
    Measure("sessions", says="sessions"),
    Measure("engagement", says="engagement"),
    Measure("loyalty", says="loyalty"),
    Measure("price_sensitivity", says="price sensitivity"),
    Measure("churn_risk", says="churn risk"),
    Measure("purchase_intent", says="purchase intent"),
    Measure("dwell", says="time on pages"),
    Measure("scroll", says="share of pages scrolled through"),
    Measure("watched", says="share of videos watched"),
)
"""How much, how often, how lately, and in what way; a store in which nobody watches anything has one feature less."""


def measures_of(texts: Sequence[str]) -> tuple[Measure, ...]:
    """Measures from settings. Raises `BadSettings` for one that depends on the population or on segments, which would
    make a cluster depend on itself."""
    known = {measure.value: measure for measure in BEHAVIOUR}
    made = []
    for text in texts:
        expression = understand_feature(text)
        if expression.segments or "quantiles" in expression.reads:
            raise BadSettings(f"`clusters.features`: {text[:64]!r} asks about segments or quantiles: use the profile")
        made.append(known.get(text, Measure(text, says=text)))
    if not 1 <= len(made) <= FEATURES_MAX - TRAITS_MAX:
        raise BadSettings(f"`clusters.features`: 1 to {FEATURES_MAX - TRAITS_MAX} expressions are needed")
    return tuple(made)


def trait_measures(counts: TraitCounts, people: int, traits: Sequence[str] | None = None) -> tuple[Measure, ...]:
    """A condition for each of the traits known of most people, at most `TRAITS_MAX`; of ``traits`` alone where named.

    >>> [each.value for each in trait_measures({"age": {"19-24": 3, "25-34": 4, "65+": 2}}, 10)]
    ['trait("age") in ("25-34", "65+")']
    """
    wanted = {name: values for name, values in counts.items() if traits is None or name in traits}
    ranked = sorted(wanted, key=lambda name: (-sum(wanted[name].values()), name))
    found = [_trait(name, wanted[name]) for name in ranked if sum(wanted[name].values()) >= COVERED_MIN * people]
    return tuple([measure for measure in found if measure is not None][:TRAITS_MAX])


def _trait(name: str, values: Mapping[Json, int]) -> Measure | None:
    if not _quotable(name):
        return None
    asked = f'trait("{name}")'
    if all(isinstance(value, bool) for value in values):
        return Measure(f"{asked} == true", f"{asked} in (true, false)", _said(name))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _numeric(name, asked, values)
    texts = {value: count for value, count in values.items() if isinstance(value, str) and _telling(value)}
    if not 2 <= len(texts) <= VALUES_MAX:
        return None
    return _texts(name, asked, texts)


def _numeric(name: str, asked: str, values: Mapping[Json, int]) -> Measure | None:
    numbers = sorted((float(value), count) for value, count in values.items() if isinstance(value, int | float))
    if len(numbers) < 2:
        return None
    at = _median([count for _, count in numbers])
    level = format(numbers[at][0], ".6f").rstrip("0").rstrip(".")
    return Measure(f"{asked} >= {level}", f"{asked} > -1000000000000", f"{_said(name)} {level} or more")


def _texts(name: str, asked: str, texts: Mapping[str, int]) -> Measure:
    if all(_level(text) is not None for text in texts):
        ordered = sorted(texts, key=lambda text: (_level(text) or 0.0, text))
        upper = ordered[_median([texts[text] for text in ordered]) :]
        says = f"{_said(name)} {upper[0]} or above" if len(upper) > 1 else f"{_said(name)} {upper[0]}"
    else:
        ordered = sorted(texts)
        upper = [max(ordered, key=lambda text: texts[text])]
        says = f"{_said(name)} {upper[0]}"
    return Measure(f"{asked} in {_listed(upper)}", f"{asked} in {_listed(ordered)}", says)


def _median(counts: Sequence[int]) -> int:
    """Where the upper part, at least 1 and not everything, is nearest to a half."""
    total = sum(counts)
    above = total - np.cumsum(counts[:-1])
    return int(np.abs(above - total / 2).argmin()) + 1


def _level(text: str) -> float | None:
    """The first number in a band's name; "Under 15K" is below "15-24K". None for what is no band, as "2 adults"."""
    found = re.search(r"\d+(\.\d+)?", text)
    if found is None or _BAND.fullmatch(text) is None:
        return None
    return float(found.group()) - (0.5 if re.match(r"(?i)\s*(under|below|less|<)", text) else 0.0)


def _telling(text: str) -> bool:
    return _quotable(text) and text.strip().lower() not in ("", "unknown", "n/a", "other")


def _quotable(text: str) -> bool:
    return len(text) <= 64 and '"' not in text and "\\" not in text and text.isprintable()


def _listed(texts: Sequence[str]) -> str:
    return "(" + ", ".join(f'"{text}"' for text in texts) + ")"


def _said(name: str) -> str:
    return name.replace("_", " ")


def measured(subjects: Iterable[Subject], measures: Sequence[Measure]) -> Matrix:
    """Shape (subjects, measures); NaN where nobody knows."""
    readers = [understand_feature(measure.value, measure.known).read for measure in measures]
    rows = []
    for subject in subjects:
        found = [read(subject) for read in readers]
        rows.append([math.nan if value is None else value.now for value in found])
    return np.array(rows, np.float64).reshape(len(rows), len(measures))


def features_of(matrix: Matrix, measures: Sequence[Measure]) -> tuple[tuple[int, Feature], ...]:
    """The columns worth clustering by, with their scales. Empty where nothing tells people apart."""
    found: list[tuple[int, Feature]] = []
    kept: list[Matrix] = []
    told = sum(measure.told for measure in measures)
    for column, measure in enumerate(measures):
        feature = _feature(matrix[:, column], measure, told)
        if feature is None:
            continue
        values = scaled(matrix[:, [column]], (feature,))[:, 0]
        some = values[:: max(1, len(values) // COMPARED)]
        if any(abs(float(np.corrcoef(some, other)[0, 1])) > ALIKE for other in kept):
            continue
        found.append((column, feature))
        kept.append(some)
    return tuple(found)


def _feature(values: Matrix, measure: Measure, told: int) -> Feature | None:
    known = values[~np.isnan(values)]
    if len(known) < max(2, KNOWN_MIN * len(values)):
        return None
    low, high = np.quantile(known, (CUT, 1.0 - CUT))
    cut = np.clip(known, low, high)
    scale = float(cut.std())
    if scale <= 1e-9 * max(1.0, abs(high)):
        return None
    centre = float(cut.mean() if measure.told else np.median(cut))
    wide = math.sqrt(max(1.0, told / DEMOGRAPHIC)) if measure.told else 1.0
    return Feature(
        measure.value,
        centre=rounded(centre),
        scale=rounded(scale * wide),
        low=rounded(float(low)),
        high=rounded(float(high)),
        known=measure.known,
    )


def rounded(number: float) -> float:
    """To `DIGITS` significant digits.

    >>> rounded(1234.56789012345)
    1234.56789
    """
    return float(f"{number:.{DIGITS}g}")


def scaled(matrix: Matrix, features: Sequence[Feature]) -> Matrix:
    """z of every feature, shape as ``matrix``; 0 where nobody knows: the numbers `actors.segment_cluster` compares."""
    low, high, centre, scale = (
        np.array([getattr(each, name) for each in features]) for name in ("low", "high", "centre", "scale")
    )
    found: Matrix = (np.clip(matrix, low, high) - centre) / scale
    return np.nan_to_num(found, copy=False, nan=0.0)
