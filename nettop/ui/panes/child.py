"""A table below a table: the rows that belong to the row under the cursor above."""

from __future__ import annotations

import re
import textwrap

from nettop.model.table import Line, Row
from nettop.ui.widgets.bar_lines import title_line
from nettop.ui.widgets.table import Table
from nettop.ui.widgets.text_panes import TextPane

_FULL_LINES = 6


class ChildTable:
    """A second table and its title, which names the parent's row."""

    def __init__(self, parent: Table, table: Table) -> None:
        self.parent, self.table = parent, table
        self.table.advice = ((("No rules in this chain: a packet goes back to the chain that it came from.", "dim"),),)
        self.title = TextPane(surface="background")
        self.full = TextPane()  # the rule under the cursor in full: its column may have cut it
        self.in_front = False  # commands are about it; a small screen shows it instead of the parent
        self.parent_empty = False  # then it is not shown

    def follow_parent(self) -> None:
        """Show the rows of the row under the parent's cursor."""
        row = self.parent.current
        self.table.set_scope(None if row is None else row.ident)
        self._write_title()

    def is_parent_empty(self) -> bool:
        """Return True when the parent has no row: its advice then gets the lines of this table."""
        shown = self.parent.viewport.shown
        return shown is not None and not shown.snapshot.matched

    def lay_out(self, lists: bool, alone: bool, height: int) -> None:
        """Share `height` lines with the parent where tables are shown (`lists`); `alone`: there is room for one."""
        self.table.display = lists and not (alone and not self.in_front) and not self.parent_empty
        self.title.display = self.full.display = self.table.display
        self.parent.styles.height = self._upper_height(height) if self.table.display else "1fr"
        self._write_title()

    def fit(self, height: int) -> None:
        """Give the parent as many lines as its rows need now."""
        if self.table.display and self.parent.styles.height is not None:
            self.parent.styles.height = self._upper_height(height)
        self._write_title()

    def _upper_height(self, height: int) -> int:
        below = self.table.lines_wanted + _FULL_LINES  # with its title, the totals and the rule in full
        return max(2, min(self.parent.lines_wanted, max(int(height * self.parent.part), height - below)))

    def write_full(self) -> None:
        """Write the rule under the cursor in full, on as many lines as it needs."""
        row = self.table.current
        text = "" if row is None else row.whole
        parts = _wrapped(text, max(10, self.table.app.size.width - 2))[:_FULL_LINES] or [""]
        self.full.styles.height = len(parts)
        self.full.write([((f" {part}", ""),) for part in parts])
        self._write_title()

    def _write_title(self) -> None:
        """Write the parent's row and the user chain under the cursor, or that the rows are of every chain."""
        title: Line = ()
        if self.table.options.isolated:
            what = f"rules that match {self.table.options.find}" if self.table.options.find else "all rules"
            title = ((f"{what}, of every chain", "heading"),)
        elif (row := self.parent.current) is not None:
            rule = self.table.current
            title = _parent_text(self.parent, row, rule.within if rule else "")
        if title:
            self.title.write([title_line(title, self.title.app.size.width, self.in_front)])


def _wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a rule; those of expressions break only between two of them."""
    joined = re.sub(r" (?!\[ )", "\x1f", text) if text.startswith("[ ") else text
    return [line.replace("\x1f", " ").strip() for line in textwrap.wrap(joined, width)]


def _cells(table: Table, row: Row | None) -> dict[str, str]:
    """Return the cells of a row of the table by column."""
    shown = table.viewport.shown
    return {} if shown is None or row is None else dict(zip(shown.snapshot.spec.columns, row.cells, strict=False))


def _parent_text(table: Table, row: Row, within: str) -> Line:
    """Return the chain that the rules below belong to: `inet fw forward   priority 0 filter   policy drop   nft`."""
    cells = {key: cell.strip() for key, cell in _cells(table, row).items()}
    name = " ".join(cells[key] for key in ("family", "table", "chain") if cells.get(key))
    hook = cells.get("hook", "")
    named = () if hook.startswith("(") else ("hook", "priority", "policy")
    facts = [f"{key} {cells[key]}" for key in named if cells.get(key)] or [f"user chain {hook}"]
    return (
        (name + within, "heading"),
        ("".join(f"   {fact}" for fact in (*facts, cells.get("backend", "")) if fact), "dim"),
    )
