"""The threads of one run: sources put items into the hand-off to the consumer, and the recorder gets a copy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from nettop.batch import Counter64, End, Item, Source, StreamAdded
from nettop.pipeline.handoff import Handoff
from nettop.pipeline.source_thread import SourceThread

if TYPE_CHECKING:
    from nettop.pipeline.recorder import Recorder

QUEUE_BYTES = 192 << 20

Tap = Callable[[list[Item]], list[Item]]


class Plumbing:
    """Owns the source threads, the hand-off and, during a recording, the recorder.

    `tap` gets the items of sources first and may drop some: on their threads, one call at a time.
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
        self._lock = threading.Lock()  # of the tap, the recorder, the streams that it begins with, and the threads
        self._streams: dict[int, StreamAdded] = {}  # of running sources
        self._threads: list[SourceThread] = []
        self._halted = False

    def start(
        self,
        source: Source,
        name: str,
        wait: bool = False,
        gather_ns: int = 0,
        drain_ns: int | None = None,
        stream: int | None = None,
        listens: bool = True,
    ) -> SourceThread:
        """Run a source on a thread of its own. `wait`: a slow consumer delays it, so that it loses nothing.

        After halt() it is only closed, on that thread.
        """
        thread = SourceThread(
            source, partial(self.put, wait=wait), self.seq, name, gather_ns, drain_ns, stream, listens
        )
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            if self._halted:
                thread.stop()
            thread.start()
        return thread

    def put(self, items: list[Item], wait: bool) -> None:
        """Put items into the recorder and the hand-off."""
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
        """Copy everything from now on to this recorder, beginning with the running streams."""
        with self._lock:
            recorder.put(self._streams.values())
            self._recorder = recorder

    def stop_recording(self) -> Recorder | None:
        """Stop copying and return the recorder, for the caller to close."""
        with self._lock:
            recorder, self._recorder = self._recorder, None
            return recorder

    def alive(self) -> bool:
        """Return whether any source still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def stop(self, threads: Iterable[SourceThread]) -> None:
        """End these sources and wait for them. The items that they have put are kept."""
        threads = list(threads)
        for thread in threads:
            thread.stop()
        for thread in threads:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join()
        with self._lock:
            for thread in threads:
                if thread.stream is not None:
                    self._streams.pop(thread.stream, None)

    def halt(self) -> None:
        """Stop every source without waiting, so that the caller can close the broker, which they may wait for."""
        with self._lock:
            self._halted = True
            threads = self._threads
        self.handoff.close()
        for thread in threads:
            thread.stop()

    def close(self) -> None:
        """End every source. From now on nothing blocks in the hand-off."""
        self.halt()
        self.stop(self._threads)
