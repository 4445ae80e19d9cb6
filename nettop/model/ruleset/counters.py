"""Counters of rules and policies over time: the rate between two polls, the last minute, and the last hit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array

SECONDS = 60  # of history
_SHORTEST_S = 0.5  # of the time between two polls that a rate is made of: one packet in 45 ms is not 22 a second
_NS = 1_000_000_000


@dataclass(slots=True)
class Counts:
    """The counters by cell (a rule or a policy). A cell has values after its first update."""

    have: NDArray[np.bool_]
    packets: NDArray[np.uint64]
    bytes: NDArray[np.uint64]
    rate: NDArray[np.float64]  # packets a second since an earlier poll; NaN before the second
    byte_rate: NDArray[np.float64]
    since_ns: NDArray[np.int64]  # of the first poll
    last_ns: NDArray[np.int64]  # of the poll that ended the latest rate, as the next two
    rated_packets: NDArray[np.uint64]
    rated_bytes: NDArray[np.uint64]
    hit_ns: NDArray[np.int64]  # latest poll that found an increase; 0: none while watched
    history: NDArray[np.float32]  # (n, 60) packets in each second, at column second % 60
    head: int = 0  # the latest second in history

    @classmethod
    def of(cls, n: int) -> Counts:
        """Return n cells without values."""
        nan = np.full(n, np.nan)
        zero = np.zeros(n, np.int64)
        return cls(
            np.zeros(n, np.bool_),
            np.zeros(n, np.uint64),
            np.zeros(n, np.uint64),
            nan,
            nan.copy(),
            zero,
            zero.copy(),
            np.zeros(n, np.uint64),
            np.zeros(n, np.uint64),
            zero.copy(),
            np.zeros((n, SECONDS), np.float32),
        )

    def reordered(self, origin: Array) -> Counts:
        """Return the cells in a new order: cell i is the old cell origin[i], or new if that is -1."""
        blank, fresh = Counts.of(1), origin < 0
        columns = {}
        for name in (field.name for field in fields(self) if field.name != "head"):
            old = getattr(self, name) if len(self.have) else getattr(blank, name)
            columns[name] = old.take(origin, axis=0, mode="wrap")
            columns[name][fresh] = getattr(blank, name)[0]
        return Counts(**columns, head=self.head)

    def update(self, cells: Array, packets: Array, octets: Array, ts_ns: int) -> None:
        """Apply the values of these cells polled at ts_ns (ns since the epoch). A value that fell was reset."""
        if not len(cells):
            return
        known = self.have[cells]
        self.since_ns[cells[~known]] = ts_ns
        self.hit_ns[cells[known & (packets != self.packets[cells]) & (packets > 0)]] = ts_ns
        self.packets[cells], self.bytes[cells] = packets, octets
        self.have[cells] = True
        due = ~known | (np.abs(ts_ns - self.last_ns[cells]) >= _SHORTEST_S * _NS)  # a clock may be set back
        self._rate(cells[due], known[due], ts_ns)

    def _rate(self, cells: Array, known: NDArray[np.bool_], ts_ns: int) -> None:
        """End the interval of these cells; those that are not `known` begin their first one."""
        if not len(cells):
            return
        before = self.last_ns[cells]
        seconds = np.where(known & (ts_ns > before), (ts_ns - before) / _NS, np.nan)
        rate = _grown(self.packets[cells], self.rated_packets[cells]) / seconds
        self._record(cells, np.nan_to_num(rate), before // _NS, ts_ns // _NS)
        self.rate[cells] = rate
        self.byte_rate[cells] = _grown(self.bytes[cells], self.rated_bytes[cells]) / seconds
        self.rated_packets[cells], self.rated_bytes[cells] = self.packets[cells], self.bytes[cells]
        self.last_ns[cells] = ts_ns

    def _record(self, cells: Array, rate: Array, before: Array, second: int) -> None:
        """Store the rate in every second since the previous poll of each cell."""
        fresh = min(second - self.head, SECONDS)
        for back in range(fresh):
            self.history[:, (second - back) % SECONDS] = 0
        self.head = max(self.head, second)
        for back in range(min(SECONDS, max(1, second - int(before.min())))):
            passed = (second - back > before) | (back == 0)
            self.history[cells[passed], (second - back) % SECONDS] = rate[passed]

    def minute(self, cell: int, bars: int = 12) -> list[float]:
        """Return the last 60 s of a cell, oldest first, as `bars` means of packets a second."""
        order = [(self.head - SECONDS + 1 + i) % SECONDS for i in range(SECONDS)]
        means: list[float] = self.history[cell, order].reshape(bars, -1).mean(axis=1).tolist()
        return means


def _grown(new: Array, old: Array) -> Array:
    """Return the increase of each counter as float64; one that fell was reset and counts from zero."""
    return np.where(new >= old, new - old, new).astype(np.float64)


class TracedHits:
    """The packets of the latest trace that met each rule (by its ident) or policy (by its chain's, negated)."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.version = 0

    def add(self, idents: Collection[int]) -> None:
        """Add a packet that met these."""
        self.counts.update(idents)
        self.version += bool(idents)

    def clear(self) -> None:
        """Begin at 0: another trace runs."""
        self.counts.clear()
        self.version += 1
