"""The lines of a table as strips: draws each line, and knows which have changed since the last paint."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from nettop.model.table import Column, Line, Row, SortKey, ViewSpec
from nettop.ui import strips as lines
from nettop.ui.palette import Palette
from nettop.ui.strips import fit, fit_middle, fit_path
from nettop.ui.widgets.column_layout import ColumnLayout
from nettop.ui.widgets.column_titles import titles
from nettop.ui.widgets.viewport import Shown, Viewport

_CACHE = 2048  # strips


class Painter:
    """Draws the rows of a viewport in a column layout. Drawn rows are cached.

    `advice` are the lines of an empty table.
    """

    def __init__(self, viewport: Viewport) -> None:
        self._viewport = viewport
        self._layout = ColumnLayout((), 1, 0, 0, 1)
        self.width = 0
        self._cache: dict[tuple[Row, str, str], Strip] = {}
        self._cached_for: Palette | None = None
        self._painted: list[object] = []

    def lay_out(self, layout: ColumnLayout, width: int) -> None:
        """Use this layout from now on, on lines of `width` cells."""
        self._layout, self.width = layout, width
        self._cache.clear()
        self._painted = []

    def changed(self, focused: bool, advice: Sequence[Line]) -> list[int] | None:
        """Return the lines that have changed since the last call (0: the first below the header); None: all."""
        state = self._state(focused, advice)
        before, self._painted = self._painted, state
        if len(state) != len(before):
            return None
        return [y for y, (new, old) in enumerate(zip(state, before, strict=True)) if new != old]

    def _state(self, focused: bool, advice: Sequence[Line]) -> list[object]:
        """Return the state of each line on the screen. A line with the same state needs no paint."""
        shown = self._viewport.shown
        height = self._viewport.height
        if shown is None or not shown.snapshot.matched:
            return [(shown is None, advice[y - 1 : y] if y else ()) for y in range(height)]
        top, size = thumb(shown.first, height, shown.snapshot.matched)
        return [
            (
                self._viewport.row(shown.first + y),
                shown.first + y == shown.index and (2 if focused else 1),
                size and (2 if top <= y < top + size else 1),
            )
            for y in range(height)
        ]

    def line(self, y: int, palette: Palette, focused: bool, advice: Sequence[Line]) -> Strip:
        """Draw line y below the header."""
        if palette is not self._cached_for:
            self._cache.clear()
            self._cached_for = palette
        shown = self._viewport.shown
        if shown is None:
            return lines.blank(self.width, palette.style())
        if not shown.snapshot.matched:
            text: Line = advice[y - 1] if 1 <= y <= len(advice) else ()
            return lines.strip((("  ", ""), *text), self.width, palette)
        return self._row_line(y, shown, palette, focused)

    def _row_line(self, y: int, shown: Shown, palette: Palette, focused: bool) -> Strip:
        width = self.width - 1
        row = self._viewport.row(shown.first + y)
        top, size = thumb(shown.first, self._viewport.height, shown.snapshot.matched)
        bar = " " if not size else THUMB if top <= y < top + size else TRACK
        end = Segment(bar, palette.style("key" if bar == THUMB else "dim"))
        if row is None:
            return Strip([*lines.blank(width, palette.style()), end], width + 1)
        cursor = shown.first + y == shown.index
        surface = "background" if not cursor else "cursor" if focused else "cursor_idle"
        mark = CURSOR_MARK if cursor else FOUND_MARK if row.marked else " "
        body = self._body(row, surface, mark, shown.snapshot.spec.columns, palette)
        return Strip([*body, end], width + 1)

    def _body(self, row: Row, surface: str, mark: str, keys: Sequence[str], palette: Palette) -> Strip:
        found = self._cache.get((row, surface, mark))
        if found is None:
            if len(self._cache) >= _CACHE:
                self._cache.clear()
            order = {key: i for i, key in enumerate(keys)}
            found = draw_row(row, self._layout, order, self.width - 1, palette, surface, mark)
            self._cache[row, surface, mark] = found
        return found


CURSOR_MARK, FOUND_MARK = "▶", "●"
THUMB, TRACK = "┃", "│"
MORE = "›"
SORT_PAUSED = "SORT PAUSED"


class _Pen:
    """Builds a strip from left to right. Neighbours of one style become one segment."""

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

    def pad_to(self, x: int) -> None:
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
    row: Row, layout: ColumnLayout, order: dict[str, int], width: int, palette: Palette, surface: str, mark: str = " "
) -> Strip:
    """Draw one row in exactly `width` cells. `order` maps a column's key to the index of its text in row.cells.

    The last text of a row may extend over the empty cells after it: so the text about a loss is shown whole. So may one
    that is cut in its middle, up to the next text.
    """
    pen = _Pen(palette.style("", surface))
    pen.write(mark, 1, palette.style("key", surface))
    indexes = [order.get(slot.column.key) for slot in layout.placed]
    last = _last_text(row, indexes)
    for i, (slot, at) in enumerate(zip(layout.placed, indexes, strict=True)):
        room = min(slot.width, width - slot.x)
        if room <= 0 or at is None or not _cell(row, at):
            continue
        if i == last or slot.column.middle:
            free = (one.x - 1 for one, n in zip(layout.placed[i + 1 :], indexes[i + 1 :], strict=True) if _cell(row, n))
            end = min(width, next(free, width))
            room = min(max(room, cell_len(row.cells[at])), max(room, end - slot.x))
        pen.pad_to(slot.x)
        style = palette.style(row.roles[at] if at < len(row.roles) else "", surface)
        text = row.cells[at]
        pen.write(_fitted(slot.column, text, room), room, style)
        if i == last:
            break
    pen.pad_to(width)
    return pen.strip()


def _cell(row: Row, at: int | None) -> str:
    return row.cells[at] if at is not None and at < len(row.cells) else ""


def _fitted(column: Column, text: str, width: int) -> str:
    if column.path:
        return fit_path(text, width)
    return fit_middle(text, width) if column.middle else fit(text, width, column.right)


def _last_text(row: Row, indexes: Sequence[int | None]) -> int:
    """Return the position of the last drawn column with text if empty ones follow it; otherwise -1."""
    last = len(indexes) - 1
    while last >= 0 and not _cell(row, indexes[last]):
        last -= 1
    return last if last < len(indexes) - 1 else -1


def draw_header(
    layout: ColumnLayout, sort: Sequence[SortKey], width: int, palette: Palette, sort_paused: bool = False
) -> Strip:
    """Draw the titles, and SORT PAUSED in the widest gap between them.

    A mark at the right end means that there are more columns (→ scrolls to them).
    """
    pen = _Pen(palette.style("dim", "background"))
    parts = [(t.x, t.text, "key" if t.marked else "dim") for t in titles(layout, sort)]
    if sort_paused:
        at = notice_position(layout, sort, width)
        end = at + len(SORT_PAUSED)
        parts = [part for part in parts if part[0] + cell_len(part[1]) < at or part[0] > end]
        parts = sorted([*parts, (at, SORT_PAUSED, "warn")])
    for x, text, role in parts:
        room = min(cell_len(text), width - 1 - x)
        if room > 0:
            pen.pad_to(x)
            pen.write(fit(text, room), room, palette.style(role, "background"))
    pen.pad_to(width - 1)
    pen.write(MORE if layout.hidden else " ", 1, palette.style("key", "background"))
    return pen.strip()


def notice_position(layout: ColumnLayout, sort: Sequence[SortKey], width: int) -> int:
    """Return the first cell of SORT PAUSED: in the widest gap between titles, or over the last ones."""
    found = titles(layout, sort)
    ends = [title.x + cell_len(title.text) for title in found]
    gaps = zip(ends, [*(title.x for title in found[1:]), width], strict=True)
    room, end = max(((after - end, end) for end, after in gaps), default=(0, 0))
    return end + 1 if room >= len(SORT_PAUSED) + 2 else max(0, width - 1 - len(SORT_PAUSED))


def thumb(first: int, height: int, matched: int) -> tuple[int, int]:
    """Return (first line, lines) of the thumb of the scroll bar; (0, 0) if all rows are visible."""
    if matched <= height or height <= 0:
        return 0, 0
    size = max(1, height * height // matched)
    travel = height - size
    return round(first * travel / (matched - height)) if travel else 0, size


def row_text(row: Row, spec: ViewSpec, columns: Sequence[Column]) -> str:
    """Return a row as `TITLE value` pairs on one line, for the clipboard."""
    titles = {column.key: column.title for column in columns}
    pairs = zip(spec.columns, row.cells, strict=False)
    return "  ".join(f"{titles.get(key, key)} {cell}" for key, cell in pairs if cell.strip())
