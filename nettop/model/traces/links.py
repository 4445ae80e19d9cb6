"""Packets that belong together: the next leg of a packet that left by one device and came by another, and answers.

Over lo and veth devices a packet gets another id; its bytes, addresses and time are those of the leg before.
So are those of one that comes to a bridge's hooks of IP, where br_netfilter calls prerouting at the port.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

from nettop.decode.nftables.trace import TraceRecord
from nettop.kinds import TRACE_EGRESS, TRACE_INGRESS
from nettop.model.ruleset.picture import ChainView
from nettop.model.traces.headers import packet_head
from nettop.model.traces.journey import Journey
from nettop.model.traces.legacy import packet_key

_LEG_NS = 100_000_000  # between the records of two legs: they are read in batches
_MAX_LATEST = 5000


class RecentPackets:
    """The packets that have ended, up to `limit`, the latest last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._packets: deque[Journey] = deque()
        self._by_key: defaultdict[tuple[object, ...], deque[Journey]] = defaultdict(deque)

    def add(self, packet: Journey) -> None:
        """Add a packet that has ended; the earliest makes room for it."""
        if len(self._packets) == self._limit:
            self.remove(self._packets[0])
        self._packets.append(packet)
        self._by_key[packet.key].append(packet)

    def remove(self, packet: Journey) -> None:
        """Remove a packet, if it is one of them."""
        same = self._by_key.get(packet.key, ())
        if same and packet in same:
            same.remove(packet)
            self._packets.remove(packet)
            if not same:
                del self._by_key[packet.key]

    def leg_before(self, packet: Journey) -> Journey | None:
        """Return the latest packet that `packet` is the next leg of."""
        for other in reversed(self._by_key.get(packet.key, ())):
            if other.last_ns < packet.ts_ns - _LEG_NS:
                return None
            if other.verdict == "accept" and other.netns == packet.netns and _goes_on(other, packet):
                return other
        return None


class OpenPackets(dict[tuple[int, int], Journey]):
    """The packets on their way, by namespace and id. Of those with the same bytes the latest is found by them."""

    def __init__(self) -> None:
        super().__init__()
        self._latest: dict[tuple[object, ...], tuple[int, int]] = {}

    def put(self, key: tuple[int, int], packet: Journey) -> None:
        """Add a packet; it is the latest with its bytes."""
        self[key] = packet
        self._latest[packet.netns, *packet.key] = key

    def take(self, key: tuple[int, int]) -> Journey:
        """Remove and return a packet."""
        packet = self.pop(key)
        if self._latest.get(same := (packet.netns, *packet.key)) == key:
            del self._latest[same]
        return packet

    def latest(self, netns: int, same: tuple[object, ...]) -> Journey | None:
        """Return the latest packet with these bytes."""
        key = self._latest.get((netns, *same))
        return None if key is None else self[key]

    def take_if(self, netns: int, same: tuple[object, ...], goes_on: Callable[[Journey], bool]) -> Journey | None:
        """Take the latest packet with these bytes if it continues under another id."""
        key = self._latest.get((netns, *same))
        return self.take(key) if key is not None and goes_on(self[key]) else None


def passes(packet: Journey, leg: Journey) -> bool:
    """Return whether a packet on its way is the same as `leg`, in another family."""
    return packet.family != leg.family and packet.netns == leg.netns and _goes_on(packet, leg)


def is_halved(packet: Journey, record: TraceRecord, bridge: str | None) -> bool:
    """Return whether a record is of a packet that br_netfilter had pass prerouting at a port of `bridge`.

    DNAT may lie between: only the source is compared.
    """
    at_port = packet.hook == "prerouting" and packet.family == record.family and packet.device == bridge
    source = packet_head(record.network, record.transport).source
    of_it = packet.head.source == source and packet.last_ns >= record.ts_ns - _LEG_NS
    return at_port and of_it and packet.table == record.table


def is_marked_again(packet: Journey, record: TraceRecord) -> bool:
    """Return whether another family marks the packet: that of the device's ingress, of a bridge, or of IP."""
    return record.family != packet.family and packet_key(record.network, record.transport) == packet.key


def is_copy(packet: Journey, record: TraceRecord, device: str | None) -> bool:
    """Return whether a record under another id is of a copy of a packet on its way."""
    head = packet_head(record.network, record.transport)
    same = (head.source, head.destination) == (packet.head.source, packet.head.destination)
    place = packet.table, packet.family, packet.device
    return same and place == (record.table, record.family, device) and packet.last_ns >= record.ts_ns - _LEG_NS


def _goes_on(before: Journey, after: Journey) -> bool:
    """Return whether `after` is the same packet: it came by another device, or went from a bridge to IP or back."""
    left = before.oif is not None and after.iif not in (None, before.iif)
    same = (before.last.source, before.last.destination) == (after.head.source, after.head.destination)
    return same and (left or before.family != after.family) and before.key == after.key != ()


class LatestPackets(dict[tuple[int, int | None], Journey]):
    """Packets by namespace and a number, at most _MAX_LATEST."""

    def put(self, key: tuple[int, int | None], packet: Journey) -> None:
        """Add a packet; the earliest makes room for it."""
        self[key] = packet
        if len(self) > _MAX_LATEST:
            del self[next(iter(self))]


class Answers:
    """The latest packet of each flow, by its conntrack id: the next one the other way answers it."""

    def __init__(self) -> None:
        self._asked = LatestPackets()

    def answered_by(self, packet: Journey) -> Journey | None:
        """Return the packet that `packet` answers; None: it is no answer, and may be answered itself."""
        key = packet.netns, packet.ct_id
        asked = self._asked.get(key)
        reverse = packet.head.destination, packet.head.source
        if asked is not None and reverse == (asked.last.source, asked.last.destination) != ("", ""):
            return asked
        self._asked.pop(key, None)  # so that it is the newest
        self._asked.put(key, packet)
        return None


def passes_ip(packet: Journey, record: TraceRecord) -> bool:
    """Return whether a record shows a packet that a bridge sends in postrouting of IP, where br_netfilter has it go."""
    first = record.family == "inet" and record.chain == packet.hook == "postrouting"
    same = packet_key(record.network, record.transport) == packet.key
    return first and packet.family == "bridge" and same and packet.last_ns >= record.ts_ns - _LEG_NS


def at_egress(packet: Journey, record: TraceRecord, chain: ChainView | None) -> bool:
    """Return whether a record of `chain` shows a packet that has left in an egress hook, and note that it came there.

    The chains of that hook come after the last one of our table.
    """
    if record.family != "netdev" or (chain is not None and chain.hook == TRACE_INGRESS):
        return False
    if packet.hook != TRACE_EGRESS:
        packet.arrive(TRACE_EGRESS, record.family)
    return True
