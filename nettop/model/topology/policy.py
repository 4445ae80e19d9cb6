"""Policy rules: those that a packet matches, and the one that leads to the kernel's answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from nettop.decode.rtnetlink import Route
from nettop.decode.topology.objects import Device, PolicyRule
from nettop.decode.topology.policy_rules import DETACHED, UNRESOLVED, protocol_word
from nettop.linux import rtnetlink as rt
from nettop.linux.inet import IPPROTO_UDP
from nettop.linux.socket import AF_INET
from nettop.model.topology.route_query import RouteQuery

UNUSABLE = {rt.RTN_BLACKHOLE: "blackhole", rt.RTN_UNREACHABLE: "unreachable", rt.RTN_PROHIBIT: "prohibit"}
_ENDS = tuple(UNUSABLE.values())


@dataclass(frozen=True, slots=True)
class PolicyMatch:
    """The rule that decides, and the route of its table if that only refuses packets. `sure`: False for a guess."""

    rule: PolicyRule
    route: Route | None = None
    sure: bool = True


def vrf_table(master: Device | None) -> int:
    """Return the table of a device's master if that is a VRF; 0: it is none."""
    table = dict(master.parameters).get("table", "") if master is not None and master.link.kind == "vrf" else ""
    return int(table) if table.isdecimal() else 0


def deciding(
    rules: Sequence[PolicyRule], routes: Sequence[Route], query: RouteQuery, found: Route | None, vrf: int = 0
) -> PolicyMatch | None:
    """Return the rule that led to this route, or (None) to an error; None: no rule did.

    `vrf` is the table of the VRF that the packet's device is in.
    """
    sure = True
    for rule, certain in matching(rules, query):
        sure = sure and certain
        of = vrf if "l3mdev" in rule.selector else rule.table
        if found is not None:
            if of == found.table and not suppresses(rule, found):
                return PolicyMatch(rule, None, sure)
        elif rule.action.startswith(_ENDS):
            return PolicyMatch(rule, None, sure)
        elif of and (route := best_route(routes, of, query)) is not None and route.kind in UNUSABLE:
            return PolicyMatch(rule, route, sure)
    return None


def matching(rules: Sequence[PolicyRule], query: RouteQuery) -> Iterator[tuple[PolicyRule, bool]]:
    """Yield the rules that the packet reaches and matches, in order; False: their selector is not understood."""
    skip_to = -1
    for rule in sorted((one for one in rules if one.family == query.family), key=lambda one: one.priority):
        holds = None if rule.priority < skip_to else _holds(rule.selector.replace(f" {DETACHED}", "").split(), query)
        if rule.priority < skip_to or holds is False:
            continue
        if rule.action.startswith("goto "):
            skip_to = skip_to if UNRESOLVED in rule.action else int(rule.action.split()[1])
        else:
            yield rule, bool(holds)


def suppresses(rule: PolicyRule, route: Route) -> bool:
    """Return whether a rule leaves out a route of its table (suppress_prefixlength): the next rule decides then."""
    words = rule.action.split()
    return "suppress_prefixlength" in words and route.length <= int(words[words.index("suppress_prefixlength") + 1])


class RouteIndex:
    """The routes of a family by table and prefix, for many lookups."""

    def __init__(self, routes: Iterable[Route], family: int) -> None:
        self._width = 32 if family == AF_INET else 128
        self._of: dict[int, dict[int, dict[int, list[Route]]]] = {}  # by table, length, network
        for route in routes:
            if route.family == family:
                lengths = self._of.setdefault(route.table, {})
                network = route.destination >> (self._width - route.length)
                lengths.setdefault(route.length, {}).setdefault(network, []).append(route)
        self._of = {table: dict(sorted(lengths.items(), reverse=True)) for table, lengths in self._of.items()}

    def best(self, table: int, query: RouteQuery) -> Route | None:
        """Return the route of a table for the packet: the longest prefix, then the TOS, then the lowest metric."""
        address = int(query.destination)
        for length, networks in self._of.get(table, {}).items():
            fits = [one for one in networks.get(address >> (self._width - length), ()) if one.tos in (0, query.tos)]
            if fits:
                return min(fits, key=lambda route: (route.tos != query.tos, route.metric))
        return None

    def is_longest(self, address: int, length: int) -> bool:
        """Return whether no table has a longer prefix around the address."""
        longer = ((at, networks) for of in self._of.values() for at, networks in of.items() if at > length)
        return not any(address >> (self._width - at) in networks for at, networks in longer)


def best_route(routes: Iterable[Route], table: int, query: RouteQuery) -> Route | None:
    """Return what RouteIndex.best() returns, for one lookup."""
    return RouteIndex((route for route in routes if route.table == table), query.family).best(table, query)


def _holds(words: list[str], query: RouteQuery) -> bool | None:
    """Return whether a selector selects the packet; None: it has words that are not known here."""
    negated = words[:1] == ["not"]
    pairs = [*zip(words[negated::2], words[negated + 1 :: 2], strict=False)]
    try:
        results = [_selects(word, value, query) for word, value in pairs]
    except ValueError:  # the name of a device may be any words
        return None
    if False in results:
        return negated
    return None if None in results or len(words[negated:]) % 2 else not negated


def _selects(word: str, value: str, query: RouteQuery) -> bool | None:
    if word in ("from", "to"):
        return value == "all" or _within(value, query.source if word == "from" else query.destination)
    if word == "fwmark":
        mark, _, mask = value.partition("/")
        return int(mark, 0) == query.mark & int(mask or "0xffffffff", 0)
    if word in ("iif", "oif"):
        return value == ((query.in_device or "lo") if word == "iif" else query.out_device)
    if word in ("tos", "dsfield"):
        return int(value, 0) == query.tos & 0xFC
    if word == "ipproto":
        asked = query.proto or (IPPROTO_UDP if query.family == AF_INET else 0)  # the kernel's own choice
        return protocol_word(asked) == value
    if word in ("sport", "dport", "uidrange"):
        own = query.uid or 0 if word == "uidrange" else getattr(query, word)
        first, _, last = value.partition("-")
        return int(first) <= own <= int(last or first)
    return True if (word, value) == ("lookup", "[l3mdev-table]") else None


def _within(prefix: str, address: object) -> bool:
    network = ip_network(prefix, strict=False)
    return address in network if address is not None else network.prefixlen == 0
