"""The check of rp_filter: devices that drop the answers to what is sent through them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from nettop.broker.requests import RouteQuestion
from nettop.decode.rtnetlink import Route
from nettop.decode.topology.objects import Device
from nettop.linux import rtnetlink as rt
from nettop.linux.interface import ARPHRD_LOOPBACK
from nettop.linux.socket import AF_INET
from nettop.model.findings import Finding
from nettop.model.map_findings.facts import MapFacts, finding
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.ip_words import route_words
from nettop.model.topology.policy import UNUSABLE, RouteIndex, matching, suppresses, vrf_table
from nettop.model.topology.route_query import RouteQuery
from nettop.model.topology.sysctls import conf

_MAX_ROUTES = 64  # of a device that are tried: the widest first
_OF_PACKET = frozenset({"ipproto", "sport", "dport", "tos", "dsfield"})
_MAX_OWN = 4  # addresses of a device to which packets may come
_MAX_ASKED = 8  # questions to the kernel about a device
_ELSEWHERE = tuple(int(IPv4Address(text)) for text in ("198.51.100.1", "203.0.113.1", "192.0.2.1"))  # RFC 5737
_RP_FILTER, _VALID_MARK = "net.ipv4.conf.{}.rp_filter", "net.ipv4.conf.{}.src_valid_mark"


def asymmetric(facts: MapFacts) -> Iterator[Finding]:
    """Yield the devices with strict rp_filter by which packets leave while the way back is another device.

    The kernel is asked where it can be; else policy rules and tables are followed. What is not certain is not
    reported.
    """
    for space in facts.hosts.namespaces():
        devices = [one for one in space.devices.values() if one.link.up and one.link.arphrd != ARPHRD_LOOPBACK]
        strict = [one for one in devices if conf(space.sysctls, _RP_FILTER, one.link.name) == 1]
        strict = [one for one in strict if not one.link.master or one.master_kind == "vrf"]  # others route no packet
        words = {word for rule in space.rules if rule.family == AF_INET for word in rule.selector.split()}
        if words & _OF_PACKET:  # some packets may be dropped and others not
            continue
        if "fwmark" in words:  # then the way back may depend on the mark
            strict = [one for one in strict if not conf(space.sysctls, _VALID_MARK, one.link.name)]
        if strict and len(devices) > 1 and "routes" in space.complete:
            index = RouteIndex((one for one in space.routes if one.table != rt.RT_TABLE_LOCAL), AF_INET)
            for device in strict:
                yield from _of_device(facts, space, device, index)


def _of_device(facts: MapFacts, space: NamespaceMap, device: Device, index: RouteIndex) -> Iterator[Finding]:
    vrf = vrf_table(space.devices.get(device.link.master))
    asked = 0
    for route, packet in _packets(space, device, index, vrf):
        back, certain = _way_back(space, index, packet, vrf)
        elsewhere = certain and back is not None and not _leaves_by(back, device)
        if certain and back is not None and not elsewhere:
            continue
        if facts.drops is None:
            dropped = elsewhere
        elif dropped := packet.source is not None and asked < _MAX_ASKED:
            asked += 1
            own, peer = str(packet.source), str(packet.destination)
            dropped = facts.drops(space, RouteQuestion(AF_INET, own, peer, device.link.ifindex))
        if dropped:
            yield _found(space, device, route, packet, back)
            return


def _packets(space: NamespaceMap, device: Device, index: RouteIndex, vrf: int) -> Iterator[tuple[Route, RouteQuery]]:
    """Yield routes through a device, each with the answer to a packet that comes in by it from there."""
    used = {vrf, *(rule.table for rule in space.rules)}
    held = {one.address: one.ifindex for one in space.addresses if one.family == AF_INET}
    own = [address for address, ifindex in held.items() if ifindex == device.link.ifindex]
    routes = (route for route in space.routes if route.family == AF_INET and route.kind == rt.RTN_UNICAST)
    through = [one for one in routes if one.table in used and _leaves_by(one, device)]
    for route in sorted(through, key=lambda one: one.length)[:_MAX_ROUTES]:
        peer = next((one for one in _addresses_of(route, index) if one not in held), None)
        if peer is not None and not own:
            yield route, RouteQuery(IPv4Address(peer))
        for address in own[:_MAX_OWN] if peer is not None else ():
            yield route, RouteQuery(IPv4Address(peer), IPv4Address(address))


def _found(space: NamespaceMap, device: Device, route: Route, packet: RouteQuery, back: Route | None) -> Finding:
    name, link, peer = space.name, device.link, packet.destination
    others = [] if back is None else [name(hop.ifindex) for hop in back.hops if hop.ifindex != link.ifindex]
    summary = (
        f"rp_filter is strict, and the way back to {peer} is {' or '.join(others) or 'not this device'}: "
        f"its packets are dropped when they come in by {link.name}"
    )
    way_back = route_words(back, name) if others and back is not None else "none by this device"
    lines = (f"by {link.name}: {route_words(route, name)}", f"way back: {way_back}")
    settings = (_RP_FILTER.format(one) for one in ("all", link.name.replace(".", "/")))
    values = ", ".join(f"{one} = {space.sysctls.get(one)}" for one in settings)
    return finding("asymmetric-route", summary, space, device, (*lines, values))


def _leaves_by(route: Route, device: Device) -> bool:
    return any(hop.ifindex == device.link.ifindex for hop in route.hops)


def _addresses_of(route: Route, index: RouteIndex) -> list[int]:
    """Return some addresses that have this route and no more specific one."""
    span = 32 - route.length
    first = route.destination >> span << span
    several = [first + at for at in (*range(1, 5), (1 << span) - 2) if at < 1 << span] or [first]
    return [one for one in (several if route.length else _ELSEWHERE) if index.is_longest(one, route.length)]


def _way_back(space: NamespaceMap, index: RouteIndex, query: RouteQuery, vrf: int) -> tuple[Route | None, bool]:
    """Return the route that the policy rules lead to, without a mark (None: none), and whether that is certain."""
    for rule, certain in matching(space.rules, query):
        if not certain:
            return None, False
        if rule.action.startswith(tuple(UNUSABLE.values())):
            return None, True
        table = vrf if "l3mdev" in rule.selector else rule.table
        route = index.best(table, query) if table else None
        if route is not None and route.kind != rt.RTN_THROW and not suppresses(rule, route):
            return (route if route.kind == rt.RTN_UNICAST else None), True
    return None, True


CHECKS = (asymmetric,)
