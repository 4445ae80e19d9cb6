"""The map as plain text: a tree for each namespace, with its routes and unusual policy rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nettop.linux.rtnetlink import RT_TABLE_LOCAL
from nettop.model.map.rows import addresses_by_device
from nettop.model.topology import ip_words
from nettop.model.topology.device_words import about_namespace, kind_text, label_text
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.tree import tree_of
from nettop.text.units import grouped, plural

MOST_ROUTES = 50  # of a namespace: --json has all
_USUAL = frozenset((0, 32766, 32767))  # priorities of the rules that each namespace has


def tree_lines(hosts: HostMap, spaces: Sequence[NamespaceMap]) -> Iterator[str]:
    """Yield the lines of these namespaces, with an empty line between two."""
    for number, space in enumerate(spaces):
        if number:
            yield ""
        yield _title(space)
        yield from (f"  {line}" for line in _lines(hosts, space))


def _title(space: NamespaceMap) -> str:
    one = space.namespace
    facts = [label_text(one.label), about_namespace(one) if one.label else "", *(f"({mount})" for mount in one.mounts)]
    facts.append(plural(one.processes, "process", "processes") if one.processes else "")
    facts.append(f"not entered: {one.refusal}" if one.refusal else "")
    return "   ".join(fact for fact in facts if fact)


def _lines(hosts: HostMap, space: NamespaceMap) -> Iterator[str]:
    label = space.namespace.label
    drawn: list[tuple[str, str, str]] = []
    by_device = addresses_by_device(space)
    for branch in tree_of(space.devices):
        device = space.devices[branch.ifindex]
        name = "  " * branch.depth + device.link.name
        addresses = map(ip_words.prefix_text, by_device.get(branch.ifindex, ()))
        state = "up" if device.link.up else "down"
        drawn.append((name, f"{kind_text(hosts, label, device)}, {state}, mtu {device.link.mtu}", " ".join(addresses)))
    widths = [max((len(row[column]) for row in drawn), default=0) for column in (0, 1)]
    for name, kind, address in drawn:
        yield f"{name:{widths[0]}}  {kind:{widths[1]}}  {address}".rstrip()
    routes = [route for route in space.routes if route.table != RT_TABLE_LOCAL]
    for route in routes[:MOST_ROUTES]:
        yield f"route {ip_words.route_words(route, space.name)}"
    if len(routes) > MOST_ROUTES:
        yield f"… and {grouped(len(routes) - MOST_ROUTES)} more routes"
    for nexthop in space.nexthops[:MOST_ROUTES]:
        yield f"nexthop {ip_words.nexthop_words(nexthop, space.name)}"
    for rule in space.rules:
        if rule.priority not in _USUAL:
            yield f"rule {ip_words.rule_words(rule)}"
