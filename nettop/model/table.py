"""The interface of views and models: a request, and the visible window of a table, never a copy of all of it.

Rows, details and snapshots make their texts safe for a terminal, so models need not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nettop.text.sanitize import clean

if TYPE_CHECKING:
    from nettop.model.filter.expression import Filter

# The meanings of texts. A theme gives each role a colour; no meaning is carried by colour alone.
ROLES = (
    "",  # plain text
    "dim",  # unknown, inactive, secondary
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
    "new",  # NEW events and rows
    "accent",  # a device, chain or rule name
    "comment",
)

RULE_WORDS = {"": "its own tool's", "nft": "nft's", "raw": "the kernel's expressions"}

Segment = tuple[str, str]  # (text, role)
Cell = Segment  # of a table
Line = tuple[Segment, ...]


def safe(line: Line) -> Line:
    """Return the line with texts that are safe for a terminal."""
    return tuple((clean(text), role) for text, role in line)


def detail_line(name: str, text: str, role: str = "") -> Line:
    """Return a line of a detail: a name, and its value."""
    return ((f"  {name:<9} ", "key"), (text, role))


def more(name: str, text: str, role: str = "") -> Line:
    """Return another name and its value on the same line."""
    return ((f"   {name} ", "key"), (text, role))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. Widths are in cells. Those of columns that grow follow the texts; the others are fixed."""

    key: str  # in ViewSpec.columns and SortKey
    title: str
    width: int  # the minimum
    right: bool = False  # numbers
    rank: int = 0  # a narrow screen drops the highest rank first; 0 is never dropped
    preferred_width: int = 0  # reached before any other column grows
    grow: int = 0  # its share of the space left then
    max_width: int = 0  # of its longest text: it does not grow beyond; 0: no limit
    sortable: bool = True
    frozen: bool = False  # does not scroll sideways
    whole: bool = False  # its longest text (or preferred width) comes before columns of rank 4 and more
    middle: bool = False  # a text that is too long is cut in the middle: its end says something
    path: bool = False  # a path to a rule loses its first names before the last chain and the number (strips.fit_path)


@dataclass(frozen=True, slots=True)
class SortKey:
    """Order by a column's key."""

    key: str
    descending: bool = True


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """A request for the visible window of a table."""

    columns: tuple[str, ...]  # keys, in order
    first: int = 0  # index of the first row, in the filtered and sorted order
    height: int = 50
    filter: Filter | None = None
    sort: tuple[SortKey, ...] = ()  # () is the model's natural order
    group: str | None = None
    anchor: int | None = None  # identity of the row under the cursor: the snapshot has its index
    follow: bool = False  # show the end and ignore `first`
    frozen: bool = False  # keep the order of the last snapshot (the cursor is not at the top, or paused)
    scope: int | None = None  # the parent's identity: the rules of this chain
    zeroes: bool = False  # also counters that are 0
    toggled: frozenset[int] = frozenset()  # headings that are folded or unfolded by hand
    find: str = ""  # rules that match are marked
    isolated: bool = False  # only they are shown, of all chains
    moved: bool = False  # only rules that matched while they were watched
    words: str = ""  # the language of a rule in full: one of RULE_WORDS


@dataclass(frozen=True, slots=True)
class Row:
    """One visible row: an identity that does not change, and cells that are ready to draw."""

    ident: int
    cells: tuple[str, ...]  # as many as ViewSpec.columns; safe for a terminal; not padded
    roles: tuple[str, ...]  # one of ROLES for each cell
    resettable: bool = False  # a counter that can be set to zero
    whole: str = ""  # the text that a column has cut, for a line of its own
    within: str = ""  # where it is below the row of the table above: ` ▸ blocked rule 2`
    marked: bool = False  # it was found
    link: int | None = None  # the row that Enter goes to; its own identity: Enter folds and unfolds it
    reads: bool = False  # it can open sets below it, or more elements of one, which must be read

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(map(clean, self.cells)))
        object.__setattr__(self, "whole", clean(self.whole))
        object.__setattr__(self, "within", clean(self.within))

    @classmethod
    def of(cls, ident: int, cells: Sequence[Cell], resettable: bool = False, link: int | None = None) -> Row:
        """Return the row of these cells."""
        return cls(ident, tuple(text for text, _ in cells), tuple(role for _, role in cells), resettable, link=link)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The visible window of a table, with its totals and notes."""

    spec: ViewSpec
    first: int  # index of rows[0]; may differ from spec.first (end of table, follow)
    rows: tuple[Row, ...]
    matched: int  # rows after the filter
    total: int  # rows in all
    anchor: int | None  # index of spec.anchor in the order; None if it is not there
    totals: Line = ()  # the line below the table
    notes: tuple[Line, ...] = ()  # advice for an empty table, or limits of the rows shown
    version: int = 0  # of the model when the rows were made; lower while an order is kept: request again

    def __post_init__(self) -> None:
        object.__setattr__(self, "totals", safe(self.totals))
        object.__setattr__(self, "notes", tuple(map(safe, self.notes)))


@dataclass(frozen=True, slots=True)
class Detail:
    """One row in full: its title and its lines."""

    ident: int
    title: Line
    lines: tuple[Line, ...]
    sentences: int = field(default=0, kw_only=True)  # lines at the top that are wrapped: their second segment

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", safe(self.title))
        object.__setattr__(self, "lines", tuple(map(safe, self.lines)))


@dataclass(frozen=True, slots=True)
class PacketDetail(Detail):
    """A packet: a tree of lines, and its bytes. `depths` and `ranges` are as long as the lines."""

    depths: tuple[int, ...]  # 0: a branch, which folds
    ranges: tuple[tuple[int, int], ...]  # (start, end) of the bytes of a line; (0, 0) is none
    hexdump: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class RulePlace:
    """A rule by its ident, or the policy of a chain (`rule` None)."""

    family: str
    table: str
    chain: str
    rule: int | None


@dataclass(frozen=True, slots=True)
class JourneyDetail(PacketDetail):
    """A traced packet: a line for each of its steps. `places` has the rule of each line, None for lines without one."""

    places: tuple[RulePlace | None, ...]
    decisive: RulePlace | None  # of the rule that ended it
    deciding_line: int  # of the step that ended it; 0: none did
    journey: str = ""  # key of ruleset.matrix.JOURNEYS: the hooks that it passes


@dataclass(frozen=True, slots=True)
class GroupDetail(Detail):
    """A group of flows, with the text of the display filter that selects them."""

    filter: str


@dataclass(frozen=True, slots=True)
class CopyDetail(Detail):
    """A row with the texts to copy: (title, text)."""

    copies: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CounterDetail(Detail):
    """A counter. `resettable`: it can be set to zero."""

    resettable: bool


class Model(Protocol):
    """A model that items of streams are applied to. All methods are called on the model thread."""

    def apply(self, item: Any, netns: int, now_ns: int) -> None:
        """Apply a decoder's result, a mark or a loss of the namespace with this code."""


class TableModel(Protocol):
    """A model that a table widget can show. Its columns and version are read on any thread, so columns do not change.

    Methods are called on the model thread.
    """

    @property
    def columns(self) -> Sequence[Column]:
        """All columns."""

    @property
    def default_columns(self) -> tuple[str, ...]:
        """The keys of the columns shown by default, in order."""

    @property
    def default_sort(self) -> tuple[SortKey, ...]:
        """The default order; () is the order of the model."""

    @property
    def version(self) -> int:
        """The version, which grows whenever the table may look different."""

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window that spec describes."""

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the detail of the row with this identity; None if it no longer exists."""
