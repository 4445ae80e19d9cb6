"""The table below a table: the rows that belong to the row under the cursor above."""

from __future__ import annotations

from nettop.model.table import Line, Row
from nettop.ui.panes.advice import CHILD_ADVICE
from nettop.ui.widgets.bar_lines import title_line
from nettop.ui.widgets.table import Table
from nettop.ui.widgets.text_panes import TextPane


class Child:
    """A second table with a title that names the parent's row."""

    def __init__(self, parent: Table, table: Table) -> None:
        self.parent, self.table = parent, table
        self.table.advice = CHILD_ADVICE
        self.title = TextPane(surface="background")
        self.inside = False  # it has (or would have) the screen
        self.bare = False  # the parent is empty, and this is not shown

    def moved(self) -> None:
        """Another row of the parent is under the cursor."""
        row = self.parent.current
        self.table.set_scope(None if row is None else row.ident)
        self.write_title()

    def is_bare(self) -> bool:
        """Return True when the parent has no row, so that nothing belongs to it: its advice needs the room."""
        shown = self.parent.viewport.shown
        return shown is not None and not shown.snapshot.matched

    def place(self, lists: bool, alone: bool, height: int) -> None:
        """Share `height` lines with the parent; `alone` on a screen that has room for one of them."""
        self.table.display = lists and not (alone and not self.inside) and not self.bare
        self.title.display = self.table.display
        self.parent.styles.height = self._upper_height(height) if self.table.display else "1fr"

    def fit(self, height: int) -> None:
        """Give the parent the lines that its rows need now."""
        if self.table.display and self.parent.styles.height is not None:
            self.parent.styles.height = self._upper_height(height)
        self.write_title()

    def _upper_height(self, height: int) -> int:
        rows = self.parent.viewport.matched or 1
        return max(2, min(rows + 1, height * 2 // 5))

    def write_title(self) -> None:
        """Name the parent's row."""
        if (row := self.parent.current) is not None:
            self.title.write([title_line(_parent_words(self.parent, row), self.title.app.size.width)])


def _parent_words(table: Table, row: Row) -> Line:
    """Return what the rules below belong to: `inet fw forward   priority 0 filter   policy drop   nft`."""
    shown = table.viewport.shown
    cells = dict(zip(shown.snapshot.spec.columns, row.cells, strict=False)) if shown is not None else {}
    name = " ".join(cells[key].strip() for key in ("family", "table", "chain") if cells.get(key, "").strip())
    rest = [f"{key} {cells[key].strip()}" for key in ("hook", "priority", "policy") if cells.get(key, "").strip()]
    return ((name, "heading"), ("".join(f"   {words}" for words in (*rest, cells.get("backend", "")) if words), "dim"))
