"""The protocol tree of a packet and its hexdump. The bytes of the tree line under the cursor are highlighted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from nettop.model.table import Detail, Line, PacketDetail
from nettop.ui.widgets.text_panes import ScrollPane

OPEN, SHUT = "▾", "▸"
# Folded at first: their titles show the main facts, and the layers above stay in view.
FOLDED = frozenset(("Frame", "Ethernet", "Linux cooked", "IPv4", "IPv6"))
_OFFSET = 6  # cells of a hexdump line before its first byte: `0010  `
_ASCII = 55  # cells of a hexdump line before its ASCII column


class PacketTree(ScrollPane):
    """The lines of a detail. Lines with depths have a cursor, and each branch (from depth 0) can be folded.

    Folds are remembered by the name of the branch, so the next packet has the same ones.
    """

    @dataclass
    class Pointed(Message):
        """The cursor is on a line about the bytes from `start` to `end` (exclusive); (0, 0): no bytes."""

        start: int
        end: int

    class Chosen(Message):
        """A line was chosen where none folds: that of a traced packet's step."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 Textual's own name
        super().__init__(id=id)
        self._lines: tuple[Line, ...] = ()
        self._ranges: Sequence[tuple[int, int]] = ()
        self._depths: Sequence[int] = ()
        self._visible: list[int] = []
        self._folded: set[str] = set(FOLDED)
        self.cursor = 0

    def show_detail(self, detail: Detail, *, top: bool) -> None:
        """Show the lines of this detail. The cursor stays on its line, or goes to the first one (`top`)."""
        self._lines = detail.lines
        self._depths, self._ranges = (
            ((), ()) if not isinstance(detail, PacketDetail) else (detail.depths, detail.ranges)
        )
        self._draw(top=top)

    def _draw(self, *, top: bool = False) -> None:
        self._visible = _unfolded(self._lines, self._depths, self._folded)
        text = [self._marked(at) for at in self._visible]
        self.cursor = 0 if top else max(0, min(self.cursor, len(text) - 1))
        self.write(text, top=top)
        self._point()

    @property
    def cursor_line(self) -> Line:
        """The line under the cursor; () without one."""
        return self._lines[self._visible[self.cursor]] if self.cursor < len(self._visible) else ()

    def _marked(self, at: int) -> Line:
        line = self._lines[at]
        if self._depths and self._depths[at] == 0 and _name(line) in self._folded:
            return tuple((text.replace(OPEN, SHUT), role) for text, role in line)
        return line

    def _point(self) -> None:
        at = self._visible[self.cursor] if self.cursor < len(self._visible) else -1
        start, end = self._ranges[at] if self._depths and 0 <= at < len(self._ranges) else (0, 0)
        self.post_message(self.Pointed(start, end))

    def action_move(self, where: str) -> None:
        """Move the cursor by one of the keys of MOVES, ← folds, → unfolds. Without a cursor scroll."""
        if not self._depths or (where in ("left", "right") and 0 not in self._depths):
            super().action_move(where)
        elif where in ("left", "right"):
            self.fold(where == "left")
        else:
            page, last = max(1, self.size.height - 1), len(self._visible)
            steps = {"down": 1, "up": -1, "page_down": page, "page_up": -page, "top": -last, "bottom": last}
            self.go_to(self.cursor + steps[where])

    def go_to(self, to: int) -> None:
        """Move the cursor to this line, and scroll as far as needed to see it."""
        self.cursor = max(0, min(to, len(self._visible) - 1))
        if self.size.height:  # else it is not laid out yet
            self.first = max(min(self.first, self.cursor), self.cursor - self.size.height + 1)
        self.refresh()
        self._point()

    def on_resize(self) -> None:
        """Keep the cursor in view, and as much of the text as there is room for."""
        super().on_resize()
        if self._depths:
            self.go_to(self.cursor)

    def fold(self, shut: bool | None = None) -> None:
        """Fold or unfold the branch of the cursor's line. None: toggle; where nothing folds, choose the line."""
        if not self._depths or not self._visible:
            return
        if 0 not in self._depths:
            self.post_message(self.Chosen())
            return
        at = self._visible[self.cursor]
        while at > 0 and self._depths[at] > 0:
            at -= 1
        name = _name(self._lines[at])
        if shut is None:
            shut = name not in self._folded
        (self._folded.add if shut else self._folded.discard)(name)
        self.cursor = self._visible.index(at)
        self._draw()
        self.go_to(self.cursor)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor here. A second click folds or unfolds the branch."""
        if self._depths and self.first + event.y < len(self._visible):
            again = self.first + event.y == self.cursor
            self.go_to(self.first + event.y)
            if again:
                self.fold()

    def line(self, at: int) -> Line:
        """Return visible line `at`. The cursor's line begins with a mark: colour alone is not enough."""
        found = super().line(at)
        if not self._depths or at != self.cursor or not self.has_focus or not found:
            return found
        (text, role), *rest = found
        return (("▶", "key"), (text[1:], role), *rest)

    def surface_of(self, at: int) -> str:
        """Return the surface of line `at`: the cursor's line has its own."""
        if not self._depths or at != self.cursor:
            return self.surface
        return "cursor" if self.has_focus else "cursor_idle"


def _name(line: Line) -> str:
    return next((text for text, role in line if role == "heading"), "")


def _unfolded(lines: Sequence[Line], depths: Sequence[int], folded: set[str]) -> list[int]:
    """Return the indexes of the lines that are not hidden by a fold."""
    if not depths:
        return list(range(len(lines)))
    visible, hidden = [], False
    for at, line in enumerate(lines):
        if depths[at] == 0:
            hidden = _name(line) in folded
            visible.append(at)
        elif not hidden:
            visible.append(at)
    return visible


class HexPane(ScrollPane):
    """A hexdump of 16 bytes a line (text.hexdump) in which a range of bytes can be highlighted."""

    EDGE = "│"
    lit = (0, 0)

    def light(self, start: int, end: int) -> None:
        """Highlight the bytes from start to end (exclusive) and scroll to the first; nothing if that is every byte."""
        if start == 0 and end > 16 * (len(self.text) - 1):
            start = end = 0
        if (start, end) == self.lit:
            return
        self.lit = (start, end)
        if end > start and not self.first <= start // 16 < self.first + max(1, self.size.height):
            self.first = start // 16
        self.refresh()

    def line(self, at: int) -> Line:
        """Return line `at`, its highlighted bytes in the role "lit"."""
        found = super().line(at)
        low, high = max(self.lit[0] - 16 * at, 0), min(self.lit[1] - 16 * at, 16)
        if low >= high or not found:
            return found
        text = "".join(part for part, _ in found)
        a, b = _cell(low), _cell(high - 1) + 2
        c, d = _ASCII + low, _ASCII + high
        cut = ((text[:a], ""), (text[a:b], "lit"), (text[b:c], ""), (text[c:d], "lit"), (text[d:], ""))
        return tuple(part for part in cut if part[0])


def _cell(byte: int) -> int:
    """Return the cell of a byte: two digits and a blank for each, one more blank after the eighth."""
    return _OFFSET + 3 * byte + (byte >= 8)
