"""The threads of one run: sources put what they read, the recorder copies it, the consumer takes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial

from nettop.batch import Counter64, End, Item, Source, StreamAdded
from nettop.pipeline.handoff import Handoff
from nettop.pipeline.recorder import Recorder
from nettop.pipeline.source_thread import SourceThread

QUEUE_BYTES = 192 << 20
EVENT_GATHER_NS = 20_000_000  # events of 20 ms make a batch: prompt for a person, dense for NumPy

Tap = Callable[[list[Item]], list[Item]]


class Plumbing:
    """Owns the source threads, the hand-off and, while there is one, the recorder.

    `tap` may look at (and cut) what sources put, before anybody else: on their threads, one call at a time.
    """

    def __init__(
        self,
        tap: Tap | None = None,
        limit: int = QUEUE_BYTES,
        seq: Counter64 | None = None,
        stream_ids: Counter64 | None = None,
    ) -> None:
        self.seq = seq or Counter64()
        self.stream_id = (stream_ids or Counter64()).next
        self.handoff = Handoff(limit)
        self._tap = tap
        self._recorder: Recorder | None = None
        self._lock = threading.Lock()  # of the tap, the recorder and what it must be told first, and the threads
        self._streams: dict[int, StreamAdded] = {}  # of sources that run
        self._threads: list[SourceThread] = []
        self._halted = False

    def start(
        self,
        source: Source,
        name: str,
        wait: bool = False,
        gather_ns: int = 0,
        last_ns: int | None = None,
        stream: int | None = None,
        listens: bool = True,
    ) -> SourceThread:
        """Run a source on a thread of its own. `wait`: it may be held up by a slow consumer, and loses nothing.

        After halt() it is only closed, on that thread.
        """
        thread = SourceThread(source, partial(self.put, wait=wait), self.seq, name, gather_ns, last_ns, stream, listens)
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            if self._halted:
                thread.stop()
            thread.start()
        return thread

    def put(self, items: list[Item], wait: bool) -> None:
        """Tee to the recorder, then hand off."""
        with self._lock:
            if self._tap is not None:
                items = self._tap(items)
            for item in items:
                if isinstance(item, StreamAdded):
                    self._streams[item.stream.id] = item
            if self._recorder is not None:
                self._recorder.put(items)
            for item in items:
                if isinstance(item, End) and item.stream is not None:
                    self._streams.pop(item.stream, None)
        self.handoff.put(items, wait)

    def record(self, recorder: Recorder) -> None:
        """Copy everything from now on to this recorder, beginning with the streams there are."""
        with self._lock:
            recorder.put(self._streams.values())
            self._recorder = recorder

    def stop_recording(self) -> Recorder | None:
        """Copy nothing any more; the recorder that was, to be closed by the caller."""
        with self._lock:
            recorder, self._recorder = self._recorder, None
            return recorder

    def alive(self) -> bool:
        """Whether any source still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def stop(self, threads: Iterable[SourceThread]) -> None:
        """End these sources and wait for them; what they had put stays."""
        threads = list(threads)
        for thread in threads:
            thread.stop()
        for thread in threads:
            self._join(thread)
        with self._lock:
            for thread in threads:
                if thread.stream is not None:
                    self._streams.pop(thread.stream, None)

    def halt(self) -> None:
        """Tell every source to end, and wait for none: whoever they wait for (the broker) can be closed then."""
        with self._lock:
            self._halted = True
            threads = self._threads
        self.handoff.close()
        for thread in threads:
            thread.stop()

    def close(self) -> None:
        """End every source; nobody blocks in the hand-off any more."""
        self.halt()
        self.stop(self._threads)

    @staticmethod
    def _join(thread: SourceThread) -> None:
        if thread is not threading.current_thread() and thread.is_alive():
            thread.join()
