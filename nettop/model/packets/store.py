"""The packets a list can show: blocks and gaps in order, bounded by a byte budget, with a filter over all of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nettop.batch import Batch, Gap, PacketMeta, Stream
from nettop.model.filter.expression import Filter
from nettop.model.packets.blocks import MAX_STREAMS, Block, Told, block_of, joinable, joined
from nettop.model.packets.reorder import Arrivals

MAX_READ = 1 << 18  # bytes of one record that are read back from a file


@dataclass(slots=True)
class GapRow:
    """A loss at its place in the list; its identity is negative."""

    ident: int
    gap: Gap
    stream: Stream | None

    def __len__(self) -> int:
        return 1


Segment = Block | GapRow


class FileBytes:
    """Reads records back from the files they came from."""

    def __init__(self, opener: Callable[[str], int]) -> None:
        self._open = opener
        self._files: dict[str, int | None] = {}

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Up to size bytes at offset; empty when the file is gone."""
        if path not in self._files:
            try:
                self._files[path] = self._open(path)
            except OSError:
                self._files[path] = None
        descriptor = self._files[path]
        try:
            return b"" if descriptor is None else os.pread(descriptor, size, offset)
        except OSError:
            return b""

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._files.values():
            if descriptor is not None:
                os.close(descriptor)
        self._files.clear()


