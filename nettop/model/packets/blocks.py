"""Blocks of packets as the list keeps them: small columns for all rows, the bytes in memory or left in their file."""

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
from nettop.linux.packet import DIRECTION_UNKNOWN
from nettop.model.packets.fields import PacketFields

Told = Callable[[Stream, Columns], None]

KEPT = ("have", "ethertype", "family", "proto", "src_lo", "dst_lo", "src_hi", "dst_hi", "sport", "dport", "vlan")
MERGE_ROWS = 4_096  # small blocks are joined up to this, so that a trickle of packets costs no block each
MERGE_BYTES = 1 << 20
OVERLAP_ROWS = 131_072  # blocks of several devices that overlap in time are joined in time's order up to this
MAX_STREAMS = 256  # of one block: their index is a byte
ROW_OVERHEAD = 80  # bytes of columns a row costs, as far as the budget is concerned: IPv6 addresses are kept whole


@dataclass(slots=True)
class Block:
    """Rows in the order they are shown. Bytes are in `buf`, or in the file of the stream from `base` on."""

    streams: tuple[Stream, ...]
    which: Array  # row → index into streams
    ident: Array  # int64: the number a person sees
    ts_ns: Array
    length: Array
    caplen: Array
    off: Array
    buf: bytes | bytearray | memoryview | None
    base: int
    cols: dict[str, Array]
    comment: dict[int, str] = field(default_factory=dict)  # ident → text
    matched: NDArray[np.uint32] | None = None  # rows that the filter of the moment lets through

    def __len__(self) -> int:
        return len(self.ts_ns)

    def cost(self) -> int:
        """Bytes of memory this block holds, about: the ring's headers stand in the buffer too."""
        return len(self) * ROW_OVERHEAD + _bytes(self)

    def directions(self, rows: Array) -> Array | None:
        """PACKET_* of the rows, DIRECTION_UNKNOWN where it is not known; None when it is of none."""
        column = self.cols.get("direction")
        if column is None:
            return None
        known = self.cols["have"][rows] & np.uint16(HAVE_DIRECTION) != 0
        return np.where(known, column[rows], np.uint8(DIRECTION_UNKNOWN))

    def fields(self) -> PacketFields:
        """The kept columns, for the filter."""
        devices = [stream.name for stream in self.streams]
        labels = [stream.netns for stream in self.streams]
        words = {"device": (self.which, devices), "netns": (self.which, labels)}
        return PacketFields(len(self), self.length, lambda depth: self.cols, words)


def block_of(batch: Batch, stream: Stream, first: int, told: Told | None = None) -> Block:
    """The block of one batch; its rows are numbered as in their file, or from `first`. `told` is given the columns."""
    meta = batch.meta
    n = len(batch)
    cols = PacketDecoder(stream.linktype, Depth.PORTS)(batch).cols
    if told is not None:
        told(stream, cols)
    number = meta.number if isinstance(meta, PacketMeta) else None
    ident = np.arange(first, first + n, dtype=np.int64) if number is None else number.astype(np.int64)
    base = _file_base(batch)
    length = wirelen(batch)
    return Block(
        streams=(stream,),
        which=np.broadcast_to(np.uint8(0), n),
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
    """Where in the file the buffer's first byte stands; None when the bytes cannot be read from there again."""
    if not isinstance(batch.meta, PacketMeta) or batch.meta.file_off is None or not len(batch):
        return None
    shift = batch.meta.file_off.astype(np.int64) - batch.off
    return int(shift[0]) if (shift == shift[0]).all() else None


def _compact(cols: Columns) -> dict[str, Array]:
    """The kept columns: a column of one value takes no memory, IPv4 addresses take four bytes."""
    narrow = "src_hi" not in cols
    kept: dict[str, Array] = {}
    for name in (*KEPT, "direction"):
        column = cols.get(name)
        if column is None:
            continue
        if len(column) and (column == column[0]).all():
            column = np.broadcast_to(column[0], len(column))
        elif narrow and name in ("src_lo", "dst_lo"):
            column = column.astype(np.uint32)
        kept[name] = column
    return kept


def joinable(last: Block, new: Block) -> bool:
    """Whether the new block should become one with the last: both small, or overlapping in time across devices."""
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
    # Joined by doubling: a row is copied a few times, not once for every packet that follows it.
    if small and len(last) <= 2 * len(new) + 64:
        return True
    overlap = last.streams != new.streams and int(last.ts_ns.max()) > int(new.ts_ns.min())
    return overlap and rows <= OVERLAP_ROWS


def _bytes(block: Block) -> int:
    return len(block.buf) if block.buf is not None else 0


def _apart(last: Block, new: Block) -> bool:
    """Whether the two lie too far apart in the file for one base and 32-bit offsets."""
    low = min(last.base, new.base)
    high = max(last.base + int(last.off.max()), new.base + int(new.off.max()))
    return high - low >= 1 << 32


def joined(blocks: Sequence[Block]) -> Block:
    """All of them as one, in order of time where they are of different devices."""
    streams = tuple(dict.fromkeys(stream for block in blocks for stream in block.streams))
    codes = [np.array([streams.index(stream) for stream in block.streams], np.uint8) for block in blocks]
    buf, base, shifts = _joined_bytes(blocks)
    whole = Block(
        streams=streams,
        which=np.concatenate([code[block.which] for code, block in zip(codes, blocks, strict=True)]),
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


def _joined_bytes(blocks: Sequence[Block]) -> tuple[bytes | bytearray | memoryview | None, int, list[int]]:
    """The buffer of all, its base in the file, and by how much the offsets of each move."""
    bufs = [block.buf for block in blocks if block.buf is not None]
    if len(bufs) < len(blocks):
        base = min(block.base for block in blocks)
        return None, base, [block.base - base for block in blocks]
    distinct = {id(buf): buf for buf in bufs}
    if len(distinct) == 1:
        return bufs[0], 0, [0] * len(blocks)
    starts = dict(zip(distinct, accumulate(map(len, distinct.values()), initial=0), strict=False))
    return b"".join(distinct.values()), 0, [starts[id(buf)] for buf in bufs]


def _joined_columns(blocks: Sequence[Block]) -> dict[str, Array]:
    out: dict[str, Array] = {}
    for name in dict.fromkeys(name for block in blocks for name in block.cols):
        kind = next(block.cols[name].dtype for block in blocks if name in block.cols)
        absent = kind.type(0)
        out[name] = np.concatenate([block.cols.get(name, np.broadcast_to(absent, len(block))) for block in blocks])
    return out


def _order_by_time(block: Block) -> None:
    order = np.argsort(block.ts_ns, kind="stable")
    for name in ("which", "ident", "ts_ns", "length", "caplen", "off"):
        setattr(block, name, getattr(block, name)[order])
    block.cols = {name: column[order] for name, column in block.cols.items()}
