"""The last N events as a ring of columns. A loss is a row among them, at the position where it happened."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array, Gap
from nettop.columns import EVENT_DTYPES, EVENT_EXPECT, EXPECT_DTYPES, FLOW_DTYPES, FLOW_HI, Columns
from nettop.kinds import GapReason

EVENT_GAP = EVENT_EXPECT  # free among columns.EVENT_*: no expectation is EVENT_EXPECT + EVENT_DUMP here
REASONS = tuple(GapReason)
UNKNOWN_LOSS = np.iinfo(np.uint64).max


class EventRing:
    """Rows by number: the first row ever is 0. Rows `start` to `end` - 1 are kept."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a ring holds at least one event")
        self.capacity = capacity
        self.start = self.end = 0
        self.added: Counter[int] = Counter()  # events (not gaps) by namespace, since the start
        self.evicted: Counter[int] = Counter()  # events that were overwritten, by namespace
        self.frozen: FrozenRing | None = None  # a frozen view of the rows, which saves them before they are overwritten
        kinds = {name: kind for name, kind in FLOW_DTYPES.items() if name not in (*FLOW_HI, "use")}
        self.data: dict[str, Array] = {name: np.zeros(capacity, kind) for name, kind in kinds.items()}
        self.data |= {name: np.zeros(capacity, kind) for name, kind in EVENT_DTYPES.items()}
        self.data["netns"] = np.zeros(capacity, np.uint16)

    def __len__(self) -> int:
        return self.end - self.start

    def append(self, cols: Columns, netns: int) -> None:
        """Add these rows; they overwrite the oldest ones."""
        n = len(cols)
        skip = max(0, n - self.capacity)  # rows that later ones of the batch would overwrite
        self._evict(self.end + n - self.capacity, netns, skip)
        self.added[netns] += n
        self.end += n
        slots = np.arange(self.end - n + skip, self.end) % self.capacity
        if "osrc_hi" in cols and "osrc_hi" not in self.data:
            self.data |= {name: np.zeros(self.capacity, np.uint64) for name in FLOW_HI}
        if "xproto" in cols and "xproto" not in self.data:
            self.data |= {name: np.zeros(self.capacity, kind) for name, kind in EXPECT_DTYPES.items()}
        for name, column in self.data.items():
            values = cols.get(name)
            column[slots] = 0 if values is None else values[skip:]
        self.data["netns"][slots] = netns

    def _evict(self, start: int, netns: int, skip: int) -> None:
        """Count the rows before `start` as evicted, with `skip` rows of the batch that are never written."""
        if start > self.start:
            if self.frozen is not None:
                self.frozen.save(min(start, self.end))
            self.evicted += self.events_by_netns(np.arange(self.start, min(start, self.end)))
            self.evicted[netns] += skip
            self.start = start

    def events_by_netns(self, numbers: Array) -> Counter[int]:
        """Return how many of these rows are events (not gaps), by namespace."""
        slots = numbers % self.capacity
        codes = self.data["netns"][slots][self.data["event"][slots] != EVENT_GAP]
        return Counter({code: count for code, count in enumerate(np.bincount(codes).tolist()) if count})

    def append_gap(self, gap: Gap, netns: int) -> None:
        """Add a loss as a row: count in opackets, times in start_ns and stop_ns, reason in state, stream in mark."""
        lost = UNKNOWN_LOSS if gap.lost is None else gap.lost
        values = {"event": EVENT_GAP, "state": REASONS.index(gap.why), "mark": gap.stream, "opackets": lost}
        times = {"start_ns": max(0, gap.from_ns), "stop_ns": max(0, gap.to_ns), "ts_ns": gap.to_ns}
        data = {name: np.array([value], FLOW_DTYPES[name]) for name, value in (values | times).items()}
        self.append(Columns(1, data), netns)
        self.added[netns] -= 1

    def numbers(self, slots: Array) -> NDArray[np.int64]:
        """Return the numbers of the rows in these slots, oldest first."""
        return np.sort(self.start + (slots - self.start) % self.capacity)

    def rows(self, first: int, end: int) -> dict[str, Array]:
        """Return rows first to end - 1, oldest first: views if they are contiguous, else copies."""
        a, b = first % self.capacity, (end - 1) % self.capacity + 1
        if end <= first:
            return {name: column[:0] for name, column in self.data.items()}
        if a < b:
            return {name: column[a:b] for name, column in self.data.items()}
        return {name: np.concatenate([column[a:], column[:b]]) for name, column in self.data.items()}

    def take(self, numbers: Array) -> dict[str, Array]:
        """Return these rows of every column, copied."""
        slots = numbers % self.capacity
        return {name: column[slots] for name, column in self.data.items()}


class FrozenRing:
    """The rows of a ring at one moment. A row is copied only just before the ring overwrites it."""

    def __init__(self, ring: EventRing) -> None:
        self._ring = ring
        self.start, self.end = ring.start, ring.end
        self._saved_end = ring.start
        self._saved: dict[str, Array] = {}

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def since(self) -> int:
        """The number of rows added to the ring since."""
        return self._ring.end - self.end

    @property
    def evicted(self) -> int:
        """The number of frozen rows that the ring no longer has."""
        return self._saved_end - self.start

    @property
    def unseen(self) -> int:
        """The number of rows added since that the ring no longer has."""
        return max(0, self._ring.start - self.end)

    def save(self, end: int) -> None:
        """Copy the rows before `end`, which the ring is about to overwrite."""
        first, end = self._saved_end, min(end, self.end)
        if end <= first:
            return
        for name, column in self._ring.rows(first, end).items():
            if name not in self._saved:
                self._saved[name] = np.zeros(len(self), column.dtype)
            self._saved[name][first - self.start : end - self.start] = column
        self._saved_end = end

    def take(self, numbers: Array) -> dict[str, Array]:
        """Return these rows of every column, copied."""
        found = self._ring.take(numbers)
        saved = numbers < self._saved_end
        if saved.any():
            for name, column in found.items():
                copy = self._saved.get(name)
                column[saved] = 0 if copy is None else copy[numbers[saved] - self.start]
        return found

    def rows(self, first: int, end: int) -> dict[str, Array]:
        """Return rows first to end - 1, oldest first."""
        return self.take(np.arange(first, max(first, end)))
