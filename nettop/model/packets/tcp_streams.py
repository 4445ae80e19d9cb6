"""Relative sequence numbers and scaled windows of TCP, counted from the beginning of each direction as Wireshark does.

A direction begins at its SYN, else at its first packet or at what the other direction's first packet acknowledged.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nettop.decode.packets import columns as pc
from nettop.linux.inet import IPPROTO_TCP
from nettop.model.packets.blocks import PacketBlock

MAX_DIRECTIONS = 65_536  # directions remembered: bounds the memory that hostile input can cost
_MAX_SYNS = 16  # of one direction
_FEW = 3  # packets of a direction among which its first acknowledgement is: a SYN may be repeated
_SYN, _ACK = 2, 16
_WHOLE = 1 << 32  # sequence numbers wrap (RFC 9293 3.4)

Direction = tuple[int, int, int, int, int, int]  # one direction: src_hi, src_lo, dst_hi, dst_lo, sport, dport
DIRECTION_COLUMNS = ("src_hi", "src_lo", "dst_hi", "dst_lo", "sport", "dport")


@dataclass(frozen=True, slots=True)
class TcpHeader:
    """The number of a packet in the list, its sequence numbers, flags and window; of a SYN the shift of the window.

    Of the beginning of a direction, `first_ack` is the first packet with an acknowledgement.
    """

    ident: int
    seq: int
    ack: int
    flags: int
    window: int
    shift: int | None = None  # None: without the option (RFC 7323)
    first_ack: TcpHeader | None = None

    @property
    def acknowledging(self) -> TcpHeader | None:
        """The packet itself if it acknowledges, else `first_ack`."""
        return self if self.flags & _ACK else self.first_ack


TcpNumbers = tuple[int, int, int]  # Seq, Ack and Win as shown
ReadHeaders = Callable[[Sequence[tuple[PacketBlock, int]]], list[TcpHeader]]


def reverse(direction: Direction) -> Direction:
    """Return the other direction."""
    return direction[2], direction[3], direction[0], direction[1], direction[5], direction[4]


def numbers(header: TcpHeader, own: TcpHeader, peer: TcpHeader | None) -> TcpNumbers:
    """Return the numbers of a packet; `own` and `peer` begin its direction and the other one (None: not seen yet)."""
    syn = header.flags & _SYN
    seq = 0 if syn else (header.seq - _base(own, peer)) % _WHOLE
    if not header.flags & _ACK:
        ack = header.ack
    elif peer is not None:
        ack = (header.ack - _base(peer, own)) % _WHOLE
    else:
        ack = (header.ack - (own.acknowledging or header).ack + 1) % _WHOLE
    return seq, ack, header.window if syn else header.window << _shift(own, peer)


def _base(first: TcpHeader, other: TcpHeader | None) -> int:
    """Return the number shown as 0: the SYN's, or the one before the first byte sent or acknowledged."""
    if first.flags & _SYN:
        return first.seq
    ack = other.acknowledging if other is not None else None
    return ack.ack - 1 if ack is not None and ack.ident < first.ident else first.seq - 1


def _shift(own: TcpHeader, peer: TcpHeader | None) -> int:
    """Return the shift of a direction's windows: both SYNs must have the option, as far as they were seen."""
    refused = peer is not None and peer.flags & _SYN and peer.shift is None
    return 0 if refused or own.shift is None else min(own.shift, 14)


def _begins_stream(header: TcpHeader) -> bool:
    return header.flags & (_SYN | _ACK) == _SYN


class TcpReader:
    """The numbers of packets that are read in order."""

    def __init__(self) -> None:
        self._first: dict[Direction, TcpHeader] = {}

    def numbers(self, direction: Direction, header: TcpHeader) -> TcpNumbers:
        """Return the numbers of the next packet."""
        own, other = self._first.get(direction), reverse(direction)
        syn = header.flags & _SYN
        if own is None or (syn and (own.seq != header.seq or not own.flags & _SYN)):
            if len(self._first) >= MAX_DIRECTIONS:
                self._first.clear()
            if _begins_stream(header):
                self._first.pop(other, None)
            own = self._first[direction] = header
        elif own.acknowledging is None and header.flags & _ACK:
            own = self._first[direction] = replace(own, first_ack=header)
        return numbers(header, own, self._first.get(other))


