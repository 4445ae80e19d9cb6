"""libpcap's words for one tuple of a flow, both ways: its packets, its fragments, the ICMP errors that quote it.

RFC 791, 792 (an error quotes the packet from its IP header on), 8200 (fragment header), 4443; pcap-filter(7).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP
from nettop.linux.socket import AF_INET
from nettop.text.address import address_text

_PORTED = {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp", IPPROTO_SCTP: "sctp"}  # of which libpcap knows ports
_ERRORS = (3, 4, 5, 11, 12)  # unreachable, source quench, redirect, time exceeded, parameter problem
_FRAGMENT = 44  # next header: fragment

# Where things lie in an ICMP error, counted from its own header: the quoted IPv4 header, and what follows it.
_QUOTED, _QUOTED_L4 = 8, 28
# And counted from the IPv6 header, which libpcap takes to be 40 bytes.
_BODY6, _QUOTED6, _QUOTED6_L4 = 40, 48, 88


@dataclass(frozen=True, slots=True)
class Side:
    """A flow as one side of its NAT shows it. For ICMP `sport` is the id, `types` those of a request and its reply."""

    family: int
    proto: int
    src: tuple[int, int]  # high and low half
    dst: tuple[int, int]
    sport: int
    dport: int
    has_ports: bool
    types: tuple[int, int]


def sort_of(side: Side) -> str:
    """What libpcap can tell the flow by: "ports", "id" (ICMP), or only its "hosts" and protocol."""
    if side.proto in (IPPROTO_ICMP, IPPROTO_ICMPV6) and side.has_ports:
        return "id"
    return "ports" if side.proto in _PORTED and side.has_ports else "hosts"


def side_filter(side: Side) -> str:
    """The expression in parentheses."""
    parts = _parts4(side) if side.family == AF_INET else _parts6(side)
    return "(" + " or ".join(f"({part})" for part in parts) + ")"


@dataclass(frozen=True, slots=True)
class _Way:
    """One direction of a side."""

    src: tuple[int, int]
    dst: tuple[int, int]
    sport: int
    dport: int
    kind: int  # ICMP's type


def _ways(side: Side) -> tuple[_Way, _Way]:
    there = _Way(side.src, side.dst, side.sport, side.dport, side.types[0])
    return there, _Way(side.dst, side.src, side.dport, side.sport, side.types[1])


def _either(parts: Iterator[str]) -> str:
    return "(" + " or ".join(f"({part})" for part in dict.fromkeys(parts)) + ")"


def _hosts(side: Side, way: _Way) -> str:
    src, dst = (address_text(side.family, *address) for address in (way.src, way.dst))
    return f"src host {src} and dst host {dst}"


def _parts4(side: Side) -> Iterator[str]:
    ways, sort = _ways(side), sort_of(side)
    if sort == "ports":
        yield f"{_PORTED[side.proto]} and {_either(_with_ports(side, way) for way in ways)}"
    elif sort == "id":
        tell = "icmp[0] = {} and icmp[4:2] = {} and {}"
        yield _either(tell.format(way.kind, way.sport, _hosts(side, way)) for way in ways)
    fragment = "ip[6:2] & 0x1fff != 0 and " if sort != "hosts" else ""
    yield f"ip proto {side.proto} and {fragment}{_either(_hosts(side, way) for way in ways)}"
    kinds = " or ".join(f"icmp[0] = {kind}" for kind in _ERRORS)
    yield f"({kinds}) and icmp[{_QUOTED + 9}] = {side.proto} and {_either(_quoted4(way, sort) for way in ways)}"


def _with_ports(side: Side, way: _Way) -> str:
    return f"{_hosts(side, way)} and src port {way.sport} and dst port {way.dport}"


def _quoted4(way: _Way, sort: str) -> str:
    hosts = f"icmp[{_QUOTED + 12}:4] = {way.src[1]:#x} and icmp[{_QUOTED + 16}:4] = {way.dst[1]:#x}"
    told = _told(way, sort, "icmp", _QUOTED_L4)
    if not told:
        return hosts
    # With options, or in a later fragment, something else lies there: then the hosts must do.
    return f"{hosts} and (icmp[{_QUOTED}] & 0xf != 5 or icmp[{_QUOTED + 6}:2] & 0x1fff != 0 or ({told}))"


def _told(way: _Way, sort: str, of: str, at: int) -> str:
    """The ports, or the id, of a transport header that begins at `at`."""
    if sort == "ports":
        return f"{of}[{at}:2] = {way.sport} and {of}[{at + 2}:2] = {way.dport}"
    return f"{of}[{at + 4}:2] = {way.sport}" if sort == "id" else ""


def _parts6(side: Side) -> Iterator[str]:
    ways, sort = _ways(side), sort_of(side)
    if sort == "ports":
        yield f"{_PORTED[side.proto]} and {_either(_with_ports(side, way) for way in ways)}"
    elif sort == "id":
        tell = f"ip6[6] = {IPPROTO_ICMPV6} and ip6[{_BODY6}] = {{}} and ip6[{_BODY6 + 4}:2] = {{}} and {{}}"
        yield _either(tell.format(way.kind, way.sport, _hosts(side, way)) for way in ways)
    else:
        yield f"ip6[6] = {side.proto} and {_either(_hosts(side, way) for way in ways)}"
    yield f"ip6[6] = {_FRAGMENT} and ip6[{_BODY6}] = {side.proto} and {_either(_fragment6(side, way) for way in ways)}"
    yield f"ip6[6] = {IPPROTO_ICMPV6} and ip6[{_BODY6}] < 128 and {_either(_quoted6(side, way) for way in ways)}"


def _fragment6(side: Side, way: _Way) -> str:
    """The first fragment tells the ports, the others do not."""
    told = _told(way, sort_of(side), "ip6", _BODY6 + 8)
    return _hosts(side, way) + (f" and (ip6[{_BODY6 + 2}:2] & 0xfff8 != 0 or ({told}))" if told else "")


def _quoted6(side: Side, way: _Way) -> str:
    words = [half >> shift & 0xFFFFFFFF for half in (*way.src, *way.dst) for shift in (32, 0)]
    hosts = " and ".join(f"ip6[{_QUOTED6 + 8 + 4 * i}:4] = {word:#x}" for i, word in enumerate(words))
    told = _told(way, sort_of(side), "ip6", _QUOTED6_L4)
    header = f"ip6[{_QUOTED6 + 6}]"
    own = f"({header} = {side.proto} and {told})" if told else f"{header} = {side.proto}"
    return f"{hosts} and ({header} = {_FRAGMENT} or {own})"
