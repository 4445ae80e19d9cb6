"""A question for a route under way: what is known of the namespace, what the kernel answered, and the steps."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nettop.decode.rtnetlink import Hop, Route, RouteAnswer
from nettop.linux import rtnetlink as rt
from nettop.model.topology.host_map import NamespaceMap
from nettop.model.topology.policy import UNUSABLE
from nettop.model.topology.route_query import RouteQuery
from nettop.model.topology.sysctls import conf

Status = Literal["passes", "drops", "kernel", "inferred", "not evaluated"]
TO_MANY = {rt.RTN_BROADCAST: "broadcast", rt.RTN_MULTICAST: "multicast", rt.RTN_ANYCAST: "anycast"}


@dataclass(frozen=True, slots=True)
class HookRules:
    """The rules that a packet may meet at a hook: all, and those that rewrite its destination or source."""

    rules: int = 0
    dstnat: int = 0
    srcnat: int = 0
    policy_drop: bool = False  # of a chain there
    drops_all: bool = False  # a chain there has no rule and the policy drop


@dataclass(frozen=True, slots=True)
class RouteStep:
    """One step. Texts are safe for a terminal."""

    topic: str  # in, NAT, policy, route, local, forward, neigh, MTU, filter
    text: str
    status: Status


@dataclass(frozen=True, slots=True)
class RouteReport:
    """The steps of a packet, and the answers of the kernel behind them."""

    query: RouteQuery
    steps: tuple[RouteStep, ...]
    matched: RouteAnswer  # the route with its prefix
    chosen: RouteAnswer  # the next hop of it
    back: RouteAnswer | None = None  # the way back to the source, of an IPv4 packet that comes in


@dataclass(slots=True)
class Case:
    """The question under way: what is known, and what the kernel answered."""

    query: RouteQuery
    here: NamespaceMap
    hooks: Mapping[str, HookRules] | None
    matched: RouteAnswer
    chosen: RouteAnswer
    arrives_at: str = ""  # the incoming device, or a port of it
    without_in: RouteAnswer | None = None  # the answer to the same packet made here, if it is refused as it comes in
    back: RouteAnswer | None = None
    refused: bool = False  # as it comes in, by its source or destination address

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
