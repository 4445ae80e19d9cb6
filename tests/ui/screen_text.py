"""What a person reads: the screen of a running app as lines of text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from nettop.ui.app import NettopApp
from nettop.ui.screens.main import MainScreen
from nettop.ui.theme import Theme, load
from tests.ui.plain_session import PlainSession, session

WIDE = (160, 45)
SMALL = (80, 24)
DEADLINE = 600  # rounds of the event loop's idling; a screen that has not settled by then never will


class Seen:
    """A running app and what is on its screen."""

    def __init__(self, app: NettopApp, pilot: Pilot[int], source: PlainSession) -> None:
        self.app, self.pilot, self.session = app, pilot, source

    @property
    def lines(self) -> list[str]:
        width = self.app.size.width
        strips = self.app.screen._compositor.render_strips(self.app.size)
        return ["".join(segment.text for segment in strip).ljust(width)[:width] for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def main(self) -> MainScreen:
        found = self.app.screen_stack[1]
        assert isinstance(found, MainScreen)
        return found

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause()
        await self.pilot.pause()

    async def write(self, text: str) -> None:
        names = {" ": "space", "/": "slash", ".": "full_stop", "-": "minus", ":": "colon", "_": "underscore"}
        await self.press(*(names.get(c, c) for c in text))

    async def until(self, good: Callable[[], bool], what: str = "") -> None:
        """Poll until it is so; fails with the screen's text."""
        for _ in range(DEADLINE):
            if good():
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"never seen: {what}\n{self.text}")

    async def see(self, words: str) -> None:
        await self.until(lambda: words in self.text, words)

    async def see_no(self, words: str) -> None:
        await self.until(lambda: words not in self.text, f"gone: {words}")

    def cursor_line(self) -> str:
        """The first line with the cursor's mark."""
        return next((line for line in self.lines if line.startswith("▶")), "")


@asynccontextmanager
async def running(
    size: tuple[int, int] = WIDE, source: PlainSession | None = None, theme: Theme | None = None, banner: str = ""
) -> AsyncIterator[Seen]:
    themes, _ = load()
    source = source or session()
    app = NettopApp(source, theme or themes["dark"], themes, banner)
    async with app.run_test(size=size, notifications=True) as pilot:
        seen = Seen(app, pilot, source)
        await seen.until(lambda: len(app.screen_stack) > 1 and bool(seen.cursor_line()), "a first row")
        yield seen
