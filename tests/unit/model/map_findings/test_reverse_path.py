"""The check of rp_filter where the kernel cannot be asked: it follows VRFs and says nothing in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from nettop.broker.requests import RouteQuestion
from nettop.decode.rtnetlink import Route
from nettop.decode.topology.objects import PolicyRule
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.reverse_path import asymmetric
from nettop.model.topology.host_map import NamespaceMap
from tests.unit.model.map.hosts import address, device, host_map, namespace, route

RULES = (
    PolicyRule(AF_INET, 0, "from all", "lookup local", 255),
    PolicyRule(AF_INET, 1000, "from all lookup [l3mdev-table]", ""),
    PolicyRule(AF_INET, 32766, "from all", "lookup main", 254),
)


def in_vrf(*routes: Route, rules: Sequence[PolicyRule] = RULES) -> NamespaceMap:
    """A namespace with e2 and e3 in a VRF of table 10 and eth0 outside of it, all strict."""
    vrf = device(9, "red", "vrf", parameters=(("table", "10"),))
    ports = [device(number, f"e{number}", "veth", master=9, master_kind="vrf") for number in (2, 3)]
    held = [address(number, f"10.{number}.0.1/24") for number in (2, 3, 4)]
    sysctls = {f"net.ipv4.conf.{name}.rp_filter": "1" for name in ("all", "e2", "e3", "eth0")}
    found = namespace("a", [*ports, device(4, "eth0"), vrf], held, routes, sysctls)
    found.rules = tuple(rules)
    return found


def found(space: NamespaceMap, drops: bool | None = None) -> list[str]:
    """The devices with the finding; `drops` is what the kernel answers to each question, None: it is not asked."""
    ask = None if drops is None else lambda _, question: bool(drops) and isinstance(question, RouteQuestion)
    return [str(dict(one.place)["device"]) for one in asymmetric(MapFacts(host_map(space), drops=ask))]


def by(ifindex: int, metric: int = 0, table: int = 10) -> Route:
    return replace(route("0.0.0.0/0", ifindex, f"10.{ifindex}.0.254", table), metric=metric)


def test_the_way_back_of_a_port_of_a_vrf_is_in_the_table_of_the_vrf() -> None:
    assert found(in_vrf(by(2, 1), by(3, 2), by(4, table=254))) == ["e3"]
    assert found(in_vrf(by(2), by(4, table=254))) == [], "the route of main is not that of the VRF"
    leaked = in_vrf(by(2), by(3, table=254))
    assert found(leaked) == ["e3"], "main sends by e3, and answers are looked up in the VRF"


@pytest.mark.parametrize(
    "selector", ["from all ipproto tcp", "from all dport 80", "from all sport 1-9", "from all tos 0x10"]
)
def test_rules_for_some_packets_only_are_no_ground_for_a_finding(selector: str) -> None:
    some = PolicyRule(AF_INET, 50, selector, "lookup 7", 7)
    assert found(in_vrf(by(2, 1), by(3, 2), rules=(some, *RULES)), drops=True) == []
    other_family = replace(some, family=AF_INET6)
    assert found(in_vrf(by(2, 1), by(3, 2), rules=(other_family, *RULES))) == ["e3"]


def test_the_kernel_has_the_last_word() -> None:
    space = in_vrf(by(2, 1), by(3, 2))
    assert found(space, drops=True) == ["e3"] and found(space, drops=False) == []
    unknown = PolicyRule(AF_INET, 50, "from all unheard of", "lookup 7", 7)
    assert found(in_vrf(by(2, 1), by(3, 2), rules=(unknown, *RULES))) == [], "a rule that is not understood"
    assert found(in_vrf(by(2, 1), by(3, 2), rules=(unknown, *RULES)), drops=True) == ["e2", "e3"]


def test_a_port_of_a_bridge_routes_no_packet() -> None:
    space = in_vrf(by(2, 1), by(3, 2))
    space.devices[9] = device(9, "br0", "bridge")
    space.devices |= {number: replace(space.devices[number], master_kind="bridge") for number in (2, 3)}
    assert found(space, drops=True) == []


def test_ipv6_has_no_rp_filter() -> None:
    space = in_vrf(route("::/0", 2, "fd00::1"), replace(route("::/0", 3, "fd01::1"), metric=9))
    assert found(space, drops=True) == []
