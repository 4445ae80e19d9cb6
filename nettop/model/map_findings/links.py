"""Checks of links: MTUs that do not fit, pairs without carrier, ports that do not forward."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from nettop.decode.topology.objects import Device
from nettop.model.findings import Finding
from nettop.model.map_findings.facts import MapFacts, at, finding
from nettop.model.topology.device_words import parameter, remote_text
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.policy import best_route
from nettop.model.topology.route_query import RouteQuery
from nettop.model.topology.tree import PAIRS

_L2_HEADER = 14
# Bytes that a tunnel adds to its packets, over IPv4 (over IPv6: 20 more), without options.
_ADDED = {
    "vxlan": 8 + 8 + 20 + _L2_HEADER, "geneve": 8 + 8 + 20 + _L2_HEADER, "gretap": 4 + 20 + _L2_HEADER,
    "gre": 4 + 20, "ipip": 20, "sit": 20, "ip6tnl": 20, "ip6gre": 4 + 20, "ip6gretap": 4 + 20 + _L2_HEADER,
}  # fmt: skip
_TABLES = (254, 253)  # main, default


def mtu_of_pairs(facts: MapFacts) -> Iterator[Finding]:
    """Yield the pairs whose ends have different MTUs, at the end that sends what the other drops."""
    for space, device in facts.devices():
        found = facts.lower(space, device) if device.link.kind in PAIRS else None
        if found is None:
            continue
        there, peer = found
        if device.link.mtu > peer.link.mtu:
            summary = (
                f"MTU {device.link.mtu} here, {peer.link.mtu} at the other end {at(there, peer)}: "
                "packets between are dropped there"
            )
            yield finding("pair-mtu", summary, space, device, (_mtu(space, device), _mtu(there, peer)))


def mtu_of_tunnels(facts: MapFacts) -> Iterator[Finding]:
    """Yield the tunnels whose packets do not fit into the device that carries them."""
    for space, device in facts.devices():
        added = _ADDED.get(device.link.kind)
        carrier = None if added is None else _carrier(facts, space, device)
        if added is None or carrier is None:
            continue
        there, lower = carrier
        added += 20 if ":" in remote_text(device) + parameter(device, "local", "local6") else 0
        if device.link.mtu + added > lower.link.mtu:
            summary = (
                f"MTU {device.link.mtu} over {lower.link.name} of MTU {lower.link.mtu}: {device.link.kind} adds "
                f"{added} bytes, so full packets are fragmented or lost"
            )
            yield finding("tunnel-mtu", summary, space, device, (_mtu(space, device), _mtu(there, lower)))


def _carrier(facts: MapFacts, space: NamespaceMap, device: Device) -> tuple[NamespaceMap, Device] | None:
    """Return the device by which the packets of a tunnel leave: its lower one, or that of the route to its end."""
    lower = facts.lower(space, device)
    remote = remote_text(device)
    if lower is not None or not remote:
        return lower
    try:
        query = RouteQuery(ip_address(remote))
    except ValueError:
        return None
    there = facts.hosts.linked(space.namespace.label, device)
    if there is None or device.link.lower:  # its lower device is in a namespace that is not known
        return None
    route = next((found for table in _TABLES if (found := best_route(there.routes, table, query))), None)
    hop = route.hops[0] if route is not None and route.hops else None
    out = None if hop is None else there.devices.get(hop.ifindex)
    return None if out is None or out is device else (there, out)


def _mtu(space: NamespaceMap, device: Device) -> str:
    return f"{at(space, device)}: {device.link.kind or 'device'}, MTU {device.link.mtu}"


def without_carrier(facts: MapFacts) -> Iterator[Finding]:
    """Yield the ends of pairs that are up while the other end is down."""
    for space, device in facts.devices():
        if device.link.kind not in PAIRS or not device.link.up:
            continue
        found = facts.lower(space, device)
        if found is not None and not found[1].link.up:
            other = f"its other end {at(*found)} is down"
            yield finding("no-carrier", f"{other}: every packet is dropped", space, device, (f"{at(*found)}: down",))
        elif found is None and device.carrier is False:
            summary = "its other end, in a namespace that is not known, is down: every packet is dropped"
            yield finding("no-carrier", summary, space, device, (f"{at(space, device)}: no carrier",))


def port_states(facts: MapFacts) -> Iterator[Finding]:
    """Yield the ports of bridges that are up and do not forward."""
    for space, device in facts.devices():
        state = dict(device.port).get("state", "")
        master = space.devices.get(device.link.master)
        if not state or state == "forwarding" or not device.link.up or device.carrier is False or master is None:
            continue
        if not master.link.up:
            reason = f"{master.link.name} is down"
        else:
            stp = parameter(master, "stp_state")
            reason = f"STP is {'off' if stp in ('', '0', 'off') else 'on'} on {master.link.name}"
        summary = f"port of {master.link.name} in state {state}: it forwards no frame"
        yield finding("port-state", summary, space, device, (f"{at(space, device)}: state {state}; {reason}",))


CHECKS = (mtu_of_pairs, mtu_of_tunnels, without_carrier, port_states)
