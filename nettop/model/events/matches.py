"""The events that match a filter. Each event is tested once, when the matches are next requested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.model.events.ring import EVENT_GAP, EventRing, FrozenRing
from nettop.model.filter.expression import Filter
from nettop.model.flows.fields import FlowFields

Fields = Callable[[dict[str, Array]], FlowFields]


class Matches:
    """The numbers of the rows that match. Only rows added since the last call are tested."""

    def __init__(self) -> None:
        self._text = ""
        self._numbers = np.empty(0, np.int64)
        self._tested = 0
        self._frozen: FrozenRing | None = None
        self._overwritten = 0  # matches added after the freeze, and overwritten since

    def numbers(
        self, ring: EventRing | FrozenRing, display_filter: Filter | None, fields: Fields
    ) -> NDArray[np.int64] | range:
        """Return the numbers of the matching rows of a ring or of its frozen view."""
        if display_filter is None:
            return range(ring.start, ring.end)
        if self._text != display_filter.text:
            self._text, self._numbers, self._tested = display_filter.text, np.empty(0, np.int64), ring.start
            self._overwritten = 0
        self._test(ring, display_filter, fields)
        self._numbers = self._numbers[np.searchsorted(self._numbers, ring.start) :]
        return self._numbers[: np.searchsorted(self._numbers, ring.end)]

    def arrived(self, ring: EventRing, display_filter: Filter | None, fields: Fields) -> int:
        """Return how many rows added since the freeze match; rows overwritten untested are left out."""
        frozen = ring.frozen
        if frozen is not self._frozen:
            self._frozen, self._overwritten = frozen, 0
        if frozen is None or display_filter is None:
            return 0 if frozen is None else frozen.since
        self._test(ring, display_filter, fields)
        after, first_kept = np.searchsorted(self._numbers, [frozen.end, max(frozen.end, ring.start)])
        self._overwritten += int(first_kept - after)
        self._numbers = np.delete(self._numbers, slice(after, first_kept))
        return self._overwritten + len(self._numbers) - int(after)

    def count(self, ring: EventRing) -> int:
        """Return how many rows of the ring match."""
        return len(self._numbers) - int(np.searchsorted(self._numbers, ring.start))

    def _test(self, ring: EventRing | FrozenRing, display_filter: Filter, fields: Fields) -> None:
        first = max(self._tested, ring.start)
        if first < ring.end:
            rows = ring.rows(first, ring.end)
            mask = display_filter.mask(fields(rows)) | (rows["event"] == EVENT_GAP)  # a loss is always shown
            self._numbers = np.concatenate([self._numbers, first + mask.nonzero()[0]])
            self._tested = ring.end

    def hidden(self, ring: EventRing) -> Counter[int]:
        """Return, by namespace, how many tested events of the ring do not match."""
        untested = np.arange(max(ring.start, self._tested), ring.end)
        matched = self._numbers[np.searchsorted(self._numbers, ring.start) :]
        kept = ring.added - ring.evicted
        return kept - ring.events_by_netns(untested) - ring.events_by_netns(matched)