class TcpStreams:
    """The beginnings of the directions that were on the screen: the first kept packet, and the SYNs seen.

    The first kept packet of each is looked up once, over the columns kept of all packets (half a millisecond a stream
    among a million packets).
    """

    def __init__(self) -> None:
        self._starts: dict[Direction, list[TcpHeader]] = {}  # by their number
        self._missing: dict[Direction, int] = {}  # no packet kept → search again at this count of packets

    def learn(
        self, rows: Sequence[tuple[Direction, TcpHeader]], blocks: Sequence[PacketBlock], read: ReadHeaders
    ) -> None:
        """Find the first packets of these rows' directions in `blocks`, oldest first; `read` decodes rows of them."""
        if len(self._starts) + len(self._missing) > MAX_DIRECTIONS:
            self._starts.clear()
            self._missing.clear()
        total = sum(len(block) for block in blocks)
        needed = dict.fromkeys(one for direction, _ in rows for one in (direction, reverse(direction)))
        missing = [one for one in needed if one not in self._starts and self._missing.get(one, 0) <= total]
        found = {direction: first for direction in missing if (first := _first_of(blocks, direction))}
        self._missing |= dict.fromkeys(missing, total + total // 8 + 64)
        headers = iter(read([row for first in found.values() for row in first]))
        for direction, first in found.items():
            begin, *rest = (next(headers) for _ in first)
            first_ack = next((header for header in (begin, *rest) if header.flags & _ACK), None)
            self._starts[direction] = [replace(begin, first_ack=first_ack)]
        for direction, header in rows:
            self._add(direction, header)

    def _add(self, direction: Direction, header: TcpHeader) -> None:
        """Remember a SYN that is not a repetition of the one before."""
        starts = self._starts.setdefault(direction, [header])
        at = bisect_right(starts, header.ident, key=_ident)
        before = starts[at - 1] if at else None
        repeated = before is not None and (before.ident == header.ident or before.seq == header.seq)
        if not at or (header.flags & _SYN and not repeated):
            starts.insert(at, header)
            del starts[: max(0, len(starts) - _MAX_SYNS)]

    def numbers(self, direction: Direction, header: TcpHeader) -> TcpNumbers:
        """Return the numbers of a packet whose direction was learned."""
        own = _latest(self._starts.get(direction, []), header.ident)
        peer = _latest(self._starts.get(reverse(direction), []), header.ident)
        if peer is not None and own is not None:
            if _begins_stream(own) and peer.ident < own.ident:
                peer = None
            elif _begins_stream(peer) and own.ident < peer.ident:
                own = None
        return numbers(header, own or header, peer)


def _ident(header: TcpHeader) -> int:
    return header.ident


def _latest(starts: list[TcpHeader], ident: int) -> TcpHeader | None:
    """Return the last start up to a packet."""
    at = bisect_right(starts, ident, key=_ident)
    return starts[at - 1] if at else None


def _first_of(blocks: Sequence[PacketBlock], direction: Direction) -> list[tuple[PacketBlock, int]]:
    """Return the first few kept packets of a direction, of one block or two; ports first, where most rows differ."""
    found: list[tuple[PacketBlock, int]] = []
    for block in blocks:
        cols = block.cols
        rows: Any = np.flatnonzero((cols["sport"] == direction[4]) & (cols["dport"] == direction[5]))
        if not len(rows) and found:
            break
        rows = rows[(cols["proto"][rows] == IPPROTO_TCP) & (cols["have"][rows] & np.uint16(pc.HAVE_PORTS) != 0)]
        for name, value in zip(DIRECTION_COLUMNS[:4], direction[:4], strict=True):
            column = cols.get(name)
            rows = rows if column is None else rows[column[rows] == value]
        enough = bool(found) or len(rows) >= _FEW
        found += [(block, row) for row in rows[: _FEW - len(found)].tolist()]
        if enough:
            break
    return found
