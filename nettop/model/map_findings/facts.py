"""The facts that the checks of the map read: all namespaces, and the rules of those whose rules are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nettop.broker.requests import RouteQuestion
from nettop.decode.rtnetlink import Address
from nettop.decode.topology.objects import Device
from nettop.linux.interface import ARPHRD_LOOPBACK
from nettop.linux.socket import AF_INET
from nettop.model.findings import Finding
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.topology.device_words import label_text
from nettop.model.topology.host_map import HostMap, NamespaceMap


@dataclass(frozen=True, slots=True)
class MapFacts:
    """All that is known. `ruleset` returns the rules of a namespace by its label; None: they were not read.

    `drops` returns whether the kernel drops a packet that comes in there; None: it cannot be asked (a recording).
    """

    hosts: HostMap
    ruleset: Callable[[str], Ruleset | None] = lambda label: None
    drops: Callable[[NamespaceMap, RouteQuestion], bool] | None = None

    def devices(self) -> Iterator[tuple[NamespaceMap, Device]]:
        """Yield the devices of all namespaces but for loopback."""
        for space in self.hosts.namespaces():
            for device in space.devices.values():
                if device.link.arphrd != ARPHRD_LOOPBACK:
                    yield space, device

    def lower(self, space: NamespaceMap, device: Device) -> tuple[NamespaceMap, Device] | None:
        """Return the lower device, or the other end of a pair, with its namespace; None: none, or not known."""
        place = self.hosts.peer(space.namespace.label, device.link.ifindex)
        found, there = self.hosts.device(place), None if place is None else self.hosts.of(place[0])
        return None if found is None or there is None else (there, found)


def finding(
    name: str, summary: str, space: NamespaceMap, device: Device | None = None, evidence: tuple[str, ...] = ()
) -> Finding:
    """Return a finding about a namespace, or a device in it."""
    place: tuple[tuple[str, str | int | None], ...] = (("netns", space.namespace.label),)
    if device is not None:
        place = (*place, ("device", device.link.name), ("ifindex", device.link.ifindex))
    return Finding(name, summary, place, evidence)


def at(space: NamespaceMap, device: Device) -> str:
    """Return `eth0 in lan-a`."""
    return f"{device.link.name} in {label_text(space.namespace.label)}"


def subnet(address: Address) -> tuple[int, int, int]:
    """Return family, network and length of an address's prefix."""
    shift = max(0, (32 if address.family == AF_INET else 128) - address.length)
    return address.family, address.peer >> shift << shift, address.length


def is_global(address: Address) -> bool:
    """Return whether an address is neither of the link nor of the host alone."""
    return address.scope == 0
