"""The palette's order, hidden sort columns, the notice of a copy, and B outside the packets."""

from __future__ import annotations

from nettop.model.table import SortKey
from nettop.session.status import Capturing
from nettop.ui.actions.flows import _copied_notice
from nettop.ui.screens.capture import CaptureScreen
from tests.ui.screen_text import SMALL, running
from tests.ui.test_session_state import LONG, capturing

COMMAND = (
    "ip netns exec nt-gateway-a conntrack -L -f ipv6 -p tcp --orig-src fd00:1:2:3:4:5:6:7 "
    "--orig-dst fd00:198:51:100::4 --orig-port-src 56303 --orig-port-dst 443 --zone 7"
)


async def test_a_label_that_begins_with_what_is_typed_comes_first() -> None:
    async with running() as seen:
        for typed, title in (("counters", "[5 Counters]"), ("flows", "[1 Flows]"), ("packets", "[4 Packets]")):
            await seen.press("colon")
            await seen.see("Commands")
            await seen.write(typed)
            await seen.press("enter")
            await seen.see(title)


async def test_columns_left_as_they_are_keep_the_sort_by_a_hidden_one() -> None:
    async with running() as seen:
        seen.main.table.set_sort((SortKey("mark"), SortKey("rate")))
        await seen.press("C", "enter")
        await seen.until(lambda: seen.app.screen is seen.main, "done")
        assert [key.key for key in seen.main.table.sort] == ["mark", "rate"]


def test_a_copied_command_is_whole_at_80_columns() -> None:
    _, *shown = _copied_notice([COMMAND], 80).split("\n")
    assert " ".join(shown) == COMMAND
    assert all(len(line) <= 68 for line in shown)


def test_a_long_copy_is_cut_after_six_lines() -> None:
    said, *shown = _copied_notice(["word " * 300, "more"], 80).split("\n")
    assert "the first of 2 lines" in said
    assert len(shown) == 6 and shown[-1].endswith("…")


async def test_b_captures_from_flows_and_leads_to_the_packets() -> None:
    async with running() as seen:
        for view in "12":
            await seen.press(view, "B")
            await seen.see("Capture packets")
            await seen.press("enter")
            await seen.see("[4 Packets]")
        assert [done[0] for done in seen.session.done] == ["start_capture", "start_capture"]


async def test_a_long_filter_is_shown_once_and_its_cut_end_is_marked() -> None:
    async with running(SMALL, capturing(Capturing(("eth1",), LONG))) as seen:
        await seen.press("4", "B")
        await seen.see("Capture packets")
        assert sum("192.168.1.0 " in line for line in seen.lines if "│" in line) == 1
        dialog = seen.app.screen
        assert isinstance(dialog, CaptureScreen)
        dialog.expression.value = " or ".join(f"host 10.20.30.{n}" for n in range(100))
        await seen.until(lambda: "10.20.30.9 " in seen.text, "the longer filter")
        last = [line for line in seen.lines if "host 10.20.30." in line][-1]
        assert last.rstrip(" │").endswith("…")
