"""Packet records found in a file, turned into batches: by stream, in order, at most 16,384 a batch."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, End, Gap, Item, NetlinkMeta, PacketMeta, Stream, StreamAdded, select_rows
from nettop.errors import DamagedInput
from nettop.kinds import GapReason, StreamKind
from nettop.linux.netlink import NLM_F_REQUEST
from nettop.linux.packet import PACKET_KERNEL, PACKET_OUTGOING
from nettop.recording import bulk

BATCH_RECORDS = 16_384
MAX_STREAMS = 65_536  # of one file

_SHORT_RUN = 16  # rows; below this mean run length, packet streams that alternate are sorted by interface
_COOKED = 16
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Numbering:
    """The source of item numbers: the run's item counter and its stream ids; `file` goes into each Stream."""

    seq: Callable[[], int]
    stream_id: Callable[[], int]
    file: str = ""
    seekable: bool = True  # batches give the file offsets of their frames


@dataclass(slots=True)
class Interface:
    """An interface of a file. A netlink interface has one stream for each netlink family seen on it."""

    stream: Stream  # as the file describes it, id not yet given
    index: int
    by_nettop: bool = False  # written by nettop: the cooked header says which messages are requests
    resolution: int = 6  # if_tsresol
    offset_s: int = 0  # if_tsoffset
    ids: dict[int, int] = field(default_factory=dict)  # netlink family (0 for packets) → stream id

    @property
    def netlink(self) -> bool:
        """True for a stream of netlink messages."""
        return self.stream.kind is StreamKind.NETLINK


class Interfaces(list[Interface]):
    """The interfaces of a section, by index."""

    def __init__(self) -> None:
        super().__init__()
        self._netlink = np.empty(0, np.bool_)

    def netlink(self) -> NDArray[np.bool_]:
        """Return a mask of the interfaces that carry netlink."""
        if len(self._netlink) != len(self):
            self._netlink = np.array([interface.netlink for interface in self])
        return self._netlink


@dataclass(slots=True)
class RecordColumns:
    """Columns of records in file order, of one length; offsets into the chunk they were found in."""

    interface: Ints
    off: Ints
    caplen: Ints
    wirelen: NDArray[np.uint32]
    ts_ns: Ints
    direction: NDArray[np.uint8] | None = None
    tp_status: NDArray[np.uint32] | None = None
    lost: NDArray[np.uint64] | None = None  # packets lost before the record, as the file reports
    comment: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.off)


class Streams:
    """The streams of a file. The same interface in a later section (rotated files joined) is the same stream."""

    def __init__(self, numbering: Numbering) -> None:
        self.numbering = numbering
        self._known: dict[tuple[int, Stream], int] = {}

    def announce(self, index: int, described: Stream, out: list[Item]) -> int:
        """Return the id of a stream on interface `index`; a StreamAdded goes to `out` when it is new."""
        key = (index, described)
        if key not in self._known:
            if len(self._known) >= MAX_STREAMS:
                raise ValueError("declares too many interfaces")
            self._known[key] = self.numbering.stream_id()
            out.append(StreamAdded(replace(described, id=self._known[key]), self.numbering.seq()))
        return self._known[key]

    def on(self, interface: Interface, family: int, out: list[Item]) -> int:
        """Return the stream of `family` on an interface (0 unless it is netlink)."""
        stream_id = interface.ids.get(family)
        if stream_id is None:
            described = interface.stream
            if interface.netlink:
                described = replace(described, netlink_family=family)
            stream_id = interface.ids[family] = self.announce(interface.index, described, out)
        return stream_id


