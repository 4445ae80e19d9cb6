"""Dialogs that need an answer of the session: keys wait for it, and it never applies to another namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    from nettop.ui.screens.dialog import Dialog
    from nettop.ui.screens.main import MainScreen

Answer = TypeVar("Answer")
PATIENCE = 1.0  # seconds that keys wait for a dialog; after a later answer it opens only if no other is open
_LOOK = 0.1  # seconds between checks that the namespace of a dialog is still watched
_SWITCHING: WeakSet[MainScreen] = WeakSet()  # screens that wait for a switch of namespace


class WatchContext:
    """The namespace that is watched when a request is made."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen, self._views = screen, screen.session.views

    @property
    def unchanged(self) -> bool:
        """True if the same namespace is watched, and no switch is pending."""
        return self._screen.session.views is self._views and self._screen not in _SWITCHING

    def push(self, dialog: Dialog[Answer], on_answer: Callable[[Answer | None], None]) -> Awaitable[None]:
        """Open a dialog about this namespace. If another one is watched it closes, and its answer is ignored."""

        def on_dialog_answer(answer: Answer | None) -> None:
            on_answer(answer if self.unchanged else None)
            if answer is not None and not self.unchanged:
                self._screen.say("nothing was done: another namespace is watched now")

        opening = self._screen.app.push_screen(dialog, on_dialog_answer)
        dialog.set_interval(_LOOK, lambda: self._end(dialog))
        return opening

    def _end(self, dialog: Dialog[Answer]) -> None:
        if not self.unchanged and dialog.is_current:
            dialog.answer(None)


def open_with_answer(
    screen: MainScreen, ask: Callable[[Callable[..., None]], None], open_dialog: Callable[..., Awaitable[None] | None]
) -> Awaitable[None]:
    """Ask the session, and call `open_dialog` with its answer. Await the result before the next key is handled.

    The answer is ignored if the namespace has changed or another dialog is open.
    """
    context = WatchContext(screen)
    opened: asyncio.Future[Awaitable[None] | None] = asyncio.get_running_loop().create_future()

    def on_answer(*found: object) -> None:
        can_open = context.unchanged and screen.app.screen is screen and not screen.typing
        opening = open_dialog(*found) if can_open else None
        if not opened.done():
            opened.set_result(opening)

    ask(lambda *found: screen.post(on_answer, *found))
    return asyncio.ensure_future(_wait_for(opened))


async def _wait_for(opened: asyncio.Future[Awaitable[None] | None]) -> None:
    with suppress(TimeoutError):
        opening = await asyncio.wait_for(opened, PATIENCE)
        if opening is not None:
            await opening


def switch_namespace(
    screen: MainScreen, switch: Callable[[Callable[[str | None], None]], None], done: Callable[[str | None], None]
) -> None:
    """Watch another namespace. Until the session has answered, nothing is done in the previous one."""

    def on_answer(error: str | None) -> None:
        screen.post(_SWITCHING.discard, screen)
        done(error)

    _SWITCHING.add(screen)
    switch(on_answer)


_ENDED = {"GONE": "the namespace is gone: @ chooses another", "ENDED": "nettop's broker has ended: start nettop again"}


def has_ended(screen: MainScreen) -> bool:
    """Return whether the namespace or the broker has ended, and report it."""
    message = _ENDED.get(screen.session.status().mode, "")
    if message:
        screen.say(message)
    return bool(message)
