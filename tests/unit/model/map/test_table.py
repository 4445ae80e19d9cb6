"""The tree of the map: order, words, folding, filter, sorting, and a cursor that stays on its row."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from nettop.model.filter.expression import parse
from nettop.model.findings import Finding
from nettop.model.map.table import MapTable
from nettop.model.table import SortKey, ViewSpec
from nettop.model.topology.host_map import HostMap
from tests.unit.model.map.hosts import address, device, host_map, namespace, put, screens

ALL = ViewSpec(MapTable.default_columns, height=1000)


def table(hosts: HostMap, here: str = "gw-a") -> MapTable:
    return MapTable(hosts, lambda: here, lambda label: ("1,204 flows",) if label == here else ())


def lines(found: MapTable, spec: ViewSpec = ALL) -> list[str]:
    rows = found.snapshot(spec, 0).rows
    return ["|".join(row.cells[:3]).rstrip("|") for row in rows]


def with_filter(text: str, **more: object) -> ViewSpec:
    return ViewSpec(MapTable.default_columns, height=1000, filter=parse(text, "device"), **more)  # type: ignore[arg-type]


def test_the_shown_namespace_is_first_and_ports_are_below_their_bridge() -> None:
    assert lines(table(screens()))[:10] == [
        "▾ gw-a|◀ here|2 processes, forwarding, 1,204 flows",
        "    eth0|192.168.1.1/24|veth ⇄ eth0 @ lan-a",
        "  ▾ eth1|100.100.100.1/24|veth ⇄ eth0 @ net",
        "    └ mv0|100.100.100.7/24|macvlan bridge",
        "  ▾ br-dmz|10.9.0.1/24|bridge, stp off",
        "    ├ vm4||port ⇄ eth0 @ dmz-4",
        "    ├ vm5||port ⇄ eth0 @ dmz-5",
        "    └ vx42||port, vxlan 42 → 10.8.0.2",
        "    tap0||tap, qemu[5121]",
        "    lo|127.0.0.1/8|loopback",
    ]


def test_a_namespace_says_whose_it_is_and_why_it_cannot_be_entered() -> None:
    shown = lines(table(screens()))
    assert "▾ dmz-4|web-1 containerd|9 processes" in shown
    assert "  nsid 7||cannot be entered: Operation not permitted" in shown
    assert "▾ host||214 processes" in shown


def test_a_veth_whose_peer_is_elsewhere_is_named_by_its_nsid() -> None:
    hosts = host_map(namespace("a", [device(3, "v0", "veth", (9, "gw-a"))]))
    assert lines(table(hosts, "a"))[1] == "    v0||veth ⇄ if 9 @ nsid 2"


def test_folding_hides_what_is_below_and_says_how_much() -> None:
    found = table(screens())
    gw, bridge = found.idents.of("gw-a"), found.idents.of("gw-a", 4)
    shown = lines(found, ViewSpec(MapTable.default_columns, height=1000, toggled=frozenset((gw,))))
    assert shown[0] == "▸ gw-a|◀ here|2 processes, forwarding, 1,204 flows   9 devices"
    assert shown[1].startswith("▾ host")
    shown = lines(found, ViewSpec(MapTable.default_columns, height=1000, toggled=frozenset((bridge,))))
    assert "  ▸ br-dmz|10.9.0.1/24|bridge, stp off" in shown
    assert not any("vm4" in line and "├" in line for line in shown)


def test_of_many_namespaces_only_the_shown_one_is_open() -> None:
    spaces = [namespace(f"c{n}", [device(1, "lo"), device(2, "eth0")]) for n in range(101)]
    found = table(host_map(*spaces), "c5")
    assert lines(found)[:4] == ["▾ c5|◀ here|1 process, 1,204 flows", "    eth0||device", "    lo||loopback",
                                "▸ c0||1 process   2 devices"]  # fmt: skip
    opened = frozenset((found.idents.of("c0"),))
    assert lines(found, ViewSpec(MapTable.default_columns, height=1000, toggled=opened))[4] == "    eth0||device"
    for n in range(10, 101):
        del found.hosts._of[f"c{n}"]
    put(found.hosts, spaces[0])
    assert lines(found)[3] == "▸ c0||1 process   2 devices", "namespaces that end unfold no others"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("10.9.0.4", ["dmz-4", "eth0"]),
        ("host 10.9.0.4", ["dmz-4", "eth0"]),
        ("net 10.9.0.0/24", ["gw-a", "br-dmz", "dmz-4", "eth0", "dmz-5", "eth0"]),
        ("host fe80::1", ["gw-a", "eth1"]),
        ("52:54:00:09:00:0b", ["gw-a", "br-dmz", "vx42"]),
        ("mac 52:54:00:09:00:0b", ["gw-a", "br-dmz", "vx42"]),
        ("kind macvlan", ["gw-a", "eth1", "mv0"]),
        ("macvlan", ["gw-a", "eth1", "mv0"]),
        ("netns lan-a", ["lan-a", "eth0"]),
        ("web-1", ["dmz-4"]),
        ("device vm* and not vm5", ["gw-a", "br-dmz", "vm4"]),
        ("rate > 13k and netns gw-a", ["gw-a", "eth1", "mv0", "tap0"]),
        ("not netns gw-a and vlan", []),
        ("established", []),
    ],
)  # fmt: skip
def test_the_filter_finds_by_address_mac_kind_name_and_namespace(text: str, names: list[str]) -> None:
    rows = table(screens()).snapshot(with_filter(text), 0).rows
    assert [row.cells[0].lstrip(" ▾├└") for row in rows] == names


def test_what_the_filter_matches_is_marked_among_the_rows_above_it() -> None:
    found = table(screens())
    marked = lambda spec: [row.cells[0].lstrip(" ▾├└") for row in found.snapshot(spec, 0).rows if row.marked]  # noqa: E731
    assert marked(with_filter("device vm* and not vm5")) == ["vm4"]
    assert marked(ViewSpec(MapTable.default_columns, height=99)) == []


def test_a_sorted_table_has_devices_with_their_namespaces() -> None:
    spec = ViewSpec(MapTable.default_columns, height=2, sort=(SortKey("in"),))
    assert lines(table(screens()), spec) == ["gw-a tap0||tap, qemu[5121]",
                                             "gw-a mv0|100.100.100.7/24|macvlan bridge on eth1"]  # fmt: skip
    for key in ("name", "address", "kind", "out", "drops", "mac", "mtu"):
        assert len(lines(table(screens()), ViewSpec(ALL.columns, height=99, sort=(SortKey(key, False),)))) == 15


def test_the_cursor_stays_on_its_row_when_a_namespace_comes_before_it() -> None:
    hosts = screens()
    found = table(hosts)
    anchor = found.idents.of("dmz-4", 2)
    spec = ViewSpec(MapTable.default_columns, height=1000, anchor=anchor)
    before = found.snapshot(spec, 0)
    assert before.anchor is not None and before.rows[before.anchor].ident == anchor
    hosts._of["gw-a"].devices[40] = device(40, "new0")
    put(hosts, hosts._of["gw-a"])
    put(hosts, namespace("aaa", [device(1, "lo")]))
    after = found.snapshot(spec, 0)
    assert after.anchor == before.anchor + 1 and after.rows[after.anchor].ident == anchor


def test_devices_below_each_other_in_a_loop_are_each_shown_once() -> None:
    loop = [device(2, "a", "vlan", lower=3), device(3, "b", "vlan", lower=2), device(4, "c", "vlan", lower=4)]
    shown = lines(table(host_map(namespace("x", loop)), "x"))
    assert sorted(line.split("|")[0].strip(" ▾└") for line in shown[1:]) == ["a", "b", "c"]


def test_names_with_odd_bytes_are_escaped() -> None:
    hosts = host_map(namespace("x", [device(2, "a\x1b[2J")], container="\x07evil"))
    assert "\x1b" not in "".join(lines(table(hosts, "x"))) and "\x07" not in "".join(lines(table(hosts, "x")))


def test_a_namespace_that_is_known_by_its_id_only_says_so() -> None:
    hosts = host_map(namespace("nsid 3", [], processes=0, names=()))
    hosts._of["nsid 3"].namespace = replace(hosts._of["nsid 3"].namespace, inode=-3)
    assert lines(table(hosts))[0] == "  nsid 3||known by its id only: no name and no process of it is visible"


def test_thousands_of_devices_in_one_namespace_are_filtered_and_sorted_in_no_time() -> None:
    many = [device(n, f"d{n}", "dummy") for n in range(1, 5001)]
    found = table(
        host_map(namespace("x", many, [address(n, f"10.{n >> 8}.{n & 255}.1/24") for n in range(1, 5001)])), "x"
    )
    start = time.thread_time()
    assert found.snapshot(with_filter("10.19.136.1"), 0).rows[1].cells[0] == "    d5000"
    spec = ViewSpec(MapTable.default_columns, height=1, sort=(SortKey("address"),))
    assert found.snapshot(spec, 0).rows[0].cells[0] == "x d5000"
    assert time.thread_time() - start < 3


def test_findings_follow_an_event_within_a_second_and_counts_and_sysctls_within_five() -> None:
    hosts, rules, searches = screens(), [0], list[int]()
    found = MapTable(hosts, lambda: "gw-a", find=lambda: searches.append(1) or [], rules_version=lambda: rules[0])
    second = 1_000_000_000

    def searched(at_ns: int) -> bool:
        before = len(searches)
        found.snapshot(ALL, at_ns)
        return len(searches) > before

    assert searched(0) and not searched(10 * second), "nothing has changed"
    hosts._changed(True, None)
    assert searched(10 * second)
    hosts._changed(True, None)
    assert not searched(14 * second) and searched(15 * second)
    put(hosts, namespace("zz", [device(1, "lo")]))
    assert not searched(15 * second + second // 4) and searched(16 * second)
    rules[0] += 1
    assert searched(17 * second)


def test_findings_that_take_long_to_search_for_are_searched_for_less_often() -> None:
    hosts, searches = screens(), list[int]()

    def slow() -> list[Finding]:
        searches.append(1)
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        return []

    found = MapTable(hosts, lambda: "gw-a", find=slow)
    for tenth in range(40):
        hosts._changed(True, hosts._of["gw-a"])
        found.snapshot(ALL, tenth * 100_000_000)
    assert len(searches) == 1, "0.1 s are 2 % of 5 s"
