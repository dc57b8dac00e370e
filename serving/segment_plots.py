"""Plots as SVG text: bars, and a table of coloured cells. No library: two kinds of rectangles and some text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

FONT: Final = 'font-family="system-ui, sans-serif" font-size="12"'
ROW: Final = 22
LABEL: Final = 210
WIDE: Final = 420
CELL: Final = 58
CHARS_MAX: Final = 32
FILL: Final = "#4c78a8"
INK: Final = "#444"


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars. ``rows``: (label, length, what is written behind the bar); the longest fills the width."""
    most = max((length for _, length, _ in rows), default=0.0) or 1.0
    parts = []
    for number, (label, length, text) in enumerate(rows):
        y, width = 34 + number * ROW, max(1.0, WIDE * length / most)
        parts.append(_text(LABEL - 8, y + 12, label, "end"))
        parts.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{ROW - 6}" fill="{FILL}"/>')
        parts.append(_text(LABEL + width + 6, y + 12, text))
    return _svg(title, LABEL + WIDE + 110, 44 + len(rows) * ROW, parts)


def cells(title: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]) -> str:
    """A table of ``values``, rows by columns: red above 0, blue below, full at 2."""
    top = 190
    parts = []
    for number, name in enumerate(columns):
        place = f"translate({LABEL + number * CELL + CELL / 2:.0f},{top - 8}) rotate(-40)"
        parts.append(f'<g transform="{place}">{_text(0, 0, name[:CHARS_MAX])}</g>')
    for line, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + line * ROW
        parts.append(_text(LABEL - 8, y + 15, name, "end"))
        for number, value in enumerate(row):
            x = LABEL + number * CELL
            parts.append(f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="{ROW - 1}" fill="{_colour(value)}"/>')
            parts.append(_text(x + CELL / 2, y + 15, f"{round(value, 1) + 0.0:+.1f}", "middle"))
    return _svg(title, LABEL + len(columns) * CELL + 130, top + 10 + len(rows) * ROW, parts)


def _colour(value: float) -> str:
    """
    >>> _colour(0.0), _colour(9.0), _colour(-9.0)
    ('#ffffff', '#d6604d', '#4393c3')
    """
    full = (214, 96, 77) if value > 0 else (67, 147, 195)
    share = min(abs(value) / 2.0, 1.0)
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in full)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{INK}">{escape(text)}</text>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" role="img" {FONT}>'
    back = '<rect width="100%" height="100%" fill="#fff"/>'
    name = f'<title>{escape(title)}</title><text x="12" y="20" font-weight="600" fill="{INK}">{escape(title)}</text>'
    return "\n".join((head, back, name, *parts, "</svg>")) + "\n"
