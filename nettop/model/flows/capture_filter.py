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


def _directions(side: Side) -> tuple[Side, Side]:
    there = (side.dst, side.src, side.dport, side.sport, side.has_ports, side.types[::-1])
    return side, Side(side.family, side.proto, *there)


def _either(parts: Iterator[str]) -> str:
    return "(" + " or ".join(f"({part})" for part in dict.fromkeys(parts)) + ")"


def _hosts(one: Side) -> str:
    src, dst = (address_text(one.family, *address) for address in (one.src, one.dst))
    return f"src host {src} and dst host {dst}"


def _parts4(side: Side) -> Iterator[str]:
    both, selector = _directions(side), selector_of(side)
    if selector == "ports":
        yield f"{_PORTED[side.proto]} and {_either(_with_ports(one) for one in both)}"
    elif selector == "id":
        template = "icmp[0] = {} and icmp[4:2] = {} and {}"
        yield _either(template.format(one.types[0], one.sport, _hosts(one)) for one in both)
    fragment = "ip[6:2] & 0x1fff != 0 and " if selector != "hosts" else ""
    yield f"ip proto {side.proto} and {fragment}{_either(_hosts(one) for one in both)}"
    kinds = " or ".join(f"icmp[0] = {kind}" for kind in _ERRORS)
    yield f"({kinds}) and icmp[{_QUOTED + 9}] = {side.proto} and {_either(_quoted4(one) for one in both)}"


def _with_ports(one: Side) -> str:
    return f"{_hosts(one)} and src port {one.sport} and dst port {one.dport}"


def _quoted4(one: Side) -> str:
    hosts = f"icmp[{_QUOTED + 12}:4] = {one.src[1]:#x} and icmp[{_QUOTED + 16}:4] = {one.dst[1]:#x}"
    selected = _selected(one, "icmp", _QUOTED_L4)
    if not selected:
        return hosts
    # After IP options, or in a later fragment, these bytes are something else: then the hosts must be enough.
    return f"{hosts} and (icmp[{_QUOTED}] & 0xf != 5 or icmp[{_QUOTED + 6}:2] & 0x1fff != 0 or ({selected}))"


def _selected(one: Side, of: str, at: int) -> str:
    """Return the test of the ports, or the id, in the transport header that begins at `at`; "" without either."""
    selector = selector_of(one)
    if selector == "ports":
        return f"{of}[{at}:2] = {one.sport} and {of}[{at + 2}:2] = {one.dport}"
    return f"{of}[{at + 4}:2] = {one.sport}" if selector == "id" else ""


def _parts6(side: Side) -> Iterator[str]:
    both, selector = _directions(side), selector_of(side)
    if selector == "ports":
        yield f"{_PORTED[side.proto]} and {_either(_with_ports(one) for one in both)}"
    elif selector == "id":
        template = f"ip6[6] = {IPPROTO_ICMPV6} and ip6[{_BODY6}] = {{}} and ip6[{_BODY6 + 4}:2] = {{}} and {{}}"
        yield _either(template.format(one.types[0], one.sport, _hosts(one)) for one in both)
    else:
        yield f"ip6[6] = {side.proto} and {_either(_hosts(one) for one in both)}"
    yield f"ip6[6] = {_FRAGMENT} and ip6[{_BODY6}] = {side.proto} and {_either(_fragment6(one) for one in both)}"
    yield f"ip6[6] = {IPPROTO_ICMPV6} and ip6[{_BODY6}] < 128 and {_either(_quoted6(one) for one in both)}"


def _fragment6(one: Side) -> str:
    """Return the test of an IPv6 fragment: only the first fragment has ports."""
    selected = _selected(one, "ip6", _BODY6 + 8)
    return _hosts(one) + (f" and (ip6[{_BODY6 + 2}:2] & 0xfff8 != 0 or ({selected}))" if selected else "")


def _quoted6(one: Side) -> str:
    words = [half >> shift & 0xFFFFFFFF for half in (*one.src, *one.dst) for shift in (32, 0)]
    hosts = " and ".join(f"ip6[{_QUOTED6 + 8 + 4 * i}:4] = {word:#x}" for i, word in enumerate(words))
    selected = _selected(one, "ip6", _QUOTED6_L4)
    header = f"ip6[{_QUOTED6 + 6}]"
    own = f"({header} = {one.proto} and {selected})" if selected else f"{header} = {one.proto}"
    return f"{hosts} and ({header} = {_FRAGMENT} or {own})"
