"""The rows of the flow table as they are read: filtered, sorted, and as Python values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nettop.batch import Array
from nettop.columns import Strings
from nettop.model.filter.expression import Filter
from nettop.model.flows import derive
from nettop.model.flows.cells import RowView, row_views
from nettop.model.flows.fields import FlowFields
from nettop.model.flows.joins import FlowJoins, RateProvider
from nettop.model.flows.rate_history import RateHistory
from nettop.model.flows.sort_keys import Picked, key_columns, sort_keys
from nettop.model.flows.store import FlowStore
from nettop.model.ordering import Rows, Ties, first_rows
from nettop.model.table import SortKey

NetnsLabel = Callable[[int], str]  # the label of a namespace's code, "" for the one nettop was started in


class MeasuredRates:
    """The columns measured_up and measured_down of a store's rows, in bytes a second, NaN where not measured."""

    def __init__(self, store: FlowStore) -> None:
        self._store = store
        self._version = -1
        self._meter: RateProvider | None = None
        self._generation = np.empty(0, np.uint32)
        self._columns: dict[str, Array] = {}

    def columns(self, meter: RateProvider | None) -> dict[str, Array]:
        """Return the columns of all rows ever used; {} without a meter."""
        return {} if meter is None else self.of(np.arange(self._store.top), meter)

    def of(self, rows: Rows, meter: RateProvider | None) -> dict[str, Array]:
        """Return the columns of these rows."""
        self._update(meter)
        return {name: self._select(column, rows) for name, column in self._columns.items()}

    def _update(self, meter: RateProvider | None) -> None:
        if meter is None:
            self._meter, self._columns = None, {}
        elif meter is not self._meter or meter.version != self._version:
            self._meter, self._version = meter, meter.version
            data = {name: column[: self._store.top] for name, column in self._store.data.items()}
            self._generation = data["generation"].copy()
            found = meter.measured(data)
            self._columns = {} if found is None else dict(zip(("measured_up", "measured_down"), found, strict=True))

    def _select(self, column: Array, rows: Rows) -> Array:
        """Return the values of these rows; NaN for a row that belonged to another flow when the meter was read."""
        measured = np.full(len(rows), np.nan, np.float32)
        known = (rows < len(column)).nonzero()[0]
        known = known[self._generation[rows[known]] == self._store["generation"][rows[known]]]
        measured[known] = column[rows[known]]
        return measured


class FlowRows:
    """The flows of a store with what is joined to them. `strings` is the decoder's."""

    def __init__(self, strings: Strings, netns_label: NetnsLabel, joins: FlowJoins, store: FlowStore) -> None:
        self.strings, self.netns_label, self.joins, self.store = strings, netns_label, joins, store
        self.version = 0
        self.dumped_ns: dict[int, int] = {}  # namespace → time at which its last complete dump ended
        self.rate_history = RateHistory(store)
        self._measured = MeasuredRates(store)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.store.live()))

    def still_dumps(self, netns: int) -> int:
        """Return how many dumps in a row found the flows of this namespace still, with no event since."""
        return max(0, self.store.still_dumps.get(netns, 0))

    def passed_s(self, netns: int, now_ns: int) -> int:
        """Return the whole seconds by which the timeouts of a namespace's still flows have run down since its dump."""
        return (now_ns - self.dumped_ns[netns]) // 1_000_000_000 if self.still_dumps(netns) else 0

    def window(self) -> dict[str, Array]:
        """Return the columns of all rows ever used (views, no copies); `store.live()` says which are flows.

        The columns are the store's, `rate_history`, and measured_up and measured_down where rates are measured.
        """
        data = {name: column[: self.store.top] for name, column in self.store.data.items()}
        return data | self.rate_history.readings() | self._measured.columns(self.joins.meter)

    def _fields(self, data: derive.Data, now_ns: int) -> FlowFields:
        return FlowFields("flow", data, now_ns, self.strings, self.netns_label, self.joins.processes)

    def matching(self, expression: Filter | None, now_ns: int) -> Rows:
        """Return the rows of the flows that match, in the table's own order."""
        live = self.store.live()
        if expression is not None:
            live &= expression.mask(self._fields(self.window(), now_ns))
        return live.nonzero()[0]

    def rows(
        self, expression: Filter | None = None, sort: Sequence[SortKey] = (), limit: int | None = None, now_ns: int = 0
    ) -> Rows:
        """Return the rows of at most `limit` matching flows, sorted; UsageError for an unknown key."""
        rows = self.matching(expression, now_ns)
        keys = self.sort_keys(rows, sort, now_ns)
        count = len(rows) if limit is None else min(limit, len(rows))
        return rows[first_rows(keys, count, self.ties(rows))] if keys else rows[:count]

    def sort_keys(self, rows: Rows, sort: Sequence[SortKey], now_ns: int) -> list[Array]:
        """Return columns of these rows to sort by in ascending order; UsageError for an unknown key."""
        data = self.picked(rows)
        return sort_keys(data, sort, self._fields(data, now_ns).words, now_ns)

    def accounting(self, netns: int) -> bool | None:
        """Return whether bytes are counted in the namespace with this code; None where that is not known."""
        return self.joins.accounting(self.netns_label(netns))

    def ties(self, rows: Rows) -> Ties:
        """Return the columns that order rows with equal sort keys: those of the flow's own key."""

        def columns(indices: Rows | None) -> Iterator[Array]:
            if indices is None and len(rows) == self.store.top:  # views: a copy of a million rows needs 8 MB a column
                return key_columns(self.store.data, slice(self.store.top))
            return key_columns(self.store.data, rows if indices is None else rows[indices])

        return columns

    def picked(self, rows: Rows) -> derive.Data:
        """Return the columns of these rows, gathered on use; for all rows the table's own, without a copy."""
        return self.window() if len(rows) == self.store.top else Picked(self.window(), rows)

    def views(self, rows: Rows) -> list[RowView]:
        """Return these rows as Python values."""
        some = {name: column[rows] for name, column in self.store.data.items()}
        some |= self.rate_history.of(rows) | self._measured.of(rows, self.joins.meter)
        return row_views(some, slice(None), self.strings, self.netns_label, self.joins.names)
