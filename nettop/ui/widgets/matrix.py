"""The matrix of chains as a table whose rows are cells: the cursor moves over hooks and priorities."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.strip import Strip

from nettop.model.ruleset.chain_matrix import MatrixSnapshot
from nettop.model.ruleset.matrix import EMPTY, JOURNEYS, PATHS, Place
from nettop.model.table import Line, ViewSpec
from nettop.session.base import Session
from nettop.text.units import plural
from nettop.ui import strips
from nettop.ui.palette import palette_of
from nettop.ui.widgets.matrix_lines import Drawn, Part, draw
from nettop.ui.widgets.painter import CURSOR_MARK
from nettop.ui.widgets.snapshot_requests import Post
from nettop.ui.widgets.table import Table

_ALL = 10_000  # rows of a request: every base chain


class MatrixTable(Table):
    """The cells of the matrix. Arrows and hjkl move between chains; `path` is the kind of packet shown."""

    part: ClassVar[float] = 0.6

    path = ""
    journey = ""  # key of JOURNEYS; "": every hook is lit
    _matrix = EMPTY
    _drawn = Drawn()
    _first = 0  # line at the top of those that scroll
    _painted: tuple[object, ...] = ()

    @property
    def lines_wanted(self) -> int:
        """The lines that show all of it."""
        return 1 + len(self._drawn.titles) + len(self._drawn.lines)

    def __init__(self, view: str, session: Session, post: Post) -> None:
        super().__init__(view, session, post)
        self.options = ViewSpec((), zeroes=True)  # with the kernel's functions

    def spec(self) -> ViewSpec:
        """Return the request for all chains of the path."""
        columns = self.info.default_columns
        return replace(super().spec(), columns=columns, first=0, height=_ALL, group=self.path)

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
        self.journey = names[(names.index(self.journey) + 1) % len(names)]
        self._repaint()

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
        return (self._drawn.top or {}).get(place.ident or 0, 0)

    def on_resize(self, event: events.Resize) -> None:
        """Draw the lines for the new size."""
        super().on_resize(event)
        self._repaint()

    def on_click(self, event: events.Click) -> None:
        """Select the chain that was clicked, or open it if it is selected."""
        if event.y == 0:
            self.press_key_at(self._head(), event.x)
            return
        at, x = self._first + event.y - 1 - len(self._drawn.titles), event.x
        for text, _, ident in self._drawn.lines[at] if 0 <= at < len(self._drawn.lines) else ():
            if 0 <= x < cell_len(text) and ident is not None:
                self._select(ident)
            x -= cell_len(text)

    def _select(self, ident: int) -> None:
        index = self._matrix.idents.index(ident)
        if index == self.viewport.index:
            self.post_message(self.Opened(self))
            return
        self.viewport.move_to(index)
        self._moved()

    def _repaint(self) -> None:
        """Draw the lines again if the matrix, the cursor or the size has changed."""
        shown = None if self.viewport.shown is None else self.viewport.shown.snapshot
        matrix = shown.matrix if isinstance(shown, MatrixSnapshot) else EMPTY
        state = matrix, self.size, self.journey, self.viewport.index, self.has_focus, self._advice()
        if state != self._painted:
            self._painted, self._matrix, self.path = state, matrix, matrix.path or self.path
            self._drawn = draw(matrix, self.size.width, JOURNEYS.get(self.journey, ()))
            self._scroll_to_cursor()
            self.refresh()
        self._report_moved()

    def _scroll_to_cursor(self) -> None:
        room = max(1, self.size.height - 1 - len(self._drawn.titles))
        row = self.current
        line = (self._drawn.top or {}).get(0 if row is None else row.ident, 0)
        self._first = max(line + 2 - room, min(self._first, line))
        self._first = max(0, min(self._first, len(self._drawn.lines) - room))

    def render_line(self, y: int) -> Strip:
        """Draw line y: paths and journey, the hooks, what is between them, then the chains."""
        palette, width = palette_of(self), self.size.width
        lines: tuple[Line, ...] = (self._head(), *self._drawn.titles)
        if advice := self._advice():
            lines = ((), *advice)
        elif y == len(lines) - 1:
            return strips.strip(self._with_rest(lines[y]), width, palette)
        if y < len(lines):
            return strips.strip((("  ", ""), *lines[y]) if advice else lines[y], width, palette)
        at = self._first + y - len(lines)
        return self._chains_line(-1 if advice else at)

    def _with_rest(self, title: Line) -> Line:
        """Return the line above the chains; it begins with the number of lines above and below the screen."""
        below = len(self._drawn.lines) - self._first - (self.size.height - 1 - len(self._drawn.titles))
        hidden = " ".join(f"{arrow}{count}" for arrow, count in (("↑", self._first), ("↓", below)) if count > 0)
        return ((strips.fit(hidden, len(title[0][0])), "key"), *title[1:]) if hidden else title

    def _chains_line(self, at: int) -> Strip:
        parts: tuple[Part, ...] = self._drawn.lines[at] if 0 <= at < len(self._drawn.lines) else ()
        palette, width = palette_of(self), self.size.width
        here = None if self.current is None else self.current.ident
        cursor = "cursor" if self.has_focus else "cursor_idle"
        marked = here is not None and (self._drawn.top or {}).get(here) == at
        segments = []
        for text, role, ident in parts:
            on = ident is not None and ident == here
            if on and marked:
                text, role, marked = CURSOR_MARK + text[1:], "key" if self.has_focus else "dim", False
            segments.append(Segment(text, palette.style(role, cursor if on else "background")))
        rest = width - sum(segment.cell_length for segment in segments)
        return Strip([*segments, *strips.blank(rest, palette.style())], width)

    def _head(self) -> Line:
        """Return the line of paths and the journey that is lit."""
        key = "key" if self.has_focus else "dim"  # the keys are those of the pane below
        line: list[tuple[str, str]] = [(" p ", key)]
        for path in self._matrix.paths:
            current = path == self._matrix.path
            line.append((f"[{path}] " if current else f" {path}  ", "heading" if current else "dim"))
        line += [("   o ", key), (f"way: {self.journey}" if self.journey else "light a packet's way", "dim")]
        line += [("   z ", key), (f"kernel {'shown' if self.options.zeroes else 'hidden'}", "dim")]
        shown = None if self.viewport.shown is None else self.viewport.shown.snapshot
        if isinstance(shown, MatrixSnapshot) and shown.findings:
            line += [("   ! ", "key"), (plural(shown.findings, "finding"), "warn")]
        return tuple(line)
