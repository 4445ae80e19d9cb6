"""Help: every key that does something in this view, on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from nettop.model.view import Line
from nettop.ui.commands import COMMANDS, MOVES, Command, applies, keys_text
from nettop.ui.lines import crop, width_of
from nettop.ui.screens.choose import DIALOG_CSS
from nettop.ui.widgets.paper import Reader

_KEYS = 12  # cells for the keys


def _entry(command: Command, brief: bool) -> Line:
    title = command.title.split(":")[0] if brief else command.title
    return ((f" {keys_text(command):<{_KEYS}} ", "key"), (title, ""))


def _group(name: str, commands: Sequence[Command], brief: bool) -> list[Line]:
    rows = [_entry(command, brief) for command in commands]
    return [((f" {name}", "heading"),), *rows, ()] if rows else []


def help_lines(view: str, views: Sequence[str], width: int, live: bool = True) -> list[Line]:
    """Two columns of keys where there is room, else one."""
    here = [c for c in COMMANDS if c.keys and applies(c, view, live)]
    here = [c for c in here if not c.name.startswith("view_") or c.name[5:] in views]
    groups = {name: [c for c in here if c.group == name] for name in ("Views", "List", "General")}
    brief = width < 100
    left = _group("Views", groups["Views"], brief) + _group("This view", groups["List"], brief)
    right = _group("Moving", MOVES, brief) + _group("Anywhere", groups["General"], brief)
    if width < 60:
        return left + right
    half = width // 2
    return [_beside(a or (), b or (), half) for a, b in zip_longest(left, right)]


def _beside(left: Line, right: Line, half: int) -> Line:
    kept = crop(left, half - 1)
    return (*kept, (" " * (half - width_of(kept)), ""), *crop(right, half))


class HelpScreen(ModalScreen[None], inherit_bindings=False):
    """The help of one view."""

    DEFAULT_CSS = DIALOG_CSS.format(name="HelpScreen") + "HelpScreen > Vertical { width: 110; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter,ctrl+c", "leave", "Leave", show=False),
    ]

    def __init__(self, view: str, views: Sequence[str], live: bool = True) -> None:
        super().__init__()
        self._view = view
        self._views = list(views)
        self._live = live
        self.reader = Reader(surface="dialog")

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Help: keys"
        box.border_subtitle = "Esc closes"
        with box:
            yield self.reader

    def on_mount(self) -> None:
        self._write()
        self.reader.focus()

    def on_resize(self) -> None:
        self._write()

    def _write(self) -> None:
        width, height = self.app.size
        found = help_lines(self._view, self._views, min(110, width * 96 // 100) - 2, self._live)
        while found and not found[-1]:
            found.pop()
        self.reader.styles.height = max(1, min(len(found), height - 4))
        self.reader.write(found)

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
