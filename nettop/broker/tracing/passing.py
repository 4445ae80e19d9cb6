"""The packets that devices receive and send while a trace runs: kept as the kernel writes them, read if one is dropped.

A device may have 100,000 packets a second, of which few are dropped: their samples (perf_event_open(2)) are copied, and
searched for the address of a packet that was dropped. So many at once that this would cost more are left out.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from selectors import EVENT_READ, BaseSelector
from struct import Struct
from typing import NamedTuple

from nettop.broker.tracing import perf
from nettop.linux.perf import PERF_EVENT_IOC_DISABLE, PERF_EVENT_IOC_ENABLE, PERF_RECORD_SAMPLE, SAMPLE

RING_BYTES = perf.RING_BYTES  # of a CPU
_MAX_NAMED = 32  # devices in a filter
_MAX_FILTERS = 8  # each has two descriptors of every CPU; instead of more, one accepts every device
_EVERY = ""
_UNSAFE = re.compile(rb"[^\w.@-]")  # bytes of names that mean something to a filter
_MAX_AGE_NS = 1_000_000_000  # of a received packet that is dropped: later, another one is at its address
_WAITS_NS = 10_000_000_000  # of one that waited for the address of its next hop, at its own
_KEPT_BYTES = 1 << 20  # about 15,000 packets
_TURN_BYTES = 8 << 20  # of samples between two calls of renew(): then they are left out
_SEARCH_NS = 25_000_000  # of searching in that time
_U16, _U32 = Struct("=H"), Struct("=I")


class _Sample(NamedTuple):
    time_ns: int
    received: bool
    raw: bytes


class PassingPackets:
    """The packets that some devices have received and sent lately."""

    def __init__(self, received: perf.Tracepoint, sent: perf.Tracepoint, selector: BaseSelector) -> None:
        """Follow no device yet. The tracepoints are net:netif_receive_skb and net:net_dev_start_xmit."""
        self._received, self._sent, self._selector = received, sent, selector
        self._rings: dict[int, perf.Ring] = {}  # by CPU
        self._events: list[int] = []
        self._filters: list[set[str]] = []  # the patterns of the devices that are followed
        self._kept: deque[tuple[int, list[bytes]]] = deque()  # samples, with the time of reading
        self._size = self._turn = self._searched_ns = 0

    def follow(self, devices: Iterable[str], cpus: Collection[int]) -> None:
        """Keep the packets of these devices, too. Raises BrokerError, OSError."""
        known = set[str]().union(*self._filters)
        names = [] if _EVERY in known else sorted({*map(_pattern, devices)} - known)
        groups = [names[at : at + _MAX_NAMED] for at in range(0, len(names), _MAX_NAMED)]
        if len(self._filters) + len(groups) > _MAX_FILTERS:
            self.close()
            groups = [[_EVERY]]
        for group in groups:
            self._filters.append(set(group))
            accepts = " || ".join(f'name ~ "{name}"' for name in group if name != _EVERY)
            for cpu in cpus:
                self._open(self._received, cpu, accepts)
                self._open(self._sent, cpu, accepts)

    def _open(self, event: perf.Tracepoint, cpu: int, accepts: str) -> None:
        ring = self._rings.get(cpu)
        if ring is not None:
            self._events.append(perf.open_event(event, cpu, accepts, ring.fd))
            return
        fd = perf.open_event(event, cpu, accepts)
        self._rings[cpu] = perf.Ring(fd)
        self._events.append(fd)
        self._selector.register(fd, EVENT_READ, self.read)

    def close(self) -> None:
        """Keep none."""
        for ring in self._rings.values():
            self._selector.unregister(ring.fd)
        while self._events:
            os.close(self._events.pop())
        self._rings.clear()
        self._filters.clear()
        self._kept.clear()
        self._size = 0

    def read(self) -> None:
        """Read the rings, and leave out what comes until renew() if it is too much."""
        chunks = [chunk for ring in self._rings.values() if (chunk := ring.take())]
        size, now = sum(map(len, chunks)), time.monotonic_ns()
        self._kept.append((now, chunks))
        self._size += size
        while self._size > _KEPT_BYTES or now - self._kept[0][0] > _WAITS_NS:
            self._size -= sum(map(len, self._kept.popleft()[1]))
        before, self._turn = self._turn, self._turn + size
        if before <= _TURN_BYTES < self._turn:
            self._switch(PERF_EVENT_IOC_DISABLE)

    def renew(self) -> None:
        """Begin the next turn."""
        if self._turn > _TURN_BYTES:
            self._switch(PERF_EVENT_IOC_ENABLE)
        self._turn = self._searched_ns = 0

    def _switch(self, request: int) -> None:
        for fd in self._events:
            fcntl.ioctl(fd, request, 0)

    def find(self, address: int, before_ns: int, after_ns: int, is_rare: bool = False) -> tuple[int, str, bool] | None:
        """Return the length and device of the packet at this address, dropped at `before_ns`, and whether it waited.

        None: it was not received, or not since `after_ns`, or is too old. Times are CLOCK_MONOTONIC. A packet that
        waited for the address of its next hop is still where it was; others that old are mostly another packet. A drop
        that `is_rare` is searched for even if the time for searches is used up.
        """
        if self._searched_ns > _SEARCH_NS and not is_rare:
            return None
        began = time.monotonic_ns()
        found = self._latest(address.to_bytes(8, sys.byteorder), before_ns)
        self._searched_ns += time.monotonic_ns() - began
        if found is None or not found.received or found.time_ns <= max(after_ns, before_ns - _WAITS_NS):
            return None
        (length_at, _), (name_at, _) = self._received.fields["len"], self._received.fields["name"]
        (name,) = _U32.unpack_from(found.raw, name_at)  # __data_loc: offset and size
        text = found.raw[name & 0xFFFF : (name & 0xFFFF) + (name >> 16)]
        device = text.split(b"\0")[0].decode("utf-8", "backslashreplace")
        waited = found.time_ns <= before_ns - _MAX_AGE_NS
        return _U32.unpack_from(found.raw, length_at)[0], device, waited

    def _latest(self, address: bytes, before_ns: int) -> _Sample | None:
        for _, chunks in reversed(self._kept):
            if found := [one for chunk in chunks if (one := self._last(chunk, address, before_ns))]:
                return max(found)
        return None

    def _last(self, chunk: bytes, address: bytes, before_ns: int) -> _Sample | None:
        """Return the last sample of a CPU with this address up to a time."""
        kinds: Sequence[tuple[perf.Tracepoint, bool]] = ((self._received, True), (self._sent, False))
        at = chunk.rfind(address)
        while at >= 0:
            for tracepoint, received in kinds:
                begin = at - tracepoint.fields["skbaddr"][0]  # of the raw data
                record = begin - SAMPLE.size
                if record >= 0 and not record % 8 and _is_sample(chunk, record, begin, tracepoint.id):
                    time_ns, size = SAMPLE.unpack_from(chunk, record)
                    if time_ns <= before_ns:
                        return _Sample(time_ns, received, chunk[begin : begin + size])
            at = chunk.rfind(address, 0, at + len(address) - 1)
        return None


def _pattern(device: str) -> str:
    """Return a filter's pattern of a device's name, whose bytes may be any."""
    return _UNSAFE.sub(b"?", os.fsencode(device)).decode("ascii")


def _is_sample(chunk: bytes, record: int, begin: int, event: int) -> bool:
    kinds: tuple[int, int] = (*_U32.unpack_from(chunk, record), *_U16.unpack_from(chunk, begin))
    return kinds == (PERF_RECORD_SAMPLE, event)
