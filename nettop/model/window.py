"""The visible window of a table: its position, the row under the cursor, and an order kept while it is read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.model.ordering import Rows, Ties, ascending, first_rows, no_ties, position_of
from nettop.model.table import Line, Row, Snapshot, SortKey, ViewSpec
from nettop.text import units

RESORT_NS = 1_000_000_000  # a long table keeps its order this long;
SMALL_NS = 100_000_000  # a smaller one this long, so that new rows appear at once
SMALL = 50_000
_MIN_DEPTH = 128  # rows that are sorted at least: enough for any screen

Handles = NDArray[np.int64]  # numbers that identify rows while an order is kept
Alive = Callable[[Handles], NDArray[np.bool_]]  # a mask of the rows that still exist


def visible(spec: ViewSpec, count: int) -> slice:
    """Return the rows of the window, of `count` rows. It never passes the end, and follows the end if asked to."""
    last_first = max(0, count - spec.height)
    first = last_first if spec.follow else max(0, min(spec.first, last_first))
    return slice(first, first + spec.height)


def wait_ns(count: int) -> int:
    """Return how long a long table of `count` rows keeps its order, in ns."""
    return SMALL_NS if count <= SMALL else RESORT_NS


def position_in(numbers: Sequence[int] | Array, ident: int | None) -> int | None:
    """Return the index of a row among ascending numbers; None if it is not there."""
    at = len(numbers) if ident is None else bisect_left(numbers, ident)
    return at if at < len(numbers) and numbers[at] == ident else None


def value_keys(sort: Sequence[SortKey], values: Callable[[str], Iterable[Any]]) -> list[Array]:
    """Return columns to sort in ascending order, from the values of each key; None comes last in both directions."""
    return [ascending(_ranks(list(values(key.key))), key.descending) for key in sort]


def _ranks(values: Sequence[Any]) -> Array:
    ranks = {value: rank for rank, value in enumerate(sorted({value for value in values if value is not None}))}
    return np.array([ranks.get(value, np.nan) for value in values], np.float64)


_every: Alive = lambda handles: np.ones(len(handles), np.bool_)  # noqa: E731


@dataclass(frozen=True, slots=True)
class Match:
    """The rows that match the filter, in the table's own order, and the columns to sort them by."""

    handles: Handles
    keys: Callable[[], Sequence[Array]] = tuple  # columns over `handles`, to sort in ascending order
    ties: Ties = no_ties
    totals: Line = ()

    def order(self) -> Handles:
        """Return the handles of all rows, sorted."""
        keys = self.keys()
        return self.handles[first_rows(keys, len(self.handles), self.ties)] if keys else self.handles


