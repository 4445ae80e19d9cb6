"""Where a table's cursor and window stand over rows that move: pure state, no toolkit.

The cursor holds on to a row's identity, not to its index: when rows come, go or are sorted anew, the row under the
cursor stays under it, on the same line of the screen. Only at the very top (or following the end) it lets go, so
that a live order can be watched.
"""

from __future__ import annotations

from dataclasses import dataclass

from nettop.model.table import Row, Snapshot


@dataclass(frozen=True, slots=True)
class Shown:
    """What is on the screen: a snapshot, the index of the first line and of the cursor."""

    snapshot: Snapshot
    first: int
    index: int


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a cursor and its window stood: enough to come back to."""

    first: int
    index: int
    ident: int | None
    follow: bool
    matched: int


class Window:
    """The goal (where the keys want to be) and what is shown until the model has answered."""

    def __init__(self) -> None:
        self.height = 1
        self.first = 0
        self.index = 0
        self.ident: int | None = None
        self.matched = 0
        self.follow = False
        self.pinned = False  # hold on to the row even at the top: its detail is open
        self.riding = False  # go with the row under the cursor wherever a live order takes it
        self.shown: Shown | None = None
        self._drift = 0  # how far the window will have moved once the anchor's row is in view again
        self._seeking = False  # until the model has said where `ident` stands

    @property
    def holding(self) -> bool:
        """Whether the cursor holds on to a row (and the order is to be frozen)."""
        return not self.follow and (self.index > 0 or self.pinned or self.riding or self._seeking)

    @property
    def anchor(self) -> int | None:
        """The identity a snapshot should look for."""
        return self.ident if self.holding else None

    def row(self, index: int) -> Row | None:
        """The row at this index of what is shown."""
        return None if self.shown is None else _row(self.shown.snapshot, index)

    @property
    def current(self) -> Row | None:
        """The row under the cursor on the screen."""
        return None if self.shown is None else self.row(self.shown.index)

    def reset(self) -> None:
        """Back to the top: another order or filter."""
        self.first = self.index = self._drift = 0
        self.ident = None
        self.riding = self._seeking = False

    def start_over(self) -> None:
        """Back to the top, holding nothing: every row is another's now."""
        self.pinned = False
        self.reset()

    def resize(self, height: int) -> None:
        """The screen has `height` lines now; the cursor stays visible."""
        self.height = max(1, height)
        self._go(self.first, self.index)

    def move_to(self, index: int) -> None:
        """Put the cursor on the row at index."""
        self.follow = self.riding = self._seeking = False
        self._go(self.first, index)

    def scroll(self, lines: int) -> None:
        """Move the window; the cursor comes along only as far as it must."""
        self.follow = self.riding = self._seeking = False
        first = max(0, min(self.first + lines, self.matched - self.height))
        self._go(first, max(first, min(self.index, first + self.height - 1)))

    def go_follow(self) -> None:
        """Stay at the end, whatever comes."""
        self.follow = True
        self.riding = self._seeking = False
        self.ident = None

    def ride(self, on: bool) -> None:
        """Hold on to the row under the cursor, also at the top, and go where it goes, until it leaves."""
        self.riding = on and not self.follow and self.current is not None
        self._grab()

    def seek(self, ident: int) -> None:
        """Go to the row with this identity; the cursor stays where it is if there is none."""
        self.follow = self.riding = False
        self.ident, self._seeking, self._drift = ident, True, 0

    @property
    def spot(self) -> Spot:
        """Where the cursor stands, to come back to."""
        return Spot(self.first, self.index, self.ident, self.follow, self.matched)

    def return_to(self, spot: Spot) -> None:
        """Stand there again: on the same row, if it is still there."""
        self.riding = self._seeking = False
        self.first, self.index, self.ident, self.follow = spot.first, spot.index, spot.ident, spot.follow
        self.matched, self._drift = spot.matched, 0  # until the model has answered: a resize must not cut it short

    def pin(self, on: bool) -> None:
        """Hold on to the row under the cursor also at the top."""
        self.pinned = on
        if on and self.follow and self.shown is not None:
            self.follow = False
            self.index, self.first = self.shown.index, self.shown.first
        self._grab()

    def wanted(self, margin: int) -> tuple[int, int]:
        """(first, height) to ask for: the window and `margin` rows on both sides."""
        top = max(0, self.first + self._drift)
        first = max(0, top - margin)
        return first, self.height + (top - first) + margin

    def arrived(self, snapshot: Snapshot) -> bool:
        """Take a snapshot; True when it does not cover the window (the anchor moved far): ask again."""
        if snapshot.spec.anchor is not None and snapshot.spec.anchor == self.ident and snapshot.anchor is None:
            self.riding = False
        shift = 0 if self.follow else self._shift(snapshot)
        first, index = self._clamped(self.first + shift, self.index + shift, snapshot.matched)
        if not self.follow and not _covers(snapshot, first, self.height) and not _asked(snapshot, first, self.height):
            self._drift = first - self.first
            return True
        if self._seeking and snapshot.spec.anchor == self.ident:
            self._seeking = False
        self.first, self.index, self.matched, self._drift = first, index, snapshot.matched, 0
        self.shown = Shown(snapshot, first, index)
        self._grab()
        return False

    def _shift(self, snapshot: Snapshot) -> int:
        """How far the row under the cursor moved; a row that is gone lets the cursor stay where it is."""
        if self.ident is None or snapshot.spec.anchor != self.ident or snapshot.anchor is None:
            return 0
        return snapshot.anchor - self.index

    def _clamped(self, first: int, index: int, matched: int) -> tuple[int, int]:
        if self.follow:
            return max(0, matched - self.height), max(0, matched - 1)
        index = max(0, min(index, matched - 1))
        first = max(0, min(first, matched - self.height))
        return max(min(first, index), index - self.height + 1), index

    def _grab(self) -> None:
        """Take hold of the identity under the cursor, where it is known."""
        if self._seeking:
            return
        row = self.row(self.index) if self.holding else None
        self.ident = None if row is None else row.ident

    def _go(self, first: int, index: int) -> None:
        self.first, self.index = self._clamped(first, index, self.matched)
        self._grab()
        if self.shown is not None and _covers(self.shown.snapshot, self.first, self.height):
            self.shown = Shown(self.shown.snapshot, self.first, self.index)


def _covers(snapshot: Snapshot, first: int, height: int) -> bool:
    last = min(first + height, snapshot.matched)
    return snapshot.first <= first and last <= snapshot.first + len(snapshot.rows)


def _row(snapshot: Snapshot, index: int) -> Row | None:
    at = index - snapshot.first
    return snapshot.rows[at] if 0 <= at < len(snapshot.rows) else None


def _asked(snapshot: Snapshot, first: int, height: int) -> bool:
    """Whether this very window was asked for: then there is no more to get."""
    return snapshot.spec.first <= first and first + height <= snapshot.spec.first + snapshot.spec.height
