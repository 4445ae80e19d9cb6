"""Long texts: a paste into the prompt is taken whole, or what is left out is said; what was copied is shown."""

from __future__ import annotations

from textual import events

from nettop.model.filter.lexer import MAX_LENGTH
from nettop.ui.widgets.prompt import Prompt
from tests.ui.plain_session import session
from tests.ui.screen_text import SMALL, Seen, running


async def paste(seen: Seen, text: str) -> str:
    """What stands in the prompt after `/` and a bracketed paste."""
    await seen.press("slash")
    seen.app.post_message(events.Paste(text))
    await seen.pilot.pause()
    return seen.main.query_one(Prompt)._input.value


async def test_a_paste_as_long_as_a_filter_may_be_is_taken_whole() -> None:
    text = "port 80" + " or port 80" * 500
    async with running() as seen:
        assert 5000 < len(text) <= MAX_LENGTH and await paste(seen, text) == text
        await seen.press("enter")
        await seen.see(" / port 80 or port 80 or")


async def test_what_a_paste_has_too_much_is_said() -> None:
    async with running() as seen:
        assert await paste(seen, "x" * (MAX_LENGTH + 77)) == "x" * MAX_LENGTH
        await seen.see("77 characters were left out: a line holds 8,192")


async def test_a_paste_of_several_lines_becomes_one() -> None:
    async with running() as seen:
        assert await paste(seen, "\nhost 10.0.0.1\n  and port\t80\x1b\n") == "host 10.0.0.1 and port 80\\x1b"


async def test_what_was_copied_is_shown_to_be_selected() -> None:
    async with running(size=SMALL) as seen:
        await seen.press("y", "c")
        await seen.see("conntrack of flows 0: 192.168.1.2:56303")
        assert "if this terminal allows it" in seen.text


async def test_a_long_copy_is_cut_after_six_lines_and_its_lines_are_counted() -> None:
    source = session()
    source.views["flows"].rows[0]["orig"] = "evil\x1b]52;c;x\x07 " + "long " * 120 + "\nsecond\nthird"
    async with running(size=SMALL, source=source) as seen:
        await seen.press("y", "J")
        await seen.see("the first of 3 lines")
        at = next(i for i, line in enumerate(seen.lines) if "json of flows 0: evil" in line)
        assert "\x1b" not in seen.lines[at] and all(" long long " in line for line in seen.lines[at : at + 6])
        assert seen.lines[at + 5].rstrip().endswith("…") and " long long " not in seen.lines[at + 6]
        assert "second" not in seen.text
