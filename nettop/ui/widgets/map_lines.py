"""The lines of the map's drawing, as wide as its pane: a pure function of the scene."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from rich.cells import cell_len

from nettop.model.map.scene import Box, Item, Scene
from nettop.text.sanitize import clean
from nettop.text.units import plural
from nettop.ui.strips import fit, fit_middle
from nettop.ui.widgets.map_placement import (
    CLOSE,
    END,
    MORE,
    OPEN,
    TITLE,
    DrawnLink,
    Placed,
    Placement,
    Placer,
    Slot,
    item_text,
    texts,
)
from nettop.ui.widgets.matrix_lines import Part

_TWO_COLUMNS = 56  # cells from which there are two
_BOX = 18  # cells of a box at least
_LANE = 2  # cells
_EDGES = 3  # cells of the channel beside its lanes

_Cell = tuple[str, str, int | None]
_BLANK: _Cell = (" ", "", None)
_GAP = Slot("")  # a line that a box is stretched by
_CORNERS = {(0, True): "┐", (0, False): "┘", (1, True): "┌", (1, False): "└"}  # (column, goes down)
_HEAVY = str.maketrans("─│┌┐└┘├┤┼┄┆", "━┃┏┓┗┛┣┫╋┅┇")  # of what is lit
_BORDERS, _CROSSED = "│┃", "│┆┃┇┼╂┿╋"
_CROSSINGS = {(False, False): "┼", (True, False): "╂", (False, True): "┿", (True, True): "╋"}  # vertical, horizontal
_LIT = "good"  # the role of what is lit
FOUND = "•"  # before the name of what was found


@dataclass(frozen=True, slots=True)
class Drawing:
    """The lines; `places` has the line and the column (0 or 1) of each device and namespace."""

    lines: tuple[tuple[Part, ...], ...] = ()
    places: dict[int, tuple[int, int]] = field(default_factory=dict)


def draw(scene: Scene, width: int, lit: Collection[int] = (), found: Collection[int] = ()) -> Drawing:
    """Return the drawing in `width` cells. What has no room is named below it.

    Of the idents in `lit` boxes and links are heavy; those in `found` are marked.
    """
    if width < _EDGES:  # it is hidden
        return Drawing()
    columns = 2 if width >= _TWO_COLUMNS and len(scene.boxes) > 1 else 1
    wanted = max((cell_len(clean(text)) + 4 for text in texts(scene.boxes)), default=_BOX)
    box = max(min(_BOX, width), min(wanted, (width - _EDGES - 2 * _LANE) // columns))
    placed = Placer(scene, columns, lit).place(max(0, (width - columns * box - _EDGES) // _LANE))
    channel = _EDGES + _LANE * placed.lanes if placed.links else 1
    grid = _Grid(width, placed, box, box + channel, lit, found)
    lines = [*grid.lines(), *_remarks(scene, placed)]
    return Drawing(tuple(lines), grid.places)


def _remarks(scene: Scene, placed: Placement) -> list[tuple[Part, ...]]:
    found: list[tuple[Part, ...]] = []
    if scene.left_out:
        found.append(((f"{plural(scene.left_out, 'more namespace')} not drawn: the tree has all", "warn", None),))
    if placed.undrawn:
        found.append(
            ((f"{plural(len(placed.undrawn) // 2, 'link')} not drawn, no room: ⇄ names its end", "warn", None),)
        )
    return found


class _Grid:
    """The cells of a drawing. Links first, vertical parts before horizontal ones; boxes are drawn beside them."""

    def __init__(
        self, width: int, placed: Placement, box: int, second: int, lit: Collection[int], found: Collection[int]
    ) -> None:
        """Draw boxes of `box` cells, those of the second column from cell `second` on."""
        self._width, self._box_width, self._second = width, box, second
        self._undrawn, self._lit, self._found = placed.undrawn, lit, found
        self._rows: list[list[_Cell]] = [[_BLANK] * width for _ in range(placed.height)]
        self.places: dict[int, tuple[int, int]] = {}
        for each in placed.boxes:
            self._box(each)
        for link in placed.links:
            self._vertical(link)
        for link in placed.links:
            self._horizontal(link)

    def lines(self) -> list[tuple[Part, ...]]:
        """Return the lines, with neighbouring cells of one kind joined."""
        return [_joined(row) for row in self._rows]

    def _put(self, x: int, y: int, text: str, role: str, ident: int | None = None) -> None:
        for char in text:
            cells = cell_len(char)
            if not cells and 0 < x <= self._width:  # a mark over the character before
                before = self._rows[y][x - 1]
                self._rows[y][x - 1] = (before[0] + char, *before[1:])
            for at in range(cells):
                if x + at < self._width:
                    self._rows[y][x + at] = ("" if at else char, role, ident)
            x += cells

    def _frame(self, x: int, y: int, text: str, role: str) -> None:
        """Draw a part of a border or a link."""
        self._put(x, y, text.translate(_HEAVY) if role == _LIT else text, role)

    def _role(self, ident: int, role: str) -> str:
        return _LIT if ident in self._lit else role

    def _box(self, placed: Placed) -> None:
        left = self._second if placed.column else 0
        role = self._role(placed.box.ident, "heading" if placed.box.here else "dim")
        at = {line: slot for line, slot in placed.slots}
        bridge: int | None = None  # whose box is open
        for line in range(placed.slots[0][0], placed.slots[-1][0] + 1):
            slot = at.get(line) or _GAP
            bridge = slot.item.ident if slot.what == OPEN and slot.item is not None else bridge
            self._line(left, line, slot, placed.box, role, bridge)
            bridge = None if slot.what == CLOSE else bridge

    def _line(self, left: int, y: int, slot: Slot, box: Box, role: str, bridge: int | None) -> None:
        right, room = left + self._box_width - 1, self._box_width - 2
        if slot.what == TITLE:
            here = "  ◀ here" if box.here else ""
            self._border(left, y, box.title + here, "heading", role, box.ident, self._box_width)
            return
        if slot.what == END:
            self._frame(left, y, "└" + "─" * room + "┘", role)
            return
        self._frame(left, y, "│", role)
        self._frame(right, y, "│", role)
        if bridge is not None:
            self._inner(left + 2, y, slot, room - 2, self._role(bridge, "dim"))
        elif slot.item is not None:
            self._device(left + 1, y, slot.item, room)
        elif slot.what == MORE:
            self._put(left + 1, y, fit(f" {box.note}", room), "dim")

    def _inner(self, left: int, y: int, slot: Slot, width: int, role: str) -> None:
        """Draw a line of a bridge's box."""
        if slot.what == OPEN and slot.item is not None:
            self._border(left, y, item_text(slot.item, undrawn=True), "accent", role, slot.item.ident, width)
        elif slot.what == CLOSE:
            self._frame(left, y, "└" + "─" * (width - 2) + "┘", role)
        else:
            self._frame(left, y, "│", role)
            self._frame(left + width - 1, y, "│", role)
            if slot.item is not None:
                self._device(left + 1, y, slot.item, width - 2)

    def _border(self, left: int, y: int, title: str, role: str, border: str, ident: int, width: int) -> None:
        text = clean(title)
        room = width - 4
        text = text if cell_len(text) <= room else fit_middle(text, room)
        self._frame(left, y, "┌", border)
        self._put(left + 1, y, f"{self._mark(ident)}{text} ", role, ident)
        used = cell_len(text) + 3
        self._frame(left + used, y, "─" * (width - used - 1) + "┐", border)
        self.places[ident] = y, int(left >= self._second)

    def _mark(self, ident: int) -> str:
        return FOUND if ident in self._found else " "

    def _device(self, left: int, y: int, item: Item, room: int) -> None:
        text = item_text(item, undrawn=item.peer is None or item.ident in self._undrawn)
        role = "warn" if item.finding else self._role(item.ident, "accent")
        self._put(left, y, fit(f"{self._mark(item.ident)}{text}", room), role, item.ident)
        self.places[item.ident] = y, int(left >= self._second)

    def _lane(self, lane: int) -> int:
        return self._box_width + 1 + _LANE * lane

    def _vertical(self, link: DrawnLink) -> None:
        if link.lane is not None:
            low, high = sorted((link.first[1], link.second[1]))
            for y in range(low + 1, high):
                self._frame(self._lane(link.lane), y, "┆" if link.dashed else "│", _LIT if link.lit else "")

    def _horizontal(self, link: DrawnLink) -> None:
        if link.lane is None:
            self._cross(self._box_width, self._second, link.first[1], link)
        for (column, y), (_, other) in ((link.first, link.second), (link.second, link.first)):
            self._pin(column, y, _LIT if link.lit else "")
            if link.lane is not None:
                x = self._lane(link.lane)
                self._frame(x, y, _CORNERS[column, other > y], _LIT if link.lit else "")
                start, end = (x + 1, self._second) if column else (self._box_width, x)
                self._cross(start, end, y, link)

    def _cross(self, start: int, end: int, y: int, link: DrawnLink) -> None:
        """Draw a horizontal line from cell `start` to before `end`, across those that are there."""
        for x in range(start, end):
            there, lit = self._rows[y][x][:2]
            crosses, lit_there = there in _CROSSED, lit == _LIT
            text = _CROSSINGS[lit_there, link.lit] if crosses else "┄" if link.dashed else "─"
            self._frame(x, y, text, _LIT if link.lit or (crosses and lit_there) else "")

    def _pin(self, column: int, y: int, role: str) -> None:
        """Lead a link out of its box, and out of a bridge's box."""
        outer = self._second if column else self._box_width - 1
        inner = outer + 2 if column else outer - 2
        text, _, ident = self._rows[y][inner]
        within = text in _BORDERS and ident is None
        if within:
            self._frame(inner, y, "┤" if column else "├", role)
            self._frame((inner + outer) // 2, y, "─", role)
        self._frame(outer, y, "┼" if within else "┤" if column else "├", role)


def _joined(row: list[_Cell]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for text, role, ident in row:
        if parts and parts[-1][1:] == (role, ident):
            parts[-1] = (parts[-1][0] + text, role, ident)
        else:
            parts.append((text, role, ident))
    return tuple(parts)
