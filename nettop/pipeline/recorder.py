"""The tee into a recording: a thread of its own, and a bounded queue that counts what it drops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from nettop.batch import Batch, Counter64, Counters, Gap, Item
from nettop.errors import NettopError
from nettop.kinds import GapReason
from nettop.pipeline.handoff import Handoff
from nettop.pipeline.keyframes import KEYFRAME_EVERY_NS, Keyframes

QUEUE_BYTES = 256 << 20
HOLD_S = 0.1  # items of several threads are put in order within this time


class Writer(Protocol):
    """What the recorder needs of recording.writer."""

    def write(self, items: Iterable[Item]) -> None:
        """Append items in order."""
        ...

    def close(self) -> None:
        """Write the closing statistics and let go of the output."""
        ...


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
        self._queue = Handoff(QUEUE_BYTES, GapReason.RECORDER)
        self._keyframes = Keyframes(keyframe_every_ns)
        self._held: list[Item] = []
        self._horizon = -1  # the highest seq of the turn before: what is below it has had its time to come
        self._highest = -1
        self._closing = False
        self._failure: NettopError | None = None
        self.records: dict[int, int] = {}  # stream → records written
        self.gaps: list[Gap] = []  # what the queue had no room for, a Gap a stream
        self.totals: dict[int, Counters] = {}  # stream → the kernel's last word on it
        self._thread = threading.Thread(target=self._run, name="nettop-recorder", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str:
        """Why nothing is written any more, in one line; "" while all is well."""
        return str(self._failure) if self._failure is not None else ""

    def put(self, items: Iterable[Item], wait: bool = False) -> None:
        """Called by source threads; never blocks unless told to. After a failure nothing is kept."""
        if self._failure is None:
            self._queue.put(items, wait)

    def keyframe(self) -> None:
        """The next dump of each kind is written whole."""
        if self._failure is None:
            self._queue.call(self._keyframes.ask)

    def close(self) -> None:
        """Write everything that was put, then the closing statistics. Raises the NettopError that writing ended in."""
        self._closing = True
        self._queue.flush()
        self._queue.close()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            self._writer.close()
        except NettopError as error:
            self._give_up(error)
        except Exception as error:  # a bug: say so, rather than pretend to record
            self._give_up(NettopError(f"internal error while recording, please report it: {error!r}"))

    def _give_up(self, error: NettopError) -> None:
        """From now on nothing is kept; what was written is whole, and ends properly if it can."""
        self._failure = error
        with suppress(NettopError, OSError):
            self._writer.close()
        self._queue.close()
        while self._queue.take(0, most=4096)[1]:
            pass
        if self._failed is not None:
            self._failed(str(error))

    def _turn(self) -> bool:
        """Take for a moment, then write what came before it. False when closing and everything is written."""
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
        self._write(everything=closing)
        return not closing

    def _collect(self, timeout: float) -> bool:
        calls, items = self._queue.take(timeout, most=4096)
        for call in calls:
            call()
        for item in items:
            self._highest = max(self._highest, item.seq)
        self._held += items
        return bool(items)

    def _write(self, everything: bool) -> None:
        """Write what is held, in order, up to the horizon: another thread may still be about to put what is below."""
        self._held.sort(key=lambda item: item.seq)
        due = [item for item in self._held if everything or item.seq <= self._horizon]
        self._held = self._held[len(due) :]
        self._horizon = self._highest
        self._writer.write([item for item in due if self._noted(item)])

    def _lost(self, gap: Gap) -> None:
        before = next((known for known in self.gaps if known.stream == gap.stream), None)
        if before is not None:
            self.gaps.remove(before)
            gap = replace(gap, lost=(before.lost or 0) + (gap.lost or 0), from_ns=before.from_ns)
        self.gaps.append(gap)

    def _noted(self, item: Item) -> bool:
        """Whether the item is written; keeps count of what is."""
        if isinstance(item, Counters):
            self.totals[item.stream] = item
        elif isinstance(item, Gap) and item.why is GapReason.RECORDER:
            self._lost(item)
        wanted = self._keyframes.wanted(item)
        if wanted and isinstance(item, Batch):
            self.records[item.stream] = self.records.get(item.stream, 0) + len(item)
        return wanted
