"""Chance that is a function: every draw of the world is a hash of what it is for (the seed, who, which visit, which
item), not the next number of a stream. So two policies in the same world meet the same luck, and differ by what they
show alone (common random numbers); and no draw depends on how many were made before it.

The hash is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA
2014) over a counter, as in Java's ``SplittableRandom``.
"""

from __future__ import annotations

from hashlib import blake2b
from statistics import NormalDist
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[np.uint64]
Floats: TypeAlias = npt.NDArray[np.float64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11, _52 = (np.uint64(bits) for bits in (30, 27, 31, 11, 52))
_MASK: Final = (1 << 64) - 1
_NORMAL: Final = np.array([NormalDist().inv_cdf((n + 0.5) / 4096) for n in range(4096)])
"""Quantiles of the normal law at the middles of 4,096 equal shares."""


def key_of(*parts: int | str) -> int:
    """A 64-bit key for what these parts name; the same on every machine.

    >>> key_of(7, "visits", 3) == key_of(7, "visits", 3) != key_of(7, "visits", 4)
    True
    """
    text = "\x00".join(f"{part}" for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=b"everfold-world").digest(), "little")


def mixed(*words: int) -> int:
    """`key_of` for a few integers, a hundred times as often: one 64-bit word of them all.

    >>> mixed(1, 2) == mixed(1, 2) != mixed(2, 1)
    True
    """
    state = 0
    for word in words:
        state = ((state ^ (word & _MASK)) * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def words(key: int, names: Words) -> Words:
    """One 64-bit word per name under this key."""
    z = names * _GOLDEN + np.uint64(key & _MASK)
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


def uniforms(key: int, names: Words) -> Floats:
    """In (0, 1), one per name.

    >>> uniforms(5, np.arange(3, dtype=np.uint64)).round(3).tolist()
    [0.714, 0.387, 0.752]
    """
    return ((words(key, names) >> _11).astype(np.float64) + 0.5) * 2.0**-53


def uniform(*words_: int) -> float:
    """One number in (0, 1) for these words."""
    return ((mixed(*words_) >> 11) + 0.5) * 2.0**-53


def normals(key: int, names: Words) -> Floats:
    """Standard normal, one per name, to 12 bits: for tastes, not for tails."""
    return _NORMAL[(words(key, names) >> _52).astype(np.intp)]


def normal(*words_: int) -> float:
    """One standard normal number for these words, to 12 bits."""
    return float(_NORMAL[mixed(*words_) >> 52])


def gumbels(key: int, names: Words) -> Floats:
    """Gumbel noise: the largest of (log weight + noise) is a draw by weight, the n largest, n without returning one."""
    noise: Floats = -np.log(-np.log(uniforms(key, names)))
    return noise