@dataclass(slots=True)
class Order:
    """The rows in the order shown. Of a long table only the first ones are sorted."""

    handles: Handles  # of the rows that matched
    keys: Sequence[Array]  # over `handles`; (): they are sorted already
    ties: Ties
    alive: Alive
    sorted_ns: int
    version: int  # of the table when it was sorted
    totals: Line
    counted_ns: int  # time of `totals` and `new`, which are updated while the order is kept
    counted: int  # the version of the table then
    positions: Rows = field(default_factory=lambda: np.empty(0, np.intp))  # into `handles`: the first of the order
    new: int = 0  # rows added since, which are not in the order
    missing: int = 0  # rows that no longer existed when last counted
    pruned: int = 0  # rows removed from `positions`

    def __len__(self) -> int:
        return len(self.handles) - max(self.missing, self.pruned)

    def __getitem__(self, part: slice) -> Handles:
        """Return the handles of a part for which `reach` was called."""
        return self.handles[self.positions[part]]

    def snapshot(
        self,
        spec: ViewSpec,
        rows: Callable[[Handles], Iterable[Row]],
        total: int,
        notes: tuple[Line, ...],
        version: int,
        *,
        totals: Line | None = None,
        anchor: int | None = None,
    ) -> Snapshot:
        """Return the window that spec describes; `rows` draws these handles, `anchor` is the handle of spec.anchor."""
        part, at = visible(spec, len(self)), self.position_of(spec.anchor if anchor is None else anchor)
        shown = tuple(rows(self[part]))
        totals = self.totals if totals is None else totals
        return Snapshot(spec, part.start, shown, len(self), total, at, totals, notes, version)

    def reach(self, spec: ViewSpec) -> None:
        """Sort as many rows as the window needs, and remove those that no longer exist."""
        depth = visible(spec, len(self)).stop
        if not len(self.positions):
            self._deepen(max(_MIN_DEPTH, spec.first + spec.height))
        self._prune(depth)
        while len(self.positions) < min(len(self), visible(spec, len(self)).stop):
            self._deepen(depth + self.pruned)
            self._prune(depth)

    def _deepen(self, depth: int) -> None:
        count = min(2 * depth, len(self.handles))
        self.positions = first_rows(self.keys, count, self.ties) if self.keys else np.arange(len(self.handles))
        self.pruned = 0

    def _prune(self, depth: int) -> None:
        if not self.alive(self.handles[self.positions[:depth]]).all():
            alive = self.alive(self.handles[self.positions])
            self.positions = self.positions[alive]
            self.pruned += len(alive) - len(self.positions)

    def position_of(self, handle: int | None) -> int | None:
        """Return the index of a row in the order; None if it is not there."""
        found = [] if handle is None else (self.handles == handle).nonzero()[0]
        if not len(found) or not self.alive(self.handles[found]).all():
            return None
        at = int(found[0])
        shown = (self.positions == at).nonzero()[0]
        if len(shown):
            return int(shown[0])
        return position_of(self.keys, at, self.ties) - self.pruned if self.keys else at

    def count(self, match: Match) -> None:
        """Update the totals, and count the missing and the new rows."""
        self.totals = match.totals
        self.missing = len(self.handles) - int(np.count_nonzero(self.alive(self.handles)))
        self.new = max(0, len(match.handles) - len(self.handles) + self.missing)

    def join(self, match: Match) -> None:
        """Remove the rows that no longer match, and append the new ones."""
        new = match.order()
        kept = self.handles[np.isin(self.handles, new)]
        self.handles = np.concatenate([kept, new[~np.isin(new, kept)]])
        self._deepen(len(self.handles))

    def note(self, spec: ViewSpec, now_ns: int) -> tuple[Line, ...]:
        """Return the note that sorting is paused, with the number of new rows; () for a current order."""
        age = max(0, now_ns - self.sorted_ns)
        if not spec.frozen or not len(self) or age < RESORT_NS:
            return ()
        line: list[tuple[str, str]] = [(f"SORT PAUSED {units.duration(age / 1e9)}", "warn")]
        if self.new:
            line.append((f", {units.grouped(self.new)} new not shown", "new"))
        return (tuple(line),)


class OrderCache:
    """A table's order between snapshots, kept so that rows do not jump while they are read.

    `match` finds the rows that match now; its last argument is True while the order is frozen. A table with `alive`
    is long: its order is kept for `wait_ns`, and while it is frozen new rows are only counted. A short table is sorted
    at every change, and new rows are appended to a frozen order.
    """

    def __init__(self, match: Callable[[ViewSpec, int, bool], Match], alive: Alive | None = None) -> None:
        self._match, self._alive = match, alive
        self._key: tuple[Any, ...] = ()
        self._order: Order | None = None

    def current(self, spec: ViewSpec, now_ns: int, version: int, wait_ns: int = 0) -> Order:
        """Return the order for the window that spec describes; `version` is the table's."""
        text = None if spec.filter is None else spec.filter.text
        key = (text, spec.sort, spec.group, spec.scope, spec.zeroes, spec.toggled, spec.find, spec.isolated, spec.moved)
        order = self._order if key == self._key else None
        if order is None or not (spec.frozen or order.version == version or 0 <= now_ns - order.sorted_ns < wait_ns):
            order = self._sorted(spec, now_ns, version)
        elif spec.frozen:
            self._recount(order, spec, now_ns, version)
        order.reach(spec)
        if len(order.handles) and not len(order):  # no row of the order is left
            order = self._sorted(spec, now_ns, version)
            order.reach(spec)
        self._key, self._order = key, order
        return order

    def _sorted(self, spec: ViewSpec, now_ns: int, version: int) -> Order:
        match = self._match(spec, now_ns, False)
        if self._alive is None:
            return Order(match.order(), (), no_ties, _every, now_ns, version, match.totals, now_ns, version)
        keys = match.keys()
        return Order(match.handles, keys, match.ties, self._alive, now_ns, version, match.totals, now_ns, version)

    def _recount(self, order: Order, spec: ViewSpec, now_ns: int, version: int) -> None:
        if order.counted == version or (self._alive and 0 <= now_ns - order.counted_ns < RESORT_NS):
            return
        match = self._match(spec, now_ns, True)
        (order.count if self._alive else order.join)(match)
        order.counted, order.counted_ns = version, now_ns
