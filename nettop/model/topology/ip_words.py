"""Addresses, routes, nexthops, neighbours and policy rules in the words of ip(8) and bridge(8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nettop.decode.rtnetlink import Address, Hop, Route
from nettop.decode.topology.objects import Neighbour, Nexthop, PolicyRule, Queue
from nettop.linux import rtnetlink as rt
from nettop.linux.socket import AF_BRIDGE, AF_INET, AF_INET6
from nettop.text.address import address_text

Name = Callable[[int], str]  # of a device

_FAMILIES = {AF_INET: "inet", AF_INET6: "inet6"}
_KINDS = {
    rt.RTN_LOCAL: "local", rt.RTN_BROADCAST: "broadcast", rt.RTN_ANYCAST: "anycast", rt.RTN_MULTICAST: "multicast",
    rt.RTN_BLACKHOLE: "blackhole", rt.RTN_UNREACHABLE: "unreachable", rt.RTN_PROHIBIT: "prohibit",
    rt.RTN_THROW: "throw",
}  # fmt: skip
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
# NUD_* and NTF_*, linux/neighbour.h
_STATES = {1: "INCOMPLETE", 2: "REACHABLE", 4: "STALE", 8: "DELAY", 16: "PROBE", 32: "FAILED", 64: "NOARP",
           128: "PERMANENT"}  # fmt: skip
_FLAGS = {1: "use", 2: "self", 4: "master", 8: "proxy", 16: "extern_learn", 32: "offload", 64: "sticky", 128: "router",
          256: "managed", 512: "locked", 1024: "extern_valid"}  # fmt: skip
_NOARP, _ALWAYS = 64, 8 | 16  # ip(8) prints those with NTF_PROXY and NTF_EXT_LEARNED in every state
_ADDRESS_FLAGS = {0x80: "permanent", 0x40: "tentative", 0x20: "deprecated", 0x08: "dadfailed", 0x01: "secondary",
                  0x100: "mngtmpaddr", 0x200: "noprefixroute", 0x02: "nodad", 0x04: "optimistic", 0x10: "home",
                  0x400: "autojoin", 0x800: "stable-privacy"}  # fmt: skip


def ip_text(family: int, address: int) -> str:
    """Return the text of an address that is one integer in host order."""
    return address_text(family, address >> 64, address & (1 << 64) - 1)


def prefix_text(address: Address) -> str:
    """Return `192.168.1.1/24`."""
    return f"{ip_text(address.family, address.address)}/{address.length}"


def table_text(table: int) -> str:
    """Return the name of a routing table, or its number."""
    return rt.RT_TABLES.get(table, str(table))


def type_text(kind: int) -> str:
    """Return the type of a route, or its number."""
    return "unicast" if kind == rt.RTN_UNICAST else _KINDS.get(kind, str(kind))


def protocol_text(protocol: int) -> str:
    """Return the name of what made a route, or its number."""
    return rt.RTPROT.get(protocol, str(protocol))


def family_text(family: int) -> str:
    """Return `inet`, `inet6` or `bridge`."""
    return _FAMILIES.get(family, "bridge" if family == AF_BRIDGE else str(family))


def address_flags(address: Address) -> list[str]:
    """Return the flags of an address as ip(8) prints them."""
    names = _ADDRESS_FLAGS if address.family == AF_INET else _ADDRESS_FLAGS | {0x01: "temporary"}
    return [word for bit, word in names.items() if address.flags & bit]


def neighbour_flags(neighbour: Neighbour) -> list[str]:
    """Return the flags of a neighbour, or of an entry of a forwarding database."""
    return [word for bit, word in _FLAGS.items() if neighbour.flags & bit]


def hop_flags(hop: Hop | Nexthop) -> list[str]:
    """Return the flags of a next hop as ip(8) prints them."""
    return [word for bit, word in rt.RTNH_F.items() if hop.flags & bit]


def scope_text(scope: int) -> str:
    """Return the name of a scope, or its number."""
    return _SCOPES.get(scope, str(scope))


def destination_text(route: Route) -> str:
    """Return `default`, `10.9.0.4` or `10.9.0.0/24`."""
    return _prefix(route.family, route.destination, route.length) if route.length else "default"


def source_text(route: Route) -> str:
    """Return the prefix of the sources that a route is for, as above; "": any."""
    return _prefix(route.family, route.source, route.source_length) if route.source_length else ""


def _prefix(family: int, address: int, length: int) -> str:
    return ip_text(family, address) + ("" if length == (32 if family == AF_INET else 128) else f"/{length}")


def address_words(address: Address, name: Name) -> str:
    """Return `inet 192.168.1.1/24 scope global permanent dev eth0`."""
    peer = f" peer {ip_text(address.family, address.peer)}" if address.peer != address.address else ""
    flags = "".join(f" {word}" for word in address_flags(address))
    own = ip_text(address.family, address.address)
    prefix = f"{peer or ' '}/{address.length}".replace(" /", "/")
    family = _FAMILIES.get(address.family, "")
    label = f" label {address.label}" if address.label not in ("", name(address.ifindex)) else ""
    return f"{family} {own}{prefix} scope {scope_text(address.scope)}{flags}{label} dev {name(address.ifindex)}"


def route_words(route: Route, name: Name) -> str:
    """Return `10.9.0.0/24 via 192.168.1.1 dev eth0 proto static metric 100`, or with several next hops."""
    kind, source = _KINDS.get(route.kind, ""), source_text(route)
    words = (kind, destination_text(route), f"from {source}" if source else "", *_rest(route, name))
    return " ".join(word for word in words if word)


def _rest(route: Route, name: Name) -> Iterator[str]:
    if route.nexthop:
        yield f"nhid {route.nexthop}"
    if len(route.hops) == 1:
        yield _hop(route.hops[0], route.family, name)
    if route.table != rt.RT_TABLE_MAIN:
        yield f"table {table_text(route.table)}"
    if route.protocol:
        yield f"proto {protocol_text(route.protocol)}"
    if route.scope:
        yield f"scope {scope_text(route.scope)}"
    if route.preferred is not None:
        yield f"src {ip_text(route.family, route.preferred)}"
    if route.metric:
        yield f"metric {route.metric}"
    if route.tos:
        yield f"tos {route.tos:#x}"
    yield from (f"{option} {value}" for option, value in route.options)
    if len(route.hops) > 1:
        yield from (f"nexthop {_hop(hop, route.family, name, f' weight {hop.weight}')}" for hop in route.hops)


def nexthop_words(one: Nexthop, name: Name) -> str:
    """Return `id 1 via 10.9.0.7 dev eth0 scope link proto static`, or `id 10 group 1/3,5`."""
    return " ".join(_nexthop(one, name))


def _nexthop(one: Nexthop, name: Name) -> Iterator[str]:
    yield f"id {one.id}"
    if one.group:
        yield "group " + "/".join(f"{ident},{weight}" if weight > 1 else str(ident) for ident, weight in one.group)
    if one.resilient:
        yield "type resilient " + " ".join(map(" ".join, one.resilient))
    if one.encapsulation:
        yield f"encap {one.encapsulation}"
    if one.gateway is not None:
        yield f"via {ip_text(*one.gateway)}"
    if one.ifindex:
        yield f"dev {name(one.ifindex)}"
    if one.scope:
        yield f"scope {scope_text(one.scope)}"
    if one.blackhole:
        yield "blackhole"
    if one.protocol:
        yield f"proto {protocol_text(one.protocol)}"
    yield from hop_flags(one)
    if one.fdb:
        yield "fdb"


def _hop(hop: Hop, family: int, name: Name, weight: str = "") -> str:
    via = f"encap {hop.encapsulation} " if hop.encapsulation else ""
    if hop.gateway is not None:
        other = f"{_FAMILIES.get(hop.gateway[0], '')} " if hop.gateway[0] != family else ""
        via += f"via {other}{ip_text(*hop.gateway)} "
    return " ".join((f"{via}dev {name(hop.ifindex)}{weight}", *hop_flags(hop)))


def state_text(neighbour: Neighbour) -> str:
    """Return `REACHABLE`; of an entry of a forwarding database `learned` or `permanent`."""
    states = [word for bit, word in _STATES.items() if neighbour.state & bit]
    if neighbour.address is not None:
        return " ".join(states)
    return "permanent" if neighbour.state & 128 else "static" if neighbour.state & 64 else "learned"


def tunnel_options(neighbour: Neighbour, name: Name) -> dict[str, str]:
    """Return the port, vni and the like of an entry of a tunnel's forwarding database, as bridge(8) names them."""
    return {key: name(value) if key == "via" else str(value) for key, value in neighbour.tunnel}


