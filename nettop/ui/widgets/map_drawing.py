"""The map's drawing as a table: the cursor moves over devices and namespaces."""

from __future__ import annotations

from nettop.model.map.drawing import DrawingSnapshot
from nettop.model.map.scene import EMPTY
from nettop.model.table import Line
from nettop.text.units import grouped
from nettop.ui.strips import keys_line
from nettop.ui.widgets.drawn_table import DrawnTable
from nettop.ui.widgets.map_lines import FOUND, Drawing, draw

_LEGEND: Line = (("─ link   ┄ tunnel, lower device   ", "dim"), ("! finding", "warn"))
_PAGE = 10  # lines


class DrawingTable(DrawnTable):
    """Arrows and hjkl move to the next device in that direction. What the filter finds is marked; the rest stays."""

    lit: frozenset[int] = frozenset()  # what a packet passes on its way
    found: tuple[int, ...] = ()  # what the filter finds
    _drawn: tuple[object, ...] = ()
    _drawing = Drawing()
    _painted: tuple[object, ...] = ()

    def heads(self) -> tuple[Line, ...]:
        """Return the legend."""
        route: Line = (("━ the route asked   ", "good"),) if self.lit else ()
        count = f"{FOUND} {grouped(len(self.found))} found   " if self.filter is not None else ""
        keys = keys_line("", "n", " next   ") if self.found else ()
        return ((("        ", "key"), (count, "accent"), *keys, *route, *_LEGEND),)

    def action_move(self, where: str) -> None:
        """Move the cursor to the next device in this direction."""
        at, row = {ident: place for ident, place in self._drawing.places.items() if ident >= 0}, self.current
        if row is None or row.ident not in at:
            return
        line, column = at[row.ident]
        beside = where in ("left", "right")
        rest = [(y, ident) for ident, (y, x) in at.items() if (x != column) == beside]
        step = {"down": 1, "up": -1, "page_down": _PAGE, "page_up": -_PAGE, "top": -line, "bottom": len(self.drawn)}
        wanted = line + step.get(where, 0)
        ahead = [one for one in rest if beside or (one[0] - line) * (wanted - line) > 0]
        if ahead:
            self._go_to(min(ahead, key=lambda one: abs(one[0] - wanted))[1])

    def _go_to(self, ident: int) -> None:
        self.viewport.move_to(self.idents().index(ident))
        self._moved()

    def next_found(self, step: int) -> None:
        """Move the cursor to the next device that the filter finds, or (-1) to the one before."""
        order = {ident: at for at, ident in enumerate(self.idents())}
        here = self.viewport.index
        found = sorted(self.found, key=lambda ident: (step * (order[ident] - here) <= 0, step * order[ident]))
        if found:
            self._go_to(found[0])

    def _select(self, ident: int) -> None:
        super()._select(ident if ident >= 0 else ~ident)

    def light(self, idents: frozenset[int]) -> None:
        """Light these boxes and devices, and the links between them."""
        self.lit = idents
        self._repaint()

    def _repaint(self) -> None:
        """Draw the lines again if the scene, what is marked, the cursor or the size has changed."""
        shown = None if self.viewport.shown is None else self.viewport.shown.snapshot
        scene, found = (shown.scene, shown.found) if isinstance(shown, DrawingSnapshot) else (EMPTY, ())
        if (to_draw := (scene, self.size.width, self.lit, found)) != self._drawn:
            first = found != self.found and self.current is not None and self.current.ident not in found
            self._drawn, self.found, self._drawing = to_draw, found, draw(*to_draw)
            self.drawn, self.top = self._drawing.lines, {i: place[0] for i, place in self._drawing.places.items()}
            if first:
                self.next_found(1)
        state = self._drawing, self.size, self.viewport.index, self.has_focus, self._advice()
        if state != self._painted:
            self._painted = state
            self.scroll_to_cursor()
            self.refresh()
        self._report_moved()
