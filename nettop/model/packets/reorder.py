"""Live packets of several devices in one order: each ring delivers on its own, so what is fresh waits a moment."""

from __future__ import annotations

import numpy as np

from nettop.batch import Batch, Stream, select_rows

HOLD_NS = 200_000_000  # a ring delivers a packet within this (its blocks retire by time, far sooner)
MANY_ROWS = 4_096  # once so many wait, those old enough go on without being asked for


class Arrivals:
    """Keeps batches until every device has had the time to deliver what is as old."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Batch, Stream]] = []
        self._devices: set[int] = set()
        self._newest_ns = 0
        self.rows = 0

    def expect(self, stream: Stream) -> None:
        """A live device begins."""
        self._devices.add(stream.id)

    def add(self, batch: Batch, stream: Stream) -> None:
        """One more batch of a live device."""
        self._waiting.append((batch, stream))
        self._newest_ns = max(self._newest_ns, int(batch.ts_ns.max()))
        self.rows += len(batch)

    def ready_ns(self) -> int | None:
        """Up to which time packets may go on now, when many wait; None: not yet."""
        if len(self._devices) < 2:
            return self._newest_ns
        return self._newest_ns - HOLD_NS if self.rows >= MANY_ROWS else None

    def settled(self, until_ns: int) -> list[tuple[Batch, Stream]]:
        """The packets not younger than that, each device's in its order; they no longer wait."""
        ready, young = [], []
        for batch, stream in self._waiting:
            n = int(np.searchsorted(np.maximum.accumulate(batch.ts_ns), until_ns, "right"))
            if n:
                ready.append((select_rows(batch, slice(0, n)), stream))
            if n < len(batch):
                young.append((select_rows(batch, slice(n, len(batch))), stream))
        self._waiting = young
        self.rows = sum(len(batch) for batch, _ in young)
        return ready

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting, self.rows = [], 0
