"""Readings of the packets that the kernel drops: one for each of its reasons, and their sum.

The reasons are the kernel's (include/net/dropreason-core.h); those without a meaning here have their name only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from nettop.decode.drops import DropCount, DropCounts
from nettop.model.counters.meanings import HOST_WIDE
from nettop.model.counters.series import WRAP64, About, Reading
from nettop.text.packet import ethertype_name
from nettop.text.units import clock, grouped

DROP = "drop-reason"
ALL, LOST = "all", "lost"  # the kernel's reasons are in capitals
_SHOWN = 3  # functions in a meaning

# reason → (meaning, whether it means trouble)
_MEANING: dict[str, tuple[str, bool]] = {
    "NOT_SPECIFIED": ("without a reason: the function says where", False),
    "NO_SOCKET": ("nothing listens on that port", False),
    "SOCKET_FILTER": ("refused by a socket's filter", False),
    "SOCKET_RCVBUFF": ("a socket's receive buffer is full: the program reads too slowly", True),
    "SOCKET_BACKLOG": ("a socket was busy and its backlog full", True),
    "PROTO_MEM": ("the memory limit of the protocol is reached (tcp_mem, udp_mem)", True),
    "NETFILTER_DROP": ("dropped by a rule or a policy", False),
    "IP_RPFILTER": ("the route back leads through another device (rp_filter)", True),
    "IP_CSUM": ("wrong checksum of the IP header", True),
    "TCP_CSUM": ("wrong checksum", True),
    "UDP_CSUM": ("wrong checksum", True),
    "ICMP_CSUM": ("wrong checksum", True),
    "IP_INHDR": ("bad IP header, or its TTL (hop limit) is used up", True),
    "IP_NOPROTO": ("nothing handles this protocol", False),
    "IP_INADDRERRORS": ("the destination is no address of this host, and forwarding is off", True),
    "IP_INNOROUTES": ("no route to the destination", True),
    "IP_OUTNOROUTES": ("not sent: no route to the destination", True),
    "IP_INVALID_SOURCE": ("the source is no valid address", True),
    "IP_INVALID_DEST": ("the destination is no valid address", True),
    "IP_LOCAL_SOURCE": ("the source is an address of this host", True),
    "IP_LOCALNET": ("127.0.0.0/8 outside of lo (route_localnet)", True),
    "IPV6DISABLED": ("IPv6 is switched off on that device", False),
    "XFRM_POLICY": ("an IPsec policy does not allow it", True),
    "NEIGH_FAILED": ("not sent: the next hop does not answer ARP or neighbor discovery", True),
    "NEIGH_CREATEFAIL": ("not sent: no entry for the next hop could be made", True),
    "NEIGH_QUEUEFULL": ("not sent: too many packets wait for the next hop's address", True),
    "NEIGH_DEAD": ("not sent: the entry of the next hop is being removed", True),
    "TC_INGRESS": ("dropped by a tc filter, incoming", False),
    "TC_EGRESS": ("dropped by a tc filter, outgoing", False),
    "BPF_CGROUP_EGRESS": ("dropped by a BPF program of a cgroup", False),
    "XDP": ("dropped by an XDP program", False),
    "SECURITY_HOOK": ("dropped by a security module", True),
    "QDISC_DROP": ("not sent: the device's queue dropped it", True),
    "QDISC_OVERLIMIT": ("not sent: the device's queue is full", True),
    "QDISC_CONGESTED": ("not sent: the queue's AQM dropped it", True),
    "FULL_RING": ("the queue of a tap or veth device is full", True),
    "CPU_BACKLOG": ("a CPU's input queue is full (net.core.netdev_max_backlog)", True),
    "DEV_READY": ("the device is down", True),
    "PKT_TOO_BIG": ("too large for the next link: path MTU discovery", True),
    "PKT_TOO_SMALL": ("shorter than its header", True),
    "UNHANDLED_PROTO": ("no protocol of the kernel takes it", False),
    "FRAG_REASM_TIMEOUT": ("fragments of which the others did not arrive", True),
    "NOMEM": ("no memory", True),
    "TCP_LISTEN_OVERFLOW": ("the accept queue is full: the program is too slow", True),
    "TCP_OFO_DROP": ("out of order, and the queue for that is full", True),
    "TCP_ZEROWINDOW": ("received while the window was closed", True),
    "TCP_OVERWINDOW": ("beyond the receive window", True),
    "TCP_OLD_DATA": ("received already", False),
    "TCP_MINTTL": ("the TTL is below the socket's minimum", True),
    "BRIDGE_INGRESS_STP_STATE": ("the bridge's port does not forward now (spanning tree)", False),
}


# The meaning of a drop without a reason, by the function.
_WITHOUT_REASON = {
    "ip_error": "no route that leads on: it is of type blackhole, unreachable or prohibit",
    "neigh_invalidate": "not sent: the next hop does not answer ARP or neighbor discovery",
    "nf_queue": "no program reads the queue",
}


def drop_meaning(reason: str, function: str) -> str:
    """Return the meaning of a drop; "" if it is not known."""
    if reason == "NOT_SPECIFIED":
        return _WITHOUT_REASON.get(function, "")
    return _MEANING[reason][0] if reason in _MEANING else ""


def drop_readings(found: DropCounts) -> Iterator[Reading]:
    """Yield the sum, and a reading for each reason. Without counts the sum has no value, and its meaning says why."""
    if found.error:
        yield Reading(DROP, ALL, None, about=About(f"not known: {found.error}"))
        return
    since = f"packets that the kernel dropped since {clock(found.since_ns)}, but those to other hosts"
    yield Reading(DROP, ALL, sum(one.count for one in found.counts), WRAP64, about=About(since + HOST_WIDE, "packets"))
    lost = About("drops whose reason was not read: they came too fast", "packets", alarming=True)
    if found.lost:
        yield Reading(DROP, LOST, found.lost, WRAP64, about=lost)
    reasons: dict[str, list[DropCount]] = defaultdict(list)
    for one in sorted(found.counts, key=lambda one: -one.count):
        reasons[one.reason].append(one)
    for reason, counts in reasons.items():
        yield Reading(DROP, reason, sum(one.count for one in counts), WRAP64, about=_about(reason, counts))


def _about(reason: str, counts: Sequence[DropCount]) -> About:
    meaning, bad = _MEANING.get(reason, ("", False))
    places = tuple((f"{one.function or '?'} {_protocol(one.protocol)}", one.count) for one in counts)
    words = [f"{place} {grouped(count)}" if len(places) > 1 else place for place, count in places]
    short = ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")
    before = f"{meaning}; " if meaning else ""
    more = f"{before}in {', '.join(words)}{HOST_WIDE}"
    return About(f"{before}in {short}{HOST_WIDE}", "packets", alarming=bad, more=more, places=places)


def _protocol(number: int) -> str:
    return ethertype_name(number) if number else "other protocols"
