"""The position of a table's cursor and viewport over rows that move: pure state, no toolkit.

The cursor is anchored to the identity of a row, not to its index: when rows come, go or are sorted again, the row
under the cursor stays under it, on the same line of the screen. Only on the first row (or while following the end)
there is no anchor, so that a live order can be watched.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from nettop.model.filter.expression import Filter
from nettop.model.table import Row, Snapshot, SortKey


@dataclass(frozen=True, slots=True)
class Shown:
    """The content of the screen: a snapshot, and the row indexes of the first line and of the cursor."""

    snapshot: Snapshot
    first: int
    index: int


class Viewport:
    """The requested position (moved by keys), and what is shown until the model answers."""

    def __init__(self) -> None:
        self.height = 1
        self.first = 0
        self.index = 0
        self.ident: int | None = None
        self.matched = 0
        self.follow = False
        self.pinned = False  # anchored to the row also at the top: its detail is open
        self.tracking = False  # go with the row under the cursor as a live order moves it
        self.has_child = False  # another table shows what belongs to the row under the cursor
        self.released = False  # the order is live again although the cursor is anchored
        self.shown: Shown | None = None
        self._pending_shift = 0  # rows to move the viewport by, so that the anchored row is in view again
        self._seeking = False  # until the model has reported the position of `ident`

    @property
    def anchored(self) -> bool:
        """True while the cursor is anchored to a row."""
        return not self.follow and (self.index > 0 or self.pinned or self.tracking or self._seeking)

    @property
    def frozen(self) -> bool:
        """True while the order stays as it is, so that the rows can be read."""
        return self.anchored and not self.tracking and not self.released

    def release(self) -> None:
        """Make the order live again until the next movement. The cursor keeps its row while that is on the screen."""
        self.released = True

    @property
    def anchor(self) -> int | None:
        """The identity of the anchored row, for which a snapshot reports the index."""
        return self.ident if self.anchored else None

    def row(self, index: int) -> Row | None:
        """Return the row at this index, if the snapshot shown has it."""
        return None if self.shown is None else _row(self.shown.snapshot, index)

    @property
    def current(self) -> Row | None:
        """The row under the cursor on the screen."""
        return None if self.shown is None else self.row(self.shown.index)

    def reset(self) -> None:
        """Go to the top: the order or the filter has changed."""
        self.first = self.index = self._pending_shift = 0
        self.ident = None
        self._hold()

    def start_over(self) -> None:
        """Go to the top without any anchor: the rows are those of another namespace."""
        self.pinned = False
        self.reset()

    def resize(self, height: int) -> None:
        """Set the height in lines. The cursor stays visible."""
        self.height = max(1, height)
        self._go(self.first, self.index)

    def move_to(self, index: int) -> None:
        """Move the cursor to the row at index."""
        self.follow = False
        self._hold()
        self._go(self.first, index)

    def scroll(self, lines: int) -> None:
        """Move the viewport. The cursor moves only as far as needed to stay in it."""
        self.follow = False
        self._hold()
        first = max(0, min(self.first + lines, self.matched - self.height))
        self._go(first, max(first, min(self.index, first + self.height - 1)))

    def go_follow(self) -> None:
        """Follow the end: the newest row is always shown."""
        self.follow = True
        self._hold()
        self.ident = None

    def track(self, on: bool) -> None:
        """Follow the row under the cursor, also at the top, until it leaves the table; or stop following it."""
        self.tracking = on and not self.follow and self.current is not None
        self._anchor_to_cursor()

    def seek(self, ident: int) -> None:
        """Go to the row with this identity. If there is none the cursor stays where it is."""
        self.follow = False
        self._hold()
        self.ident, self._seeking, self._pending_shift = ident, True, 0

    @property
    def state(self) -> Viewport:
        """A copy, to come back to this position."""
        return copy(self)

    def restore(self, state: Viewport) -> None:
        """Go back to a saved position: to the same row, if it still exists."""
        self._hold()
        self.first, self.index, self.ident, self.follow = state.first, state.index, state.ident, state.follow
        self.matched = state.matched  # until the model answers: a resize must not clamp the position
        self._pending_shift = 0

    def pin(self, on: bool) -> None:
        """Anchor to the row under the cursor also at the top, or stop doing so."""
        self.pinned = on
        self.released = False
        if on and self.follow and self.shown is not None:
            self.follow = False
            self.index, self.first = self.shown.index, self.shown.first
        self._anchor_to_cursor()

    def request_range(self, margin: int) -> tuple[int, int]:
        """Return (first, height) to request: the viewport and `margin` rows on both sides."""
        top = max(0, self.first + self._pending_shift)
        first = max(0, top - margin)
        return first, self.height + (top - first) + margin

    def apply(self, snapshot: Snapshot) -> bool:
        """Apply a snapshot. True: it does not cover the viewport, since the anchored row moved far; request another."""
        if snapshot.spec.anchor is not None and snapshot.spec.anchor == self.ident and snapshot.anchor is None:
            self.tracking = False
        shift = 0 if self.follow else self._shift(snapshot)
        first, index = self._clamped(*self._shifted(shift), snapshot.matched)
        available = _covers(snapshot, first, self.height) or _requested(snapshot, first, self.height)
        if not self.follow and not available:
            self._pending_shift = first - self.first
            return True
        if self._seeking and snapshot.spec.anchor == self.ident:
            self._seeking = False
        self.first, self.index, self.matched, self._pending_shift = first, index, snapshot.matched, 0
        self.shown = Shown(snapshot, first, index)
        self._anchor_to_cursor()
        return False

    def _shift(self, snapshot: Snapshot) -> int:
        """Return the rows by which the anchored row moved; 0 if it is gone."""
        if self.ident is None or snapshot.spec.anchor != self.ident or snapshot.anchor is None:
            return 0
        return snapshot.anchor - self.index

    def _shifted(self, shift: int) -> tuple[int, int]:
        """Return (first, index) after the anchored row moved by `shift`: the row keeps its line on the screen.

        In a released order the lines stay instead. A row that leaves the screen leaves the cursor where it is.
        """
        if not self.released or self.pinned or self.has_child:
            return self.first + shift, self.index + shift
        visible = self.first <= self.index + shift < self.first + self.height
        return self.first, self.index + shift if visible else self.index

    def _hold(self) -> None:
        """Stop what follows a row: the cursor is moved."""
        self.tracking = self._seeking = self.released = False

    def _clamped(self, first: int, index: int, matched: int) -> tuple[int, int]:
        if self.follow:
            return max(0, matched - self.height), max(0, matched - 1)
        index = max(0, min(index, matched - 1))
        first = max(0, min(first, matched - self.height))
        return max(min(first, index), index - self.height + 1), index

    def _anchor_to_cursor(self) -> None:
        """Anchor to the row under the cursor, if it is known."""
        if self._seeking:
            return
        row = self.row(self.index) if self.anchored else None
        self.ident = None if row is None else row.ident

    def _go(self, first: int, index: int) -> None:
        self.first, self.index = self._clamped(first, index, self.matched)
        self._anchor_to_cursor()
        if self.shown is not None and _covers(self.shown.snapshot, self.first, self.height):
            self.shown = Shown(self.shown.snapshot, self.first, self.index)


@dataclass(frozen=True, slots=True)
class TableState:
    """The filter, order and position of a table, to come back to."""

    filter: Filter | None
    sort: tuple[SortKey, ...]
    scope: int | None
    viewport: Viewport


def _covers(snapshot: Snapshot, first: int, height: int) -> bool:
    last = min(first + height, snapshot.matched)
    return snapshot.first <= first and last <= snapshot.first + len(snapshot.rows)


def _row(snapshot: Snapshot, index: int) -> Row | None:
    at = index - snapshot.first
    return snapshot.rows[at] if 0 <= at < len(snapshot.rows) else None


def _requested(snapshot: Snapshot, first: int, height: int) -> bool:
    """Return whether these rows were requested: then there are no more."""
    return snapshot.spec.first <= first and first + height <= snapshot.spec.first + snapshot.spec.height
