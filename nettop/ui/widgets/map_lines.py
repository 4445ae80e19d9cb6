"""The lines of the map's drawing, as wide as its pane: a pure function of the scene."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.cells import cell_len

from nettop.model.map.scene import Box, Item, Scene
from nettop.text.sanitize import clean
from nettop.text.units import plural
from nettop.ui.strips import fit, fit_middle
from nettop.ui.widgets.map_placement import (
    CLOSE,
    DEVICE,
    END,
    OPEN,
    TITLE,
    DrawnLink,
    Placed,
    Placement,
    Slot,
    item_text,
    place,
    texts,
)
from nettop.ui.widgets.matrix_lines import Part

_TWO_COLUMNS = 56  # cells from which there are two
_BOX = 18  # cells of a box at least
_LANE = 2  # cells
_EDGES = 3  # cells of the channel beside its lanes

_Cell = tuple[str, str, int | None]
_BLANK: _Cell = (" ", "", None)
_CORNERS = {(0, True): "┐", (0, False): "┘", (1, True): "┌", (1, False): "└"}  # (column, goes down)


@dataclass(frozen=True, slots=True)
class Drawing:
    """The lines; `places` has the line and the column (0 or 1) of each device and namespace."""

    lines: tuple[tuple[Part, ...], ...] = ()
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    width: int = 0


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Cells of a column, of the channel, and where the second column begins."""

    box: int
    channel: int

    @property
    def second(self) -> int:
        return self.box + self.channel


def draw(scene: Scene, width: int) -> Drawing:
    """Return the drawing in `width` cells. What has no room is named below it."""
    columns = 2 if width >= _TWO_COLUMNS and len(scene.boxes) > 1 else 1
    wanted = max((cell_len(clean(text)) + 4 for text in texts(scene.boxes)), default=_BOX)
    box = max(min(_BOX, width), min(wanted, (width - _EDGES - 2 * _LANE) // columns))
    placed = place(scene, columns, max(0, (width - columns * box - _EDGES) // _LANE))
    channel = _EDGES + _LANE * placed.lanes if placed.links else 1
    grid = _Grid(width, placed, _Sizes(box, channel))
    lines = [*grid.lines(), *_remarks(scene, placed)]
    return Drawing(tuple(lines), grid.places, width)


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

    def __init__(self, width: int, placed: Placement, sizes: _Sizes) -> None:
        self._width, self._sizes, self._undrawn = width, sizes, placed.undrawn
        self._rows: list[list[_Cell]] = [[_BLANK] * width for _ in range(placed.height)]
        self.places: dict[int, tuple[int, int]] = {}
        for box in placed.boxes:
            self._box(box)
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

    def _box(self, placed: Placed) -> None:
        left = self._sizes.second if placed.column else 0
        role = "heading" if placed.box.here else "dim"
        at = {line: slot for line, slot in placed.slots}
        inside = False
        for line in range(placed.slots[0][0], placed.slots[-1][0] + 1):
            slot = at.get(line)
            inside = slot.inside if slot is not None else inside
            self._line(left, line, slot, placed.box, role, inside)
            inside = inside and not (slot is not None and slot.what == CLOSE)

    def _line(self, left: int, y: int, slot: Slot | None, box: Box, role: str, inside: bool) -> None:
        right, room = left + self._sizes.box - 1, self._sizes.box - 2
        if slot is not None and slot.what == TITLE:
            here = "  ◀ here" if box.here else ""
            self._border(left, y, "┌┐", box.title + here, "heading", role, box.ident, self._sizes.box)
            return
        if slot is not None and slot.what == END:
            self._put(left, y, "└" + "─" * room + "┘", role)
            return
        self._put(left, y, "│", role)
        self._put(right, y, "│", role)
        if inside:
            self._inner(left + 2, y, slot, room - 2)
        elif slot is not None and slot.item is not None:
            self._device(left + 1, y, slot.item, room)
        elif slot is not None:  # MORE
            self._put(left + 1, y, fit(f" {box.note}", room), "dim")

    def _inner(self, left: int, y: int, slot: Slot | None, width: int) -> None:
        """Draw a line of a bridge's box."""
        if slot is not None and slot.what == OPEN and slot.item is not None:
            text = item_text(slot.item, undrawn=True)
            self._border(left, y, "┌┐", text, "accent", "dim", slot.item.ident, width)
        elif slot is not None and slot.what == CLOSE:
            self._put(left, y, "└" + "─" * (width - 2) + "┘", "dim")
        else:
            self._put(left, y, "│", "dim")
            self._put(left + width - 1, y, "│", "dim")
            if slot is not None and slot.what == DEVICE and slot.item is not None:
                self._device(left + 1, y, slot.item, width - 2)

    def _border(
        self, left: int, y: int, corners: str, title: str, role: str, border: str, ident: int, width: int
    ) -> None:
        text = clean(title)
        room = width - 4
        text = text if cell_len(text) <= room else fit_middle(text, room)
        self._put(left, y, corners[0], border)
        self._put(left + 1, y, f" {text} ", role, ident)
        used = cell_len(text) + 3
        self._put(left + used, y, "─" * (width - used - 1), border)
        self._put(left + width - 1, y, corners[1], border)
        self.places[ident] = y, int(left >= self._sizes.second)

    def _device(self, left: int, y: int, item: Item, room: int) -> None:
        text = item_text(item, undrawn=item.peer is None or item.ident in self._undrawn)
        self._put(left, y, fit(f" {text}", room), "warn" if item.finding else "accent", item.ident)
        self.places[item.ident] = y, int(left >= self._sizes.second)

    def _lane(self, lane: int) -> int:
        return self._sizes.box + 1 + _LANE * lane

    def _vertical(self, link: DrawnLink) -> None:
        if link.lane is not None:
            low, high = sorted((link.first[1], link.second[1]))
            for y in range(low + 1, high):
                self._put(self._lane(link.lane), y, "│", "")

    def _horizontal(self, link: DrawnLink) -> None:
        if link.lane is None:
            self._cross(self._sizes.box, self._sizes.second, link.first[1])
        for (column, y), (_, other) in ((link.first, link.second), (link.second, link.first)):
            self._pin(column, y)
            if link.lane is not None:
                x = self._lane(link.lane)
                self._put(x, y, _CORNERS[column, other > y], "")
                start, end = (x + 1, self._sizes.second) if column else (self._sizes.box, x)
                self._cross(start, end, y)

    def _cross(self, start: int, end: int, y: int) -> None:
        """Draw a horizontal line from cell `start` to before `end`, across those that are there."""
        for x in range(start, end):
            self._put(x, y, "┼" if self._rows[y][x][0] in ("│", "┼") else "─", "")

    def _pin(self, column: int, y: int) -> None:
        """Lead a link out of its box, and out of a bridge's box."""
        outer = self._sizes.second if column else self._sizes.box - 1
        inner = outer + 2 if column else outer - 2
        within = self._rows[y][inner][0] == "│" and self._rows[y][inner][1] == "dim"
        if within:
            self._put(inner, y, "┤" if column else "├", "")
            self._put((inner + outer) // 2, y, "─", "")
        self._put(outer, y, "┼" if within else "┤" if column else "├", "")


def _joined(row: list[_Cell]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for text, role, ident in row:
        if parts and parts[-1][1:] == (role, ident):
            parts[-1] = (parts[-1][0] + text, role, ident)
        else:
            parts.append((text, role, ident))
    return tuple(parts)
