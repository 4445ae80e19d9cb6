"""Events of a namespace: each makes only the parts that it concerns be read again, and soon."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nettop.batch import Batch, Counter64, DumpMark, Item, Stream
from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest
from nettop.decode.topology.decoder import decode_map
from nettop.decode.topology.objects import PortVlan
from nettop.kinds import StreamKind
from nettop.sources.namespace_map import ALL, COUNTS, NamespaceMapSource
from tests.unit.decode.netlink_bytes import nest, nla, nlmsg

NEWLINK, DELLINK, NEWNEIGH, NEWNEXTHOP, NEWROUTE = 16, 17, 28, 104, 24
AF_BRIDGE = 7


class Kernel:
    """A broker whose only namespace is a socket pair: what is sent into it are events."""

    def __init__(self) -> None:
        self.events, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.vlans: list[bytes] = []  # messages of the dump of VLANs

    def netns(self, label: str, again: bool = False) -> Netns:
        return Netns(0, label, 5)

    def netlink_socket(self, *_: Any) -> SimpleNamespace:
        return SimpleNamespace(fd=os.dup(self.ours.fileno()))

    def read_dumps(self, netns: Netns, reads: Sequence[ReadRequest]) -> tuple[bytes, int]:
        datagrams: list[bytes] = []
        for read in reads:
            found = self.vlans if read is ReadRequest.RTNL_VLANS else []
            done = struct.pack("=IHHIIi", 20, 3, 2, 7, 0, 0)
            datagrams += [nlmsg(18, bytes(16), flags=0x301), b"".join((*found, done))]
        return b"".join(struct.pack("=I", len(one)) + one for one in datagrams), 1000


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def source(kernel: Kernel) -> NamespaceMapSource:
    streams = [Stream(number, StreamKind.NETLINK, f"map-{number}") for number in range(4)]
    found = NamespaceMapSource(cast(Broker, kernel), Counter64(), streams, sysctls=False)
    found.follow(["a"])
    read(found)
    return found


def read(source: NamespaceMapSource) -> list[Item]:
    """Wait until something is due, and read it."""
    while (due := source.due_ns() or 0) > (now := time.monotonic_ns()):
        select.select([source], [], [], (due - now) / 1e9)
    return source.read(1 << 20)


def parts(items: Sequence[Item]) -> set[str]:
    return {item.what for item in items if isinstance(item, DumpMark)}


def link(family: int, kind: int = NEWLINK, *attributes: bytes) -> bytes:
    return nlmsg(kind, struct.pack("=BxHiII", family, 1, 5, 1, 0) + nla(3, b"p\0") + b"".join(attributes))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (link(AF_BRIDGE), {"map-links", "map-vlans"}),
        (nlmsg(84, bytes((AF_BRIDGE,)) + bytes(7)), {"map-groups"}),
        (link(AF_BRIDGE, DELLINK), ALL - {COUNTS}),
        (link(0), ALL - {COUNTS}),
        (nlmsg(NEWNEIGH, bytes((AF_BRIDGE,)) + bytes(11)), {"map-fdb"}),
        (nlmsg(NEWNEIGH, bytes((2,)) + bytes(11)), {"map-neighbours"}),
        (nlmsg(NEWNEXTHOP, bytes(8)), {"map-nexthops", "map-routes"}),
        (nlmsg(NEWROUTE, bytes(12)), {"map-routes"}),
        (nlmsg(77, bytes(12)), set()),
    ],
)
def test_what_an_event_concerns_is_read_again_within_200_ms(
    source: NamespaceMapSource, kernel: Kernel, event: bytes, expected: set[str]
) -> None:
    kernel.events.send(event)
    source.read(1 << 20)
    due = source.due_ns()
    assert due is not None
    if not expected:
        assert due > time.monotonic_ns() + 200_000_000
        return
    assert due < time.monotonic_ns() + 200_000_000
    assert parts(read(source)) == expected


def test_queues_are_read_with_the_counts_of_what_is_shown(source: NamespaceMapSource) -> None:
    source.show({"a"})
    read_parts: list[set[str]] = []
    while len(read_parts) < 2:
        found = parts(read(source))
        read_parts += [found] if found else []
    assert read_parts == [{COUNTS, "map-queues"}, {COUNTS}]


def test_a_vlan_that_a_port_gets_is_shown(source: NamespaceMapSource, kernel: Kernel) -> None:
    vlan = nest(26, nla(2, struct.pack("=HH", 2 | 4, 1)), nla(2, struct.pack("=HH", 0, 30)))
    kernel.vlans.append(link(AF_BRIDGE, NEWLINK, vlan))
    kernel.events.send(link(AF_BRIDGE, NEWLINK, vlan))  # as the kernel says it after `bridge vlan add dev p vid 30`
    source.read(1 << 20)
    rows = [decode_map(item).vlans for item in read(source) if isinstance(item, Batch)]
    assert [PortVlan(5, 1, True, True), PortVlan(5, 30)] in rows
