"""The way of a packet through the routing of a namespace, step by step, as the kernel answers it.

A step that no question to the kernel can answer is inferred from what is known of the namespace, or not evaluated;
each says which it is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from nettop.broker.requests import RouteQuestion
from nettop.decode.rtnetlink import Hop, Route, RouteAnswer
from nettop.linux import rtnetlink as rt
from nettop.linux.interface import ARPHRD_LOOPBACK, IFF_NOARP
from nettop.linux.socket import AF_INET
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.ip_words import destination_text, ip_text, route_words, rule_words, state_text, table_text
from nettop.model.topology.policy import UNUSABLE, PolicyMatch, deciding
from nettop.model.topology.route_query import RouteQuery, question
from nettop.model.topology.sysctls import conf, number
from nettop.text.units import grouped, plural

Status = Literal["passes", "drops", "kernel", "inferred", "not evaluated"]
Ask = Callable[[RouteQuestion], RouteAnswer]

_NO_ROUTE = Route(AF_INET, 0, 0, 0, 0)
_MODES = {0: "off", 1: "strict", 2: "loose"}
_FAILED = 0x20  # NUD_FAILED, linux/neighbour.h
_REFUSED = (errno.EINVAL, errno.EXDEV)  # of a source address: since 6.14 rp_filter has EINVAL, too
_LINKS = {rt.RTN_BROADCAST: "broadcast", rt.RTN_MULTICAST: "multicast", rt.RTN_ANYCAST: "anycast"}
_ENDINGS = {  # of a packet that has no way: forwarded, and made here
    errno.EINVAL: ("dropped without an answer", "the program gets EINVAL"),
    errno.EHOSTUNREACH: ("answered with ICMP host unreachable", "the program gets EHOSTUNREACH"),
    errno.ENETUNREACH: ("answered with ICMP network unreachable", "the program gets ENETUNREACH"),
    errno.EACCES: ("answered with ICMP administratively prohibited", "the program gets EACCES"),
}


@dataclass(frozen=True, slots=True)
class HookRules:
    """The rules that a packet may meet at a hook: all, and those that rewrite its destination or source."""

    rules: int = 0
    dstnat: int = 0
    srcnat: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Texts are safe for a terminal."""

    topic: str  # in, NAT, policy, route, local, forward, neigh, MTU, filter
    text: str
    status: Status


@dataclass(frozen=True, slots=True)
class RouteReport:
    """The steps of a packet, and the answers of the kernel behind them."""

    query: RouteQuery
    steps: tuple[Step, ...]
    matched: RouteAnswer  # the route with its prefix
    chosen: RouteAnswer  # the next hop of it
    back: RouteAnswer | None = None  # the way back to the source, of an IPv4 packet that comes in


@dataclass(slots=True)
class _Case:
    """The question under way: what is known, and what the kernel answered."""

    query: RouteQuery
    here: NamespaceMap
    hooks: Mapping[str, HookRules] | None
    matched: RouteAnswer
    chosen: RouteAnswer
    without_in: RouteAnswer | None = None  # the answer to the same packet made here, if it is refused as it comes in
    back: RouteAnswer | None = None
    refused: bool = field(default=False)  # as it comes in, by its source or destination address

    @property
    def route(self) -> Route | None:
        """The route, also that of a packet made here if one that comes in ends before it is routed on."""
        not_forwarded = self.chosen.error == errno.EHOSTUNREACH and self.conf(4, "forwarding") == 0
        if self.without_in is not None and (self.refused or not_forwarded):
            return self.without_in.route
        return self.matched.route or self.chosen.route

    @property
    def is_local(self) -> bool:
        """True if the packet is for this host."""
        return self.route is not None and self.route.kind not in (rt.RTN_UNICAST, *UNUSABLE)

    @property
    def hop(self) -> Hop | None:
        """The next hop that is chosen."""
        route = self.chosen.route or self.route
        return route.hops[0] if route is not None and route.hops and not self.is_local else None

    def conf(self, version: int, key: str) -> int | None:
        """Return the value in effect of a sysctl of the incoming device."""
        return conf(self.here.sysctls, f"net.ipv{version}.conf.{{}}.{key}", self.query.in_device)


