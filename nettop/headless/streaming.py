"""What commands on a live namespace begin and end with: the broker, the signals, the lines printed."""

from __future__ import annotations

import argparse
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from nettop.batch import End, Item
from nettop.broker.client import Netns
from nettop.broker.start import start
from nettop.console import printing, say
from nettop.model.filter.expression import Filter
from nettop.model.kernel_filter.pushdown import KernelFilter, kernel_filter
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources

WRITE_BYTES = 1 << 20
TAKE_S = 0.1  # how often a quiet stream looks whether it is to end
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def sources(options: argparse.Namespace, plumbing: Plumbing) -> Iterator[LiveSources]:
    """The live sources of --netns, in a process that has dropped its privileges; every thread is gone afterwards.

    When the namespace is deleted, or the broker ends, so do all sources; an End with `error` then says why.
    """
    with start(read_only=options.read_only) as broker:
        live = LiveSources(broker, broker.netns(options.netns), plumbing)
        broker.on_gone = _let_go(live, plumbing)
        try:
            yield live
        finally:
            finish(live, plumbing)


def _let_go(live: LiveSources, plumbing: Plumbing) -> Callable[[Netns, str], None]:
    """What is done, on the client's reader thread, when a namespace is gone: nothing that waits."""

    def gone(netns: Netns, why: str) -> None:
        if netns.handle != live.netns.handle:
            return
        live.halt()
        where = f"namespace {netns.label}: " if netns.label and not live.broker.ended else ""
        plumbing.put([End(None, plumbing.seq.next(), error=f"{where}{why}")], wait=False)

    return gone


def finish(live: LiveSources, plumbing: Plumbing) -> None:
    """End every source, at once: the broker first, since they may wait for its answer. What they had put stays."""
    live.broker.on_gone = None
    plumbing.halt()
    live.broker.close()
    plumbing.close()


def in_kernel(
    options: argparse.Namespace, wanted: Filter | None, *, events: bool = True, dumps: bool = True
) -> KernelFilter:
    """Return what of the filter the kernel can run; --verbose writes it and the rest to stderr."""
    if wanted is None:
        return KernelFilter()
    found = kernel_filter(wanted, events=events, dumps=dumps)
    if options.verbose:
        say(f"filter: {found.summary}")
    return found


class Stop:
    """Set by Ctrl-C, SIGTERM, SIGHUP, or after `duration` seconds: a stream then ends in good order.

    A second signal interrupts for good.
    """

    def __init__(self, duration: float = 0) -> None:
        self._is_set = False  # no threading.Event: a signal may come while this very thread holds its lock
        self._until = time.monotonic() + duration if duration else None
        for number in _SIGNALS:
            signal.signal(number, self._signal)

    def is_set(self) -> bool:
        """Whether to end."""
        return self._is_set or (self._until is not None and time.monotonic() >= self._until)

    def set(self) -> None:
        """End now."""
        self._is_set = True

    def wait_s(self) -> float:
        """How long a take may wait before is_set() is looked at again."""
        return TAKE_S if self._until is None else max(0.0, min(TAKE_S, self._until - time.monotonic()))

    def _signal(self, number: int, frame: FrameType | None) -> None:
        for again in _SIGNALS:
            signal.signal(again, signal.default_int_handler)
        self._is_set = True


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
        """Write what is kept. BrokenPipeError when nobody reads any more, StdoutError when there is no room."""
        lines, self._kept, self._size = "\n".join((*self._kept, "")), [], 0
        with printing():
            self._out.write(lines.encode("utf-8", "backslashreplace"))
            self._out.flush()


def taken(
    live: LiveSources, plumbing: Plumbing, stop: Stop, ending: Callable[[], None] = lambda: None
) -> Iterator[list[Item]]:
    """What arrives, until `stop` or the last source's end; then, with every thread stopped, what is left.

    `ending` is called in between, while the broker is there still. Raises BrokenPipeError when nobody reads stdout
    any more, also while there is nothing to write.
    """
    while not stop.is_set() and plumbing.alive():
        items = plumbing.handoff.get(stop.wait_s())[1]
        yield items
        if not items and _nobody_reads():
            raise BrokenPipeError
    ending()
    finish(live, plumbing)
    plumbing.handoff.flush()
    while items := plumbing.handoff.get(0)[1]:
        yield items


def _nobody_reads() -> bool:
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poller.poll(0))
