"""Small charts as inline SVG: lines over an axis, and means with their intervals.

Written here because a report must open without a network or a plotting library, and two kinds of chart do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from training.evaluation.intervals import Interval

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 16, 12, 40
ROW = 24
LABELS = 190
COLOURS = ("#2563a8", "#c2512d", "#3b8a4b", "#8a4ba0", "#a07a1e", "#2b8a8a", "#b03060", "#606060")


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values between ``low`` and ``high`` to pixels between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> Axis:
        """Spans the values with a little room; one that stands still gets a width."""
        low, high = min(values), max(values)
        room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room, start, end)

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """About five round numbers inside.

        >>> Axis(0.0, 1.0, 0.0, 100.0).ticks()
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
        """
        rough = (self.high - self.low) / 5
        scale = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


def line_chart(lines: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str, diagonal: bool = False) -> str:
    """One polyline per name with its points marked; ``diagonal`` draws x = y. Empty without points."""
    points = [point for line in lines.values() for point in line if all(map(math.isfinite, point))]
    if not points:
        return ""
    across = Axis.over([px for px, _ in points], LEFT, WIDTH - RIGHT)
    up = Axis.over([py for _, py in points], HEIGHT - BOTTOM, TOP)
    drawn = [_frame(across, up, x, y)]
    if diagonal:
        low, high = max(across.low, up.low), min(across.high, up.high)
        ends = f'x1="{across.at(low):.1f}" y1="{up.at(low):.1f}" x2="{across.at(high):.1f}" y2="{up.at(high):.1f}"'
        drawn.append(f'<line {ends} class="ideal"/>')
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(across.at(px), up.at(py)) for px, py in line if math.isfinite(px) and math.isfinite(py)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.5" fill="{colour}"/>' for px, py in places]
        drawn.append(f'<text x="{LEFT + 8}" y="{TOP + 14 + 15 * number}" fill="{colour}">{escape(name)}</text>')
    return _svg(WIDTH, HEIGHT, drawn)


def interval_chart(rows: Mapping[str, Interval], x: str) -> str:
    """One row per name: its value as a dot on its interval. Empty without finite rows."""
    known = {name: row for name, row in rows.items() if math.isfinite(row.value)}
    if not known:
        return ""
    ends = [end for row in known.values() for end in (row.low, row.high, row.value) if math.isfinite(end)]
    height = TOP + ROW * len(known) + BOTTOM
    across = Axis.over(ends, LABELS, WIDTH - RIGHT)
    drawn = [
        f'<line x1="{across.at(tick):.1f}" y1="{TOP}" x2="{across.at(tick):.1f}" y2="{height - BOTTOM}" class="grid"/>'
        f'<text x="{across.at(tick):.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in across.ticks()
    ]
    for number, (name, row) in enumerate(known.items()):
        y = TOP + ROW * (number + 0.5)
        drawn.append(f'<text x="{LABELS - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        if math.isfinite(row.low) and math.isfinite(row.high):
            low, high = across.at(row.low), across.at(row.high)
            line = f'x1="{low:.1f}" y1="{y:.1f}" x2="{high:.1f}" y2="{y:.1f}"'
            drawn.append(f'<line {line} stroke="{COLOURS[0]}" stroke-width="2"/>')
        drawn.append(f'<circle cx="{across.at(row.value):.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[0]}"/>')
    drawn.append(f'<text x="{(LABELS + WIDTH) / 2:.0f}" y="{height - 6}" text-anchor="middle">{escape(x)}</text>')
    return _svg(WIDTH, height, drawn)


def _frame(across: Axis, up: Axis, x: str, y: str) -> str:
    bottom = HEIGHT - BOTTOM
    vertical = "".join(
        f'<text x="{across.at(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in across.ticks()
    )
    horizontal = "".join(
        f'<line x1="{LEFT}" y1="{up.at(tick):.1f}" x2="{WIDTH - RIGHT}" y2="{up.at(tick):.1f}" class="grid"/>'
        f'<text x="{LEFT - 6}" y="{up.at(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in up.ticks()
    )
    middle = (HEIGHT - BOTTOM + TOP) / 2
    names = (
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>'
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">{escape(y)}</text>'
    )
    return vertical + horizontal + names


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img">{"".join(parts)}</svg>'
