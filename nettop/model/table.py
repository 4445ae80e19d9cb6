"""What a view asks of a model and what it gets: never a copy of the table, only the visible window.

Rows, details and snapshots make their texts safe for a terminal: what a model writes into them need not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nettop.model.filter.expression import Filter
from nettop.text.sanitize import clean

# Roles name what a text means; a theme gives each a colour. No meaning is carried by colour alone.
ROLES = (
    "",  # plain text
    "dim",  # not known, not active, secondary
    "heading",
    "key",  # keys to press, field names
    "address",
    "port",
    "number",
    "proto",
    "nat",  # rewritten by NAT
    "good",  # established, accept
    "warn",  # unreplied, time-wait, policy
    "bad",  # drop, loss, error
    "new",  # NEW events, what just appeared
    "accent",  # a device, chain or rule name
    "comment",
)

Segment = tuple[str, str]  # (text, role)
Cell = Segment  # of a table
Line = tuple[Segment, ...]


def safe(line: Line) -> Line:
    """Return the line with texts that are safe for a terminal."""
    return tuple((clean(text), role) for text, role in line)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. Widths are in cells and fixed, so that nothing jitters."""

    key: str  # what ViewSpec.columns and sort keys say
    title: str
    width: int  # the least it is drawn with
    right: bool = False  # numbers
    rank: int = 0  # on a narrow screen the highest rank goes first; 0 never goes
    wish: int = 0  # the width it is given before any other grows
    grow: int = 0  # its share of what is spare then
    most: int = 0  # the width that its longest text needs, beyond which it does not grow; 0: any
    sortable: bool = True
    frozen: bool = False  # stays when the table scrolls sideways


@dataclass(frozen=True, slots=True)
class SortKey:
    """Order by a column's key."""

    key: str
    descending: bool = True


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """What of a table a screen wants to see."""

    columns: tuple[str, ...]  # keys, in order
    first: int = 0  # index of the first row wanted, in the filtered and sorted order
    height: int = 50
    filter: Filter | None = None
    sort: tuple[SortKey, ...] = ()  # () is the model's natural order
    group: str | None = None
    anchor: int | None = None  # identity of the row under the cursor: the snapshot says where it is now
    follow: bool = False  # the end is wanted, whatever `first` says
    frozen: bool = (
        False  # keep the order of the last snapshot of this spec (the cursor is away from the top, or paused)
    )
    scope: int | None = None  # the parent's identity: the rules of this chain


@dataclass(frozen=True, slots=True)
class Row:
    """One visible row: its identity holds over time, its cells are ready to draw."""

    ident: int
    cells: tuple[str, ...]  # as many as ViewSpec.columns; safe for a terminal; not padded
    roles: tuple[str, ...]  # one of ROLES for each cell

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(map(clean, self.cells)))

    @classmethod
    def of(cls, ident: int, cells: Sequence[Cell]) -> Row:
        """Return the row of these cells."""
        return cls(ident, tuple(text for text, _ in cells), tuple(role for _, role in cells))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The visible window of a table, and what stands above and below it."""

    spec: ViewSpec
    first: int  # index of rows[0]; may differ from spec.first (end of table, follow)
    rows: tuple[Row, ...]
    matched: int  # rows after the filter
    total: int  # rows in all
    anchor: int | None  # index of spec.anchor in the order, None when it is gone
    totals: Line = ()  # the line below the table
    notes: tuple[Line, ...] = ()  # an empty state's advice, or what limits what is shown
    now_ns: int = 0
    version: int = 0  # the model's when what is shown was made; below it while an order is held: ask again

    def __post_init__(self) -> None:
        object.__setattr__(self, "totals", safe(self.totals))
        object.__setattr__(self, "notes", tuple(map(safe, self.notes)))


@dataclass(frozen=True, slots=True)
class Detail:
    """One row in full: its title and its lines."""

    ident: int
    title: Line
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", safe(self.title))
        object.__setattr__(self, "lines", tuple(map(safe, self.lines)))


@dataclass(frozen=True, slots=True)
class PacketDetail(Detail):
    """A packet: its lines are a tree above the bytes. `depths` and `ranges` are as long as the lines."""

    depths: tuple[int, ...]  # 0: a branch, which folds
    ranges: tuple[tuple[int, int], ...]  # (start, end) of the bytes of a line; (0, 0) is none
    hexdump: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class GroupDetail(Detail):
    """A group of flows, with the text of the display filter that selects them."""

    filter: str


@dataclass(frozen=True, slots=True)
class CounterDetail(Detail):
    """A counter. `resettable`: it can be set to zero."""

    resettable: bool


class Model(Protocol):
    """A model that items of streams are applied to. Everything here is called on the model thread only."""

    def apply(self, item: Any, netns: int, now_ns: int) -> None:
        """Apply a decoder's result, a mark or a loss of the namespace with this code."""
        ...


class TableModel(Protocol):
    """A model that a table widget can show. Everything here is called on the model thread only."""

    @property
    def columns(self) -> Sequence[Column]:
        """Every column there is."""
        ...

    @property
    def default_columns(self) -> tuple[str, ...]:
        """Keys of the columns shown to begin with, in order."""
        ...

    @property
    def default_sort(self) -> tuple[SortKey, ...]:
        """The order to begin with; () is the model's own."""
        ...

    @property
    def version(self) -> int:
        """Grows whenever what is shown could differ. May be read from any thread."""
        ...

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window that spec describes."""
        ...

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """What is known of the row with this identity; None when it is gone."""
        ...
