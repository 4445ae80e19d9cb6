"""Rates of flows from captured packets: for flows that the kernel does not count, because accounting was off.

A packet belongs to a flow's direction when it has the flow's original or reply tuple, or the inverse of one of them:
before and after NAT. One that is forwarded is seen on two devices, on a bridge and on its port, on some twice: of all
places where a direction is seen the one with the most bytes counts. Bytes are those of the IP packet, as conntrack's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from nettop.batch import Array, Stream
from nettop.columns import HAVE_REPLY, Columns
from nettop.model.flows.derive import Data, column
from nettop.model.flows.index import Hashes, KeyHash
from nettop.model.flows.store import FlowStore
from nettop.model.ordering import Rows
from nettop.model.packet_rates.conversations import conversations
from nettop.model.packet_rates.tally import PacketTally
from nettop.text import units

INTERVAL_NS = 1_000_000_000
SILENCE_NS = 5_000_000_000  # without any packet for so long, nothing is measured any more
_PLACES = 3  # of a device: direction not known, in, out
_MAX_PLACES = 65_535 // _PLACES
_BUCKETS = 1 << 20  # of the first look at whether any packet may be of a flow
_CHUNK = 1 << 16  # rows hashed at a time
# In a capture filter (pcap-filter(7)): bytes of the packet, its length, its direction.
_TAKES_A_PART = re.compile(r"\[|\b(?:less|greater|len|inbound|outbound)\b")


class FlowMeter:
    """Is given the decoded packets as they come, and joins them to the flows of a store once a second.

    `code` gives the code of a namespace's label. A flow is known to be captured once a packet of it was seen; from then
    on silence is a rate of 0, before that nothing is known.
    """

    def __init__(self, store: FlowStore, code: Callable[[str], int]) -> None:
        self.version = 0
        self.interval_ns = 0  # over which the rates of now were measured
        self.ambiguous = 0  # conversations of the last interval that several flows could claim (zones)
        self._store, self._code = store, code
        self._hash = KeyHash()
        self._tally = PacketTally()
        self._places: dict[int, int] = {}  # stream → its first place
        self._netns = np.zeros(0, np.uint16)  # place → code of the namespace
        self._began_ns = self._newest_ns = self._ticked_ns = 0
        self._fresh = False
        self._hashes = _FlowHashes(store, self._hash)
        self._up = self._down = np.zeros(0, np.float32)
        self._generation = np.zeros(0, np.uint32)  # of the flow that the rates of a row are of

    def take(self, stream: Stream, cols: Columns) -> None:
        """One batch of packets of a device, decoded to Depth.PORTS.

        Of a capture that takes packets by their size or their contents a flow has too few: no rate is better then.
        """
        if not len(cols) or _TAKES_A_PART.search(stream.capture_filter):
            return
        place = self._places.get(stream.id)
        if place is None:
            place = self._places[stream.id] = min(len(self._places), _MAX_PLACES) * _PLACES
            self._netns = np.append(self._netns, [np.uint16(self._code(stream.netns))] * _PLACES)
        first, last = int(cols["ts_ns"][0]), int(cols["ts_ns"][-1])
        self._began_ns = self._began_ns or first
        self._newest_ns = max(self._newest_ns, last)
        self._fresh = True
        self._tally.add(cols, place)

    def forget(self) -> None:
        """Another capture begins: what was measured is of other packets."""
        if self._began_ns:
            self._tally.taken()
            self._began_ns = self._newest_ns = 0
            self._generation[:] = 0
            self._fresh = False
            self.version += 1

    def tick(self, now_ns: int) -> None:
        """Join what came to the flows, when an interval is over or the clock stands still (a replay has ended)."""
        still, self._ticked_ns = now_ns == self._ticked_ns, now_ns
        if not self._began_ns:
            return
        if now_ns - self._newest_ns > SILENCE_NS:
            self.forget()
        elif now_ns - self._began_ns >= INTERVAL_NS or (still and self._fresh and now_ns > self._began_ns):
            self.join(now_ns)

    def join(self, now_ns: int) -> None:
        """The rates of the interval that ends now."""
        seconds = max(1, now_ns - self._began_ns) / 1e9
        self.interval_ns, self._began_ns, self._fresh = now_ns - self._began_ns, now_ns, False
        self._make_room()
        known = self._generation[: self._store.top] == self._store["generation"][: self._store.top]
        self._up[: self._store.top][known] = self._down[: self._store.top][known] = 0
        rows, up, down = self._joined()
        self._up[rows], self._down[rows] = up / seconds, down / seconds
        self._generation[rows] = self._store["generation"][rows]
        self.version += 1

    @property
    def measuring(self) -> bool:
        """Whether packets have come of which rates are made."""
        return bool(self._began_ns)

    def measured(self, data: Data) -> tuple[Array, Array] | None:
        """Bytes a second of the store's rows from 0 on, each way, NaN where not measured; None: nothing is."""
        if not self._began_ns or not len(self._generation):
            return None
        top, n = len(data["have"]), len(self._generation)
        up, down = np.full(top, np.nan, np.float32), np.full(top, np.nan, np.float32)
        known = (self._generation[:top] == data["generation"][:n]).nonzero()[0]
        up[known], down[known] = self._up[known], self._down[known]
        return up, down

    def words(self) -> tuple[str, ...]:
        """What must be known of the rates: over how long they are measured, and what they lack; () where none are."""
        if not self._began_ns:
            return ()
        tally = self._tally
        lacks = (
            (tally.later_fragments, "later fragments, which have no ports"),
            (tally.beyond, "packets of too many flows at a time"),
            (self.ambiguous, "conversations that several flows could claim"),
        )
        over = f"measured from captured packets over {units.duration(self.interval_ns / 1e9)}"
        return (over, *(f"not counted: {units.grouped(count)} {why}" for count, why in lacks if count))

    @property
    def tally(self) -> PacketTally:
        """Counts of the packets that were not attributed, and why."""
        return self._tally

    def _make_room(self) -> None:
        more = self._store.capacity - len(self._generation)
        if more > 0:
            self._up = np.append(self._up, np.zeros(more, np.float32))
            self._down = np.append(self._down, np.zeros(more, np.float32))
            self._generation = np.append(self._generation, np.zeros(more, np.uint32))

    def _joined(self) -> tuple[Rows, Array, Array]:
        """Rows of the flows that packets were seen of, and their bytes each way."""
        hashes, ahead, back = self._seen()
        original, reply = self._hashes.current()
        there = _maybe(hashes, original) | _maybe(hashes, reply)
        rows = (there & self._store.live()).nonzero()[0]
        first, second = _found(hashes, original[rows]), _found(hashes, reply[rows])
        second[second == first] = -1  # without NAT both are the same conversation
        claims = np.bincount(first[first >= 0], minlength=len(hashes))
        claims += np.bincount(second[second >= 0], minlength=len(hashes))
        self.ambiguous = int(np.count_nonzero(claims > 1))
        up, down = np.zeros(len(rows)), np.zeros(len(rows))
        sure = np.zeros(len(rows), np.bool_)
        for at, tuples, replies in ((first, original, False), (second, reply, True)):
            some = ((at >= 0) & (np.append(claims, 0)[at] == 1)).nonzero()[0]
            sure[some] = True
            forward = (tuples[rows[some]] & np.uint64(1) == 1) != replies
            up[some] = np.maximum(up[some], np.where(forward, ahead[at[some]], back[at[some]]))
            down[some] = np.maximum(down[some], np.where(forward, back[at[some]], ahead[at[some]]))
        return rows[sure], up[sure], down[sure]

    def _seen(self) -> tuple[Hashes, Array, Array]:
        """Conversations (hashes without the lowest bit, ascending), and bytes of both directions: at the best place."""
        found = self._tally.taken()
        hi = (found["src_hi"], found["dst_hi"]) if found["src_hi"].any() or found["dst_hi"].any() else (None, None)
        hashes = conversations(
            self._hash,
            self._netns[found["place"]],
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
    """The conversations of every row's two tuples, made once for each flow."""

    def __init__(self, store: FlowStore, key_hash: KeyHash) -> None:
        self._store, self._hash = store, key_hash
        self._original = self._reply = np.zeros(0, np.uint64)
        self._generation = np.zeros(0, np.uint32)

    def current(self) -> tuple[Hashes, Hashes]:
        """Of the original and of the reply tuple of all rows ever used."""
        top, store = self._store.top, self._store
        more = store.capacity - len(self._generation)
        if more > 0:
            self._original = np.append(self._original, np.zeros(more, np.uint64))
            self._reply = np.append(self._reply, np.zeros(more, np.uint64))
            self._generation = np.append(self._generation, np.zeros(more, np.uint32))
        changed = (self._generation[:top] != store["generation"][:top]).nonzero()[0]
        for start in range(0, len(changed), _CHUNK):
            self._renew(changed[start : start + _CHUNK])
        return self._original[:top], self._reply[:top]

    def _renew(self, rows: Rows) -> None:
        data = {name: values[rows] for name, values in self._store.data.items() if name in _NEEDED}
        self._original[rows] = self._of(data, "o")
        replied = data["have"] & np.uint32(HAVE_REPLY) != 0
        self._reply[rows] = np.where(replied, self._of(data, "r"), self._original[rows])
        self._generation[rows] = np.where(replied, data["generation"], 0)  # 0: looked at again, it may come

    def _of(self, data: Data, way: str) -> Hashes:
        src = data.get(f"{way}src_hi"), data[f"{way}src_lo"], column(data, f"{way}sport")
        dst = data.get(f"{way}dst_hi"), data[f"{way}dst_lo"], column(data, f"{way}dport")
        return conversations(self._hash, data["netns"], data["family"], data["proto"], src, dst)


_ENDS = ("src_lo", "dst_lo", "src_hi", "dst_hi", "sport", "dport")
_NEEDED = {"have", "generation", "netns", "family", "proto", *(f"{way}{end}" for way in "or" for end in _ENDS)}


def _maybe(distinct: Hashes, hashes: Hashes) -> Array:
    """Which of many hashes may be among the distinct ones (without their lowest bit): few that are not."""
    buckets = np.zeros(_BUCKETS, np.bool_)
    buckets[(distinct & np.uint64(_BUCKETS - 1)).view(np.int64)] = True
    return buckets.take((hashes >> np.uint64(1) & np.uint64(_BUCKETS - 1)).view(np.int64))


def _found(distinct: Hashes, hashes: Hashes) -> Rows:
    """The place of each hash (without its lowest bit) among the distinct ones, -1 where it is not."""
    wanted = hashes >> np.uint64(1)
    if not len(distinct):
        return np.full(len(hashes), -1, np.intp)
    at = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
    return np.where(distinct[at] == wanted, at, -1)
