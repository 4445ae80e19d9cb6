"""Which columns of a table fit on a line, and where: pure arithmetic in cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from nettop.model.table import Column

MARGIN = 1  # cells before the first column: the cursor's mark
ROOMY = 100  # cells from which columns stand two apart, if they all fit; a sort mark needs one


@dataclass(frozen=True, slots=True)
class Placed:
    """A column at its place: `x` is the cell of its first character on an endless line."""

    column: Column
    x: int
    width: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that are drawn, in order; `frozen` cells at the left stay when the rest scrolls."""

    placed: tuple[Placed, ...]
    frozen: int  # cells, MARGIN included
    width: int  # cells of the whole line
    hidden: int  # columns that had to go
    gap: int  # cells between columns; a sort mark stands in the first of them

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the columns that are drawn, for ViewSpec.columns."""
        return tuple(place.column.key for place in self.placed)


def _gap(columns: Sequence[Column], width: int) -> int:
    """Two cells where there is room for them: one more column is worth more, and so is what a column wishes for."""
    wishes = sum(max(0, c.wish - _least(c)) for c in columns)
    return 2 if width >= ROOMY and _line(columns, 2) + wishes <= width else 1


def _least(column: Column) -> int:
    return max(column.width, cell_len(column.title))


def _line(columns: Sequence[Column], gap: int) -> int:
    return MARGIN + sum(_least(c) for c in columns) + gap * len(columns)


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    kept = list(columns)
    while _line(kept, 1) > width:
        worst = max(range(len(kept)), key=lambda i: (kept[i].rank, i), default=None)
        if worst is None or kept[worst].rank == 0:
            break
        del kept[worst]
    return _with_what_fits(columns, kept, width)


def _with_what_fits(columns: Sequence[Column], kept: list[Column], width: int) -> list[Column]:
    """A wide column that went may have left room for a narrow one that went before it."""
    for column in sorted((c for c in columns if c not in kept), key=lambda c: c.rank):
        wider = [c for c in columns if c in kept or c is column]
        if _line(wider, 1) <= width:
            kept = wider
    return kept


def _shares(columns: Sequence[Column], spare: int) -> list[int]:
    """What each column gets of the spare cells; what one does not need goes to the others that grow."""
    shares = []
    for column in columns:
        shares.append(max(0, min(spare, column.wish - _least(column))))
        spare -= shares[-1]
    while spare > 0 and (hungry := [i for i, c in enumerate(columns) if _wants(c, shares[i])]):
        total, left = sum(columns[i].grow for i in hungry), spare
        for i in hungry:
            more = min(max(1, spare * columns[i].grow // total), left, _wants(columns[i], shares[i]))
            shares[i] += more
            left -= more
        spare = left
    return shares


def _wants(column: Column, has: int) -> int:
    """How many more cells a column would take."""
    if not column.grow:
        return 0
    return max(0, column.most - _least(column) - has) if column.most else _ENDLESS


_ENDLESS = 1 << 16


def lay_out(columns: Sequence[Column], width: int, everything: bool = False) -> Layout:
    """Places for the columns on a line of `width` cells.

    The highest ranks go first until the rest fits; spare cells are shared by `grow`. With `everything` no column
    goes and the line may be wider than the screen: it scrolls sideways, beside the frozen columns.
    """
    kept = sorted(columns, key=lambda c: not c.frozen) if everything else _fitting(columns, width)
    gap = _gap(kept, width)
    shares = _shares(kept, width - _line(kept, gap))
    x = frozen = MARGIN
    placed = []
    for column, share in zip(kept, shares, strict=True):
        placed.append(Placed(column, x, _least(column) + share))
        x += _least(column) + share + gap
        if column.frozen and everything:
            frozen = x
    return Layout(tuple(placed), frozen, x, len(columns) - len(kept), gap)


def shifted(layout: Layout, offset: int) -> Layout:
    """The layout after scrolling `offset` cells sideways: what begins left of the frozen edge is gone.

    Scrolling goes by whole columns (see `stops`), so no column is ever cut at its left.
    """
    if offset <= 0:
        return layout
    still = [p for p in layout.placed if p.x < layout.frozen]
    moved = [replace(p, x=p.x - offset) for p in layout.placed if p.x - offset >= layout.frozen]
    return replace(layout, placed=(*still, *moved))


def stops(layout: Layout, width: int) -> list[int]:
    """The offsets at which a column begins at the frozen edge, up to the one that shows the last column whole."""
    offsets = [p.x - layout.frozen for p in layout.placed if p.x >= layout.frozen]
    need = max(0, layout.width - layout.gap - width)
    enough = [offset for offset in offsets if offset >= need]
    return [offset for offset in offsets if offset < need] + enough[:1] or [0]


def column_at(layout: Layout, x: int) -> Column | None:
    """The column whose title (or gap after it) is at cell x."""
    for place in layout.placed:
        if place.x <= x < place.x + place.width + layout.gap:
            return place.column
    return None