def is_printed(neighbour: Neighbour) -> bool:
    """Return whether ip(8) prints a neighbour without `nud all`: most that need no ARP are left out."""
    return bool(neighbour.address is None or neighbour.state & ~_NOARP or neighbour.flags & _ALWAYS)


def neighbour_words(neighbour: Neighbour, name: Name) -> str:
    """Return `10.9.0.4 dev eth0 lladdr 52:54:00:09:00:04 REACHABLE`, or an entry as `bridge fdb` prints it."""
    device, mac = f"dev {name(neighbour.ifindex)}", neighbour.link_address.hex(":")
    flags = neighbour_flags(neighbour)
    if neighbour.address is None:
        remote = [f"dst {ip_text(*neighbour.remote)}"] if neighbour.remote else []
        vlan = [f"vlan {neighbour.vlan}"] if neighbour.vlan else []
        more = (f"{option} {value}" for option, value in tunnel_options(neighbour, name).items())
        return " ".join((mac, device, *remote, *more, *vlan, *flags, state_text(neighbour)))
    own = ip_text(neighbour.family, neighbour.address)
    return " ".join((own, device, *([f"lladdr {mac}"] if mac else []), *flags, state_text(neighbour)))


def filter_words(queue: Queue, name: Name) -> str:
    """Return the program and the actions of a filter: `redirect to ifb0`; its kind if it has none."""
    return " ".join((queue.detail, *(f"{verb} to {name(to)}" for verb, to in queue.targets))).strip()


def hook_text(queue: Queue) -> str:
    """Return `ingress` or `egress`; of a filter in a queue its parent: `1:0`."""
    words = dict(zip(rt.TC_HOOKS, ("ingress", "egress"), strict=True))
    return words.get(queue.parent, f"{queue.parent >> 16:x}:{queue.parent & 0xFFFF:x}")


def rule_words(rule: PolicyRule) -> str:
    """Return `32766: from all lookup main`."""
    return f"{rule.priority}: {rule.selector} {rule.action}"
