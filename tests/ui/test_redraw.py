"""After every key the terminal shows what it would show if everything were laid out and drawn again."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual import events
from textual._compositor import CompositorUpdate
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget

from nettop.session.base import Session
from tests.ui.plain_session import PlainSession
from tests.ui.plain_session import session as plain_session
from tests.ui.screen_text import SMALL, WIDE
from tests.ui.settled import CountedApp, StillReplay, settled, settled_and_updated, tables

RECORDING = Path(__file__).resolve().parents[2] / "captures" / "demo-gw-a.pcapng"
STEPS = 80
SIZES = (WIDE, SMALL, (120, 40), (90, 30))
# Views and panes often: a screen is drawn wrong where something comes or goes.
KEYS = (
    *"12345" * 3,
    *("j", "k", "g", "G", "h", "l", "pagedown", "pageup", "space", "f"),
    *("enter", "escape", "tab", "shift+tab", "left_square_bracket", "right_square_bracket") * 2,
    *("b", "s", "C", "question_mark", "colon", "slash", "t", "c", "p", "backspace", "B", "F", "E", "P", "y"),
)
_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b]+)")


class Cells:
    """The cells of a terminal, each with its attributes, as the app's updates have left them."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], tuple[str, str]] = {}

    def write(self, update: str) -> None:
        x = y = 0
        style = ""
        for arguments, final, text in _SEQUENCE.findall(update):
            if final == "H":
                y, x = (int(part) - 1 for part in arguments.split(";"))
            elif final == "m":
                style = arguments.removeprefix("0")
            for character in text.removesuffix("\n"):  # a line feed is followed by a move
                self._cells[y, x] = character, style
                for behind in range(1, wide := cell_len(character)):
                    self._cells[y, x + behind] = "", style
                x += wide

    def lines(self, size: tuple[int, int]) -> list[list[tuple[str, str]]]:
        width, height = size
        return [[self._cells.get((y, x), (" ", "")) for x in range(width)] for y in range(height)]


class DrawnApp(CountedApp):
    """Keeps what a terminal would show. Without notifications, which are Textual's and come and go by time."""

    def __init__(self, source: Session) -> None:
        super().__init__(source)
        self.cells = Cells()

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        if isinstance(renderable, CompositorUpdate) and not self._batch_count:
            self.cells.write(renderable.render_segments(self.console))
        super()._display(screen, renderable)


@contextmanager
def plain() -> Iterator[PlainSession]:
    source = plain_session()
    source.still = True
    yield source


@contextmanager
def recorded() -> Iterator[StillReplay]:
    source = StillReplay(str(RECORDING))
    source.start()
    assert source._thread is not None
    source._thread.join(60)
    try:
        yield source
    finally:
        source.close()


async def all_drawn_again(app: DrawnApp) -> None:
    """Tell every widget its size, and lay out and draw everything."""
    for widget in (app.screen, *app.screen.walk_children(Widget)):
        widget.post_message(events.Resize(widget.size, widget.virtual_size, widget.container_size))
        widget.refresh(layout=True)
    await settled(app)


async def press(pilot: Pilot[int], key: str) -> None:
    """Press a key, or do what is named; unlike pilot.press this paints nothing itself."""
    app = pilot.app
    if key.startswith("size "):
        await pilot.resize_terminal(*(int(part) for part in key.split()[1:]))
    else:
        await app._press_keys([key])


async def checked(app: DrawnApp, pressed: list[str]) -> None:
    await settled_and_updated(app)
    shown = app.cells.lines(app.size)
    await all_drawn_again(app)
    again = app.cells.lines(app.size)
    if shown != again:
        differing = [y for y in range(app.size.height) if shown[y] != again[y]]
        pairs = (("".join(c for c, _ in shown[y]), "".join(c for c, _ in again[y])) for y in differing)
        told = "\n".join(f"shown {was}\nredrawn {now}" for was, now in pairs)
        raise AssertionError(f"after {' '.join(pressed)} at {app.size}, lines {differing}:\n{told}")


async def walked(source: Session, keys: list[str]) -> None:
    app = DrawnApp(source)
    async with app.run_test(size=WIDE, notifications=False) as pilot:
        while not tables(app):
            await asyncio.sleep(0.01)
        for count, key in enumerate(keys, 1):
            await press(pilot, key)
            if not app.is_running or app._exit:
                return
            await checked(app, keys[:count])


@pytest.mark.asyncio
async def test_chains_are_all_there_when_their_view_is_left_and_entered_again() -> None:
    with recorded() as source:
        await walked(source, ["3", "1", "3", "j"])


@pytest.mark.parametrize("source", [plain, recorded])
@pytest.mark.parametrize("seed", range(1))
@pytest.mark.asyncio
async def test_a_walk_over_views_and_keys_leaves_nothing_undrawn(seed: int, source: Callable[[], Any]) -> None:
    dice = random.Random(seed)
    others = [f"size {width} {height}" for width, height in SIZES]
    keys = [dice.choice(others if dice.random() < 0.1 else KEYS) for _ in range(STEPS)]
    with source() as opened:
        await walked(opened, keys)