def explain(
    query: RouteQuery, here: NamespaceMap, ask: Ask, hooks: Mapping[str, HookRules] | None = None
) -> RouteReport:
    """Ask the kernel for the route of a packet and return its steps. `hooks` None: the rules are not known.

    `ask` puts a question in that namespace and may raise BrokerError. UsageError: no such device.
    """
    asked = question(query, here.devices)
    case = _Case(query, here, hooks, ask(replace(asked, fib_match=True)), ask(asked))
    if query.in_device:
        if case.chosen.error:
            case.without_in = ask(replace(asked, iif=0, source="", fib_match=True))
        if query.family == AF_INET:
            case.back = _way_back(case, asked, ask)
    steps = [step for make in _STEPS for step in make(case)]
    ends = next((at for at, step in enumerate(steps) if step.status == "drops"), len(steps))
    return RouteReport(query, tuple(steps[: ends + 1]), case.matched, case.chosen, case.back)


def _way_back(case: _Case, asked: RouteQuestion, ask: Ask) -> RouteAnswer:
    """Return the route to the source, as rp_filter looks it up: to a packet that came in by the outgoing device."""
    mark = asked.mark if case.conf(4, "src_valid_mark") else 0
    ports = {"sport": asked.dport, "dport": asked.sport}
    back = replace(asked, destination=asked.source, source="", iif=0, mark=mark, fib_match=True, **ports)
    hop = next(iter((case.chosen.route or (case.without_in or case.chosen).route or _NO_ROUTE).hops), None)
    for source, iif in ((asked.destination, 0 if hop is None or case.is_local else hop.ifindex), ("", 0)):
        answer = ask(replace(back, source=source, iif=iif))
        if answer.error not in _REFUSED:  # the answer itself may be refused as it comes in there
            return answer
    return answer


def _in(case: _Case) -> Iterator[Step]:
    name = case.query.in_device
    device = next((one for one in case.here.devices.values() if one.link.name == name), None)
    if device is None:
        return
    if not device.link.up:
        yield Step("in", f"{name} is down: nothing comes in", "drops")
    elif case.query.family != AF_INET:
        case.refused = bool(case.conf(6, "disable_ipv6"))
        text = "IPv6 is disabled on it: dropped" if case.refused else "IPv6 has no rp_filter"
        yield Step("in", f"{name}, {text}", "drops" if case.refused else "passes")
    else:
        reason = _martian(case) if case.chosen.error in _REFUSED else ""
        text = f"{name}, {reason}" if reason else f"{name}, {_reverse_path(case)}"
        case.refused = bool(reason) or text.endswith("dropped")
        yield Step("in", text, "drops" if case.refused else "passes")


def _martian(case: _Case) -> str:
    """Return why the addresses of a packet cannot come in by a device (net/ipv4/route.c, ip_route_input_slow)."""
    source, destination = case.query.source, case.query.destination
    if source is None:
        return ""
    localnet = case.conf(4, "route_localnet")
    for word, address in (("source", source), ("destination", destination)):
        if int(address) >> 24 == 0 and int(address):
            return f"martian {word}: {address} is in 0.0.0.0/8"
        if address.is_loopback and not localnet:
            return f"martian {word}: {address} outside of lo, and route_localnet is 0"
    back = case.back.route if case.back is not None else None
    if source.is_multicast or int(source) == 0xFFFF_FFFF or (back is not None and back.kind in _LINKS):
        return f"martian source: {source} is no address of one host"
    own = any(one.address == int(source) for one in case.here.addresses if one.family == AF_INET)
    if own and not case.conf(4, "accept_local"):
        return f"martian source: {source} is an address of this host, and accept_local is 0"
    return ""


def _reverse_path(case: _Case) -> str:
    """Return the clause on rp_filter: its mode in effect, and the way back. It ends in "dropped" if that fails."""
    mode = case.conf(4, "rp_filter")
    word = "unknown" if mode is None else _MODES.get(mode, "loose")
    back = case.back or RouteAnswer(errno.ENETUNREACH)
    devices = [] if back.route is None else list(dict.fromkeys(case.here.name(hop.ifindex) for hop in back.route.hops))
    way = f"way back is {' or '.join(devices)}" if devices else "there is no way back"
    matches = case.query.in_device in devices
    failed = bool(mode) and not matches and (mode == 1 or not devices)
    asymmetric = "" if matches or not devices else " (asymmetric)"
    dropped = failed and case.chosen.error in _REFUSED
    return f"rp_filter {word}: {way}{', dropped' if dropped else asymmetric}"


