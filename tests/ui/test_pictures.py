"""Pictures of a few screens, compared to those that a person looked at (pytest --snapshot-update makes them)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from nettop.ui.app import NettopApp
from nettop.ui.theme import load
from tests.ui.plain_map import map_session, with_findings
from tests.ui.plain_session import PlainSession, session

SCENES = {
    "flows": ((160, 45), "dark", ("j", "enter")),
    "flows-small": ((80, 24), "light", ("j",)),
    "groups": ((120, 40), "dark", ("b", "enter", "j")),
    "delete": ((80, 24), "light", ("j", "D")),
    "completion": ((120, 40), "light", ("slash", "s", "t", "a", "tab")),
    "events": ((120, 40), "dark", ("2",)),
    "chains": ((120, 40), "dark", ("3", "j", "enter")),
    "packets": ((120, 40), "light", ("4", "g", "enter", "tab", "down")),
    "help": ((80, 24), "dark", ("question_mark",)),
    "map": ((160, 45), "dark", ("j",)),
    "map-detail": ((120, 40), "light", (*"jjjjj", "enter")),
    "map-drawing": ((80, 24), "dark", ("d", "j", "right")),
}


@pytest.mark.parametrize("name", SCENES)
def test_screen_looks_as_it_did(name: str, snap_compare: Callable[..., bool]) -> None:
    size, theme, keys = SCENES[name]
    source = with_findings(map_session()) if name.startswith("map") else session()

    async def walk(pilot: Pilot[int]) -> None:
        await stands_still(pilot, source)
        for key in keys:
            await pilot.press(key)
            await stands_still(pilot, source)

    assert snap_compare(NettopApp(source, load()[0][theme]), terminal_size=size, run_before=walk)


async def stands_still(pilot: Pilot[int], source: PlainSession) -> None:
    """Wait until three rounds of questions have changed nothing on the screen."""
    before, since = "", 0
    while source.ticks < since + 3:
        drawn = pilot.app.export_screenshot(simplify=True)
        if drawn != before:
            before, since = drawn, source.ticks
        await pilot.pause(0.02)
