"""The thread of one source: it waits on the source's descriptor and clock, reads, and polls its losses."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from nettop.batch import Counter64, End, Item, Source
from nettop.broker.calls import ENDED
from nettop.errors import NettopError

READ_BYTES = 4 << 20  # approximate limit of one read()
LOSSES_EVERY_NS = 250_000_000
LOSSES_FOR_NS = 2_000_000_000  # after the last read: a later loss first makes the descriptor ready
_MAX_DRAIN_NS = 500_000_000  # even if the kernel always has more

Put = Callable[[list[Item]], None]


class SourceThread(threading.Thread):
    """Runs one source until it ends or stop() is called. Items go to `put`, in order; a failure is an End of `stream`.

    `gather_ns` is the pause after a read, so that batches are made by time, not by item. `drain_ns`: after stop() the
    source is read while the kernel has data within this time; None: it is not. `listens`: records may be lost at any
    time, so losses are polled periodically until the descriptor has been quiet for LOSSES_FOR_NS; otherwise (a source
    of answers) after each read.
    """

    def __init__(
        self,
        source: Source,
        put: Put,
        seq: Counter64,
        name: str,
        gather_ns: int = 0,
        drain_ns: int | None = None,
        stream: int | None = None,
        listens: bool = True,
    ) -> None:
        super().__init__(name=f"nettop-{name}", daemon=True)
        self.stream = stream
        self._source = source
        self._put = put
        self._seq = seq
        self._gather_ns = gather_ns
        self._drain_ns = drain_ns
        self._listens = listens
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._open = True
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Make the thread look at due_ns() again."""
        with self._lock:
            if self._open:
                os.eventfd_write(self._wakeup, 1)

    def stop(self) -> None:
        """End the thread now. A wait for data ends too."""
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Read until End, an error, or stop()."""
        try:
            self._loop()
        except NettopError as error:
            self._failed("" if error.message == ENDED else str(error))  # which is reported once, for all sources
        except OSError as error:
            self._failed(f"{self.name}: {error.strerror}")
        except Exception as error:  # a bug: the screen must stay intact and show that this stream has ended
            self._failed(f"{self.name}: internal error, please report it: {error!r}")
        finally:
            self._source.close()
            with self._lock:
                self._open = False
                os.close(self._wakeup)

    def _failed(self, reason: str) -> None:
        """Put the End of the stream. After stop() a failure is not reported."""
        if not self._stopping:
            self._put([End(self.stream, self._seq.next(), error=reason)])

    def _loop(self) -> None:
        next_losses, until = self._next_losses(), time.monotonic_ns() + LOSSES_FOR_NS
        ended = False
        while not (self._stopping or ended):
            ready = self._wait(next_losses)
            if self._stopping:
                break
            if ready:
                ended = self._read()
                if not ended:
                    self._gather()
                next_losses, until = next_losses or self._next_losses(), time.monotonic_ns() + LOSSES_FOR_NS
            if next_losses is not None and time.monotonic_ns() >= next_losses:
                self._poll_losses()
                next_losses = self._next_losses() if time.monotonic_ns() < until else None
        if not ended:
            self._drain()
        self._poll_losses()

    def _read(self) -> bool:
        """Read once and put the items. Return whether the source has ended."""
        items = self._source.read(READ_BYTES)
        ended = bool(items) and isinstance(items[-1], End)
        if not self._listens:
            items = items + self._source.losses()
        if items:
            self._put(items)
        return ended

    def _drain(self) -> None:
        """Read what the kernel's buffer holds when stop() is called."""
        fd = self._source.fileno()
        if self._drain_ns is None or fd is None:
            return
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        wait, until = self._drain_ns // 1_000_000, time.monotonic_ns() + _MAX_DRAIN_NS
        while poller.poll(wait) and not self._read() and time.monotonic_ns() < until:
            wait = 0

    def _wait(self, next_losses: int | None) -> bool:
        """Wait. Return whether the source can be read: its descriptor is ready, or its time has come."""
        times = [at for at in (self._source.due_ns(), next_losses) if at is not None]
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        fd = self._source.fileno()
        if fd is not None:
            poller.register(fd, select.POLLIN)
        wait_ns = max(0, min(times) - time.monotonic_ns()) if times else None
        ready = dict(poller.poll(None if wait_ns is None else -(-wait_ns // 1_000_000)))
        if self._wakeup in ready:
            os.eventfd_read(self._wakeup)
        due = self._source.due_ns()
        return fd in ready or (due is not None and due <= time.monotonic_ns())

    def _gather(self) -> None:
        """Let the kernel's buffer fill for `gather_ns`; stop() ends the wait."""
        if self._gather_ns:
            poller = select.poll()
            poller.register(self._wakeup, select.POLLIN)
            poller.poll(self._gather_ns // 1_000_000)

    def _next_losses(self) -> int | None:
        return time.monotonic_ns() + LOSSES_EVERY_NS if self._listens else None

    def _poll_losses(self) -> None:
        items = self._source.losses()
        if items:
            self._put(items)
