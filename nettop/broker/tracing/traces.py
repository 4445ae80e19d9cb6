"""The traces of an app: tracing tables that the broker holds by their sockets, each for a limited time."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from nettop.broker.requests import StartTrace
from nettop.broker.tracing.counts import read_counts
from nettop.broker.tracing.drops import Drops
from nettop.broker.tracing.nf_log import TraceLog
from nettop.broker.tracing.table import create
from nettop.errors import BrokerError
from nettop.kinds import TRACE_PREFIX

MAX_TRACES = 8  # at once
_CHECK_S = 0.2  # between two looks for the process that switches the log back
MAX_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class _Trace:
    owner: socket.socket
    table: str
    netns: int
    until: float  # time.monotonic()


class Traces:
    """The traces that run, by number."""

    def __init__(self, drops: Drops) -> None:
        self._drops = drops
        self._running: dict[int, _Trace] = {}
        self._logs: dict[int, TraceLog] = {}  # by namespace
        self._counts: dict[int, tuple[int, int]] = {}  # of the latest traces that have ended
        self._numbers = count(1)

    def start(self, request: StartTrace) -> dict[str, Any]:
        """Make the table in the current namespace; return its name and the trace's number. BrokerError, OSError."""
        try:
            number, table = self._start(request)
        except BaseException:
            self._close_unused_log(request.netns)
            raise
        return {"trace": number, "table": table}

    def _start(self, request: StartTrace) -> tuple[int, str]:
        if len(self._running) >= MAX_TRACES:
            raise BrokerError(f"{MAX_TRACES} traces run already", "stop one of them")
        if not 1 <= request.seconds <= MAX_SECONDS:
            raise BrokerError(f"a trace of {request.seconds} s is not possible", f"give 1 to {MAX_SECONDS}")
        table = f"{TRACE_PREFIX}{os.getpid()}-{os.urandom(3).hex()}"
        devices = [name for _, name in sorted(socket.if_nameindex())]  # with their own bytes (os.fsencode)
        owner = create(table, request, devices)
        self._drops.follow(devices)
        number = next(self._numbers)
        self._running[number] = _Trace(owner, table, request.netns, time.monotonic() + request.seconds)
        return number, table

    def switch_log(self, netns: int, log: TraceLog) -> None:
        """Have the records of iptables-legacy sent, until no trace of the namespace runs. BrokerError, OSError."""
        if netns in self._logs:
            log.close()
            log = self._logs.pop(netns)  # which knows what it was before
        elif len(self._logs) >= MAX_TRACES:  # each has a process
            log.close()
            raise BrokerError(f"{MAX_TRACES} namespaces send the records of iptables-legacy already", "stop a trace")
        log.switch()
        self._logs[netns] = log

    def _close_unused_log(self, netns: int) -> None:
        if netns in self._logs and all(trace.netns != netns for trace in self._running.values()):
            self._logs.pop(netns).close()

    def stop(self, number: int) -> dict[str, Any]:
        """End a trace; return how many packets it matched, and how many of them it marked.

        None with this number is no error: its time may have ended.
        """
        self._end(number)
        matched, marked = self._counts.get(number, (None, None))
        return {"matched": matched, "marked": marked}

    def _end(self, number: int) -> None:
        """End a trace, if it runs. stop() has the counts of the latest ones."""
        trace = self._running.pop(number, None)
        if trace is None:
            return
        with suppress(OSError):
            self._counts[number] = read_counts(trace.owner, trace.table)
        while len(self._counts) > MAX_TRACES:
            del self._counts[next(iter(self._counts))]
        trace.owner.close()
        self._close_unused_log(trace.netns)
        if not self._running:
            self._drops.unfollow()

    def leave(self, netns: int) -> None:
        """End the traces of a namespace."""
        for number in [number for number, trace in self._running.items() if trace.netns == netns]:
            self._end(number)
        self._close_unused_log(netns)

    def expire(self) -> None:
        """End those whose time is up, and keep the processes running that switch the logs back."""
        for log in self._logs.values():
            with suppress(BrokerError, OSError):
                log.keep()
        now = time.monotonic()
        for number in [number for number, trace in self._running.items() if trace.until <= now]:
            self._end(number)

    def next_end(self) -> float | None:
        """Return when expire() is due (time.monotonic()); None: none runs."""
        checks = [time.monotonic() + _CHECK_S] if self._logs else []
        return min((*checks, *(trace.until for trace in self._running.values())), default=None)
