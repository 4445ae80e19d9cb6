"""A table's lines as strips: which of them changed since the last paint, and each one drawn, rows from a cache."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.strip import Strip

from nettop.model.view import Line, Row
from nettop.ui import lines
from nettop.ui.palette import Palette
from nettop.ui.widgets import rows
from nettop.ui.widgets.layout import Layout
from nettop.ui.widgets.window import Shown, Window

_CACHE = 2048  # strips


class Painter:
    """Draws what a window shows, with a layout. `advice` stands where there is no row."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._layout = Layout((), 1, 0, 0, 1)
        self._width = 0
        self._cache: dict[tuple[Row, str, str], Strip] = {}
        self._cached_for: Palette | None = None
        self._painted: list[object] = []

    def lay_out(self, layout: Layout, width: int) -> None:
        """Draw with these columns from now on, on lines of `width` cells."""
        self._layout, self._width = layout, width
        self._cache.clear()
        self._painted = []

    def changed(self, focused: bool, advice: Sequence[Line]) -> list[int] | None:
        """The lines to paint (from 0, below the header) since this was last asked; None: all of them."""
        state = self._state(focused, advice)
        before, self._painted = self._painted, state
        if len(state) != len(before):
            return None
        return [y for y, (new, old) in enumerate(zip(state, before, strict=True)) if new != old]

    def _state(self, focused: bool, advice: Sequence[Line]) -> list[object]:
        """What each line of the screen shows: lines whose state is the same need no paint."""
        shown = self._window.shown
        height = self._window.height
        if shown is None or not shown.snapshot.matched:
            return [(shown is None, advice[y - 1 : y] if y else ()) for y in range(height)]
        top, size = rows.thumb(shown.first, height, shown.snapshot.matched)
        return [
            (
                self._window.row(shown.first + y),
                shown.first + y == shown.index and (2 if focused else 1),
                size and (2 if top <= y < top + size else 1),
            )
            for y in range(height)
        ]

    def line(self, y: int, palette: Palette, focused: bool, advice: Sequence[Line]) -> Strip:
        """Line y below the header."""
        if palette is not self._cached_for:
            self._cache.clear()
            self._cached_for = palette
        shown = self._window.shown
        if shown is None:
            return lines.blank(self._width, palette.style())
        if not shown.snapshot.matched:
            told: Line = advice[y - 1] if 1 <= y <= len(advice) else ()
            return lines.strip((("  ", ""), *told), self._width, palette)
        return self._row_line(y, shown, palette, focused)

    def _row_line(self, y: int, shown: Shown, palette: Palette, focused: bool) -> Strip:
        width = self._width - 1
        row = self._window.row(shown.first + y)
        top, size = rows.thumb(shown.first, self._window.height, shown.snapshot.matched)
        bar = " " if not size else rows.THUMB if top <= y < top + size else rows.TRACK
        end = Segment(bar, palette.style("key" if bar == rows.THUMB else "dim"))
        if row is None:
            return Strip([*lines.blank(width, palette.style()), end], width + 1)
        cursor = shown.first + y == shown.index
        surface = "background" if not cursor else "cursor" if focused else "cursor_idle"
        body = self._body(row, surface, rows.CURSOR_MARK if cursor else " ", shown.snapshot.spec.columns, palette)
        return Strip([*body, end], width + 1)

    def _body(self, row: Row, surface: str, mark: str, keys: Sequence[str], palette: Palette) -> Strip:
        found = self._cache.get((row, surface, mark))
        if found is None:
            if len(self._cache) >= _CACHE:
                self._cache.clear()
            order = {key: i for i, key in enumerate(keys)}
            found = rows.draw_row(row, self._layout, order, self._width - 1, palette, surface, mark)
            self._cache[row, surface, mark] = found
        return found
