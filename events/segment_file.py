"""Reading one segment: a walk that checks every batch once, a sparse index, and blocks of whole batches.

A *block* is a run of whole batches of at least 16 KiB, from one index entry to the next. It is what is read, checked
and cached; a record inside it is found by bisection and decoded alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from events.disk import Disk, File
from events.errors import Corrupt
from events.record import Record
from events.segment import (
    HEADER_BYTES,
    Batch,
    Header,
    batch_size,
    decode_one,
    decode_slice,
    parse,
    parse_index,
)

BLOCK_BYTES = 16 * 1024
"""An index entry costs 16 bytes of memory, so a thousandth of the log; a cold `get` reads one block."""

_WINDOW_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """A run of whole, checked batches."""

    batches: tuple[Batch, ...]
    bases: tuple[int, ...]
    size: int

    @property
    def stop(self) -> int:
        """The LSN after its last."""
        return self.bases[-1] + self.batches[-1].number

    def record(self, lsn: int) -> Record:
        batch = self.batches[bisect_right(self.bases, lsn) - 1]
        return decode_one(batch.body, batch.number, lsn - batch.base)

    def records(self, start: int, stop: int) -> list[Record]:
        """Those of the block with start <= LSN < stop."""
        found: list[Record] = []
        for batch in self.batches[max(0, bisect_right(self.bases, start) - 1) :]:
            if batch.base >= stop:
                break
            first, last = max(start - batch.base, 0), min(stop - batch.base, batch.number)
            if first < last:
                found += decode_slice(batch.body, batch.number, first, last)
        return found


class BlockCache:
    """The blocks used last, up to a number of bytes (always at least one block)."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._blocks: OrderedDict[tuple[str, int], Block] = OrderedDict()

    def get(self, key: tuple[str, int]) -> Block | None:
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def put(self, key: tuple[str, int], block: Block) -> None:
        before = self._blocks.pop(key, None)
        self._blocks[key] = block
        self._bytes += block.size - (0 if before is None else before.size)
        while self._bytes > self._bytes_max and len(self._blocks) > 1:
            self._bytes -= self._blocks.popitem(last=False)[1].size


