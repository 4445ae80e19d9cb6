"""The packets of capture files in the order of time: across the devices of a file, and across files.

Packets of one device keep their order, even if their times do not rise. A file whose devices overlap is scanned first,
unless it is a pipe: for each of its parts the scan finds the earliest time that still follows, so that little must be
held back.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from nettop.batch import Array, Batch, Counter64, End, Gap, Item, PacketMeta, Stream, StreamAdded, select_rows
from nettop.errors import InputError
from nettop.kinds import NO_TIME, StreamKind
from nettop.recording import blocks
from nettop.recording.chunks import CHUNK
from nettop.recording.reader import CaptureReader
from nettop.recording.records import FileBlock, Ints, Numbering, Ordered, Other

HOLD_NS = 1_000_000_000  # a pipe's devices deliver a packet within this time, by its own stamps
HOLD_MS = 200  # a pipe that brings nothing for so long has delivered all there is
_WAIT_MS = 1_000  # a signal that comes just before a blocking read would not interrupt it
MAX_HELD = 256  # parts, of a chunk of a file each (4 MiB), that wait for earlier packets
_PEEK = 1 << 16  # bytes of each of many files that are read to find where it begins
_FEW_FILES = 8  # so many are begun at once
_LAST = (1 << 63) - 1

_AT_ONCE = (blocks.SHB, blocks.IDB, blocks.NRB, blocks.DSB)

Select = Callable[[Batch, dict[int, Stream]], Batch]


@dataclass(slots=True)
class _HeldBatch:
    """A batch, or other items, that wait for their turn; `key` is the time they are ordered by, `tie` comes next."""

    key: Ints
    tie: Ints  # twice the number in the file; odd: before the packet of the next number
    file: int
    batch: Batch | None
    others: Array | None = None  # of Other


class CaptureInput:
    """One file on its way through the merge. `end` is the End of a damaged one, `error` one that was not readable."""

    def __init__(
        self, path: str, source: int | InputError, ids: Counter64, select: Select, keep_blocks: bool = False
    ) -> None:
        self.path = path
        self.error: InputError | None = source if isinstance(source, InputError) else None
        self.end: End | None = None
        self.streams: dict[int, Stream] = {}
        self.floor = NO_TIME  # no packet still to be read comes before
        self.number = 0  # among the files
        self._fd = -1 if isinstance(source, InputError) else source
        self._ids, self._select, self._keep = ids, select, keep_blocks
        self._reader: CaptureReader | None = None
        self._blocks: list[FileBlock] = []
        self._devices: set[int] = set()  # streams of packets
        self._newest: dict[int, int] = {}  # stream → time of its newest packet
        self._last_key = NO_TIME
        self._reads = 0
        self._floors: list[int] | None = None  # after each read, by a scan

    @property
    def is_pcap(self) -> bool:
        """True for a pcap file, which has one link type. False before the first read."""
        return self._reader is not None and self._reader.is_pcap

    @property
    def begun(self) -> bool:
        """True if it is known where the file begins."""
        return self._reads > 0 or self.floor > NO_TIME

    @property
    def ended(self) -> bool:
        """True when nothing more comes."""
        return self.error is not None or self.end is not None

    def peek(self) -> None:
        """Find out about where the file begins, without keeping it."""
        if self._reader is None and not self.ended and self._fd >= 0 and stat.S_ISREG(os.fstat(self._fd).st_mode):
            other = CaptureInput(self.path, os.dup(self._fd), Counter64(), _all_packets)
            keys = [int(part.key.min()) for part in other.read(_PEEK) if len(part.key)]
            self.floor = min(keys, default=NO_TIME)
            if len(other._devices) > 1 and not other.ended:
                self._floors = self._scanned()
                self.floor = self._floors[0]
            other.close()

    def read(self, chunk: int = CHUNK) -> list[_HeldBatch]:
        """Open the file or read its next chunk; sets `floor`, and `end` or `error` at the end."""
        items: list[Item] = []
        try:
            self._reader = self._reader or self._opened(chunk)
            if not self.silent(_WAIT_MS):
                items = self._reader.read()
        except InputError as error:
            self.error = error
        held = self._keyed(items) if items else []
        if items:
            self._reads += 1
            self._set_floor()
        if self.ended:
            self.floor = _LAST
            self.close()
        return held

    def _opened(self, chunk: int) -> CaptureReader:
        keep, count = self._blocks.append if self._keep else None, Counter64().next
        numbering = Numbering(count, self._ids.next, self.path, seekable=False, packets_only=True, keep_block=keep)
        return CaptureReader(self._fd, self.path, numbering, chunk)

    def silent(self, wait_ms: int) -> bool:
        """Wait for a pipe's next bytes. Return whether none came in that time."""
        reader = self._reader
        if reader is None or reader.ready:
            return False
        poller = select.poll()
        poller.register(reader.fileno(), select.POLLIN)
        return not poller.poll(wait_ms)

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
        elif self._fd >= 0:
            os.close(self._fd)
        self._reader, self._fd = None, -1

    def _set_floor(self) -> None:
        """Set the floor: a device's times only rise, so one device needs no scan, and a pipe gets some time."""
        several = len(self._devices) > 1
        if several and self._floors is None and self._reader is not None and self._reader.regular and not self.ended:
            self._floors = self._scanned()
        newest = max(self._newest.values(), default=NO_TIME)
        if self._floors is not None and self._reads < len(self._floors):
            self.floor = self._floors[self._reads]
        elif several and self._reader is not None and not self._reader.regular:
            self.floor = max(self.floor, newest - HOLD_NS)
        else:
            self.floor = newest

    def _scanned(self) -> list[int]:
        """Return, for each chunk, the earliest key in it and those after it."""
        other = CaptureInput(self.path, os.dup(self._fd), Counter64(), _all_packets)
        other._floors = []
        earliest: list[int] = []
        while not other.ended:
            keys = [int(part.key.min()) for part in other.read() if part.batch is not None and len(part.key)]
            earliest.append(min(keys, default=_LAST))
        floors = np.minimum.accumulate(np.array(earliest[::-1], np.int64))[::-1]
        return [int(floor) for floor in floors]

    def _keyed(self, items: list[Item]) -> list[_HeldBatch]:
        """Return the items with the keys that order them."""
        packets: list[tuple[Batch, Ints, Ints]] = []
        others: list[Other] = []
        for item in items:
            if isinstance(item, StreamAdded):
                self.streams[item.stream.id] = item.stream
                if item.stream.kind is StreamKind.PACKETS:
                    self._devices.add(item.stream.id)
            elif isinstance(item, Batch) and isinstance(item.meta, PacketMeta) and item.meta.number is not None:
                key, number = self._rising(item), item.meta.number.astype(np.int64)
                packets.append((item, key, number))
            elif isinstance(item, Gap) and item.stream in self._devices:
                others.append(item)
            elif isinstance(item, End) and item.stream is None:
                self.end = item
        others, self._blocks[:] = [*others, *self._blocks], []
        held = [self._selected(*part) for part in packets]
        if others:
            held.append(self._others(others, packets))
        self._last_key = max([self._last_key, *(int(key.max()) for _, key, _ in packets)])
        return held

    def _selected(self, batch: Batch, key: Ints, number: Ints) -> _HeldBatch:
        kept = self._select(batch, self.streams)
        if len(kept) != len(batch):
            assert isinstance(kept.meta, PacketMeta) and kept.meta.number is not None
            rows = np.searchsorted(number, kept.meta.number.astype(np.int64))
            key, number = key[rows], number[rows]
        return _HeldBatch(key, 2 * number, self.number, kept)

    def _rising(self, batch: Batch) -> Ints:
        """Return each packet's time, or that of an earlier packet of its device if that one is later."""
        assert isinstance(batch.meta, PacketMeta)
        streams = batch.meta.streams
        if streams is None:
            return self._rising_of(batch.stream, batch.ts_ns)
        key = np.empty(len(batch), np.int64)
        order = np.argsort(streams, kind="stable")
        cuts = np.flatnonzero(np.diff(streams[order])) + 1
        for rows in np.split(order, cuts):
            key[rows] = self._rising_of(int(streams[rows[0]]), batch.ts_ns[rows])
        return key

    def _rising_of(self, stream: int, ts_ns: Ints) -> Ints:
        key = np.maximum.accumulate(np.maximum(ts_ns, self._newest.get(stream, NO_TIME)))
        self._newest[stream] = int(key[-1])
        return key

    def _others(self, others: list[Other], packets: list[tuple[Batch, Ints, Ints]]) -> _HeldBatch:
        """Return losses and blocks, each with the key of the packets before it in the file.

        Descriptions, names and keys come as soon as possible: packets of their section may be earlier than those.
        """
        number = np.concatenate([np.empty(0, np.int64), *(number for _, _, number in packets)])
        key = np.concatenate([np.empty(0, np.int64), *(key for _, key, _ in packets)])
        order = np.argsort(number, kind="stable")
        highest = np.maximum.accumulate(np.concatenate(([self._last_key], key[order])))
        before = np.array([one.before for one in others], np.int64)
        keys = highest[np.searchsorted(number[order], before)]
        keys[[isinstance(one, FileBlock) and one.kind in _AT_ONCE for one in others]] = NO_TIME
        return _HeldBatch(keys, 2 * before - 1, self.number, None, np.array(others, object))


