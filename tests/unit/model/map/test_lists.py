"""The lists of the map: what ip(8) prints, of a namespace or a device, and long ones by the window only."""

from __future__ import annotations

import ipaddress
import time

import pytest

from nettop.decode.rtnetlink import Hop, Route
from nettop.decode.topology.objects import Neighbour, PolicyRule
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.model.filter.expression import parse
from nettop.model.map.lists import MapLists
from nettop.model.map.table import MapTable
from nettop.model.table import CopyDetail, SortKey, ViewSpec
from nettop.model.topology.ip_words import route_words
from tests.unit.model.map.hosts import device, host_map, namespace, put, route, screens

COLUMNS = MapLists.default_columns


def lists() -> tuple[MapLists, MapTable]:
    table = MapTable(screens(), lambda: "gw-a")
    return MapLists(table), table


def words(found: MapLists, scope: int, what: str, text: str = "") -> list[str]:
    spec = ViewSpec(COLUMNS, height=1000, scope=scope, group=what, filter=parse(text, "device"))
    return [row.cells[2] for row in found.snapshot(spec, 0).rows]


def test_routes_of_a_namespace_and_of_a_device() -> None:
    found, table = lists()
    assert words(found, table.idents.of("gw-a"), "routes") == [
        "192.168.1.0/24 dev eth0 scope link",
        "10.9.0.0/24 dev br-dmz scope link",
        "default via 100.100.100.2 dev eth1",
    ]
    assert words(found, table.idents.of("gw-a", 3), "routes") == ["default via 100.100.100.2 dev eth1"]


def test_addresses_neighbours_and_rules() -> None:
    found, table = lists()
    assert words(found, table.idents.of("gw-a", 3), "addresses") == [
        "inet 100.100.100.1/24 scope global dev eth1", "inet6 fe80::1/64 scope global dev eth1"
    ]  # fmt: skip
    assert words(found, table.idents.of("gw-a"), "neighbours") == [
        "192.168.1.2 dev eth0 lladdr 52:54:00:09:00:02 REACHABLE", "52:54:00:09:00:04 dev vm4 learned",
        "33:33:00:00:00:01 dev vm4 permanent"
    ]  # fmt: skip
    assert words(found, table.idents.of("gw-a", 2), "rules") == ["0: from all lookup local",
                                                                 "32766: from all lookup main"]  # fmt: skip


def test_neighbours_that_need_no_arp_are_left_out_as_ip_does() -> None:
    found, table = lists()
    one = int(ipaddress.ip_address("192.168.1.9"))
    states = [(64, 0), (0, 0), (64 | 128, 0), (64, 16), (64, 8), (32, 0)]
    table.hosts._of["gw-a"].neighbours = tuple(
        Neighbour(2, AF_INET, one + at, b"", state, flags) for at, (state, flags) in enumerate(states)
    )
    shown = words(found, table.idents.of("gw-a"), "neighbours")
    assert [line.split()[0] for line in shown] == [f"192.168.1.{n}" for n in (11, 12, 13, 14)]


def test_policy_rules_of_both_families_are_told_apart() -> None:
    found, table = lists()
    table.hosts._of["gw-a"].rules = tuple(
        PolicyRule(f, 0, "from all", "lookup local", 255) for f in (AF_INET, AF_INET6)
    )
    rows = found.snapshot(ViewSpec(COLUMNS, height=9, scope=table.idents.of("gw-a"), group="rules"), 0).rows
    assert [row.cells[1:] for row in rows] == [
        ("local", "0: from all lookup local"), ("local IPv6", "0: from all lookup local")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "count"), [("10.9.0.0", 1), ("net 10.0.0.0/8", 1), ("device eth*", 2), ("via", 1), ("not link", 1)]
)
def test_a_list_is_filtered_by_the_same_language(text: str, count: int) -> None:
    found, table = lists()
    assert len(words(found, table.idents.of("gw-a"), "routes", text)) == count


