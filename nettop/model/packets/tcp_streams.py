"""Relative sequence numbers: the number at which each direction of a TCP stream begins.

Only for streams on the screen. The first kept packet of each direction is looked up once, over the columns kept of all
packets (half a millisecond a stream among a million packets), and remembered; a SYN on the screen is its own beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nettop.decode.packets import columns as pc
from nettop.linux.inet import IPPROTO_TCP
from nettop.model.packets.blocks import PacketBlock

MAX_DIRECTIONS = 65_536  # directions remembered: bounds the memory that hostile input can cost
_SYN, _ACK = 2, 16
_NEAR, _FAR = 1 << 20, 1 << 30  # bytes by which a stream's numbers may differ from its beginning
_HALF, _WHOLE = 1 << 31, 1 << 32  # sequence numbers wrap (RFC 9293 3.4)

Direction = tuple[int, int, int, int, int, int]  # one direction: src_hi, src_lo, dst_hi, dst_lo, sport, dport
DIRECTION_COLUMNS = ("src_hi", "src_lo", "dst_hi", "dst_lo", "sport", "dport")


@dataclass(frozen=True, slots=True)
class TcpHeader:
    """The number of a packet in the list, its sequence numbers and flags."""

    ident: int
    seq: int
    ack: int
    flags: int


ReadHeaders = Callable[[Sequence[tuple[PacketBlock, int]]], list[TcpHeader]]


def reverse(direction: Direction) -> Direction:
    """Return the other direction."""
    return direction[2], direction[3], direction[0], direction[1], direction[5], direction[4]


class TcpStreams:
    """The first kept packet of each direction that was on the screen."""

    def __init__(self) -> None:
        self._first: dict[Direction, TcpHeader] = {}
        self._missing: dict[Direction, int] = {}  # no packet kept → search again at this count of packets

    def learn(
        self, rows: Sequence[tuple[Direction, TcpHeader]], blocks: Sequence[PacketBlock], read: ReadHeaders
    ) -> None:
        """Find the first packets of these rows' directions in `blocks`, oldest first; `read` decodes rows of them."""
        if len(self._first) + len(self._missing) > MAX_DIRECTIONS:
            self._first.clear()
            self._missing.clear()
        for direction, header in rows:
            known = self._first.get(direction)
            if header.flags & _SYN and (known is None or not known.flags & _SYN or known.ident < header.ident):
                self._first[direction] = header
        total = sum(len(block) for block in blocks)
        needed = dict.fromkeys(direction for direction, _ in rows)
        needed |= dict.fromkeys(reverse(direction) for direction, header in rows if header.flags & _ACK)
        missing = [one for one in needed if one not in self._first and self._missing.get(one, 0) <= total]
        found = {direction: row for direction in missing if (row := _first_of(blocks, direction)) is not None}
        self._missing |= dict.fromkeys(missing, total + total // 8 + 64)
        self._first |= dict(zip(found, read(list(found.values())), strict=True))

    def relative(self, direction: Direction, header: TcpHeader) -> tuple[int, int]:
        """Return Seq and Ack relative to the stream's beginning; unchanged where that is not known."""
        own, peer = self._first.get(direction), self._first.get(reverse(direction))
        seq = 0 if header.flags & _SYN else header.seq if own is None else _relative(_base(own, peer), header.seq)
        if peer is not None:
            return seq, _relative(_base(peer, own), header.ack)
        return seq, _relative(own.ack - 1, header.ack) if own is not None and own.flags & _ACK else header.ack


def _base(first: TcpHeader, peer: TcpHeader | None) -> int:
    """Return the number shown as 0: the SYN's, or the one before the first byte sent or acknowledged."""
    if first.flags & _SYN:
        return first.seq
    acknowledged = peer is not None and peer.flags & _ACK and not peer.flags & _SYN
    if peer is not None and acknowledged and -_NEAR < _since(first.seq, peer.ack) < 0:
        return peer.ack - 1
    return first.seq - 1


def _since(base: int, number: int) -> int:
    return (number - base + _HALF) % _WHOLE - _HALF


def _relative(base: int, number: int) -> int:
    """Return the number relative to its base; unchanged when far off, for then it is of an earlier or later stream."""
    since = _since(base, number)
    return since if -_NEAR < since < _FAR else number


def _first_of(blocks: Sequence[PacketBlock], direction: Direction) -> tuple[PacketBlock, int] | None:
    """Return the first kept packet of a direction. Ports are compared first: most rows differ there."""
    for block in blocks:
        cols = block.cols
        rows: Any = np.flatnonzero((cols["sport"] == direction[4]) & (cols["dport"] == direction[5]))
        if not len(rows):
            continue
        rows = rows[(cols["proto"][rows] == IPPROTO_TCP) & (cols["have"][rows] & np.uint16(pc.HAVE_PORTS) != 0)]
        for name, value in zip(DIRECTION_COLUMNS[:4], direction[:4], strict=True):
            column = cols.get(name)
            rows = rows if column is None else rows[column[rows] == value]
        if len(rows):
            return block, int(rows[0])
    return None
