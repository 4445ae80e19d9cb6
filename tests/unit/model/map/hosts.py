"""A host's map filled by hand: with a gateway, two hosts and two containers behind a bridge."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from nettop.decode.rtnetlink import Address, Hop, Link, Route
from nettop.decode.topology.objects import Device, Namespace, Neighbour, Parameters, PolicyRule
from nettop.linux.interface import ARPHRD_ETHER, ARPHRD_LOOPBACK
from nettop.linux.rtnetlink import RT_TABLE_MAIN, RTN_UNICAST
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.topology.host_map import HostMap, NamespaceMap

IDS = {"": 1, "gw-a": 2, "lan-a": 3, "net": 4, "dmz-4": 5, "dmz-5": 6}
NSIDS = {number: number for number in IDS.values()}


def _number(label: str) -> int:
    """Return the inode of a namespace, which is also its nsid everywhere."""
    inode = IDS.setdefault(label, len(IDS) + 1)
    return NSIDS.setdefault(inode, inode)


def device(
    ifindex: int,
    name: str,
    kind: str = "",
    peer: tuple[int, str] | None = None,
    *,
    parameters: Parameters = (),
    master: int = 0,
    master_kind: str = "",
    port: Parameters = (),
    lower: int = 0,
    up: bool = True,
    mtu: int = 1500,
    owner: str = "",
) -> Device:
    """Return a device; `peer` is the ifindex and the namespace of a veth's other end."""
    nsid = NSIDS[_number(peer[1])] if peer else None
    arphrd = ARPHRD_LOOPBACK if name == "lo" else ARPHRD_ETHER
    mac = bytes((0x52, 0x54, 0, 9, 0, ifindex % 256)) if name != "lo" else bytes(6)
    lower = peer[0] if peer else lower
    link = Link(ifindex, name, kind, arphrd, int(up), mtu, master, lower, nsid, 6, mac)
    return Device(link, parameters=parameters, port=port, master_kind=master_kind, carrier=up, owner=owner)


def address(ifindex: int, text: str) -> Address:
    """Return an address, `10.9.0.1/24`."""
    found = ipaddress.ip_interface(text)
    family = AF_INET if found.version == 4 else AF_INET6
    return Address(ifindex, family, int(found.ip), found.network.prefixlen, int(found.ip))


def route(text: str, ifindex: int, gateway: str = "", table: int = RT_TABLE_MAIN) -> Route:
    """Return a route to a network."""
    net = ipaddress.ip_network(text)
    family = AF_INET if net.version == 4 else AF_INET6
    via = (family, int(ipaddress.ip_address(gateway))) if gateway else None
    first, scope = int(net.network_address), 0 if via else 253
    return Route(family, table, RTN_UNICAST, first, net.prefixlen, (Hop(ifindex, via),), scope=scope)


def namespace(
    label: str,
    devices: Sequence[Device],
    addresses: Sequence[Address] = (),
    routes: Sequence[Route] = (),
    sysctls: Mapping[str, str] | None = None,
    **about: object,
) -> NamespaceMap:
    """Return a namespace of which everything was read."""
    inode = _number(label)
    values: dict[str, object] = {"names": (label,) if label else (), "processes": 1, **about}
    known = Namespace(label, inode, nsids=NSIDS, **values)  # type: ignore[arg-type]
    found = NamespaceMap(known, {one.link.ifindex: one for one in devices}, tuple(addresses), tuple(routes))
    found.sysctls = sysctls or {}
    found.rates = {one.link.ifindex: (1e3 * one.link.ifindex, 2e3, 0.0) for one in devices}
    found.complete = {"devices", "addresses", "routes", "rules", "neighbours", "vlans", "queues", "sysctls"}
    return found


def host_map(*namespaces: NamespaceMap) -> HostMap:
    """Return the map of these namespaces."""
    hosts = HostMap()
    for one in namespaces:
        put(hosts, one)
    return hosts


def put(hosts: HostMap, space: NamespaceMap) -> None:
    """Add a namespace to the map, or replace it."""
    hosts._of[space.namespace.label] = hosts._by_inode[space.namespace.inode] = space
    hosts._changed(True, space)


def screens() -> HostMap:
    """Return the map of a gateway, a host, the net, and two containers behind a bridge."""
    bridge: Parameters = (("stp_state", "0"),)
    gw = namespace(
        "gw-a",
        [
            device(1, "lo"),
            device(2, "eth0", "veth", (2, "lan-a")),
            device(3, "eth1", "veth", (2, "net")),
            device(4, "br-dmz", "bridge", parameters=bridge),
            _port(9, "vm4", (2, "dmz-4")),
            _port(10, "vm5", (2, "dmz-5")),
            device(11, "vx42", "vxlan", parameters=(("id", "42"), ("remote", "10.8.0.2"), ("dstport", "4789")),
                   master=4, master_kind="bridge", port=(("state", "forwarding"), ("hairpin", "off"))),
            device(12, "mv0", "macvlan", parameters=(("mode", "bridge"),), lower=3),
            device(13, "tap0", "tun", parameters=(("type", "tap"),), owner="qemu[5121]"),
        ],
        [address(1, "127.0.0.1/8"), address(2, "192.168.1.1/24"), address(3, "100.100.100.1/24"),
         address(3, "fe80::1/64"), address(4, "10.9.0.1/24"), address(12, "100.100.100.7/24")],
        [route("192.168.1.0/24", 2), route("10.9.0.0/24", 4), route("0.0.0.0/0", 3, "100.100.100.2")],
        {"net.ipv4.ip_forward": "1"},
        processes=2,
    )  # fmt: skip
    gw.rules = (
        PolicyRule(AF_INET, 0, "from all", "lookup local", 255),
        PolicyRule(AF_INET, 32766, "from all", "lookup main", 254),
    )
    gw.neighbours = (
        Neighbour(2, AF_INET, int(ipaddress.ip_address("192.168.1.2")), bytes.fromhex("525400090002"), 2),
        Neighbour(9, 7, None, bytes.fromhex("525400090004"), 2),
        Neighbour(9, 7, None, bytes.fromhex("333300000001"), 128),  # a group that the port listens to
    )
    return host_map(
        namespace("", [device(1, "lo"), device(2, "eth0")], [address(2, "203.0.113.5/24")], processes=214, names=()),
        gw,
        namespace("lan-a", [device(2, "eth0", "veth", (2, "gw-a"))], [address(2, "192.168.1.2/24")], processes=3),
        namespace("dmz-4", [device(2, "eth0", "veth", (9, "gw-a"))], [address(2, "10.9.0.4/24")],
                  processes=9, container="web-1 containerd"),
        namespace("dmz-5", [device(2, "eth0", "veth", (10, "gw-a"))], [address(2, "10.9.0.5/24")],
                  processes=4, container="db-1 containerd"),
        namespace("net", [device(2, "eth0", "veth", (3, "gw-a"))], [address(2, "100.100.100.2/24")]),
        namespace("nsid 7", [], processes=0, names=(), refusal="Operation not permitted"),
    )  # fmt: skip


def _port(ifindex: int, name: str, peer: tuple[int, str]) -> Device:
    state: Parameters = (("state", "forwarding"), ("hairpin", "off"))
    return device(ifindex, name, "veth", peer, master=4, master_kind="bridge", port=state)
