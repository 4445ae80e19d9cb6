"""The line of keys shows only what does something; words that look like controls can be clicked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.session.status import Capturing
from tests.ui.plain_session import FACTS, session
from tests.ui.screen_text import WIDE, Seen, running


def hints(seen: Seen) -> str:
    return seen.lines[-1]


async def click(seen: Seen, words: str, *, line: int | None = None, at: int = 0) -> None:
    """Click on these words, on a line or on the first that has them."""
    lines = seen.lines
    y = next(n for n, text in enumerate(lines) if words in text) if line is None else line % len(lines)
    await seen.pilot.click(offset=(lines[y].index(words) + at, y))
    await seen.pilot.pause()


async def test_events_and_packets_have_one_order_so_sort_is_not_offered() -> None:
    source = session()
    for name in ("events", "packets"):
        model = source.views[name]
        model.columns = tuple(replace(column, sortable=False) for column in model.columns)
    async with running(source=source) as seen:
        assert "s sort" in hints(seen)
        for view in "24":
            await seen.press(view)
            await seen.until(lambda: "s sort" not in hints(seen), "keys without sort")
            await seen.press("s")
            await seen.see("always in order of arrival")
            assert len(seen.app.screen_stack) == 2, "no dialog"


async def test_without_a_row_no_command_on_rows_is_offered() -> None:
    source = session()
    source.views["flows"].order = []
    async with running(source=session()) as seen:
        for words in ("Enter open", "E events", "P packets", "D delete", "y copy", "c capture", "f follow"):
            assert words in hints(seen)
        seen.session.views["flows"].order = []
        await seen.see("No flows yet")
        await seen.until(lambda: "Enter" not in hints(seen), "fewer keys")
        for words in ("events", "packets", "delete", "copy", "c capture", "follow", "Esc"):
            assert words not in hints(seen), words
        for words in ("/ filter", "s sort", "b group", "C columns", "@ namespace", "? help"):
            assert words in hints(seen)


async def test_where_nothing_can_arrive_nothing_is_paused_or_recorded() -> None:
    async with running() as seen:
        assert "Space pause" in hints(seen) and "r record" in hints(seen)
        seen.session.facts = replace(FACTS, mode="GONE")
        await seen.until(lambda: "Space pause" not in hints(seen), "fewer keys")
        assert "r record" not in hints(seen) and "@ namespace" in hints(seen)


async def test_esc_is_offered_where_it_leads_somewhere() -> None:
    async with running() as seen:
        assert "Esc back" not in hints(seen)
        await seen.press("enter")
        await seen.until(lambda: "Esc back" in hints(seen) and "Enter open" not in hints(seen), "a way out")
        await seen.press("escape", "b", "enter")
        await seen.until(lambda: "Esc back" in hints(seen) and "Enter open" in hints(seen), "out of the grouping")


async def test_every_key_in_the_last_line_can_be_clicked() -> None:
    async with running() as seen:
        await click(seen, "s sort", line=-1, at=3)
        await seen.see("Sort by")
        await seen.press("escape")
        await click(seen, "? help", line=-1)
        await seen.see("Help: keys")
        await seen.press("escape")
        await click(seen, "/ filter", line=-1, at=4)
        await seen.see("host 10.0.0.1 and port 443")
        await seen.write("port 56303")
        await click(seen, "Enter ", line=-1)
        await seen.until(lambda: seen.main.table.filter is not None, "the filter")
        await click(seen, "Esc back", line=-1)
        await seen.until(lambda: seen.main.table.filter is None, "no filter")
        await click(seen, "Space pause", line=-1, at=8)
        await seen.see("PAUSED")


@pytest.mark.parametrize(
    ("words", "seen_then"),
    [
        ("netns gw-a", "Watch a namespace"),
        ("1,204/262,144", "by source"),
        ("capture off", "Capture packets"),
        ("acct off", "Switch accounting on"),
        ("REC ●", "recording ended"),
    ],
)
async def test_facts_of_the_header_with_a_command_can_be_clicked(words: str, seen_then: str) -> None:
    source = session()
    source.facts = replace(FACTS, recording="00:41 12.4M", acct="off")
    async with running(source=source) as seen:
        await click(seen, words, at=2)
        await seen.see(seen_then)


async def test_paused_in_the_header_resumes() -> None:
    async with running() as seen:
        await seen.press("space")
        await seen.see("PAUSED LIVE")
        await click(seen, "PAUSED LIVE")
        await seen.see_no("PAUSED LIVE")


async def test_the_filter_the_grouping_and_what_is_received_can_be_clicked() -> None:
    source = session()
    source.facts = replace(FACTS, receive_filter="tcp")
    async with running(source=source) as seen:
        await click(seen, "only tcp", at=6)
        await seen.see("empty receives everything")
        await seen.press("escape", "b", "enter")
        await seen.see("by source")
        await click(seen, "by source", at=4)
        await seen.see("Group flows by")


async def test_keys_in_the_line_of_the_capture_and_in_an_empty_table_can_be_clicked() -> None:
    source = session()
    source.facts = replace(FACTS, capturing=Capturing(("eth0",), "tcp port 443"))
    async with running(source=source) as seen:
        await seen.press("4")
        await seen.see("B  eth0")
        await click(seen, "tcp port 443")
        await seen.see("Capture packets")
        await seen.press("escape", "1")
        source.views["flows"].order = []
        await seen.see("watches another namespace")
        await click(seen, "@ watches another namespace", at=3)
        await seen.see("Watch a namespace")


async def test_what_follows_can_be_stopped_by_a_click() -> None:
    async with running(WIDE) as seen:
        await seen.press("j", "f")
        await seen.see("FOLLOW ▶")
        await click(seen, "FOLLOW ▶", at=3)
        await seen.see_no("FOLLOW ▶")


async def test_reset_is_offered_where_a_counter_can_be_reset() -> None:
    async with running() as seen:
        await seen.press("5")
        await seen.see("[5 Counters]")
        assert "Z reset" not in hints(seen)
        seen.session.views["counters"].resettable = True
        await seen.until(lambda: "Z reset" in hints(seen), "reset")


async def test_counters_have_a_filter_and_a_key_for_zeroes() -> None:
    async with running() as seen:
        await seen.press("5")
        await seen.until(lambda: "/ filter" in hints(seen) and "z zeroes" in hints(seen), "both")
        await seen.press("slash")
        await seen.see("drop or group tcp and rate > 0")
        await seen.write("drop")
        await seen.press("enter")
        await seen.until(lambda: seen.main.table.filter is not None, "the filter")
        await seen.press("escape", "z")
        assert seen.session.asked[-1][1].zeroes
        await seen.press("z")
        assert not seen.session.asked[-1][1].zeroes
