"""What can be done with a flow: grouped, deleted, copied, captured, followed to the same thing elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.ui.plain_session import FACTS, PlainSession, session
from tests.ui.screen_text import SMALL, WIDE, Seen, running

SIZES = [SMALL, (120, 40), (200, 60)]


async def type_filter(seen: Seen, text: str) -> None:
    await seen.press("slash")
    await seen.write(text)
    await seen.press("enter")
    await seen.see(f"/ {text}")


# ── groups ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_b_groups_enter_opens_a_group_and_esc_goes_back_to_it(size: tuple[int, int]) -> None:
    async with running(size) as seen:
        await seen.press("b")
        await seen.see("Group flows by")
        await seen.see("nat address")
        await seen.press("enter")
        await seen.see("by source")
        await seen.see("3 sources")
        assert "ORIGINAL" not in seen.text, "the groups take the flows' place"
        assert seen.session.asked[-1][0] == "groups" and seen.session.asked[-1][1].group == "source"
        await seen.press("j", "enter")
        await seen.see("by source ▸ 192.168.1.2")
        await seen.see("ORIGINAL")
        assert seen.main.table.filter is not None and seen.main.table.filter.text == "src host 192.168.1.2"
        await seen.press("escape")
        await seen.see("3 sources")
        assert "192.168.1.2" in seen.cursor_line(), "at the same place"
        await seen.press("b", "G", "enter")
        await seen.see("300 flows, 300 match")
        assert seen.main.table.filter is None


async def test_groups_keep_the_filter_and_a_group_that_is_empty_says_where_esc_leads() -> None:
    async with running() as seen:
        await type_filter(seen, "port 56310")
        await seen.press("b", "enter")
        await seen.see("by source   / port 56310")
        seen.main.table.set_filter(None)
        await seen.press("enter")
        await seen.see("No flow matches")
        await seen.see("Esc goes back to the groups")
        await seen.press("escape", "escape")
        await seen.see("300 flows, 300 match")


async def test_a_click_on_the_tables_use_leads_to_who_holds_it() -> None:
    for size in (SMALL, WIDE):
        async with running(size) as seen:
            await seen.press("3")
            await seen.see("prerouting")
            y = 0 if size == WIDE else 1
            await seen.pilot.click("#header", offset=(seen.lines[y].index("1,204/"), y))
            await seen.see("by source")
            assert [key.key for key in seen.main.table.sort] == ["flows"]
            await seen.until(lambda: "192.168.1.3" in seen.cursor_line(), "who has most flows stands first")


async def test_groups_offer_no_key_that_is_for_one_flow() -> None:
    async with running(WIDE) as seen:
        await seen.press("b", "enter")
        await seen.see("by source")
        assert " events " not in seen.lines[-1] and " group " in seen.lines[-1]
        await seen.press("E", "P", "c")
        assert not [done for done in seen.session.done if done[0] in ("related", "flow_capture")]


# ── delete ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_d_deletes_one_flow_after_a_yes() -> None:
    async with running(SMALL) as seen:
        await seen.press("j", "D")
        await seen.see("Delete this flow")
        assert "match" not in "\n".join(seen.lines[4:-3]), "without a filter there is no `all`"
        await seen.press("escape")
        await seen.see_no("Delete this flow")
        assert not seen.session.done
        await seen.press("D", "y")
        await seen.see("deleted 1 flow")
        assert seen.session.done == [("delete_flow", 1)]


async def test_d_counts_what_matches_before_it_asks() -> None:
    async with running(SMALL) as seen:
        await type_filter(seen, "port 5631")
        await seen.press("D")
        await seen.see("Delete the 10 flows that match / port 5631")
        await seen.press("j", "enter")
        await seen.see("deleted 318 flows; 2 had ended already")
        assert seen.session.done == [("delete_matching", "port 5631")]


async def test_d_on_a_group_deletes_its_flows() -> None:
    async with running() as seen:
        await seen.press("b", "enter")
        await seen.see("by source")
        await seen.press("j", "D")
        await seen.see("Delete the 300 flows that match / src host 192.168.1.2")
        assert "Delete this flow" not in seen.text
        await seen.press("enter")
        await seen.see("deleted 318")
        assert ("delete_matching", "src host 192.168.1.2") in seen.session.done


@pytest.mark.parametrize("keys", [("D",), ("A",), ("5", "Z")], ids=str)
async def test_nothing_is_changed_and_nothing_asked_under_read_only(keys: tuple[str, ...]) -> None:
    source = session()
    source.facts = replace(FACTS, read_only=True)
    async with running(source=source) as seen:
        assert "D delete" not in seen.lines[-1] and "read-only" in seen.lines[0]
        await seen.press(*keys)
        await seen.see("nettop changes nothing on this host")
        assert len(seen.app.screen_stack) == 2 and not source.done


async def test_a_file_offers_nothing_that_needs_a_live_host() -> None:
    source = session()
    source.facts = replace(FACTS, mode="REPLAY", acct="off")
    async with running(source=source) as seen:
        assert "delete" not in seen.lines[-1] and "accounting is off" not in seen.text
        await seen.press("D", "c", "A", "H", "O")
        await seen.see("that key needs a live namespace")
        assert len(seen.app.screen_stack) == 2 and not source.done


async def test_a_refused_deletion_says_why() -> None:
    async with running() as seen:
        seen.session.refusal = "the kernel refused: EPERM"
        await seen.press("D", "y")
        await seen.see("the kernel refused: EPERM")


# ── copy, capture ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("keys", "form"), [("yy", "text"), ("yJ", "json"), ("yc", "conntrack")])
async def test_y_copies_a_flow_in_the_form_that_is_chosen(keys: str, form: str) -> None:
    async with running() as seen:
        await seen.press("j", *keys)
        await seen.see("copied")
        assert seen.app.clipboard.startswith(f"{form} of flows 1: 192.168.1.2:56304")


async def test_enter_copies_the_text_and_an_open_detail_can_be_copied_whole() -> None:
    async with running() as seen:
        await seen.press("2", "k", "y", "enter")
        await seen.see("copied")
        assert seen.app.clipboard.startswith("text of events 198")
        await seen.press("1", "j", "enter")
        await seen.see("flows 1")
        await seen.press("y", "d")
        await seen.until(lambda: "state" in seen.app.clipboard and "flows 1" in seen.app.clipboard, "the detail")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_c_fills_the_capture_dialog_in_for_this_flow(size: tuple[int, int]) -> None:
    async with running(size) as seen:
        await seen.press("c")
        await seen.see("Capture exactly this flow")
        for words in ("[x] eth0", "before SNAT", "[x] eth1", "after SNAT", "[ ] lo", "fragments and ICMP errors"):
            assert words in seen.text
        await seen.press("enter")
        wanted = "(host 192.168.1.2 and port 56303) or (host 100.100.100.1 and port 56303)"
        await seen.until(lambda: ("start_capture", ("eth0", "eth1"), wanted) in seen.session.done, "the capture began")


# ── the same thing elsewhere, and back ──────────────────────────────────────────────────────────────────────────────


def related() -> PlainSession:
    source = session()
    source.relations = {
        ("flows", "events"): (None, "port 40042"),
        ("flows", "packets"): (None, "port 51830"),
        ("events", "flows"): (250, "port 56553"),
        ("events", "packets"): (None, "port 51831"),
    }
    return source


async def test_e_shows_its_events_and_p_its_packets() -> None:
    async with running(source=related()) as seen:
        await seen.press("E")
        await seen.see("[2 Events]")
        await seen.see("200 events, 1 match")
        assert "/ port 40042" in seen.lines[1]
        await seen.press("left_square_bracket")
        await seen.see("[1 Flows]")
        await seen.press("P")
        await seen.see("120 packets, 1 match")


async def test_f_in_events_puts_the_cursor_on_the_flow() -> None:
    async with running(source=related()) as seen:
        await type_filter(seen, "port 56310")
        await seen.press("2")
        await seen.see("[2 Events]")
        await seen.press("F")
        await seen.until(lambda: ":56553" in seen.cursor_line(), "the cursor is on the flow, without the filter")
        assert "300 match" in seen.text
        await seen.press("left_square_bracket")
        await seen.see("[2 Events]")
        await seen.press("left_square_bracket")
        await seen.see("/ port 56310")
        await seen.press("right_square_bracket", "right_square_bracket")
        await seen.until(lambda: ":56553" in seen.cursor_line(), "forward again")


async def test_esc_leads_back_to_the_flow_whose_events_are_shown_but_not_past_a_view_that_was_chosen() -> None:
    async with running(source=related()) as seen:
        await seen.press("E")
        await seen.see("200 events, 1 match")
        await seen.press("slash")
        await seen.write(" and udp")
        await seen.press("enter")
        await seen.see("No event matches")
        await seen.see("Esc goes back")
        await seen.press("escape")
        await seen.see("[1 Flows]")
        await seen.press("escape", "escape")
        await seen.see("[1 Flows]")
        await seen.press("2")
        await seen.see("Esc clears the filter")
        await seen.press("escape", "escape")
        await seen.see("[2 Events]")


async def test_a_flow_that_has_gone_is_said_and_the_person_stays() -> None:
    source = related()
    source.relations["events", "flows"] = (None, "port 56553")
    async with running(source=source) as seen:
        await seen.press("2")
        await seen.see("[2 Events]")
        await seen.press("F")
        await seen.see("not in the table")
        assert "[2 Events]" in seen.text


async def test_brackets_walk_through_views_filters_groups_and_rows() -> None:
    async with running() as seen:
        await seen.press("j", "j", "j")
        await seen.until(lambda: ":56306" in seen.cursor_line(), "the fourth")
        await type_filter(seen, "port 192")
        await seen.press("b", "enter")
        await seen.see("by source   / port 192")
        await seen.press("j", "enter")
        await seen.see("▸ 192.168.1.2")
        await seen.press("5")
        await seen.see("insert_failed")
        back = seen.press
        await back("left_square_bracket")
        await seen.see("▸ 192.168.1.2")
        await back("left_square_bracket")
        await seen.until(lambda: "192.168.1.2" in seen.cursor_line() and "▸" not in seen.lines[1], "the groups")
        await back("left_square_bracket")
        await seen.until(lambda: "/ port 192" in seen.lines[1] and "by source" not in seen.text, "the filter alone")
        await back("left_square_bracket")
        await seen.until(lambda: ":56306" in seen.cursor_line() and "/ port" not in seen.lines[1], "where it began")
        await back("left_square_bracket")
        await seen.see("no earlier position to go back to")
        await seen.press(*["right_square_bracket"] * 4)
        await seen.see("insert_failed")
        await seen.press("right_square_bracket")
        await seen.see("no later position to go forward to")


async def test_f_goes_with_a_flow_wherever_the_order_takes_it() -> None:
    async with running() as seen:
        await seen.press("f")
        await seen.see("FOLLOW ▶")
        model = seen.session.views["flows"]
        model.rows[0]["rate"] = "0/s"
        await seen.until(
            lambda: ":56303" in seen.cursor_line() and ":56302" not in seen.text and ":56602" in seen.text,
            "it sank to the end, and the cursor with it",
        )
        await seen.press("k")
        await seen.see_no("FOLLOW ▶")


# ── what is received, and how it is shown ───────────────────────────────────────────────────────────────────────────


async def test_n_shows_names_and_the_header_says_so() -> None:
    async with running() as seen:
        await seen.press("N")
        await seen.until(lambda: ("set_names", True) in seen.session.done, "names on")
        await seen.until(lambda: "names" in seen.lines[0], "the header says so")
        await seen.press("N")
        await seen.until(lambda: ("set_names", False) in seen.session.done, "names off")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_accounting_is_offered_once_where_flows_have_no_bytes(size: tuple[int, int]) -> None:
    source = session()
    source.facts = replace(FACTS, acct="off")
    async with running(size, source) as seen:
        await seen.see("accounting is off: no bytes")
        assert "A switches it on" in seen.text and "H rates from headers" in seen.text
        await seen.press("H")
        await seen.until(lambda: ("measure_rates",) in source.done, "rates are measured")
        await seen.press("A")
        await seen.see("nf_conntrack_acct = 1 in gw-a")
        assert ("set_acct", True) not in source.done, "not before it is confirmed"
        await seen.press("escape", "escape")
        await seen.see_no("accounting is off: no bytes")
        await seen.press("2", "1")
        await seen.see("ORIGINAL")
        assert "accounting is off: no bytes" not in seen.text, "once"
        await seen.press("A", "y")
        await seen.until(lambda: ("set_acct", True) in source.done, "accounting is on")


async def test_nothing_is_offered_where_nothing_may_be_changed() -> None:
    source = session()
    source.facts = replace(FACTS, acct="off", read_only=True)
    async with running(source=source) as seen:
        await seen.see("acct off")
        assert "no bytes" not in seen.text


async def test_a_switches_accounting_off_too() -> None:
    async with running() as seen:
        await seen.press("A", "enter")
        await seen.until(lambda: ("set_acct", False) in seen.session.done, "off")


async def test_o_receives_only_what_matches_and_the_screen_says_what_it_lacks() -> None:
    source = session()
    async with running(source=source) as seen:
        await seen.press("O")
        await seen.see(" only ")
        await seen.write("mark 0x1")
        await seen.press("enter")
        await seen.until(lambda: ("watch_only", "mark 0x1") in source.done, "only these")
        source.facts = replace(FACTS, receive_filter="mark 0x1 (in the kernel)")
        await seen.until(lambda: "only mark 0x1 (in the kernel)" in seen.lines[1], "the tabs' line says so")


async def test_z_resets_a_counter_after_a_yes() -> None:
    async with running(SMALL) as seen:
        await seen.press("5")
        await seen.see("insert_failed")
        await seen.press("Z")
        await seen.see("cannot be reset: nft counters")
        assert len(seen.app.screen_stack) == 2
        await seen.press("j", "Z")
        await seen.see("Set it to zero")
        assert not seen.session.done
        await seen.press("y")
        await seen.until(lambda: ("reset_counter", 1) in seen.session.done, "reset")
        await seen.see("begins at zero")
