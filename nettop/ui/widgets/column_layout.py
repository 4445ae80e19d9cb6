"""The columns of a table that fit on a line, their widths, which follow the texts, and positions: pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from nettop.model.table import Column, Row, Snapshot

MARGIN = 1  # cells before the first column: the cursor's mark
ROOMY = 100  # cells from which columns are two cells apart, if they all fit
_KEPT_RANK = 3  # columns up to this rank come before a column that is shown whole


@dataclass(frozen=True, slots=True)
class PlacedColumn:
    """A column with its position: `x` is the cell of its first character, on a line of unlimited width."""

    column: Column
    x: int
    width: int


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns that are drawn, in order. The first `frozen` cells stay when the other columns scroll sideways."""

    placed: tuple[PlacedColumn, ...]
    frozen: int  # cells, MARGIN included
    width: int  # cells of the whole line
    hidden: int  # columns that did not fit
    gap: int  # cells between columns; a sort mark may take the first

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the columns that are drawn, for ViewSpec.columns."""
        return tuple(slot.column.key for slot in self.placed)


def _gap(columns: Sequence[Column], width: int) -> int:
    """Return the cells between columns: 2 if all columns still fit with their preferred widths, else 1."""
    preferred = sum(max(0, c.preferred_width - min_width(c)) for c in columns)
    return 2 if width >= ROOMY and line_width(columns, 2) + preferred <= width else 1


def min_width(column: Column) -> int:
    """Return the least cells of a column."""
    return max(column.width, cell_len(column.title))


def line_width(columns: Sequence[Column], gap: int) -> int:
    """Return the least cells of a line of these columns."""
    return MARGIN + sum(min_width(c) for c in columns) + gap * len(columns)


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that fit. The highest ranks are dropped first; rank 0 is never dropped."""
    shown = list(columns)
    while line_width(shown, 1) > width:
        worst = max(range(len(shown)), key=lambda i: (shown[i].rank, i), default=None)
        if worst is None or shown[worst].rank == 0:
            break
        del shown[worst]
    return _refilled(columns, shown, width)


def _refilled(columns: Sequence[Column], shown: list[Column], width: int) -> list[Column]:
    """Add dropped columns that fit after all: a wide one may have made room for a narrow one dropped before it."""
    for column in sorted((c for c in columns if c not in shown), key=lambda c: c.rank):
        wider = [c for c in columns if c in shown or c is column]
        if line_width(wider, 1) <= width:
            shown = wider
    return shown


def _shares(columns: Sequence[Column], spare: int) -> list[int]:
    """Return the spare cells of each column: up to its preferred width first, the rest in proportion to `grow`."""
    shares = []
    for column in columns:
        shares.append(max(0, min(spare, column.preferred_width - min_width(column))))
        spare -= shares[-1]
    while spare > 0 and (growing := [i for i, c in enumerate(columns) if _room_to_grow(c, shares[i])]):
        total, left = sum(columns[i].grow for i in growing), spare
        for i in growing:
            more = min(max(1, spare * columns[i].grow // total), left, _room_to_grow(columns[i], shares[i]))
            shares[i] += more
            left -= more
        spare = left
    return shares


def _room_to_grow(column: Column, share: int) -> int:
    """Return the number of further cells that a column can use."""
    if not column.grow:
        return 0
    return max(0, column.max_width - min_width(column) - share) if column.max_width else _UNLIMITED


_UNLIMITED = 1 << 16  # cells


def lay_out(columns: Sequence[Column], width: int, everything: bool = False) -> ColumnLayout:
    """Return the positions of the columns on a line of `width` cells.

    Columns of the highest ranks are dropped until the rest fits; spare cells are shared by `grow`. With `everything`
    no column is dropped and the line may be wider than the screen: it scrolls sideways, next to the frozen columns.
    """
    shown = sorted(columns, key=lambda c: not c.frozen) if everything else _fitting(columns, width)
    gap = _gap(shown, width)
    shares = _shares(shown, width - line_width(shown, gap))
    x = frozen = MARGIN
    placed = []
    for column, share in zip(shown, shares, strict=True):
        size = min_width(column) + share
        placed.append(PlacedColumn(column, x, size))
        x += size + gap
        if column.frozen and everything:
            frozen = x
    return ColumnLayout(tuple(placed), frozen, x, len(columns) - len(shown), gap)


def scrolled(layout: ColumnLayout, offset: int) -> ColumnLayout:
    """Return the layout after scrolling `offset` cells sideways, without columns that begin left of the frozen edge.

    It scrolls by whole columns (`scroll_stops`), so no column is cut at its left.
    """
    if offset <= 0:
        return layout
    still = [p for p in layout.placed if p.x < layout.frozen]
    moved = [replace(p, x=p.x - offset) for p in layout.placed if p.x - offset >= layout.frozen]
    return replace(layout, placed=(*still, *moved))


def scroll_stops(layout: ColumnLayout, width: int) -> list[int]:
    """Return the offsets at which a column begins at the frozen edge, up to the first that shows the last column."""
    offsets = [p.x - layout.frozen for p in layout.placed if p.x >= layout.frozen]
    last = max(0, layout.width - layout.gap - width)
    enough = [offset for offset in offsets if offset >= last]
    return [offset for offset in offsets if offset < last] + enough[:1] or [0]


def column_at(layout: ColumnLayout, x: int) -> Column | None:
    """Return the column whose title, or the gap after it, is at cell x."""
    for slot in layout.placed:
        if slot.x <= x < slot.x + slot.width + layout.gap:
            return slot.column
    return None


class ContentWidths:
    """The longest text of each column that grows. It becomes longer only, until `restart`: columns do not jitter."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._longest: dict[str, int] = {}
        self._stale = False  # of rows that are no longer shown: the next snapshot's replace them

    def restart(self) -> None:
        """Measure again: other rows are shown from the next snapshot on."""
        self._stale = True

    def add(self, snapshot: Snapshot) -> bool:
        """Measure the rows of a snapshot. Return True if a width has changed."""
        if not snapshot.rows:
            return False
        found = {} if self._stale else dict(self._longest)
        keys = snapshot.spec.columns
        growing = [(at, key) for at, key in enumerate(keys) if key in self._columns and self._columns[key].grow]
        for row in snapshot.rows:
            last = _last_text(row)
            for at, key in growing:
                if at < last or at == len(keys) - 1:
                    found[key] = max(found.get(key, 0), cell_len(row.cells[at]))
        changed = found != self._longest
        self._longest, self._stale = found, False
        return changed

    def sized(self, columns: Sequence[Column], width: int) -> list[Column]:
        """Return the columns for a line of `width` cells."""
        found = list(columns)
        for at, column in enumerate(columns):
            if column.key in self._longest:
                found[at] = self._sized(column, [*found[:at], *found[at + 1 :]], width)
        return found

    def _sized(self, column: Column, others: Sequence[Column], width: int) -> Column:
        longest = max(min_width(column), self._longest[column.key])
        longest = min(longest, column.max_width or longest)
        least = column.width
        if column.whole:
            room = width - line_width([other for other in others if other.rank <= _KEPT_RANK], 1) - 1
            least = max(least, min(longest, room, column.preferred_width or longest))
        preferred = min(column.preferred_width, longest)
        return replace(column, width=least, preferred_width=preferred, max_width=max(least, longest))


def _last_text(row: Row) -> int:
    """Return the index of the last cell with a text: it may extend over the empty ones after it."""
    return max((at for at, text in enumerate(row.cells) if text), default=-1)
