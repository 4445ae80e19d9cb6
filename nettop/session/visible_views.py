"""The visible views: those that were requested within the last seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

VISIBLE_S = 5.0  # since its last request a view counts as visible; screens request it at least every 2 s


class VisibleViews:
    """Views requested within the last VISIBLE_S seconds. From any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def add(self, view: str) -> bool:
        """Note a request of this view. Return whether it was not visible before."""
        now = self._clock()
        before = self._last.get(view)
        self._last[view] = now
        return before is None or now - before > VISIBLE_S

    def now(self) -> frozenset[str]:
        """Return the visible views."""
        now = self._clock()
        return frozenset(view for view, last in list(self._last.items()) if now - last <= VISIBLE_S)
