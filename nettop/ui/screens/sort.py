"""The sort dialog: a first column, and a second one that breaks ties. A choice takes effect at once."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from nettop.model.table import Column
from nettop.ui.screens.dialog import Dialog, limit_height
from nettop.ui.strips import keys_line
from nettop.ui.widgets import sort_order as sorting
from nettop.ui.widgets.choices import Choice, Choices
from nettop.ui.widgets.table import Table

_POSITIONS = ("first", "second")


class SortColumns(Choices):
    """The columns; Space chooses the second one."""

    class Second(Message):
        """Break ties by the column under the cursor."""

    def action_tick(self) -> None:
        """Choose the column under the cursor as the second one."""
        self.post_message(self.Second())


class SortScreen(Dialog[None], inherit_bindings=False):
    """Sorts a table by one or two of its columns."""

    box_title = "Sort by"
    keys = (
        *keys_line("", " Enter", " sort by  ", "Space", " then by  "),
        *(("again", ""), *keys_line(" to reverse  ", "Esc", " cancel")),
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,ctrl+c,s", "leave", "Leave", show=False)]

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table
        self.choices = SortColumns(self._choices())
        self.parts = (self.choices,)

    def _choices(self) -> list[Choice]:
        notes = {
            key.key: f"{position} {sorting.DESCENDING if key.descending else sorting.ASCENDING}"
            for position, key in zip(_POSITIONS, self._table.sort, strict=False)
        }
        columns = [Choice(c.key, c.title.strip() or c.key, notes.get(c.key, "")) for c in self._sortable()]
        return [*columns, Choice("", "arrival order", "" if self._table.sort else "now")]

    def _sortable(self) -> list[Column]:
        """Return the sortable columns, those shown first."""
        shown = [c for c in self._table.columns if c.sortable]
        return shown + [c for c in self._table.info.columns if c.sortable and c not in shown]

    def on_mount(self) -> None:
        """Set the cursor to the first sort column."""
        self.choices.select(self._table.sort[0].key if self._table.sort else "")

    def fit_screen(self) -> None:
        """Limit the height of the columns."""
        limit_height(self.choices, 1)

    def on_choices_accepted(self) -> None:
        """Sort by the column and close."""
        if (choice := self.choices.current) is not None and not self.answered:
            if choice.ident:
                self._table.sort_by(choice.ident)
            else:
                self._table.set_sort(())
        self.answer(None)

    def on_sort_columns_second(self) -> None:
        """Break ties by the column, and show the new order."""
        choice = self.choices.current
        if choice is not None and choice.ident:
            self._table.sort_by(choice.ident, then=True)
            self.choices.offer(self._choices())
            self.choices.select(choice.ident)
