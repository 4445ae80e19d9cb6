"""A table's lines as strips: the header with its sort marks, one row, the notes of an empty table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from nettop.model.view import Column, Row, SortKey, ViewSpec
from nettop.text.sanitize import clean
from nettop.ui.lines import fit
from nettop.ui.palette import Palette
from nettop.ui.widgets.layout import Layout
from nettop.ui.widgets.titles import titles

CURSOR_MARK = "▶"
THUMB, TRACK = "┃", "│"
MORE = "›"


class _Pen:
    """Collects segments from left to right; neighbours of one style become one segment."""

    def __init__(self, base: Style) -> None:
        self.base = base
        self.x = 0
        self._parts: list[Segment] = []
        self._text = ""
        self._style = base

    def write(self, text: str, cells: int, style: Style) -> None:
        if style is not self._style:
            self._flush()
            self._style = style
        self._text += text
        self.x += cells

    def to(self, x: int) -> None:
        if x > self.x:
            self.write(" " * (x - self.x), x - self.x, self.base)

    def _flush(self) -> None:
        if self._text:
            self._parts.append(Segment(self._text, self._style))
            self._text = ""

    def strip(self) -> Strip:
        self._flush()
        return Strip(self._parts, self.x)


def draw_row(
    row: Row, layout: Layout, order: dict[str, int], width: int, palette: Palette, surface: str, mark: str = " "
) -> Strip:
    """One row in exactly `width` cells. `order` says at which index of row.cells a column's text is.

    The last text of a row runs over the empty cells after it: what is said of a loss needs no column.
    """
    pen = _Pen(palette.style("", surface))
    pen.write(mark, 1, palette.style("key", surface))
    places = [order.get(place.column.key) for place in layout.placed]
    last = _last_text(row, places)
    for i, (place, at) in enumerate(zip(layout.placed, places, strict=True)):
        room = min(place.width, width - place.x)
        if room <= 0 or at is None or at >= len(row.cells):
            continue
        if i == last:
            room = min(max(room, cell_len(row.cells[at])), width - place.x)
        pen.to(place.x)
        style = palette.style(row.roles[at] if at < len(row.roles) else "", surface)
        pen.write(fit(row.cells[at], room, place.column.right), room, style)
        if i == last:
            break
    pen.to(width)
    return pen.strip()


def _last_text(row: Row, places: Sequence[int | None]) -> int:
    """Which of the columns drawn is the last with a text, where empty ones follow it; -1 where none does."""
    last = len(places) - 1
    while last >= 0 and ((at := places[last]) is None or at >= len(row.cells) or not row.cells[at]):
        last -= 1
    return last if last < len(places) - 1 else -1


def draw_header(layout: Layout, sort: Sequence[SortKey], width: int, palette: Palette) -> Strip:
    """The titles; a mark at the right end says that there are more columns (→ scrolls to them)."""
    pen = _Pen(palette.style("dim", "background"))
    for title in titles(layout, sort):
        room = min(cell_len(title.text), width - 1 - title.x)
        if room > 0:
            pen.to(title.x)
            pen.write(fit(title.text, room), room, palette.style("key" if title.marked else "dim", "background"))
    pen.to(width - 1)
    pen.write(MORE if layout.hidden else " ", 1, palette.style("key", "background"))
    return pen.strip()


def thumb(first: int, height: int, matched: int) -> tuple[int, int]:
    """(first line, lines) of the scroll bar's thumb; (0, 0) when everything is visible."""
    if matched <= height or height <= 0:
        return 0, 0
    size = max(1, height * height // matched)
    travel = height - size
    return round(first * travel / (matched - height)) if travel else 0, size


def described(row: Row, spec: ViewSpec, columns: Sequence[Column]) -> str:
    """A row as `TITLE value` pairs, for the clipboard: safe for a terminal, one line."""
    titles = {column.key: column.title for column in columns}
    pairs = zip(spec.columns, row.cells, strict=False)
    return "  ".join(f"{titles.get(key, key)} {clean(cell)}" for key, cell in pairs if cell.strip())
