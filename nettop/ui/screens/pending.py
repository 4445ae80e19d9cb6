"""Dialogs and a session that answers late: keys typed ahead wait a moment, and no answer reaches another namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen

if TYPE_CHECKING:
    from nettop.ui.screens.dialog import Dialog
    from nettop.ui.screens.main import MainScreen

Answer = TypeVar("Answer")
PATIENCE = 1.0  # seconds that keys wait for a dialog; what answers later opens it only where nothing else is open
_LOOK = 0.1  # seconds between looks whether a dialog's namespace is watched still
_SWITCHING: WeakSet[MainScreen] = WeakSet()  # that asked for another namespace, and have no answer


class Stand:
    """Where a person stands when something is asked: which run of the session is on the screen."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen, self._views = screen, screen.session.views

    @property
    def same(self) -> bool:
        """Return whether the same namespace is watched, and no other one is being opened."""
        return self._screen.session.views is self._views and self._screen not in _SWITCHING

    @property
    def free(self) -> bool:
        """Return whether a dialog may open: the same namespace, no other dialog, and nothing is being typed."""
        return self.same and self._screen.app.screen is self._screen and not self._screen.typing

    def push(self, dialog: Dialog[Answer], answered: Callable[[Answer | None], None]) -> Awaitable[None]:
        """Open a dialog about what is watched here: it ends when that changes, and its answer counts no more."""

        def told(answer: Answer | None) -> None:
            answered(answer if self.same else None)
            if answer is not None and not self.same:
                self._screen.say("nothing was done: another namespace is watched now")

        opening = self._screen.app.push_screen(dialog, told)
        dialog.set_interval(_LOOK, lambda: self._end(dialog))
        return opening

    def _end(self, dialog: Dialog[Answer]) -> None:
        if not self.same and dialog.is_current:
            dialog.answer(None)


def opening(
    screen: MainScreen,
    ask: Callable[[Callable[..., None]], None],
    opened: Callable[..., Awaitable[None] | None],
) -> Awaitable[None]:
    """Ask the session, and have `opened` open a dialog with its answer. Await it before the next key is taken.

    The answer counts only where the person stands as before: the same namespace, and no other dialog.
    """
    stand = Stand(screen)
    came: asyncio.Future[Awaitable[None] | None] = asyncio.get_running_loop().create_future()

    def answered(*found: object) -> None:
        opens = opened(*found) if stand.free else None
        if not came.done():
            came.set_result(opens)

    ask(lambda *found: screen.post(answered, *found))
    return asyncio.ensure_future(_patiently(came))


async def _patiently(came: asyncio.Future[Awaitable[None] | None]) -> None:
    with suppress(TimeoutError):
        opens = await asyncio.wait_for(came, PATIENCE)
        if opens is not None:
            await opens


def switch(screen: MainScreen, spec: str, done: Callable[[str | None], None]) -> None:
    """Watch another namespace; until it is known whether that can be, nothing is done in the one before."""

    def answered(error: str | None) -> None:
        screen.post(_SWITCHING.discard, screen)
        done(error)

    _SWITCHING.add(screen)
    screen.session.switch_namespace(spec, answered)


_OVER = {"GONE": "the namespace is gone: @ chooses another", "ENDED": "nettop's broker has ended: start nettop again"}


def over(screen: MainScreen) -> bool:
    """Return whether the namespace shown is gone: then says so."""
    why = _OVER.get(screen.session.status().mode, "")
    if why:
        screen.say(why)
    return bool(why)