def test_an_empty_list_says_why() -> None:
    found, table = lists()

    def note(ident: int, what: str) -> str:
        return found.snapshot(ViewSpec(COLUMNS, scope=ident, group=what), 0).notes[0][0][0]

    assert note(table.idents.of("lan-a"), "routes") == "No routes in this namespace."
    assert note(table.idents.of("gw-a", 12), "routes") == "No routes of this device."
    assert note(table.idents.of("nsid 7"), "routes").startswith("Not known: this namespace cannot be entered")
    table.hosts._of["lan-a"].complete.discard("routes")
    assert note(table.idents.of("lan-a"), "routes") == "The routes have not been read yet."


def test_ten_thousand_routes_are_made_for_the_window_only() -> None:
    many = [route(f"10.{n >> 8}.{n & 255}.0/24", 2, "192.168.1.1") for n in range(10_000)]
    hosts = host_map(namespace("x", [device(2, "eth0")], routes=many))
    table = MapTable(hosts, lambda: "x")
    found, ident = MapLists(table), table.idents.of("x")
    spec = ViewSpec(COLUMNS, first=9_990, height=5, scope=ident, group="routes")
    start = time.thread_time()
    shown = found.snapshot(spec, 0)
    assert time.thread_time() - start < 1
    assert shown.matched == 10_000 and shown.rows[0].cells[2] == "10.39.6.0/24 via 192.168.1.1 dev eth0"
    assert shown.totals[0][0] == "10,000 routes of x"
    by_device = ViewSpec(COLUMNS, height=5, scope=ident, group="routes", sort=(SortKey("device"),))
    assert len(found.snapshot(by_device, 0).rows) == 5


def test_the_cursor_stays_on_its_route() -> None:
    found, table = lists()
    ident = table.idents.of("gw-a")
    spec = ViewSpec(COLUMNS, height=1000, scope=ident, group="routes")
    anchor = found.snapshot(spec, 0).rows[2].ident
    space = table.hosts._of["gw-a"]
    space.routes = (route("10.77.0.0/16", 2), *space.routes)
    put(table.hosts, space)
    again = found.snapshot(ViewSpec(COLUMNS, height=1000, scope=ident, group="routes", anchor=anchor), 0)
    assert again.anchor == 3


def test_a_row_has_its_line_to_copy() -> None:
    found, table = lists()
    row = found.snapshot(ViewSpec(COLUMNS, scope=table.idents.of("gw-a"), group="routes"), 0).rows[2]
    detail = found.detail(row.ident, 0)
    assert isinstance(detail, CopyDetail) and detail.copies == (("The line", "default via 100.100.100.2 dev eth1"),)


def test_routes_with_several_hops_and_of_other_kinds() -> None:
    names = {2: "eth0", 3: "eth1"}
    hops = (Hop(2, (AF_INET, 0x0A000001)), Hop(3, (AF_INET, 0x0A000002), True, 3))
    assert route_words(Route(AF_INET, 100, 1, 0, 0, hops, metric=5, protocol=186), names.__getitem__) == (
        "default table 100 proto bgp metric 5 nexthop via 10.0.0.1 dev eth0 weight 1"
        " nexthop via 10.0.0.2 dev eth1 weight 3 dead"
    )
    assert route_words(Route(AF_INET, 254, 7, 0x0A000000, 8), names.__getitem__) == "unreachable 10.0.0.0/8"
    assert route_words(Route(AF_INET, 255, 2, 0x0A000001, 32, (Hop(2),), scope=254), names.__getitem__) == (
        "local 10.0.0.1 dev eth0 table local scope host"
    )


def test_sysctls_say_their_value_and_what_it_does() -> None:
    found, table = lists()
    table.hosts._of["gw-a"].sysctls = {"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.eth0.rp_filter": "1"}
    shown = words(found, table.idents.of("gw-a", 2), "sysctls")
    assert shown == [
        "net.ipv4.conf.eth0.rp_filter = 1   check of a packet's source address by the route back to it (RFC 3704): "
        "strict: dropped unless the best route back to the source leaves by this device"
    ]
