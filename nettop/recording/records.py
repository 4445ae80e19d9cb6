"""Packet records found in a file, as columns, and the streams they belong to; the frame of a format's decoder."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, End, Gap, Item, Stream, StreamAdded
from nettop.errors import DamagedInput
from nettop.kinds import StreamKind

BATCH_RECORDS = 16_384
MAX_STREAMS = 1 << 18  # of one file

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FileBlock:
    """A pcapng block that is no packet: a section, interfaces, names, keys, statistics, or of an unknown type."""

    kind: int
    body: bytes  # without type and lengths
    order: str  # byte order of the body: "<" or ">"
    stream: int | None  # of an interface description or statistics
    before: int  # the number of the record that follows


Other = Gap | FileBlock


@dataclass(frozen=True, slots=True)
class Ordered:
    """Packets, losses and other blocks in the order of time.

    `order` indexes the rows of all batches, one batch after another, and after these `others`, which are in order.
    """

    batches: list[Batch]
    others: list[Other]
    order: Ints
    strict: bool = True  # False: so much had to be held back that earlier packets may still come


@dataclass(frozen=True, slots=True)
class Numbering:
    """The source of item numbers: the run's item counter and its stream ids; `file` goes into each Stream.

    `packets_only` leaves netlink and nettop's own blocks out, and gives the packets of all interfaces of a link type in
    one batch (PacketMeta.streams), with the losses before them; `keep_block` gets pcapng's other blocks, for a copy.
    `slice_ns`: packets that alternate with other blocks are gathered over at most this time, so that a paced replay
    has them when they are due.
    """

    seq: Callable[[], int]
    stream_id: Callable[[], int]
    file: str = ""
    seekable: bool = True  # batches give the file offsets of their frames
    packets_only: bool = False
    keep_block: Callable[[FileBlock], None] | None = None
    slice_ns: int | None = None


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

    def time_ns(self, ticks: int) -> int:
        """Return a time of this interface in ns since the epoch."""
        return int(_exact(ticks, self.resolution, self.offset_s))


@dataclass(slots=True)
class RecordColumns:
    """Columns of records in file order, of one length; offsets into the chunk they were found in."""

    interface: Ints  # index into the interfaces of the chunk
    off: Ints
    caplen: Ints
    wirelen: NDArray[np.uint32]
    ts_ns: Ints
    number: NDArray[np.uint64]
    direction: NDArray[np.uint8] | None = None
    tp_status: NDArray[np.uint32] | None = None
    lost: NDArray[np.uint64] | None = None  # packets lost before the record, as the file reports
    block: NDArray[np.uint32] | None = None
    comment: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.off)


def nanoseconds(ticks: NDArray[np.uint64], resolution: int, offset_s: int) -> Ints:
    """Return times in ns since the epoch. `resolution` is if_tsresol: a negative power of 10, or of 2 with bit 7 set.

    Times beyond what 64 bits of ns can hold wrap: they are as wrong as the file that claims them.
    """
    if resolution > 9:
        return np.asarray(_exact(ticks.astype(object), resolution, offset_s).astype(np.int64))
    ns = ticks * np.uint64(10 ** (9 - resolution)) + np.uint64(offset_s * 1_000_000_000 % (1 << 64))
    return ns.view(np.int64)


def _exact(ticks: Any, resolution: int, offset_s: int) -> Any:
    """Return the same of an integer, or of an array of Python's integers."""
    ns = ticks * 10**9 // (2 if resolution & 0x80 else 10) ** (resolution & 0x7F) + offset_s * 10**9
    return (ns + (1 << 63)) % (1 << 64) - (1 << 63)


class Streams:
    """The streams of a file. The same interface in a later section (rotated files joined) is the same stream."""

    def __init__(self, numbering: Numbering) -> None:
        self.numbering = numbering
        self._known: dict[tuple[int, int, int, Stream], int] = {}

    def announce(self, index: int, described: Stream, out: list[Item], unit: tuple[int, int] = (9, 0)) -> int:
        """Return the id of a stream on interface `index`; a StreamAdded goes to `out` when it is new.

        `unit`: resolution and offset of its times.
        """
        key = (index, *unit, described)
        if key not in self._known:
            if len(self._known) >= MAX_STREAMS:
                raise ValueError("declares too many interfaces")
            self._known[key] = self.numbering.stream_id()
            out.append(StreamAdded(replace(described, id=self._known[key]), 0))
        return self._known[key]

    def on(self, interface: Interface, family: int, out: list[Item]) -> int:
        """Return the stream of `family` on an interface (0 unless it is netlink)."""
        stream_id = interface.ids.get(family)
        if stream_id is None:
            described, unit = interface.stream, (interface.resolution, interface.offset_s)
            if interface.netlink:
                described = replace(described, netlink_family=family)
            stream_id = interface.ids[family] = self.announce(interface.index, described, out, unit)
        return stream_id


class FormatDecoder(ABC):
    """Decodes successive chunks of a file; a subclass knows the format."""

    def __init__(self, numbering: Numbering, need: int) -> None:
        self.need = need  # bytes, from where the last call stopped, that the next chunk must hold
        self.ended = False
        self._numbering = numbering
        self._streams = Streams(numbering)
        self._number = 1  # of the next record
        self._fault: DamagedInput | None = None  # the first damage that cost only itself

    def decode(self, chunk: bytes, base: int, final: bool) -> tuple[list[Item], int]:
        """Return the items of the chunk, which is at file offset `base`, and how many of its bytes were used.

        The bytes left over must come again at the start of the next chunk. `final`: nothing follows this chunk; the
        last item is then an End, with an error where the file is damaged. Raises InputError for a recording of a
        later format.
        """
        out: list[Item] = []
        used, damage = 0, None
        try:
            used = self._read(chunk, base, final, out)
        except DamagedInput as error:
            damage = error
        if final or damage is not None:
            self.ended = True
            first = damage or self._fault
            end = End(None, 0, read_on=damage is None and first is not None)
            out.append(end if first is None else replace(end, error=first.message, offset=first.offset))
        return [replace(item, seq=self._numbering.seq()) for item in out], used

    def _note(self, message: str, offset: int) -> None:
        """Remember damage after which reading goes on; the first one is reported at the end."""
        if self._fault is None:
            self._fault = DamagedInput(message, offset)

    @abstractmethod
    def _read(self, chunk: bytes, base: int, final: bool, out: list[Item]) -> int:
        """Append the items to `out`; return the number of bytes used. Raises DamagedInput."""


def order_of(magic: bytes, *numbers: int) -> str | None:
    """Return "<" or ">" if the four bytes are one of the numbers in that byte order, else None."""
    return next((order for order in "<>" if struct.unpack(order + "I", magic)[0] in numbers), None)
