"""Findings of kinds of devices that not every kernel has, and of bridges with VLANs."""

from __future__ import annotations

import ipaddress

import pytest

from nettop.decode.rtnetlink import Address, Hop, Link, Route
from nettop.decode.topology.objects import Device, Namespace, PortVlan
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.findings import map_findings
from nettop.model.topology.device_words import remote_text
from nettop.model.topology.host_map import HostMap, NamespaceMap

UP = 1


def hosts(*spaces: NamespaceMap) -> HostMap:
    found = HostMap()
    found._of = {space.namespace.label: space for space in spaces}
    found._by_inode = {space.namespace.inode: space for space in spaces}
    return found


def space(label: str, inode: int, *devices: Device, **parts: object) -> NamespaceMap:
    known = NamespaceMap(Namespace(label, inode=inode), {one.link.ifindex: one for one in devices}, **parts)
    known.complete |= {"devices", "addresses", "routes"}
    return known


def names(host_map: HostMap) -> list[str]:
    return [one.name for one in map_findings(MapFacts(host_map))]


@pytest.mark.parametrize(
    ("kind", "remote", "fits"),  # `fits`: the highest MTU over 1500 bytes
    [
        ("gre", "10.0.0.2", 1476),
        ("gretap", "10.0.0.2", 1462),
        ("ipip", "10.0.0.2", 1480),
        ("sit", "10.0.0.2", 1480),
        ("geneve", "10.0.0.2", 1450),
        ("vxlan", "10.0.0.2", 1450),
        ("vxlan", "fd00::2", 1430),
        ("ip6tnl", "fd00::2", 1460),
        ("ip6gre", "fd00::2", 1456),
        ("ip6gretap", "fd00::2", 1442),
    ],
)
def test_a_tunnel_fits_when_its_mtu_and_headers_do(kind: str, remote: str, fits: int) -> None:
    address = ipaddress.ip_address(remote)
    family, length = (2, 24) if address.version == 4 else (10, 64)
    shift = address.max_prefixlen - length
    route = Route(family, 254, 1, int(address) >> shift << shift, length, (Hop(1),))
    for mtu, expected in ((fits, []), (fits + 1, ["tunnel-mtu"])):
        parameters = (("remote6" if kind in ("vxlan", "geneve") and family == 10 else "remote", remote),)
        devices = (
            Device(Link(1, "eth0", "", 1, UP, 1500)),
            Device(Link(2, "t", kind, 1, UP, mtu), parameters=parameters),
        )
        assert names(hosts(space("a", 1, *devices, routes=(route,)))) == expected
    anywhere = Device(Link(2, "t", kind, 1, UP, 9000), parameters=(("remote", "any"),))
    assert names(hosts(space("a", 1, devices[0], anywhere, routes=(route,)))) == []


@pytest.mark.parametrize(("filtering", "second", "expected"), [("0", 2, 1), ("1", 1, 1), ("1", 2, 0)])
def test_one_address_at_two_ports_is_a_duplicate_unless_their_vlans_differ(
    filtering: str, second: int, expected: int
) -> None:
    bridge = Device(Link(1, "br0", "bridge", 1, UP, 1500), parameters=(("vlan_filtering", filtering),))
    ports = [Device(Link(at, f"p{at}", "veth", 1, UP, 1500, master=1, lower=2, peer_nsid=at)) for at in (2, 3)]
    vlans = (PortVlan(2, 1, True, True), PortVlan(3, second, True, True), PortVlan(3, 9), PortVlan(2, 9))
    box = space("box", 1, bridge, *ports, vlans=vlans)
    box.namespace = Namespace("box", inode=1, nsids={2: 2, 3: 3})
    ends = []
    for label, inode, port in (("a", 2, 2), ("b", 3, 3)):
        end = Device(Link(2, "eth0", "veth", 1, UP, 1500, lower=port, peer_nsid=0))
        one = space(label, inode, end, addresses=(Address(2, 2, 0x0A000001, 24, 0x0A000001),))
        one.namespace = Namespace(label, inode=inode, nsids={0: 1})
        ends.append(one)
    assert names(hosts(box, *ends)) == ["duplicate-address"] * expected


def test_a_tunnel_with_a_device_leaves_by_that_and_not_by_the_route() -> None:
    route = Route(2, 254, 1, 0, 0, (Hop(1),))
    small, big = Device(Link(1, "small", "", 1, UP, 1400)), Device(Link(2, "big", "", 1, UP, 1500))
    remote = (("id", "7"), ("group", "239.1.1.1"), ("link", "big"))
    tunnel = Device(Link(3, "vx", "vxlan", 1, UP, 1450, lower=2), parameters=remote)
    assert names(hosts(space("a", 1, small, big, tunnel, routes=(route,)))) == []


def test_a_tunnel_that_was_moved_leaves_by_the_routes_of_its_first_namespace() -> None:
    route = Route(2, 254, 1, 0, 0, (Hop(1),))
    outside = space("out", 1, Device(Link(1, "eth0", "", 1, UP, 1500)), routes=(route,))
    for mtu, expected in ((1450, []), (1500, ["tunnel-mtu"])):
        tunnel = Device(Link(3, "vx", "vxlan", 1, UP, mtu, peer_nsid=4), parameters=(("remote", "10.0.0.9"),))
        inside = space("in", 2, Device(Link(1, "small", "", 1, UP, 1000)), tunnel, routes=(route,))
        inside.namespace = Namespace("in", inode=2, nsids={4: 1})
        assert names(hosts(outside, inside)) == expected


def test_the_group_of_a_tun_is_no_address() -> None:
    tun = Device(Link(3, "tap0", "tun", 1, UP, 1500), parameters=(("type", "tap"), ("group", "65534")))
    assert remote_text(tun) == ""
    for remote, expected in (("0.0.0.0", ""), ("::", ""), ("any", ""), ("10.0.0.1", "10.0.0.1")):
        assert remote_text(Device(Link(3, "t", "gre"), parameters=(("remote", remote),))) == expected


def test_a_child_that_has_a_route_around_its_lower_device_reaches_that() -> None:
    below = space(
        "host", 1, Device(Link(2, "eth0", "", 1, UP, 1500)), addresses=(Address(2, 2, 0x0A000001, 24, 0x0A000001),)
    )
    child = Device(Link(3, "mv0", "macvlan", 1, UP, 1500, lower=2, peer_nsid=0), parameters=(("mode", "bridge"),))
    own, other = Address(3, 2, 0x0A000002, 24, 0x0A000002), Device(Link(4, "eth1", "veth", 1, UP, 1500))
    subnet = Route(2, 254, 1, 0x0A000000, 24, (Hop(3),))
    for routes, expected in (
        ((subnet,), ["parent-address"]),
        ((subnet, Route(2, 254, 1, 0x0A000001, 32, (Hop(4),))), []),
    ):
        inside = space("box", 2, child, other, addresses=(own,), routes=routes)
        inside.namespace = Namespace("box", inode=2, nsids={0: 1})
        assert names(hosts(below, inside)) == expected
