"""Rates measured from packets, beside the table's rows: what a meter says, asked again when it has news."""

from __future__ import annotations

import numpy as np

from nettop.batch import Array
from nettop.model.flows.index import Rows
from nettop.model.flows.joins import Meter
from nettop.model.flows.store import FlowStore


class MeasuredRates:
    """The columns measured_up and measured_down of a store's rows, in bytes a second, NaN where not measured."""

    def __init__(self, store: FlowStore) -> None:
        self._store = store
        self._version = -1
        self._meter: Meter | None = None
        self._generation = np.empty(0, np.uint32)
        self._columns: dict[str, Array] = {}

    def columns(self, meter: Meter | None) -> dict[str, Array]:
        """The columns of all rows ever used; none where nothing is measured. Not to be kept."""
        return {} if meter is None else self.of(np.arange(self._store.top), meter)

    def of(self, rows: Rows, meter: Meter | None) -> dict[str, Array]:
        """The columns of these rows."""
        self._ask(meter)
        return {name: self._of(column, rows) for name, column in self._columns.items()}

    def _ask(self, meter: Meter | None) -> None:
        if meter is None:
            self._meter, self._columns = None, {}
        elif meter is not self._meter or meter.version != self._version:
            self._meter, self._version = meter, meter.version
            data = {name: column[: self._store.top] for name, column in self._store.data.items()}
            self._generation = data["generation"].copy()
            found = meter.measured(data)
            self._columns = {} if found is None else dict(zip(("measured_up", "measured_down"), found, strict=True))

    def _of(self, column: Array, rows: Rows) -> Array:
        """Rows that came, or went to another flow, since the meter was asked have nothing."""
        measured = np.full(len(rows), np.nan, np.float32)
        known = (rows < len(column)).nonzero()[0]
        known = known[self._generation[rows[known]] == self._store["generation"][rows[known]]]
        measured[known] = column[rows[known]]
        return measured
