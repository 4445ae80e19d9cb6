"""Widgets that draw complete lines: Textual's post-processing of each line is skipped.

A line from render_line is already as wide as the widget, with its surface and the theme's colours (none under
NO_COLOR). For each line Textual would look up borders, padding, opacity and filters: half the time of a frame.
"""

from __future__ import annotations

from textual._styles_cache import StylesCache
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from nettop.model.table import Line
from nettop.ui.palette import palette_of
from nettop.ui.strips import blank
from nettop.ui.widgets.bar_lines import key_at


class _LineCache(StylesCache):
    """A cache of drawn lines. Lines in a refreshed region are drawn again."""

    def render_widget(self, widget: Widget, crop: Region) -> list[Strip]:
        """Return the lines in the crop: the whole widget, or the part of it that is inside its parent."""
        width = widget.size.width
        if width != self._width:
            self.clear()
            self._width = width
        lines, stale = self._cache, self._dirty_lines
        strips = []
        for y in crop.line_range:
            if y in stale or y not in lines:
                lines[y] = widget.render_line(y)
            strips.append(lines[y])
        stale.difference_update(crop.line_range)
        if crop.column_span != (0, width):
            return [strip.crop(*crop.column_span) for strip in strips]
        return strips


class SelfDrawn(Widget):
    """A widget without border, padding or styles. It draws the focus itself."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 Textual's own name
        super().__init__(id=id)
        self._styles_cache = _LineCache()

    def press_key_at(self, line: Line, x: int) -> None:
        """Press the key that is shown at cell x of a line, or the key before the words there."""
        if key := key_at(line, x):
            self.app.simulate_key(key)

    def watch_has_focus(self, _has_focus: bool) -> None:
        """Do nothing: no style depends on the focus, so Textual's new look-up of all styles is skipped."""


class Covered(Widget):
    """A container covered by its children, blank elsewhere. It is the last base class: CSS comes from the first."""

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return blank lines in the background colour."""
        return [blank(crop.width, palette_of(self).style())] * crop.height
