"""Values of other models that are joined to flows: process, devices, measured rates, names and expectations.

Cells and lines are made for the rows on the screen only; codes and rates, which filters, orders and groups need, for
whole columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nettop.batch import Array
from nettop.model.flows.cells import ABSENT, RowView
from nettop.model.flows.derive import Data
from nettop.model.flows.devices import FlowDevices
from nettop.model.flows.fields import ProcessColumns
from nettop.model.names import Names
from nettop.model.table import Cell, Line


class ProcessProvider(ProcessColumns, Protocol):
    """The processes of flows."""

    def process(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        """Return a cell for each row: the process, or the reason why it is not known."""

    def process_lines(self, row: RowView) -> Sequence[Line]:
        """Return the lines of a flow's detail: its process, and how certain that is."""


class RateProvider(Protocol):
    """Rates measured from packets."""

    version: int  # grows with every new reading

    def measured(self, data: Data) -> tuple[Array, Array] | None:
        """Return bytes per second of each row, original and reply direction, NaN if not measured; None: no row is."""

    def notes(self) -> Sequence[str]:
        """Return how the rates are measured, then their limits, one text each; () where no rate is measured."""


@dataclass(frozen=True, slots=True)
class FlowJoins:
    """The providers of one flow table. Without a provider its values are not known."""

    processes: ProcessProvider | None = None
    devices: FlowDevices | None = None
    meter: RateProvider | None = None
    names: Names | None = None
    expectations: Callable[[RowView], Sequence[Line]] = lambda row: ()  # lines about those of a flow
    accounting: Callable[[str], bool | None] = lambda netns: None  # nf_conntrack_acct by label

    def process(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        """Return a cell for each row."""
        return [ABSENT] * len(rows) if self.processes is None else self.processes.process(rows)

    def process_codes(self, data: Data) -> tuple[Array, Sequence[str]]:
        """Return a code for each row, and the word of each code; "" where the process is not known."""
        if self.processes is None:
            return np.zeros(len(data["have"]), np.uint8), ("",)
        return self.processes.process_codes(data)

    def process_lines(self, row: RowView) -> Sequence[Line]:
        """Return lines about the process of one flow."""
        return () if self.processes is None else self.processes.process_lines(row)

    def device(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        """Return a cell for each row."""
        return [ABSENT] * len(rows) if self.devices is None else self.devices.device(rows)

    def device_lines(self, row: RowView) -> Sequence[Line]:
        """Return lines about the devices of one flow."""
        return () if self.devices is None else self.devices.device_lines(row)

    def rate_notes(self) -> Sequence[str]:
        """Return how rates are measured, then their limits; () where no rate is measured."""
        return () if self.meter is None else self.meter.notes()

    def host(self, address: str) -> str | None:
        """Return the name of an address; None while it is unknown."""
        return None if self.names is None else self.names.host(address)

    def service(self, proto: int, port: int) -> str | None:
        """Return the name of a service; None while it is unknown."""
        return None if self.names is None else self.names.service(proto, port)
