"""Do features and scores still look as they did when the model was fitted? PSI and KS of samples, block by block.

The week has 28 blocks of six hours. The first time a block passes after `Windows.rebase`, its sample becomes the
reference of that block; each later time, the sample is compared with it. So a Sunday evening is held against a Sunday
evening: of what comes back every day or week, nothing differs.

    PSI = Σ over bins of (a - r) · ln(a / r)

with r and a the shares of reference and current sample in ten bins of equal reference share, half a row added to each
bin so that an empty one counts but not infinitely (Siddiqi, Credit Risk Scorecards, Wiley 2006, whose bounds are .1 and
.25). Of two samples of one distribution it is about (bins - 1) · (1/n + 1/m): .07 for 256 rows each. KS is
`scipy.stats.ks_2samp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from training.drift_residuals import WEEK_HOURS

Singles: TypeAlias = npt.NDArray[np.float32]

BLOCK_HOURS: Final = 6
BLOCKS: Final = WEEK_HOURS // BLOCK_HOURS
SAMPLE_ROWS: Final = 256
"""Rows kept of a block: KS at p = .0001 then tells distributions that differ by .2 somewhere, about what PSI .25 is."""
LEAST_ROWS: Final = 128
"""A block with fewer is not compared, and no reference."""
FEATURES_MAX: Final = 32
"""Features watched per model. A sample of all of them is 34 to 68 kB, and there are 28 blocks."""
BINS: Final = 10
PSI_WARN: Final = 0.1
PSI_ACT: Final = 0.25
KS_P: Final = 1e-4
"""Below this, divided by the number of columns, samples differ: one false alarm in 10,000 blocks, about seven years."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A column whose distribution has moved: means before and after, and how strong either test finds it."""

    column: int
    """0 is the score, others are features + 1."""
    before: float
    after: float
    psi: float
    ks_p: float
    """p-value of the two-sample Kolmogorov-Smirnov test, after Bonferroni's correction: at most 1."""
    rows_before: int
    rows_after: int


class Sample:
    """Rows of equal length, thinned evenly: when full, every second is dropped and from then on every second row is
    passed over. No randomness, and neighbours, which are alike, are the first to go."""

    def __init__(self, rows: Sequence[tuple[float, ...]] = (), seen: int = 0, stride: int = 1) -> None:
        self.rows, self.seen, self.stride = list(rows), seen, stride

    def wants(self) -> bool:
        """Whether the row that comes now is one of those kept; it counts as seen."""
        self.seen += 1
        return (self.seen - 1) % self.stride == 0

    def add(self, row: tuple[float, ...]) -> None:
        """Keep a row that was wanted."""
        self.rows.append(row)
        if len(self.rows) >= SAMPLE_ROWS * 2:
            del self.rows[1::2]
            self.stride *= 2

    def table(self) -> Singles:
        """Shape (rows, columns)."""
        return np.array(self.rows, np.float32)


class _Packed(msgspec.Struct, frozen=True):
    columns: int
    block: int
    rows: bytes
    seen: int
    stride: int


class Windows:
    """Score and features of one model."""

    def __init__(self) -> None:
        self._columns = 0
        self._block = -1
        self._sample = Sample()
        self._reference: dict[int, Singles] = {}
        self.reference_changed = False
        """Since `pack_reference`; it does 28 times after a training, and is large."""

    def rebase(self) -> None:
        """What comes from now on is what later weeks are compared with: after a promotion."""
        self._reference = {}
        self.reference_changed = True
        self._block, self._sample = -1, Sample()

    def add(self, hour: int, score: float, features: tuple[float, ...]) -> list[Shift]:
        """One row at ``hour`` since the epoch; what a block just over has shown. A model whose number of features
        changed starts again; only the first `FEATURES_MAX` are watched."""
        columns = min(len(features), FEATURES_MAX) + 1
        if columns != self._columns:
            self.rebase()
            self._columns = columns
        block = hour // BLOCK_HOURS
        shifts: list[Shift] = []
        if block > self._block:
            shifts = self._close()
            self._block, self._sample = block, Sample()
        if self._sample.wants():
            self._sample.add((score, *features[:FEATURES_MAX]))
        return shifts

    def pack(self) -> bytes:
        """All but the reference, exactly."""
        return msgspec.msgpack.encode(
            _Packed(
                self._columns,
                self._block,
                np.array(self._sample.rows, "<f8").tobytes(),
                self._sample.seen,
                self._sample.stride,
            )
        )

    def pack_reference(self) -> bytes:
        """The rest."""
        self.reference_changed = False
        return msgspec.msgpack.encode(
            {block: table.astype("<f4").tobytes() for block, table in sorted(self._reference.items())}
        )

    @classmethod
    def unpack(cls, data: bytes, reference: bytes | None) -> Windows:
        """What `pack` and `pack_reference` were given, the latter None where there never was one.

        Raises `msgspec.MsgspecError` for other bytes.
        """
        packed = msgspec.msgpack.decode(data, type=_Packed)
        windows = cls()
        windows._columns, windows._block = packed.columns, packed.block
        rows = np.frombuffer(packed.rows, "<f8").reshape(-1, max(packed.columns, 1)).tolist()
        windows._sample = Sample([tuple(row) for row in rows], packed.seen, packed.stride)
        tables = msgspec.msgpack.decode(reference, type=dict[int, bytes]) if reference is not None else {}
        windows._reference = {
            block: np.frombuffer(table, "<f4").astype(np.float32).reshape(-1, max(packed.columns, 1))
            for block, table in tables.items()
        }
        return windows

    def _close(self) -> list[Shift]:
        current = self._sample.table()
        if len(current) < LEAST_ROWS:
            return []
        place = self._block % BLOCKS
        reference = self._reference.get(place)
        if reference is None:
            self._reference[place] = current
            self.reference_changed = True
            return []
        columns = self._columns
        return [shift(column, reference[:, column], current[:, column], columns) for column in range(columns)]


def shift(column: int, reference: Singles, current: Singles, columns: int = 1) -> Shift:
    """Both tests on one column; ``columns`` is how many are tested together."""
    p = float(ks_2samp(reference, current, method="asymp").pvalue) if _differs(reference, current) else 1.0
    return Shift(
        column,
        float(reference.mean()),
        float(current.mean()),
        psi(reference, current),
        min(1.0, p * columns),
        len(reference),
        len(current),
    )


def psi(reference: Singles, current: Singles) -> float:
    """Population stability index, see the module; 0 for equal samples.

    >>> from numpy import arange
    >>> psi(arange(100.0), arange(100.0)), psi(arange(100.0), arange(100.0) + 50) > PSI_ACT
    (0.0, True)
    """
    edges = np.unique(np.quantile(reference, np.arange(1, BINS) / BINS))
    bins = len(edges) + 1
    before, after = (
        (np.bincount(np.searchsorted(edges, values, "left"), minlength=bins) + 0.5) / (len(values) + 0.5 * bins)
        for values in (reference, current)
    )
    return float(((after - before) * np.log(after / before)).sum())


def _differs(reference: Singles, current: Singles) -> bool:
    """A column that is the same number throughout has no distribution to test."""
    return bool(reference.min() != reference.max() or current.min() != current.max() or reference[0] != current[0])
