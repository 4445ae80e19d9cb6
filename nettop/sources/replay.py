"""A source that reads a capture or recording: at its original pace, faster, slower, or as fast as possible."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nettop.batch import Batch, Counter64, End, Item, Text, item_time, select_rows
from nettop.recording.reader import CaptureReader, open_reader
from nettop.recording.records import Numbering

SLICE_NS = 50_000_000  # of recorded time: a paced batch spans at most this
MAX_WAIT_NS = 10_000_000_000  # real time; a longer silence in a recording is cut to this
_MAX_STEP_NS = 1 << 62


class ReplaySource:
    """A batch.Source over a file, or over `fd` if it is open already. Raises InputError if the file is no capture.

    `speed` is how many recorded seconds pass in a second; None: no pacing. A record stamped before its predecessor
    comes right after it. All methods belong to the source's thread, except pause: any thread may call it,
    and it takes effect at the next read or due_ns.
    """

    def __init__(
        self,
        file: str,
        speed: float | None = None,
        *,
        counter: Counter64,
        stream_id: Callable[[], int],
        clock: Callable[[], int] = time.monotonic_ns,
        fd: int | None = None,
    ) -> None:
        self.name = file
        self.ended = False
        self._next = counter.next
        self._clock = clock
        slice_ns = None if speed is None else SLICE_NS
        numbering = Numbering(Counter64().next, stream_id, file, slice_ns=slice_ns)
        self._reader: CaptureReader = open_reader(file, numbering, fd=fd)
        self._queue: deque[Item] = deque()
        self._speed = speed
        self._paused = False
        self._anchor: tuple[int, int] | None = None  # a time of the clock, and the recorded time then

    def pause(self, on: bool) -> None:
        """Stop recorded time, so that read() returns nothing; or continue where it was stopped."""
        if on != self._paused and self._anchor is not None:
            now = self._clock()
            self._anchor = (now, self._recorded(now) if on else self._anchor[1])
        self._paused = on

    def fileno(self) -> int | None:
        """Return the pipe to wait on; None for a file, while paused, and while items are queued."""
        return None if self._reader.ready or self._queue or self._paused else self._reader.fileno()

    def due_ns(self) -> int | None:
        """Return the clock's time at which read() has items; None while paused or waiting for a pipe."""
        if self._paused or self.ended:
            return None
        if self._queue:
            return self._due(self._queue[0], self._clock())
        return self._clock() if self._reader.ready else None

    def read(self, max_bytes: int) -> list[Item]:
        """Return the items that are due, up to about max_bytes (without pacing, at least a whole chunk of the file)."""
        items: list[Item] = []
        size = 0
        if not (self._queue or self._paused or self.ended):
            self._fill()
        while not self.ended and not self._paused and size < max_bytes:
            item = self._next_due()
            if item is None:
                break
            items.append(replace(item, seq=self._next()))
            size += _size(item)
            self.ended = isinstance(item, End) and item.stream is None
        return items

    def losses(self) -> list[Item]:
        """Return nothing: a recording's gaps and counters are among its items."""
        return []

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def _next_due(self) -> Item | None:
        """Return the next item if it is due, or the part of it that is."""
        if not self._queue and not (self._reader.ready and self._fill()):
            return None
        now = self._clock()
        if self._speed is not None and self._due(self._queue[0], now) > now:
            return None
        item = self._queue.popleft()
        if self._speed is None or not isinstance(item, Batch):
            return item
        return self._split(item, self._recorded(now))

    def _fill(self) -> bool:
        """Read the next chunk. Return whether any item is queued afterwards."""
        self._queue.extend(self._reader.read())
        return bool(self._queue)

    def _split(self, batch: Batch, until_ns: int) -> Batch:
        """Return the leading rows that are due and within SLICE_NS. The others go back to the queue."""
        stamps = np.maximum.accumulate(batch.ts_ns)
        until = max(int(stamps[0]), min(until_ns, int(stamps[0]) + SLICE_NS))
        rows = int(np.searchsorted(stamps, until, side="right"))
        stepped_back = np.flatnonzero(stamps[:rows] - batch.ts_ns[:rows] > MAX_WAIT_NS)
        rows = int(stepped_back[0]) if len(stepped_back) else rows
        if rows < len(batch):
            self._queue.appendleft(select_rows(batch, slice(rows, len(batch))))
        return select_rows(batch, slice(0, rows))

    def _due(self, item: Item, now: int) -> int:
        """Return the clock's time at which the item is due. A gap or step back above MAX_WAIT_NS moves the anchor."""
        stamp = _timestamp(item)
        if self._speed is None or stamp is None:
            return now
        if self._anchor is None:
            self._anchor = (now, stamp)
        due = self._anchor[0] + int(max(-_MAX_STEP_NS, min((stamp - self._anchor[1]) / self._speed, _MAX_STEP_NS)))
        if abs(due - now) > MAX_WAIT_NS:
            due = now + MAX_WAIT_NS if due > now else now
            self._anchor = (due, stamp)
        return due

    def _recorded(self, now: int) -> int:
        """Return the recorded time at the clock's time `now`."""
        if self._anchor is None or self._speed is None:
            return 0
        return self._anchor[1] + int((now - self._anchor[0]) * self._speed)


def _timestamp(item: Item) -> int | None:
    """Return the time at which the item was recorded; None if it has none."""
    first = int(item.ts_ns[0]) if isinstance(item, Batch) and len(item) else None
    stamp = item_time(item) if first is None else first
    return stamp if stamp is not None and stamp > 0 else None


def _size(item: Item) -> int:
    """Return the bytes of an item. A mark counts 64, so that many of them reach read()'s limit too."""
    if isinstance(item, Batch):
        return int(item.caplen.sum()) + 64
    return (len(item.body) if isinstance(item, Text) else 0) + 64
