"""The map's drawing, for any host: nothing overlaps or is wider than its pane, and each link leads to its other end."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from nettop.decode.topology.objects import Device
from nettop.model.map.scene import MOST_BOXES, Scene, scene_of
from nettop.model.map.table import MapTable
from nettop.model.topology.host_map import HostMap
from nettop.ui.widgets.map_lines import Drawing, draw
from tests.unit.model.map.hosts import address, device, host_map, namespace, screens

# The directions that each character joins: up, down, left, right.
JOINS = {"│": "ud", "─": "lr", "┼": "udlr", "┐": "ld", "┘": "lu", "┌": "rd", "└": "ru", "┆": "ud", "┄": "lr"}
STEP = {"u": (0, -1), "d": (0, 1), "l": (-1, 0), "r": (1, 0)}
BACK = {"u": "d", "d": "u", "l": "r", "r": "l"}


def scene(hosts: HostMap, here: str) -> tuple[Scene, MapTable]:
    table = MapTable(hosts, lambda: here)
    return scene_of(hosts, table.rows(), table.idents, {}, here), table


def text(drawing: Drawing) -> list[str]:
    return ["".join(part[0] for part in line).rstrip() for line in drawing.lines]


def test_the_map_of_a_gateway() -> None:
    found, _ = scene(screens(), "gw-a")
    assert text(draw(found, 80)) == [
        "┌ gw-a  ◀ here ───────────────┐   ┌ lan-a ──────────────────────┐",
        "│ eth0 192.168.1.1/24         ├───┤ eth0 192.168.1.2/24         │",
        "│                             │   └─────────────────────────────┘",
        "│                             │   ┌ net ────────────────────────┐",
        "│ eth1 100.100.100.1/24       ├───┤ eth0 100.100.100.2/24       │",
        "│ mv0 100.100.100.7/24 ┄ eth1 │   └─────────────────────────────┘",
        "│ ┌ br-dmz 10.9.0.1/24 ─────┐ │   ┌ dmz-4 web-1 containerd ─────┐",
        "│ │ vm4                     ├─┼───┤ eth0 10.9.0.4/24            │",
        "│ │                         │ │   └─────────────────────────────┘",
        "│ │                         │ │   ┌ dmz-5 db-1 containerd ──────┐",
        "│ │ vm5                     ├─┼───┤ eth0 10.9.0.5/24            │",
        "│ │ vx42 ┄▶ 10.8.0.2        │ │   └─────────────────────────────┘",
        "│ └─────────────────────────┘ │   ┌ host ───────────────────────┐",
        "│ tap0                        │   │ eth0 203.0.113.5/24         │",
        "└─────────────────────────────┘   └─────────────────────────────┘",
        "┌ nsid 7 ─────────────────────┐",
        "│ cannot be entered: Operatio…│",
        "└─────────────────────────────┘",
    ]


def test_in_a_narrow_pane_boxes_are_below_each_other() -> None:
    found, _ = scene(screens(), "gw-a")
    lines = text(draw(found, 44))
    assert lines[1:4] == ["│ eth0 192.168.1.1/24         ├─┐", "│ eth1 100.100.100.1/24       ├─┼─┐",
                          "│ mv0 100.100.100.7/24 ┄ eth1 │ │ │"]  # fmt: skip
    assert "│ eth0 192.168.1.2/24         ├─┘ │ │ │" in lines


def test_of_many_namespaces_it_says_how_many_are_not_drawn() -> None:
    ports = [device(10 + n, f"v{n}", "veth", (2, f"c{n}"), master=3, master_kind="bridge") for n in range(60)]
    others = [namespace(f"c{n}", [device(2, "eth0", "veth", (10 + n, ""))]) for n in range(60)]
    found, _ = scene(host_map(namespace("", [device(3, "br0", "bridge"), *ports]), *others), "")
    lines = text(draw(found, 80))
    assert len(found.boxes) == MOST_BOXES and lines[-1] == "37 more namespaces not drawn: the tree has all"
    assert any("21 more devices" in line for line in lines)


@pytest.mark.parametrize("width", range(20))
def test_a_pane_without_room_is_drawn_without_an_error(width: int) -> None:
    found, table = scene(screens(), "gw-a")
    idents = [table.idents.of("gw-a", ifindex) for ifindex in range(12)]
    assert all(sum(cell_len(part[0]) for part in line) >= width for line in draw(found, width, idents, idents).lines)


ODD = st.sampled_from(("", "\x1b[2J", "é\u0301", "\u202eabc", "字字", "\u05d0"))  # of names


@st.composite
def hosts(draw_one: st.DrawFn) -> HostMap:
    count = draw_one(st.integers(1, 9))
    devices: list[list[Device]] = [[] for _ in range(count)]
    for number in range(draw_one(st.integers(0, 14))):
        a, b = draw_one(st.integers(0, count - 1)), draw_one(st.integers(0, count - 1))
        ends = 10 + 2 * number, 11 + 2 * number
        bridges = [draw_one(st.booleans()) and 2, draw_one(st.booleans()) and 2]
        devices[a].append(
            device(ends[0], f"a{number}{draw_one(ODD)}", "veth", (ends[1], f"n{b}"), master=int(bridges[0]))
        )
        devices[b].append(device(ends[1], f"b{number}字", "veth", (ends[0], f"n{a}"), master=int(bridges[1])))
    for each in devices:
        if any(one.link.master for one in each):
            each.append(device(2, "br0", "bridge"))
        if draw_one(st.booleans()):
            each.append(device(5, "mv0", "macvlan", lower=draw_one(st.integers(2, 30))))
        for ifindex in range(6, 6 + draw_one(st.integers(0, 2))):  # moved: their lower device is elsewhere
            there = f"n{draw_one(st.integers(0, count - 1))}"
            each.append(device(ifindex, f"mv{ifindex}", "macvlan", (draw_one(st.integers(2, 30)), there)))
    return host_map(*(namespace(f"n{at}", each, [address(5, "10.0.0.1/8")]) for at, each in enumerate(devices)))


def grid(drawing: Drawing) -> dict[tuple[int, int], str]:
    cells = {}
    for y, line in enumerate(text(drawing)):
        x = 0
        for char in line:
            cells[x, y] = char
            x += cell_len(char)
    return cells


def columns_of(drawing: Drawing, ident: int) -> tuple[int, int, int]:
    """Return the line, the first cell and the end of a device's text."""
    y = drawing.places[ident][0]
    x = 0
    for part, _, own in drawing.lines[y]:
        if own == ident:
            return y, x, x + cell_len(part)
        x += cell_len(part)
    raise AssertionError(f"{ident} is not on its line")