def _open_for_reading(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class PacketStore:
    """Appends, evicts, filters and finds rows."""

    def __init__(self, budget: int, opener: Callable[[str], int] = _open_for_reading) -> None:
        self.segments: deque[Segment] = deque()
        self.seen = 0  # packets ever appended
        self.evicted = 0  # packets given up for room
        self.lost = 0  # packets that Gaps tell of
        self.lost_unknown = False  # a Gap did not know how many
        self.budget = budget
        self.told: Told | None = None  # is given the decoded columns of every batch, once
        self._cost = 0
        self._gaps = 0
        self._numbered = 0  # live packets that have a number
        self._arrivals = Arrivals()
        self._filter: Filter | None = None
        self._files = FileBytes(opener)

    def expect(self, stream: Stream) -> None:
        """Packets of this stream will come: live ones wait for one another across devices."""
        if not stream.file:
            self._arrivals.expect(stream)

    def append(self, batch: Batch, stream: Stream) -> None:
        """One more batch of packets."""
        if not len(batch):
            return
        self.seen += len(batch)
        if isinstance(batch.meta, PacketMeta) and batch.meta.number is not None:
            self._place(block_of(batch, stream, 1, self.told))  # of a file: its numbers say the order
            return
        self._arrivals.add(batch, stream)
        ready_ns = self._arrivals.ready_ns()
        if ready_ns is not None:
            self.settle(ready_ns)

    def settle(self, until_ns: int) -> None:
        """Give live packets up to that time their places and their numbers."""
        parts = sorted(self._arrivals.settled(until_ns), key=lambda part: int(part[0].ts_ns[0]))
        for first in range(0, len(parts), MAX_STREAMS):
            self._number(parts[first : first + MAX_STREAMS])

    @property
    def waiting(self) -> bool:
        """Whether live packets wait for their places."""
        return self._arrivals.rows > 0

    def _number(self, parts: list[tuple[Batch, Stream]]) -> None:
        blocks = [block_of(batch, stream, 1, self.told) for batch, stream in parts]
        block = joined(blocks) if len(blocks) > 1 else blocks[0]
        block.ident = np.arange(self._numbered + 1, self._numbered + 1 + len(block), dtype=np.int64)
        self._numbered += len(block)
        self._place(block)

    def _place(self, block: Block) -> None:
        while self.segments and isinstance(last := self.segments[-1], Block) and joinable(last, block):
            self.segments.pop()
            self._cost -= last.cost()
            block = joined((last, block))
        self._cost += block.cost()  # of what is kept now: parts of one buffer may have become one
        self.segments.append(block)
        self._evict()

    def gap(self, gap: Gap, stream: Stream | None) -> None:
        """A loss, at this place."""
        self.settle(gap.to_ns)
        self._gaps += 1
        self.segments.append(GapRow(-self._gaps, gap, stream))
        self.lost += gap.lost or 0
        self.lost_unknown |= gap.lost is None

    def _evict(self) -> None:
        while self._cost > self.budget and len(self.segments) > 1:
            gone = self.segments.popleft()
            if isinstance(gone, Block):
                self._cost -= gone.cost()
                self.evicted += len(gone)

    def clear(self) -> None:
        """Forget everything shown; what was there counts as evicted."""
        self.evicted = self.seen
        self._arrivals.clear()
        self.segments.clear()
        self._cost = 0

    def close(self) -> None:
        """Let go of files."""
        self._files.close()

    def set_filter(self, wanted: Filter | None) -> None:
        """From now on `shown` and `rows` are of what this filter lets through. Blocks are asked once."""
        if wanted is not self._filter and (wanted is None or self._filter is None or wanted.text != self._filter.text):
            for segment in self.segments:
                if isinstance(segment, Block):
                    segment.matched = None
        self._filter = wanted

    def shown(self, segment: Segment) -> int:
        """How many rows of a segment the filter lets through; a gap always shows."""
        if isinstance(segment, GapRow) or self._filter is None:
            return len(segment)
        return len(self._matched(segment, self._filter))

    def _matched(self, block: Block, wanted: Filter) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        if block.matched is None:
            block.matched = np.flatnonzero(wanted.mask(block.fields())).astype(np.uint32)
        return block.matched

    def row(self, block: Block, position: int) -> int:
        """The row of a block at a position among those shown."""
        return position if self._filter is None else int(self._matched(block, self._filter)[position])

    def position(self, block: Block, row: int) -> int | None:
        """The other way round; None when the filter hides the row."""
        if self._filter is None:
            return row
        matched = self._matched(block, self._filter)
        at = int(np.searchsorted(matched, row))
        return at if at < len(matched) and int(matched[at]) == row else None

    def find(self, ident: int) -> tuple[Segment, int] | None:
        """The segment and row of an identity."""
        for segment in reversed(self.segments):
            if isinstance(segment, GapRow):
                if segment.ident == ident:
                    return segment, 0
            elif ident > 0:
                rows = np.flatnonzero(segment.ident == ident)
                if len(rows):
                    return segment, int(rows[0])
        return None

    def record(self, block: Block, row: int) -> bytes:
        """The captured bytes of a row; empty when its file is gone."""
        start, size = int(block.off[row]), int(block.caplen[row])
        if block.buf is not None:
            return bytes(memoryview(block.buf)[start : start + size])
        path = block.streams[int(block.which[row])].file
        return self._files.read(path, block.base + start, min(size, MAX_READ))

    def batches(self, wanted: Filter | None) -> Iterator[tuple[Stream, Batch]]:
        """What the filter lets through as batches, in order, for an export."""
        for segment in list(self.segments):
            if isinstance(segment, Block):
                mask = np.ones(len(segment), np.bool_) if wanted is None else wanted.mask(segment.fields())
                for code, stream in enumerate(segment.streams):
                    rows = np.flatnonzero(mask & (segment.which == code))
                    if len(rows):
                        yield stream, self._batch(segment, rows, stream)

    def _batch(self, block: Block, rows: np.ndarray[tuple[int], np.dtype[np.intp]], stream: Stream) -> Batch:
        known = block.comment
        comment = {at: known[ident] for at, ident in enumerate(block.ident[rows].tolist()) if ident in known}
        meta = PacketMeta(block.length[rows], block.directions(rows), None, comment)
        if block.buf is not None:
            return Batch(stream.id, 0, block.buf, block.off[rows], block.caplen[rows], block.ts_ns[rows], meta)
        records = [self.record(block, row) for row in rows.tolist()]
        caplen = np.array([len(record) for record in records], np.uint32)
        off = np.concatenate(([0], np.cumsum(caplen)[:-1])).astype(np.uint32)
        return Batch(stream.id, 0, b"".join(records), off, caplen, block.ts_ns[rows], meta)