def _all_packets(batch: Batch, streams: dict[int, Stream]) -> Batch:
    return batch


def merged(inputs: list[CaptureInput]) -> Iterator[Ordered]:
    """Yield all packets, losses and blocks of the files, in the order of time."""
    for number, one in enumerate(inputs):
        one.number = number
        if len(inputs) > _FEW_FILES:
            one.peek()
    held: list[_HeldBatch] = []
    running = [one for one in inputs if not one.ended]
    while running:
        lowest = min(running, key=lambda one: one.floor)
        if held and len(running) == 1 and lowest.silent(HOLD_MS):
            yield _in_order(held)
            held = []
        held += lowest.read()
        running = [one for one in running if not one.ended]
        until = min((one.floor for one in running), default=_LAST)
        due, rest = [], []
        for part in held:
            ready = part.key <= until
            if ready.all():
                due.append(part)
            elif not ready.any():
                rest.append(part)
            else:
                due.append(select_rows(part, ready))
                rest.append(select_rows(part, ~ready))
        if len(rest) > MAX_HELD:
            yield replace(_in_order([*due, *rest]), strict=False)
            held = []
        elif due and all(one.begun for one in running):
            held = rest
            yield _in_order(due)
    if held:
        yield _in_order(held)


def _in_order(parts: list[_HeldBatch]) -> Ordered:
    """Return parts as one, ordered by key, file and place in the file."""
    parts = sorted(parts, key=lambda part: part.batch is None)  # batches first: the sort is stable
    key = np.concatenate([part.key for part in parts])
    tie = np.concatenate([part.tie for part in parts])
    file = np.concatenate([np.full(len(part.key), part.file) for part in parts])
    batches = [part.batch for part in parts if part.batch is not None and len(part.batch)]
    others = [one for part in parts if part.others is not None for one in part.others]
    order, rows = np.lexsort((tie, file, key)), len(key) - len(others)
    is_other = order >= rows
    others = [others[at] for at in (order[is_other] - rows).tolist()]
    order[is_other] = np.arange(rows, len(key))
    return Ordered(batches, others, order)