def followed(cells: dict[tuple[int, int], str], x: int, y: int, way: str) -> tuple[int, int]:
    """Follow a link from the border beside a device, straight over crossings, to that beside the next device."""
    for _ in range(10_000):
        x, y = x + STEP[way][0], y + STEP[way][1]
        if cells[x, y] in "├┤":
            return x, y
        joins = JOINS[cells[x, y]]
        assert BACK[way] in joins
        way = way if way in joins else joins.replace(BACK[way], "")
    raise AssertionError("the link does not end")


@settings(max_examples=300, deadline=None)
@given(hosts(), st.integers(20, 170))
def test_every_device_is_drawn_once_and_every_link_leads_to_its_other_end(found: HostMap, width: int) -> None:
    made, _ = scene(found, "n0")
    drawing = draw(made, width)
    assert drawing == draw(made, width)
    idents = [item.ident for box in made.boxes for item in box.items] + [box.ident for box in made.boxes]
    drawn = [own for line in drawing.lines for own in {part[2] for part in line} if own is not None]
    assert sorted(drawn) == sorted(idents)
    assert all(
        sum(cell_len(part[0]) for part in line) == width for line in drawing.lines[: max(drawing.places.values())[0]]
    )
    cells = grid(drawing)
    for box in made.boxes:
        for item in box.items:
            y, start, end = columns_of(drawing, item.ident)
            way = "r" if cells.get((end, y)) == "├" else "l" if cells.get((start - 1, y)) == "┤" else ""
            if item.peer is None or not way:
                assert not way
                continue
            across = followed(cells, end if way == "r" else start - 1, y, way)
            there, first, last = columns_of(drawing, item.peer)
            assert across in ((first - 1, there), (last, there))


