"""The map on the screen: tree, drawing, lists, details, and ways from it and to it."""

from __future__ import annotations

import pytest

from nettop.model.map.drawing import MapDrawing
from nettop.model.map.lists import MapLists
from nettop.model.map.table import MapTable
from nettop.model.topology.host_map import HostMap
from tests.ui import plain_tables
from tests.ui.plain_session import PlainSession
from tests.ui.screen_text import SMALL, WIDE, running
from tests.unit.model.map.hosts import device, host_map, namespace, put, screens

MIDDLE = (120, 40)


def map_session(hosts: HostMap | None = None) -> PlainSession:
    """Return a session with flows and the map of SCREENS, shown from gw-a."""
    table = MapTable(screens() if hosts is None else hosts, lambda: "gw-a", lambda label: ())
    views = {"map": table, "drawing": MapDrawing(table), "lists": MapLists(table), "flows": plain_tables.flows()}
    found = PlainSession(views)
    found.first_view = "map"
    return found


@pytest.mark.parametrize("size", [SMALL, MIDDLE, WIDE])
async def test_tree_of_the_host(size: tuple[int, int]) -> None:
    async with running(size, map_session()) as seen:
        await seen.see("▾ gw-a")
        assert "[6 Map]" in seen.text
        await seen.see("port ⇄ eth0 @ dmz-4")
        assert ("─ link" in seen.text) == (size == WIDE)  # the drawing is beside it


async def test_cursor_of_the_tree_lights_the_device_in_the_drawing_and_back() -> None:
    async with running(WIDE, map_session()) as seen:
        await seen.see("├─┼───┤")
        await seen.press(*"jjjjj")
        await seen.see("│▶vm4")
        await seen.press("tab", "right")
        await seen.until(lambda: "┤▶eth0 10.9.0.4/24" in seen.text and seen.cursor_line().startswith("▶    eth0"))


async def test_d_walks_through_tree_and_drawing() -> None:
    async with running(SMALL, map_session()) as seen:
        await seen.press("j", "d")
        await seen.see("│▶eth0 192.168.1.1/24")
        await seen.press("down")
        await seen.see("│▶eth1")
        await seen.press("d")
        await seen.until(lambda: seen.cursor_line().startswith("▶  ▾ eth1"), "the same device in the tree")
    async with running(WIDE, map_session()) as seen:
        await seen.see("─ link")
        await seen.press("d")
        await seen.see_no("NETNS / DEVICE")
        await seen.press("d")
        await seen.see("NETNS / DEVICE")
        await seen.see_no("─ link")


async def test_left_folds_and_right_unfolds() -> None:
    async with running(MIDDLE, map_session()) as seen:
        await seen.press("j", "left")
        await seen.until(lambda: seen.cursor_line().startswith("▶▾ gw-a"), "the row above")
        await seen.press("left")
        await seen.see("▸ gw-a")
        await seen.see("9 devices")
        await seen.see_no("br-dmz")
        await seen.press("right")
        await seen.see("br-dmz")


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_lists_follow_the_cursor_and_close(size: tuple[int, int]) -> None:
    async with running(size, map_session()) as seen:
        await seen.press("o")
        await seen.see("3 routes of gw-a")
        await seen.see("default via 100.100.100.2 dev eth1")
        await seen.press("e")
        await seen.see("2 neighbours of gw-a")
        await seen.press("slash", *"vm4", "enter")
        await seen.see_no("REACHABLE")
        await seen.press("escape")
        await seen.see("REACHABLE")
        await seen.press("escape")
        await seen.see_no("neighbours of gw-a")
        if size == WIDE:
            await seen.press("o", "tab", "j")
            await seen.see("1 route of eth0 in gw-a")


async def test_enter_opens_a_device_and_goes_into_a_namespace() -> None:
    source = map_session()
    async with running(MIDDLE, source) as seen:
        await seen.press("j", "enter")
        await seen.see("eth0 in gw-a")
        await seen.see("what is sent into one end arrives at the other")
        await seen.press("escape", "G", "k", "k", "enter")
        await seen.until(lambda: ("switch_namespace", "net") in source.done, "net is entered")
        await seen.see("watching net")
        await seen.press("G", "enter")
        await seen.see("nsid 7 cannot be entered")


async def test_enter_on_the_shown_namespace_opens_its_detail() -> None:
    source = map_session()
    async with running(MIDDLE, source) as seen:
        await seen.press("enter")
        await seen.see("routes    3   o lists them")
        assert not [one for one in source.done if one[0] == "switch_namespace"]


async def test_filter_finds_an_address_and_a_wrong_one_is_refused() -> None:
    async with running(MIDDLE, map_session()) as seen:
        await seen.press("slash", *"10.9.0.4", "enter")
        await seen.see("15 devices, 1 match")
        await seen.see("10.9.0.4/24       veth ⇄ vm4")
        await seen.see_no("gw-a  ◀ here")
        await seen.press("escape")
        await seen.see("gw-a  ◀ here")
        await seen.press("slash")
        await seen.write("host 10.9")
        await seen.press("enter")
        await seen.see("not an address")


async def test_y_copies_the_ip_command() -> None:
    async with running(MIDDLE, map_session()) as seen:
        await seen.press("j", "y")
        await seen.see("The ip command that shows it")
        await seen.press("1")
        await seen.see("ip netns exec gw-a ip -d -s link show dev eth0")


async def test_a_device_that_goes_leaves_its_last_detail() -> None:
    source = map_session()
    async with running(MIDDLE, source) as seen:
        await seen.press("j", "enter")
        await seen.see("eth0 in gw-a")
        hosts = source.views["map"].hosts
        del hosts._of["gw-a"].devices[2]
        put(hosts, hosts._of["gw-a"])
        await seen.see("gone")


async def test_an_empty_map_says_so() -> None:
    source = map_session(HostMap())
    source.first_view = "flows"
    async with running(MIDDLE, source) as seen:
        await seen.press("6")
        await seen.see("Reading the namespaces of this host.")


async def test_many_namespaces_are_shown_at_once() -> None:
    spaces = [namespace(f"c{n}", [device(2, f"eth{i}") for i in range(5)]) for n in range(200)]
    async with running(WIDE, map_session(host_map(*spaces))) as seen:
        await seen.see("176 more namespaces not drawn")
