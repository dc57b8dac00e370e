"""Which of 64 sets may hold an id: 64 Bloom filters lying side by side, so that one look asks them all.

Word p has one bit per set; an id sets its set's bit in three words chosen by the id itself (a keyed hash, hence evenly
spread), and the AND of these words names the sets that may hold it. With 16 words for each id of a set (2^22, hence
32 MB, for sets of 262,144), a set is named wrongly for one id in 200: (1 - e^(-k·n/m))^k (Bloom, 1970).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from actors.id_set import Ids

SETS: Final = 64
SET_IDS: Final = 262_144
WORDS_PER_ID: Final = 16

_ONE: Final = np.uint64(1)


class IdFilter:
    """
    >>> from actors.id_set import pack_ids
    >>> sieve = IdFilter(); sieve.add(pack_ids([b"a" * 16]), 5); sieve.add(pack_ids([b"b" * 16]), 63)
    >>> [bin(mask) for mask in sieve.masks(pack_ids([b"a" * 16, b"b" * 16, b"c" * 16])).tolist()]
    ['0b100000', '0b1000000000000000000000000000000000000000000000000000000000000000', '0b0']
    """

    def __init__(self, set_ids: int = SET_IDS) -> None:
        """``set_ids``: how many ids one set holds at most."""
        self._bits = (WORDS_PER_ID * set_ids - 1).bit_length()
        assert self._bits <= 32, f"sets of {set_ids} ids want more words than an id can choose from"
        self._words = np.zeros(1 << self._bits, dtype=np.uint64)

    def add(self, ids: Ids, number: int) -> None:
        """Set ``number`` (0..63) holds ``ids``."""
        bit = _ONE << np.uint64(number)
        for at in self._places(ids):
            self._words[at] |= bit

    def masks(self, ids: Ids) -> npt.NDArray[np.uint64]:
        """For each id a word in which bit n says that set n may hold it; where it is 0, set n does not."""
        first, *others = self._places(ids)
        masks = self._words[first]
        for at in others:
            masks &= self._words[at]
        return masks

    def clear(self, number: int) -> None:
        """Set ``number`` is empty again."""
        self._words &= ~(_ONE << np.uint64(number))

    def _places(self, ids: Ids) -> list[npt.NDArray[np.uint64]]:
        shift, mask = np.uint64(self._bits), np.uint64((1 << self._bits) - 1)
        high, low = ids[:, 0] >> _ONE, ids[:, 1]  # the lowest bit of the first word says nothing
        return [low & mask, (low >> shift) & mask, high & mask]
