"""The bounded hand-off from source threads to one consumer. Records that do not fit are counted in a Gap."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from nettop.batch import Batch, DumpMark, Gap, Item, NetlinkMeta
from nettop.kinds import GapReason

Call = Callable[[], None]


def _weight(item: Item) -> int:
    """Return the bytes that an item occupies: its buffer and its columns."""
    return len(item.buf) + 32 * len(item) if isinstance(item, Batch) else 256


class Handoff:
    """Items and calls for one consumer thread. Sources that can wait do; others lose batches beyond `limit` bytes.

    Nothing is lost silently: the next item of a stream with dropped batches follows a Gap with the exact count.
    Sources that wait fill an eighth of the limit at most: a dump must not make events get lost, and a file must not
    fill memory because it is read faster than shown (280 instead of 140 MB for a million packets).
    """

    def __init__(self, limit: int, reason: GapReason = GapReason.QUEUE) -> None:
        self._limit = limit
        self._wait_above = limit // 8
        self._reason = reason
        self._items: deque[Item] = deque()
        self._calls: deque[Call] = deque()
        self._bytes = 0
        self._dropped: dict[int, Gap] = {}  # by stream, of records since its last item that did fit
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._drained = threading.Condition(lock)

    def put(self, items: Iterable[Item], wait: bool) -> None:
        """Add items in order. With `wait`, block while the hand-off is full; without, drop batches and count them.

        The begin mark of a dump does not wake the consumer: its answers follow at once.
        """
        wake = False
        with self._filled:
            for item in items:
                while wait and self._bytes > self._wait_above and not self._closed:
                    self._filled.notify()  # perhaps all its items are from this call
                    self._drained.wait()
                if not wait and isinstance(item, Batch) and self._bytes > self._limit:
                    self._drop(item)
                else:
                    self._add(item)
                    wake = wake or not (isinstance(item, DumpMark) and item.begin)
            if wake:
                self._filled.notify()

    def call(self, call: Call) -> None:
        """Have the consumer's thread run `call` before its next items."""
        with self._filled:
            self._calls.append(call)
            self._filled.notify()

    def get(self, timeout: float | None, max_items: int = 64) -> tuple[list[Call], list[Item]]:
        """Return all calls and up to `max_items` items as soon as there is any, or after `timeout` seconds."""
        with self._filled:
            if not self._items and not self._calls and not self._closed:
                self._filled.wait(timeout)
            calls = list(self._calls)
            self._calls.clear()
            items = [self._items.popleft() for _ in range(min(max_items, len(self._items)))]
            self._bytes -= sum(map(_weight, items))
            self._drained.notify_all()
            return calls, items

    def has_calls(self) -> bool:
        """Return whether a call is queued, which a consumer should run between two items."""
        return bool(self._calls)

    def close(self) -> None:
        """Wake every waiting thread. From now on items are still added, but put() does not block."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._drained.notify_all()

    def flush(self) -> None:
        """Put the Gaps of streams that have sent no item since their last dropped batch."""
        with self._filled:
            for stream in list(self._dropped):
                self._add(self._dropped.pop(stream))
            self._filled.notify()

    def _add(self, item: Item) -> None:
        stream = getattr(item, "stream", None)
        if isinstance(stream, int) and stream in self._dropped:
            self._add(self._dropped.pop(stream))
        self._items.append(item)
        self._bytes += _weight(item)

    def _drop(self, batch: Batch) -> None:
        if not len(batch):
            return
        first, last = int(batch.ts_ns[0]), int(batch.ts_ns[-1])
        lost = len(batch)
        if isinstance(batch.meta, NetlinkMeta):  # our own requests do not count as lost
            lost -= int(batch.meta.outgoing.sum())
        gap = self._dropped.get(batch.stream) or Gap(batch.stream, batch.seq, 0, self._reason, first, last)
        self._dropped[batch.stream] = replace(gap, lost=(gap.lost or 0) + lost, to_ns=last)
