"""Every view answers its key and says what a person came for, at every size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.ui.actions.registry import COMMANDS
from nettop.ui.commands import hinted
from tests.ui.plain_session import FACTS, session
from tests.ui.plain_tables import PlainModel, packets
from tests.ui.screen_text import SMALL, WIDE, running

SIZES = [(80, 24), (120, 40), (160, 45), (200, 60)]
SIGNS = {"1": "SNAT", "2": "UPDATE", "3": "prerouting", "4": "SOURCE", "5": "insert_failed"}


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_every_view_answers_its_number(size: tuple[int, int]) -> None:
    async with running(size) as seen:
        for key, sign in SIGNS.items():
            await seen.press(key)
            await seen.see(sign)
            assert f"[{key} " in seen.text, "the tab of the view is marked"
            assert all(len(line) == size[0] for line in seen.lines)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_header_shows_use_losses_and_the_clock(size: tuple[int, int]) -> None:
    async with running(size) as seen:
        top = "\n".join(seen.lines[:2])
        for words in ("gw-a", "1,204/262,144 0.5%", "3.1k ev/s", "capture off", "lost 0", "LIVE"):
            assert words in top


async def test_views_the_session_lacks_are_not_shown() -> None:
    source = session()
    del source.views["counters"], source.views["events"]
    async with running(source=source) as seen:
        assert "5 Counters" not in seen.text and "2 Events" not in seen.text
        await seen.press("5")
        assert "[1 Flows]" in seen.text


@pytest.mark.parametrize("key", list(SIGNS))
async def test_hints_name_only_keys_that_do_something(key: str) -> None:
    async with running() as seen:
        await seen.press(key)
        await seen.see(SIGNS[key])
        hints = seen.lines[-1]
        here = {c.hint for c in COMMANDS if hinted(c, seen.main.command_context)}
        for command in COMMANDS:
            if command.hint and command.hint not in here:
                assert f" {command.hint} " not in hints
        assert "? help" in hints


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_banner_stays_whole_above_every_view_at_every_width(size: tuple[int, int]) -> None:
    words = "a recording of the lab, not the lab: " + "this host denies it " * 8 + "\x1b[31m. sudo nettop demo"
    async with running(size, banner=words) as seen:
        for key, sign in SIGNS.items():
            await seen.press(key)
            await seen.see(sign)
            top = " ".join(" ".join(seen.lines[:10]).split())
            assert "not the lab: this host denies it" in top and "sudo nettop demo" in top and "\x1b" not in top
        await seen.pilot.resize_terminal(*SMALL)
        await seen.until(lambda: "sudo nettop demo" in " ".join(" ".join(seen.lines[:10]).split()), "wrapped again")


async def test_forty_by_ten_still_shows_rows() -> None:
    async with running((40, 10)) as seen:
        assert "192.168.1.2" in seen.text
        for key in ("2", "3", "4", "5", "1", "enter", "escape", "question_mark", "escape", "slash", "escape"):
            await seen.press(key)
            assert all(len(line) == 40 for line in seen.lines)


async def test_a_smaller_terminal_says_that_it_is_too_small() -> None:
    async with running() as seen:
        await seen.pilot.resize_terminal(20, 5)
        await seen.until(lambda: "too small" in seen.text, "too small")
        await seen.pilot.resize_terminal(*WIDE)
        await seen.until(lambda: "too small" not in seen.text and "SNAT" in seen.text, "the table again")


async def test_resizing_to_anything_never_breaks() -> None:
    async with running() as seen:
        await seen.press("4", "enter")
        for size in [(1, 1), (5, 60), (300, 3), (29, 9), (80, 24), (120, 27), (120, 28), (160, 45)]:
            await seen.pilot.resize_terminal(*size)
            await seen.pilot.pause()
        await seen.see("SOURCE")


async def test_an_empty_view_says_what_to_do() -> None:
    source = session()
    source.views["packets"].rows.clear()
    async with running(SMALL, source) as seen:
        await seen.press("4")
        await seen.see("B starts a capture")


async def test_an_empty_state_of_the_model_comes_first() -> None:
    source = session()
    source.views["counters"].rows.clear()
    source.views["counters"].notes = ((("conntrack is not loaded here", "warn"),),)
    async with running(source=source) as seen:
        await seen.press("5")
        await seen.see("conntrack is not loaded here")


async def test_recording_and_loss_stand_in_the_header() -> None:
    source = session()
    source.facts = replace(FACTS, recording="00:41 12.4M", lost="1,204 ring", mode="REPLAY", capture="41.2k pkt/s")
    for size in (WIDE, SMALL):
        async with running(size, source) as seen:
            top = "\n".join(seen.lines[:2])
            for words in ("REC ● 00:41 12.4M", "lost 1,204 ring", "REPLAY", "41.2k pkt/s"):
                assert words in top


async def test_a_full_table_says_so_in_words() -> None:
    source = session()
    source.facts = replace(FACTS, count=262_000)
    async with running(source=source) as seen:
        assert "full!" in seen.lines[0]


async def test_detail_beside_the_list_on_a_tall_screen() -> None:
    async with running(WIDE) as seen:
        await seen.press("j", "enter")
        await seen.see("flows 1")
        assert "SNAT" in seen.text and "PROTO" in seen.text
        await seen.press("escape")
        await seen.see_no("flows 1 ")


async def test_list_or_detail_on_a_small_screen() -> None:
    async with running(SMALL) as seen:
        await seen.press("j", "enter")
        await seen.see("flows 1")
        assert "RATE▼" not in seen.text
        await seen.until(lambda: "Esc back" in seen.lines[-1] and "Enter" not in seen.lines[-1], "keys of a detail")
        await seen.press("escape")
        await seen.see("RATE▼")


async def test_detail_of_a_flow_that_ended_stays_and_says_so() -> None:
    async with running(WIDE) as seen:
        await seen.press("j", "enter")
        await seen.see("flows 1")
        model = seen.session.views["flows"]
        model.order = [i for i in range(300) if i != 1]
        model.version += 1
        await seen.see("gone")
        assert "192.168.1.2:56304" in seen.text.split("flows 1")[1], "what was known of it is still there"


@pytest.mark.parametrize("size", [WIDE, SMALL], ids=str)
async def test_packets_show_tree_and_bytes(size: tuple[int, int]) -> None:
    async with running(size) as seen:
        await seen.press("4", "g", "enter")
        await seen.see("51822")
        if size == SMALL:
            await seen.press("tab")
        await seen.see("E..<.F@.@")
        assert "0000  45 00" in seen.text


async def test_a_file_opens_at_its_first_packet_and_live_follows_the_last() -> None:
    source = session()
    async with running(source=source) as seen:
        await seen.press("4")
        await seen.see("FOLLOW ▼")
        assert "51941" in seen.cursor_line()
    source = session()
    source.facts = replace(FACTS, mode="REPLAY")
    async with running(source=source) as seen:
        await seen.press("4")
        await seen.see("51822")
        assert "FOLLOW" not in seen.text


async def test_rules_of_the_chain_under_the_cursor() -> None:
    async with running() as seen:
        await seen.press("3")
        await seen.see("ip daddr 10.9.0.0 counter drop")
        await seen.press("j", "j")
        await seen.see("ip daddr 10.9.2.0 counter drop")
        await seen.press("enter", "j", "enter")
        await seen.see("rules 7")
        await seen.press("escape", "escape")
        await seen.press("k")
        await seen.see("ip daddr 10.9.1.0 counter drop")


async def test_rules_take_the_place_of_the_chains_on_a_small_screen() -> None:
    async with running(SMALL) as seen:
        await seen.press("3")
        await seen.see("prerouting")
        assert "RULE " not in seen.text
        await seen.press("enter")
        await seen.see("10.9.0.0 counter drop")
        await seen.press("escape")
        await seen.see_no("10.9.0.0 counter drop")


async def test_hostile_cells_never_reach_the_screen_raw() -> None:
    model = packets(3)
    model.rows[1]["info"] = "\x1b]52;c;AAAA\x07\x1b[2J\u202eevil\x00"
    source = session()
    source.views["packets"] = model
    async with running(source=source) as seen:
        await seen.press("4")
        await seen.see("\\x1b]52")
        assert not any(ord(c) < 32 or c == "\u202e" for line in seen.lines for c in line)


async def test_wide_characters_keep_the_columns_aligned() -> None:
    source = session()
    chains: PlainModel = source.views["chains"]
    chains.rows[1]["hook"] = "入力入力入力入力入力"
    async with running(source=source) as seen:
        await seen.press("3")
        await seen.see("入力入力")
        from rich.cells import cell_len

        rows = [line for line in seen.lines if "0 filter" in line and "ip filter" in line and "─" not in line]
        assert len({cell_len(line[: line.index("0 filter")]) for line in rows}) == 1


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_without_chains_their_advice_has_the_room_of_the_rules(size: tuple[int, int]) -> None:
    source = session()
    async with running(size, source) as seen:
        await seen.press("3")
        await seen.see("prerouting")
        kept = list(source.views["chains"].rows)
        source.views["chains"].rows.clear()

        def advised() -> bool:  # on one screen: the table is painted before the layout that gives it the rules' lines
            advice = "No base chains in this namespace" in seen.text and "watches another" in seen.text
            return advice and "hook prerouting" not in seen.text

        await seen.until(advised, "their advice, and no rules")
        source.views["chains"].rows += kept
        await seen.see("ip filter INPUT")


@pytest.mark.parametrize(("size", "lines"), [((80, 24), 0), ((120, 30), 1), ((120, 40), 3), ((200, 60), 3)])
async def test_events_have_a_timeline_where_there_is_room(size: tuple[int, int], lines: int) -> None:
    async with running(size) as seen:
        await seen.press("2")
        await seen.see("UPDATE")
        await seen.until(lambda: sum("█" in line for line in seen.lines[2:6]) == min(lines, 1) or lines == 3, "drawn")
        found = [line for line in seen.lines if "peak" in line and "/s" in line]
        assert len(found) == lines
        if lines == 3:
            assert [line.split()[0] for line in found] == ["NEW", "UPDATE", "DESTROY"]
        elif lines:
            assert "NEW" in found[0] and "DESTROY" in found[0]
