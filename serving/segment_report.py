"""Who is in which segment, and what sets them apart: computed from the profiles at one moment, by asking everybody.

Nobody's id enters a report. Membership is what it would be of people never seen before the moment: whoever is in a
segment only because its exit level was not reached yet is not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from actors.segment_definition import Definition, Definitions, understood
from actors.segment_subject import ProfileSubject
from events.types import SegmentDefined
from training.cluster_features import Measure, features_of, measured
from training.cluster_refit import durations_of
from training.clusters import Apart, Crowd, description_of
from training.people import Person, Population

MEMBERS_MIN: Final = 10
"""Of fewer people nothing is said but how many they are: an average of two is somebody."""


@dataclass(frozen=True, slots=True)
class Reported:
    """One segment."""

    told: SegmentDefined
    members: int
    share: float
    apart: tuple[Apart, ...]
    description: str
    deviations: tuple[float, ...]
    """Of every feature of the report, in deviations of the population."""


@dataclass(frozen=True, slots=True)
class Report:
    """Segments by kind and size."""

    people: int
    at: int
    measures: tuple[Measure, ...]
    segments: tuple[Reported, ...]


def report(blobs: Sequence[bytes], told: Iterable[SegmentDefined], measures: Sequence[Measure], at: int) -> Report:
    """Ask everybody of ``blobs`` (stored profiles) at ``at`` (ms). Raises `BadDefinition` or `BadRule`."""
    definitions = Definitions()
    for fact in told:
        definitions = definitions.defined(understood(fact))
    inside = _members(blobs, definitions, at)
    matrix = measured((ProfileSubject(blob, at) for blob in blobs), measures)
    columns = features_of(matrix, measures)
    kept = [measures[column] for column, _ in columns]
    crowd = Crowd(matrix[:, [column for column, _ in columns]], kept, [feature for _, feature in columns])
    found = [
        _reported(definition, inside[:, number], crowd, durations_of(kept))
        for number, definition in enumerate(definitions.order)
    ]
    ranked = sorted(found, key=lambda one: (one.told.kind == "cluster", -one.members, one.told.name))
    return Report(len(blobs), at, tuple(kept), tuple(ranked))


def _reported(
    definition: Definition, inside: npt.NDArray[np.bool_], crowd: Crowd, durations: Collection[str]
) -> Reported:
    members = int(inside.sum())
    share = members / max(1, len(inside))
    if members < MEMBERS_MIN:
        return Reported(definition.told, members, share, (), "Too few people to say more.", ())
    apart = crowd.apart(inside)
    moved = tuple(crowd.deviations(inside).tolist())
    return Reported(definition.told, members, share, apart, description_of(share, apart, durations), moved)


def _members(blobs: Sequence[bytes], definitions: Definitions, at: int) -> npt.NDArray[np.bool_]:
    """Who is in which segment: shape (people, segments in order of evaluation)."""
    population = Population(blobs, at)
    found = np.zeros((len(blobs), len(definitions)), np.bool_)
    for row, blob in enumerate(blobs):
        inside: set[str] = set()
        person = Person(blob, at, population, inside)
        for number, definition in enumerate(definitions.order if person.counts() else ()):
            if definition.enter.holds(person).holds:
                inside.add(definition.name)
                found[row, number] = True
    return found
