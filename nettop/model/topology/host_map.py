"""Every namespace of the host with its devices, addresses, routes, neighbours and sysctls, kept from dumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nettop.decode.rtnetlink import Address, Route
from nettop.decode.topology.objects import Device, Namespace, Neighbour, PolicyRule, PortVlan, Queue


@dataclass(slots=True)
class NamespaceMap:
    """One namespace. A part that was not read yet is not in `complete`: unknown is not empty."""

    namespace: Namespace
    devices: dict[int, Device] = field(default_factory=dict)  # by ifindex
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()  # with the entries of forwarding databases
    vlans: tuple[PortVlan, ...] = ()
    queues: tuple[Queue, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)  # "net.ipv4.ip_forward" → "1"
    complete: set[str] = field(default_factory=set)  # names of these fields
    rates: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)  # in, out bytes/s; drops/s


class HostMap:
    """The model of the map's streams."""

    def __init__(self) -> None:
        self.version = 0
        self._of: dict[str, NamespaceMap] = {}  # by label

    def namespaces(self) -> Sequence[NamespaceMap]:
        """Return all namespaces: the one nettop was started in first, then by name, by process, by nsid."""
        return tuple(self._of.values())

    def of(self, label: str) -> NamespaceMap | None:
        """Return a namespace by its label; None: unknown."""
        return self._of.get(label)

    def peer(self, label: str, ifindex: int) -> tuple[str, int] | None:
        """Return (label, ifindex) of the other end of a veth, or of the lower device; None: unknown or none."""
        here = self._of.get(label)
        device = here.devices.get(ifindex) if here else None
        if here is None or device is None or not device.link.lower:
            return None
        there = label if device.link.peer_nsid is None else self._seen_as(here.namespace, device.link.peer_nsid)
        return None if there is None else (there, device.link.lower)

    def _seen_as(self, namespace: Namespace, nsid: int) -> str | None:
        inode = namespace.nsids.get(nsid)
        return next((label for label, known in self._of.items() if inode and known.namespace.inode == inode), None)
