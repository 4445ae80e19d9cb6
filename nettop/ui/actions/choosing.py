"""Dialogs to choose in and to confirm. They are imported when the first one opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from nettop.ui.screens.pending import Stand
from nettop.ui.widgets.choices import Choice

if TYPE_CHECKING:
    from nettop.ui.screens.main import MainScreen


def choose(
    screen: MainScreen,
    title: str,
    found: Sequence[Choice],
    chosen: Callable[[list[str]], object],
    *,
    stand: Stand | None = None,
    **options: Any,
) -> Awaitable[None]:
    """Open a list; `chosen` gets an answer that is not empty. With a stand it counts for this namespace only.

    `options` are those of ChooseScreen.
    """
    from nettop.ui.screens.choose import ChooseScreen

    dialog = ChooseScreen(title, found, **options)

    def answered(answer: list[str] | None) -> None:
        if answer:
            chosen(answer)

    return screen.app.push_screen(dialog, answered) if stand is None else stand.push(dialog, answered)


def confirm(
    screen: MainScreen, title: str, text: str, found: Sequence[Choice], confirmed: Callable[[str], object]
) -> Awaitable[None]:
    """Ask before something changes in the watched namespace; `confirmed` gets the ident of the choice."""
    from nettop.ui.screens.confirm import ConfirmScreen

    def answered(answer: str | None) -> None:
        if answer:
            confirmed(answer)

    return Stand(screen).push(ConfirmScreen(title, text, found), answered)
