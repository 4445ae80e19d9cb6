"""The window over a table's rows: its place, the row under the cursor, and an order that is held while it is read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.model.ordering import Rows, Ties, ascending, first_rows, no_ties, place_of
from nettop.model.table import Line, SortKey, ViewSpec
from nettop.text import units

RESORT_NS = 1_000_000_000  # a long table keeps its order at least this long …
SMALL_NS = 100_000_000  # … or this long, where it is small enough that new rows can be shown at once
SMALL = 50_000
_DEPTH = 128  # rows that any screen may want to see

Handles = NDArray[np.int64]  # numbers that stay with their rows for as long as an order is held
Alive = Callable[[Handles], NDArray[np.bool_]]  # which of these rows are still there


def visible(spec: ViewSpec, count: int) -> slice:
    """Return which of so many rows the window shows: it never passes the end, and follows it if asked to."""
    last_first = max(0, count - spec.height)
    first = last_first if spec.follow else max(0, min(spec.first, last_first))
    return slice(first, first + spec.height)


def wait_ns(count: int) -> int:
    """Return for how long a long table of so many rows keeps its order."""
    return SMALL_NS if count <= SMALL else RESORT_NS


def place_in(numbers: Sequence[int] | Array, ident: int | None) -> int | None:
    """Return the index of a row among ascending numbers; None when it is not there."""
    at = len(numbers) if ident is None else bisect_left(numbers, ident)
    return at if at < len(numbers) and numbers[at] == ident else None


def value_keys(sort: Sequence[SortKey], values: Callable[[str], Iterable[Any]]) -> list[Array]:
    """Return columns whose ascending order is the wanted one, from a key's values; None comes last either way."""
    return [ascending(_ranks(list(values(key.key))), key.descending) for key in sort]


def _ranks(values: Sequence[Any]) -> Array:
    ranks = {value: rank for rank, value in enumerate(sorted({value for value in values if value is not None}))}
    return np.array([ranks.get(value, np.nan) for value in values], np.float64)


@dataclass(frozen=True, slots=True)
class Match:
    """The rows that match the filter, in the table's own order, and what they can be sorted by."""

    handles: Handles
    keys: Callable[[], Sequence[Array]] = tuple  # columns over them whose ascending order is the wanted one
    ties: Ties = no_ties
    totals: Line = ()

    def order(self) -> Handles:
        """Return the handles of all rows, sorted."""
        keys = self.keys()
        return self.handles[first_rows(keys, len(self.handles), self.ties)] if keys else self.handles


