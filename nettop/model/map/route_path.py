"""The boxes and devices of the drawing that a packet goes through, by the answer to a question for its route."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nettop.decode.rtnetlink import Hop
from nettop.model.map.idents import MapIdents
from nettop.model.table import Detail
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.route_case import RouteReport
from nettop.model.topology.tree import PAIRS

_DEEPEST = 8  # devices below each other


@dataclass(frozen=True, slots=True)
class RouteDetail(Detail):
    """The steps of a packet, and the idents of what it goes through."""

    path: frozenset[int] = frozenset()


def route_path(hosts: HostMap, idents: MapIdents, label: str, report: RouteReport) -> frozenset[int]:
    """Return the idents of the namespaces and devices, up to the other ends of the links by which it comes and goes."""
    space = hosts.of(label)
    if space is None:
        return frozenset()
    names = {device.link.name: ifindex for ifindex, device in space.devices.items()}
    ways = [names[report.query.in_device]] if report.query.in_device in names else []
    ways += [] if any(step.status == "drops" for step in report.steps) else _leaves(space, report)
    path = {idents.of(label)}
    for ifindex in ways:
        for place in _along(hosts, label, ifindex):
            path |= {idents.of(place[0]), idents.of(*place)} if hosts.device(place) else set()
    return frozenset(path)


def _leaves(space: NamespaceMap, report: RouteReport) -> list[int]:
    """Return the device by which the packet leaves, and of a bridge the port; none if it is for this host."""
    route = report.chosen.route
    hop = route.hops[0] if route is not None and route.hops else Hop(0)
    if any(step.topic == "local" for step in report.steps) or not hop.ifindex:
        return []
    found = space.neighbour(hop.ifindex, *(hop.gateway or (report.query.family, int(report.query.destination))))
    port = None if found is None else space.port(hop.ifindex, found.link_address)
    return [hop.ifindex, *([] if port is None else [port.link.ifindex])]


def _along(hosts: HostMap, label: str, ifindex: int) -> Iterator[tuple[str, int]]:
    """Yield a device and its master, and the same of those below it, or of the other end of its pair."""
    place, crossed = (label, ifindex), False
    for _ in range(_DEEPEST):
        device = hosts.device(place)
        if device is None:
            return
        yield from (place, (place[0], device.link.master))
        there = hosts.peer(*place)
        if there is None or there == place or crossed:
            return
        place, crossed = there, device.link.kind in PAIRS
