"""The packets a list can show: blocks and gaps in order, bounded by a byte budget, with a filter over all of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Gap, PacketMeta, Stream
from nettop.model.filter.expression import Filter, Mask
from nettop.model.packets.blocks import MAX_STREAMS, OnColumns, PacketBlock, block_of, joinable, joined
from nettop.model.packets.fields import fields_of
from nettop.model.packets.reorder import Arrivals

MAX_READ = 1 << 18  # bytes of one record that are read again from a file
MAX_SPAN = 1 << 24  # bytes of a file that are read at once, with what is between the records
BYTES_ROWS = 4_096  # packets whose bytes are tested at once


@dataclass(slots=True)
class GapRow:
    """A loss in the list; its identity is negative."""

    ident: int
    gap: Gap
    stream: Stream | None

    def __len__(self) -> int:
        return 1


Segment = PacketBlock | GapRow


class FileBytes:
    """The files of the packets, opened to read records again."""

    def __init__(self, opener: Callable[[str], int]) -> None:
        self._open = opener
        self._files: dict[str, int | None] = {}

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Return up to `size` bytes at `offset`; b"" when the file cannot be read."""
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
        """Close the files."""
        for descriptor in self._files.values():
            if descriptor is not None:
                os.close(descriptor)
        self._files.clear()


