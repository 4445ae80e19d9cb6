"""Keys that come in one piece, as over a slow line: a dialog is answered once, and the screen below it stays."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser

from nettop.ui.terminal import separate_escape_from_alt
from tests.ui.plain_session import session
from tests.ui.screen_text import Seen, running

NAMES = {"enter": "\r", "space": " ", "slash": "/"}


async def typed_ahead(seen: Seen, *keys: str) -> None:
    """All the keys before any of them is answered."""
    for key in keys:
        seen.app.post_message(events.Key(key, NAMES.get(key, key)))
    await seen.pilot.pause()
    await seen.pilot.pause()


@pytest.mark.parametrize(
    "keys",
    [
        ("b", "enter", "enter"),
        ("b", "enter", "b", "enter"),
        ("b", "enter") * 4,
        ("b", "b", "enter", "enter"),
        ("s", "enter", "s", "enter"),
        ("s", "s", "s", "enter"),
        ("C", "enter", "enter"),
        ("D", "enter", "enter"),
        ("D", "y", "y"),
        ("y", "y", "y"),
        ("B", "enter", "enter"),
        (":", "enter", "enter"),
        ("?", "?", "?"),
    ],
)
async def test_keys_typed_ahead_leave_the_screen_standing(keys: tuple[str, ...]) -> None:
    source = session()
    async with running(source=source) as seen:
        await typed_ahead(seen, *keys)
        for _ in range(3):
            await seen.press("escape")
        await seen.until(lambda: seen.app.screen is seen.main, "the dialogs are gone")
        await seen.press("2")
        await seen.see("[2 Events]")
        await seen.press("1")
        await seen.see("[1 Flows]")


async def test_keys_behind_enter_are_not_text() -> None:
    async with running() as seen:
        await typed_ahead(seen, "slash", "t", "c", "p", "enter", "2")
        await seen.see("[2 Events]")
        await typed_ahead(seen, "1", "slash", "n", "a", "t", "escape", "G")
        await seen.until(lambda: not seen.main.typing and "/ tcp" in seen.text, "the filter before stays")
        await seen.until(lambda: ":56600" in seen.cursor_line(), "the last of them")


async def test_keys_behind_a_refused_text_are_text() -> None:
    async with running() as seen:
        await typed_ahead(seen, "slash", "t", "c", "p", "x", "enter", "backspace", "enter", "2")
        await seen.see("[2 Events]")
        await seen.press("1")
        await seen.see("/ tcp ")


async def test_a_click_elsewhere_leaves_the_keys_with_the_prompt() -> None:
    async with running() as seen:
        await seen.press("slash")
        await seen.write("tcp")
        await seen.pilot.click(offset=(20, 10))
        await seen.write(" and port 443")
        await seen.until(lambda: "tcp and port 443" in seen.text, "the text goes on")
        await seen.press("ctrl+c")
        await seen.until(lambda: not seen.main.typing, "Ctrl-C leaves it")


def test_escape_before_enter_in_one_read_is_escape_then_enter() -> None:
    """Else Esc in a dialog that asks whether to delete, and Enter meant for the table behind it, would delete."""
    separate_escape_from_alt()
    found = list(XTermParser().feed("D\x1b\r"))
    assert [event.key for event in found if isinstance(event, events.Key)] == ["D", "escape", "enter"]
