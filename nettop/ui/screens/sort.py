"""The sort dialog: a first column, and one that breaks ties. What is chosen takes effect at once, behind the dialog."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message

from nettop.model.table import Column, Line
from nettop.ui.screens.dialog import DIALOG_CSS, Dialog, leave_room
from nettop.ui.widgets import sort_order as sorting
from nettop.ui.widgets.choices import Choice, Choices
from nettop.ui.widgets.table import Table
from nettop.ui.widgets.text_panes import TextPane

_KEYS: Line = (
    (" Enter", "key"),
    (" first  ", "dim"),
    ("Space", "key"),
    (" second  ", "dim"),
    ("the same again", ""),
    (" turns it round  ", "dim"),
    ("Esc", "key"),
    (" leave", "dim"),
)
_PLACES = ("first", "second")


class SortColumns(Choices):
    """The columns; Space chooses the second one."""

    class Second(Message):
        """Break ties by the column under the cursor."""

    def action_tick(self) -> None:
        """Space."""
        self.post_message(self.Second())


class SortScreen(Dialog[None], inherit_bindings=False):
    """Sorts a table by one or two of its columns."""

    DEFAULT_CSS = DIALOG_CSS.format(name="SortScreen")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,ctrl+c,s", "leave", "Leave", show=False)]

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table
        self.choices = SortColumns(self._offers())
        self._hints = TextPane(surface="dialog")

    def _offers(self) -> list[Choice]:
        notes = {
            key.key: f"{place} {sorting.DESCENDING if key.descending else sorting.ASCENDING}"
            for place, key in zip(_PLACES, self._table.sort, strict=False)
        }
        found = [Choice(c.key, c.title.strip() or c.key, notes.get(c.key, "")) for c in self._sortable()]
        return [*found, Choice("", "As they come", "" if self._table.sort else "now")]

    def _sortable(self) -> list[Column]:
        """Return the columns that are shown, then those that are not."""
        shown = [c for c in self._table.columns if c.sortable]
        return shown + [c for c in self._table.info.columns if c.sortable and c not in shown]

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Sort by"
        with box:
            yield self.choices
            yield self._hints

    def on_mount(self) -> None:
        self._hints.write([_KEYS])
        self.choices.focus()
        self.choices.select(self._table.sort[0].key if self._table.sort else "")

    def on_resize(self) -> None:
        leave_room(self.choices, 1)

    def on_choices_accepted(self) -> None:
        if (choice := self.choices.current) is not None and not self.answered:
            if choice.ident:
                self._table.sort_by(choice.ident)
            else:
                self._table.set_sort(())
        self.answer(None)

    def on_sort_columns_second(self) -> None:
        choice = self.choices.current
        if choice is not None and choice.ident:
            self._table.sort_by(choice.ident, then=True)
            at = choice.ident
            self.choices.offer(self._offers())
            self.choices.select(at)
