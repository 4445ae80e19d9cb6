"""Lines of segments on a surface: what every bar and text pane is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.strip import Strip

from nettop.model.table import Line
from nettop.ui import strips as lines
from nettop.ui.commands import MOVES, bindings
from nettop.ui.palette import palette_of
from nettop.ui.widgets.self_drawn import Drawn


class Paper(Drawn):
    """Draws `text` (one Line a row) on a surface. Only lines that changed are painted."""

    DEFAULT_CSS = "Paper { width: 1fr; height: 1; }"

    def __init__(self, *, surface: str = "bar", id: str | None = None) -> None:  # noqa: A002 Textual's own name
        super().__init__(id=id)
        self.surface = surface
        self.text: tuple[Line, ...] = ()

    def write(self, text: Sequence[Line]) -> None:
        """Show these lines from now on."""
        new, old = tuple(text), self.text
        if new == old:
            return
        self.text = new
        changed = [y for y in range(max(len(new), len(old))) if new[y : y + 1] != old[y : y + 1]]
        self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """One line, cut or padded to the width."""
        line: Line = self.text[y] if 0 <= y < len(self.text) else ()
        return lines.strip(line, self.size.width, palette_of(self), self.surface)


class TooSmall(Paper):
    """Covers a screen that has no room for anything else."""

    DEFAULT_CSS = "TooSmall { layer: over; display: none; width: 100%; height: 100%; }"
    LEAST = (30, 8)  # cells and lines that are needed

    def fit(self, width: int, height: int) -> None:
        """Cover the screen, or leave it free."""
        tiny = width < self.LEAST[0] or height < self.LEAST[1]
        self.styles.display = "block" if tiny else "none"
        if tiny:
            words = f"too small: {width}×{height}, nettop needs {self.LEAST[0]}×{self.LEAST[1]}"
            parts = [words[i : i + width] for i in range(0, len(words), max(1, width))]
            self.write([((part, "warn"),) for part in parts])


class Reader(Drawn, can_focus=True):
    """A text pane that scrolls: a detail's lines, a packet's bytes, the help."""

    DEFAULT_CSS = "Reader { width: 1fr; height: 1fr; }"
    EDGE: ClassVar[str] = ""  # stands left of every line
    BINDINGS: ClassVar[list[BindingType]] = bindings(MOVES, "move")

    def __init__(self, *, surface: str = "background", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.surface = surface
        self.text: tuple[Line, ...] = ()
        self.first = 0
        self.shift = 0

    def write(self, text: Sequence[Line], *, top: bool = False) -> None:
        """Show these lines; `top` goes back to the first one (it is about something else now)."""
        if top:
            self.first = self.shift = 0
        if tuple(text) != self.text or top:
            self.text = tuple(text)
            self._clamp()
            self.refresh()

    def _clamp(self) -> None:
        self.first = max(0, min(self.first, len(self.text) - self.size.height))
        widest = max((lines.width_of(line) for line in self.text), default=0)
        self.shift = max(0, min(self.shift, widest + 2 + len(self.EDGE) - self.size.width))

    def on_resize(self) -> None:
        self._clamp()

    def action_move(self, where: str) -> None:
        """One of the keys of MOVES."""
        page = max(1, self.size.height - 1)
        steps = {"down": 1, "up": -1, "page_down": page, "page_up": -page, "top": -len(self.text)}
        self.first += steps.get(where, len(self.text) if where == "bottom" else 0)
        self.shift += {"right": 8, "left": -8}.get(where, 0)
        self._clamp()
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.first += 3
        self._clamp()
        self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.first -= 3
        self._clamp()
        self.refresh()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One visible line; a mark at the right says that there is more above or below."""
        at = self.first + y
        line = self.line(at)
        width = self.size.width - len(self.EDGE)
        more = (y == 0 and self.first > 0) or (y == self.size.height - 1 and at < len(self.text) - 1)
        drawn: Sequence[tuple[str, str]] = _after(line, self.shift)
        if more:
            drawn = lines.spread(tuple(drawn), (("↑" if y == 0 else "↓", "key"),), width, 1)
        edge = ((self.EDGE, "dim"),) if self.EDGE else ()
        return lines.strip((*edge, *drawn), self.size.width, palette_of(self), self.surface_of(at))

    def line(self, at: int) -> Line:
        """Line `at` as it is drawn."""
        return self.text[at] if 0 <= at < len(self.text) else ()

    def surface_of(self, at: int) -> str:
        """What line `at` stands on."""
        return self.surface


def _after(line: Line, skip: int) -> Line:
    """The line without its first `skip` characters."""
    if not skip:
        return line
    out = []
    for text, role in line:
        if skip < len(text):
            out.append((text[skip:], role))
        skip = max(0, skip - len(text))
    return tuple(out)
