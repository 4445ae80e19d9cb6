"""Live packets of several devices in one order. Each ring delivers on its own, so new packets are held for a moment."""

from __future__ import annotations

import numpy as np

from nettop.batch import Batch, Stream, select_rows

HOLD_NS = 200_000_000  # every ring delivers a packet within this time (its blocks retire far sooner)
MANY_ROWS = 4_096  # once so many are held, those that are old enough are passed on at once


class Arrivals:
    """Batches that are held until every device has had the time to deliver packets of the same age."""

    def __init__(self) -> None:
        self._held: list[tuple[Batch, Stream]] = []
        self._devices: set[int] = set()
        self._newest_ns = 0
        self.rows = 0

    def expect(self, stream: Stream) -> None:
        """Add a live device."""
        self._devices.add(stream.id)

    def add(self, batch: Batch, stream: Stream) -> None:
        """Add a batch of a live device."""
        self._held.append((batch, stream))
        self._newest_ns = max(self._newest_ns, int(batch.ts_ns.max()))
        self.rows += len(batch)

    def ready_ns(self) -> int | None:
        """Return the time up to which packets may be passed on now; None: hold them."""
        if len(self._devices) < 2:
            return self._newest_ns
        return self._newest_ns - HOLD_NS if self.rows >= MANY_ROWS else None

    def settled(self, until_ns: int) -> list[tuple[Batch, Stream]]:
        """Remove and return the packets up to that time; those of a device keep their order."""
        ready, held = [], []
        for batch, stream in self._held:
            n = int(np.searchsorted(np.maximum.accumulate(batch.ts_ns), until_ns, "right"))
            if n:
                ready.append((select_rows(batch, slice(0, n)), stream))
            if n < len(batch):
                held.append((select_rows(batch, slice(n, len(batch))), stream))
        self._held = held
        self.rows = sum(len(batch) for batch, _ in held)
        return ready
