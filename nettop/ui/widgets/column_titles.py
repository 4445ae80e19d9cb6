"""The titles above a table's columns with their sort marks: what stands where, a blank before each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from nettop.model.table import Column, SortKey
from nettop.ui.strips import fit
from nettop.ui.widgets import sort_order as sorting
from nettop.ui.widgets.column_layout import Layout, Placed

_ENDLESS = 1 << 16


@dataclass(frozen=True, slots=True)
class Title:
    """What stands above one column, from cell `x` on."""

    x: int
    text: str
    marked: bool
    cramped: bool  # there is no room for title and mark: the title is cut


def titles(layout: Layout, sort: Sequence[SortKey]) -> list[Title]:
    """The titles from left to right. A mark may stand in the gap after its column where a blank follows it."""
    found: list[Title] = []
    following = _ENDLESS
    for place in reversed(layout.placed):
        edge = place.x + place.width
        title = _title(place, sorting.mark(place.column.key, sort), edge + (following > edge + 1))
        following = title.x
        found.append(title)
    return found[::-1]


def _title(place: Placed, mark: str, end: int) -> Title:
    """The title with as much of its mark (arrow and number) as there is room for up to cell `end`."""
    name = place.column.title
    if not mark:
        x = place.x + place.width - cell_len(name) if place.column.right else place.x
        return Title(max(x, place.x), fit(name, min(cell_len(name), place.width)), False, False)
    room = end - place.x
    text = name + mark if cell_len(name + mark) <= room else name + mark[:1]
    cramped = cell_len(text) > room
    if cramped:
        text = fit(name, max(0, room - 1)) + mark[:1]
    return Title(end - cell_len(text) if place.column.right else place.x, text, True, cramped)


def roomy(columns: Sequence[Column], layout: Layout, sort: Sequence[SortKey]) -> list[Column]:
    """The columns, those wider by a cell whose title has no room for its mark in this layout of them."""
    found = zip(layout.placed, titles(layout, sort), strict=True)
    cramped = {place.column.key for place, title in found if title.cramped}
    return [replace(c, width=max(c.width, cell_len(c.title)) + 1) if c.key in cramped else c for c in columns]
