"""What keys and the mouse do in a table, and what the commands do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nettop.ui.actions.registry import COMMANDS
from nettop.ui.commands import applies
from tests.ui.plain_session import FACTS, HERE, PlainSession, session
from tests.ui.screen_text import SMALL, WIDE, running


async def test_moving_by_row_page_and_to_both_ends() -> None:
    async with running() as seen:
        assert ":56303" in seen.cursor_line()
        for keys, port in (
            (("j",), 56304), (("down",), 56305), (("k",), 56304), (("up",), 56303), (("up",), 56303),
            (("pagedown",), 56303 + 39), (("pageup",), 56303), (("G",), 56602), (("end",), 56602),
            (("g",), 56303), (("G", "home"), 56303),
        ):  # fmt: skip
            await seen.press(*keys)
            await seen.until(lambda port=port: f":{port}" in seen.cursor_line(), f"{keys} → {port}")  # type: ignore[misc]


async def test_only_the_visible_window_is_asked_for() -> None:
    async with running() as seen:
        await seen.press("G", "g", "pagedown")
        assert seen.session.asked and all(spec.height <= 3 * 45 for _, spec in seen.session.asked)
        assert {view for view, _ in seen.session.asked} == {"flows"}, "a view that is not shown asks for nothing"


async def test_the_cursor_stays_on_its_row_when_the_order_changes() -> None:
    async with running() as seen:
        await seen.press(*"jjjjj")
        await seen.until(lambda: ":56308" in seen.cursor_line(), "cursor on the sixth row")
        line = seen.lines.index(seen.cursor_line())
        model = seen.session.views["flows"]
        model.rows[200]["rate"] = "5M/s"
        model.version += 1
        await seen.until(lambda: ":56308" in seen.cursor_line() and "5M/s" not in seen.text, "the same row")
        assert seen.lines.index(seen.cursor_line()) == line, "on the same line of the screen"
        await seen.press("g")
        await seen.until(lambda: "5M/s" in seen.cursor_line(), "at the top the order lives")


async def test_s_sorts_and_the_header_shows_it() -> None:
    async with running() as seen:
        await seen.press("s")
        await seen.see("Sort by")
        await seen.press("g", "j", "enter")
        await seen.see("STATE▲")
        await seen.press("s", "enter")
        await seen.see("STATE▼")


async def test_on_a_small_screen_dialogs_keep_their_keys_and_say_that_there_is_more() -> None:
    async with running(size=SMALL) as seen:
        for key, hint in (("C", "Space toggle"), ("s", "Space then by"), ("colon", "Enter choose")):
            await seen.press(key)
            await seen.see(hint)
            if key == "s":
                await seen.see("PROTO")
            if key == "colon":
                await seen.see("↓│")
            await seen.press("escape")
            await seen.until(lambda hint=hint: hint not in seen.text, "the dialog is gone")  # type: ignore[misc]


async def test_s_takes_a_second_column_and_the_header_numbers_both() -> None:
    async with running() as seen:
        await seen.press("s")
        await seen.see("Sort by")
        await seen.press("g", "enter")
        await seen.see("PROTO▲ ")
        assert "RATE▼²" in seen.text, "the column sorted by before breaks ties"
        await seen.press("s", "g", "j", "space")
        await seen.see("second ▲")
        await seen.press("space")
        await seen.see("second ▼")
        await seen.press("escape")
        await seen.see("STATE▼²")
        assert "PROTO▲ " in seen.text and "RATE▼" not in seen.text
        assert [key.key for key in seen.main.table.sort] == ["proto", "state"]


async def test_a_click_with_ctrl_or_shift_takes_the_second_column() -> None:
    async with running() as seen:
        table = seen.main.view.table
        for keys in ({"control": True}, {"shift": True}):
            await seen.pilot.click(table, offset=(seen.lines[2].index("AGE"), 0), **keys)
            await seen.see("AGE▼²" if "control" in keys else "AGE▲²")
        assert "RATE▼¹" in seen.text


async def test_a_click_on_a_title_sorts_and_on_a_row_selects() -> None:
    async with running() as seen:
        table = seen.main.view.table
        x = seen.lines[2].index("↑BYTES")
        await seen.pilot.click(table, offset=(x, 0))
        await seen.see("↑BYTES▼")
        await seen.pilot.click(table, offset=(20, 5))
        await seen.until(lambda: seen.lines[table.region.y + 5].startswith("▶"), "cursor on the clicked row")
        await seen.pilot.click(table, offset=(20, 5))
        await seen.until(lambda: seen.main.view.is_open, "a second click opens")


async def test_a_click_on_a_tab_goes_there() -> None:
    async with running() as seen:
        await seen.pilot.click("#tabs", offset=(seen.lines[1].index("2 Events"), 0))
        await seen.see("[2 Events]")


async def test_the_wheel_scrolls() -> None:
    async with running() as seen:
        table = seen.main.view.table
        table.on_mouse_scroll_down(_Wheel())  # type: ignore[arg-type]
        await seen.until(lambda: ":56303" not in seen.text, "the first row scrolled away")
        table.on_mouse_scroll_up(_Wheel())  # type: ignore[arg-type]
        await seen.see(":56303")


class _Wheel:
    def stop(self) -> None: ...


async def test_columns_that_went_can_be_scrolled_to() -> None:
    async with running(SMALL) as seen:
        assert "TIMEOUT" not in seen.text and "›" in seen.text
        await seen.press(*["right"] * 9)
        await seen.see("TIMEOUT")
        assert "PROTO" in seen.text, "the frozen column stays"
        await seen.press(*["left"] * 9)
        await seen.see("ORIGINAL")


async def test_c_chooses_columns() -> None:
    async with running() as seen:
        await seen.press("C")
        await seen.see("[x] STATE")
        await seen.press("g", "j", "space", "enter")
        await seen.until(lambda: "STATE" not in seen.lines[2], "the column is gone")


async def test_filter_shows_what_matches_and_esc_clears_it() -> None:
    async with running() as seen:
        await seen.press("slash")
        await seen.see("Enter shows what matches")
        await seen.write("port 56310")
        await seen.press("enter")
        await seen.see("300 flows, 1 match")
        assert "/ port 56310" in seen.lines[1]
        await seen.press("escape")
        await seen.see("300 match")


async def test_a_bad_filter_gets_a_caret_under_the_error() -> None:
    async with running(SMALL) as seen:
        await seen.press("slash")
        await seen.write("host and")
        await seen.press("enter")
        await seen.see("^")
        at = next(i for i, line in enumerate(seen.lines) if "/ host and" in line)
        caret = seen.lines[at + 1].index("^")
        start = seen.lines[at].index("host and")
        assert start + 5 <= caret <= start + 8, "under the word that cannot stand there, or the end"
        await seen.press("escape")
        await seen.see("300 match")


async def test_the_prompt_remembers_what_was_typed() -> None:
    async with running() as seen:
        for text in ("port 56310", "port 56311"):
            await seen.press("slash", "ctrl+u")
            await seen.write(text)
            await seen.press("enter")
        await seen.see("/ port 56311")
        await seen.press("slash", "up", "up")
        await seen.see(" / port 56310")


async def test_nothing_matches_says_how_to_get_out() -> None:
    async with running() as seen:
        await seen.press("slash")
        await seen.write("port 33333")
        await seen.press("enter")
        await seen.see("No flow matches")
        await seen.see("clears the filter")


async def test_space_holds_the_screen_still_and_says_so() -> None:
    async with running() as seen:
        await seen.press("space")
        await seen.see("PAUSED")
        assert ("pause", True) in seen.session.done
        asked = len(seen.session.asked)
        await seen.pilot.pause(0.5)
        assert len(seen.session.asked) == asked
        await seen.press("space")
        await seen.see_no("PAUSED")


async def test_follow_is_left_by_moving_and_taken_up_again() -> None:
    async with running() as seen:
        await seen.press("2")
        await seen.see("FOLLOW ▼")
        await seen.press("k")
        await seen.see_no("FOLLOW ▼")
        await seen.press("f")
        await seen.see("FOLLOW ▼")


async def test_new_rows_do_not_move_the_cursor_of_someone_who_reads() -> None:
    async with running() as seen:
        await seen.press("2")
        await seen.see("FOLLOW ▼")
        await seen.press("k", "k")
        await seen.until(lambda: ":40197" in seen.cursor_line(), "third from the end")
        model = seen.session.views["events"]
        model.rows += [dict(model.rows[0]) for _ in range(50)]
        model.version += 1
        await seen.see("250 match")
        assert ":40197" in seen.cursor_line()


async def test_the_palette_finds_commands_by_their_words() -> None:
    for key in ("colon", "ctrl+p"):
        async with running() as seen:
            await seen.press(key)
            await seen.see("Commands")
            await seen.write("names hosts")
            await seen.press("enter")
            await seen.until(lambda: ("set_names", True) in seen.session.done, "the command ran")


async def test_help_fits_the_screen_and_closes() -> None:
    for size in (SMALL, WIDE):
        async with running(size) as seen:
            await seen.press("question_mark")
            await seen.see("Help")
            for words in ("Quit", "Flows", "Filter", "Page down"):
                assert words in seen.text
            await seen.press("escape")
            await seen.see_no("Page down")


async def test_namespace_switcher_lists_and_takes_a_free_name() -> None:
    async with running() as seen:
        await seen.press("at")
        await seen.see("pid 812")
        await seen.write("gw-a")
        await seen.press("enter")
        await seen.until(lambda: ("watch_namespaces", ("gw-a",)) in seen.session.done, "switched")
        await seen.press("at")
        await seen.write("pid:99")
        await seen.press("enter")
        await seen.until(lambda: ("watch_namespaces", ("pid:99",)) in seen.session.done, "switched to a typed one")


async def test_several_namespaces_are_ticked_and_the_one_under_the_cursor_is_shown() -> None:
    async with running(source=replace(session(), choices=(*HERE[:2], replace(HERE[2], watched=True)))) as seen:
        await seen.press("at")
        await seen.see("[x] pid 812")
        await seen.write("host")
        await seen.press("space")
        await seen.see("[x] host")
        await seen.press(*["backspace"] * 4, "down", "enter")
        await seen.until(
            lambda: ("watch_namespaces", ("gw-a", "", "pid:812")) in seen.session.done, "gw-a, and flows of the others"
        )


async def test_capture_asks_for_devices_and_filter() -> None:
    async with running() as seen:
        await seen.press("4", "B")
        await seen.see("[x] eth0")
        await seen.press("j", "space", "tab")
        await seen.write("tcp port 443")
        await seen.press("enter")
        await seen.until(
            lambda: ("start_capture", ("eth0", "eth1"), "tcp port 443") in seen.session.done, "the capture began"
        )
        await seen.see_no("Capture filter")


async def test_a_refused_capture_stays_open_and_says_why() -> None:
    async with running() as seen:
        seen.session.refusal = "no such device: eth0 went away"
        await seen.press("4", "B")
        await seen.see("[x] eth0")
        await seen.press("enter")
        await seen.see("no such device")
        await seen.press("escape")
        await seen.see_no("Capture filter")


@pytest.mark.parametrize(("key", "asked"), [("B", "devices"), ("at", "namespaces")])
async def test_a_list_that_could_not_be_made_is_an_error_not_an_empty_list(
    key: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlainSession, asked, lambda self, deliver: deliver("Too many open files"))
    async with running() as seen:
        await seen.press("4", key)
        await seen.see("Too many open files")
        await seen.see_no("nothing to choose")


async def test_the_packets_of_an_earlier_capture_are_chosen_by_name() -> None:
    async with running() as seen:
        await seen.press("4", "L")
        await seen.see("11:59:02 eth0")
        await seen.press("j", "enter")
        await seen.until(lambda: ("show_packets", 1) in seen.session.done, "the earlier packets")


async def test_record_asks_for_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.pcapng").write_bytes(b"x")
    async with running() as seen:
        await seen.press("r")
        await seen.see("record to nettop-gw-a-")
        await seen.press("ctrl+u")
        await seen.write("old.pcapng")
        await seen.see("nothing is overwritten")
        await seen.press("ctrl+u")
        await seen.write("new.pcapng")
        await seen.press("enter")
        await seen.until(lambda: ("start_recording", "new.pcapng") in seen.session.done, "recording began")


async def test_export_writes_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running() as seen:
        await seen.press("4", "slash")
        await seen.write("port 51830")
        await seen.press("enter", "w")
        await seen.see("match port 51830")
        await seen.press("ctrl+u")
        await seen.write("out.pcapng")
        await seen.press("enter")
        await seen.until(lambda: ("export", "out.pcapng", "port 51830") in seen.session.done, "exported")


async def test_errors_are_one_line_toasts() -> None:
    async with running() as seen:
        seen.session.refusal = "net.netfilter.nf_conntrack_acct: read-only: start without --read-only"
        await seen.press("A", "y")
        await seen.see("read-only")


async def test_y_copies_without_control_characters() -> None:
    async with running() as seen:
        seen.session.views["flows"].rows[0]["orig"] = "evil\x1b[31m"
        await seen.press("r", "escape", "y", "y")
        await seen.see("copied")
        assert "\\x1b[31m" in seen.app.clipboard and "\x1b" not in seen.app.clipboard


async def test_q_quits() -> None:
    async with running() as seen:
        await seen.press("q")
        assert seen.app.return_value == 0


async def test_q_asks_while_recording() -> None:
    source = session()
    source.facts = replace(FACTS, recording="00:41 12.4M")
    async with running(source=source) as seen:
        await seen.press("q")
        await seen.see("A recording is running")
        await seen.press("escape")
        assert seen.app.return_value is None
        await seen.press("q", "j", "enter")
        assert seen.app.return_value == 0


async def test_r_ends_a_recording() -> None:
    source = session()
    source.facts = replace(FACTS, recording="00:41 12.4M")
    async with running(source=source) as seen:
        await seen.press("r")
        await seen.until(lambda: ("stop_recording",) in seen.session.done, "ended")


async def test_a_theme_is_put_on_at_once() -> None:
    async with running() as seen:
        await seen.main.action_command("theme")
        await seen.see("Themes")
        await seen.press("j", "enter")
        await seen.until(lambda: seen.app.palette.theme.name == "light", "the light theme")
        await seen.see("SNAT")


async def test_an_answer_that_comes_late_is_drawn_then_and_the_old_rows_stay_meanwhile() -> None:
    async with running() as seen:
        seen.session.held = True
        await seen.press("G")
        assert ":56303" in seen.text, "the last snapshot stays until the new one is there"
        seen.session.release()
        await seen.until(lambda: ":56602" in seen.cursor_line(), "the end")


async def test_notes_of_the_session_are_said_once() -> None:
    async with running() as seen:
        seen.session.facts = replace(FACTS, notes=("your own ssh session is left out",))
        await seen.see("your own ssh session is left out")


@pytest.mark.parametrize("view", ["flows", "events", "chains", "packets", "counters"])
async def test_every_key_does_something_or_nothing_but_never_breaks(view: str) -> None:
    async with running() as seen:
        await seen.main.action_command(f"view_{view}")
        await seen.pilot.pause()
        keys = [
            key
            for command in COMMANDS
            if applies(command, seen.main.command_context)
            for key in command.keys
            if command.name != "quit"
        ]
        for key in keys:
            await seen.press(key)
            while len(seen.app.screen_stack) > 2:
                await seen.press("escape")
            if seen.main._prompt is not None and seen.main._prompt.display:
                await seen.press("escape")
        assert seen.app.failure is None


def test_every_command_does_something() -> None:
    assert all(callable(c.run) for c in COMMANDS)


async def test_a_long_menu_is_shown_from_its_first_line_while_it_fits() -> None:
    async with running(SMALL) as seen:
        await seen.press("s")
        await seen.see("Sort by")
        await seen.see("▶RATE")
        dialog = "\n".join(seen.lines[4:])
        assert "PROTO" in dialog and "arrival order" in dialog


async def test_another_namespace_begins_at_the_top_of_its_list() -> None:
    async with running() as seen:
        await seen.press("j", "j", "enter")
        await seen.until(lambda: seen.main.view.is_open, "the detail")
        model = seen.session.views["flows"]
        model.rows = [dict(row, orig=row["orig"].replace("192.168.1.2", "10.9.0.4")) for row in model.rows]
        seen.session.facts = replace(FACTS, netns="gw-b")
        await seen.see("netns gw-b")
        await seen.until(lambda: "10.9.0.4:56303" in seen.cursor_line(), "the first flow of the other namespace")
        assert not seen.main.view.is_open and not seen.main.view.table.viewport.anchored


async def test_the_filter_of_chains_goes_to_the_table_with_the_focus() -> None:
    async with running() as seen:
        await seen.press("3", "slash")
        await seen.see("table filter and rate > 0")
        await seen.write("chain FORWARD")
        await seen.press("enter")
        await seen.see("/ chain FORWARD")
        await seen.see_no("ip filter INPUT")
        await seen.press("tab", "slash")
        await seen.see("verdict drop or packets == 0")
        await seen.write("chain lan")
        await seen.press("enter")
        await seen.see("rules / chain lan")
        await seen.see_no("10.9.2.0")
        assert "10.9.2.1" in seen.text
        await seen.press("escape")
        await seen.see_no("rules /")
        assert "/ chain FORWARD" in seen.text, "the chains stay filtered"
        await seen.press("escape", "escape")
        await seen.see_no("/ chain FORWARD")


async def test_a_long_refusal_of_a_capture_filter_is_wrapped_and_keeps_its_caret() -> None:
    async with running(SMALL) as seen:
        seen.session.refusal = f"{'word ' * 20}end of it\n  tcp bogus\n      ^"
        await seen.press("4", "B")
        await seen.see("[x] eth0")
        await seen.press("enter")
        await seen.see("end of it")
        at = next(i for i, line in enumerate(seen.lines) if "tcp bogus" in line and "│" in line)
        assert seen.lines[at + 1].index("^") == seen.lines[at].index("bogus")


async def test_a_toast_reaches_the_edge_and_leaves_no_letters_beside_it() -> None:
    async with running() as seen:
        seen.session.facts = replace(FACTS, acct="off")
        await seen.see("accounting is off: no bytes")
        await seen.press("A", "y")
        await seen.see("accounting is on")
        line = next(line for line in seen.lines if "accounting is on" in line)
        assert line.split("are counted")[1].strip() == "" and "▼" not in line[100:]


async def test_what_is_typed_right_after_a_first_visit_goes_into_the_filter() -> None:
    async with running() as seen:
        seen.main.show("chains")
        await seen.main.action_command("filter")
        await seen.write("hook forward")
        await seen.see(" / hook forward")
        await seen.press("enter")
        await seen.see("/ hook forward")
        assert seen.main.view.table.filter is not None


async def test_busy_threads_give_way_sooner_only_while_keys_come(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = sys.getswitchinterval()
    monkeypatch.setattr("nettop.ui.app.KEYS_LAST", 0.0)
    async with running() as seen:
        await seen.press("j")
        await seen.until(lambda: sys.getswitchinterval() == usual, "the usual turn again")
        monkeypatch.setattr("nettop.ui.app.KEYS_LAST", 600.0)
        await seen.press("j")
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == usual, "the process is left as it was"


async def test_a_view_that_is_shown_again_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as seen:
        seen.session.still = True
        await seen.press("2", "1")
        layouts: list[object] = []
        reflow = seen.main._compositor.reflow
        monkeypatch.setattr(seen.main._compositor, "reflow", lambda *size: (layouts.append(size), reflow(*size))[1])
        await seen.press("2")
        await seen.see("[2 Events]")
        assert len(layouts) == 1
