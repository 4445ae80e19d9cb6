"""Capture filters in the kernel select what tcpdump selects; libpcap compiles for the live device."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from nettop.batch import Counter64, Stream
from nettop.broker.capture_filter import libpcap
from nettop.broker.client import Broker
from nettop.errors import BrokerError, FilterError
from nettop.kinds import StreamKind
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.sources.ring import PacketRing
from tests.kernel.frames import mixed_frames
from tests.kernel.live import all_are_read, close_fd, count, injector, pcap_frames, read_until, records, tcpdump
from tests.kernel.namespaces import Lab, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

EXPRESSIONS = [
    "",
    "vlan",
    "vlan 5",
    "not vlan",
    "vlan 5 and udp port 53",
    "vlan and vlan 4095",
    "tcp port 80",
    "udp",
    "host 10.0.0.3 or ether src 02:00:00:00:00:09",
    "ip6",
    "ether broadcast",
    "greater 100",
    "tcp[tcpflags] & tcp-syn != 0",
    "portrange 50-60",
]


def test_each_expression_selects_what_tcpdump_selects(broker: Broker, ends: tuple[str, str], tmp_path: Path) -> None:
    """Beside a live tcpdump: live, `udp` also takes frames whose tag the kernel stripped, unlike in a file."""
    ns_a, ns_b = broker.netns(ends[0]), broker.netns(ends[1])
    sent = mixed_frames()
    with ExitStack() as stack:
        rings, theirs = [], []
        for number, expression in enumerate(EXPRESSIONS):
            opened = broker.packet_socket(ns_b, "veth0", expression=expression, block_count=2, block_size=1 << 16)
            rings.append(PacketRing(Stream(number, StreamKind.PACKETS, "veth0"), opened, Counter64()))
            stack.callback(rings[-1].close)
            words = [expression] if expression else []
            theirs.append(stack.enter_context(tcpdump(ends[1], "veth0", tmp_path / f"{number}.pcap", *words)))
        sender = stack.enter_context(injector(broker, ns_a, "veth0"))
        for one in sent:
            sender.send(one)
        assert theirs[0](len(sent)) == sent
        selected = [records(read_until(ring, all_are_read)) for ring in rings]
        for frames, waited in zip(selected, theirs, strict=True):
            waited(len(frames))
    for number, expression in enumerate(EXPRESSIONS):
        assert selected[number] == pcap_frames(tmp_path / f"{number}.pcap"), expression
    sizes = [len(frames) for frames in selected]
    assert sizes[0] == len(sent)
    assert all(0 < size < len(sent) for size in sizes[1:]), sizes


def test_inbound_and_outbound_are_the_devices_view(broker: Broker, lab: Lab) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b)
    found = {}
    with ExitStack() as stack:
        for expression in ("inbound and icmp", "outbound and icmp"):
            opened = broker.packet_socket(broker.netns(b), "veth0", expression=expression)
            ring = PacketRing(Stream(0, StreamKind.PACKETS, "veth0"), opened, Counter64())
            stack.callback(ring.close)
            found[expression] = ring
        run_in(a, "ping", "-c", "2", "-i", "0.01", "10.99.0.2")
        kinds = {
            expression: [record[34] for record in records(read_until(ring, lambda items: count(items) == 2))]
            for expression, ring in found.items()
        }
    assert kinds == {"inbound and icmp": [8, 8], "outbound and icmp": [0, 0]}


def test_a_wrong_filter_is_refused_by_the_broker_with_its_caret(broker: Broker, lab: Lab) -> None:
    here = broker.netns(lab.netns("a"))
    with pytest.raises(FilterError) as caught:
        broker.packet_socket(here, "lo", expression="tcp port")
    assert caught.value.position == len("tcp port")


def test_a_filter_compiles_for_a_device_that_is_down(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("c")
    run_in(ns, "ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    here = broker.netns(ns)
    for expression in ("udp", "vlan 5"):  # lo is up and stands in
        close_fd(broker.packet_socket(here, "veth0", expression=expression))
    run_in(ns, "ip", "link", "set", "lo", "down")
    close_fd(broker.packet_socket(here, "veth0", expression="udp"))
    with pytest.raises(BrokerError, match="ip link set veth0 up"):
        broker.packet_socket(here, "veth0", expression="vlan 5")


COMPILE = """import sys
from nettop.broker.capture_filter.libpcap import compile_live
print(compile_live('lo', 262144, sys.argv[1]).hex())"""


@pytest.mark.parametrize(("expression", "same"), [("udp", True), ("vlan 5", False)])
def test_vlan_compiles_to_the_kernels_own_loads_on_a_live_device(lab: Lab, expression: str, same: bool) -> None:
    live = run_in(lab.netns("c"), sys.executable, "-c", COMPILE, expression).strip()
    assert (live == libpcap.compile_program(LINKTYPE_ETHERNET, expression, 262144).hex()) is same


def test_a_missing_device_is_named() -> None:
    with pytest.raises(BrokerError, match="nosuch0"):
        libpcap.compile_live("nosuch0", 262144, "udp")
