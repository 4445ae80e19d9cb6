"""The items that a source yields to decoders and recordings: batches of raw records, and the marks between them.

Live rings, netlink sockets and files all yield these items. `seq` is one counter over all streams of a run. The
recorder writes in its order, so that a replay sees what the live run saw.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nettop.kinds import NO_TIME, GapReason, StreamKind, TextKind
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.linux.netlink import NETLINK_NETFILTER

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Array = NDArray[Any]
Table = TypeVar("Table", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Stream:
    """One source of records: a captured device, a netlink socket, or text snapshots."""

    id: int
    kind: StreamKind
    name: str  # device name, or "conntrack", "conntrack-dump", "ctstats", "nftables", "nft-events", "text"
    netns: str = ""  # the label shown to people; "" is the host's (the namespace nettop was started in)
    linktype: int = LINKTYPE_ETHERNET
    snaplen: int = 0  # 0: unlimited
    capture_filter: str = ""
    os: str = ""
    ifindex: int = 0
    file: str = ""  # replay: the file it came from
    netlink_family: int = NETLINK_NETFILTER  # of NETLINK streams only
    capture: int = 0  # live: the number of the capture, from 1; each has a list of packets
    headers: bool = False  # the start of each packet, for the rates of flows: in no list of packets


@dataclass(frozen=True, slots=True)
class PacketMeta:
    """The metadata of frames: arrays of the batch's length, or None if the source does not know."""

    wirelen: NDArray[np.uint32]  # bytes on the wire; caplen may be less (snaplen)
    direction: NDArray[np.uint8] | None = None  # linux/if_packet.h PACKET_*: HOST 0 … OUTGOING 4; 255 unknown
    tp_status: NDArray[np.uint32] | None = None  # TP_STATUS_* of the ring (0x8: checksum not yet computed)
    comment: dict[int, str] = field(default_factory=dict)  # row → opt_comment of a file, rare
    file_off: NDArray[np.uint64] | None = None  # offset of the frame's bytes in the file; None: not seekable, or live
    number: NDArray[np.uint64] | None = None  # from 1, among all records of the file (Wireshark's frame.number)
    # Only of a file that is read for its packets alone (Numbering.packets_only):
    streams: NDArray[np.int32] | None = None  # stream of each record; None: all of the batch's stream
    block: NDArray[np.uint32] | None = None  # bytes of the pcapng block around the frame, recording.blocks.OVERRUN


@dataclass(frozen=True, slots=True)
class NetlinkMeta:
    """The metadata of datagrams: arrays of the batch's length."""

    outgoing: NDArray[np.bool_]  # True: our own request, recorded with its answers
    nsid: NDArray[np.int32] | None = None  # NETLINK_LISTEN_ALL_NSID ancillary data; -1: own namespace


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in one buffer that the batch owns. Record i is buf[off[i] : off[i] + caplen[i]], at ts_ns[i].

    Frames are as on the wire: the source puts back a VLAN tag that the kernel stripped. Netlink records are whole
    datagrams in host byte order, without the cooked header of LINKTYPE_NETLINK.
    """

    stream: int
    seq: int
    buf: bytes | bytearray | memoryview
    off: NDArray[np.uint32]
    caplen: NDArray[np.uint32]
    ts_ns: NDArray[np.int64]
    meta: PacketMeta | NetlinkMeta

    def __len__(self) -> int:
        return len(self.off)

    def record(self, i: int) -> bytes:
        """Return a copy of the bytes of record i."""
        start = int(self.off[i])
        return bytes(memoryview(self.buf)[start : start + int(self.caplen[i])])


@dataclass(frozen=True, slots=True)
class Gap:
    """Lost records: `lost` is their number (None: unknown), `why` the cause. Times are in ns since the epoch."""

    stream: int
    seq: int
    lost: int | None
    why: GapReason
    from_ns: int
    to_ns: int
    before: int = field(default=0, compare=False)  # in a file: the number of the record that follows; 0: unknown


@dataclass(frozen=True, slots=True)
class StreamAdded:
    """The start of a stream. All its items come later."""

    stream: Stream
    seq: int


@dataclass(frozen=True, slots=True)
class DumpMark:
    """The begin or the end of a dump on its stream. Only a complete dump may remove rows from a table."""

    stream: int
    seq: int
    ts_ns: int
    what: str  # "conntrack", "expect", "ctstats", "nft-tables", "nft-chains", "nft-rules", …
    begin: bool
    complete: bool = False  # at the end: no NLM_F_DUMP_INTR, no error, no Gap, no resize of the hash
    interrupted: bool = (
        False  # at the end: all answers came, but with NLM_F_DUMP_INTR: of a table that changed meanwhile
    )
    netns: str = ""  # on a stream of several namespaces: the one it is of


@dataclass(frozen=True, slots=True)
class Text:
    """One text snapshot, as the tool printed it or procfs holds it."""

    stream: int
    seq: int
    ts_ns: int
    what: TextKind
    body: bytes
    error: str = ""  # the reason why there is no body, in one line
    netns: str = ""  # on a stream of several namespaces: the one it is of


@dataclass(frozen=True, slots=True)
class Counters:
    """A stream's totals at one time, as the kernel counts them since it began: 64-bit (pcapng: ISB)."""

    stream: int
    seq: int
    ts_ns: int
    received: int  # by the kernel, before drops
    dropped: int  # by the kernel, at the socket or the ring


