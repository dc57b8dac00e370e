"""The page about segments: a report in Markdown with plots beside it. ``everfold segments describe`` writes it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from rich.console import Console

from actors.lmdb_state import LmdbReader
from actors.profile import decode
from actors.recovery import STATE
from actors.segment_shipped import SHIPPED
from actors.segment_subject import ProfileSubject
from actors.store import Store
from actors.working_set import PROFILES
from events.clock import Clock, millis
from events.errors import BadSettings
from events.types import SegmentDefined
from serving.journey import Journey
from serving.segment_plots import bars, cells
from serving.segment_report import Report, Reported, report
from serving.segments_command import definitions_of
from serving.source_profiles import fold_source
from training.cluster_features import BEHAVIOUR, trait_measures
from training.cluster_refit import ClusterPlan, refit, traits_of
from training.clusters import Clusters
from training.retraining import Inline

PAGE: Final = "segments.md"
IMAGES: Final = "img"
BEGINS: Final = "<!-- figures: everfold segments describe -->"
"""What stands below is written anew; what stands above is a person's."""
PEOPLE_MAX: Final = 200_000
"""Of a larger store a sample is described: 1 GB of profiles, shares right to a tenth of a point."""
HEAD: Final = "# Segments"


@dataclass(frozen=True)
class Describing:
    """The command line's wishes."""

    source: str
    """``store``: the data folder. ``journey``: The Complete Journey, folded for this in memory."""
    data: Path
    out: Path
    """The folder of the page."""
    seed: int = 1


def describe_segments(what: Describing, clock: Clock, console: Console) -> None:
    """Raises `BadSettings` for another source, `NotFound` without a store or the journey's package, `NothingToLearn`
    with too few people."""
    if what.source == "store":
        blobs = list(_stored(Store.open(what.data)))
        _write(what, blobs, [each.told for each in definitions_of(what.data).order], None, console)
        return
    if what.source != "journey":
        raise BadSettings(f"{what.source!r} cannot be described: use `store` or `journey`")
    with tempfile.TemporaryDirectory() as folder:
        journey = Journey.installed()
        store = fold_source(journey, Path(folder) / "journey", millis(clock.now()))
        blobs = list(_stored(store))
        found = refit(ClusterPlan(store.path, newest(blobs), what.seed), Inline(), _silent)
        _write(what, blobs, (*SHIPPED, *found.defined), found, console)


def newest(blobs: Iterable[bytes]) -> int:
    """The moment of the latest act: what a page written of one history is as of, whenever it is written."""
    return max((decode(blob).last_at or 0 for blob in blobs), default=0)


def _stored(store: Store) -> Iterable[bytes]:
    """Profiles of those who count, at most `PEOPLE_MAX`: the first of every partition by key, which is a hash."""
    numbers = store.numbers()
    for number in numbers:
        reader = LmdbReader(store.folder(number) / STATE)
        try:
            rows = (blob for _, blob in reader.scan(PROFILES) if ProfileSubject(blob, 0).counts())
            yield from islice(rows, max(1, PEOPLE_MAX // len(numbers)))
        finally:
            reader.close()


def _write(
    what: Describing,
    blobs: Sequence[bytes],
    told: Iterable[SegmentDefined],
    found: Clusters | None,
    console: Console,
) -> None:
    made = report(blobs, told, (*BEHAVIOUR, *trait_measures(*traits_of(blobs))), newest(blobs))
    (what.out / IMAGES).mkdir(parents=True, exist_ok=True)
    for name, plot in plots_of(made, found).items():
        (what.out / IMAGES / name).write_text(plot)
    page = what.out / PAGE
    above = page.read_text().partition(BEGINS)[0] if page.exists() else f"{HEAD}\n\n"
    page.write_text(above + BEGINS + "\n" + markdown(made, found))
    console.print(f"{made.people:,} people in {len(made.segments)} segments: {page}")


def plots_of(made: Report, found: Clusters | None) -> dict[str, str]:
    """File name → SVG."""
    rules, clusters = _split(made)
    plots = {
        "segments.svg": bars("People in each segment", [_bar(one) for one in rules]),
        "segments-apart.svg": cells(
            "Deviations from everybody's mean",
            [one.told.name for one in rules if one.deviations],
            [measure.says for measure in made.measures],
            [one.deviations for one in rules if one.deviations],
        ),
    }
    if clusters:
        plots["clusters.svg"] = cells(
            "Clusters: deviations from everybody's mean",
            [f"{one.told.name} ({100 * one.share:.0f} %)" for one in clusters],
            [measure.says for measure in made.measures],
            [one.deviations for one in clusters],
        )
    if found is not None:
        rows = [(f"{k} clusters", max(value, 0.0), f"{value:.3f}") for k, value in found.silhouettes.items()]
        plots["clusters-silhouette.svg"] = bars("Mean silhouette by number of clusters", rows)
    return plots


def markdown(made: Report, found: Clusters | None) -> str:
    """Tables of the report; the plots are linked."""
    rules, clusters = _split(made)
    sample = " (a sample)" if made.people >= PEOPLE_MAX else ""
    lines = [
        f"{made.people:,} people{sample}, as of the latest act.",
        "",
        "### Rules",
        "",
        "![People](img/segments.svg)",
        "",
    ]
    lines += ["| segment | people | who enters | what sets them apart |", "|---|---|---|---|"]
    lines += [f"| {one.told.name} | {_people(one)} | `{_cell(one.told.rule)}` | {_apart(one)} |" for one in rules]
    lines += ["", "![What sets them apart](img/segments-apart.svg)", ""]
    if clusters:
        lines += ["### Clusters", "", "![Clusters](img/clusters.svg)", ""]
        lines += ["| cluster | people | what sets them apart |", "|---|---|---|"]
        lines += [f"| {one.told.name} | {_people(one)} | {_apart(one)} |" for one in clusters]
        lines.append("")
    if found is not None:
        lines += ["![Mean silhouette by number of clusters](img/clusters-silhouette.svg)", ""]
    return "\n".join(lines)


def _split(made: Report) -> tuple[list[Reported], list[Reported]]:
    clusters = [one for one in made.segments if one.told.kind == "cluster"]
    return [one for one in made.segments if one.told.kind != "cluster"], clusters


def _bar(one: Reported) -> tuple[str, float, str]:
    return one.told.name, float(one.members), f"{one.members:,} ({100 * one.share:.1f} %)"


def _people(one: Reported) -> str:
    return f"{one.members:,} ({100 * one.share:.1f} %)"


def _apart(one: Reported) -> str:
    """Without the share, which has a column of its own."""
    said = one.description.partition("Set apart by: ")[2] or one.description
    return _cell(said)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _silent(name: str, done: int, count: int) -> None:
    return None
