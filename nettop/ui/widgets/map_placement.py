"""Positions of the boxes and devices of a drawing: two columns, and lanes for links between them. Pure.

A link whose ends are in different columns is straight where possible: boxes are stretched for it. No two links have
ends on the same line otherwise, so their horizontal parts never meet; their vertical parts have lanes of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from nettop.model.map.scene import Box, Item, Scene

_STRETCH = 8  # lines that a box is stretched for a straight link to a box that is placed already

TITLE, DEVICE, OPEN, CLOSE, MORE, END = "title", "device", "open", "close", "more", "end"


@dataclass(frozen=True, slots=True)
class Slot:
    """One line of a box: a border, or a device."""

    what: str
    item: Item | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A box in its column, with the lines of its slots in ascending order."""

    box: Box
    column: int
    slots: tuple[tuple[int, Slot], ...]


@dataclass(frozen=True, slots=True)
class DrawnLink:
    """A link between two pins (column, line). `lane` None: it is straight. `dashed`: it leads to a lower device."""

    first: tuple[int, int]
    second: tuple[int, int]
    lane: int | None = None
    dashed: bool = False
    lit: bool = False


@dataclass(slots=True)
class Placement:
    """The places of all boxes and lines. `undrawn` are the devices whose link found no lane."""

    boxes: list[Placed] = field(default_factory=list)
    links: list[DrawnLink] = field(default_factory=list)
    lanes: int = 0
    height: int = 0
    undrawn: set[int] = field(default_factory=set)


def slots_of(box: Box) -> list[Slot]:
    """Return the lines of a box, not stretched."""
    found, inside = [Slot(TITLE)], False
    for item in box.items:
        if inside and not item.inside:
            found.append(Slot(CLOSE))
            inside = False
        found.append(Slot(OPEN if item.bridge else DEVICE, item))
        inside = inside or item.bridge
    found += [Slot(CLOSE)] if inside else []
    return [*found, *([Slot(MORE)] if box.note else []), Slot(END)]


class Placer:
    """Places the boxes of one scene in one or two columns. Links between devices in `lit` are lit."""

    def __init__(self, scene: Scene, columns: int, lit: Collection[int]) -> None:
        self._scene, self._columns, self._lit = scene, columns, lit
        self._next = [0, 0]  # first free line of each column
        self._pins: list[dict[int, Item]] = [{}, {}]  # by line
        self._lines: dict[int, tuple[int, int]] = {}  # column and line of each item
        self._of = {item.ident: box for box in scene.boxes for item in box.items}
        self._done: dict[int, Placed] = {}  # by ident of the box

    def place(self, most_lanes: int) -> Placement:
        """Return the positions of all boxes, and links in at most so many lanes."""
        for box in self._scene.boxes:
            if self._side(box) == 0 and box.side is not None:
                self._left(box)
        for box in self._scene.boxes:
            if box.ident not in self._done:
                shorter = int(self._columns > 1 and self._next[1] < self._next[0])
                column = self._side(box) if box.side is not None else shorter
                self._plain(box, column, self._next[column])
        return self._routed(most_lanes)

    def _side(self, box: Box) -> int:
        return box.side or 0 if self._columns > 1 else 0

    def _left(self, box: Box) -> None:
        """Place a box in the first column, and beside it those that its devices are linked to."""
        y, found = self._next[0], []
        for slot in slots_of(box):
            item = slot.item
            if item is not None and item.peer is not None:
                y = self._beside(item, y)
                self._pin(item, 0, y)
            found.append((y, slot))
            y += 1
        self._add(Placed(box, 0, tuple(found)), y)

    def _beside(self, item: Item, y: int) -> int:
        """Return the line for a device that should be beside its peer, from line y on. Place the peer's box."""
        other = self._of[item.peer or 0]
        if other.ident not in self._done and self._side(other) == 1:
            slots = slots_of(other)
            at = next(i for i, slot in enumerate(slots) if slot.item is not None and slot.item.ident == item.peer)
            self._plain(other, 1, max(self._next[1], y - at), item)
        column, line = self._lines.get(item.peer or 0, (0, -1))
        if column == 1 and y <= line and (line - y <= _STRETCH or other.ident == list(self._done)[-1]):
            return line
        while y in self._pins[1]:
            y += 1
        return y

    def _plain(self, box: Box, column: int, top: int, beside: Item | None = None) -> None:
        """Place a box unstretched at `top`, or lower where its links would meet others."""
        slots = slots_of(box)
        pins = [(at, s.item) for at, s in enumerate(slots) if s.item is not None and s.item.peer is not None]
        across = self._pins[1 - column]
        while any(top + at in across and across[top + at].ident != item.peer for at, item in pins):
            top += 1
        for at, item in pins:
            self._pin(item, column, top + at)
        self._add(Placed(box, column, tuple((top + at, slot) for at, slot in enumerate(slots))), top + len(slots))

    def _pin(self, item: Item, column: int, line: int) -> None:
        self._pins[column][line] = item
        self._lines[item.ident] = column, line

    def _add(self, placed: Placed, end: int) -> None:
        self._done[placed.box.ident] = placed
        self._next[placed.column] = end

    def _routed(self, most_lanes: int) -> Placement:
        found = Placement(list(self._done.values()), height=max(self._next))
        pinned = [item for pins in self._pins for item in pins.values()]
        pairs = {(min(i.ident, i.peer), max(i.ident, i.peer)) for i in pinned if i.peer is not None}
        ends: list[int] = []  # the last line of each lane
        spans = [(self._lines[a], self._lines[b], a, b) for a, b in pairs if a in self._lines and b in self._lines]
        for first, second, a, b in sorted(spans, key=lambda span: (min(span[0][1], span[1][1]), span)):
            if first[0] != second[0] and first[1] == second[1]:
                found.links.append(self._link(first, second, None, a, b))
                continue
            low, high = sorted((first[1], second[1]))
            lane = next((at for at, end in enumerate(ends) if end < low), len(ends))
            if lane >= most_lanes:
                found.undrawn |= {a, b}
                continue
            ends[lane : lane + 1] = [high]
            found.links.append(self._link(first, second, lane, a, b))
        found.lanes = len(ends)
        found.links.sort(key=lambda link: link.lit)  # it is drawn over the others
        return found

    def _link(self, first: tuple[int, int], second: tuple[int, int], lane: int | None, a: int, b: int) -> DrawnLink:
        """Return the link between the items `a` and `b`; of a dashed one a is the end below the lower device."""
        return DrawnLink(first, second, lane, a < 0, b in self._lit and (a < 0 or a in self._lit))


def texts(boxes: Sequence[Box]) -> Iterator[str]:
    """Yield the texts of the boxes' lines, for their width."""
    for box in boxes:
        yield f" {box.title}{'  ◀ here' if box.here else ''} "
        for item in box.items:
            border = "     " if item.bridge else "   " if item.inside else ""
            yield border + item_text(item, undrawn=item.peer is None)


def item_text(item: Item, undrawn: bool) -> str:
    """Return the text of a device; `undrawn`: with its other end in words."""
    words = (item.name, "!" if item.finding else "", item.text, item.elsewhere if undrawn else "")
    return " ".join(word for word in words if word)