def _nat_before(case: _Case) -> Iterator[Step]:
    hook = "prerouting" if case.query.in_device else "output"
    count = None if case.hooks is None else case.hooks.get(hook, HookRules()).dstnat
    if count is None:
        yield Step("NAT", "the rules are not known", "not evaluated")
    elif count:
        yield Step("NAT", f"{plural(count, 'dstnat rule')} may rewrite the destination", "not evaluated")
    elif case.query.in_device:
        yield Step("NAT", "no dstnat rule", "passes")


def _policy(case: _Case) -> Iterator[Step]:
    route = case.route
    if (case.refused and route is None) or (route is not None and not route.table):
        return  # a broadcast that no table has
    match = _match(case)
    if match is not None:
        yield Step("policy", rule_words(match.rule) + ("" if match.sure else " (others may match)"), "inferred")


def _match(case: _Case) -> PolicyMatch | None:
    route, here = case.route, case.here
    masters = (here.devices.get(one.link.master) for one in here.devices.values() if one.link.name == _of(case.query))
    vrf = next((dict(one.parameters).get("table", "") for one in masters if one and one.link.kind == "vrf"), "")
    return deciding(here.rules, here.routes, case.query, route, int(vrf) if vrf.isdecimal() else 0)


def _of(query: RouteQuery) -> str:
    return query.in_device or query.out_device


def _route(case: _Case) -> Iterator[Step]:
    route = case.route
    if route is not None and not route.table:
        yield Step("route", _without_table(case, route), "kernel")
    elif case.chosen.error == errno.EMSGSIZE and case.query.destination.is_multicast:
        yield Step("route", "multicast: the kernel answers for none that comes in", "not evaluated")
    elif route is not None:
        text = route_words(route, case.here.name)
        hop = case.hop
        if len(route.hops) > 1 and hop is not None and not case.chosen.error:
            text += f"; this packet: {case.here.name(hop.ifindex)}"
        table = f" table {table_text(route.table)}" if route.table == rt.RT_TABLE_MAIN else ""
        sources = case.chosen.source if not case.query.in_device else None
        text += table + (f" src {ip_text(route.family, sources)}" if sources is not None else "")
        yield Step("route", text, "inferred" if case.chosen.error else "kernel")
    elif not case.refused:
        yield Step("route", _no_route(case), "drops")


def _without_table(case: _Case, route: Route) -> str:
    """Return the route of a packet for which no table has one."""
    kind = _LINKS.get(route.kind)
    device = "".join(f" dev {case.here.name(hop.ifindex)}" for hop in route.hops[:1])
    why = f"{kind}, for which no table is needed" if kind else "in no table: on the link of the device that was given"
    return f"{case.query.destination}{device}: {why}"


def _no_route(case: _Case) -> str:
    """Return the error of the kernel in words, the route or rule behind it, and what becomes of the packet."""
    number, match, source = case.chosen.error or case.matched.error, _match(case), case.query.source
    if case.query.in_device and case.query.destination.is_multicast:
        return f"multicast: nothing on this host is a member of {case.query.destination}, and it does not route it"
    own = {(one.family, one.address) for one in case.here.addresses}
    if source is not None and not case.query.in_device and (case.query.family, int(source)) not in own:
        return f"{source} is no address of this host, so it sends nothing from it"
    if match is None and source is not None and source.is_loopback and number == errno.EINVAL:
        return f"{source} is of lo, and nothing from it leaves by another device (route_localnet)"
    if match is None and number == errno.ENETUNREACH:
        cause = f"no route to {case.query.destination}"
    elif match is None:
        cause = f"the kernel refuses: {os.strerror(number)}"
    elif match.route is None:
        cause = f"the policy rule says {match.rule.action}"
    else:
        found = match.route
        cause = f"{UNUSABLE[found.kind]} {destination_text(found)} in table {table_text(found.table)}"
    ending = _ENDINGS.get(number)
    return f"{cause}: {ending[0 if case.query.in_device else 1]}" if ending else cause


def _forward(case: _Case) -> Iterator[Step]:
    route, name = case.route, case.query.in_device
    if route is None:
        return
    if case.is_local:
        kind = _LINKS.get(route.kind)
        owners = [case.here.name(hop.ifindex) for hop in route.hops]
        owner = f", an address of {owners[0]}" if owners and kind is None else ""
        yield Step("local", f"{kind} to this host" if kind else f"to this host{owner}", "kernel")
    elif name:
        yield _forwarding(case, 4 if case.query.family == AF_INET else 6)


