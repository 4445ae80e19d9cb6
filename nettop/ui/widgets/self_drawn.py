"""Widgets that draw their lines themselves, edge to edge: Textual's own finishing of every line is left out.

A line from render_line already is as wide as the widget, on its own surface and in the theme's colours (none under
NO_COLOR). Textual would look up borders, padding, opacity and filters for each of them: half of what a frame cost.
"""

from __future__ import annotations

from textual._styles_cache import StylesCache
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from nettop.ui.palette import palette_of
from nettop.ui.strips import blank


class _Lines(StylesCache):
    """Keeps the drawn lines; those in a refreshed region are drawn anew."""

    def render_widget(self, widget: Widget, crop: Region) -> list[Strip]:
        """The lines of the crop. Its height is the widget's, but for widgets that stand half outside their parent."""
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


class Drawn(Widget):
    """Without border, padding or styles of its own; what has the focus is drawn, not styled."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 Textual's own name
        super().__init__(id=id)
        self._styles_cache = _Lines()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """No style depends on the focus: looking all of them up again is left out."""


class Covered(Widget):
    """A container that its parts cover, blank where they do not. Named last: CSS is inherited from the first base."""

    def render_lines(self, crop: Region) -> list[Strip]:
        """Blank lines in the background's colour."""
        return [blank(crop.width, palette_of(self).style())] * crop.height
