"""Keys that come in one piece, as over a slow line: a dialog is answered once, and the screen below it stays."""

from __future__ import annotations

import pytest
from textual import events

from tests.ui.plain_session import session
from tests.ui.screen_text import Seen, running

NAMES = {"enter": "\r", "space": " "}


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
