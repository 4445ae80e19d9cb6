"""The Textual app: it connects session, themes and screens."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from nettop.session.base import Session
from nettop.ui.actions.registry import COMMANDS
from nettop.ui.commands import bindings
from nettop.ui.palette import ColouredApp, Palette
from nettop.ui.screens.main import MainScreen
from nettop.ui.theme import FALLBACK, Theme

KEYS_LAST = 1.0  # seconds after a key in which another key is likely
# Seconds that a busy thread keeps the interpreter: in that time, and otherwise.
TURN, BUSY_TURN = 0.001, sys.getswitchinterval()
SETTLED = 1.5  # seconds after which all objects made at the start exist


def _settle_memory() -> None:
    """Exclude permanent objects from garbage collection: a full one stopped all threads for 40–80 ms under load."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


class _Main(MainScreen, inherit_bindings=False):
    """The main screen with the commands of the registry."""

    commands = COMMANDS
    BINDINGS: ClassVar[list[BindingType]] = bindings(COMMANDS, "command")


class NettopApp(ColouredApp[int], inherit_bindings=False):
    """Shows one session. The return value is the exit code."""

    TITLE = "nettop"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+z", "suspend_process", show=False, priority=True)]
    CSS = """
    Toast { background: $nt-bar; color: $nt-text; width: auto; max-width: 90%; padding: 0 1; height: auto; }
    ToastRack { margin-bottom: 1; overflow: hidden; }
    """

    def __init__(
        self, session: Session, theme: Theme = FALLBACK, themes: Mapping[str, Theme] | None = None, banner: str = ""
    ) -> None:
        super().__init__(theme)
        self.session = session
        self.themes = dict(themes or {theme.name: theme})
        self.last_input = time.monotonic()
        self._banner = banner
        self.notice = self.tip = ""  # shown once the first screen is open: a problem, what to look at
        self.failure: BaseException | None = None
        self._loop_: asyncio.AbstractEventLoop | None = None
        self._keys_end: asyncio.TimerHandle | None = None
        self._run_context = contextvars.copy_context()

    def apply_theme(self, theme: Theme) -> None:
        """Switch to this theme and draw every widget again."""
        self.palette = Palette(theme, self.palette.colour)
        self.use(theme)
        if self.is_running:
            self.refresh_css(animate=False)
            for widget in self.screen.walk_children():
                widget.refresh()

    def on_mount(self) -> None:
        """Open the main screen, and show notice and tip if there are any."""
        self._loop_ = asyncio.get_running_loop()
        self._run_context = contextvars.copy_context()
        self.push_screen(_Main(self.session, self.post, self._banner))
        if not self.is_headless:
            self.set_timer(SETTLED, _settle_memory)
        if self.notice:
            self.notify(self.notice, severity="warning", timeout=10, markup=False)
        if self.tip:
            self.notify(self.tip, timeout=15, markup=False)

    async def on_event(self, event: events.Event) -> None:
        """Handle an event. While keys are typed, busy threads release the interpreter sooner."""
        if isinstance(event, events.Key | events.MouseDown | events.MouseScrollDown | events.MouseScrollUp):
            self.last_input = time.monotonic()
            self.session.note_input()
        if isinstance(event, events.Key):
            if self._keys_end is not None:
                self._keys_end.cancel()
            sys.setswitchinterval(TURN)
            self._keys_end = asyncio.get_running_loop().call_later(KEYS_LAST, sys.setswitchinterval, BUSY_TURN)
        await super().on_event(event)

    def action_suspend_process(self) -> None:
        """Stop this job as Ctrl-Z does in a shell, which `fg` continues. Refused if there is no shell to return to."""
        if self._driver is None or not self._driver.can_suspend:  # there is no terminal
            return
        if os.getsid(0) == os.getpid():
            self.notify("no shell to return to: nettop was started without one", severity="warning", markup=False)
        else:
            os.kill(0, signal.SIGTSTP)  # Textual restores the terminal first

    def on_unmount(self) -> None:
        """Restore the switch interval."""
        sys.setswitchinterval(BUSY_TURN)

    def post(self, function: Callable[..., None], *args: object) -> None:
        """Run function(*args) on the UI's loop. Never blocks; works from any thread; no effect after the app ends."""
        loop = self._loop_
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._run, function, args, context=self._run_context)
        except RuntimeError:  # the loop is closed
            self._loop_ = None

    def _run(self, function: Callable[..., None], args: tuple[object, ...]) -> None:
        if self.is_running and self.failure is None:
            try:
                function(*args)
            except Exception as error:  # the loop itself would only log it
                self._handle_exception(error)

    def _fatal_error(self) -> None:
        """Keep an unhandled exception for terminal.py, which reports it in one line (hook of Textual)."""
        self.failure = self._exception
        self._close_messages_no_wait()
