"""Where the sequence numbers of a TCP stream begin: so that a row can say Seq=1, as people count.

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
from nettop.model.packets.blocks import Block

LIMIT = 65_536  # streams remembered; hostile input must not grow us
_SYN, _ACK = 2, 16
_NEAR, _FAR = 1 << 20, 1 << 30  # bytes by which a stream's numbers may differ from its beginning
_HALF, _WHOLE = 1 << 31, 1 << 32  # sequence numbers wrap (RFC 9293 3.4)

Way = tuple[int, int, int, int, int, int]  # one direction: src_hi, src_lo, dst_hi, dst_lo, sport, dport
WAY = ("src_hi", "src_lo", "dst_hi", "dst_lo", "sport", "dport")


@dataclass(frozen=True, slots=True)
class Head:
    """Of a packet: its number, its sequence numbers and flags."""

    ident: int
    seq: int
    ack: int
    flags: int


Read = Callable[[Sequence[tuple[Block, int]]], list[Head]]


def reverse(way: Way) -> Way:
    """The other direction."""
    return way[2], way[3], way[0], way[1], way[5], way[4]


class TcpStreams:
    """Remembers the first packet of each direction that was on the screen."""

    def __init__(self) -> None:
        self._first: dict[Way, Head] = {}
        self._missing: dict[Way, int] = {}  # direction without a packet → from how many packets on to look again

    def learn(self, rows: Sequence[tuple[Way, Head]], blocks: Sequence[Block], read: Read) -> None:
        """Look up what these rows need in what is kept, oldest block first; `read` decodes rows of it."""
        if len(self._first) + len(self._missing) > LIMIT:
            self._first.clear()
            self._missing.clear()
        for way, head in rows:
            known = self._first.get(way)
            if head.flags & _SYN and (known is None or not known.flags & _SYN or known.ident < head.ident):
                self._first[way] = head
        total = sum(len(block) for block in blocks)
        ways = [way for way, _ in rows] + [reverse(way) for way, head in rows if head.flags & _ACK]
        wanted = [w for w in dict.fromkeys(ways) if w not in self._first and self._missing.get(w, 0) <= total]
        found = {way: place for way in wanted if (place := _first_of(blocks, way)) is not None}
        self._missing |= dict.fromkeys(wanted, total + total // 8 + 64)
        self._first |= dict(zip(found, read(list(found.values())), strict=True))

    def relative(self, way: Way, head: Head) -> tuple[int, int]:
        """Seq and Ack counted from the stream's beginning; as they are where that is not known."""
        own, peer = self._first.get(way), self._first.get(reverse(way))
        seq = 0 if head.flags & _SYN else head.seq if own is None else _counted(_base(own, peer), head.seq)
        if peer is not None:
            return seq, _counted(_base(peer, own), head.ack)
        return seq, _counted(own.ack - 1, head.ack) if own is not None and own.flags & _ACK else head.ack


def _base(first: Head, peer: Head | None) -> int:
    """The number that counts as 0: the SYN's, or the one before the first byte that either side speaks of."""
    if first.flags & _SYN:
        return first.seq
    spoken_of = peer is not None and peer.flags & _ACK and not peer.flags & _SYN
    if peer is not None and spoken_of and -_NEAR < _since(first.seq, peer.ack) < 0:
        return peer.ack - 1
    return first.seq - 1


def _since(base: int, number: int) -> int:
    return (number - base + _HALF) % _WHOLE - _HALF


def _counted(base: int, number: int) -> int:
    """The number from its base on; far off it is of another life of the same ports, and stays as it is."""
    since = _since(base, number)
    return since if -_NEAR < since < _FAR else number


def _first_of(blocks: Sequence[Block], way: Way) -> tuple[Block, int] | None:
    """The first kept packet of a direction. Ports first: most rows differ there, and the rest need not be looked at."""
    for block in blocks:
        cols = block.cols
        rows: Any = np.flatnonzero((cols["sport"] == way[4]) & (cols["dport"] == way[5]))
        if not len(rows):
            continue
        rows = rows[(cols["proto"][rows] == IPPROTO_TCP) & (cols["have"][rows] & np.uint16(pc.HAVE_PORTS) != 0)]
        for name, value in zip(WAY[:4], way[:4], strict=True):
            column = cols.get(name)
            rows = rows if column is None else rows[column[rows] == value]
        if len(rows):
            return block, int(rows[0])
    return None
