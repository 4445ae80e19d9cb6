"""The copy of all items into a recording: a thread with a bounded queue that counts what it drops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from nettop.batch import Batch, Counter64, Gap, Item
from nettop.errors import NettopError
from nettop.kinds import GapReason
from nettop.pipeline.handoff import Handoff
from nettop.pipeline.keyframes import KEYFRAME_EVERY_NS, Keyframes
from nettop.recording.rotation import RecordingFiles
from nettop.recording.writer import RecordingWriter

QUEUE_BYTES = 256 << 20
REORDER_S = 0.1  # items of several threads are sorted within this time


class Recorder:
    """Writes items in the order of seq. `on_failure` is called once, with one line, when writing fails."""

    def __init__(
        self,
        writer: RecordingWriter | RecordingFiles,
        seq: Counter64,
        on_failure: Callable[[str], None] | None = None,
        keyframe_every_ns: int = KEYFRAME_EVERY_NS,
    ) -> None:
        self._writer = writer
        self._seq = seq
        self._on_failure = on_failure
        self._queue = Handoff(QUEUE_BYTES, GapReason.RECORDER)
        self._keyframes = Keyframes(keyframe_every_ns)
        self._buffer: list[Item] = []
        self._horizon = -1  # the highest seq of the turn before: items below it have all come
        self._highest = -1
        self._closing = threading.Event()
        self._failure: NettopError | None = None
        self.records: dict[int, int] = {}  # stream → records written
        self.gaps: list[Gap] = []  # records that the queue dropped: one Gap for each stream
        self._thread = threading.Thread(target=self._run, name="nettop-recorder", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str:
        """The error that ended writing, in one line; "" if there is none."""
        return str(self._failure) if self._failure is not None else ""

    def put(self, items: Iterable[Item]) -> None:
        """Queue items, from any thread, without blocking. After a failure items are discarded."""
        if self._failure is None:
            self._queue.put(items, wait=False)

    def keyframe(self) -> None:
        """Have the next dump of each kind written."""
        if self._failure is None:
            self._queue.call(self._keyframes.request)

    def close(self) -> None:
        """Write all queued items and the closing statistics. Raises the NettopError that ended writing."""
        self._closing.set()
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
            self._abandon(error)
        except Exception as error:  # a bug: report it rather than pretend to record
            self._abandon(NettopError(f"internal error while recording, please report it: {error!r}"))

    def _abandon(self, error: NettopError) -> None:
        """Discard items from now on, and close the output properly if possible."""
        self._failure = error
        with suppress(NettopError, OSError):
            self._writer.close()
        self._queue.close()
        while self._queue.get(0, max_items=4096)[1]:
            pass
        if self._on_failure is not None:
            self._on_failure(str(error))

    def _turn(self) -> bool:
        """Let items arrive for REORDER_S, then write those of the turn before. False: closing, and all is written."""
        closing = self._closing.wait(REORDER_S)
        while self._collect():
            pass
        self._write(everything=closing)
        return not closing

    def _collect(self) -> bool:
        calls, items = self._queue.get(0, max_items=4096)
        for call in calls:
            call()
        for item in items:
            self._highest = max(self._highest, item.seq)
        self._buffer += items
        return bool(items)

    def _write(self, everything: bool) -> None:
        """Write the collected items in order, up to the horizon: above it another thread may still put lower ones."""
        self._buffer.sort(key=lambda item: item.seq)
        due = [item for item in self._buffer if everything or item.seq <= self._horizon]
        self._buffer = self._buffer[len(due) :]
        self._horizon = self._highest
        self._writer.write([item for item in due if self._book(item)])

    def _add_gap(self, gap: Gap) -> None:
        before = next((known for known in self.gaps if known.stream == gap.stream), None)
        if before is not None:
            self.gaps.remove(before)
            gap = replace(gap, lost=(before.lost or 0) + (gap.lost or 0), from_ns=before.from_ns)
        self.gaps.append(gap)

    def _book(self, item: Item) -> bool:
        """Return whether the item is to be written, and count it."""
        if isinstance(item, Gap) and item.why is GapReason.RECORDER:
            self._add_gap(item)
        written = self._keyframes.includes(item)
        if written and isinstance(item, Batch):
            self.records[item.stream] = self.records.get(item.stream, 0) + len(item)
        return written
