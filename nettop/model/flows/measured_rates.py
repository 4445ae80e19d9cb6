"""Rates measured from packets, as columns of the table; read from a meter when it has new ones."""

from __future__ import annotations

import numpy as np

from nettop.batch import Array
from nettop.model.flows.joins import RateProvider
from nettop.model.flows.store import FlowStore
from nettop.model.ordering import Rows


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
