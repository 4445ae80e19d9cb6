"""Events by second and kind, for the last minute."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SECONDS = 60  # kept
_KINDS = 3  # new, update, destroy


class EventRates:
    """Counts events as they are applied."""

    def __init__(self) -> None:
        self._counts = np.zeros((SECONDS + 1, _KINDS), np.int64)
        self._second = np.full(SECONDS + 1, -1, np.int64)

    def add(self, now_ns: int, counts: NDArray[Any]) -> None:
        """So many new, update and destroy events now."""
        second = now_ns // 1_000_000_000
        place = second % len(self._second)
        if self._second[place] != second:
            self._second[place], self._counts[place] = second, 0
        self._counts[place] += counts

    def seconds(self, now_ns: int) -> NDArray[np.int64]:
        """Events of the last 60 whole seconds: shape (60, 3), the newest last."""
        wanted = now_ns // 1_000_000_000 - np.arange(SECONDS, 0, -1)
        places = wanted % len(self._second)
        return np.where((self._second[places] == wanted)[:, None], self._counts[places], 0)

    def last(self, now_ns: int) -> tuple[float, float, float]:
        """New, update and destroy events a second, of the last whole second."""
        new, update, destroy = self.seconds(now_ns)[-1].tolist()
        return new, update, destroy
