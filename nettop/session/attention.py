"""The views that somebody looks at: those that were asked for a moment ago."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_S = 5.0  # a view on the screen is asked for every two seconds at least


class Attention:
    """What was looked at within the last LOOK_S seconds. From any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def look(self, at: str) -> bool:
        """Somebody looks at this; returns whether nobody did before."""
        now = self._clock()
        before = self._last.get(at)
        self._last[at] = now
        return before is None or now - before > LOOK_S

    def now(self) -> frozenset[str]:
        """All that is looked at now."""
        now = self._clock()
        return frozenset(at for at, last in list(self._last.items()) if now - last <= LOOK_S)
