"""Bytes of captured packets by tuple and capture point, added up in bulk with few operations a batch."""

from __future__ import annotations

import secrets

import numpy as np

from nettop.batch import Array
from nettop.columns import Columns
from nettop.decode.packets import columns as pc
from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, WITH_PORTS
from nettop.linux.packet import PACKET_OUTGOING
from nettop.model.flows.index import FlowIndex
from nettop.model.flows.store import grown

MAX_TUPLES = 1 << 18  # remembered: packets of further tuples are counted as not attributed
MAX_NEW = 1 << 16  # in one interval: a scan must not cost more than the capture itself
_FIRST_CAPACITY = 1 << 10
_REMEMBERED = 1 << 12  # tuples that are kept even if most of them are silent
_CACHE = 1 << 16  # the latest rows by the low bits of the hash: most packets belong to recent tuples
# Protocols whose packets cannot be attributed without their ports or id.
_WITH_LAYER_4 = np.isin(np.arange(256), (*WITH_PORTS, IPPROTO_ICMP, IPPROTO_ICMPV6))
# The eight bytes other than the addresses: ports (ICMP: id, and type << 8 | code), protocols, and the capture point.
PACKED = np.dtype(
    [("sport", np.uint16), ("dport", np.uint16), ("proto", np.uint8), ("family", np.uint8), ("point", np.uint16)]
)
_PLAIN = np.uint16(pc.HAVE_IP | pc.HAVE_PORTS)
_PLAIN_MASK = np.uint16(pc.HAVE_IP | pc.HAVE_PORTS | pc.HAVE_FRAGMENT)
UNKNOWN_DIRECTION, INCOMING, OUTGOING = 0, 1, 2


