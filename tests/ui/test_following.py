"""Following: it ends with what is followed, says so, and a flow's events arrive following the newest."""

from __future__ import annotations

from tests.ui.plain_session import session
from tests.ui.screen_text import Seen, running
from tests.ui.test_flow_actions import type_filter


def without(seen: Seen, ident: int) -> None:
    """The flow with this identity ends."""
    model = seen.session.views["flows"]
    model.order = [i for i in range(len(model.rows)) if i != ident]


async def test_following_ends_with_the_flow_and_the_cursor_stays_where_it_was() -> None:
    async with running() as seen:
        await seen.press("j", "j", "f")
        await seen.see("FOLLOW ▶")
        at = seen.lines.index(seen.cursor_line())
        without(seen, 2)
        await seen.see("the followed flow has ended")
        assert "FOLLOW" not in seen.text and seen.lines.index(seen.cursor_line()) == at
        assert ":56306" in seen.cursor_line(), "what came to its place"


async def test_a_followed_flow_that_only_stops_matching_has_not_ended() -> None:
    async with running() as seen:
        await type_filter(seen, "port 5630")
        await seen.press("f")
        await seen.see("FOLLOW ▶")
        seen.session.views["flows"].rows[0] = {"orig": "another tuple"}
        await seen.see("the followed flow no longer matches the filter")
        assert "FOLLOW" not in seen.text


async def test_where_there_is_no_flow_none_is_followed() -> None:
    source = session()
    async with running(source=source) as seen:
        source.views["flows"].order = []
        await seen.see("No flows yet")
        await seen.press("f")
        await seen.see("no flow here to follow")
        source.views["flows"].order = None
        await seen.see(":56303")
        assert "FOLLOW" not in seen.text


async def test_the_events_of_a_flow_arrive_following_the_newest() -> None:
    source = session()
    source.relations["flows", "events"] = (120, "port 40")
    async with running(source=source) as seen:
        await seen.press("2", "k", "1")
        await seen.press("E")
        await seen.see("[2 Events]")
        await seen.see("FOLLOW ▼")
        await seen.until(lambda: ":40199" in seen.cursor_line(), "the newest")
        rows = source.views["events"].rows
        rows.append(rows[-1] | {"orig": "192.168.1.2:40999 → 200.200.200.1:443"})
        await seen.until(lambda: ":40999" in seen.cursor_line(), "one that comes is shown")
