"""Events by second and kind, of the last minute."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SECONDS = 60  # that are kept
_KINDS = 3  # new, update, destroy


class EventRates:
    """Counters of events by second."""

    def __init__(self) -> None:
        self._counts = np.zeros((SECONDS + 1, _KINDS), np.int64)
        self._second = np.full(SECONDS + 1, -1, np.int64)

    def add(self, now_ns: int, counts: NDArray[Any]) -> None:
        """Add the numbers of new, update and destroy events of this moment."""
        second = now_ns // 1_000_000_000
        slot = second % len(self._second)
        if self._second[slot] != second:
            self._second[slot], self._counts[slot] = second, 0
        self._counts[slot] += counts

    def seconds(self, now_ns: int) -> NDArray[np.int64]:
        """Return the events of the last 60 whole seconds: shape (60, 3) of new, update, destroy; the newest last."""
        seconds = now_ns // 1_000_000_000 - np.arange(SECONDS, 0, -1)
        slots = seconds % len(self._second)
        return np.where((self._second[slots] == seconds)[:, None], self._counts[slots], 0)

    def last(self, now_ns: int) -> tuple[float, float, float]:
        """Return new, update and destroy events a second, of the last whole second."""
        new, update, destroy = self.seconds(now_ns)[-1].tolist()
        return new, update, destroy
