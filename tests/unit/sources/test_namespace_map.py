"""Events of a namespace: each makes only the parts that it concerns be read again, and soon."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from nettop.batch import Batch, Counter64, DumpMark, Item, Stream, Text
from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest
from nettop.decode.topology.decoder import decode_map
from nettop.decode.topology.objects import PortVlan
from nettop.kinds import StreamKind, TextKind
from nettop.sources.map_parts import ALL, COUNTS
from nettop.sources.namespace_map import NamespaceMapSource
from tests.unit.decode.netlink_bytes import nest, nla, nlmsg

NEWLINK, DELLINK, NEWNEIGH, NEWNEXTHOP, NEWROUTE, NEWNETCONF = 16, 17, 28, 104, 24, 80
AF_BRIDGE = 7
STREAMS = [Stream(number, StreamKind.NETLINK, f"map-{number}") for number in range(4)]


class Kernel:
    """A broker whose only namespace is a socket pair: what is sent into it are events."""

    def __init__(self) -> None:
        self.events, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.names = ["a"]
        self.vlans: list[bytes] = []  # messages of the dump of VLANs

    def namespaces(self) -> tuple[list[str], list[int]]:
        return self.names, [5]

    def listen(self, labels: Sequence[str], *_: Any) -> list[tuple[Netns, int]]:
        return [(Netns(0, label, 5), os.dup(self.ours.fileno())) for label in labels]

    def texts(self, spaces: Sequence[Netns], kind: TextKind) -> list[tuple[bytes, int]]:
        return [(b"", 1000)] * len(spaces)

    def read_dumps(self, many: Sequence[tuple[Netns, Sequence[ReadRequest]]]) -> list[tuple[bytes, int]]:
        return [(self._dumps(reads), 1000) for _, reads in many]

    def _dumps(self, reads: Sequence[ReadRequest]) -> bytes:
        datagrams: list[bytes] = []
        for read in reads:
            found = self.vlans if read is ReadRequest.RTNL_VLANS else []
            done = struct.pack("=IHHIIi", 20, 3, 2, 7, 0, 0)
            datagrams += [nlmsg(18, bytes(16), flags=0x301), b"".join((*found, done))]
        return b"".join(struct.pack("=I", len(one)) + one for one in datagrams)


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def source(kernel: Kernel) -> NamespaceMapSource:
    found = NamespaceMapSource(cast(Broker, kernel), Counter64(), STREAMS, sysctls=False)
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


def texts(items: Sequence[Item]) -> list[Text]:
    return [item for item in items if isinstance(item, Text)]


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


def test_queues_are_read_with_the_counts_of_what_is_shown_at_once(source: NamespaceMapSource) -> None:
    source.show({"a"})
    assert (source.due_ns() or 0) < time.monotonic_ns()
    read_parts: list[set[str]] = []
    while len(read_parts) < 2:
        found = parts(read(source))
        read_parts += [found] if found else []
    assert read_parts == [{COUNTS, "map-queues"}, {COUNTS}]


def test_a_namespace_that_comes_or_goes_is_announced_within_a_second(kernel: Kernel) -> None:
    announced: list[int] = []
    found = NamespaceMapSource(cast(Broker, kernel), Counter64(), STREAMS, lambda: announced.append(1), sysctls=False)
    found.follow(["a"])
    read(found)
    kernel.names = ["a", "b"]
    began = time.monotonic()
    while not announced:
        read(found)
    assert 0.5 < time.monotonic() - began < 1.2


def test_a_sysctl_that_the_kernel_reports_is_read_soon(kernel: Kernel) -> None:
    found = NamespaceMapSource(cast(Broker, kernel), Counter64(), STREAMS)
    found.follow(["a"])
    while not texts(read(found)):
        pass
    assert (found.due_ns() or 0) > time.monotonic_ns() + 200_000_000
    kernel.events.send(nlmsg(NEWNETCONF, bytes(8)))
    assert texts(found.read(1 << 20))


def test_a_vlan_that_a_port_gets_is_shown(source: NamespaceMapSource, kernel: Kernel) -> None:
    vlan = nest(26, nla(2, struct.pack("=HH", 2 | 4, 1)), nla(2, struct.pack("=HH", 0, 30)))
    kernel.vlans.append(link(AF_BRIDGE, NEWLINK, vlan))
    kernel.events.send(link(AF_BRIDGE, NEWLINK, vlan))  # as the kernel says it after `bridge vlan add dev p vid 30`
    source.read(1 << 20)
    rows = [decode_map(item).vlans for item in read(source) if isinstance(item, Batch)]
    assert [PortVlan(5, 1, True, True), PortVlan(5, 30)] in rows
