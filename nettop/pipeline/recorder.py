"""The tee into a recording: a thread of its own, a bounded queue that counts what it drops, and keyframes by choice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from nettop.batch import Batch, Counter64, Counters, DumpMark, Item, NetlinkMeta, StreamAdded
from nettop.errors import NettopError
from nettop.pipeline.handoff import Handoff

QUEUE_BYTES = 256 << 20
HOLD_S = 0.1  # items of several threads are put in order within this time
KEYFRAME_EVERY_NS = 300_000_000_000
_EARLY = 10  # a dump may come this part of the period early: polls are never quite regular
# dumps that are keyframes, not every one of them
POLLED = frozenset({"conntrack", "ctstats", "nft-chains", "nft-rules", "nft-objects"})


class Writer(Protocol):
    """What the recorder needs of recording.writer."""

    def write(self, items: Iterable[Item]) -> None:
        """Append items in order."""
        ...

    def close(self) -> None:
        """Write the closing statistics and let go of the output."""
        ...


class Keyframes:
    """Decides which dumps of a stream are written: the first, those asked for, and one every few minutes."""

    def __init__(self, every_ns: int = KEYFRAME_EVERY_NS) -> None:
        self._every_ns = every_ns - every_ns // _EARLY
        self._last: dict[tuple[int, str], int] = {}
        self._open: dict[int, bool] = {}  # stream → whether the dump under way is written

    def ask(self) -> None:
        """Write the next dump of every stream, as after a Gap."""
        self._last.clear()

    def wanted(self, item: Item) -> bool:
        """Whether the item belongs in the recording."""
        if isinstance(item, DumpMark):
            return self._mark(item)
        if isinstance(item, Batch) and isinstance(item.meta, NetlinkMeta) and item.stream in self._open:
            return self._open[item.stream]
        return True

    def _mark(self, mark: DumpMark) -> bool:
        if not mark.begin:
            return self._open.pop(mark.stream, True)
        key = (mark.stream, mark.what)
        last = self._last.get(key)
        write = mark.what not in POLLED or last is None or mark.ts_ns - last >= self._every_ns
        if write:
            self._last[key] = mark.ts_ns
        self._open[mark.stream] = write
        return write


class Recorder:
    """Writes what is put, in the order of seq. `failed` is called once, with one line, when that is not possible."""

    def __init__(
        self,
        writer: Writer,
        seq: Counter64,
        failed: Callable[[str], None] | None = None,
        keyframe_every_ns: int = KEYFRAME_EVERY_NS,
    ) -> None:
        self._writer = writer
        self._seq = seq
        self._failed = failed
        self._queue = Handoff(QUEUE_BYTES)
        self._keyframes = Keyframes(keyframe_every_ns)
        self._held: list[Item] = []
        self._closing = False
        self.error = ""
        self.records: dict[int, int] = {}  # stream → records written
        self.streams: dict[int, StreamAdded] = {}
        self.totals: dict[int, Counters] = {}  # stream → the kernel's last word on it
        self._thread = threading.Thread(target=self._run, name="nettop-recorder", daemon=True)
        self._thread.start()

    def put(self, items: Iterable[Item], wait: bool = False) -> None:
        """Called by source threads; never blocks unless told to."""
        self._queue.put(items, wait)

    def keyframe(self) -> None:
        """The next dump of each stream is written whole."""
        self._queue.call(self._keyframes.ask)

    def close(self) -> None:
        """Write everything that was put, then the closing statistics. NettopError when writing failed."""
        self._closing = True
        self._queue.flush()
        self._queue.close()
        self._thread.join()
        if self.error:
            raise NettopError(self.error)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            self._writer.close()
        except NettopError as error:
            self.error = str(error)
            self._queue.close()
            if self._failed is not None:
                self._failed(self.error)
            while not self._closing:  # let sources go on; what they put is no longer written
                self._queue.take(1.0)

    def _turn(self) -> bool:
        """Take, hold for a moment, sort, write. False when closing and everything is written."""
        closing = self._closing
        began = time.monotonic()
        left = HOLD_S
        while left > 0 and not closing:
            self._collect(left)
            closing = self._closing
            left = HOLD_S - (time.monotonic() - began)
        if closing:
            while self._collect(0):
                pass
        self._held.sort(key=lambda item: item.seq)
        self._writer.write([item for item in self._held if self._noted(item)])
        self._held.clear()
        return not closing

    def _collect(self, timeout: float) -> bool:
        calls, items = self._queue.take(timeout, most=4096)
        for call in calls:
            call()
        self._held += items
        return bool(items)

    def _noted(self, item: Item) -> bool:
        """Whether the item is written; keeps count of what is."""
        if isinstance(item, StreamAdded):
            self.streams[item.stream.id] = item
        elif isinstance(item, Counters):
            self.totals[item.stream] = item
        wanted = self._keyframes.wanted(item)
        if wanted and isinstance(item, Batch):
            self.records[item.stream] = self.records.get(item.stream, 0) + len(item)
        return wanted
