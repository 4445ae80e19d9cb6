"""Rates of flows from captured packets: for flows that the kernel does not count, because accounting was off.

A packet belongs to a flow's direction if it has the flow's original or reply tuple, or the inverse of one of them:
before and after NAT. A forwarded packet is captured on two devices, on a bridge and its port, on some twice: of all
capture points of a direction the one with the most bytes counts. Bytes are those of the IP packet, as in conntrack.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from nettop.batch import Array, Stream
from nettop.columns import HAVE_REPLY, Columns
from nettop.kinds import NO_TIME
from nettop.model.flows.derive import Data, column
from nettop.model.flows.index import Hashes, KeyHash
from nettop.model.flows.store import FlowStore, grown
from nettop.model.ordering import Rows
from nettop.model.packet_rates.conversations import conversations
from nettop.model.packet_rates.tally import PacketTally
from nettop.text import units

INTERVAL_NS = 1_000_000_000
SILENCE_NS = 5_000_000_000  # after so long without a packet the measurement ends
_POINTS = 3  # capture points of a device: unknown direction, incoming, outgoing
_MAX_POINTS = 65_535 // _POINTS
_BUCKETS = 1 << 20  # of the quick test whether any packet may belong to a flow
_CHUNK = 1 << 16  # rows hashed at a time
# Terms of pcap-filter(7) that test a packet's bytes, length or direction.
_SELECTIVE = re.compile(r"\[|\b(?:less|greater|len|inbound|outbound)\b")


class FlowMeter:
    """Counts decoded packets and joins them to the flows of a store once a second.

    `code` returns the code of a namespace's label. Before the first packet of a flow its rate is unknown,
    after it silence is a rate of 0.
    """

    def __init__(self, store: FlowStore, code: Callable[[str], int]) -> None:
        self.version = 0
        self.interval_ns = 0  # over which the current rates were measured
        self.ambiguous = 0  # conversations of the last interval that match several flows (zones)
        self._store, self._code = store, code
        self._hash = KeyHash()
        self.tally = PacketTally()
        self._points: dict[int, int] = {}  # stream → its first capture point
        self._netns = np.zeros(0, np.uint16)  # capture point → code of the namespace
        self._began_ns = self._newest_ns = self._ticked_ns = 0
        self._fresh = False
        self._hashes = _FlowHashes(store, self._hash)
        self._up = self._down = np.zeros(0, np.float32)
        self._generation = np.zeros(0, np.uint32)  # of the flow to which the rates of a row belong

    def add(self, stream: Stream, cols: Columns) -> None:
        """Count a batch of packets of a device, decoded to Depth.PORTS.

        A capture filter by size, contents or direction would give too low rates: such packets are ignored.
        """
        if not len(cols) or _SELECTIVE.search(stream.capture_filter):
            return
        times = cols["ts_ns"][cols["ts_ns"] != NO_TIME]
        if not len(times):
            return
        point = self._points.get(stream.id)
        if point is None:
            point = self._points[stream.id] = min(len(self._points), _MAX_POINTS) * _POINTS
            self._netns = np.append(self._netns, [np.uint16(self._code(stream.netns))] * _POINTS)
        first, last = int(times[0]), int(times[-1])
        self._began_ns = self._began_ns or first
        self._newest_ns = max(self._newest_ns, last)
        self._fresh = True
        self.tally.add(cols, point)

    def forget(self) -> None:
        """Discard the measurement, as another capture begins."""
        if self._began_ns:
            self.tally.drain()
            self._began_ns = self._newest_ns = 0
            self._generation[:] = 0
            self._fresh = False
            self.version += 1

    def tick(self, now_ns: int) -> None:
        """Join packets and flows if an interval is over or the clock has stopped (a replay has ended)."""
        stopped, self._ticked_ns = now_ns == self._ticked_ns, now_ns
        if not self._began_ns:
            return
        if now_ns - self._newest_ns > SILENCE_NS:
            self.forget()
        elif now_ns - self._began_ns >= INTERVAL_NS or (stopped and self._fresh and now_ns > self._began_ns):
            self.join(now_ns)

    def join(self, now_ns: int) -> None:
        """Compute the rates of the interval that ends now."""
        seconds = max(1, now_ns - self._began_ns) / 1e9
        self.interval_ns, self._began_ns, self._fresh = now_ns - self._began_ns, now_ns, False
        self._grow()
        known = self._generation[: self._store.top] == self._store["generation"][: self._store.top]
        self._up[: self._store.top][known] = self._down[: self._store.top][known] = 0
        rows, up, down = self._joined()
        self._up[rows], self._down[rows] = up / seconds, down / seconds
        self._generation[rows] = self._store["generation"][rows]
        self.version += 1

    @property
    def measuring(self) -> bool:
        """True while packets are being measured."""
        return bool(self._began_ns)

    def measured(self, data: Data) -> tuple[Array, Array] | None:
        """Return bytes a second of the rows from 0 on, in each direction, NaN if not measured; None without any."""
        if not self._began_ns or not len(self._generation):
            return None
        top, n = len(data["have"]), len(self._generation)
        up, down = np.full(top, np.nan, np.float32), np.full(top, np.nan, np.float32)
        known = (self._generation[:top] == data["generation"][:n]).nonzero()[0]
        up[known], down[known] = self._up[known], self._down[known]
        return up, down

    def notes(self) -> tuple[str, ...]:
        """Return notes on the rates: the interval, and the packets not counted; () without rates."""
        if not self._began_ns:
            return ()
        uncounted = (
            (self.tally.later_fragments, "later fragments, which have no ports"),
            (self.tally.overflow, "packets of too many flows at a time"),
            (self.ambiguous, "conversations that several flows could claim"),
        )
        over = f"measured from captured packets over {units.duration(self.interval_ns / 1e9)}"
        return (over, *(f"not counted: {units.grouped(count)} {reason}" for count, reason in uncounted if count))

    def _grow(self) -> None:
        capacity = self._store.capacity
        if len(self._generation) < capacity:
            self._up, self._down = grown(self._up, capacity), grown(self._down, capacity)
            self._generation = grown(self._generation, capacity)

    def _joined(self) -> tuple[Rows, Array, Array]:
        """Return the rows of the flows with packets, and their bytes in each direction."""
        hashes, ahead, back = self._seen()
        original, reply = self._hashes.current()
        there = _maybe(hashes, original) | _maybe(hashes, reply)
        rows = (there & self._store.live()).nonzero()[0]
        first, second = _found(hashes, original[rows]), _found(hashes, reply[rows])
        second[second == first] = -1  # without NAT both tuples are one conversation
        claims = np.bincount(first[first >= 0], minlength=len(hashes))
        claims += np.bincount(second[second >= 0], minlength=len(hashes))
        self.ambiguous = int(np.count_nonzero(claims > 1))
        up, down = np.zeros(len(rows)), np.zeros(len(rows))
        certain = np.zeros(len(rows), np.bool_)
        for at, tuples, replies in ((first, original, False), (second, reply, True)):
            some = ((at >= 0) & (np.append(claims, 0)[at] == 1)).nonzero()[0]
            certain[some] = True
            forward = (tuples[rows[some]] & np.uint64(1) == 1) != replies
            up[some] = np.maximum(up[some], np.where(forward, ahead[at[some]], back[at[some]]))
            down[some] = np.maximum(down[some], np.where(forward, back[at[some]], ahead[at[some]]))
        return rows[certain], up[certain], down[certain]

    def _seen(self) -> tuple[Hashes, Array, Array]:
        """Return the conversations (hashes without the lowest bit, ascending), and the bytes forward and back.

        Of all capture points of a direction the one with the most bytes counts.
        """
        found = self.tally.drain()
        hi = (found["src_hi"], found["dst_hi"]) if found["src_hi"].any() or found["dst_hi"].any() else (None, None)
        hashes = conversations(
            self._hash,
            self._netns[found["point"]],
            found["family"],
            found["proto"],
            (hi[0], found["src"], found["sport"]),
            (hi[1], found["dst"], found["dport"]),
        )
        distinct, which = np.unique(hashes >> np.uint64(1), return_inverse=True)
        both = np.zeros((2, len(distinct)), np.uint64)
        np.maximum.at(both, ((hashes & np.uint64(1)).astype(np.intp), which), found["bytes"])
        return distinct, both[1].astype(np.float64), both[0].astype(np.float64)


class _FlowHashes:
    """The conversation hashes of both tuples of every row, computed once for each flow."""

    def __init__(self, store: FlowStore, key_hash: KeyHash) -> None:
        self._store, self._hash = store, key_hash
        self._original = self._reply = np.zeros(0, np.uint64)
        self._generation = np.zeros(0, np.uint32)

    def current(self) -> tuple[Hashes, Hashes]:
        """Return the hashes of the original and the reply tuples of all rows used so far."""
        top, store = self._store.top, self._store
        if len(self._generation) < store.capacity:
            self._original, self._reply = grown(self._original, store.capacity), grown(self._reply, store.capacity)
            self._generation = grown(self._generation, store.capacity)
        changed = (self._generation[:top] != store["generation"][:top]).nonzero()[0]
        for start in range(0, len(changed), _CHUNK):
            self._update(changed[start : start + _CHUNK])
        return self._original[:top], self._reply[:top]

    def _update(self, rows: Rows) -> None:
        data = {name: values[rows] for name, values in self._store.data.items() if name in _NEEDED}
        self._original[rows] = self._of(data, "o")
        replied = data["have"] & np.uint32(HAVE_REPLY) != 0
        self._reply[rows] = np.where(replied, self._of(data, "r"), self._original[rows])
        self._generation[rows] = np.where(replied, data["generation"], 0)  # 0: checked again, the reply may follow

    def _of(self, data: Data, direction: str) -> Hashes:
        src = data.get(f"{direction}src_hi"), data[f"{direction}src_lo"], column(data, f"{direction}sport")
        dst = data.get(f"{direction}dst_hi"), data[f"{direction}dst_lo"], column(data, f"{direction}dport")
        return conversations(self._hash, data["netns"], data["family"], data["proto"], src, dst)


_ENDPOINTS = ("src_lo", "dst_lo", "src_hi", "dst_hi", "sport", "dport")
_NEEDED = {"have", "generation", "netns", "family", "proto", *(side + end for side in "or" for end in _ENDPOINTS)}


def _maybe(distinct: Hashes, hashes: Hashes) -> Array:
    """Return a mask of the hashes that may be among the distinct ones (without the lowest bit): few false positives."""
    buckets = np.zeros(_BUCKETS, np.bool_)
    buckets[(distinct & np.uint64(_BUCKETS - 1)).view(np.int64)] = True
    return buckets.take((hashes >> np.uint64(1) & np.uint64(_BUCKETS - 1)).view(np.int64))


def _found(distinct: Hashes, hashes: Hashes) -> Rows:
    """Return the index of each hash (without its lowest bit) among the distinct ones, or -1."""
    shifted = hashes >> np.uint64(1)
    if not len(distinct):
        return np.full(len(hashes), -1, np.intp)
    at = np.minimum(np.searchsorted(distinct, shifted), len(distinct) - 1)
    return np.where(distinct[at] == shifted, at, -1)
