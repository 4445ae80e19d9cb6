"""Records and marks of one chunk, turned into items: packets in batches, everything in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Counters, Gap, Item, NetlinkMeta, PacketMeta, select_rows
from nettop.kinds import NO_TIME, GapReason
from nettop.linux.netlink import NLM_F_REQUEST
from nettop.linux.packet import PACKET_KERNEL, PACKET_OUTGOING
from nettop.recording import bulk
from nettop.recording.records import BATCH_RECORDS, Interface, Ints, RecordColumns, Streams

_SHORT_RUN = 16  # rows; below this mean run length, kinds or streams that alternate are gathered
_COOKED = 16
_MAX_LOSSES = 1_024  # of one chunk; neighbours among more are added up


@dataclass(frozen=True, slots=True)
class Mark:
    """An item that is no record, and the number of records of its chunk before it."""

    at: int
    item: Item


@dataclass(slots=True)
class Emitter:
    """Appends the items of one chunk to `out`."""

    streams: Streams
    rows: RecordColumns
    interfaces: Sequence[Interface]
    chunk: bytes
    base: int  # the chunk's offset in the file
    out: list[Item]

    def emit(self, marks: Sequence[Mark] = ()) -> None:
        """Append records and marks, as Numbering says."""
        if self.streams.numbering.packets_only:
            self.out.extend(mark.item for mark in (*marks, *self._losses()))
            self._all_packets()
        else:
            self._everything(marks)

    def _all_packets(self) -> None:
        """Append the packets of all interfaces, in one batch for each link type."""
        links = np.array([-1 if one.netlink else one.stream.linktype for one in self.interfaces], np.int64)
        link = links[self.rows.interface]
        for number in np.unique(link[link >= 0]).tolist():
            rows = self._select(np.flatnonzero(link == number))
            ids = self._stream_ids(rows)
            streams = None if (ids == ids[0]).all() else ids.astype(np.int32)
            meta = replace(self._meta(rows), streams=streams, block=rows.block)
            self._batches(rows, int(ids[0]), meta)

    def _everything(self, marks: Sequence[Mark]) -> None:
        """Append records and marks in the order of the file.

        Where packets, netlink messages and statistics alternate so often that each batch would be a few records, the
        packets are gathered: over no loss of packets, and over at most Numbering.slice_ns.
        """
        marks = sorted([*self._losses(), *marks], key=lambda mark: mark.at)
        n = len(self.rows)
        netlink = np.array([interface.netlink for interface in self.interfaces], np.bool_)[self.rows.interface]
        cuts = {mark.at for mark in marks} | {*(np.flatnonzero(netlink[1:] != netlink[:-1]) + 1).tolist()} - {n}
        held = _Held(self, gather=len(cuts) > max(_SHORT_RUN, n // _SHORT_RUN))
        waiting = list(reversed(marks))
        for start, stop in pairwise(sorted(cuts | {0, n})):
            while waiting and waiting[-1].at <= start:
                held.mark(waiting.pop().item)
            held.records(start, stop, bool(netlink[start]))
        while waiting:
            held.mark(waiting.pop().item)
        held.flush()

    def of_packets(self, stream: int) -> bool:
        """Return whether a stream of this chunk carries packets."""
        return any(stream in one.ids.values() for one in self.interfaces if not one.netlink)

    def packets(self, part: Ints) -> None:
        """Append the batches of some rows, all packets: by stream where streams alternate."""
        ids = self._stream_ids(self._select(part))
        for rows in by_stream(ids):
            selected = self._select(part[rows])
            self._batches(selected, int(ids[rows][0]), self._meta(selected))

    def messages(self, part: Ints) -> None:
        """Append netlink messages in file order across streams: an event must not move across the rows of a dump."""
        rows = self._select(part)
        whole = rows.caplen >= _COOKED
        families = np.zeros(len(rows), np.int64)
        families[whole] = self._cooked(rows.off[whole])[:, 7]
        for run in runs(rows.interface << 16 | families):
            selected = select_rows(rows, run)
            interface = self.interfaces[int(selected.interface[0])]
            stream = self.streams.on(interface, int(families[run.start]), self.out)
            intact = whole[run]
            if not intact.all():
                cut = int(np.count_nonzero(~intact))
                first, last = int(selected.ts_ns[0]), int(selected.ts_ns[-1])
                self.out.append(Gap(stream, 0, cut, GapReason.FILE, first, last))
                selected = select_rows(selected, np.flatnonzero(intact))
            cooked = self._cooked(selected.off)
            selected.off, selected.caplen = selected.off + _COOKED, selected.caplen - _COOKED
            self._batches(selected, stream, _netlink_meta(selected, cooked, self.chunk, interface.by_nettop))

    def _select(self, part: Ints) -> RecordColumns:
        return self.rows if len(part) == len(self.rows) else select_rows(self.rows, part)

    def _stream(self, index: int) -> int:
        interface = self.interfaces[index]
        known = next(iter(interface.ids.values()), None) if interface.netlink else None
        return self.streams.on(interface, 0, self.out) if known is None else known

    def _stream_ids(self, rows: RecordColumns) -> Ints:
        used, which = np.unique(rows.interface, return_inverse=True)
        ids: Ints = np.array([self._stream(index) for index in used.tolist()], np.int64)[which]
        return ids

    def _losses(self) -> Iterator[Mark]:
        """Yield the losses that the records report, in their places; of very many, neighbours are added up."""
        rows, lost = self.rows, self.rows.lost
        if lost is None or not lost.any():
            return
        order, before = np.argsort(rows.interface, kind="stable"), np.arange(len(rows))
        same = np.flatnonzero(np.diff(rows.interface[order]) == 0)
        before[order[same + 1]] = order[same]  # the record before it on its interface, or itself
        at = np.flatnonzero(lost)
        most = len(at) if self.streams.numbering.packets_only else _MAX_LOSSES
        for group in np.array_split(at, min(len(at), most)):
            first, last = int(group[0]), int(group[-1])
            stream, count = self._stream(int(rows.interface[first])), sum(lost[group].tolist())
            from_ns, to_ns = int(rows.ts_ns[before[first]]), int(rows.ts_ns[last])
            yield Mark(first, Gap(stream, 0, count, GapReason.RING, from_ns, to_ns, int(rows.number[first])))

    def _meta(self, rows: RecordColumns) -> PacketMeta:
        seekable = self.streams.numbering.seekable
        file_off = rows.off.astype(np.uint64) + np.uint64(self.base) if seekable else None
        return PacketMeta(rows.wirelen, rows.direction, rows.tp_status, rows.comment, file_off, rows.number)

    def _cooked(self, off: Ints) -> NDArray[np.uint16]:
        return bulk.gather(self.chunk, off, 4).view(np.uint8).reshape(-1, 16).view(">u2")

    def _batches(self, rows: RecordColumns, stream: int, meta: PacketMeta | NetlinkMeta) -> None:
        off, caplen = rows.off.astype(np.uint32), rows.caplen.astype(np.uint32)
        whole = Batch(stream, 0, self.chunk, off, caplen, rows.ts_ns, meta)
        for start in range(0, len(rows), BATCH_RECORDS):
            part = select_rows(whole, slice(start, start + BATCH_RECORDS))
            self.out.append(part)


class _Held:
    """Records and counters that wait for those of their kind that follow; without `gather` they never wait."""

    def __init__(self, emitter: Emitter, gather: bool) -> None:
        self._emitter, self._gather = emitter, gather
        self._slice_ns = emitter.streams.numbering.slice_ns
        self._packets: list[tuple[int, int]] = []  # ranges of rows
        self._messages: list[tuple[int, int]] = []
        self._counters: dict[int, Counters] = {}
        self._began_ns = NO_TIME

    def records(self, start: int, stop: int, netlink: bool) -> None:
        """Add rows of one kind."""
        began_ns = int(self._emitter.rows.ts_ns[start])
        if self._slice_ns is not None and began_ns > self._began_ns + self._slice_ns:
            self.flush()
            self._began_ns = began_ns
        (self._messages if netlink else self._packets).append((start, stop))
        if not self._gather:
            self.flush()

    def mark(self, item: Item) -> None:
        """Add an item: the last counters of a stream suffice, and all others keep their place among messages."""
        if isinstance(item, Counters) and self._gather:
            self._counters.pop(item.stream, None)
            self._counters[item.stream] = item
            return
        if isinstance(item, Gap) and self._emitter.of_packets(item.stream):
            self.flush()
        self._flush_messages()
        self._emitter.out.append(item)

    def flush(self) -> None:
        """Emit everything: messages first, so that packets find their flows."""
        self._flush_messages()
        if self._packets:
            self._emitter.packets(_rows(self._packets))
            self._packets = []
        self._emitter.out.extend(self._counters.values())
        self._counters.clear()

    def _flush_messages(self) -> None:
        if self._messages:
            self._emitter.messages(_rows(self._messages))
            self._messages = []


def _rows(ranges: list[tuple[int, int]]) -> Ints:
    """Return the numbers in all ranges."""
    start, stop = np.array(ranges, np.int64).T
    length = stop - start
    return np.repeat(start - np.cumsum(length) + length, length) + np.arange(int(length.sum()))


def _netlink_meta(rows: RecordColumns, cooked: NDArray[np.uint16], chunk: bytes, by_nettop: bool) -> NetlinkMeta:
    kind = cooked[:, 0]
    outgoing = kind == PACKET_KERNEL
    if by_nettop:
        outgoing |= kind == PACKET_OUTGOING
    else:  # a tap marks everything outgoing: the first message's flags decide
        long = np.flatnonzero(rows.caplen >= 8)
        outgoing[long] |= (bulk.gather(chunk, rows.off[long] + 4, 1)[:, 0] >> 16 & NLM_F_REQUEST).astype(np.bool_)
    known = cooked[:, 2] == 4
    if not (by_nettop and known.any()):
        return NetlinkMeta(outgoing)
    nsid = np.ascontiguousarray(cooked[:, 3:5]).view(">i4")[:, 0].astype(np.int32)
    return NetlinkMeta(outgoing, np.where(known, nsid, np.int32(-1)))


def runs(key: NDArray[np.int64] | NDArray[np.bool_]) -> Iterator[slice]:
    """Yield the slices of equal neighbours."""
    cuts = [0, *(np.flatnonzero(key[1:] != key[:-1]) + 1).tolist(), len(key)]
    for a, b in pairwise(cuts):
        yield slice(a, b)


def by_stream(stream: Ints) -> Iterator[slice | Ints]:
    """Yield the rows of each run of one stream; where runs are short, of each stream (order kept within it)."""
    changes = int(np.count_nonzero(stream[1:] != stream[:-1]))
    if changes == 0:
        yield slice(0, len(stream))
    elif len(stream) >= _SHORT_RUN * (changes + 1):
        yield from runs(stream)
    else:
        order = np.argsort(stream, kind="stable")
        for part in runs(stream[order]):
            yield order[part]
