"""Which events match a filter: what came since the last look is tested, and nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.model.events.ring import EVENT_GAP, EventRing, HeldRing
from nettop.model.filter.expression import Filter
from nettop.model.flows.fields import FlowFields

Fields = Callable[[dict[str, Array]], FlowFields]


class Matches:
    """The numbers of the rows that match; only rows that came since the last look are tested."""

    def __init__(self) -> None:
        self._of = ""
        self._numbers = np.empty(0, np.int64)
        self._tested = 0
        self._held: HeldRing | None = None
        self._gone = 0  # matches that came after the rows held, and made room since

    def numbers(self, ring: EventRing | HeldRing, wanted: Filter | None, fields: Fields) -> NDArray[np.int64] | range:
        """Of a ring's rows, or of those that are held of it."""
        if wanted is None:
            return range(ring.start, ring.end)
        if self._of != wanted.text:
            self._of, self._numbers, self._tested = wanted.text, np.empty(0, np.int64), ring.start
            self._gone = 0
        self._test(ring, wanted, fields)
        self._numbers = self._numbers[np.searchsorted(self._numbers, ring.start) :]
        return self._numbers[: np.searchsorted(self._numbers, ring.end)]

    def came(self, ring: EventRing, wanted: Filter | None, fields: Fields) -> int:
        """How many rows came and match since rows of this ring are held; those that went unseen are not counted."""
        held = ring.held
        if held is not self._held:
            self._held, self._gone = held, 0
        if held is None or wanted is None:
            return 0 if held is None else held.since
        self._test(ring, wanted, fields)
        after, kept = np.searchsorted(self._numbers, [held.end, max(held.end, ring.start)])
        self._gone += int(kept - after)
        self._numbers = np.delete(self._numbers, slice(after, kept))
        return self._gone + len(self._numbers) - int(after)

    def kept(self, ring: EventRing) -> int:
        """How many rows that the ring still has match."""
        return len(self._numbers) - int(np.searchsorted(self._numbers, ring.start))

    def _test(self, ring: EventRing | HeldRing, wanted: Filter, fields: Fields) -> None:
        first = max(self._tested, ring.start)
        if first < ring.end:
            rows = ring.rows(first, ring.end)
            mask = wanted.mask(fields(rows)) | (rows["event"] == EVENT_GAP)  # a loss is always shown
            self._numbers = np.concatenate([self._numbers, first + mask.nonzero()[0]])
            self._tested = ring.end

    def hidden(self, ring: EventRing) -> Counter[int]:
        """By namespace: the events among the rows tested that did not match."""
        untested = np.arange(max(ring.start, self._tested), ring.end)
        matched = self._numbers[np.searchsorted(self._numbers, ring.start) :]
        kept = ring.taken - ring.evicted
        return kept - ring.events_by_netns(untested) - ring.events_by_netns(matched)
