"""The app: session, themes and screens wired together; nothing is decided here."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import sys
from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import events
from textual.app import App
from textual.binding import BindingType

from nettop.session.interface import Session
from nettop.ui.actions.registry import COMMANDS
from nettop.ui.commands import bindings
from nettop.ui.palette import NoColour, Palette, css_variables, textual_theme
from nettop.ui.screens.main import MainScreen
from nettop.ui.theme import FALLBACK, Theme

KEYS_LAST = 1.0  # seconds after a key in which another one is likely
TURN, BUSY_TURN = 0.001, sys.getswitchinterval()  # seconds that a busy thread keeps the interpreter: then, and else
SETTLED = 1.5  # seconds after which what the start made is all there


def _settle_memory() -> None:
    """Spare the collector what stays for good: a full round over it held every thread for 40–80 ms under load."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


class _Main(MainScreen, inherit_bindings=False):
    """The main screen with the commands of the registry."""

    commands = COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = bindings(COMMANDS, "command")


class NettopApp(App[int], inherit_bindings=False):
    """Draws one session. The exit value is the exit code."""

    TITLE = "nettop"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = []
    CSS = """
    Toast { background: $nt-bar; color: $nt-text; width: auto; max-width: 90%; padding: 0 1; height: auto; }
    ToastRack { margin-bottom: 1; overflow: hidden; }
    """

    def __init__(self, session: Session, theme: Theme = FALLBACK, themes: Mapping[str, Theme] | None = None) -> None:
        colour = "NO_COLOR" not in os.environ
        self.palette = Palette(theme, colour)
        super().__init__()
        self.session = session
        self.themes = dict(themes or {theme.name: theme})
        self.notice = ""  # said once the first screen stands
        self.failure: BaseException | None = None
        self._loop_: asyncio.AbstractEventLoop | None = None
        self._keys_end: asyncio.TimerHandle | None = None
        self._run_context = contextvars.copy_context()
        if not colour:
            self._filters = [NoColour()]
        self.wear(theme)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our variables, whatever Textual theme is on."""
        return css_variables(self.palette.theme)

    def wear(self, theme: Theme) -> None:
        """Put a theme on; every widget draws anew with the new palette."""
        self.palette = Palette(theme, self.palette.colour)
        worn = textual_theme(theme)
        self.register_theme(worn)
        self.theme = worn.name
        if self.is_running:
            self.refresh_css(animate=False)
            for widget in self.screen.walk_children():
                widget.refresh()

    def on_mount(self) -> None:
        self._loop_ = asyncio.get_running_loop()
        self._run_context = contextvars.copy_context()
        self.push_screen(_Main(self.session, self.post))
        if not self.is_headless:
            self.set_timer(SETTLED, _settle_memory)
        if self.notice:
            self.notify(self.notice, severity="warning", timeout=10, markup=False)

    async def on_event(self, event: events.Event) -> None:
        """Take an event. While keys come, busy threads give way sooner: each turn of the loop waits for them."""
        if isinstance(event, events.Key):
            if self._keys_end is not None:
                self._keys_end.cancel()
            sys.setswitchinterval(TURN)
            self._keys_end = asyncio.get_running_loop().call_later(KEYS_LAST, sys.setswitchinterval, BUSY_TURN)
        await super().on_event(event)

    def on_unmount(self) -> None:
        sys.setswitchinterval(BUSY_TURN)

    def post(self, function: Callable[..., None], *args: object) -> None:
        """Run function(*args) on the UI's loop; from any thread, never blocks, silent once the app is gone."""
        loop = self._loop_
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._run, function, args, context=self._run_context)
        except RuntimeError:  # the loop is closed: there is nobody left to tell
            self._loop_ = None

    def _run(self, function: Callable[..., None], args: tuple[object, ...]) -> None:
        if self.is_running and self.failure is None:
            try:
                function(*args)
            except Exception as error:  # on the bare loop it would pass unseen
                self._handle_exception(error)

    def _fatal_error(self) -> None:
        """Textual's hook for an unhandled exception: terminal.py says one line, not Textual a page."""
        self.failure = self._exception
        self._close_messages_no_wait()
