"""What commands on a live namespace begin and end with: the broker, the signals, the lines printed."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from nettop.batch import Item
from nettop.broker.client import Broker, Netns
from nettop.broker.start import start
from nettop.pipeline.live import LiveSources
from nettop.pipeline.plumbing import Plumbing

WRITE_BYTES = 1 << 20
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def connected(options: argparse.Namespace) -> Iterator[tuple[Broker, Netns]]:
    """A broker, this process without privileges, and the namespace of --netns. NettopError says what is missing."""
    with start(read_only=options.read_only) as broker:
        yield broker, broker.netns(options.netns)


@contextmanager
def sources(options: argparse.Namespace, plumbing: Plumbing) -> Iterator[LiveSources]:
    """The live sources of --netns; every thread is gone afterwards."""
    with connected(options) as (broker, netns):
        live = LiveSources(broker, netns, plumbing)
        try:
            yield live
        finally:
            plumbing.close()


class Stop:
    """Set by Ctrl-C, SIGTERM, SIGHUP, or after `duration` seconds: a stream then ends in good order.

    A second signal interrupts for good.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None, duration: float = 0) -> None:
        self.signalled = False
        self._event = threading.Event()
        self._wake = wake
        self._timer = threading.Timer(duration, self.set) if duration else None
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        for number in _SIGNALS:
            signal.signal(number, self._signal)

    def is_set(self) -> bool:
        """Whether to end."""
        return self._event.is_set()

    def set(self) -> None:
        """End now."""
        self._event.set()
        self._wake()

    def wait(self, seconds: float | None) -> bool:
        """Until it is set; whether it is."""
        return self._event.wait(seconds)

    def _signal(self, number: int, frame: FrameType | None) -> None:
        self.signalled = True
        for again in _SIGNALS:
            signal.signal(again, signal.default_int_handler)
        self._event.set()


class Lines:
    """Lines to stdout in large writes; flushed when nothing more is at hand."""

    def __init__(self) -> None:
        self._out = sys.stdout.buffer
        self._kept: list[str] = []
        self._size = 0

    def add(self, lines: Sequence[str]) -> None:
        """Append lines (without their ends)."""
        self._kept += lines
        self._size += sum(map(len, lines))
        if self._size >= WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept. BrokenPipeError when nobody reads any more."""
        if self._kept:
            self._kept.append("")
            self._out.write("\n".join(self._kept).encode())
            self._kept, self._size = [], 0
        self._out.flush()


def taken(plumbing: Plumbing, stop: Stop) -> Iterator[list[Item]]:
    """What arrives, until `stop` or the last source's end; then, with every thread stopped, what is left."""
    while not stop.is_set() and plumbing.alive():
        yield plumbing.handoff.take(0.1)[1]
    plumbing.close()
    plumbing.handoff.flush()
    while items := plumbing.handoff.take(0)[1]:
        yield items
