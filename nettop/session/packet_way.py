"""The way of a packet through the hooks, by the kernel's answer: to this host, through it, or dropped in routing."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address

from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.decode.rtnetlink import Link, RouteAnswer
from nettop.errors import BrokerError, UsageError
from nettop.linux.rtnetlink import RTN_BROADCAST, RTN_MULTICAST, RTN_UNICAST
from nettop.linux.socket import AF_INET6
from nettop.model.topology.route_query import RouteQuery, parse, question_by_index
from nettop.pipeline.route_question import ask_route
from nettop.text.units import listed

FORM = "to 10.9.0.4 · to 10.9.0.4 from 10.0.3.7 in eth0 · in eth0 out eth1"
_REASONS = {
    errno.EHOSTUNREACH: "an unreachable route, no route, or forwarding is off",
    errno.ENETUNREACH: "no route",
    errno.EACCES: "a prohibit route",
    errno.EINVAL: "a blackhole route, or the source or destination address is refused",
    errno.EXDEV: "refused by rp_filter",
}
_SEVERAL = {RTN_BROADCAST: "a broadcast address", RTN_MULTICAST: "a multicast group"}
_FORWARDING6 = "net.ipv6.conf.all.forwarding"


@dataclass(frozen=True, slots=True)
class PacketWay:
    """The journey (a key of ruleset.matrix.JOURNEYS) of a packet, and the reason. Not safe for a terminal.

    `path` is IPv4, IPv6 or bridge; a bridged packet may pass the hooks of IP, too (`of_ip`).
    """

    journey: str
    reason: str
    path: str = "IPv4"
    of_ip: bool = True


def packet_way(broker: Broker, netns: Netns, text: str, links: Mapping[int, Link]) -> PacketWay:
    """Return the way of the packet that a text such as one of FORM describes. UsageError for a text that is none.

    `links` has the devices by ifindex: IP sees what comes in by a port of a bridge as coming in by the bridge.
    """
    devices = {device.name: device.ifindex for device in broker.devices(netns)}
    names = {index: name for name, index in devices.items()}
    bridges = {names[index]: names[link.master] for index, link in links.items() if _is_port(link, links, names)}
    words = text.split()
    if words[::2] == ["in", "out"] and len(words) == 4:
        entered, left = (_known(name, devices) for name in words[1::2])
        bridge = bridges.get(entered)
        if bridge is not None and bridge == bridges.get(left):
            return _bridged(broker, netns, f"{bridge} forwards it from {entered} to {left}", "iptables")
        return _between(broker, netns, bridge or entered, left)
    query = parse(text)
    bridge = bridges.get(query.in_device)
    ends = bridge or query.in_device, query.out_device
    iif, oif = (0 if not name else devices[_known(name, devices)] for name in ends)
    if iif and query.family == AF_INET6 and ip_address(query.destination).is_multicast:
        reason = f"{query.destination} is a multicast group: input sees its packets if this host is in it"
        return PacketWay("to this host", reason, "IPv6")  # the kernel answers EMSGSIZE
    answer = ask_route(broker, netns, question_by_index(query, iif, oif))
    hops = answer.route.hops if answer.route is not None and answer.route.kind == RTN_UNICAST else ()
    if bridge is not None and hops and hops[0].ifindex == iif and hops[0].gateway is None:
        tool = "ip6tables" if query.family == AF_INET6 else "iptables"
        return _bridged(broker, netns, f"{query.destination} is behind {bridge}, as {query.in_device} is", tool)
    found = of_answer(query, answer, names)
    if query.family != AF_INET6:
        return found
    if found.journey == "through it" and not _forwards_ipv6(broker, netns, names[iif]):
        found = replace(found, journey="ends in routing", reason=f"{_FORWARDING6} is 0: IPv6 is not forwarded")
    return replace(found, path="IPv6")


def _is_port(link: Link, links: Mapping[int, Link], names: Mapping[int, str]) -> bool:
    bridge = links.get(link.master)
    return bridge is not None and bridge.kind == "bridge" and {link.ifindex, link.master} <= {*names}


def _bridged(broker: Broker, netns: Netns, why: str, tool: str) -> PacketWay:
    """Return the way of a packet between two ports of a bridge: past the hooks of IP unless br_netfilter calls them."""
    name = f"net.bridge.bridge-nf-call-{tool}"
    try:
        with open(broker.open_sysctl(netns, name), encoding="ascii") as file:
            value = file.read().strip()
    except BrokerError:
        return PacketWay("bridged", f"{why}: the hooks of bridges only, br_netfilter is not loaded", "bridge", False)
    if value == "1":
        return PacketWay("bridged", f"{why}: the hooks of bridges, and in them those of IP, {name} is 1", "bridge")
    return PacketWay("bridged", f"{why}: the hooks of bridges only, {name} is {value}", "bridge", False)


def _known(name: str, devices: Mapping[str, int]) -> str:
    if name not in devices:
        raise UsageError(f"no device {name!r} in this namespace", f"there are {listed([*devices])}")
    return name


def _between(broker: Broker, netns: Netns, entered: str, left: str) -> PacketWay:
    """Return the way from a device to another one: through this host, if it forwards."""
    name = f"net.ipv4.conf.{_component(entered)}.forwarding"
    if not _is_on(broker, netns, name):
        return PacketWay("ends in routing", f"{name} is 0: IPv4 that comes in {entered} is not forwarded")
    return PacketWay("through it", f"in {entered}, out {left}: {name} is 1")


def _forwards_ipv6(broker: Broker, netns: Netns, entered: str) -> bool:
    """Return whether IPv6 is forwarded; the kernel's answer to a route does not depend on it."""
    if _is_on(broker, netns, _FORWARDING6):
        return True
    with suppress(BrokerError):  # it is new in Linux 6.17
        return _is_on(broker, netns, f"net.ipv6.conf.{_component(entered)}.force_forwarding")
    return False


def _is_on(broker: Broker, netns: Netns, name: str) -> bool:
    with open(broker.open_sysctl(netns, name), encoding="ascii") as file:
        return file.read().strip() == "1"


def _component(device: str) -> str:
    """Return the name of a device in that of a sysctl: `eth0/100`."""
    return device.replace(".", "/")


def of_answer(query: RouteQuery, answer: RouteAnswer, devices: Mapping[int, str]) -> PacketWay:
    """Return the way of a packet by the kernel's answer to the question for its route."""
    route, address = answer.route, query.destination
    if answer.error or route is None:
        why = _REASONS.get(answer.error, "")
        said = os.strerror(answer.error) if answer.error else "no route"
        return PacketWay("ends in routing", f"{address}: {said}" + (f" ({why})" if why else ""))
    out = devices.get(route.hops[0].ifindex, "?") if route.hops else "?"
    if several := _SEVERAL.get(route.kind):
        if query.in_device:
            return PacketWay("to this host", f"{address} is {several} that this host receives")
        return PacketWay("from this host", f"{address} is {several}: it leaves by {out}")
    if route.kind != RTN_UNICAST:
        journey = "to this host" if query.in_device else "over loopback"
        return PacketWay(journey, f"{address} is an address of this host")
    return PacketWay("through it" if query.in_device else "from this host", f"{address} leaves by {out}")
