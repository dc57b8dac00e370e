"""When people come, by hour of the week."""

from __future__ import annotations

from math import pi, sin
from typing import Final

HOURS_OF_WEEK: Final = tuple(round(1 + 0.6 * sin(2 * pi * (hour % 24 - 9) / 24), 4) for hour in range(168))