class PacketTally:
    """Counters of bytes until drain(). A capture point is a device and a direction, as a number.

    Tuples are distinguished by seeded 64-bit hashes alone: among MAX_TUPLES two collide once in 2^29 intervals.
    """

    def __init__(self) -> None:
        self._k = [np.uint64(secrets.randbits(64) | 1) for _ in range(5)]
        self.later_fragments = self.overflow = 0  # packets not attributed, by reason
        self._cache: Array
        self._hashes: Array
        self._bytes: Array
        self._packed: Array
        self._addresses: dict[str, Array]
        self._count: int
        self._new: int  # of them, in this interval
        self._begin()

    def __len__(self) -> int:
        """Return the number of tuples remembered, by capture point."""
        return self._count

    def add(self, cols: Columns, point: int) -> None:
        """Add a batch of decoded packets (Depth.PORTS). `point`: the first of the device's three capture points."""
        rows = self._attributable(cols)
        packed, src, dst, hi, size = _keys(cols, rows, point)
        if not len(packed):
            return
        hashes = self._hashed(packed, src, dst, hi)
        home = (hashes & np.uint64(_CACHE - 1)).view(np.int64)
        at = self._cache.take(home)
        missed = (self._hashes.take(at) != hashes).nonzero()[0]
        if len(missed):
            at[missed] = found = self._index.find(hashes[missed], self._hashes, lambda rows, _: rows >= 0)
            new = missed[found < 0]
            if len(new):
                new_hi = None if hi is None else (hi[0][new], hi[1][new])
                at[new] = self._insert(hashes[new], packed[new], src[new], dst[new], new_hi)
            self._cache[home[missed]] = np.maximum(at[missed], 0)
            if len(new) and int(at[new].min()) < 0:
                known = at >= 0
                self.overflow += len(at) - int(np.count_nonzero(known))
                at, size = at[known], size[known]
        np.add.at(self._bytes, at, size)

    def drain(self) -> dict[str, Array]:
        """Return the tuples seen since the last call, as columns, and reset the counters.

        Columns: sport dport proto family point src dst src_hi dst_hi bytes.

        Tuples are remembered, as most are seen again. If most are not, all are forgotten.
        """
        seen = self._bytes[: self._count].nonzero()[0]
        found = {name: self._packed[name][seen] for name in PACKED.names or ()}
        found |= {name: column[seen] for name, column in self._addresses.items()}
        found["bytes"] = self._bytes[seen]
        if (self._count > _REMEMBERED and 2 * len(seen) < self._count) or 2 * self._count > MAX_TUPLES:
            self._begin()
        else:
            self._bytes[: self._count] = 0
        self._new = 0
        return found

    def _begin(self) -> None:
        self._cache = np.zeros(_CACHE, np.int32)
        self._count = self._new = 0
        self._index = FlowIndex()
        self._hashes = np.zeros(_FIRST_CAPACITY, np.uint64)
        self._bytes = np.zeros(_FIRST_CAPACITY, np.uint64)
        self._packed = np.zeros(_FIRST_CAPACITY, PACKED)
        self._addresses = {name: np.zeros(_FIRST_CAPACITY, np.uint64) for name in ("src", "dst", "src_hi", "dst_hi")}

    def _hashed(self, packed: Array, src: Array, dst: Array, hi: tuple[Array, Array] | None) -> Array:
        """Return hashes with as few operations as possible: every packet is hashed."""
        h = src * self._k[0]
        h += dst * self._k[1]
        h += packed * self._k[2]
        if hi is not None:
            h += hi[0] * self._k[3]
            h += hi[1] * self._k[4]
        h ^= h >> np.uint64(32)
        h ^= h >> np.uint64(16)  # the capture point changes only the highest bits, and the index uses the lowest
        return h

    def _attributable(self, cols: Columns) -> Array | slice:
        """Return the indexes of packets that can belong to a flow; a slice, without copying, if all can."""
        have = cols["have"]
        if ((have & _PLAIN_MASK) == _PLAIN).all():  # most batches are of packets with ports
            return slice(None)
        first = have & np.uint16(pc.HAVE_IP | pc.HAVE_LATER_FRAGMENT) == pc.HAVE_IP
        layer4 = have & np.uint16(pc.HAVE_PORTS | pc.HAVE_ICMP_ID) != 0
        rows: Array = (first & (layer4 | ~_WITH_LAYER_4[cols["proto"]])).nonzero()[0]
        self.later_fragments += int(np.count_nonzero(have & np.uint16(pc.HAVE_LATER_FRAGMENT)))
        return rows

    def _insert(self, hashes: Array, packed: Array, src: Array, dst: Array, hi: tuple[Array, Array] | None) -> Array:
        """Add new tuples to the table and return their rows; -1 if it is full."""
        room = min(MAX_TUPLES - self._count, MAX_NEW - self._new)
        if room <= 0:
            return np.full(len(hashes), -1)
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        order = np.argsort(first)  # in order of arrival
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first, inverse = first[order[:room]], rank[inverse]
        self._new += len(first)
        start, self._count = self._count, self._count + len(first)
        self._grow()
        rows = np.arange(start, self._count)
        self._hashes[rows], self._packed[rows] = hashes[first], packed[first].view(PACKED)
        self._addresses["src"][rows], self._addresses["dst"][rows] = src[first], dst[first]
        if hi is not None:
            self._addresses["src_hi"][rows], self._addresses["dst_hi"][rows] = hi[0][first], hi[1][first]
        self._index.reserve(len(first), self._hashes, lambda: np.arange(start))
        self._index.insert(self._hashes[rows], rows)
        return np.where(inverse < len(first), start + inverse, -1)

    def _grow(self) -> None:
        while self._count > len(self._hashes):
            size = 2 * len(self._hashes)
            self._hashes, self._bytes = grown(self._hashes, size), grown(self._bytes, size)
            self._packed = grown(self._packed, size)
            self._addresses = {name: grown(column, size) for name, column in self._addresses.items()}


def _keys(
    cols: Columns, rows: Array | slice, point: int
) -> tuple[Array, Array, Array, tuple[Array, Array] | None, Array]:
    """Return the packed keys, addresses, their high halves (None: IPv4 only), and sizes of these packets."""
    have = cols["have"][rows]
    packed = np.empty(len(have), PACKED)
    for name in ("sport", "dport", "proto", "family"):
        packed[name] = cols[name][rows]
    packed["point"] = point + _direction(have, cols.get("direction"), rows)
    src, dst = (cols[name][rows].astype(np.uint64, copy=False) for name in ("src_lo", "dst_lo"))
    hi = (cols["src_hi"][rows], cols["dst_hi"][rows]) if "src_hi" in cols else None
    return packed.view(np.uint64), src, dst, hi, cols["size"][rows].astype(np.uint64)


def _direction(have: Array, direction: Array | None, rows: Array | slice) -> Array | int:
    """Return UNKNOWN_DIRECTION, INCOMING or OUTGOING of these packets; a single number if all have the same."""
    if direction is None:
        return UNKNOWN_DIRECTION
    known = have & np.uint16(pc.HAVE_DIRECTION) != 0
    outgoing = direction[rows] == PACKET_OUTGOING
    if known.all() and not outgoing.any():
        return INCOMING
    code: Array = known.astype(np.uint16) + (known & outgoing)
    return code
