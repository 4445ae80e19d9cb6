"""The map's drawing as a table: the cursor moves over devices and namespaces."""

from __future__ import annotations

from nettop.model.map.drawing import DrawingSnapshot
from nettop.model.map.scene import EMPTY
from nettop.model.table import Line
from nettop.ui.widgets.drawn_table import DrawnTable
from nettop.ui.widgets.map_lines import Drawing, draw

_LEGEND: Line = (("        ", "key"), ("─ link   ┄ tunnel, lower device   ", "dim"), ("! finding", "warn"))
_PAGE = 10  # lines


class DrawingTable(DrawnTable):
    """Arrows and hjkl move to the next device in that direction."""

    _scene = EMPTY
    _drawing = Drawing()
    _painted: tuple[object, ...] = ()

    def heads(self) -> tuple[Line, ...]:
        """Return the legend."""
        return (_LEGEND,)

    def action_move(self, where: str) -> None:
        """Move the cursor to the next device in this direction."""
        at, row = self._drawing.places, self.current
        if row is None or row.ident not in at:
            return
        line, column = at[row.ident]
        beside = where in ("left", "right")
        rest = [(y, ident) for ident, (y, x) in at.items() if (x != column) == beside]
        step = {"down": 1, "up": -1, "page_down": _PAGE, "page_up": -_PAGE, "top": -line, "bottom": len(self.drawn)}
        wanted = line + step.get(where, 0)
        ahead = [one for one in rest if beside or (one[0] - line) * (wanted - line) > 0]
        if ahead:
            _, ident = min(ahead, key=lambda one: abs(one[0] - wanted))
            self.viewport.move_to(self.idents().index(ident))
            self._moved()

    def _repaint(self) -> None:
        """Draw the lines again if the scene, the cursor or the size has changed."""
        shown = None if self.viewport.shown is None else self.viewport.shown.snapshot
        scene = shown.scene if isinstance(shown, DrawingSnapshot) else EMPTY
        if (scene, self.size.width) != (self._scene, self._drawing.width):
            self._scene, self._drawing = scene, draw(scene, self.size.width)
            self.drawn, self.top = self._drawing.lines, {i: place[0] for i, place in self._drawing.places.items()}
        state = self._drawing, self.size, self.viewport.index, self.has_focus, self._advice()
        if state != self._painted:
            self._painted = state
            self.scroll_to_cursor()
            self.refresh()
        self._report_moved()
