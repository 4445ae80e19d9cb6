"""The map on the screen: tree, drawing, lists, details, and ways from it and to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.model.map.route_path import RouteDetail
from nettop.model.table import Detail
from nettop.model.topology.host_map import HostMap
from tests.ui.plain_map import map_session, with_findings
from tests.ui.screen_text import SMALL, WIDE, running
from tests.unit.model.map.hosts import address, device, host_map, namespace, put

MIDDLE = (120, 40)


@pytest.mark.parametrize("size", [SMALL, MIDDLE, WIDE])
async def test_tree_of_the_host(size: tuple[int, int]) -> None:
    async with running(size, map_session()) as seen:
        await seen.see("▾ gw-a")
        assert "[6 Map]" in seen.text
        await seen.see("port ⇄ eth0 @ dmz-4")
        assert ("─ link" in seen.text) == (size == WIDE)  # the drawing is beside it


async def test_the_mode_of_a_macvlan_is_not_cut_on_a_small_screen() -> None:
    modes = {"a": "bridge", "b": "private"}
    moved = [namespace(label, [device(2, "mv0", "macvlan", (2, "gw-a"), parameters=(("mode", mode),))])
             for label, mode in modes.items()]  # fmt: skip
    below = [device(5, "mv1", "macvlan", lower=2, parameters=(("mode", "passthru"),))]
    spaces = [namespace("gw-a", [device(2, "eth0"), *below], [address(2, "10.0.0.1/24")]), *moved]
    async with running(SMALL, map_session(host_map(*spaces))) as seen:
        await seen.see("macvlan passthru")
        await seen.see("macvlan bridge… eth0 @ gw-a")
        await seen.see("macvlan private…eth0 @ gw-a")


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
        await seen.see("3 neighbours of gw-a")
        await seen.press("slash", *"vm4", "enter")
        await seen.see_no("REACHABLE")
        await seen.press("escape")
        await seen.see("REACHABLE")
        await seen.press("escape")
        await seen.see_no("neighbours of gw-a")
        if size == WIDE:
            await seen.press("o")
            await seen.see("3 routes of gw-a")
            await seen.see("7 namespaces, 15 devices")
            await seen.press("tab", "j")
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
        await seen.see("nsid 7: cannot be entered")


async def test_enter_on_the_shown_namespace_opens_its_detail() -> None:
    source = map_session()
    async with running(MIDDLE, source) as seen:
        await seen.press("enter")
        await seen.see("routes    3   o lists them")
        assert not [one for one in source.done if one[0] == "switch_namespace"]


async def test_the_map_goes_on_without_the_namespace_that_was_shown() -> None:
    source = map_session()
    async with running(WIDE, source) as seen:
        await seen.see("◀ here")
        hosts = source.views["map"].hosts
        source.views["map"].here = lambda: ""
        source.facts = replace(source.facts, mode="GONE")
        del hosts._of["gw-a"]
        hosts._changed(True, hosts._of[""])
        await seen.see("GONE")
        await seen.see_no("▾ gw-a")
        await seen.until(lambda: "◀ here" in next(line for line in seen.lines if "▾ host" in line), "the host")
        await seen.press("g", "u")
        await seen.see("No policy rules")
        await seen.press("escape", "g", "enter")
        await seen.until(lambda: ("switch_namespace", "") in source.done, "the host can be entered")


async def test_filter_finds_an_address_and_a_wrong_one_is_refused() -> None:
    async with running(MIDDLE, map_session()) as seen:
        await seen.press("slash", *"10.9.0.4", "enter")
        await seen.see("15 devices, 1 match")
        await seen.see("10.9.0.4/24       veth ⇄ vm4")
        await seen.see_no("◀ here")
        await seen.press("escape")
        await seen.see("◀ here")
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


async def test_findings_are_below_the_tree_and_mark_their_rows() -> None:
    async with running(WIDE, with_findings(map_session())) as seen:
        await seen.see("! vm4 @ gw-a   MTU 1500 here, 1400 at the other end   evidence: vm4 in gw-a: mtu 1500")
        await seen.see("2 findings")
        assert next(line for line in seen.lines if "├ vm4" in line).split("│")[0].rstrip().endswith("!")
        await seen.press("exclamation_mark")
        await seen.see("eth0: mtu 1400")  # the evidence below the list
        await seen.press("enter")
        await seen.until(lambda: "├ vm4" in seen.cursor_line(), "its device")


async def test_on_a_small_screen_the_totals_count_the_findings() -> None:
    async with running(SMALL, with_findings(map_session())) as seen:
        await seen.see("! 2 findings")
        assert "evidence" not in seen.text


async def test_a_route_is_asked_in_the_namespace_under_the_cursor() -> None:
    source = map_session()
    source.route = Detail(
        -1, (("route to 10.9.0.4", "heading"),), ((("  route     kernel ", "number"), ("dev x", "")),)
    )
    async with running(MIDDLE, source) as seen:
        await seen.press("j", "equals_sign")
        await seen.see("asked of the kernel in gw-a")
        await seen.write("10.9.0")
        await seen.see("is no IPv4 or IPv6 address")
        await seen.write(".4 mark 0x7")
        await seen.press("enter")
        await seen.see("route     kernel dev x")
        assert ("ask_route", "gw-a", "10.9.0.4 mark 0x7") in source.done
        await seen.press("y")
        await seen.see("copied")
        await seen.press("j")
        await seen.see("eth1 in gw-a")
        await seen.press("escape", "equals_sign", *"::1", "enter")
        source.route = "route: the kernel does not answer"
        await seen.press("escape", "equals_sign", *"::1", "enter")
        await seen.see("the kernel does not answer")


async def test_a_route_and_a_capture_are_asked_beside_an_open_list() -> None:
    source = map_session()
    async with running(WIDE, source) as seen:
        await seen.press("j", "o")
        await seen.see("1 route of eth0 in gw-a")
        await seen.press("equals_sign", *"::1", "enter")
        await seen.until(lambda: ("ask_route", "gw-a", "::1") in source.done, "asked in gw-a")
        await seen.press("P")
        await seen.see("[x] eth0")


async def test_the_route_asked_is_lit_in_the_drawing_until_esc() -> None:
    source = map_session()
    of = source.views["map"].idents.of
    path = frozenset((of("gw-a"), of("gw-a", 2), of("lan-a"), of("lan-a", 2)))
    source.route = RouteDetail(-1, (("route to 10.9.0.4", "heading"),), (), path)
    async with running(WIDE, source) as seen:
        await seen.see("┤ eth0 192.168.1.2/24")
        await seen.press("j", "equals_sign", *"::1", "enter")
        await seen.see("┣━")
        await seen.see("━ the route asked")
        await seen.press("escape")
        await seen.see_no("route to 10.9.0.4")
        assert "━ the route asked" in seen.text
        await seen.press("escape")
        await seen.see_no("━ the route asked")
        assert "┣━" not in seen.text
        await seen.press("equals_sign", *"::1", "enter", "escape")
        await seen.see("━ the route asked")
        source.facts = replace(source.facts, netns="lan-a")
        await seen.see_no("━ the route asked")


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_drawing_marks_what_is_found_and_n_goes_on(size: tuple[int, int]) -> None:
    async with running(size, map_session()) as seen:
        await seen.see("▾ gw-a")
        await seen.press(*("d",) if size == SMALL else ("tab",))
        await seen.press("slash")
        await seen.write("device eth0")
        await seen.press("enter")
        await seen.see("• 6 found")
        await seen.see("▶eth0 192.168.1.1/24")
        await seen.see("•eth0 192.168.1.2/24")
        await seen.see("│ eth1 ")
        await seen.press("n")
        await seen.see("▶eth0 192.168.1.2/24")
        await seen.press("N", "N")
        await seen.see("▶eth0 203.0.113.5/24")
        await seen.press("slash", "ctrl+u", *"no-such", "enter")
        await seen.see("• 0 found")
        await seen.press("n", "escape")
        await seen.see_no("found")


async def test_no_route_is_asked_where_the_namespace_cannot_be_entered() -> None:
    async with running(MIDDLE, map_session()) as seen:
        await seen.press("G", "equals_sign")
        await seen.see("nsid 7: cannot be entered")


async def test_packets_of_a_device_are_captured_where_it_is_shown() -> None:
    async with running(MIDDLE, map_session()) as seen:
        await seen.press("j", "j", "P")
        await seen.see("[x] eth1")
        assert "[ ] eth0" in seen.text
        await seen.press("escape", "G", "k", "P")
        await seen.see("Enter on net goes there")


async def test_m_goes_from_a_flow_to_its_device_and_back() -> None:
    source = map_session()
    source.relations["flows", "map"] = source.views["map"].idents.of("gw-a", 9), "vm4"
    async with running(MIDDLE, source) as seen:
        await seen.press("left", "left")  # gw-a is folded
        await seen.see("9 devices")
        await seen.press("1")
        await seen.see("ORIGINAL")
        await seen.press("M")
        await seen.until(lambda: "├ vm4" in seen.cursor_line(), "the device of the flow")
        await seen.press("o")
        await seen.see("0 routes of vm4 in gw-a")
        await seen.press("left_square_bracket")
        await seen.see("ORIGINAL")
        await seen.press("right_square_bracket")
        await seen.see("0 routes of vm4 in gw-a")
        await seen.until(lambda: any("▶" in line and "├ vm4" in line for line in seen.lines), "its device again")
        await seen.press("left_square_bracket")
        await seen.see("ORIGINAL")
        source.relations.clear()
        await seen.press("M")
        await seen.see("its device is not known")


async def test_a_click_in_the_drawing_selects_a_device_and_a_second_one_opens_it() -> None:
    async with running(WIDE, map_session()) as seen:
        await seen.see("├─┼───┤")
        line = next(y for y, text in enumerate(seen.lines) if "dmz-4 web-1" in text) + 1
        x = seen.lines[line].index("10.9.0.4/24", 80)
        await seen.pilot.click(offset=(x, line))
        await seen.see("┤▶eth0 10.9.0.4/24")
        await seen.pilot.click(offset=(x, line))
        await seen.see("eth0 in dmz-4")
