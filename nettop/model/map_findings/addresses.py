"""Checks of addresses: in two namespaces of one LAN, of a macvlan's lower device, on a device that is down."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from nettop.decode.rtnetlink import Address
from nettop.decode.topology.objects import Device
from nettop.linux.rtnetlink import RT_TABLE_MAIN, RTN_UNICAST
from nettop.model.findings import Finding
from nettop.model.map_findings.facts import MapFacts, at, finding, is_global, subnet
from nettop.model.topology.device_words import is_on, parameter
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.ip_words import ip_text, prefix_text, route_words
from nettop.model.topology.policy import best_route
from nettop.model.topology.route_query import RouteQuery
from nettop.model.topology.tree import PAIRS

_CHILDREN = ("macvlan", "macvtap", "ipvlan", "ipvtap")
_Node = tuple[str, int, int]  # label, ifindex, VLAN (0: VLANs are not distinguished)


def duplicates(facts: MapFacts) -> Iterator[Finding]:
    """Yield the addresses that two namespaces of one LAN have."""
    lans = _Lans(facts)
    seen: dict[tuple[object, int, int], tuple[NamespaceMap, Device, Address]] = {}
    for space, device, address in _addresses(facts):
        key = lans.of(space, device), address.family, address.address
        other = seen.setdefault(key, (space, device, address))
        if other[0] is not space:
            where = f"{at(*other[:2])}, which is in the same LAN"
            text = ip_text(address.family, address.address)
            lines = (f"{at(*other[:2])}: {prefix_text(other[2])}", f"{at(space, device)}: {prefix_text(address)}")
            yield finding("duplicate-address", f"{text} is also the address of {where}", space, device, lines)


def parents(facts: MapFacts) -> Iterator[Finding]:
    """Yield the children of a device that share a subnet with its address, which they cannot reach."""
    for space, device in facts.devices():
        found = facts.lower(space, device) if device.link.kind in _CHILDREN else None
        if found is None or found[0] is space or parameter(device, "mode") in ("passthru", "l3", "l3s"):
            continue
        there, lower = found
        if device.link.kind.startswith("macv") and _sends_back(facts, there, lower):
            continue
        own = {subnet(one) for one in space.addresses if one.ifindex == device.link.ifindex}
        for address in there.addresses:
            shared = address.ifindex == lower.link.ifindex and is_global(address) and subnet(address) in own
            if shared and _leads_by(space, device, address):
                text = ip_text(address.family, address.address)
                summary = (
                    f"{text} cannot be reached: it is the address of the lower device {at(there, lower)}, and "
                    f"{device.link.kind} exchanges no frames with it"
                )
                lines = (f"{at(there, lower)}: {prefix_text(address)}", _own_line(space, device, address))
                yield finding("parent-address", summary, space, device, lines)


def _leads_by(space: NamespaceMap, device: Device, address: Address) -> bool:
    """Return whether the main table leads to an address by this device, not by a route around it."""
    route = best_route(space.routes, RT_TABLE_MAIN, RouteQuery(ip_address(ip_text(address.family, address.address))))
    return route is None or any(hop.ifindex == device.link.ifindex for hop in route.hops)


def _sends_back(facts: MapFacts, space: NamespaceMap, device: Device) -> bool:
    """Return whether a device is the other end of a bridge port in hairpin mode, which sends its frames back."""
    switch = facts.lower(space, device)
    return switch is not None and is_on(dict(switch[1].port).get("hairpin", ""))


def _own_line(space: NamespaceMap, device: Device, like: Address) -> str:
    own = [one for one in space.addresses if one.ifindex == device.link.ifindex and subnet(one) == subnet(like)]
    mode = parameter(device, "mode")
    return f"{at(space, device)}: {prefix_text(own[0])}, {device.link.kind}{' ' + mode if mode else ''}"


def on_down_devices(facts: MapFacts) -> Iterator[Finding]:
    """Yield the devices that are down and hold addresses, whose routes are gone with them."""
    for space, device in facts.devices():
        held = [one for one in space.addresses if one.ifindex == device.link.ifindex and is_global(one)]
        if device.link.up or not held or "routes" not in space.complete:
            continue
        through = [route for route in space.routes if any(hop.ifindex == device.link.ifindex for hop in route.hops)]
        lines = [f"{at(space, device)}: down, {prefix_text(one)}" for one in held]
        lines += [f"route {route_words(route, space.name)}" for route in through if route.kind == RTN_UNICAST]
        nets = ", ".join(dict.fromkeys(f"{ip_text(*network)}/{length}" for *network, length in map(subnet, held)))
        summary = f"down, but it holds {prefix_text(held[0])}: no route to {nets} leads through it"
        yield finding("down-address", summary, space, device, tuple(lines))


def _addresses(facts: MapFacts) -> Iterator[tuple[NamespaceMap, Device, Address]]:
    for space, device in facts.devices():
        for address in space.addresses:
            if address.ifindex == device.link.ifindex and device.link.up and is_global(address):
                yield space, device, address


class _Lans:
    """The devices that exchange frames, as sets (union-find)."""

    def __init__(self, facts: MapFacts) -> None:
        self._parent: dict[_Node, _Node] = {}
        for space, device in facts.devices():
            here = self._node(space, device)
            found = facts.lower(space, device)
            master = space.devices.get(device.link.master)
            if master is not None and master.link.kind == "bridge":
                self._join(here, self._bridge(space, master, device.link.ifindex))
                self._join(self._node(space, master), self._bridge(space, master, master.link.ifindex))
            if found is not None and device.link.kind in (*PAIRS, *_CHILDREN):
                self._join(here, self._node(*found))

    def of(self, space: NamespaceMap, device: Device) -> _Node:
        """Return the set that a device is in."""
        return self._root(self._node(space, device))

    @staticmethod
    def _node(space: NamespaceMap, device: Device) -> _Node:
        return space.namespace.label, device.link.ifindex, 0

    @staticmethod
    def _bridge(space: NamespaceMap, bridge: Device, port: int) -> _Node:
        """Return the inside of a bridge, as a port sees it: with VLAN filtering that of its own VLAN."""
        vlan = 0
        if is_on(parameter(bridge, "vlan_filtering")):
            vlan = next((one.vlan for one in space.vlans if one.ifindex == port and one.pvid), -port)
        return space.namespace.label, -bridge.link.ifindex, vlan

    def _join(self, one: _Node, other: _Node) -> None:
        self._parent[self._root(one)] = self._root(other)

    def _root(self, node: _Node) -> _Node:
        while (parent := self._parent.get(node, node)) != node:
            node = parent
        return node


CHECKS = (duplicates, parents, on_down_devices)
