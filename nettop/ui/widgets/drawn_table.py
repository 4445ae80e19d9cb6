"""A table whose rows are places in drawn lines: the cells of a matrix, the devices of a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.strip import Strip

from nettop.model.table import Line, ViewSpec
from nettop.ui import strips
from nettop.ui.palette import palette_of
from nettop.ui.widgets.matrix_lines import Part
from nettop.ui.widgets.painter import CURSOR_MARK
from nettop.ui.widgets.table import Table

_ALL = 10_000  # rows of a request


class DrawnTable(Table):
    """Lines of parts that belong to rows, below `heads` that do not scroll. Subclasses draw them."""

    drawn: tuple[tuple[Part, ...], ...] = ()
    top: Mapping[int, int] = {}  # the first line of each row, by its ident
    _first = 0  # line at the top of those that scroll

    def heads(self) -> tuple[Line, ...]:
        """Return the lines above; the last one begins with the number of hidden lines, if there are any."""
        return ()

    @property
    def lines_wanted(self) -> int:
        """The lines that show all of it."""
        return len(self.heads()) + len(self.drawn)

    def spec(self) -> ViewSpec:
        """Return the request for all rows."""
        return replace(super().spec(), columns=self.info.default_columns, first=0, height=_ALL)

    def on_resize(self, event: events.Resize) -> None:
        """Draw the lines for the new size."""
        super().on_resize(event)
        self._repaint()

    def on_click(self, event: events.Click) -> None:
        """Select the row that was clicked, or open it if it is selected; above them press the key."""
        event.prevent_default()  # Textual would call the table's own on_click, too
        heads = self.heads()
        if event.y < len(heads):
            self.press_key_at(heads[event.y], event.x)
            return
        at, x = self._first + event.y - len(heads), event.x
        for text, _, ident in self.drawn[at] if 0 <= at < len(self.drawn) else ():
            if 0 <= x < cell_len(text) and ident is not None:
                self._select(ident)
            x -= cell_len(text)

    def _select(self, ident: int) -> None:
        index = self.idents().index(ident)
        if index == self.viewport.index:
            self.post_message(self.Opened(self))
            return
        self.viewport.move_to(index)
        self._moved()

    def idents(self) -> list[int]:
        """Return the idents of all rows."""
        shown = self.viewport.shown
        return [] if shown is None else [row.ident for row in shown.snapshot.rows]

    def scroll_to_cursor(self) -> None:
        """Scroll as far as needed to see the row under the cursor, and the line below it."""
        room = max(1, self.size.height - len(self.heads()))
        row = self.current
        line = self.top.get(0 if row is None else row.ident, 0)
        self._first = max(line + 2 - room, min(self._first, line))
        self._first = max(0, min(self._first, len(self.drawn) - room))

    def render_line(self, y: int) -> Strip:
        """Draw line y."""
        palette, width = palette_of(self), self.size.width
        heads, advice = self.heads(), self._advice()
        lines: tuple[Line, ...] = ((), *((("  ", ""), *line) for line in advice)) if advice else heads
        if y < len(lines):
            last = y == len(heads) - 1 and not advice
            return strips.strip(self._with_rest(lines[y]) if last else lines[y], width, palette)
        return self._parts_line(-1 if advice else self._first + y - len(lines))

    def _with_rest(self, head: Line) -> Line:
        """Return the line above the rows; it begins with the number of lines above and below the screen."""
        below = len(self.drawn) - self._first - (self.size.height - len(self.heads()))
        hidden = " ".join(f"{arrow}{count}" for arrow, count in (("↑", self._first), ("↓", below)) if count > 0)
        return ((strips.fit(hidden, len(head[0][0])), "key"), *head[1:]) if hidden else head

    def _parts_line(self, at: int) -> Strip:
        parts: tuple[Part, ...] = self.drawn[at] if 0 <= at < len(self.drawn) else ()
        palette, width = palette_of(self), self.size.width
        here = None if self.current is None else self.current.ident
        cursor = "cursor" if self.has_focus else "cursor_idle"
        marked = here is not None and self.top.get(here) == at
        segments = []
        for text, role, ident in parts:
            on = ident is not None and ident == here
            if on and marked:
                text, role, marked = CURSOR_MARK + text[1:], "key" if self.has_focus else "dim", False
            segments.append(Segment(text, palette.style(role, cursor if on else "background")))
        rest = width - sum(segment.cell_length for segment in segments)
        return Strip([*segments, *strips.blank(rest, palette.style())], width)
