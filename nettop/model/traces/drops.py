"""The drop reason of a journey: a drop of the kernel that fits its packet by device, length and time.

The kernel's record has no number of the packet, so the reason is likely, not certain.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

from nettop.decode.drops import DropRecord, DropRecords, Place
from nettop.linux.packet import ETH_P_IP, ETH_P_IPV6
from nettop.linux.socket import AF_INET6
from nettop.model.traces.journey import IP_FAMILIES, Drop, Journey

# Trace records have the time when they were read, which is later than the kernel's: on a busy host by a second.
_BEFORE_NS, AFTER_NS = 100_000_000, 50_000_000
_CLOCK_NS = 2_000_000  # between the clocks of both
_LATE_NS = 1_000_000_000  # of a packet that is certain to have no verdict
BY_RULES = "NETFILTER_DROP"
_NO_PACKET = "skb_release_data"  # frees the fragments of a packet with it
_Begins = tuple[tuple[str, ...], tuple[str, ...]]  # of names of reasons, and of functions
# Those that drop packets for this host, and those that leave it. QUEUE_PURGE of a packet for this host is no drop: it
# is data or a FIN in the queue of a socket that was closed.
_TO_SOCKETS = (
    ("NO_SOCKET", "SOCKET_", "TCP_", "UDP_", "ICMP_", "IP_NOPROTO", "PROTO_MEM", "IPV6_NDISC", "IGMP"),
    ("tcp_", "udp", "__udp", "raw", "icmp", "ping_", "sctp_", "ip_local_deliver", "ip6_protocol_deliver", "ndisc_"),
)
_BEFORE_SOCKETS = (
    ("NEIGH_", "QDISC_", "TC_EGRESS", "IP_OUTNOROUTES", "PKT_TOO_BIG", "FULL_RING", "BPF_CGROUP_EGRESS", "QUEUE_PURGE"),
    ("neigh_", "__neigh", "arp_error", "__dev_queue", "dev_hard_start", "ip_finish", "ip6_finish", "ip_frag"),
)
# Those of routing, before the last hook: no accepted packet of IP.
_ROUTING = (
    ("IP_RPFILTER", "IP_IN", "IP_LOCAL", "IP_CSUM", "OTHERHOST"),
    ("ip_rcv", "ip6_rcv", "ipv6_rcv", "ip_error", "ip_forward", "ip6_forward", "ip6_pkt_discard", "ip_route_input"),
)
# A packet waits so long for the address of its next hop: the reasons and functions that drop it then.
_NEIGHBOUR_NS = 10_000_000_000
_NEIGHBOUR = ("NEIGH_", "neigh_invalidate", "arp_error_report", "ndisc_error_report")
_KEEP_NS = 4_000_000_000  # drops of no packet: one without a verdict ends later
_MIN_PAYLOAD = 46  # bytes: shorter packets have a padding on Ethernet


def places(packet: Journey) -> tuple[Place, ...]:
    """Return the places that a drop of a packet may have. That of a packet made on this host has no device."""
    length = packet.head.length or 0
    found = (packet.device, length), (packet.device, max(length, _MIN_PAYLOAD))
    return ((None, None),) if packet.device is None else found


def dropped(record: DropRecord, packets: Iterable[Journey]) -> Journey | None:
    """Assign a drop to the packet that it belongs to, and return that packet; None: to none of them.

    The earliest packet without a verdict is preferred, for a drop by a rule the earliest that a rule dropped. Those
    whose last record was read before the drop come last.
    """
    ts_ns = record.ts_ns
    if record.function == _NO_PACKET:
        return None
    same = (one for one in packets if one.device == record.device and one.drop is None)
    near = (one for one in same if one.ts_ns - _LATE_NS <= ts_ns <= one.last_ns + AFTER_NS)  # most are not
    found = [packet for packet in near if _fits(packet, record)]
    if not found:
        return None
    found = [packet for packet in found if packet.last_ns >= ts_ns - _CLOCK_NS] or found
    others = "accept", "lost" if record.reason == BY_RULES else ""
    first = min(found, key=lambda packet: (packet.verdict in others, packet.ts_ns))
    sure = record.device is not None and (first.verdict != "accept" or len(found) == 1)
    first.drop = Drop(record, "likely" if sure else "possible")
    return first


class PendingDrops:
    """The drops without a packet so far, and up to `limit` packets that have ended and whose drop may still come."""

    def __init__(self, limit: int) -> None:
        self.known_ns = 0  # they are known up to this time
        self.unknown = ""  # the reason why they are not
        self._lost = 0  # drops that were not seen
        self._records: list[DropRecord] = []
        self._packets: deque[Journey] = deque(maxlen=limit)
        self._departed: deque[Journey] = deque(maxlen=limit)  # accepted, and out of a device
        self.late: deque[Journey] = deque(maxlen=limit)  # those of them that the kernel dropped when they were complete

    def apply(self, item: DropRecords, on_their_way: Iterable[Journey]) -> None:
        """Assign the drops to their packets. A drop without one waits: its trace records may be read next."""
        self.unknown = item.error
        for packet in (*self._packets, *on_their_way) if item.lost > self._lost else ():
            packet.drops_lost = True
        self._lost = item.lost
        candidates: dict[Place, dict[Journey, None]] = defaultdict(dict)
        for packet in (*self._packets, *on_their_way):
            for place in places(packet):
                candidates[place][packet] = None
        self._records = [
            record
            for record in sorted((*self._records, *item.records), key=lambda record: record.ts_ns)
            if dropped(record, candidates.get(record.place, ())) is None
            and not self._is_late(record)
            and record.ts_ns > item.ts_ns - _KEEP_NS
        ]
        self.known_ns = item.ts_ns
        for packet in [packet for packet in self._packets if self.knows(packet)]:
            self._packets.remove(packet)

    def _is_late(self, record: DropRecord) -> bool:
        """Assign a drop to a packet that has left and whose next hop did not answer; return False if there is none."""
        if not (record.reason.startswith(_NEIGHBOUR) or record.function.startswith(_NEIGHBOUR)):
            return False
        waited = (one for one in self._departed if 0 <= record.ts_ns - one.ts_ns <= _NEIGHBOUR_NS and one.drop is None)
        packet = next((one for one in waited if record.place in places(one) and _is_protocol(one, record)), None)
        if packet is not None:
            packet.drop = Drop(record, "possible" if record.device is None else "likely")
            self.late.append(packet)
        return packet is not None

    def knows(self, packet: Journey) -> bool:
        """Return whether a packet has its drop, or none can come any more."""
        return bool(packet.drop) or self.are_known(packet.last_ns)

    def are_known(self, until_ns: int) -> bool:
        """Return whether no drop can come any more of a packet whose last record is of this time or before."""
        return bool(self.unknown) or self.known_ns > until_ns + AFTER_NS

    def end(self, packet: Journey) -> None:
        """Assign its drop to a packet that has ended without a verdict; if there is none, it may still come."""
        if packet.verdict == "lost" and packet.drop is None:
            at = places(packet)
            near = (record for record in self._records if record.place in at)
            drop = next((record for record in near if dropped(record, (packet,))), None)
            self._records = [record for record in self._records if record is not drop]
        if packet.drop is None:
            self._packets.append(packet)
        if packet.end is not None and packet.end.oif is not None:
            self._departed.append(packet)

    def reopen(self, packet: Journey) -> None:
        """Note that a packet is on its way again."""
        for packets in (self._packets, self._departed):
            if packet in packets:
                packets.remove(packet)


def _fits(packet: Journey, record: DropRecord) -> bool:
    verdict = packet.verdict
    if record.place not in places(packet) or (record.device is None and verdict != "lost"):
        return False
    before_ns = _LATE_NS if packet.end is not None and verdict == "lost" else _BEFORE_NS
    if not packet.ts_ns - before_ns <= record.ts_ns <= packet.last_ns + AFTER_NS:
        return False
    if not _is_protocol(packet, record):
        return False
    if packet.end is None and record.reason == BY_RULES:
        return False  # its trace records say so, if it is this one's
    if (packet.end is None or verdict == "accept") and not _may_follow(packet, record):
        return False
    return verdict == "lost" or (record.reason == BY_RULES) == (verdict == "drop")


def _is_protocol(packet: Journey, record: DropRecord) -> bool:
    return record.protocol == (ETH_P_IPV6 if packet.head.family == AF_INET6 else ETH_P_IP)


def _may_follow(packet: Journey, record: DropRecord) -> bool:
    """Return whether the kernel may drop a packet in this way after its last hook (for this host, or on leaving)."""
    leaves = packet.end is not None and packet.end.oif is not None
    wrong: list[_Begins] = [_TO_SOCKETS if leaves else _BEFORE_SOCKETS]
    wrong += [_ROUTING] if packet.end is not None and packet.family in IP_FAMILIES else []
    return not any(record.reason.startswith(one) or record.function.startswith(two) for one, two in wrong)