def test_the_mark_of_a_finding_is_not_cut() -> None:
    spaces = [namespace("a", [device(2, "mv0", "macvlan", (4, "a-namespace-with-a-long-name"))]),
              namespace("a-namespace-with-a-long-name", [device(3, "eth0")])]  # fmt: skip
    hosts = host_map(*spaces)
    table = MapTable(hosts, lambda: "a")
    found = scene_of(hosts, table.rows(), table.idents, {table.idents.of("a", 2): 1}, "a")
    assert any("│ mv0 ! ┄ if 4 @ a-" in line for line in text(draw(found, 60)))


def test_a_device_that_was_moved_is_linked_to_its_lower_device_by_a_dashed_line() -> None:
    ports = [device(3, "br0", "bridge"), device(4, "v0", "veth", (2, "c1"), master=3)]
    found, table = scene(host_map(
        namespace("", [device(2, "eth0"), *ports], [address(2, "192.0.2.7/24")]),
        namespace("c1", [device(2, "eth0", "veth", (4, "")), device(7, "mv7", "macvlan", (2, ""))]),
        namespace("c2", [device(2, "mv0", "macvlan", (2, "")), device(3, "vl0", "vlan", (3, ""))],
                  [address(2, "192.0.2.9/24")]),
    ), "")  # fmt: skip
    assert text(draw(found, 80)) == [
        "┌ host  ◀ here ─────┐       ┌ c1 ───────────────┐",
        "│ eth0 192.0.2.7/24 │ ┌─────┤ eth0              │",
        "│ └┄ mv7            ├┄┼┄┄┄┄┄┤ mv7               │",
        "│                   │ │     └───────────────────┘",
        "│                   │ │     ┌ c2 ───────────────┐",
        "│ └┄ mv0            ├┄┼┄┄┄┄┄┤ mv0 192.0.2.9/24  │",
        "│ ┌ br0 ──────────┐ │ │ ┌┄┄┄┤ vl0               │",
        "│ │ └┄ vl0        ├─┼┄┼┄┘   └───────────────────┘",
        "│ │ v0            ├─┼─┘",
        "│ └───────────────┘ │",
        "└───────────────────┘",
    ]
    assert "│ vl0 ┄ br0 @ host │" in text(draw(found, 27)), "without room for a line it is said in words"
    of = table.idents.of
    lit = {of("c2"), of("c2", 2), of(""), of("", 2)}
    assert "┃ └┄ mv0            ┣┅┿┅┅┅┅┅┫ mv0 192.0.2.9/24  ┃" in text(draw(found, 80, lit))


def test_a_route_is_heavy_and_what_was_found_is_marked() -> None:
    found, table = scene(screens(), "gw-a")
    of = table.idents.of
    lit = {of("gw-a"), of("gw-a", 4), of("gw-a", 9), of("dmz-4"), of("dmz-4", 2)}
    lines = text(draw(found, 44, lit, {of("gw-a", 2), of("net")}))
    assert lines[1:7] == [
        "┃•eth0 192.168.1.1/24         ├─┐",
        "┃ eth1 100.100.100.1/24       ├─┼─┐",
        "┃ mv0 100.100.100.7/24 ┄ eth1 ┃ │ │",
        "┃ ┏ br-dmz 10.9.0.1/24 ━━━━━┓ ┃ │ │",
        "┃ ┃ vm4                     ┣━╋━┿━┿━┓",
        "┃ ┃ vm5                     ├─┼─┼─┼─╂─┐",
    ]
    assert "┌•net ────────────────────────┐   │ ┃ │" in [line.replace("┘", "│") for line in lines]
