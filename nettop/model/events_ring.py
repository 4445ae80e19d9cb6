"""The last N events as a ring of columns; a loss is a row among them, at the place where it happened."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Gap
from nettop.columns import FLOW_DTYPES, FLOW_HI, Columns
from nettop.kinds import GapReason

Array = NDArray[Any]

EVENT_GAP = 4  # beside columns.EVENT_*
REASONS = tuple(GapReason)
UNKNOWN_LOSS = np.iinfo(np.uint64).max


class EventRing:
    """Rows by number: the first event ever is 0. Rows `start` to `end` are kept."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a ring holds at least one event")
        self.capacity = capacity
        self.start = self.end = 0
        kinds = {name: kind for name, kind in FLOW_DTYPES.items() if name not in (*FLOW_HI, "use")}
        self.data: dict[str, Array] = {name: np.zeros(capacity, kind) for name, kind in kinds.items()}
        self.data["netns"] = np.zeros(capacity, np.uint16)

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def nbytes(self) -> int:
        """Memory of the columns, in bytes."""
        return sum(column.nbytes for column in self.data.values())

    def append(self, cols: Columns, netns: int) -> None:
        """Add these rows; the oldest make room."""
        n = len(cols)
        self.end += n
        skip = max(0, n - self.capacity)  # what would be overwritten at once
        places = np.arange(self.end - n + skip, self.end) % self.capacity
        if "osrc_hi" in cols and "osrc_hi" not in self.data:
            self.data |= {name: np.zeros(self.capacity, np.uint64) for name in FLOW_HI}
        for name, column in self.data.items():
            values = cols.get(name)
            column[places] = 0 if values is None else values[skip:]
        self.data["netns"][places] = netns
        self.start = max(self.start, self.end - self.capacity)

    def append_gap(self, gap: Gap, netns: int) -> None:
        """A loss as a row: count in opackets, times in start_ns and stop_ns, why in state, stream in mark."""
        lost = UNKNOWN_LOSS if gap.lost is None else gap.lost
        values = {"event": EVENT_GAP, "state": REASONS.index(gap.why), "mark": gap.stream, "opackets": lost}
        times = {"start_ns": max(0, gap.from_ns), "stop_ns": max(0, gap.to_ns), "ts_ns": gap.to_ns}
        data = {name: np.array([value], FLOW_DTYPES[name]) for name, value in (values | times).items()}
        self.append(Columns(1, data), netns)

    def places(self, numbers: Array) -> Array:
        """Where in the columns these rows stand."""
        return np.asarray(numbers % self.capacity)

    def rows(self, first: int, end: int) -> dict[str, Array]:
        """Rows first to end, oldest first: views where they lie in one piece, else copies."""
        a, b = first % self.capacity, (end - 1) % self.capacity + 1
        if end <= first:
            return {name: column[:0] for name, column in self.data.items()}
        if a < b:
            return {name: column[a:b] for name, column in self.data.items()}
        return {name: np.concatenate([column[a:], column[:b]]) for name, column in self.data.items()}

    def held(self) -> EventRing:
        """A copy that stands still while this one goes on."""
        other = copy.copy(self)
        other.data = {name: column.copy() for name, column in self.data.items()}
        return other
