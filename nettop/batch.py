"""What flows from a source to a decoder or a recording: batches of raw records, and the marks between them.

Live rings, netlink sockets and files all yield these items. `seq` is one counter over all streams of a run;
the recorder writes in its order, so a replay sees what the live run saw.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nettop.kinds import GapReason, StreamKind, TextKind
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


@dataclass(frozen=True, slots=True)
class PacketMeta:
    """Beside each frame: arrays of the batch's length, or None where the source cannot say."""

    wirelen: NDArray[np.uint32]  # bytes on the wire; caplen may be less (snaplen)
    direction: NDArray[np.uint8] | None = None  # linux/if_packet.h PACKET_*: HOST 0 … OUTGOING 4; 255 unknown
    tp_status: NDArray[np.uint32] | None = None  # TP_STATUS_* of the ring (0x8: checksum not yet computed)
    comment: dict[int, str] = field(default_factory=dict)  # row → opt_comment of a file, rare
    file_off: NDArray[np.uint64] | None = None  # where the frame's bytes stand in the file; None: not seekable, or live
    number: NDArray[np.uint64] | None = None  # from 1, among all records of the file (Wireshark's frame.number)


@dataclass(frozen=True, slots=True)
class NetlinkMeta:
    """Beside each datagram."""

    outgoing: NDArray[np.bool_]  # True: a request of ours, recorded beside its answers
    nsid: NDArray[np.int32] | None = None  # NETLINK_LISTEN_ALL_NSID ancillary data; -1 own namespace


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in one buffer that the batch owns. Record i is buf[off[i] : off[i] + caplen[i]], stamped ts_ns[i].

    Frames are as on the wire (a VLAN tag the kernel stripped is put back by the source); netlink records are whole
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
        """The bytes of record i (a copy)."""
        start = int(self.off[i])
        return bytes(memoryview(self.buf)[start : start + int(self.caplen[i])])


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that were lost: how many (None: unknown), by whom, between which two times (ns since the epoch)."""

    stream: int
    seq: int
    lost: int | None
    why: GapReason
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class StreamAdded:
    """A stream begins; every item of it comes later."""

    stream: Stream
    seq: int


@dataclass(frozen=True, slots=True)
class DumpMark:
    """Where a dump begins and ends on its stream. At the end, `complete` says whether it may reconcile a table."""

    stream: int
    seq: int
    ts_ns: int
    what: str  # "conntrack", "expect", "ctstats", "nft-tables", "nft-chains", "nft-rules", …
    begin: bool
    complete: bool = False  # at the end: no NLM_F_DUMP_INTR, no error, no Gap, no resize of the hash


@dataclass(frozen=True, slots=True)
class Text:
    """One text snapshot, as the tool printed it."""

    stream: int
    seq: int
    ts_ns: int
    what: TextKind
    body: bytes
    error: str = ""  # why there is no body, in one line


@dataclass(frozen=True, slots=True)
class Counters:
    """A stream's totals at a time, as the kernel counts them: 64-bit, since the stream began (ISB in a recording)."""

    stream: int
    seq: int
    ts_ns: int
    received: int  # by the kernel, before drops
    dropped: int  # by the kernel (socket or ring)


@dataclass(frozen=True, slots=True)
class End:
    """The source is exhausted, or its namespace or device is gone. `error` is one line, "" for a clean end."""

    stream: int | None  # None: every stream of the source
    seq: int
    why: str = ""
    error: str = ""
    offset: int | None = None  # byte offset of the damage in a file


Item = Batch | Gap | StreamAdded | DumpMark | Text | Counters | End


class Counter64:
    """The one counter over all streams: `next()` gives 0, 1, 2, … and is atomic (itertools.count under the GIL)."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = count().__next__


class Source(Protocol):
    """Yields items. The pipeline owns its thread, selector and wakeup descriptor."""

    def fileno(self) -> int | None:
        """The descriptor to wait on for reading; None for a file (see due_ns)."""
        ...

    def due_ns(self) -> int | None:
        """When read() has work by time, on time.monotonic_ns (0: now); None: only when the descriptor is ready."""
        ...

    def read(self, max_bytes: int) -> list[Item]:
        """What there is now, without blocking, up to about max_bytes. After an End it is not called again."""
        ...

    def losses(self) -> list[Item]:
        """Gaps and Counters since the last call; polled by time, whatever the load."""
        ...

    def close(self) -> None:
        """Let go of every descriptor. Called once, on the source's own thread."""
        ...


def select_rows(table: Table, rows: Array | slice) -> Table:
    """Return those rows (a slice, a mask or indices) of a dataclass of columns, such as a Batch over the same buffer.

    Its arrays have one length; its dicts are by row, and are numbered again; other fields stay.
    """
    columns = {field.name: getattr(table, field.name) for field in fields(table)}
    arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    parts: dict[str, Any] = {name: column[rows] for name, column in arrays.items()}
    for name, column in columns.items():
        if isinstance(column, dict) and column:
            old = np.arange(len(next(iter(arrays.values()))))[rows].tolist()
            parts[name] = {at: column[row] for at, row in enumerate(old) if row in column}
        elif isinstance(column, PacketMeta | NetlinkMeta):
            parts[name] = select_rows(column, rows)
    return replace(table, **parts)
