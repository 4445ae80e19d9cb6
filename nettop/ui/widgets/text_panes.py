"""Widgets that show lines of text: bars, and panes that scroll."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Region
from textual.strip import Strip

from nettop.model.table import Line
from nettop.session.status import Status
from nettop.text.sanitize import clean
from nettop.ui import strips as lines
from nettop.ui.commands import MOVES, bindings
from nettop.ui.palette import palette_of
from nettop.ui.widgets.bar_lines import offer_line
from nettop.ui.widgets.self_drawn import SelfDrawn


class TextPane(SelfDrawn):
    """Shows `text`, one Line a row, on a surface. Only changed lines are painted."""

    DEFAULT_CSS = "TextPane { width: 1fr; height: 1; }"

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

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked, or the key whose words were."""
        if 0 <= event.y < len(self.text):
            self.press_key_at(self.text[event.y], event.x)

    def render_line(self, y: int) -> Strip:
        """Draw line y, cut or padded to the width."""
        line: Line = self.text[y] if 0 <= y < len(self.text) else ()
        return lines.strip(line, self.size.width, palette_of(self), self.surface)


class Banner(TextPane):
    """A text about the whole session, wrapped to the screen's width. An empty one takes no room."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words
        self.display = bool(words)

    def fit(self, width: int) -> None:
        """Wrap the text to this width."""
        parts = textwrap.wrap(clean(self._words), max(10, width - 2))
        self.styles.height = len(parts)
        self.write([((f" {part}", "warn"),) for part in parts])


class TooSmall(TextPane):
    """A message that covers a screen too small for the app."""

    DEFAULT_CSS = "TooSmall { layer: over; display: none; width: 100%; height: 100%; }"
    MIN_SIZE = (30, 8)  # cells, lines

    def fit(self, width: int, height: int) -> None:
        """Cover the screen if it is smaller than MIN_SIZE."""
        tiny = width < self.MIN_SIZE[0] or height < self.MIN_SIZE[1]
        self.styles.display = "block" if tiny else "none"
        if tiny:
            message = f"too small: {width}×{height}, nettop needs {self.MIN_SIZE[0]}×{self.MIN_SIZE[1]}"
            parts = [message[i : i + width] for i in range(0, len(message), max(1, width))]
            self.write([((part, "warn"),) for part in parts])


class AccountingOffer(TextPane):
    """The offer to switch accounting on, where flows have no bytes. It remembers the namespaces that declined it."""

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._declined: set[str] = set()  # namespaces

    def show(self, status: Status, flows: int) -> None:
        """Show the line if accounting is off and can be switched on; otherwise hide it."""
        allowed = status.mode in ("LIVE", "DEMO") and not status.read_only
        self.display = allowed and status.acct == "off" and flows > 0 and status.netns not in self._declined
        if self.display:
            self.write([offer_line(self.app.size.width)])

    def decline(self, netns: str) -> None:
        """Hide the line and never show it again for this namespace."""
        self._declined.add(netns)
        self.display = False


class ScrollPane(SelfDrawn, can_focus=True):
    """A text pane that scrolls, for details, hexdumps and the help."""

    DEFAULT_CSS = "ScrollPane { width: 1fr; height: 1fr; }"
    EDGE: ClassVar[str] = ""  # drawn at the left of every line
    BINDINGS: ClassVar[list[BindingType]] = bindings(MOVES, "move")

    def __init__(self, *, surface: str = "background", id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.surface = surface
        self.text: tuple[Line, ...] = ()
        self.first = 0
        self.shift = 0

    def write(self, text: Sequence[Line], *, top: bool = False) -> None:
        """Show these lines. `top` scrolls to the first one: the text is about another subject."""
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
        """Keep the scroll position within the text."""
        self._clamp()

    def action_move(self, where: str) -> None:
        """Scroll by one of the keys of MOVES."""
        page, every = max(1, self.size.height - 1), len(self.text)
        steps = {"down": 1, "up": -1, "page_down": page, "page_up": -page, "top": -every, "bottom": every}
        self._scroll(steps.get(where, 0), {"right": 8, "left": -8}.get(where, 0))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll three lines down."""
        event.stop()
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll three lines up."""
        event.stop()
        self._scroll(-3)

    def _scroll(self, lines: int, cells: int = 0) -> None:
        self.first += lines
        self.shift += cells
        self._clamp()
        self.refresh()

    def watch_has_focus(self, _has_focus: bool) -> None:
        """Paint with or without the focus."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw visible line y. A mark at the right end means that there is more text above or below."""
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
        """Return the text of line `at`; () outside the text."""
        return self.text[at] if 0 <= at < len(self.text) else ()

    def surface_of(self, at: int) -> str:
        """Return the surface of line `at`."""
        return self.surface


def _after(line: Line, skip: int) -> Line:
    """Return the line without its first `skip` characters."""
    if not skip:
        return line
    out = []
    for text, role in line:
        if skip < len(text):
            out.append((text[skip:], role))
        skip = max(0, skip - len(text))
    return tuple(out)
