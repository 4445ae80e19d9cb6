"""The start screen of a person without rights: every choice leads somewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from nettop.ui.screens.start import StartApp, StartChoice
from nettop.ui.theme import FALLBACK

NAMES = {"/": "slash", ".": "full_stop", "-": "minus", "_": "underscore"}


@asynccontextmanager
async def started() -> AsyncIterator[tuple[StartApp, Pilot[StartChoice]]]:
    app = StartApp("CAP_NET_ADMIN is missing", FALLBACK)
    async with app.run_test(size=(80, 24)) as pilot:
        yield app, pilot


def screen(app: StartApp) -> str:
    strips = app.screen._compositor.render_strips(app.size)
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def typed(pilot: Pilot[StartChoice], text: str) -> None:
    await pilot.press(*(NAMES.get(char, char) for char in text))
    await pilot.pause()


@pytest.mark.parametrize("what", ["sudo", "demo"])
async def test_a_first_letter_chooses(what: str) -> None:
    async with started() as (app, pilot):
        await pilot.press(what[0])
    assert app.return_value == StartChoice(what)  # type: ignore[arg-type]


async def test_a_file_is_asked_for_and_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "so-do.pcap"  # with letters that choose while nothing is typed
    Path(name).touch()
    async with started() as (app, pilot):
        await pilot.press("o")
        await pilot.pause()
        assert " open " in screen(app)
        await typed(pilot, name)
        await pilot.press("enter")
        await pilot.pause()
    assert app.return_value == StartChoice("open", name)


async def test_a_file_that_is_not_there_is_said_and_esc_leads_back() -> None:
    async with started() as (app, pilot):
        await pilot.press("o")
        await pilot.pause()
        await typed(pilot, "/no/such")
        assert "no such file" in screen(app)
        await pilot.press("escape")
        await pilot.pause()
        assert app.is_running and "no such file" not in screen(app)
        await pilot.press("o")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        await pilot.press("d")
    assert app.return_value == StartChoice("demo")


async def test_a_key_pressed_twice_asks_once() -> None:
    async with started() as (app, pilot):
        app._ask_path()
        app._ask_path()
        await pilot.pause()
        assert len(app.query("#prompt")) == 1