class SegmentFile:
    """One segment, known up to (``end``, ``length``): the LSN and offset after the last batch walked over.

    A segment that has a successor is *sealed*: `seal` tells where it ends, and anything found past that is ignored.
    """

    def __init__(self, disk: Disk, path: str, header: Header) -> None:
        self.header = header
        self.end = header.base
        self.length = HEADER_BYTES
        self.chain = header.check
        """The check of the last batch walked over."""
        self.sealed: tuple[int, int] | None = None
        self._disk = disk
        self._path = path
        self._file: File | None = None
        self._lsns = array("Q")
        self._offsets = array("Q")

    def seal(self, end: int, length: int) -> None:
        """``end`` is the base of the segment that follows, ``length`` what that segment's header says of this one."""
        self.sealed = (end, length)
        if self.end > end:
            # The tail past the last durable mark was walked here before the next owner rewrote it.
            while self._lsns and self._lsns[-1] >= end:
                self._lsns.pop()
                self._offsets.pop()
            self.end, self.length = end, length

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def grew(self, number: int, length: int, check: int) -> None:
        """A batch of ``number`` records that ends at offset ``length`` now stands at the end."""
        self._note(self.end, self.length)
        self.end += number
        self.length = length
        self.chain = check

    def index_entries(self) -> list[tuple[int, int]]:
        """The sparse index and the end, as they are stored."""
        return [*zip(self._lsns, self._offsets, strict=True), (self.end, self.length)]

    def block(self, lsn: int, stop: int, cache: BlockCache) -> Block:
        """The block that holds ``lsn``, where records up to ``stop`` are known to be."""
        self.reach(stop)
        start, end = self._reach_of(bisect_right(self._lsns, lsn) - 1)
        key = (self.header.name, start)
        block = cache.get(key)
        if block is None or block.size > end - start:
            block = Block((), (), 0)
        if block.size < end - start:
            # The last block grows with every append: only what is new of it is read.
            batches = block.batches + tuple(batch for batch, _ in self._parsed(start + block.size, end))
            block = Block(batches, tuple(batch.base for batch in batches), end - start)
            cache.put(key, block)
        return block

    def reach(self, lsn: int) -> None:
        """Know the segment at least up to ``lsn``. Raises `Corrupt` where that is impossible."""
        if lsn <= self.end:
            return
        if self.sealed is None:
            self._walk_to(lsn)
            return
        if self.length > HEADER_BYTES or not self._load_index():
            self._walk_to(self.sealed[0])
        if (self.end, self.length) != self.sealed:
            end, length = self.sealed
            raise Corrupt(
                f"segment {self.header.name} ends at LSN {self.end}, offset {self.length}, but the segment after it "
                f"follows LSN {end}, offset {length}: restore the file from a backup"
            )

    def walk(self, lsn: int) -> bool:
        """Go over whole, unharmed batches until ``lsn`` is reached; False when there are not that many."""
        window = BLOCK_BYTES
        while self.end < lsn:
            view = memoryview(self.read(self.length, window))
            if self._consume(view, lsn):
                window = min(2 * window, _WINDOW_MAX)
                continue
            needed = batch_size(view, 0)
            if needed <= len(view) or needed > self.size() - self.length:
                return False
            window = needed
        return True

    def read(self, offset: int, size: int) -> bytes:
        """Raw bytes. Raises `NotFound` when the file is gone."""
        return self._opened().read(offset, size)

    def size(self) -> int:
        """Bytes of the file, those past the end included."""
        return self._opened().size()

    def batches(self, lsn: int) -> Iterator[tuple[Batch, int]]:
        """The batches walked over from the one that holds ``lsn`` on, each with its offset."""
        number = max(0, bisect_right(self._lsns, lsn) - 1)
        while number < len(self._offsets):
            for batch, offset in self._parsed(*self._reach_of(number)):
                if batch.base + batch.number > lsn:
                    yield batch, offset
            number += 1

    def bad(self) -> Corrupt:
        return Corrupt(
            f"segment {self.header.name}: the batch at offset {self.length} (LSN {self.end}) is missing or fails its "
            "check, and it is no torn tail: nothing is dropped; restore the file from a backup"
        )

    def _opened(self) -> File:
        if self._file is None:
            self._file = self._disk.open(self._path, "read")
        return self._file

    def _walk_to(self, lsn: int) -> None:
        if not self.walk(lsn):
            raise self.bad()

    def _consume(self, view: memoryview, stop: int) -> int:
        at = 0
        while self.end < stop:
            batch = parse(view, at)
            if batch is None or batch.base != self.end or batch.chain != self.chain:
                break
            self.grew(batch.number, self.length + batch.end - at, batch.check)
            at = batch.end
        return at

    def _note(self, lsn: int, offset: int) -> None:
        if not self._offsets or offset - self._offsets[-1] >= BLOCK_BYTES:
            self._offsets.append(offset)
            self._lsns.append(lsn)

    def _load_index(self) -> bool:
        assert self.sealed is not None
        end, length = self.sealed
        entries = parse_index(self.read(length, self.size() - length))
        if not entries or entries[-1] != (end, length):
            return False
        self._lsns = array("Q", [lsn for lsn, _ in entries[:-1]])
        self._offsets = array("Q", [offset for _, offset in entries[:-1]])
        self.end, self.length = end, length
        return True

    def _reach_of(self, number: int) -> tuple[int, int]:
        last = number + 1 == len(self._offsets)
        return self._offsets[number], self.length if last else self._offsets[number + 1]

    def _parsed(self, start: int, stop: int) -> list[tuple[Batch, int]]:
        view = memoryview(self.read(start, stop - start))
        found: list[tuple[Batch, int]] = []
        at = 0
        while at < stop - start:
            batch = parse(view, at)
            if batch is None:
                raise Corrupt(
                    f"segment {self.header.name}: the batch at offset {start + at} fails its check: nothing is "
                    "dropped; restore the file from a backup"
                )
            found.append((batch, start + at))
            at = batch.end
        return found
