"""The frame of commands on a live namespace: the broker, the signals, and the output."""

from __future__ import annotations

import argparse
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from nettop.batch import End, Item
from nettop.broker.client import Broker
from nettop.broker.options import for_app
from nettop.broker.requests import Netns
from nettop.broker.start import start
from nettop.console import printing
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources

WRITE_BYTES = 1 << 20
WAIT_S = 0.1  # the interval at which a stream without items checks whether to end
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def sources(
    options: argparse.Namespace, plumbing: Plumbing, write: str = "", force: bool = False, read_only: bool = True
) -> Iterator[LiveSources]:
    """Yield the live sources of --netns, in a process that is confined. All threads end afterwards.

    `write` is the file that the broker may create, with `force` also over another one. It changes nothing in the kernel
    if `read_only`.

    When the namespace is deleted or the broker ends, all sources end, and an End has the reason in `error`.
    """
    with (
        start(allowed=for_app(read_only=read_only, write=write, force=force)) as broker,
        sources_of(broker, options.netns, plumbing) as live,
    ):
        yield live


@contextmanager
def sources_of(broker: Broker, netns_spec: str, plumbing: Plumbing) -> Iterator[LiveSources]:
    """Yield the live sources of a namespace; `broker` was started for them, and ends with them."""
    live = LiveSources(broker, broker.netns(netns_spec), plumbing)

    def gone(netns: Netns, reason: str) -> None:  # on the client's reader thread: never blocks
        if netns.handle == live.netns.handle:
            live.halt()
            where = f"namespace {netns.label}: " if netns.label and not broker.ended else ""
            plumbing.put([End(None, plumbing.seq.next(), error=f"{where}{reason}")], wait=False)
        else:
            live.other_gone(netns)

    broker.on_gone = gone
    try:
        yield live
    finally:
        finish(live, plumbing)


def finish(live: LiveSources, plumbing: Plumbing) -> None:
    """End all sources. The broker is closed first, since they may wait for its answer. Items in the queue are kept."""
    live.broker.on_gone = None
    plumbing.halt()
    live.broker.close()
    plumbing.close()


class Stopping(Protocol):
    """The end of a stream of items."""

    def is_set(self) -> bool:
        """Return whether the stream must end."""
        ...

    def wait_s(self) -> float:
        """Return the time in seconds that a read may wait before is_set() is checked again."""
        ...


class Stop:
    """A request to end in good order, set by Ctrl-C, SIGTERM, SIGHUP, or after `duration` seconds (0: never).

    A second signal raises KeyboardInterrupt.
    """

    def __init__(self, duration: float = 0) -> None:
        self._is_set = False  # no threading.Event: a signal may arrive while this thread holds its lock
        self._until = time.monotonic() + duration if duration else None
        for number in _SIGNALS:
            signal.signal(number, self._signal)

    def is_set(self) -> bool:
        """Return whether the stream must end."""
        return self._is_set or (self._until is not None and time.monotonic() >= self._until)

    def set(self) -> None:
        """Request the end."""
        self._is_set = True

    def wait_s(self) -> float:
        """Return the time in seconds that a read may wait before is_set() is checked again."""
        return WAIT_S if self._until is None else max(0.0, min(WAIT_S, self._until - time.monotonic()))

    def _signal(self, number: int, frame: FrameType | None) -> None:
        for again in _SIGNALS:
            signal.signal(again, signal.default_int_handler)
        self._is_set = True


class LineOutput:
    """Lines that are written to stdout in large pieces."""

    def __init__(self) -> None:
        self._out = sys.stdout.buffer
        self._lines: list[str] = []
        self._size = 0

    def add(self, lines: Sequence[str]) -> None:
        """Append lines without line ends. Write them when they reach WRITE_BYTES."""
        self._lines += lines
        self._size += sum(map(len, lines))
        if self._size >= WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write all appended lines. BrokenPipeError if the reader is gone, StdoutError if there is no room."""
        lines, self._lines, self._size = "\n".join((*self._lines, "")), [], 0
        with printing():
            self._out.write(lines.encode("utf-8", "backslashreplace"))
            self._out.flush()


def arriving(
    live: LiveSources, plumbing: Plumbing, stop: Stopping, on_stop: Callable[[], None] = lambda: None
) -> Iterator[list[Item]]:
    """Yield the items that arrive until `stop` or the last source's end; then stop all threads and yield the rest.

    `on_stop` is called in between, while the broker still runs. Raises BrokenPipeError if the reader of stdout is
    gone, even if there is nothing to write.
    """
    while not stop.is_set() and plumbing.alive():
        items = plumbing.handoff.get(stop.wait_s())[1]
        yield items
        if not items and _reader_gone():
            raise BrokenPipeError
    on_stop()
    finish(live, plumbing)
    plumbing.handoff.flush()
    while items := plumbing.handoff.get(0)[1]:
        yield items


def _reader_gone() -> bool:
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poller.poll(0))
