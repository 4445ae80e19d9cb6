"""Dialogs to choose from a list and to confirm. Their modules are imported when the first one opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from nettop.ui.screens.pending import WatchContext
from nettop.ui.widgets.choices import Choice

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen


def choose(
    screen: MainScreen,
    title: str,
    choices: Sequence[Choice],
    on_chosen: Callable[[list[str]], object],
    *,
    context: WatchContext | None = None,
    **options: Any,
) -> Awaitable[None]:
    """Open a list; call `on_chosen` with the idents that are chosen, if any. `options` are those of ChooseScreen.

    With a `context` the list closes, and an answer is dropped, when another namespace is watched.
    """
    from nettop.ui.screens.choose import ChooseScreen

    dialog = ChooseScreen(title, choices, **options)

    def on_answer(answer: list[str] | None) -> None:
        if answer:
            on_chosen(answer)

    return screen.app.push_screen(dialog, on_answer) if context is None else context.push(dialog, on_answer)


def confirm(
    screen: MainScreen, title: str, text: str, choices: Sequence[Choice], on_confirmed: Callable[[str], object]
) -> Awaitable[None]:
    """Ask before something changes in the watched namespace; call `on_confirmed` with the ident of the choice."""
    from nettop.ui.screens.confirm import ConfirmScreen

    def on_answer(answer: str | None) -> None:
        if answer:
            on_confirmed(answer)

    return WatchContext(screen).push(ConfirmScreen(title, text, choices), on_answer)
