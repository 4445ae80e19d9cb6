"""Which devices a flow comes in and leaves by, from the routes as a dump told them."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np

from nettop.batch import DumpMark
from nettop.columns import Strings
from nettop.decode.rtnetlink import Address, Hop, Link, Route, RouteRows
from nettop.linux.rtnetlink import RT_TABLE_LOCAL, RTN_BLACKHOLE, RTN_BROADCAST, RTN_LOCAL, RTN_UNICAST
from nettop.model.flows.cells import RowView, row_views
from nettop.model.flows.devices import FlowDevices
from nettop.model.topology import routing as module
from nettop.model.topology.routing import Routing
from tests.unit.model.flows.flow_rows import columns, ip, row

HERE = 0
LINKS = [Link(1, "lo"), Link(2, "lan0"), Link(3, "wan0"), Link(4, "dmz0")]


def net(text: str, *oifs: int, kind: int = RTN_UNICAST, table: int = 254, **more: Any) -> Route:
    network = ipaddress.ip_network(text)
    family = 2 if network.version == 4 else 10
    hops = tuple(Hop(oif) for oif in oifs)
    return Route(family, table, kind, int(network.network_address), network.prefixlen, hops, **more)


def local(text: str, oif: int, kind: int = RTN_LOCAL) -> Route:
    return net(text, oif, kind=kind, table=RT_TABLE_LOCAL)


GATEWAY = [
    local("127.0.0.0/8", 1),
    local("192.168.1.1/32", 2),
    local("192.168.1.255/32", 2, RTN_BROADCAST),
    local("100.100.100.1/32", 3),
    net("192.168.1.0/24", 2),
    net("100.100.100.0/24", 3),
    net("10.66.0.0/16", kind=RTN_BLACKHOLE),
    net("0.0.0.0/0", 3, metric=100),
]


def told(routing: Routing, routes: list[Route], complete: bool = True, netns: int = HERE) -> None:
    """A whole turn of dumps."""
    for what, rows in (
        ("links", RouteRows(links=LINKS)),
        ("addresses", RouteRows()),
        ("routes", RouteRows(routes=routes)),
    ):
        routing.apply(DumpMark(1, 0, 0, what, begin=True), netns, 0)
        routing.apply(rows, netns, 0)
        routing.apply(DumpMark(1, 0, 0, what, begin=False, complete=complete), netns, 0)


def gateway(*more: Route) -> Routing:
    routing = Routing()
    told(routing, [*GATEWAY, *more])
    return routing


def view(src: str, dst: str, reply_src: str = "", netns: int = HERE) -> RowView:
    values = row(src=src, dst=dst) | ({"rsrc_lo": ip(reply_src)} if reply_src else {})
    data = columns(values).data | {"netns": np.array([netns], np.uint16)}
    return row_views(data, np.array([0]), Strings(), lambda code: "")[0]


def test_a_forwarded_flow_comes_in_by_the_lan_and_leaves_by_the_wan() -> None:
    routing, flow = gateway(), view("192.168.1.2", "200.200.200.1")
    assert FlowDevices(routing).devices(flow) == ("lan0", "wan0")
    assert FlowDevices(routing).device([flow]) == [("lan0→wan0", "accent")]


def test_behind_dnat_the_device_is_that_of_who_really_answers() -> None:
    assert FlowDevices(gateway()).devices(view("200.1.1.1", "100.100.100.1", "192.168.1.80")) == ("wan0", "lan0")


def test_local_ends_say_local_and_loopback_is_lo() -> None:
    routing = gateway()
    assert FlowDevices(routing).devices(view("192.168.1.1", "9.9.9.9")) == ("local", "wan0")
    assert FlowDevices(routing).devices(view("192.168.1.2", "192.168.1.1")) == ("lan0", "local")
    assert FlowDevices(routing).device([view("127.0.0.1", "127.8.8.8")]) == [("lo", "accent")]


def test_blackholes_and_groups_are_no_devices() -> None:
    routing = gateway()
    assert FlowDevices(routing).devices(view("192.168.1.2", "10.66.1.1")) == ("lan0", "blackhole")
    assert FlowDevices(routing).devices(view("192.168.1.2", "192.168.1.255")) == ("lan0", "group")
    assert FlowDevices(routing).devices(view("192.168.1.2", "224.0.0.251")) == ("lan0", "group")


def test_the_better_metric_and_the_longer_prefix_count() -> None:
    routing = gateway(net("0.0.0.0/0", 4, metric=50), net("9.9.9.0/24", 2, metric=500))
    assert FlowDevices(routing).devices(view("192.168.1.2", "8.8.8.8")) == ("lan0", "dmz0")
    assert FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) == ("lan0", "lan0")


def test_equal_routes_name_every_device() -> None:
    routing = gateway(net("9.0.0.0/8", 3, 4), net("7.0.0.0/8", 2), net("7.0.0.0/8", 3))
    assert FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) == ("lan0", "wan0|dmz0")
    assert FlowDevices(routing).devices(view("192.168.1.2", "7.1.1.1")) == ("lan0", "lan0|wan0")


def test_dead_hops_routes_for_some_sources_and_other_tables_are_not_taken() -> None:
    dead = Route(2, 254, RTN_UNICAST, ip("9.0.0.0"), 8, (Hop(4, flags=1),))
    routing = gateway(dead, net("9.0.0.0/8", 4, source_length=8), net("9.0.0.0/8", 4, table=100))
    assert FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) == ("lan0", "wan0")


def test_without_a_route_that_side_is_not_known() -> None:
    routing = Routing()
    told(routing, [net("192.168.1.0/24", 2)])
    assert FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) == ("lan0", "–")
    assert FlowDevices(routing).device([view("1.1.1.1", "9.9.9.9")]) == [("–", "dim")]


def test_before_a_complete_dump_nothing_is_claimed() -> None:
    routing = Routing()
    assert FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) is None
    told(routing, GATEWAY, complete=False)
    assert FlowDevices(routing).device([view("192.168.1.2", "9.9.9.9")]) == [("–", "dim")] and routing.version == 0


def test_an_incomplete_dump_changes_nothing_and_an_equal_one_no_version() -> None:
    routing = gateway()
    version = routing.version
    told(routing, GATEWAY)
    told(routing, [], complete=False)
    assert routing.version == version and FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) == (
        "lan0",
        "wan0",
    )
    told(routing, GATEWAY[:-1])
    assert routing.version > version and FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) == ("lan0", "–")


def test_each_namespace_has_its_own_routes() -> None:
    routing = gateway()
    told(routing, [net("0.0.0.0/0", 4)], netns=1)
    rows = [
        view("192.168.1.2", "9.9.9.9"),
        view("192.168.1.2", "9.9.9.9", netns=1),
        view("1.1.1.1", "2.2.2.2", netns=2),
    ]
    assert [text for text, _ in FlowDevices(routing).device(rows)] == ["lan0→wan0", "dmz0→dmz0", "–"]


def test_ipv6_ends_in_one_column_with_ipv4() -> None:
    routing = gateway(net("fd00::/64", 2), net("::/0", 3), local("fd00::1/128", 2))
    six = row() | {"family": 10, "osrc_hi": 0xFD00 << 48, "osrc_lo": 2, "odst_hi": 0x2001 << 48, "odst_lo": 9}
    six |= {"rsrc_hi": 0x2001 << 48, "rsrc_lo": 9, "rdst_hi": 0xFD00 << 48, "rdst_lo": 2}
    four = row(src="192.168.1.2", dst="9.9.9.9")
    data = columns(six, four).data | {"netns": np.zeros(2, np.uint16)}
    codes, words = FlowDevices(routing).device_codes(data)
    assert [words[code] for code in codes.tolist()] == ["lan0→wan0", "lan0→wan0"]


def test_more_routes_than_can_be_looked_up_are_said_not_guessed(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_ROUTES", 3)
    routing, flow = gateway(), view("192.168.1.2", "9.9.9.9")
    assert FlowDevices(routing).devices(flow) is None
    assert "not inferred" in FlowDevices(routing).device_lines(flow)[0][1][0]


def test_links_and_addresses_without_end_are_not_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_ROUTES", 10)
    routing = Routing()
    endless = RouteRows([Link(number, "x") for number in range(7)], [Address(1, 2, 3, 4, 5)] * 7)
    told(routing, GATEWAY)
    assert FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) is not None
    for what in ("links", "addresses"):
        routing.apply(DumpMark(1, 0, 0, what, begin=True), HERE, 0)
        for number in range(100):
            links = [Link(7 * number + link.ifindex, "x") for link in endless.links]
            routing.apply(RouteRows(links, endless.addresses), HERE, 0)
        routing.apply(DumpMark(1, 0, 0, what, begin=False, complete=True), HERE, 0)
    assert (len(routing.links(HERE)), len(routing.addresses(HERE))) == (11, 11)
    assert FlowDevices(routing).devices(view("192.168.1.2", "9.9.9.9")) is None


def test_the_detail_says_that_devices_are_inferred() -> None:
    (line,) = FlowDevices(gateway()).device_lines(view("192.168.1.2", "9.9.9.9"))
    assert "lan0 → wan0" in line[1][0] and "inferred" in line[2][0]
    (line,) = FlowDevices(Routing()).device_lines(view("192.168.1.2", "9.9.9.9"))
    assert line[1][0] == "–"
