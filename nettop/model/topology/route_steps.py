"""The way of a packet through the routing of a namespace, step by step, as the kernel answers it.

A step that no question to the kernel can answer is inferred from what is known of the namespace, or not evaluated;
each says which it is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from nettop.broker.requests import RouteQuestion
from nettop.decode.rtnetlink import Route, RouteAnswer
from nettop.linux import rtnetlink as rt
from nettop.linux.interface import ARPHRD_LOOPBACK, IFF_NOARP
from nettop.linux.socket import AF_INET
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.ip_words import destination_text, ip_text, route_words, rule_words, state_text, table_text
from nettop.model.topology.policy import UNUSABLE, PolicyMatch, deciding, vrf_table
from nettop.model.topology.route_case import TO_MANY, Case, HookRules, RouteReport, RouteStep, Status
from nettop.model.topology.route_input import REFUSED, comes_in
from nettop.model.topology.route_query import RouteQuery, question
from nettop.model.topology.sysctls import number
from nettop.text.units import plural

Ask = Callable[[RouteQuestion], RouteAnswer]

_NO_ROUTE = Route(AF_INET, 0, 0, 0, 0)
_MASTERS = ("bridge", "bond", "team")
_FAILED = 0x20  # NUD_FAILED, linux/neighbour.h
_ENDINGS = {  # of a packet that has no way: forwarded, and made here
    errno.EINVAL: ("dropped without an answer", "the program gets EINVAL"),
    errno.EHOSTUNREACH: ("answered with ICMP host unreachable", "the program gets EHOSTUNREACH"),
    errno.ENETUNREACH: ("answered with ICMP network unreachable", "the program gets ENETUNREACH"),
    errno.EACCES: ("answered with ICMP administratively prohibited", "the program gets EACCES"),
}


def explain(
    query: RouteQuery, here: NamespaceMap, ask: Ask, hooks: Mapping[str, HookRules] | None = None
) -> RouteReport:
    """Ask the kernel for the route of a packet and return its steps. `hooks` None: the rules are not known.

    `ask` puts a question in that namespace and may raise BrokerError. UsageError: no such device.
    """
    question(query, here.devices)  # the device that was given may be missing
    given, query = query, replace(query, in_device=_enters(query.in_device, here))
    asked = question(query, here.devices)
    case = Case(query, here, hooks, ask(replace(asked, fib_match=True)), ask(asked), given.in_device)
    if query.in_device:
        if case.chosen.error:
            case.without_in = ask(replace(asked, iif=0, source="", fib_match=True))
        if query.family == AF_INET:
            case.back = _way_back(case, asked, ask)
    steps = [step for make in _STEPS for step in make(case)]
    ends = next((at for at, step in enumerate(steps) if step.status == "drops"), len(steps))
    return RouteReport(given, tuple(steps[: ends + 1]), case.matched, case.chosen, case.back)


def _enters(name: str, here: NamespaceMap) -> str:
    """Return the device on which IP packets come in that arrive at a device: of a port its bridge, bond or team."""
    seen = set[str]()
    while name not in seen:
        seen.add(name)
        link = next((one.link for one in here.devices.values() if one.link.name == name), None)
        master = None if link is None else here.devices.get(link.master)
        if link is not None and link.up and master is not None and master.link.kind in _MASTERS:
            name = master.link.name
    return name


def _way_back(case: Case, asked: RouteQuestion, ask: Ask) -> RouteAnswer:
    """Return the route to the source, as rp_filter looks it up: to a packet that came in by the outgoing device."""
    mark = asked.mark if case.conf(4, "src_valid_mark") else 0
    ports = {"sport": asked.dport, "dport": asked.sport}
    back = replace(asked, destination=asked.source, source="", iif=0, mark=mark, fib_match=True, **ports)
    hop = next(iter((case.chosen.route or (case.without_in or case.chosen).route or _NO_ROUTE).hops), None)
    for source, iif in ((asked.destination, 0 if hop is None or case.is_local else hop.ifindex), ("", 0)):
        answer = ask(replace(back, source=source, iif=iif))
        if answer.error not in (*REFUSED, errno.EHOSTUNREACH):  # the answer may be refused, or not forwarded there
            return answer
    return answer


def _nat_before(case: Case) -> Iterator[RouteStep]:
    hook = "prerouting" if case.query.in_device else "output"
    count = None if case.hooks is None else case.hooks.get(hook, HookRules()).dstnat
    if count is None:
        yield RouteStep("NAT", "the rules are not known", "not evaluated")
    elif count:
        yield RouteStep("NAT", f"{plural(count, 'dstnat rule')} may rewrite the destination", "not evaluated")
    elif case.query.in_device:
        yield RouteStep("NAT", "no dstnat rule", "passes")


def _policy(case: Case) -> Iterator[RouteStep]:
    route = case.route
    if (case.refused and route is None) or (route is not None and not route.table):
        return  # a broadcast that no table has
    match = _match(case)
    if match is not None:
        yield RouteStep("policy", rule_words(match.rule) + ("" if match.sure else " (others may match)"), "inferred")


def _match(case: Case) -> PolicyMatch | None:
    here, name = case.here, case.query.in_device or case.query.out_device
    masters = (here.devices.get(one.link.master) for one in here.devices.values() if one.link.name == name)
    return deciding(here.rules, here.routes, case.query, case.route, max(map(vrf_table, masters), default=0))


def _route(case: Case) -> Iterator[RouteStep]:
    route = case.route
    if route is not None and not route.table:
        yield RouteStep("route", _without_table(case, route), "kernel")
    elif case.chosen.error == errno.EMSGSIZE and case.query.destination.is_multicast:
        yield RouteStep("route", "multicast: the kernel answers for none that comes in", "not evaluated")
    elif route is not None:
        text = route_words(route, case.here.name)
        hop = case.hop
        if len(route.hops) > 1 and hop is not None and not case.chosen.error:
            text += f"; this packet: {case.here.name(hop.ifindex)}"
        table = f" table {table_text(route.table)}" if route.table == rt.RT_TABLE_MAIN else ""
        source = case.chosen.source if not case.query.in_device and route.preferred is None else None
        text += table + (f" src {ip_text(route.family, source)}" if source is not None else "")
        yield RouteStep("route", text, "inferred" if case.chosen.error else "kernel")
    elif not case.refused:
        yield RouteStep("route", _no_route(case), "drops")


def _without_table(case: Case, route: Route) -> str:
    """Return the route of a packet for which no table has one."""
    kind = TO_MANY.get(route.kind)
    device = "".join(f" dev {case.here.name(hop.ifindex)}" for hop in route.hops[:1])
    why = f"{kind}, for which no table is needed" if kind else "in no table: on the link of the device that was given"
    return f"{case.query.destination}{device}: {why}"


def _no_route(case: Case) -> str:
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


def _forward(case: Case) -> Iterator[RouteStep]:
    route, name = case.route, case.query.in_device
    if route is None:
        return
    if case.is_local:
        kind = TO_MANY.get(route.kind)
        owners = [case.here.name(hop.ifindex) for hop in route.hops]
        owner = f", an address of {owners[0]}" if owners and kind is None else ""
        yield RouteStep("local", f"{kind} to this host" if kind else f"to this host{owner}", "kernel")
    elif name:
        yield _forwarding(case, 4 if case.query.family == AF_INET else 6)


def _forwarding(case: Case, version: int) -> RouteStep:
    name, values = case.query.in_device, case.here.sysctls
    known = case.conf(version, "forwarding")
    if known is None:
        return RouteStep("forward", "the sysctls are not known", "not evaluated")
    if version == 4:
        text = f"ip_forward {number(values, 'net.ipv4.ip_forward')}, {name} forwarding {known}"
        return RouteStep("forward", text, "passes" if known else "drops")
    source, hop = case.query.source, case.hop
    if source is not None and source.is_link_local and hop is not None and case.here.name(hop.ifindex) != name:
        return RouteStep("forward", f"{source} is an address of the link: answered with ICMP beyond scope", "drops")
    forced = case.conf(6, "force_forwarding")
    text = f"all forwarding {known}" + (f", {name} force_forwarding {forced}" if forced else "")
    return RouteStep("forward", text, "passes" if known or forced else "drops")


def _neighbour(case: Case) -> Iterator[RouteStep]:
    hop = case.hop
    device = None if hop is None else case.here.devices.get(hop.ifindex)
    if hop is None or device is None:
        return
    name = device.link.name
    if not device.link.up:
        yield RouteStep("neigh", f"{name} is down: nothing leaves", "drops")
        return
    if hop.encapsulation:
        yield RouteStep(
            "neigh", f"encap {hop.encapsulation}: what it makes of the packet is looked up again", "not evaluated"
        )
        return
    if device.link.flags & IFF_NOARP or device.link.arphrd == ARPHRD_LOOPBACK:
        yield RouteStep("neigh", f"{name} needs none", "passes")
        return
    family, address = hop.gateway or (case.query.family, int(case.query.destination))
    text = ip_text(family, address)
    found = case.here.neighbour(hop.ifindex, family, address)
    if found is None:
        asked = "ARP" if family == AF_INET else "neighbour discovery"
        yield RouteStep("neigh", f"{text} is not known yet: {asked} on {name} asks for it", "not evaluated")
        return
    mac, state = found.link_address.hex(":"), state_text(found)
    behind = case.here.port(hop.ifindex, found.link_address)
    port = f", port {behind.link.name}" if behind is not None else ""
    failed = " (it did not answer; the next packet asks again)" if found.state & _FAILED else ""
    yield RouteStep("neigh", " ".join(word for word in (text, mac, state) if word) + port + failed, "kernel")


def _mtu(case: Case) -> Iterator[RouteStep]:
    hop = case.hop
    out = None if hop is None else case.here.devices.get(hop.ifindex)
    if out is None:
        return
    leaves = min(case.chosen.mtu or out.link.mtu, out.link.mtu)
    of_route = " (of the route)" if case.chosen.mtu and case.chosen.mtu < out.link.mtu else ""
    of_route += ", before encap" if hop is not None and hop.encapsulation else ""
    enters = next((one.link.mtu for one in case.here.devices.values() if one.link.name == case.query.in_device), 0)
    text = (f"{enters} → " if enters else "") + f"{leaves}{of_route}"
    if enters > leaves:
        kind = "fragmentation needed" if case.query.family == AF_INET else "packet too big"
        text += f": larger packets are answered with ICMP {kind}" + (
            ", or fragmented without DF" if case.query.family == AF_INET else ""
        )
    yield RouteStep("MTU", text, "passes")


def _filter(case: Case) -> Iterator[RouteStep]:
    if case.route is None:
        return
    hooks = ["input"] if case.is_local else ["forward", "postrouting"]
    if not case.query.in_device:
        hooks = ["output", "input" if case.is_local else "postrouting"]
    if case.hooks is None:
        yield RouteStep("filter", "the rules are not known", "not evaluated")
        return
    found = {hook: case.hooks.get(hook, HookRules()) for hook in hooks}
    for hook, of in found.items():
        if of.drops_all:
            yield RouteStep("filter", f"a chain on {hook} has no rule, and its policy is drop", "drops")
    met = [
        f"{plural(of.rules, 'rule')}{' and policy drop' if of.policy_drop else ''} on {hook}"
        for hook, of in found.items()
        if of.rules or of.policy_drop
    ]
    status: Status = "not evaluated" if met else "passes"
    yield RouteStep("filter", ", ".join(met) or f"no rule on {' or '.join(hooks)}", status)
    if count := sum(of.srcnat for of in found.values()):
        yield RouteStep("NAT", f"{plural(count, 'srcnat rule')} may rewrite the source", "not evaluated")


_STEPS = (comes_in, _nat_before, _policy, _route, _forward, _neighbour, _mtu, _filter)
