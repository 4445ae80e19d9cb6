"""The map as a graph in the DOT language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nettop.decode.topology.objects import Device
from nettop.model.map.rows import addresses_by_device
from nettop.model.topology.device_words import about_namespace, label_text
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.ip_words import prefix_text
from nettop.model.topology.tree import PAIRS

Place = tuple[str, int]  # a device: label of its namespace, ifindex


def graph_lines(hosts: HostMap, spaces: Sequence[NamespaceMap]) -> Iterator[str]:
    """Yield the lines of a graph: a cluster for each namespace, a node for each device.

    Solid edges are pairs and the ports of a master, dashed ones lead to a lower device.
    """
    ids = {
        (space.namespace.label, ifindex): f"d{number}_{ifindex}"
        for number, space in enumerate(spaces)
        for ifindex in space.devices
    }
    yield "graph nettop {"
    yield "  node [shape=box]"
    for number, space in enumerate(spaces):
        label = space.namespace.label
        yield f"  subgraph cluster_{number} {{"
        yield f"    label={_quoted(label_text(label), about_namespace(space.namespace) if label else '')}"
        by_device = addresses_by_device(space)
        for ifindex, device in space.devices.items():
            addresses = map(prefix_text, by_device.get(ifindex, ()))
            yield f"    {ids[label, ifindex]} [label={_quoted(device.link.name, _kind(device), *addresses)}]"
        yield "  }"
    for space in spaces:
        yield from (f"  {edge}" for edge in _edges(hosts, space, ids))
    yield "}"


def _kind(device: Device) -> str:
    return " ".join(word for word in (device.link.kind, dict(device.parameters).get("mode", "")) if word)


def _edges(hosts: HostMap, space: NamespaceMap, ids: dict[Place, str]) -> Iterator[str]:
    label = space.namespace.label
    for ifindex, device in space.devices.items():
        here, link = ids[label, ifindex], device.link
        if (label, link.master) in ids:
            yield f"{ids[label, link.master]} -- {here}"
        there = hosts.peer(label, ifindex)
        if there is None or there not in ids or there == (label, ifindex):
            continue
        if link.kind not in PAIRS:
            yield f"{here} -- {ids[there]} [style=dashed]"
        elif here < ids[there] or hosts.peer(*there) != (label, ifindex):
            yield f"{here} -- {ids[there]} [label={_quoted(link.kind)}]"


def _quoted(*lines: str) -> str:
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"') for line in lines if line]
    return '"' + "\\n".join(escaped) + '"'