def _forwarding(case: _Case, version: int) -> Step:
    name, values = case.query.in_device, case.here.sysctls
    known = case.conf(version, "forwarding")
    if known is None:
        return Step("forward", "the sysctls are not known", "not evaluated")
    if version == 4:
        text = f"ip_forward {number(values, 'net.ipv4.ip_forward')}, {name} forwarding {known}"
        return Step("forward", text, "passes" if known else "drops")
    forced = case.conf(6, "force_forwarding")
    text = f"all forwarding {known}" + (f", {name} force_forwarding {forced}" if forced else "")
    return Step("forward", text, "passes" if known or forced else "drops")


def _neighbour(case: _Case) -> Iterator[Step]:
    hop = case.hop
    device = None if hop is None else case.here.devices.get(hop.ifindex)
    if hop is None or device is None:
        return
    name = device.link.name
    if not device.link.up:
        yield Step("neigh", f"{name} is down: nothing leaves", "drops")
        return
    if device.link.flags & IFF_NOARP or device.link.arphrd == ARPHRD_LOOPBACK:
        yield Step("neigh", f"{name} needs none", "passes")
        return
    family, address = hop.gateway or (case.query.family, int(case.query.destination))
    text = ip_text(family, address)
    found = next(
        (
            one
            for one in case.here.neighbours
            if (one.ifindex, one.family, one.address) == (hop.ifindex, family, address)
        ),
        None,
    )
    if found is None:
        asked = "ARP" if family == AF_INET else "neighbour discovery"
        yield Step("neigh", f"{text} is not known yet: {asked} on {name} asks for it", "not evaluated")
        return
    mac, state = found.link_address.hex(":"), state_text(found)
    port = f", port {port}" if (port := _port(case, hop.ifindex, found.link_address)) else ""
    failed = " (it did not answer; the next packet asks again)" if found.state & _FAILED else ""
    yield Step("neigh", " ".join(word for word in (text, mac, state) if word) + port + failed, "kernel")


def _port(case: _Case, bridge: int, mac: bytes) -> str:
    """Return the port behind which a bridge has learned the MAC."""
    for entry in case.here.neighbours:
        port = case.here.devices.get(entry.ifindex) if entry.address is None and entry.link_address == mac else None
        if port is not None and port.link.master == bridge and mac:
            return port.link.name
    return ""


def _mtu(case: _Case) -> Iterator[Step]:
    hop = case.hop
    out = None if hop is None else case.here.devices.get(hop.ifindex)
    if out is None:
        return
    leaves = min(case.chosen.mtu or out.link.mtu, out.link.mtu)
    of_route = " (of the route)" if case.chosen.mtu and case.chosen.mtu < out.link.mtu else ""
    enters = next((one.link.mtu for one in case.here.devices.values() if one.link.name == case.query.in_device), 0)
    text = (f"{enters} → " if enters else "") + f"{leaves}{of_route}"
    if enters > leaves:
        kind = "fragmentation needed" if case.query.family == AF_INET else "packet too big"
        text += f": larger packets are answered with ICMP {kind}" + (
            ", or fragmented without DF" if case.query.family == AF_INET else ""
        )
    yield Step("MTU", text, "passes")


def _filter(case: _Case) -> Iterator[Step]:
    if case.route is None:
        return
    hooks = ["input"] if case.is_local else ["forward", "postrouting"]
    if not case.query.in_device:
        hooks = ["output", "input" if case.is_local else "postrouting"]
    if case.hooks is None:
        yield Step("filter", "the rules are not known", "not evaluated")
        return
    counts = {hook: case.hooks.get(hook, HookRules()).rules for hook in hooks}
    with_rules = [f"{grouped(count)} on {hook}" for hook, count in counts.items() if count]
    if with_rules:
        several = "rule" if sum(counts.values()) == 1 else "rules"
        yield Step("filter", f"{several}: {', '.join(with_rules)}", "not evaluated")
    else:
        yield Step("filter", f"no rule on {' or '.join(hooks)}", "passes")


_STEPS = (_in, _nat_before, _policy, _route, _forward, _neighbour, _mtu, _filter)
