"""Blocks of packets: small columns for all rows, the bytes in memory or left in their file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array, Batch, PacketMeta, Stream
from nettop.columns import Columns
from nettop.decode.packets.columns import HAVE_DIRECTION
from nettop.decode.packets.decoder import Depth, PacketDecoder, wirelen
from nettop.kinds import NO_TIME
from nettop.linux.packet import DIRECTION_UNKNOWN
from nettop.model.packets.fields import PacketFields

OnColumns = Callable[[Stream, Columns], None]

KEPT_COLUMNS = (
    "have", "ethertype", "family", "proto", "src_lo", "dst_lo", "src_hi", "dst_hi", "sport", "dport", "vlan",
)  # fmt: skip
MERGE_ROWS = 4_096  # small blocks are joined up to this size, so that a slow trickle does not cost a block per packet
MERGE_BYTES = 1 << 20
OVERLAP_ROWS = 131_072  # blocks of several devices that overlap in time are joined, ordered by time, up to this size
MAX_STREAMS = 256  # of one block: stream_index is a byte
ROW_OVERHEAD = 80  # bytes of columns per row in the budget, enough for IPv6 addresses


@dataclass(slots=True)
class PacketBlock:
    """Rows in the order they are shown. Their bytes are in `buf`, or in the file of the stream, from `base` on."""

    streams: tuple[Stream, ...]
    stream_index: Array  # row → index into streams
    ident: Array  # int64: the number in the # column
    ts_ns: Array
    length: Array
    caplen: Array
    off: Array
    buf: bytes | bytearray | memoryview | None
    base: int
    cols: dict[str, Array]
    comment: dict[int, str] = field(default_factory=dict)  # ident → text
    matched: NDArray[np.uint32] | None = None  # rows that match the current display filter

    def __len__(self) -> int:
        return len(self.ts_ns)

    def stream(self, row: int) -> Stream:
        """Return the stream of a row."""
        return self.streams[int(self.stream_index[row])]

    def cost(self) -> int:
        """Return about how many bytes of memory this block uses; the ring's headers in the buffer count."""
        return len(self) * ROW_OVERHEAD + _bytes(self)

    def directions(self, rows: Array) -> Array | None:
        """Return PACKET_* of the rows, DIRECTION_UNKNOWN where not known; None when no row has a direction."""
        column = self.cols.get("direction")
        if column is None:
            return None
        known = self.cols["have"][rows] & np.uint16(HAVE_DIRECTION) != 0
        return np.where(known, column[rows], np.uint8(DIRECTION_UNKNOWN))

    def fields(self) -> PacketFields:
        """Return the kept columns, for the filter."""
        devices = [stream.name for stream in self.streams]
        labels = [stream.netns for stream in self.streams]
        words = {"device": (self.stream_index, devices), "netns": (self.stream_index, labels)}
        return PacketFields(len(self), self.length, lambda depth: self.cols, words)


def ports(batch: Batch, stream: Stream) -> Columns:
    """Return the columns of a batch up to the ports."""
    return PacketDecoder(stream.linktype, Depth.PORTS)(batch).cols


def block_of(batch: Batch, stream: Stream, on_columns: OnColumns | None = None) -> PacketBlock:
    """Return the block of one batch, its rows numbered as in their file or from 1.

    `on_columns` is called with the stream and the decoded columns.
    """
    meta = batch.meta
    n = len(batch)
    cols = ports(batch, stream)
    if on_columns is not None:
        on_columns(stream, cols)
    number = meta.number if isinstance(meta, PacketMeta) else None
    ident = np.arange(1, 1 + n, dtype=np.int64) if number is None else number.astype(np.int64)
    base = _file_base(batch)
    length = wirelen(batch)
    return PacketBlock(
        streams=(stream,),
        stream_index=np.broadcast_to(np.uint8(0), n),
        ident=ident,
        ts_ns=batch.ts_ns,
        length=length,
        caplen=length if np.array_equal(length, batch.caplen) else batch.caplen,
        off=batch.off,
        buf=batch.buf if base is None or not stream.file else None,
        base=base or 0,
        cols=_compact(cols),
        comment={int(ident[row]): text for row, text in meta.comment.items()} if isinstance(meta, PacketMeta) else {},
    )


def _file_base(batch: Batch) -> int | None:
    """Return the file offset of the buffer's first byte; None when the bytes cannot be read again from the file."""
    if not isinstance(batch.meta, PacketMeta) or batch.meta.file_off is None or not len(batch):
        return None
    shift = batch.meta.file_off.astype(np.int64) - batch.off
    return int(shift[0]) if (shift == shift[0]).all() else None


