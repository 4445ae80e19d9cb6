"""The libpcap filter of one tuple of a flow, in both directions: its packets, fragments, and the ICMP errors about it.

RFC 791, 792 (an error quotes the packet from its IP header on), 8200 (fragment header), 4443; pcap-filter(7).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP
from nettop.linux.socket import AF_INET
from nettop.text.address import address_text

_PORTED = {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp", IPPROTO_SCTP: "sctp"}  # protocols whose ports libpcap knows
_ERRORS = (3, 4, 5, 11, 12)  # unreachable, source quench, redirect, time exceeded, parameter problem
_FRAGMENT = 44  # next header: fragment

# Offsets in an ICMP error from its own header: of the quoted IPv4 header, and of the header after that.
_QUOTED, _QUOTED_L4 = 8, 28
# Offsets from the IPv6 header, for which libpcap assumes 40 bytes.
_BODY6, _QUOTED6, _QUOTED6_L4 = 40, 48, 88


@dataclass(frozen=True, slots=True)
class Side:
    """A flow on one side of its NAT. For ICMP `sport` is the id, `types` are those of a request and its reply."""

    family: int
    proto: int
    src: tuple[int, int]  # high and low half
    dst: tuple[int, int]
    sport: int
    dport: int
    has_ports: bool
    types: tuple[int, int]


def selector_of(side: Side) -> str:
    """Return what selects the flow in libpcap: "ports", "id" (ICMP), or only its "hosts" and protocol."""
    if side.proto in (IPPROTO_ICMP, IPPROTO_ICMPV6) and side.has_ports:
        return "id"
    return "ports" if side.proto in _PORTED and side.has_ports else "hosts"


def side_filter(side: Side) -> str:
    """Return the filter of one side, in parentheses."""
    parts = _parts4(side) if side.family == AF_INET else _parts6(side)
    return "(" + " or ".join(f"({part})" for part in parts) + ")"


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of a side."""

    src: tuple[int, int]
    dst: tuple[int, int]
    sport: int
    dport: int
    icmp_type: int


def _directions(side: Side) -> tuple[_Direction, _Direction]:
    there = _Direction(side.src, side.dst, side.sport, side.dport, side.types[0])
    return there, _Direction(side.dst, side.src, side.dport, side.sport, side.types[1])


def _either(parts: Iterator[str]) -> str:
    return "(" + " or ".join(f"({part})" for part in dict.fromkeys(parts)) + ")"


def _hosts(side: Side, direction: _Direction) -> str:
    src, dst = (address_text(side.family, *address) for address in (direction.src, direction.dst))
    return f"src host {src} and dst host {dst}"


def _parts4(side: Side) -> Iterator[str]:
    both, selector = _directions(side), selector_of(side)
    if selector == "ports":
        yield f"{_PORTED[side.proto]} and {_either(_with_ports(side, one) for one in both)}"
    elif selector == "id":
        template = "icmp[0] = {} and icmp[4:2] = {} and {}"
        yield _either(template.format(one.icmp_type, one.sport, _hosts(side, one)) for one in both)
    fragment = "ip[6:2] & 0x1fff != 0 and " if selector != "hosts" else ""
    yield f"ip proto {side.proto} and {fragment}{_either(_hosts(side, one) for one in both)}"
    kinds = " or ".join(f"icmp[0] = {kind}" for kind in _ERRORS)
    yield f"({kinds}) and icmp[{_QUOTED + 9}] = {side.proto} and {_either(_quoted4(one, selector) for one in both)}"


def _with_ports(side: Side, direction: _Direction) -> str:
    return f"{_hosts(side, direction)} and src port {direction.sport} and dst port {direction.dport}"


def _quoted4(direction: _Direction, selector: str) -> str:
    hosts = f"icmp[{_QUOTED + 12}:4] = {direction.src[1]:#x} and icmp[{_QUOTED + 16}:4] = {direction.dst[1]:#x}"
    selected = _selected(direction, selector, "icmp", _QUOTED_L4)
    if not selected:
        return hosts
    # After IP options, or in a later fragment, these bytes are something else: then the hosts must be enough.
    return f"{hosts} and (icmp[{_QUOTED}] & 0xf != 5 or icmp[{_QUOTED + 6}:2] & 0x1fff != 0 or ({selected}))"


def _selected(direction: _Direction, selector: str, of: str, at: int) -> str:
    """Return the test of the ports, or the id, in the transport header that begins at `at`; "" without either."""
    if selector == "ports":
        return f"{of}[{at}:2] = {direction.sport} and {of}[{at + 2}:2] = {direction.dport}"
    return f"{of}[{at + 4}:2] = {direction.sport}" if selector == "id" else ""


def _parts6(side: Side) -> Iterator[str]:
    both, selector = _directions(side), selector_of(side)
    if selector == "ports":
        yield f"{_PORTED[side.proto]} and {_either(_with_ports(side, one) for one in both)}"
    elif selector == "id":
        template = f"ip6[6] = {IPPROTO_ICMPV6} and ip6[{_BODY6}] = {{}} and ip6[{_BODY6 + 4}:2] = {{}} and {{}}"
        yield _either(template.format(one.icmp_type, one.sport, _hosts(side, one)) for one in both)
    else:
        yield f"ip6[6] = {side.proto} and {_either(_hosts(side, one) for one in both)}"
    yield f"ip6[6] = {_FRAGMENT} and ip6[{_BODY6}] = {side.proto} and {_either(_fragment6(side, one) for one in both)}"
    yield f"ip6[6] = {IPPROTO_ICMPV6} and ip6[{_BODY6}] < 128 and {_either(_quoted6(side, one) for one in both)}"


def _fragment6(side: Side, direction: _Direction) -> str:
    """Return the test of an IPv6 fragment: only the first fragment has ports."""
    selected = _selected(direction, selector_of(side), "ip6", _BODY6 + 8)
    return _hosts(side, direction) + (f" and (ip6[{_BODY6 + 2}:2] & 0xfff8 != 0 or ({selected}))" if selected else "")


def _quoted6(side: Side, direction: _Direction) -> str:
    words = [half >> shift & 0xFFFFFFFF for half in (*direction.src, *direction.dst) for shift in (32, 0)]
    hosts = " and ".join(f"ip6[{_QUOTED6 + 8 + 4 * i}:4] = {word:#x}" for i, word in enumerate(words))
    selected = _selected(direction, selector_of(side), "ip6", _QUOTED6_L4)
    header = f"ip6[{_QUOTED6 + 6}]"
    own = f"({header} = {side.proto} and {selected})" if selected else f"{header} = {side.proto}"
    return f"{hosts} and ({header} = {_FRAGMENT} or {own})"
