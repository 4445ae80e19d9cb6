"""The calls on the socket to a broker: requests out, answers in, each with its own deadline."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nettop.broker import request_json, requests, wire
from nettop.broker.failures import from_fields
from nettop.errors import BrokerError, NettopError

CALL_SECONDS = 10.0
EXIT_SECONDS = 3.0
ENDED = "the broker ended"

Answer = tuple[dict[str, Any], list[int]]  # the body, and descriptors, which the caller closes


@dataclass(slots=True)
class _PendingCall:
    """A call that waits for its answer."""

    done: threading.Event = field(default_factory=threading.Event)
    body: dict[str, Any] = field(default_factory=dict)
    fds: list[int] = field(default_factory=list)
    error: NettopError | None = None

    def fail(self, error: NettopError) -> None:
        """End the call with an error."""
        self.error = error
        self.done.set()


class Calls:
    """Thread-safe. `report` gets what the broker sends without a request, and `on_end` is called once it has ended.

    Both are called on the reader thread.
    """

    def __init__(
        self, sock: socket.socket, report: Callable[[dict[str, Any]], None], on_end: Callable[[], None]
    ) -> None:
        self.ended = False  # True when the broker has ended (every call now fails)
        self._sock, self._report, self._on_end = sock, report, on_end
        self._lock = threading.Lock()
        self._sending = threading.Lock()  # a lock of its own: the reader needs _lock while a send waits
        self._pending: dict[int, _PendingCall] = {}
        self._last_id = 0
        self._reader = threading.Thread(target=self._read, name="broker-client", daemon=True)
        self._reader.start()

    def each(
        self, many: Sequence[requests.Request], *, seconds: float = CALL_SECONDS, fds: int = 0
    ) -> Iterator[Answer | NettopError]:
        """Send these requests, then yield the answer of each as it comes, with `fds` descriptors, or its error."""
        deadline = time.monotonic() + seconds
        for request, (request_id, pending) in [(request, self._post(request)) for request in many]:
            yield self._answer(request, request_id, pending, deadline, fds)

    def call(self, request: requests.Request, *, seconds: float = CALL_SECONDS, fds: int = 0) -> Answer:
        """Send a request and wait for its answer, which has `fds` descriptors. Raises NettopError."""
        (found,) = self.each([request], seconds=seconds, fds=fds)
        if isinstance(found, NettopError):
            raise found
        return found

    def _answer(
        self, request: requests.Request, request_id: int, pending: _PendingCall, deadline: float, fds: int
    ) -> Answer | NettopError:
        if not pending.done.wait(max(0.0, deadline - time.monotonic())):
            self._abandon(request_id, pending)
        if pending.error is not None:
            return pending.error
        if len(pending.fds) != fds:
            _close_all(pending.fds)
            return BrokerError(f"the broker gave {len(pending.fds)} descriptors for {type(request).__name__}")
        return pending.body, pending.fds

    def _post(self, request: requests.Request) -> tuple[int, _PendingCall]:
        """Send a request. Return its id and the call, which has failed already if it could not be sent."""
        pending = _PendingCall()
        with self._lock:
            self._last_id += 1
            request_id = self._last_id
            if self.ended:
                pending.fail(BrokerError(ENDED, "start nettop again"))
                return request_id, pending
            self._pending[request_id] = pending
        try:
            with self._sending:
                wire.send(self._sock, {"id": request_id, **request_json.to_json(request)}, long_allowed=False)
        except (wire.WireError, OSError) as error:
            failure = error if isinstance(error, wire.WireError) else BrokerError(ENDED, "start nettop again")
            with self._lock:
                self._pending.pop(request_id, None)
            pending.fail(failure)
        return request_id, pending

    def _abandon(self, request_id: int, pending: _PendingCall) -> None:
        with self._lock:
            self._pending.pop(request_id, None)
            if pending.done.is_set():
                return  # it arrived at the last moment
            pending.error = BrokerError("the broker does not answer")

    def _read(self) -> None:
        """Run as the reader thread: pass answers to their callers until the broker ends."""
        while True:
            try:
                received = wire.receive(self._sock)
            except BrokerError:
                continue
            except OSError:
                break
            if received is None:
                break
            self._dispatch(*received)
        self._end()

    def _dispatch(self, message: dict[str, Any], fds: list[int]) -> None:
        if "id" not in message:
            self._report(message)
            return
        with self._lock:
            pending = self._pending.pop(message["id"], None)
            if pending is None:
                _close_all(fds)
                return
            pending.body, pending.fds = message.get("body", {}), fds
            if "error" in message:
                pending.error = from_fields(message["error"])
            pending.done.set()

    def _end(self) -> None:
        with self._lock:
            self.ended = True
            pending, self._pending = list(self._pending.values()), {}
        for call in pending:
            call.fail(BrokerError(ENDED, "start nettop again"))
        self._on_end()

    def end(self) -> None:
        """Close the connection without waiting; further calls fail."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection and end the reader thread."""
        self.end()
        if threading.current_thread() is not self._reader:
            self._reader.join(EXIT_SECONDS)
        self._sock.close()


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
