"""The check of rp_filter: devices that drop the answers to what is sent through them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from nettop.decode.rtnetlink import Route
from nettop.decode.topology.objects import Device
from nettop.linux import rtnetlink as rt
from nettop.linux.interface import ARPHRD_LOOPBACK
from nettop.linux.socket import AF_INET
from nettop.model.findings import Finding
from nettop.model.map_findings.facts import MapFacts, finding
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.ip_words import route_words
from nettop.model.topology.policy import RouteIndex, matching, suppresses
from nettop.model.topology.route_query import RouteQuery
from nettop.model.topology.sysctls import conf

_MAX_ROUTES = 64  # of a device that are tried: the widest first
_ELSEWHERE = tuple(int(IPv4Address(text)) for text in ("198.51.100.1", "203.0.113.1", "192.0.2.1"))  # RFC 5737
_RP_FILTER, _VALID_MARK = "net.ipv4.conf.{}.rp_filter", "net.ipv4.conf.{}.src_valid_mark"


def asymmetric(facts: MapFacts) -> Iterator[Finding]:
    """Yield the devices with rp_filter strict through which packets leave whose way back is another device."""
    for space in facts.hosts.namespaces():
        devices = [one for one in space.devices.values() if one.link.up and one.link.arphrd != ARPHRD_LOOPBACK]
        strict = [one for one in devices if conf(space.sysctls, _RP_FILTER, one.link.name) == 1]
        if any("fwmark" in rule.selector for rule in space.rules):  # then the way back may depend on the mark
            strict = [one for one in strict if not conf(space.sysctls, _VALID_MARK, one.link.name)]
        if strict and len(devices) > 1 and "routes" in space.complete:
            index = RouteIndex((one for one in space.routes if one.table != rt.RT_TABLE_LOCAL), AF_INET)
            for device in strict:
                yield from _of_device(space, device, index)


def _of_device(space: NamespaceMap, device: Device, index: RouteIndex) -> Iterator[Finding]:
    link = device.link
    used = {rule.table for rule in space.rules}
    held = {one.address: one.ifindex for one in space.addresses if one.family == AF_INET}
    own = [address for address, ifindex in held.items() if ifindex == link.ifindex]
    routes = (route for route in space.routes if route.family == AF_INET and route.kind == rt.RTN_UNICAST)
    through = [one for one in routes if one.table in used and _leaves_by(one, device)]
    for route in sorted(through, key=lambda one: one.length)[:_MAX_ROUTES]:
        source = next((one for one in _addresses_of(route, index) if one not in held), None)
        if source is None:
            continue
        back = _way_back(space, index, RouteQuery(IPv4Address(source), IPv4Address(own[0]) if own else None))
        if back is not None and not _leaves_by(back, device):
            name = space.name
            others = [name(hop.ifindex) for hop in back.hops]
            summary = (
                f"rp_filter is strict, and the way back to {IPv4Address(source)} is {' or '.join(others)}: "
                f"its packets are dropped when they come in by {link.name}"
            )
            lines = (f"by {link.name}: {route_words(route, name)}", f"way back: {route_words(back, name)}")
            settings = (_RP_FILTER.format(one) for one in ("all", link.name.replace(".", "/")))
            values = ", ".join(f"{one} = {space.sysctls.get(one)}" for one in settings)
            yield finding("asymmetric-route", summary, space, device, (*lines, values))
            return


def _leaves_by(route: Route, device: Device) -> bool:
    return any(hop.ifindex == device.link.ifindex for hop in route.hops)


def _addresses_of(route: Route, index: RouteIndex) -> list[int]:
    """Return some addresses that have this route and no more specific one."""
    span = 32 - route.length
    first = route.destination >> span << span
    several = [first + at for at in (*range(1, 5), (1 << span) - 2) if at < 1 << span] or [first]
    return [one for one in (several if route.length else _ELSEWHERE) if index.is_longest(one, route.length)]


def _way_back(space: NamespaceMap, index: RouteIndex, query: RouteQuery) -> Route | None:
    """Return the route that the policy rules lead to, without a mark; None: none, or a rule is not understood."""
    for rule, certain in matching(space.rules, query):
        if not certain:
            return None
        route = index.best(rule.table, query)
        if route is not None and route.kind != rt.RTN_THROW and not suppresses(rule, route):
            return route if route.kind == rt.RTN_UNICAST else None
    return None


CHECKS = (asymmetric,)
