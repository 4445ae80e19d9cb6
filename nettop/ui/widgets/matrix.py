"""The matrix of chains as a table whose rows are cells: the cursor moves over hooks and priorities."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from nettop.model.ruleset.chain_matrix import MatrixSnapshot
from nettop.model.ruleset.matrix import EMPTY, JOURNEYS, PATHS, Place
from nettop.model.table import Line, ViewSpec
from nettop.session.base import Session
from nettop.session.packet_way import PacketWay
from nettop.text.sanitize import clean
from nettop.text.units import plural
from nettop.ui.widgets.drawn_table import DrawnTable
from nettop.ui.widgets.matrix_lines import draw
from nettop.ui.widgets.snapshot_requests import Post


class MatrixTable(DrawnTable):
    """The cells of the matrix. Arrows and hjkl move between chains; `path` is the kind of packet shown."""

    part: ClassVar[float] = 0.6

    path = ""
    journey = ""  # key of JOURNEYS; "": every hook is lit
    reason = ""  # of the packet that was asked for
    _matrix = EMPTY
    _titles: tuple[Line, ...] = ()
    _painted: tuple[object, ...] = ()
    _awaited: PacketWay | None = None  # a way whose path is not known yet

    def __init__(self, view: str, session: Session, post: Post) -> None:
        super().__init__(view, session, post)
        self.options = ViewSpec((), zeroes=True)  # with the kernel's functions

    def spec(self) -> ViewSpec:
        """Return the request for all chains of the path."""
        return replace(super().spec(), group=self.path)

    def next_path(self) -> None:
        """Show the next path that has chains: IPv4, IPv6, bridge, …."""
        paths, row = self._matrix.paths, self.current
        if paths:
            self.path = paths[(paths.index(self._matrix.path) + 1) % len(paths)]
            if row is not None and row.cells[0] in PATHS[self.path][0]:
                self.seek(row.ident)  # its family is on that path, too
            else:
                self.change()

    def next_journey(self) -> None:
        """Light the hooks of the next journey of a packet; after the last, all of them."""
        names = ["", *JOURNEYS]
        self.light(names[(names.index(self.journey) + 1) % len(names)])

    def light(self, journey: str, reason: str = "") -> None:
        """Light the hooks of a journey, and show the reason for it."""
        self.journey, self.reason = journey, clean(reason)
        self._repaint()

    def light_way(self, way: PacketWay) -> None:
        """Light the way of a packet, on the path that it takes, if that has chains: once they are read."""
        self._awaited = None if self._matrix.paths else way
        paths = [path for path in self._matrix.paths if way.path in path]  # IPv4 in `IPv4 and IPv6`
        if paths and self._matrix.path not in paths:
            self.path = paths[0]
            self.change()
        nat = "; NAT rules may change that" if self._matrix.dnat and way.path != "bridge" else ""
        self.light(way.journey if paths or way.of_ip else "bridged, past IP", way.reason + nat)

    def show_kernel(self) -> None:
        """Show the kernel's functions, or hide them."""
        self.set_options(zeroes=not self.options.zeroes)

    def action_move(self, where: str) -> None:
        """Move the cursor to the next chain in this direction."""
        chains = [place for place in self._matrix.places if place.ident is not None]
        at = self.viewport.index
        if at >= len(chains):
            return
        here, column = chains[at], [p for p in chains if p.column == chains[at].column]
        if where in ("left", "right"):
            target = self._beside(chains, here, -1 if where == "left" else 1)
        elif where in ("top", "bottom"):
            target = column[0 if where == "top" else -1]
        else:
            step = {"down": 1, "up": -1, "page_down": 5, "page_up": -5}[where]
            target = column[max(0, min(column.index(here) + step, len(column) - 1))]
        self.viewport.move_to(chains.index(target))
        self._moved()

    def _beside(self, chains: list[Place], here: Place, step: int) -> Place:
        """Return the chain nearest in height in the next column that has any."""
        ahead = [place for place in chains if (place.column - here.column) * step > 0]
        if not ahead:
            return here
        nearest = min((place.column - here.column) * step for place in ahead)
        column = [place for place in ahead if (place.column - here.column) * step == nearest]
        return min(column, key=lambda place: abs(self._line_of(place) - self._line_of(here)))

    def _line_of(self, place: Place) -> int:
        return self.top.get(place.ident or 0, 0)

    def _repaint(self) -> None:
        """Draw the lines again if the matrix, the cursor or the size has changed."""
        shown = None if self.viewport.shown is None else self.viewport.shown.snapshot
        matrix = shown.matrix if isinstance(shown, MatrixSnapshot) else EMPTY
        state = matrix, self.size, self.journey, self.reason, self.viewport.index, self.has_focus, self._advice()
        if state != self._painted:
            self._painted, self._matrix, self.path = state, matrix, matrix.path or self.path
            drawn = draw(matrix, self.size.width, JOURNEYS.get(self.journey, ()))
            self._titles, self.drawn, self.top = drawn.titles, drawn.lines, drawn.top or {}
            self.scroll_to_cursor()
            self.refresh()
        if self._awaited is not None and self._matrix.paths:
            self.light_way(self._awaited)
        self._report_moved()

    def heads(self) -> tuple[Line, ...]:
        """Return the line of paths, the hooks, and what is between them."""
        return self._head(), *self._titles

    def _head(self) -> Line:
        """Return the line of paths and the journey that is lit."""
        key = "key" if self.has_focus else "dim"  # the keys are those of the pane below
        line: list[tuple[str, str]] = [(" p ", key)]
        for path in self._matrix.paths:
            current = path == self._matrix.path
            line.append((f"[{path}] " if current else f" {path}  ", "heading" if current else "dim"))
        shown = None if self.viewport.shown is None else self.viewport.shown.snapshot
        if isinstance(shown, MatrixSnapshot) and shown.findings:
            line += [(" ! ", "key"), (plural(shown.findings, "finding"), "warn")]
        line += [("   o ", key), (f"way: {self.journey}" if self.journey else "light a way", "dim")]
        line += [(f"   {self.reason}", "accent")] if self.reason else [("   O ", key), ("of a packet", "dim")]
        line += [("   z ", key), (f"kernel {'shown' if self.options.zeroes else 'hidden'}", "dim")]
        return tuple(line)