@dataclass(frozen=True, slots=True)
class End:
    """The end of a stream: the source is exhausted, or its namespace or device is gone. `error` is one line or ""."""

    stream: int | None  # None: every stream of the source
    seq: int
    reason: str = ""
    error: str = ""
    offset: int | None = None  # byte offset of the damage in a file
    read_on: bool = False  # the damage cost only itself: what follows it was read too


Item = Batch | Gap | StreamAdded | DumpMark | Text | Counters | End


def item_time(item: Item) -> int | None:
    """Return the time of an item, in a batch of the last record, in ns since the epoch; None if it has none."""
    if isinstance(item, Gap):
        return item.to_ns
    time_ns = (int(item.ts_ns[-1]) if len(item) else None) if isinstance(item, Batch) else getattr(item, "ts_ns", None)
    return None if time_ns == NO_TIME else time_ns


class Counter64:
    """The counter over all streams: `next()` returns 0, 1, 2, … and is atomic (itertools.count under the GIL)."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = count().__next__


class Source(Protocol):
    """An origin of items. The pipeline owns its thread, selector and wakeup descriptor."""

    def fileno(self) -> int | None:
        """Return the descriptor to wait on for reading, or None for a file, which has only due_ns()."""
        ...

    def due_ns(self) -> int | None:
        """Return the time at which read() has work, in monotonic ns; 0: now; None: only when fileno() is ready."""
        ...

    def read(self, max_bytes: int) -> list[Item]:
        """Return the items available now, up to about max_bytes, without blocking. Not called again after an End."""
        ...

    def losses(self) -> list[Item]:
        """Return the Gaps and Counters since the last call. Polled at intervals, independent of the load."""
        ...

    def close(self) -> None:
        """Close all descriptors. Called once, on the source's own thread."""
        ...


def select_rows(table: Table, rows: Array | slice) -> Table:
    """Return the given rows (a slice, a mask or indices) of a dataclass of columns, such as a Batch.

    Its arrays have one length. The keys of its dicts are rows and are renumbered. Other fields, such as the buffer of
    a Batch, do not change.
    """
    columns = {field.name: getattr(table, field.name) for field in fields(table)}
    arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    parts: dict[str, Any] = {name: column[rows] for name, column in arrays.items()}
    for name, column in columns.items():
        if isinstance(column, dict) and column:
            old = np.arange(len(next(iter(arrays.values()))))[rows].tolist()
            parts[name] = {at: column[row] for at, row in enumerate(old) if row in column}
        elif isinstance(column, Batch | PacketMeta | NetlinkMeta):
            parts[name] = select_rows(column, rows)
    return replace(table, **parts)
