"""The prompt completes a filter: what may come next stands below, Tab takes it."""

from __future__ import annotations

import pytest
from textual.events import Key

from tests.ui.screen_text import SMALL, WIDE, Seen, running


def typed(seen: Seen) -> str:
    """What stands in the prompt."""
    return next(
        line.split(" / ", 1)[1].rstrip() for line in seen.lines[3:] if line.startswith("  / ") or line.startswith(" / ")
    )


@pytest.mark.parametrize("size", [SMALL, (120, 40), WIDE], ids=str)
async def test_what_may_come_next_stands_below_and_fits(size: tuple[int, int]) -> None:
    async with running(size) as seen:
        await seen.press("slash")
        await seen.write("sta")
        await seen.see("state")
        assert all(len(line) == size[0] for line in seen.lines)
        assert "Tab complete" in seen.lines[-1] and "b group" not in seen.lines[-1], "keys that are letters now"
        await seen.press("tab")
        await seen.until(lambda: typed(seen).startswith(("state", "status")), "completed")


async def test_tab_goes_through_what_may_stand_there_and_back() -> None:
    async with running() as seen:
        await seen.press("slash")
        await seen.write("state est")
        await seen.press("tab")
        await seen.until(lambda: typed(seen) == "state established", "the only one")
        await seen.write("and p")
        seen_words = []
        for _ in range(3):
            await seen.press("tab")
            seen_words.append(typed(seen))
        assert len(set(seen_words)) == 3 and all(w.startswith("state established and p") for w in seen_words)
        assert f"[{seen_words[-1].split()[-1]}]" in seen.text, "the chosen one is marked without colour"
        await seen.press("shift+tab")
        await seen.until(lambda: typed(seen) == seen_words[1], "one back")


async def test_an_error_and_what_may_come_stand_together() -> None:
    async with running(SMALL) as seen:
        await seen.press("slash")
        await seen.write("stat")
        await seen.see("^")
        await seen.see("state")


async def test_typing_fast_behind_tab_keeps_the_order() -> None:
    async with running() as seen:
        await seen.press("slash")
        for key in ("s", "t", "a", "t", "e", "space", "e", "s", "t", "tab", "a", "n", "d"):
            seen.app.post_message(Key(key, {"space": " ", "tab": "\t"}.get(key, key)))
        await seen.until(lambda: typed(seen) == "state established and", "in the order of the keys")


async def test_a_file_name_is_not_completed() -> None:
    async with running() as seen:
        await seen.press("r")
        await seen.see("record to")
        await seen.press("tab")
        await seen.see("record to nettop-gw-a")