def open_for_reading(path: str) -> int:
    """Return a descriptor of the file."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


class PacketStore:
    """Packets and losses in order: appended, evicted, filtered and found."""

    def __init__(
        self, budget: int, opener: Callable[[str], int] = open_for_reading, on_columns: OnColumns | None = None
    ) -> None:
        """Begin with no packets. `on_columns` is called once for every batch, with its decoded columns."""
        self.segments: deque[Segment] = deque()
        self.seen = 0  # packets ever appended
        self.evicted = 0  # packets removed to stay within the budget
        self.lost = 0  # packets counted by Gaps
        self.lost_unknown = False  # some Gap did not know how many
        self.budget = budget
        self._on_columns = on_columns
        self.cost = 0  # bytes of memory
        self._gaps = 0
        self._numbered = 0  # live packets that have a number
        self._arrivals = Arrivals()
        self._filter: Filter | None = None
        self._files = FileBytes(opener)

    def expect(self, stream: Stream) -> None:
        """Announce a stream: live packets are ordered across all devices announced."""
        if not stream.file:
            self._arrivals.expect(stream)

    def append(self, batch: Batch, stream: Stream) -> None:
        """Add a batch of packets."""
        if not len(batch):
            return
        self.seen += len(batch)
        if isinstance(batch.meta, PacketMeta) and batch.meta.number is not None:
            self._add_block(block_of(batch, stream, self._on_columns))  # of a file, which numbers its packets
            return
        self._arrivals.add(batch, stream)
        ready_ns = self._arrivals.ready_ns()
        if ready_ns is not None:
            self.settle(ready_ns)

    def settle(self, until_ns: int) -> None:
        """Give numbers to the live packets up to that time and add them to the list."""
        parts = sorted(self._arrivals.settled(until_ns), key=lambda part: int(part[0].ts_ns[0]))
        for first in range(0, len(parts), MAX_STREAMS):
            self._number(parts[first : first + MAX_STREAMS])

    def first_ns(self) -> int | None:
        """Return the time of the first packet; None: there is none."""
        return next((int(one.ts_ns[0]) for one in self.segments if isinstance(one, PacketBlock)), None)

    @property
    def waiting(self) -> bool:
        """True while live packets are held back."""
        return self._arrivals.rows > 0

    def _number(self, parts: list[tuple[Batch, Stream]]) -> None:
        blocks = [block_of(batch, stream, self._on_columns) for batch, stream in parts]
        block = joined(blocks) if len(blocks) > 1 else blocks[0]
        block.ident = np.arange(self._numbered + 1, self._numbered + 1 + len(block), dtype=np.int64)
        self._numbered += len(block)
        self._add_block(block)

    def _add_block(self, block: PacketBlock) -> None:
        while self.segments and isinstance(last := self.segments[-1], PacketBlock) and joinable(last, block):
            self.segments.pop()
            self.cost -= last.cost()
            block = joined((last, block))
        self.cost += block.cost()  # only now: blocks that share a buffer may have been joined
        self.segments.append(block)
        self._evict()

    def gap(self, gap: Gap, stream: Stream | None) -> None:
        """Add a loss after the packets up to its end."""
        self.settle(gap.to_ns)
        self._gaps += 1
        self.segments.append(GapRow(-self._gaps, gap, stream))
        self.lost += gap.lost or 0
        self.lost_unknown |= gap.lost is None

    def _evict(self) -> None:
        while self.cost > self.budget and len(self.segments) > 1:
            oldest = self.segments.popleft()
            if isinstance(oldest, PacketBlock):
                self.cost -= oldest.cost()
                self.evicted += len(oldest)

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def set_filter(self, display_filter: Filter | None) -> None:
        """Apply a display filter to shown(), row() and position(). It is evaluated once per block."""
        before, after = (one and one.text for one in (self._filter, display_filter))
        if before != after:
            for segment in self.segments:
                if isinstance(segment, PacketBlock):
                    segment.matched = None
        self._filter = display_filter

    def shown(self, segment: Segment) -> int:
        """Return how many rows of a segment match the filter; a gap always does."""
        if isinstance(segment, GapRow) or self._filter is None:
            return len(segment)
        return len(self._matched(segment, self._filter))

    def _matched(self, block: PacketBlock, display_filter: Filter) -> NDArray[np.uint32]:
        if block.matched is None:
            block.matched = np.flatnonzero(self._mask(block, display_filter)).astype(np.uint32)
        return block.matched

    def _mask(self, block: PacketBlock, display_filter: Filter) -> Mask:
        if not display_filter.tests_bytes:
            return display_filter.mask(block.fields())
        mask, same = np.zeros(len(block), np.bool_), np.zeros(BYTES_ROWS, np.uint8)
        for code, stream in enumerate(block.streams):
            rows = np.flatnonzero(block.stream_index == code)
            for start in range(0, len(rows), BYTES_ROWS):
                part = rows[start : start + BYTES_ROWS]
                fields = fields_of(self._batch(block, part)[1], (stream,), same[: len(part)], 0, len(part))
                mask[part] = display_filter.mask(fields)
        return mask

    def row(self, block: PacketBlock, position: int) -> int:
        """Return the row of a block at a position among its shown rows."""
        return position if self._filter is None else int(self._matched(block, self._filter)[position])

    def position(self, block: PacketBlock, row: int) -> int | None:
        """Return the position of a row among the shown rows of its block; None when the filter hides it."""
        if self._filter is None:
            return row
        matched = self._matched(block, self._filter)
        at = int(np.searchsorted(matched, row))
        return at if at < len(matched) and int(matched[at]) == row else None

    def find(self, ident: int) -> tuple[Segment, int] | None:
        """Return the segment and row of an identity; None when there is none (any more)."""
        for segment in reversed(self.segments):
            if isinstance(segment, GapRow):
                if segment.ident == ident:
                    return segment, 0
            elif ident > 0:
                rows = np.flatnonzero(segment.ident == ident)
                if len(rows):
                    return segment, int(rows[0])
        return None

    def record(self, block: PacketBlock, row: int) -> bytes:
        """Return the captured bytes of a row; b"" when its file cannot be read."""
        start, size = int(block.off[row]), int(block.caplen[row])
        if block.buf is not None:
            return bytes(memoryview(block.buf)[start : start + size])
        return self._files.read(block.stream(row).file, block.base + start, min(size, MAX_READ))

    def batches(self, display_filter: Filter | None) -> Iterator[tuple[list[Stream], Batch]]:
        """Yield the packets that match the filter as batches, in order, for an export, and each batch's streams."""
        for segment in list(self.segments):
            if isinstance(segment, PacketBlock):
                everything = np.ones(len(segment), np.bool_)
                mask = everything if display_filter is None else self._mask(segment, display_filter)
                if mask.any():
                    yield self._batch(segment, np.flatnonzero(mask))

    def _batch(self, block: PacketBlock, rows: NDArray[np.intp]) -> tuple[list[Stream], Batch]:
        known = block.comment
        comment = {at: known[ident] for at, ident in enumerate(block.ident[rows].tolist()) if ident in known}
        codes = block.stream_index[rows]
        streams = [block.streams[code] for code in np.unique(codes).tolist()]
        meta = PacketMeta(block.length[rows], block.directions(rows), None, comment)
        if len(streams) > 1:
            meta = replace(meta, streams=np.array([stream.id for stream in block.streams], np.int32)[codes])
        first, ts_ns = streams[0].id, block.ts_ns[rows]
        if block.buf is not None:
            return streams, Batch(first, 0, block.buf, block.off[rows], block.caplen[rows], ts_ns, meta)
        begin, size = int(block.off[rows].min()), int((block.off[rows].astype(np.int64) + block.caplen[rows]).max())
        if size - begin <= MAX_SPAN and size - begin < 2 * int(block.caplen[rows].sum()) + (1 << 16):
            buf = self._files.read(streams[0].file, block.base + begin, size - begin)
            off = block.off[rows] - np.uint32(begin)
            caplen = np.clip(len(buf) - off.astype(np.int64), 0, block.caplen[rows]).astype(np.uint32)
            return streams, Batch(first, 0, buf, np.minimum(off, len(buf)), caplen, ts_ns, meta)
        records = [self.record(block, row) for row in rows.tolist()]
        caplen = np.array([len(record) for record in records], np.uint32)
        off = np.concatenate(([0], np.cumsum(caplen)[:-1])).astype(np.uint32)
        return streams, Batch(first, 0, b"".join(records), off, caplen, ts_ns, meta)
