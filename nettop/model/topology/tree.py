"""The devices of a namespace as a tree: ports below their bridge, VLANs and the like below their lower device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nettop.decode.topology.objects import Device
from nettop.linux.interface import ARPHRD_LOOPBACK

PAIRS = frozenset(("veth", "netkit", "vxcan"))  # kinds whose IFLA_LINK is the other end, not a lower device
_DEEPEST = 8  # levels that are indented


@dataclass(frozen=True, slots=True)
class DeviceBranch:
    """One device of the tree. `depth` is 0 for a device that is below no other one."""

    ifindex: int
    depth: int
    children: bool
    last: bool  # of its parent's children


def lower_of(device: Device) -> int:
    """Return the ifindex of the lower device in the same namespace; 0: none."""
    link = device.link
    return 0 if link.kind in PAIRS or link.peer_nsid is not None or link.lower == link.ifindex else link.lower


def tree_of(devices: Mapping[int, Device]) -> list[DeviceBranch]:
    """Return every device once, parents first. Devices that are below each other in a loop come last."""
    below: dict[int, list[int]] = {}
    order = sorted(devices, key=lambda index: (devices[index].link.arphrd == ARPHRD_LOOPBACK, index))
    for index in order:
        link = devices[index].link
        parents = (p for p in (link.master, lower_of(devices[index])) if p in devices and p != index)
        below.setdefault(next(parents, 0), []).append(index)
    found: dict[int, DeviceBranch] = {}
    for start in (*below.get(0, ()), *order):
        _add(start, below, found)
    return list(found.values())


def _add(start: int, below: Mapping[int, list[int]], found: dict[int, DeviceBranch]) -> None:
    """Add a device and those below it, unless they are there."""
    pending = [(start, 0, True)]
    while pending:
        index, depth, last = pending.pop()
        if index not in found:
            children = below.get(index, [])
            found[index] = DeviceBranch(index, min(depth, _DEEPEST), bool(children), last)
            pending += [(child, depth + 1, child == children[-1]) for child in reversed(children)]
