"""Details of devices and namespaces: what follows for a packet, and the state of the device."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from nettop.decode.topology.objects import LinkCounts, Parameters, PortVlan, Queue
from nettop.model.findings import Finding
from nettop.model.map.detail import MapDetail
from nettop.model.map.table import MapTable
from nettop.model.topology.host_map import HostMap
from nettop.model.topology.meanings import sentences
from tests.unit.model.map.hosts import device, host_map, namespace, screens


def text(found: MapDetail) -> list[str]:
    return ["".join(part for part, _ in line).strip() for line in found.lines]


def detail(hosts: HostMap, label: str, ifindex: int = 0, here: str = "gw-a") -> MapDetail:
    table = MapTable(hosts, lambda: here)
    table.rows()
    found = table.detail(table.idents.of(label, ifindex), 0)
    assert isinstance(found, MapDetail)
    return found


@pytest.mark.parametrize(
    ("kind", "parameters", "words"),
    [
        ("macvlan", (("mode", "bridge"),), "reach each other directly; none reaches the lower device's own address"),
        ("macvlan", (("mode", "private"),), "do not reach each other, not even through an outside switch"),
        ("macvtap", (("mode", "vepa"),), "only through an outside switch that sends frames back"),
        ("macvlan", (("mode", "passthru"),), "One child only"),
        ("ipvlan", (("mode", "l2"), ("flag", "private")), "Private: children do not reach each other"),
        ("ipvlan", (("mode", "l3"), ("flag", "bridge")), "no ARP, no broadcast"),
        ("ipvtap", (("mode", "l3s"),), "pass the hooks and conntrack"),
        ("bond", (("mode", "active-backup"),), "Only the active slave carries packets"),
        ("vxlan", (("id", "42"),), "50 bytes larger"),
        ("tun", (("type", "tap"),), "Ethernet frames are read and written by a program"),
        ("bridge", (("vlan_filtering", "1"),), "only between ports of its VLAN"),
        ("vlan", (("id", "7"),), "leave the lower device tagged"),
    ],
)
def test_a_kind_and_its_mode_say_what_follows_for_a_packet(kind: str, parameters: Parameters, words: str) -> None:
    assert words in " ".join(sentences(device(2, "x", kind, parameters=parameters)))


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (("hairpin", "on"), "leave by the port that they came in by"),
        (("isolated", "on"), "other isolated ones"),
        (("state", "blocking"), "only BPDUs pass"),
        (("learning", "off"), "No MACs are learned"),
        (("flood", "off"), "unknown MACs do not leave"),
    ],
)
def test_a_port_says_what_its_switches_do(port: tuple[str, str], words: str) -> None:
    found = device(2, "x", "veth", master=3, master_kind="bridge", port=(port,))
    assert words in " ".join(sentences(found))


def test_an_unknown_kind_says_nothing_wrong() -> None:
    assert list(sentences(device(2, "x", "brandnew", parameters=(("mode", "odd"),)))) == []


def test_a_port_has_its_bridge_its_macs_its_vlans_and_its_queue() -> None:
    hosts = screens()
    space = hosts._of["gw-a"]
    space.vlans = (PortVlan(9, 1, untagged=True, pvid=True), PortVlan(9, 20))
    space.queues = (Queue(9, "noqueue", drops=3), Queue(9, "bpf", 1, filter=True, detail="bpf id 41 cil_from"))
    found = text(detail(hosts, "gw-a", 9))
    assert "bridge    port of br-dmz, state forwarding, hairpin off" in found
    assert "MACs      52:54:00:09:00:04 learned" in found
    assert "VLANs     1 untagged pvid, 20" in found
    assert "tc, XDP   bpf id 41 cil_from" in found
    assert "queue     noqueue   dropped 3   waiting 0 bytes" in found
    assert "link      if 9, MTU 1500, 52:54:00:09:00:09, peer eth0 @ dmz-4, carrier, up" in found


def test_the_macs_of_a_bridge_name_their_ports() -> None:
    assert "MACs      52:54:00:09:00:04 on vm4 learned" in text(detail(screens(), "gw-a", 4))


def test_offloads_that_change_captures_are_said() -> None:
    hosts = host_map(namespace("gw-a", [device(2, "eth0"), device(3, "eth1"), device(4, "eth2")]))
    hosts._of["gw-a"].features = {2: ("gro", "tso"), 3: ()}
    assert "offload   GRO, TSO on: captures here may show packets larger than the MTU" in text(detail(hosts, "gw-a", 2))
    for off in (3, 4):
        assert not [line for line in text(detail(hosts, "gw-a", off)) if line.startswith("offload")]


def test_errors_have_their_reasons_and_rates_their_past() -> None:
    counts = LinkCounts(rx_errors=3, rx_dropped=8, reasons=(("rx_crc_errors", 3), ("rx_missed_errors", 8)))
    hosts = host_map(namespace("gw-a", [replace(device(2, "eth0"), counts=counts)]))
    hosts._of["gw-a"].history = {2: deque([(0.0, 800.0), (1e3, 100.0)])}
    found = text(detail(hosts, "gw-a", 2))
    assert "errors    3 in, 0 out   dropped 8 in, 0 out" in found
    assert "reasons   rx crc (damaged) 3, rx missed (no room: this host was too slow) 8" in found
    assert "rates     2.0k/s in  █, 2.0k/s out █▁, 0 dropped/s" in found


def test_it_is_copied_as_the_command_that_shows_it() -> None:
    assert detail(screens(), "gw-a", 9).copies[0][1] == "ip netns exec gw-a ip -d -s link show dev vm4"
    assert detail(screens(), "", 2).copies[0][1] == "ip -d -s link show dev eth0"
    assert detail(screens(), "gw-a").copies[0][1] == "ip netns exec gw-a ip -d addr"


def test_a_namespace_has_its_names_and_the_sizes_of_its_lists() -> None:
    found = detail(screens(), "gw-a")
    assert found.here and not found.device
    assert "routes    3   o lists them" in text(found)
    refused = detail(screens(), "nsid 7")
    assert refused.closed and text(refused)[0] == "state     cannot be entered: Operation not permitted"
    assert "sudo" in text(refused)[1]


def test_a_device_that_is_gone_has_no_detail() -> None:
    table = MapTable(screens(), lambda: "gw-a")
    assert table.detail(table.idents.of("gw-a", 77), 0) is None
    assert table.detail(1 << 60, 0) is None


def test_a_device_and_a_namespace_have_the_sysctls_that_are_not_the_default() -> None:
    hosts = screens()
    hosts._of["gw-a"].sysctls = {
        "net.ipv4.ip_forward": "1",
        "net.ipv4.conf.all.rp_filter": "1",
        "net.ipv4.conf.vm4.rp_filter": "0",
        "net.bridge.bridge-nf-call-iptables": "0",
    }
    namespace_text = text(detail(hosts, "gw-a"))
    assert any(line.startswith("sysctl    ip_forward 1: ") for line in namespace_text)
    assert any(line.startswith("neigh     3") for line in namespace_text), "its number stands below the others"
    found = text(detail(hosts, "gw-a", 9))
    assert (
        "sysctl    rp_filter 1: strict: dropped unless the best route back to the source leaves by this device" in found
    )
    assert any(line.startswith("bridge-nf-call-iptables 0") for line in found)
    assert found[-2].endswith("v lists all")


def test_a_sysctl_of_both_families_is_told_apart() -> None:
    hosts = screens()
    hosts._of["gw-a"].sysctls = {f"net.ipv{version}.conf.vm4.forwarding": "1" for version in (4, 6)}
    found = text(detail(hosts, "gw-a", 9))
    assert "sysctl    IPv4 forwarding 1: packets to other hosts are routed on" in found
    assert "IPv6 forwarding 1: packets to other hosts are routed on" in found


def test_a_row_with_a_finding_says_it_first() -> None:
    table = MapTable(screens(), lambda: "gw-a", find=lambda: [
        Finding("pair-mtu", "MTU 1500 here, 1400 there", (("netns", "gw-a"), ("device", "vm4"), ("ifindex", 9))),
        Finding("odd", "no place", ()),
    ])  # fmt: skip
    table.findings(0)
    found = table.detail(table.idents.of("gw-a", 9), 0)
    assert isinstance(found, MapDetail) and text(found)[0] == "!         MTU 1500 here, 1400 there"
    assert [ident for _, ident in table.findings(0)] == [table.idents.of("gw-a", 9), None]


def test_virtual_functions_have_their_settings() -> None:
    function: Parameters = (("vf", "0"), ("address", "02:00:00:00:00:07"), ("vlan", "10"), ("link_state", "auto"))
    one = replace(device(2, "eth0"), functions=tuple((("vf", str(n)), *function[1:]) for n in range(18)))
    found = text(detail(host_map(namespace("gw-a", [one])), "gw-a", 2))
    assert "functions vf 0 02:00:00:00:00:07, vlan 10, link state auto" in found
    assert "vf 15 02:00:00:00:00:07, vlan 10, link state auto" in found and "… and 2 more" in found
