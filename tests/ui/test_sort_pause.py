"""Sorting pauses while rows are read: the titles say so, and it resumes by itself, by `g` and by a click."""

from __future__ import annotations

import pytest

from nettop.ui.widgets import table
from tests.ui.plain_session import session
from tests.ui.screen_text import SMALL, WIDE, Seen, running

TITLES = "PROTO"


def titles(seen: Seen) -> str:
    return next(line for line in seen.lines if TITLES in line)


def frozen(seen: Seen) -> bool:
    return [spec.frozen for view, spec in seen.session.asked if view == "flows"][-1]


@pytest.mark.parametrize("size", [SMALL, (100, 30), (120, 40), WIDE, (200, 60)])
async def test_the_titles_say_that_sorting_is_paused_and_keep_every_name(size: tuple[int, int]) -> None:
    async with running(size) as seen:
        before = titles(seen).split()
        assert "SORT" not in before
        await seen.press("j")
        await seen.until(lambda: "SORT PAUSED" in titles(seen), "the state of the order")
        assert [word for word in titles(seen).split() if word not in ("SORT", "PAUSED")] == before
        assert "g resumes" in seen.text
        await seen.press("g")
        await seen.see_no("SORT PAUSED")
        await seen.until(lambda: not frozen(seen), "a live order")


async def test_a_paused_order_resumes_by_itself_without_moving_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    source = session()
    async with running(source=source) as seen:
        await seen.press("j", "j", "j")
        await seen.until(lambda: frozen(seen), "a kept order")
        monkeypatch.setattr(table, "RESUME_AFTER", 0.2)
        await seen.until(lambda: not frozen(seen), "a live order")
        assert "SORT PAUSED" not in seen.text
        source.views["flows"].rows[200]["rate"] = "999M/s"
        await seen.until(lambda: ":56503" in seen.lines[seen.lines.index(titles(seen)) + 1], "the new first row")
        assert ":56306" in seen.cursor_line(), "the cursor went with its row"


async def test_a_click_on_sort_paused_resumes() -> None:
    async with running() as seen:
        await seen.press("j", "j")
        await seen.see("SORT PAUSED")
        line = seen.lines.index(titles(seen))
        await seen.pilot.click(offset=(titles(seen).index("SORT PAUSED") + 3, line))
        await seen.see_no("SORT PAUSED")
        assert ":56303" in seen.cursor_line()


async def test_an_open_detail_does_not_stop_sorting_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as seen:
        await seen.press("j", "enter")
        await seen.until(lambda: frozen(seen), "a kept order")
        assert "SORT PAUSED" in seen.text and "g resumes" not in seen.text, "g scrolls the detail"
        monkeypatch.setattr(table, "RESUME_AFTER", 0.2)
        await seen.until(lambda: not frozen(seen), "a live order")
        assert ":56304" in seen.cursor_line()


async def test_keys_keep_the_order_and_a_paused_display_is_not_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as seen:
        await seen.press("j", "space")
        await seen.see("PAUSED LIVE")
        monkeypatch.setattr(table, "RESUME_AFTER", 0.0)
        for _ in range(3):
            await seen.press("space", "space")
            assert "PAUSED" in seen.text
        assert "SORT PAUSED" not in titles(seen)


async def test_rows_in_the_order_of_rules_have_nothing_to_pause() -> None:
    async with running() as seen:
        await seen.press("3", "enter", "j")
        await seen.see("[3 Chains]")
        assert "SORT PAUSED" not in seen.text
        assert not any(spec.frozen for view, spec in seen.session.asked if view == "rules")
