"""The memory of a service on this machine while it is under load: flat, or growing?"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from serving.processes import private_bytes, stamped
from serving.supervisor import stamp_of

EVERY_S: Final = 10.0
"""Reading a process's memory costs a millisecond or more of its page tables being walked."""
Samples = list[tuple[float, int]]


class ServiceMemory:
    """To be used as a context manager: samples (seconds since the beginning, bytes of all processes of the service over
    ``data``) from a thread of its own. No samples where no such service runs on this machine."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="service-memory", daemon=True)
        self.samples: Samples = []

    def __enter__(self) -> ServiceMemory:
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            stamp = stamp_of(self._data)
        except OSError:
            return
        while True:
            total = private_bytes(stamped(stamp))
            if not total:
                return
            self.samples.append((time.monotonic() - self._begun, total))
            if self._ended.wait(EVERY_S):
                return


def growth_per_minute(samples: Sequence[tuple[float, int]]) -> float:
    """Bytes a minute over the latter half of the samples, by the straight line that fits them best (least squares);
    NaN for fewer than four there.

    >>> growth_per_minute([(10.0 * n, 100 + n) for n in range(20)])
    6.0
    """
    half = samples[len(samples) // 2 :]
    if len(half) < 4:
        return float("nan")
    at, size = np.array([at for at, _ in half]), np.array([float(size) for _, size in half])
    at -= at.mean()
    return round(float(at @ (size - size.mean()) / (at @ at)) * 60, 6)
