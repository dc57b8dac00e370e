"""``python -m simulate calibrate``: the world and the grocer's year side by side, as a table and plots in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

from events.errors import NotFound
from simulate.calibration import (
    QUANTILES,
    REPEAT_WEEKS,
    SHARES,
    WEEKS,
    Likeness,
    journey_orders,
    likeness,
    world_orders,
)
from simulate.world_spec import CALIBRATED, START_MS, WorldSpec
from training.evaluation.charts import line_chart

SOURCE: Final = "The Complete Journey"
BEGIN, END = "<!-- fit: written by python -m simulate calibrate -->", "<!-- end of fit -->"
_Lines = Mapping[str, list[tuple[float, float]]]


def calibrate(docs: Path, seed: int = 1, weeks: int = WEEKS, spec: WorldSpec = CALIBRATED) -> str:
    """Measure both, write the plots into ``docs/img`` and the table into ``docs/world.md``; returns the table.

    Raises `NotFound` if the data or the page is not there.
    """
    page = docs / "world.md"
    if not page.is_file() or BEGIN not in page.read_text():
        raise NotFound(f"{page} is missing or has no line {BEGIN!r}: name the project's docs folder")
    orders, start = journey_orders()
    real = likeness(orders, start)
    world = likeness(world_orders(spec, seed, weeks), START_MS, weeks)
    for name, svg in plots(real, world).items():
        (docs / "img" / f"world-{name}.svg").write_text(svg)
    table = f"{fit_table(real, world)}\n\n{spec_table(spec)}"
    text = page.read_text()
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}")
    return table


def fit_table(real: Likeness, world: Likeness) -> str:
    """The figures as Markdown."""
    rows = [f"| figure | {SOURCE} | the world |", "|---|---|---|"]
    ours = world.rows()
    rows += [f"| {name} | {value:.3g} | {ours[name]:.3g} |" for name, value in real.rows().items()]
    apart = sum(abs(a - b) for a, b in zip(real.hours, world.hours, strict=True)) / 168
    rows.append(f"| orders by hour of the week, mean distance (of a mean of 1) | | {apart:.2g} |")
    return "\n".join(rows)


def spec_table(spec: WorldSpec) -> str:
    """The parameters as Markdown, hours apart."""
    named = [field.name for field in fields(spec) if field.name != "hours"]
    return "\n".join(
        ["| parameter | value |", "|---|---|", *(f"| `{name}` | {getattr(spec, name)} |" for name in named)]
    )


def plots(real: Likeness, world: Likeness) -> Mapping[str, str]:
    """Name → SVG."""

    def both(pick: Mapping[str, list[float]], across: list[float]) -> _Lines:
        return {name: list(zip(across, values, strict=True)) for name, values in pick.items()}

    def of(name: str) -> Mapping[str, list[float]]:
        return {SOURCE: list(getattr(real, name)), "the world": list(getattr(world, name))}

    return {
        "hours": line_chart(both(of("hours"), [float(hour) for hour in range(168)]), "hour of the week", "orders"),
        "repeats": line_chart(
            both(of("repeats"), [week + 1.0 for week in REPEAT_WEEKS]), "week", "share of lines bought before"
        ),
        "popularity": line_chart(both(of("top"), list(SHARES)), "share of items", "share of lines"),
        "activity": line_chart(both(of("orders_per_week"), list(QUANTILES)), "share of people", "orders a week"),
        "baskets": line_chart(both(of("basket"), list(QUANTILES)), "share of orders", "items in an order"),
    }
