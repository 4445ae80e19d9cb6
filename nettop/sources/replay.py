"""A capture or recording as a source: with its original pacing, faster or slower, or as fast as it goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nettop.batch import Batch, Counter64, Counters, DumpMark, End, Gap, Item, StreamAdded, Text, select_rows
from nettop.recording.reader import CaptureReader, open_reader
from nettop.recording.records import Numbering

SLICE_NS = 50_000_000  # of recorded time: a paced batch spans at most this
LONGEST_WAIT_NS = 10_000_000_000  # real time; a longer silence in a recording is cut to this
_SILENT = 1 << 62
_FOLLOW_NS = 100_000_000  # how often a followed file is looked at when it has nothing new


class ReplaySource:
    """Implements batch.Source over a file. Opening raises InputError where the file is no capture. `fd`: it is open.

    `speed` is how many recorded seconds pass in a second, None for no pacing. Times between batches count; a record
    stamped before its predecessor comes right after it. All methods belong to the source's thread, but for pause
    and resume, which any thread may call (they take effect at the next read or due_ns).
    """

    def __init__(
        self,
        file: str,
        speed: float | None = None,
        *,
        counter: Counter64,
        stream_id: Callable[[], int],
        follow: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
        fd: int | None = None,
    ) -> None:
        self.name = file
        self.ended = False
        self._next = counter.next
        self._clock = clock
        self._reader: CaptureReader = open_reader(
            file, Numbering(Counter64().next, stream_id, file), follow=follow, fd=fd
        )
        self._waiting: deque[Item] = deque()
        self._speed = speed
        self._paused = False
        self._follow = follow
        self._at_end = False  # of a file that is followed, for now
        self._anchor: tuple[int, int] | None = None  # the clock's time, and the recorded time that it stands for

    def pause(self) -> None:
        """Nothing more is given until resume(); recorded time stands still."""
        self._reanchor()
        self._paused = True

    def resume(self) -> None:
        """Goes on where pause() stopped."""
        if self._paused:
            self._paused = False
            if self._anchor is not None:
                self._anchor = (self._clock(), self._anchor[1])

    def fileno(self) -> int | None:
        """The pipe to wait on, when more must be read from one; None for a file, a pause, or items that wait."""
        return None if self._reader.ready or self._waiting or self._paused else self._reader.fileno()

    def due_ns(self) -> int | None:
        """When read() has something to give, on the clock; None while paused or waiting for a pipe."""
        if self._paused or self.ended:
            return None
        if self._waiting:
            return self._due(self._waiting[0], self._clock())
        if not self._reader.ready:
            return None
        return self._clock() + (_FOLLOW_NS if self._at_end else 0)

    def read(self, max_bytes: int) -> list[Item]:
        """Items that are due, up to about max_bytes (a whole chunk of the file at least when there is no pacing)."""
        given: list[Item] = []
        size = 0
        if not (self._waiting or self._paused or self.ended):
            self._fill()
        while not self.ended and not self._paused and size < max_bytes:
            item = self._take()
            if item is None:
                break
            given.append(replace(item, seq=self._next()))
            size += _weight(item)
            self.ended = isinstance(item, End) and item.stream is None
        return given

    def losses(self) -> list[Item]:
        """Nothing: a recording's gaps and counters stand among its items."""
        return []

    def close(self) -> None:
        """Lets go of the file."""
        self._reader.close()

    def _take(self) -> Item | None:
        """The next item if it is due, or the part of it that is."""
        if not self._waiting and not (self._reader.ready and self._fill()):
            return None
        now = self._clock()
        if self._speed is not None and self._due(self._waiting[0], now) > now:
            return None
        item = self._waiting.popleft()
        if self._speed is None or not isinstance(item, Batch):
            return item
        return self._split(item, self._recorded(now))

    def _fill(self) -> bool:
        """Reads on; whether anything waits then."""
        self._waiting.extend(self._reader.read())
        self._at_end = self._follow and not self._waiting
        return bool(self._waiting)

    def _split(self, batch: Batch, until_ns: int) -> Batch:
        """The leading rows that are due and within SLICE_NS; the others wait."""
        stamps = np.maximum.accumulate(batch.ts_ns)
        until = max(int(stamps[0]), min(until_ns, int(stamps[0]) + SLICE_NS))
        rows = int(np.searchsorted(stamps, until, side="right"))
        stepped_back = np.flatnonzero(stamps[:rows] - batch.ts_ns[:rows] > LONGEST_WAIT_NS)
        rows = int(stepped_back[0]) if len(stepped_back) else rows
        if rows < len(batch):
            self._waiting.appendleft(select_rows(batch, slice(rows, len(batch))))
        return select_rows(batch, slice(0, rows))

    def _due(self, item: Item, now: int) -> int:
        """When the item is due on the clock, which says `now`. A silence, or a step back, beyond LONGEST_WAIT_NS moves
        the anchor."""
        stamp = _stamp(item)
        if self._speed is None or stamp is None:
            return now
        if self._anchor is None:
            self._anchor = (now, stamp)
        due = self._anchor[0] + int(max(-_SILENT, min((stamp - self._anchor[1]) / self._speed, _SILENT)))
        if abs(due - now) > LONGEST_WAIT_NS:
            due = now + LONGEST_WAIT_NS if due > now else now
            self._anchor = (due, stamp)
        return due

    def _recorded(self, now: int) -> int:
        """The recorded time that the clock's `now` stands for."""
        if self._anchor is None or self._speed is None:
            return 0
        return self._anchor[1] + int((now - self._anchor[0]) * self._speed)

    def _reanchor(self) -> None:
        if not self._paused and self._anchor is not None:
            now = self._clock()
            self._anchor = (now, self._recorded(now))


def _stamp(item: Item) -> int | None:
    """When the item was recorded; None for those that come with their neighbours, or without a time."""
    match item:
        case Batch():
            stamp = int(item.ts_ns[0]) if len(item) else 0
        case DumpMark() | Text() | Counters():
            stamp = item.ts_ns
        case Gap():
            stamp = item.to_ns
        case StreamAdded() | End():
            stamp = 0
    return stamp if stamp > 0 else None


def _weight(item: Item) -> int:
    """Bytes of an item against read()'s limit; a mark counts a little, so that many of them end a read too."""
    if isinstance(item, Batch):
        return int(item.caplen.sum()) + 64
    return (len(item.body) if isinstance(item, Text) else 0) + 64
