"""The help: every key that works in this view, on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

from textual.binding import Binding, BindingType

from nettop.model.table import Line
from nettop.ui.commands import MOVES, Command, CommandContext, Key, keys_text, offered
from nettop.ui.screens.dialog import Dialog
from nettop.ui.strips import crop, width_of
from nettop.ui.widgets.text_panes import ScrollPane

_BRIEF = 100  # cells below which titles are shortened, in three columns
_NARROW = 60  # cells below which there is one column


def _entry(command: Key, keys: int, brief: bool) -> Line:
    title = command.title.split(":")[0] if brief else command.title
    return ((f" {keys_text(command):<{keys}} ", "key"), (title, ""))


def _groups(names: Sequence[tuple[str, Sequence[Key]]], brief: bool) -> list[Line]:
    """Return groups one below the other, with headings. All keys take the cells of the longest."""
    widest = max((len(keys_text(c)) for _, commands in names for c in commands), default=0)
    out: list[Line] = []
    for name, commands in names:
        if commands:
            rows = [_entry(command, widest, brief) for command in commands]
            out += [*([()] if out else []), ((f" {name}", "heading"),), *rows]
    return out


def help_lines(commands: Sequence[Command], context: CommandContext, width: int, height: int = 20) -> list[Line]:
    """Return every key that works in this context, in one to three columns to fit `height` lines."""
    here = [c for c in commands if c.keys and offered(c, context)]
    groups = {name: [c for c in here if c.group == name] for name in ("Views", "List", "General")}
    views, this = ("Views", groups["Views"]), ("This view", groups["List"])
    moving, anywhere = ("Moving", MOVES), ("Anywhere", groups["General"])
    if width < _NARROW:
        return _groups((views, this, moving, anywhere), True)
    two = [_groups((this, views), False), _groups((moving, anywhere), False)]
    if width >= _BRIEF and max(map(len, two)) <= height:
        return _side_by_side(two, width)
    first, rest = (this[0], this[1][: height - 1]), ("More of it", this[1][height - 1 :])
    return _side_by_side([_groups(part, True) for part in ((first,), (views, moving), (rest, anywhere))], width)


def _side_by_side(columns: Sequence[Sequence[Line]], width: int) -> list[Line]:
    """Return the columns side by side. They share the spare width."""
    widths = [max((width_of(line) for line in column), default=0) + 1 for column in columns]
    spare = max(0, width - sum(widths)) // len(columns)
    out: list[Line] = []
    for parts in zip_longest(*columns, fillvalue=()):
        line: list[tuple[str, str]] = []
        for part, cells in zip(parts, widths, strict=True):
            cut = crop(part, cells)
            line += [*cut, (" " * (cells + spare - width_of(cut)), "")]
        out.append(tuple(crop(line, width)))
    return out


class HelpScreen(Dialog[None], inherit_bindings=False):
    """The help of one view."""

    DEFAULT_CSS = "HelpScreen > Vertical { width: 110; }"
    box_title, box_subtitle = "Help: keys", "Esc back"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter,ctrl+c", "leave", "Leave", show=False)
    ]

    def __init__(self, commands: Sequence[Command], context: CommandContext) -> None:
        super().__init__()
        self._commands = commands
        self._command_context = context
        self.pane = ScrollPane(surface="dialog")
        self.parts = (self.pane,)

    def fit_screen(self) -> None:
        """Write the text in as many columns as fit."""
        width, height = self.app.size
        found = help_lines(self._commands, self._command_context, min(110, width * 96 // 100) - 2, height - 4)
        self.pane.styles.height = max(1, min(len(found), height - 4))
        self.pane.write(found)