def _compact(cols: Columns) -> dict[str, Array]:
    """Return KEPT_COLUMNS, inner_vlan and direction; a column of one value uses no memory, an IPv4 address four."""
    narrow = "src_hi" not in cols
    kept: dict[str, Array] = {}
    for name in (*KEPT_COLUMNS, "inner_vlan", "direction"):
        column = cols.get(name)
        if column is None:
            continue
        if len(column) and (column == column[0]).all():
            column = np.broadcast_to(column[0], len(column))
        elif narrow and name in ("src_lo", "dst_lo"):
            column = column.astype(np.uint32)
        kept[name] = column
    return kept


def joinable(last: PacketBlock, new: PacketBlock) -> bool:
    """Return whether to join the new block to the last: both small, or overlapping in time across devices."""
    if not len(last) or not len(new):
        return False
    rows = len(last) + len(new)
    if len(last.streams) + len(new.streams) > MAX_STREAMS:
        return False
    if (last.buf is None) != (new.buf is None):
        return False
    if last.buf is None and (last.streams[0].file != new.streams[0].file or _apart(last, new)):
        return False
    small = rows <= MERGE_ROWS and (last.buf is None or _bytes(last) + _bytes(new) <= MERGE_BYTES)
    # The last block must be at most about twice as large: so a row is copied a few times, not once per later packet.
    if small and len(last) <= 2 * len(new) + 64:
        return True
    overlap = last.streams != new.streams and int(last.ts_ns.max()) > int(new.ts_ns.min())
    return overlap and rows <= OVERLAP_ROWS


def _bytes(block: PacketBlock) -> int:
    return len(block.buf) if block.buf is not None else 0


def _apart(last: PacketBlock, new: PacketBlock) -> bool:
    """Return whether the two are too far apart in the file for one base and 32-bit offsets."""
    low = min(last.base, new.base)
    high = max(last.base + int(last.off.max()), new.base + int(new.off.max()))
    return high - low >= 1 << 32


def joined(blocks: Sequence[PacketBlock]) -> PacketBlock:
    """Return the blocks as one, ordered by time where they are of different devices."""
    streams = tuple({stream.id: stream for block in blocks for stream in block.streams}.values())
    index = {stream.id: code for code, stream in enumerate(streams)}
    codes = [np.array([index[stream.id] for stream in block.streams], np.uint8) for block in blocks]
    buf, base, shifts = _joined_bytes(blocks)
    whole = PacketBlock(
        streams=streams,
        stream_index=np.concatenate([code[block.stream_index] for code, block in zip(codes, blocks, strict=True)]),
        ident=np.concatenate([block.ident for block in blocks]),
        ts_ns=np.concatenate([block.ts_ns for block in blocks]),
        length=np.concatenate([block.length for block in blocks]),
        caplen=np.concatenate([block.caplen for block in blocks]),
        off=np.concatenate([block.off + np.uint32(shift) for block, shift in zip(blocks, shifts, strict=True)]),
        buf=buf,
        base=base,
        cols=_joined_columns(blocks),
        comment={ident: text for block in blocks for ident, text in block.comment.items()},
    )
    if len(streams) > 1 and np.any(whole.ts_ns[1:] < whole.ts_ns[:-1]):
        _order_by_time(whole)
    return whole


def _joined_bytes(blocks: Sequence[PacketBlock]) -> tuple[bytes | bytearray | memoryview | None, int, list[int]]:
    """Return the common buffer, its base in the file, and by how much the offsets of each block grow."""
    bufs = [block.buf for block in blocks if block.buf is not None]
    if len(bufs) < len(blocks):
        base = min(block.base for block in blocks)
        return None, base, [block.base - base for block in blocks]
    distinct = {id(buf): buf for buf in bufs}
    if len(distinct) == 1:
        return bufs[0], 0, [0] * len(blocks)
    starts = dict(zip(distinct, accumulate(map(len, distinct.values()), initial=0), strict=False))
    return b"".join(distinct.values()), 0, [starts[id(buf)] for buf in bufs]


def _joined_columns(blocks: Sequence[PacketBlock]) -> dict[str, Array]:
    out: dict[str, Array] = {}
    for name in dict.fromkeys(name for block in blocks for name in block.cols):
        kind = next(block.cols[name].dtype for block in blocks if name in block.cols)
        absent = kind.type(0)
        out[name] = np.concatenate([block.cols.get(name, np.broadcast_to(absent, len(block))) for block in blocks])
    return out


def _order_by_time(block: PacketBlock) -> None:
    order = np.argsort(np.where(block.ts_ns == NO_TIME, np.maximum.accumulate(block.ts_ns), block.ts_ns), kind="stable")
    for name in ("stream_index", "ident", "ts_ns", "length", "caplen", "off"):
        setattr(block, name, getattr(block, name)[order])
    block.cols = {name: column[order] for name, column in block.cols.items()}