@dataclass(slots=True)
class Order:
    """Rows in the order that is shown. Of a long table only the first ones are sorted."""

    handles: Handles  # of the rows that matched
    keys: Sequence[Array]  # over `handles`; none: they are in order
    ties: Ties
    alive: Alive
    made_ns: int
    version: int  # the table's when the order was made
    totals: Line
    counted_ns: int  # when `totals` and `more` were made; while the order is held they are made again
    counted: int  # the table's version then
    places: Rows = field(default_factory=lambda: np.empty(0, np.intp))  # into `handles`: the first of the order
    more: int = 0  # rows that came since and are not in the order
    lost: int = 0  # rows that were gone when they were last counted
    gone: int = 0  # of `places`, taken out since

    def __len__(self) -> int:
        return len(self.handles) - max(self.lost, self.gone)

    def __getitem__(self, part: slice) -> Handles:
        """Return the handles of a part that `reach` has been called for."""
        return self.handles[self.places[part]]

    def reach(self, spec: ViewSpec) -> None:
        """Sort as many rows as the window needs, and take out those that are gone."""
        depth = visible(spec, len(self)).stop
        if not len(self.places):
            self._deepen(max(_DEPTH, spec.first + spec.height))
        self._prune(depth)
        while len(self.places) < min(len(self), visible(spec, len(self)).stop):
            self._deepen(depth + self.gone)
            self._prune(depth)

    def _deepen(self, depth: int) -> None:
        wanted = min(2 * depth, len(self.handles))
        self.places = first_rows(self.keys, wanted, self.ties) if self.keys else np.arange(len(self.handles))
        self.gone = 0

    def _prune(self, depth: int) -> None:
        if not self.alive(self.handles[self.places[:depth]]).all():
            alive = self.alive(self.handles[self.places])
            self.places = self.places[alive]
            self.gone += len(alive) - len(self.places)

    def place_of(self, handle: int | None) -> int | None:
        """Return the index of a row in the order; None when it is not there."""
        found = [] if handle is None else (self.handles == handle).nonzero()[0]
        if not len(found) or not self.alive(self.handles[found]).all():
            return None
        at = int(found[0])
        shown = (self.places == at).nonzero()[0]
        if len(shown):
            return int(shown[0])
        return place_of(self.keys, at, self.ties) - self.gone if self.keys else at

    def count(self, match: Match) -> None:
        """Take the totals as they are now, and count the rows that are gone and those that are new."""
        self.totals = match.totals
        self.lost = len(self.handles) - int(np.count_nonzero(self.alive(self.handles)))
        self.more = max(0, len(match.handles) - len(self.handles) + self.lost)

    def join(self, match: Match) -> None:
        """Take out the rows that match no longer; those that are new come last."""
        new = match.order()
        kept = self.handles[np.isin(self.handles, new)]
        self.handles = np.concatenate([kept, new[~np.isin(new, kept)]])
        self._deepen(len(self.handles))

    def note(self, spec: ViewSpec, now_ns: int) -> tuple[Line, ...]:
        """Return the line that says that the order is held, and how many rows are missing from it."""
        age = max(0, now_ns - self.made_ns)
        if not spec.frozen or not len(self) or age < RESORT_NS:
            return ()
        line: list[tuple[str, str]] = [(f"order held {units.duration(age / 1e9)}", "dim")]
        if self.more:
            line.append((f", {units.grouped(self.more)} new", "new"))
        return (tuple(line),)


class Orders:
    """Keeps a table's order between snapshots: rows that jump while they are read cannot be read.

    `match` finds the rows that match now; its last argument is True while an order of them is held. `alive` is of
    long tables: their order is held for `wait_ns`, and what is new is only counted while it is held. Short tables
    are sorted at every change, and new rows come last in an order that is held.
    """

    def __init__(self, match: Callable[[ViewSpec, int, bool], Match], alive: Alive | None = None) -> None:
        self._match, self._alive = match, alive
        self._key: tuple[Any, ...] = ()
        self._order: Order | None = None

    def current(self, spec: ViewSpec, now_ns: int, version: int, wait_ns: int = 0) -> Order:
        """Return the order for the window that spec describes; `version` is the table's."""
        key = (None if spec.filter is None else spec.filter.text, spec.sort, spec.group, spec.scope)
        order = self._order if key == self._key else None
        if order is None or not (spec.frozen or order.version == version or 0 <= now_ns - order.made_ns < wait_ns):
            order = self._made(spec, now_ns, version)
        elif spec.frozen:
            self._recount(order, spec, now_ns, version)
        order.reach(spec)
        if len(order.handles) and not len(order):  # held until nothing was left of it
            order = self._made(spec, now_ns, version)
            order.reach(spec)
        self._key, self._order = key, order
        return order

    def _made(self, spec: ViewSpec, now_ns: int, version: int) -> Order:
        match = self._match(spec, now_ns, False)
        if self._alive is None:
            return Order(match.order(), (), no_ties, _all_alive, now_ns, version, match.totals, now_ns, version)
        keys = match.keys()
        return Order(match.handles, keys, match.ties, self._alive, now_ns, version, match.totals, now_ns, version)

    def _recount(self, order: Order, spec: ViewSpec, now_ns: int, version: int) -> None:
        if order.counted == version or (self._alive and 0 <= now_ns - order.counted_ns < RESORT_NS):
            return
        match = self._match(spec, now_ns, True)
        (order.count if self._alive else order.join)(match)
        order.counted, order.counted_ns = version, now_ns


def _all_alive(handles: Handles) -> NDArray[np.bool_]:
    return np.ones(len(handles), np.bool_)
