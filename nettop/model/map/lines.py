"""The map as JSON objects: namespaces, links, addresses, routes, nexthops, rules, neighbours, and what else is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from json import dumps
from typing import Any

from nettop.decode.rtnetlink import Address, Route
from nettop.decode.topology.objects import Device, Neighbour, Nexthop, Queue
from nettop.model.topology import ip_words
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.tree import PAIRS

_FLAGS = (  # IFF_*, linux/if.h
    *("UP", "BROADCAST", "DEBUG", "LOOPBACK", "POINTOPOINT", "NOTRAILERS", "RUNNING", "NOARP", "PROMISC", "ALLMULTI"),
    *("MASTER", "SLAVE", "MULTICAST", "PORTSEL", "AUTOMEDIA", "DYNAMIC", "LOWER_UP", "DORMANT", "ECHO"),
)
_OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")  # RFC 2863
Row = dict[str, Any]


def json_lines(hosts: HostMap, spaces: Sequence[NamespaceMap]) -> Iterator[str]:
    """Yield the objects of these namespaces, each after its namespace."""
    for space in spaces:
        for row in _rows(hosts, space):
            yield dumps(row, separators=(",", ":"))


def _rows(hosts: HostMap, space: NamespaceMap) -> Iterator[Row]:
    label = space.namespace.label
    yield _namespace(hosts, space)
    yield from (_link(hosts, space, device) for device in space.devices.values())
    for address in space.addresses:
        yield {**_of("address", space, address.ifindex), **_address(address)}
    for route in space.routes:
        yield {"kind": "route", "netns": label, **_route(route, space)}
    for nexthop in space.nexthops:
        yield {**_of("nexthop", space, nexthop.ifindex), **_nexthop(nexthop)}
    for rule in space.rules:
        row = {"family": ip_words.family_text(rule.family), "priority": rule.priority, "selector": rule.selector}
        table = ip_words.table_text(rule.table) if rule.table else None
        yield {"kind": "rule", "netns": label, **row, "action": rule.action, "table": table}
    for neighbour in space.neighbours:
        yield {**_of("neighbour", space, neighbour.ifindex), **_neighbour(neighbour, space.name)}
    for vlan in space.vlans:
        row = {"vlan": vlan.vlan, "untagged": vlan.untagged, "pvid": vlan.pvid}
        yield {**_of("port_vlan", space, vlan.ifindex), **row}
    for group in space.groups:
        row = {"bridge": _name(space, group.bridge), "group": group.group, "source": group.source or None}
        row |= {"vlan": group.vlan or None, "permanent": group.permanent}
        yield {**_of("port_group", space, group.ifindex), **row}
    for queue in space.queues:
        yield {**_of("filter" if queue.filter else "qdisc", space, queue.ifindex), **_queue(queue, space.name)}
    for name, value in space.sysctls.items():
        yield {"kind": "sysctl", "netns": label, "name": name, "value": value}


def _of(kind: str, space: NamespaceMap, ifindex: int) -> Row:
    return {"kind": kind, "netns": space.namespace.label, "ifindex": ifindex, "name": _name(space, ifindex)}


def _name(space: NamespaceMap, ifindex: int) -> str | None:
    device = space.devices.get(ifindex)
    return None if device is None else device.link.name


def _address(address: Address) -> Row:
    return {
        "family": ip_words.family_text(address.family),
        "address": ip_words.ip_text(address.family, address.address),
        "prefix_length": address.length,
        "peer": None if address.peer == address.address else ip_words.ip_text(address.family, address.peer),
        "scope": ip_words.scope_text(address.scope),
        "flags": ip_words.address_flags(address),
        "label": address.label or None,
        "broadcast": None if address.broadcast is None else ip_words.ip_text(address.family, address.broadcast),
    }


def _queue(queue: Queue, name: ip_words.Name) -> Row:
    row: Row = {"queue_kind": queue.kind, "handle": f"{queue.handle:#x}", "parent": f"{queue.parent:#x}"}
    if queue.filter:
        return {**row, "hook": ip_words.hook_text(queue), "detail": ip_words.filter_words(queue, name)}
    return {**row, "drops": queue.drops, "backlog": queue.backlog}


def _namespace(hosts: HostMap, space: NamespaceMap) -> Row:
    one = space.namespace
    return {
        "kind": "netns",
        "netns": one.label,
        "names": one.names,
        "inode": one.inode if one.inode > 0 else None,
        "processes": one.processes,
        "pid": one.pid or None,
        "command": one.command or None,
        "container": one.container or None,
        "container_id": one.container_id or None,
        "mounts": one.mounts,
        "refusal": one.refusal or None,
        "nsids": {str(nsid): hosts.label_of(inode) for nsid, inode in one.nsids.items()},
        "devices": len(space.devices) if "devices" in space.complete else None,
        "complete": sorted(space.complete),
    }


def _link(hosts: HostMap, space: NamespaceMap, device: Device) -> Row:
    link, parameters = device.link, dict(device.parameters)
    counts = device.counts if device.counted else None
    return {
        "kind": "link",
        "netns": space.namespace.label,
        "ifindex": link.ifindex,
        "name": link.name,
        "link_kind": link.kind or None,
        "mode": parameters.get("mode") or parameters.get("type"),
        "master": _name(space, link.master),
        **_other_end(hosts, space, device),
        "address": link.address.hex(":") or None,
        "mtu": link.mtu,
        "up": link.up,
        "flags": [word for bit, word in enumerate(_FLAGS) if link.flags >> bit & 1],
        "operstate": _OPERSTATES[link.operstate] if link.operstate < len(_OPERSTATES) else str(link.operstate),
        "carrier": device.carrier,
        "carrier_changes": device.carrier_changes,
        "alias": device.alias or None,
        "altnames": device.altnames,
        "qdisc": device.qdisc or None,
        "queue_length": device.queue_length,
        "owner": device.owner or None,
        "programs": [*device.programs, *space.programs.get(link.ifindex, ())],
        "parameters": parameters,
        "port": dict(device.port),
        "offloads": {name: int(value) for name, value in device.offloads},
        "features": space.features.get(link.ifindex),
        "virtual_functions": [dict(function) for function in device.functions],
        **{key: getattr(counts, key, None) for key in device.counts.__slots__},
        "reasons": dict(counts.reasons) if counts else None,
    }


def _other_end(hosts: HostMap, space: NamespaceMap, device: Device) -> Row:
    """Return the keys of the lower device, or of the peer in a pair."""
    link = device.link
    place = hosts.peer(space.namespace.label, link.ifindex)
    (label, ifindex), other = place or (None, link.lower or None), hosts.device(place)
    name, pair = other.link.name if other else None, link.kind in PAIRS
    if label is None and link.peer_nsid is not None:
        there = hosts.linked(space.namespace.label, device)
        label = there.namespace.label if there else f"nsid {link.peer_nsid}"
    return {
        "lower": None if pair else name or dict(device.parameters).get("link"),
        "lower_netns": None if pair else label,
        "lower_ifindex": None if pair else ifindex,
        "peer": name if pair else None,
        "peer_netns": label if pair else None,
        "peer_ifindex": ifindex if pair else None,
    }


def _route(route: Route, space: NamespaceMap) -> Row:
    hops = [
        {
            "device": _name(space, hop.ifindex),
            "gateway": ip_words.ip_text(*hop.gateway) if hop.gateway else None,
            "weight": hop.weight,
            "flags": ip_words.hop_flags(hop),
            "encapsulation": hop.encapsulation or None,
        }
        for hop in route.hops
    ]
    first = hops[0] if len(hops) == 1 else {}
    return {
        "family": ip_words.family_text(route.family),
        "type": ip_words.type_text(route.kind),
        "destination": ip_words.destination_text(route),
        "table": ip_words.table_text(route.table),
        "device": first.get("device"),
        "gateway": first.get("gateway"),
        "flags": first.get("flags", []),
        "encapsulation": first.get("encapsulation"),
        "nhid": route.nexthop or None,
        "next_hops": hops if len(hops) > 1 else None,
        "protocol": ip_words.protocol_text(route.protocol),
        "scope": ip_words.scope_text(route.scope),
        "metric": route.metric,
        "tos": route.tos,
        "from": ip_words.source_text(route) or None,
        "preferred_source": None if route.preferred is None else ip_words.ip_text(route.family, route.preferred),
        "options": dict(route.options),
    }


def _nexthop(one: Nexthop) -> Row:
    return {
        "id": one.id,
        "gateway": ip_words.ip_text(*one.gateway) if one.gateway else None,
        "blackhole": one.blackhole,
        "fdb": one.fdb,
        "group": [{"id": ident, "weight": weight} for ident, weight in one.group] or None,
        "resilient": {name: float(value) for name, value in one.resilient} or None,
        "scope": ip_words.scope_text(one.scope),
        "protocol": ip_words.protocol_text(one.protocol),
        "flags": ip_words.hop_flags(one),
        "encapsulation": one.encapsulation or None,
    }


def _neighbour(neighbour: Neighbour, name: ip_words.Name) -> Row:
    own = None if neighbour.address is None else ip_words.ip_text(neighbour.family, neighbour.address)
    return {
        "family": ip_words.family_text(neighbour.family),
        "address": own,
        "link_address": neighbour.link_address.hex(":") or None,
        "state": ip_words.state_text(neighbour),
        "flags": ip_words.neighbour_flags(neighbour),
        "vlan": neighbour.vlan or None,
        "remote": ip_words.ip_text(*neighbour.remote) if neighbour.remote else None,
        "tunnel": ip_words.tunnel_options(neighbour, name),
    }
