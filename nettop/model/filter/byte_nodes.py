"""Nodes that test bytes of a packet: `tcp[13] & 2 != 0`, MAC addresses, link-layer groups.

As in pcap-filter(7): numbers are unsigned, of 32 bits; a packet whose byte was not captured is rejected.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from nettop.batch import Array
from nettop.linux import packet
from nettop.linux.inet import IPPROTO_ICMPV6
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.filter import vocabulary
from nettop.model.filter.fields import ByteFields, Loaded, Mask
from nettop.model.filter.nodes import COMPARE, AndOr, At, FilterRows, InNet, Node, equal, every
from nettop.model.filter.values import integer, net

_IPV4, _IPV6 = equal("family", AF_INET), equal("family", AF_INET6)
# Words before `[`: the layer whose bytes they count, and the tests that a packet must pass. As in pcap-filter, the
# transport protocols are those of IPv4; icmp6 is IPv6's.
HEADERS: Final[dict[str, tuple[str, tuple[Node, ...]]]] = {
    "ether": ("link", ()),
    "link": ("link", ()),
    "ip": ("network", (_IPV4,)),
    "ip6": ("network", (_IPV6,)),
    "arp": ("network", (equal("ethertype", packet.ETH_P_ARP),)),
    "rarp": ("network", (equal("ethertype", packet.ETH_P_RARP),)),
    **{
        name: ("transport", (_IPV4, equal("proto", vocabulary.PROTOCOLS[name])))
        for name in ("tcp", "udp", "icmp", "igmp", "sctp", "pim", "vrrp")
    },
    "icmp6": ("transport", (_IPV6, equal("proto", IPPROTO_ICMPV6))),
}
_OPERATIONS: dict[str, Callable[[Array, Array], Array]] = COMPARE | {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "/": lambda left, right: left // np.maximum(right, np.uint32(1)),  # by zero: see Operation
    "%": lambda left, right: left % np.maximum(right, np.uint32(1)),
    "<<": lambda left, right: np.where(right < 32, left << (right & np.uint32(31)), np.uint32(0)),
    ">>": lambda left, right: np.where(right < 32, left >> (right & np.uint32(31)), np.uint32(0)),
}


class Term(Protocol):
    """A part of an arithmetic expression."""

    def load(self, rows: FilterRows) -> Loaded:
        """Return its number for every row."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number of at most 32 bits."""

    value: int

    def load(self, rows: FilterRows) -> Loaded:
        """Return the number."""
        every_row = ~rows.none()
        return Loaded(np.full(rows.n, self.value, np.uint32), every_row, every_row)


@dataclass(frozen=True, slots=True)
class Length:
    """The packet's length on the wire."""

    def load(self, rows: FilterRows) -> Loaded:
        """Return the length in bytes."""
        length, every_row = rows.fields.number("len"), ~rows.none()
        return Loaded(np.zeros(rows.n, np.uint32) if length is None else length, every_row, every_row)


@dataclass(frozen=True, slots=True)
class Bytes:
    """1, 2 or 4 bytes of a layer, in the packets that pass the tests."""

    layer: str
    tests: tuple[Node, ...]
    offset: Term
    size: int

    def load(self, rows: FilterRows) -> Loaded:
        """Return the number in these bytes."""
        offset = self.offset.load(rows)
        there = offset.there
        for test in self.tests:
            there = there & test.mask(rows)
        if not isinstance(rows.fields, ByteFields):
            return Loaded(np.zeros(rows.n, np.uint32), rows.none(), rows.none())
        found = rows.fields.load(self.layer, offset.value.astype(np.int64), self.size)
        return Loaded(found.value, there & found.there, offset.captured & found.captured)


@dataclass(frozen=True, slots=True)
class Operation:
    """Two terms and the operator between them. With one of COMPARE it is a node."""

    left: Term
    operator: str
    right: Term

    def load(self, rows: FilterRows) -> Loaded:
        """Return the result; a division by zero has none, as a byte that was not captured."""
        left, right = self.left.load(rows), self.right.load(rows)
        value = _OPERATIONS[self.operator](left.value, right.value)
        captured = left.captured & right.captured
        if self.operator in "/%":
            captured = captured & (right.value != 0)
        return Loaded(value, left.there & right.there, captured)

    def mask(self, rows: FilterRows) -> Mask:
        """Return the packets with these protocols for which it is true; reject those cut off before a byte."""
        found = self.load(rows)
        if not found.captured.all():
            rows.reject(found.there & ~found.captured)
        return found.there & found.captured & found.value


def _equal(layer: str, offset: int, size: int, value: int) -> Node:
    return Operation(Bytes(layer, (), Constant(offset), size), "=", Constant(value))


def mac_node(address: int, sides: tuple[str, ...], both: bool) -> Node:
    """Return the node for a MAC address at these sides of an Ethernet frame ("any": one of the two)."""
    offsets = {"dst": 0, "src": 6}
    ends: list[Node] = [
        every((_equal("mac", at, 4, address >> 16), _equal("mac", at + 4, 2, address & 0xFFFF)))
        for at in (offsets[side] for side in (("src", "dst") if sides == ("any",) else sides))
    ]
    return AndOr(ends[0], tuple(("and" if both else "or", end) for end in ends[1:]))


def ethertype_node(number: int) -> Node:
    """Return the node for a protocol of the link layer: an ethertype behind all tags, a tag's, or an LLC SAP."""
    if number in (packet.ETH_P_8021Q, packet.ETH_P_8021AD, packet.ETH_P_QINQ1):
        return _equal("mac", 12, 2, number)
    return _equal("llc", 0, 1, number) if number < packet.ETH_P_802_3_MIN else equal("ethertype", number)


def _label(bits: int, offset: int, size: int, shift: int) -> Callable[[str], Node]:
    """Return the reader of a number of this many bits, to the right of which are `shift` others."""

    def read(text: str) -> Node:
        value = integer(text)
        if value >> bits:
            raise ValueError(f"“{text}” is beyond what it can be (0–{(1 << bits) - 1})")
        found = Operation(Bytes("network", (), Constant(offset), size), ">>", Constant(shift))
        return Operation(found, "=", Constant(value))

    return read


# The numbers after a word of the link layer: the first label of MPLS (RFC 3032), the session of PPPoE (RFC 2516).
LABELS: Final = {"mpls": _label(20, 0, 4, 12), "pppoes": _label(16, 2, 2, 0)}
_CAST_BIT = Operation(Bytes("mac", (), Constant(0), 1), "&", Constant(1))
# Cooked captures and live ones know the kind of the destination without its address.
GROUPS: Final[dict[str, dict[str, Node]]] = {
    "broadcast": {
        "ether": AndOr(mac_node((1 << 48) - 1, ("dst",), False), (("or", equal("direction", packet.PACKET_BROADCAST)),))
    },
    "multicast": {
        "ether": AndOr(
            Operation(_CAST_BIT, "!=", Constant(0)),
            (("or", equal("direction", packet.PACKET_BROADCAST)), ("or", equal("direction", packet.PACKET_MULTICAST))),
        ),
        "ip": every((_IPV4, At(InNet(net("224.0.0.0/3")), ("dst",)))),
        "ip6": every((_IPV6, At(InNet(net("ff00::/8")), ("dst",)))),
    },
}
