"""The last N events as a ring of columns; a loss is a row among them, at the place where it happened."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array, Gap
from nettop.columns import EVENT_EXPECT, EXPECT_DTYPES, FLOW_DTYPES, FLOW_HI, Columns
from nettop.kinds import GapReason

EVENT_GAP = EVENT_EXPECT  # beside columns.EVENT_*: no expectation is EVENT_EXPECT + EVENT_DUMP here
REASONS = tuple(GapReason)
UNKNOWN_LOSS = np.iinfo(np.uint64).max


class EventRing:
    """Rows by number: the first event ever is 0. Rows `start` to `end` are kept."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a ring holds at least one event")
        self.capacity = capacity
        self.start = self.end = 0
        self.taken: Counter[int] = Counter()  # events (not gaps) by namespace, since the start
        self.evicted: Counter[int] = Counter()  # and those of them that made room
        self.held: HeldRing | None = None  # those who still look at rows that make room
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
        skip = max(0, n - self.capacity)  # what would be overwritten at once
        self._evict(self.end + n - self.capacity, netns, skip)
        self.taken[netns] += n
        self.end += n
        places = np.arange(self.end - n + skip, self.end) % self.capacity
        if "osrc_hi" in cols and "osrc_hi" not in self.data:
            self.data |= {name: np.zeros(self.capacity, np.uint64) for name in FLOW_HI}
        if "xproto" in cols and "xproto" not in self.data:
            self.data |= {name: np.zeros(self.capacity, kind) for name, kind in EXPECT_DTYPES.items()}
        for name, column in self.data.items():
            values = cols.get(name)
            column[places] = 0 if values is None else values[skip:]
        self.data["netns"][places] = netns

    def _evict(self, start: int, netns: int, skip: int) -> None:
        """Rows before `start` make room; `skip` of them are never written."""
        if start > self.start:
            if self.held is not None:
                self.held.save(min(start, self.end))
            self.evicted += self.events_by_netns(np.arange(self.start, min(start, self.end)))
            self.evicted[netns] += skip
            self.start = start

    def events_by_netns(self, numbers: Array) -> Counter[int]:
        """How many of these rows are events (not gaps), by namespace."""
        places = numbers % self.capacity
        codes = self.data["netns"][places][self.data["event"][places] != EVENT_GAP]
        return Counter({code: count for code, count in enumerate(np.bincount(codes).tolist()) if count})

    def append_gap(self, gap: Gap, netns: int) -> None:
        """A loss as a row: count in opackets, times in start_ns and stop_ns, why in state, stream in mark."""
        lost = UNKNOWN_LOSS if gap.lost is None else gap.lost
        values = {"event": EVENT_GAP, "state": REASONS.index(gap.why), "mark": gap.stream, "opackets": lost}
        times = {"start_ns": max(0, gap.from_ns), "stop_ns": max(0, gap.to_ns), "ts_ns": gap.to_ns}
        data = {name: np.array([value], FLOW_DTYPES[name]) for name, value in (values | times).items()}
        self.append(Columns(1, data), netns)
        self.taken[netns] -= 1

    def numbers(self, places: Array) -> NDArray[np.int64]:
        """The rows that stand at these places, oldest first."""
        return np.sort(self.start + (places - self.start) % self.capacity)

    def rows(self, first: int, end: int) -> dict[str, Array]:
        """Rows first to end, oldest first: views where they lie in one piece, else copies."""
        a, b = first % self.capacity, (end - 1) % self.capacity + 1
        if end <= first:
            return {name: column[:0] for name, column in self.data.items()}
        if a < b:
            return {name: column[a:b] for name, column in self.data.items()}
        return {name: np.concatenate([column[a:], column[:b]]) for name, column in self.data.items()}

    def take(self, numbers: Array) -> dict[str, Array]:
        """These rows of every column, copied."""
        places = numbers % self.capacity
        return {name: column[places] for name, column in self.data.items()}

    def hold(self) -> HeldRing:
        """The rows as they are now; they stay while this ring goes on, until let_go()."""
        self.held = HeldRing(self)
        return self.held

    def let_go(self) -> None:
        """Nobody holds rows any more."""
        self.held = None


class HeldRing:
    """What a ring held at one moment. Only rows that make room in the ring are copied, just before they do."""

    def __init__(self, ring: EventRing) -> None:
        self._ring = ring
        self.start, self.end = ring.start, ring.end
        self._saved_end = ring.start
        self._saved: dict[str, Array] = {}

    def __len__(self) -> int:
        return self.end - self.start

    @property
    def since(self) -> int:
        """Rows that came since."""
        return self._ring.end - self.end

    @property
    def evicted(self) -> int:
        """Of the rows held: how many the ring no longer has."""
        return self._saved_end - self.start

    @property
    def unseen(self) -> int:
        """Of the rows that came since: how many the ring no longer has."""
        return max(0, self._ring.start - self.end)

    def save(self, end: int) -> None:
        """Rows before `end` are about to be overwritten."""
        first, end = self._saved_end, min(end, self.end)
        if end <= first:
            return
        for name, column in self._ring.rows(first, end).items():
            if name not in self._saved:
                self._saved[name] = np.zeros(len(self), column.dtype)
            self._saved[name][first - self.start : end - self.start] = column
        self._saved_end = end

    def take(self, numbers: Array) -> dict[str, Array]:
        """These rows of every column, copied."""
        found = self._ring.take(numbers)
        saved = numbers < self._saved_end
        if saved.any():
            for name, column in found.items():
                kept = self._saved.get(name)
                column[saved] = 0 if kept is None else kept[numbers[saved] - self.start]
        return found

    def rows(self, first: int, end: int) -> dict[str, Array]:
        """Rows first to end, oldest first."""
        return self.take(np.arange(first, max(first, end)))
