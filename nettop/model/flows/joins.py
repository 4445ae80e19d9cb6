"""What other models know of a flow, joined to it: its process, devices, measured rates, names and expectations.

Each provider is optional: without it what it would tell is not known. Cells and lines are asked for the rows on the
screen only; codes and rates, which filters, orders and groups need, for whole columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nettop.batch import Array
from nettop.model.flows.cells import ABSENT, Names, RowView
from nettop.model.flows.derive import Data
from nettop.model.table import Cell, Line

__all__ = ["Devices", "Expectations", "FlowJoins", "Meter", "Names", "Processes"]


class Processes(Protocol):
    """Which process a flow belongs to."""

    def process(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        """A cell for each row: the process, or why there is none."""
        ...

    def process_codes(self, data: Data) -> tuple[Array, Sequence[str]]:
        """For each row of data a code, and the word of each code; "" where the process is not known."""
        ...

    def pids(self, data: Data) -> Array:
        """The process id of each row as int64, -1 where it is not known."""
        ...

    def process_lines(self, row: RowView) -> Sequence[Line]:
        """All that is known of the process of one flow, with how sure that is: for its detail."""
        ...


class Devices(Protocol):
    """Which devices a flow comes in and leaves by."""

    def device(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        """A cell for each row: `eth0 → eth1`."""
        ...

    def device_lines(self, row: RowView) -> Sequence[Line]:
        """The devices of one flow and how they are known, or why not: for its detail."""
        ...


class Meter(Protocol):
    """Rates measured from the packets themselves."""

    version: int  # grows with every new reading

    def measured(self, data: Data) -> tuple[Array, Array] | None:
        """Bytes a second of each row in the original and in the reply direction, NaN where none; None: of no row."""
        ...

    def words(self) -> Sequence[str]:
        """How the rates are measured, and what they lack, one thing each; nothing where none are."""
        ...


class Expectations(Protocol):
    """Connections that helpers await."""

    def of_flow(self, row: RowView) -> Sequence[Line]:
        """Lines about what this flow expects."""
        ...


@dataclass(frozen=True, slots=True)
class FlowJoins:
    """The providers of one flow table."""

    processes: Processes | None = None
    devices: Devices | None = None
    meter: Meter | None = None
    hosts: Names | None = None
    awaited: Expectations | None = None
    accounting: Callable[[str], bool | None] = lambda netns: None  # of a namespace's label: is it on now?

    def process(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        """A cell for each row."""
        return [ABSENT] * len(rows) if self.processes is None else self.processes.process(rows)

    def process_codes(self, data: Data) -> tuple[Array, Sequence[str]]:
        """Codes by row and their words; "" where it is not known."""
        if self.processes is None:
            return np.zeros(len(data["have"]), np.uint8), ("",)
        return self.processes.process_codes(data)

    def process_lines(self, row: RowView) -> Sequence[Line]:
        """Lines about the process of one flow."""
        return () if self.processes is None else self.processes.process_lines(row)

    def device(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        """A cell for each row."""
        return [ABSENT] * len(rows) if self.devices is None else self.devices.device(rows)

    def device_lines(self, row: RowView) -> Sequence[Line]:
        """Lines about the devices of one flow."""
        return () if self.devices is None else self.devices.device_lines(row)

    def measured(self, data: Data) -> tuple[Array, Array] | None:
        """Measured bytes a second each way; None where nothing is measured."""
        return None if self.meter is None else self.meter.measured(data)

    def measuring(self) -> Sequence[str]:
        """How rates are measured, then what they lack; nothing where none are."""
        return () if self.meter is None else self.meter.words()

    def names(self, address: str) -> str | None:
        """The name of an address."""
        return None if self.hosts is None else self.hosts.host(address)

    def service(self, proto: int, port: int) -> str | None:
        """The name of a service."""
        return None if self.hosts is None else self.hosts.service(proto, port)

    def expectations(self, row: RowView) -> Sequence[Line]:
        """Lines about what one flow expects."""
        return () if self.awaited is None else self.awaited.of_flow(row)
