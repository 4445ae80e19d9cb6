"""The titles above the columns of a table with their sort marks, at least one blank before each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from nettop.model.table import Column, SortKey
from nettop.ui.strips import fit
from nettop.ui.widgets import sort_order as sorting
from nettop.ui.widgets.column_layout import ColumnLayout, PlacedColumn, lay_out

_UNLIMITED = 1 << 16  # cells


@dataclass(frozen=True, slots=True)
class Title:
    """The text above one column, from cell `x`."""

    x: int
    text: str
    marked: bool
    cramped: bool  # the title is cut: title and mark together do not fit


def titles(layout: ColumnLayout, sort: Sequence[SortKey]) -> list[Title]:
    """Return the titles from left to right. A mark may use the gap after its column if a blank follows."""
    found: list[Title] = []
    following = _UNLIMITED
    for slot in reversed(layout.placed):
        edge = slot.x + slot.width
        title = _title(slot, sorting.mark(slot.column.key, sort), edge + (following > edge + 1))
        following = title.x
        found.append(title)
    return found[::-1]


def _title(slot: PlacedColumn, mark: str, end: int) -> Title:
    """Return the title with as much of its mark (arrow and number) as fits before cell `end`."""
    name = slot.column.title
    if not mark:
        x = slot.x + slot.width - cell_len(name) if slot.column.right else slot.x
        return Title(max(x, slot.x), fit(name, min(cell_len(name), slot.width)), False, False)
    room = end - slot.x
    text = name + mark if cell_len(name + mark) <= room else name + mark[:1]
    cramped = cell_len(text) > room
    if cramped:
        text = fit(name, max(0, room - 1)) + mark[:1]
    return Title(end - cell_len(text) if slot.column.right else slot.x, text, True, cramped)


def fitted(columns: list[Column], width: int, sort: Sequence[SortKey]) -> tuple[list[Column], ColumnLayout]:
    """Return the columns and the layout of those that fit. A column without room for its sort mark is made wider."""
    layout = lay_out(columns, width)
    found = zip(layout.placed, titles(layout, sort), strict=True)
    cramped = {slot.column.key for slot, title in found if title.cramped}
    if not cramped:
        return columns, layout
    wider = [replace(c, width=max(c.width, cell_len(c.title)) + 1) if c.key in cramped else c for c in columns]
    return wider, lay_out(wider, width)