@dataclass(slots=True)
class Emitter:
    """Turns the records of a file into items; keeps the number of the next record."""

    streams: Streams
    number: int = 1

    def emit(self, rows: RecordColumns, interfaces: Interfaces, chunk: bytes, base: int, out: list[Item]) -> None:
        """Append the rows' batches to `out`. `base` is the file offset of the chunk's first byte."""
        if not len(rows):
            return
        numbers = np.arange(self.number, self.number + len(rows), dtype=np.uint64)
        self.number += len(rows)
        netlink = interfaces.netlink()[rows.interface]
        if not netlink.any():
            self._packets(rows, numbers, interfaces, chunk, base, out)
            return
        for part in runs(netlink):
            if netlink[part.start]:
                self._netlink(select_rows(rows, part), interfaces, chunk, out)
            else:
                self._packets(select_rows(rows, part), numbers[part], interfaces, chunk, base, out)

    def _packets(
        self, rows: RecordColumns, numbers: NDArray[np.uint64], interfaces: Interfaces, chunk: bytes, base: int,
        out: list[Item],
    ) -> None:  # fmt: skip
        file_off = rows.off.astype(np.uint64) + np.uint64(base) if self.streams.numbering.seekable else None
        for part in by_stream(rows.interface):
            selected = select_rows(rows, part)
            stream = self.streams.on(interfaces[int(selected.interface[0])], 0, out)
            self._gap(selected, stream, out)
            meta = PacketMeta(
                selected.wirelen,
                selected.direction,
                selected.tp_status,
                selected.comment,
                None if file_off is None else file_off[part],
                numbers[part],
            )
            self._batches(selected, stream, meta, chunk, out)

    def _netlink(self, rows: RecordColumns, interfaces: Interfaces, chunk: bytes, out: list[Item]) -> None:
        """Emit netlink messages in file order across streams: an event must not move across the rows of a dump."""
        whole = rows.caplen >= _COOKED
        headers = bulk.gather(chunk, rows.off[whole], 4).view(np.uint8).reshape(-1, 16).view(">u2")
        families = np.zeros(len(rows), np.int64)
        families[whole] = headers[:, 7]
        for part in runs(rows.interface << 16 | families):
            selected = select_rows(rows, part)
            interface = interfaces[int(selected.interface[0])]
            stream = self.streams.on(interface, int(families[part.start]), out)
            self._gap(selected, stream, out)
            intact = whole[part]
            if not intact.all():
                cut = int(np.count_nonzero(~intact))
                first, last = int(selected.ts_ns[0]), int(selected.ts_ns[-1])
                out.append(Gap(stream, self.streams.numbering.seq(), cut, GapReason.FILE, first, last))
                selected = select_rows(selected, np.flatnonzero(intact))
            cooked = bulk.gather(chunk, selected.off, 4).view(np.uint8).reshape(-1, 16).view(">u2")
            selected.off, selected.caplen = selected.off + _COOKED, selected.caplen - _COOKED
            self._batches(selected, stream, _netlink_meta(selected, cooked, chunk, interface.by_nettop), chunk, out)

    def _gap(self, rows: RecordColumns, stream: int, out: list[Item]) -> None:
        if rows.lost is None or not rows.lost.any():
            return
        at = np.flatnonzero(rows.lost)
        lost = sum(rows.lost[at].tolist())
        first_ns, last_ns = int(rows.ts_ns[max(0, int(at[0]) - 1)]), int(rows.ts_ns[at[-1]])
        out.append(Gap(stream, self.streams.numbering.seq(), lost, GapReason.RING, first_ns, last_ns))

    def _batches(
        self, rows: RecordColumns, stream: int, meta: PacketMeta | NetlinkMeta, chunk: bytes, out: list[Item]
    ) -> None:
        off, caplen = rows.off.astype(np.uint32), rows.caplen.astype(np.uint32)
        whole = Batch(stream, 0, chunk, off, caplen, rows.ts_ns, meta)
        for start in range(0, len(rows), BATCH_RECORDS):
            part = select_rows(whole, slice(start, start + BATCH_RECORDS))
            out.append(replace(part, seq=self.streams.numbering.seq()))


class FormatDecoder(ABC):
    """Decodes successive chunks of a file; a subclass knows the format."""

    def __init__(self, numbering: Numbering, need: int) -> None:
        self.need = need  # bytes, from where the last call stopped, that the next chunk must hold
        self.ended = False
        self._numbering = numbering
        self._streams = Streams(numbering)
        self._emitter = Emitter(self._streams)

    def decode(self, chunk: bytes, base: int, final: bool) -> tuple[list[Item], int]:
        """Return the items of the chunk, which is at file offset `base`, and how many of its bytes were used.

        The bytes left over must come again at the start of the next chunk. `final`: nothing follows this chunk; the
        last item is then an End, with an error where the file is damaged. Raises InputError for a recording of a
        later format.
        """
        out: list[Item] = []
        used, error, offset = 0, "", None
        try:
            used = self._read(chunk, base, final, out)
        except DamagedInput as damage:
            final, error, offset = True, damage.message, damage.offset
        if final:
            self.ended = True
            out.append(End(None, self._numbering.seq(), error=error, offset=offset))
        return out, used

    @abstractmethod
    def _read(self, chunk: bytes, base: int, final: bool, out: list[Item]) -> int:
        """Append the items to `out`; return the number of bytes used. Raises DamagedInput."""


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


def order_of(magic: bytes, *numbers: int) -> str | None:
    """Return "<" or ">" if the four bytes are one of the numbers in that byte order, else None."""
    return next((order for order in "<>" if struct.unpack(order + "I", magic)[0] in numbers), None)


def runs(key: NDArray[np.int64] | NDArray[np.bool_]) -> Iterator[slice]:
    """Yield the slices of equal neighbours."""
    cuts = [0, *(np.flatnonzero(key[1:] != key[:-1]) + 1).tolist(), len(key)]
    for a, b in pairwise(cuts):
        yield slice(a, b)


def by_stream(interface: Ints) -> Iterator[slice | Ints]:
    """Yield the rows of each run of one interface; where runs are short, of each interface (order kept within it)."""
    changes = int(np.count_nonzero(interface[1:] != interface[:-1]))
    if changes == 0:
        yield slice(0, len(interface))
    elif len(interface) >= _SHORT_RUN * (changes + 1):
        yield from runs(interface)
    else:
        order = np.argsort(interface, kind="stable")
        for part in runs(interface[order]):
            yield order[part]
