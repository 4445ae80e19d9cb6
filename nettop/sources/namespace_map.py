"""The devices, addresses, routes … of many namespaces: one source over an event socket in each.

An event makes the part that it concerns be read again, by one request to the broker for a namespace. Hundreds of
namespaces need one thread, and nothing but that socket stays open in them.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from nettop.batch import Batch, Counter64, DumpMark, End, Gap, Item, NetlinkMeta, Stream, StreamAdded, Text
from nettop.broker.client import Broker
from nettop.broker.requests import Netns
from nettop.errors import BrokerError
from nettop.kinds import GapReason, TextKind
from nettop.linux.netlink import NLMSGHDR
from nettop.sources.exchange import scan
from nettop.sources.map_dumps import by_read, is_request
from nettop.sources.map_parts import ALL, COUNTS, GROUPS, NAMESPACES, QUEUES, READS, SYSCTLS, concerned

_RCVBUF = 256 << 10  # bytes: what overflows is read again
_DATAGRAM = 1 << 16
_SECOND = 1_000_000_000
_DEBOUNCE_NS = 50_000_000  # from the first event to the read
_REST_NS, _REST_PER_COST = 100_000_000, 50  # between two reads of a namespace after events
SHARE = 0.015  # of a core, for all reads but the first of each namespace
_DOWNSTREAM = 1.6  # the cost of a read with decoding and applying its rows
_BURST_NS = 500_000_000  # of saved time that may be spent at once
_OVERDRAFT_NS = 500_000_000  # that reads after events may borrow: what a person has changed is shown at once
_AGAIN_NS = 60 * _SECOND  # everything, without an event
_COUNTS_NS, _COUNTS_UNSEEN_NS, _MANY = _SECOND, 10 * _SECOND, 40  # of each further 40 namespaces less often
_QUEUES_NS = 5 * _SECOND  # drops and backlogs, where they are shown
_TOGETHER_NS = _SECOND // 2  # counts are due at multiples of this: one wake-up reads those of many namespaces
_SYSCTLS_NS, _SYSCTLS_UNSEEN_NS = 10 * _SECOND, 300 * _SECOND  # a namespace with five devices takes 5 ms
_SYSCTLS_PER_COST = 400  # with hundreds of devices they take a tenth of a second
_READ_NS, _AT_ONCE = 10_000_000, 16  # one read() takes about so long; namespaces in one request
_LOOK_NS, _LOOK_PER_COST = _SECOND, 200  # between two looks whether namespaces have come or gone


@dataclass(slots=True)
class _Place:
    """One namespace that is read."""

    netns: Netns
    sock: socket.socket
    stale: set[str] = field(default_factory=set)
    due_ns: int = 0  # of what is stale
    rest_until_ns: int = 0
    counts_ns: int = 0  # when counts are due
    queues_ns: int = 0  # when those of queues are due with them
    again_ns: int = 0  # when everything is due
    sysctls_ns: int = 0  # when its sysctls are due, once nothing else is


class NamespaceMapSource:
    """Reads the namespaces of follow(), at once and after events; counters every second where they are shown.

    `announce` is called on the source's thread when ids of namespaces have changed. follow(), show(), close_netns() and
    finish() are thread-safe; the thread that waits on due_ns() must be woken after them. With `once` every namespace of
    the first follow() is read once, then the End. Without `sysctls` they are not read.
    """

    def __init__(
        self,
        broker: Broker,
        seq: Counter64,
        streams: Sequence[Stream],
        announce: Callable[[], None] = lambda: None,
        once: bool = False,
        sysctls: bool = True,
    ) -> None:
        self._broker, self._seq, self._announce, self._once = broker, seq, announce, once
        self._with_sysctls = sysctls
        self._streams = streams  # dumps, counts, events, texts
        self._dumps, self._counts, self._events, self._texts = (stream.id for stream in streams)
        self._epoll = select.epoll()
        self._places: dict[str, _Place] = {}  # by label
        self._of_fd: dict[int, _Place] = {}
        self._unopened: list[str] = []  # labels of those that come next
        self._refused: set[str] = set()  # labels that could not be opened
        self._wanted: tuple[str, ...] | None = None
        self._shown = self._show = frozenset[str]()  # labels: now, and from the next read() on
        self._gone: list[int] = []  # handles of namespaces
        self._announced = self._finished = self._followed = False
        self._changed = True  # by another thread since the last read()
        self._due_ns: int | None = 0
        self._seen: object = None  # the namespaces of the last look
        self._look_ns = 0  # when the next one is due
        self._allowance_ns, self._allowed_ns = _BURST_NS, time.monotonic_ns()

    def fileno(self) -> int:
        """Return the epoll descriptor of all event sockets."""
        return self._epoll.fileno()

    def due_ns(self) -> int | None:
        """Return the time of the next read, in monotonic ns."""
        return 0 if self._changed or self._finished else self._due_ns

    def _gates(self) -> tuple[int, int, int]:
        """Return from when on the allowance is enough: after events, periodically, and for sysctls that are unseen."""
        if self._once:
            return 0, 0, 0
        after_events, periodic, sysctls = (
            self._allowed_ns + max(0, int((least - self._allowance_ns) / SHARE) + 1)
            for least in (-_OVERDRAFT_NS, 0, _BURST_NS // 2)
        )
        return after_events, periodic, sysctls

    def _next_read_ns(self, label: str, gates: tuple[int, int, int]) -> int:
        """Return when something but the sysctls is due in a namespace, in monotonic ns."""
        place = self._places[label]
        next_ns = max(min(place.counts_ns, place.again_ns), gates[1])
        return min(next_ns, max(place.due_ns, place.rest_until_ns, gates[0])) if place.stale else next_ns

    def _next_sysctls_ns(self, label: str, gates: tuple[int, int, int]) -> int:
        return max(self._places[label].sysctls_ns, gates[1 if label in self._shown else 2])

    def follow(self, labels: Sequence[str]) -> None:
        """Read these namespaces from now on."""
        self._wanted, self._changed = tuple(labels), True

    def show(self, labels: Collection[str]) -> None:
        """Read the counters of these namespaces every second, and at once."""
        self._show, self._changed = frozenset(labels), True

    def close_netns(self, netns: Netns) -> None:
        """Close what is open in a namespace that is gone."""
        self._gone.append(netns.handle)
        self._changed = True

    def refresh(self) -> None:
        """Read everything again, as a keyframe."""
        for place in list(self._places.values()):
            place.again_ns = place.sysctls_ns = 0
        self._changed = True

    def finish(self) -> None:
        """End the source at its next read()."""
        self._finished = True

    def read(self, max_bytes: int) -> list[Item]:
        """Return events, and what was read again after earlier ones."""
        items: list[Item] = []
        self._changed = False
        if not self._announced:
            self._announced = True
            items += [StreamAdded(stream, self._seq.next()) for stream in self._streams]
        if not self._finished:
            self._follow()
            items += self._read_events()
            until = time.monotonic_ns() + _READ_NS
            items += self._read_new(until) if self._unopened else self._read_due(until)
            self._look()
            self._due_ns = self._next_due()
        if self._finished or (self._once and self._followed and not (self._unopened or self._lacks_sysctls())):
            items += [End(stream.id, self._seq.next()) for stream in self._streams]
        return items

    def _next_due(self) -> int | None:
        """Return when the next read() is due, in monotonic ns."""
        if self._unopened:
            return 0
        gates = self._gates()
        times = [] if self._once else [self._look_ns]
        times += [self._next_read_ns(label, gates) for label in self._places]
        times += [self._next_sysctls_ns(label, gates) for label in self._places if self._with_sysctls]
        return min(times, default=None)

    def _lacks_sysctls(self) -> bool:
        return self._with_sysctls and not all(place.sysctls_ns for place in self._places.values())

    def _look(self) -> None:
        """Announce that namespaces have come or gone."""
        began = time.monotonic_ns()
        if self._once or began < self._look_ns:
            return
        with suppress(BrokerError):
            before, self._seen = self._seen, self._broker.namespaces()
            if before not in (None, self._seen):
                self._announce()
        ended = time.monotonic_ns()
        self._look_ns = ended + max(_LOOK_NS, _LOOK_PER_COST * (ended - began))

    def losses(self) -> list[Item]:
        """Return nothing: events that were lost are reported by read(), and what they concern is read again."""
        return []

    def close(self) -> None:
        """Close every socket and leave every namespace."""
        for label in list(self._places):
            self._leave(label)
        self._epoll.close()

    def _follow(self) -> None:
        before, self._shown = self._shown, self._show
        for label in (self._shown - before) & self._places.keys():
            self._places[label].counts_ns = self._places[label].queues_ns = 0
        gone, self._gone = self._gone, []
        for label in [label for label, place in self._places.items() if place.netns.handle in gone]:
            self._leave(label, gone=True)
        if self._wanted is None:
            return
        wanted, self._wanted, self._followed = dict.fromkeys(self._wanted), None, True
        for label in [label for label in self._places if label not in wanted]:
            self._leave(label)
        self._refused &= set(wanted)
        self._unopened = [label for label in wanted if label not in self._places and label not in self._refused]

    def _read_new(self, until: int) -> Iterator[Item]:
        """Open and read the namespaces that were not yet read."""
        while self._unopened and time.monotonic_ns() < until:
            labels, self._unopened = self._unopened[:_AT_ONCE], self._unopened[_AT_ONCE:]
            for label, opened in zip(labels, self._broker.listen(labels, GROUPS, _RCVBUF), strict=True):
                if opened is None:  # it is gone, or we may not enter it: the list of namespaces says which
                    self._refused.add(label)
                    continue
                netns, fd = opened
                self._places[label] = self._of_fd[fd] = _Place(netns, socket.socket(fileno=fd))
                self._epoll.register(fd, select.EPOLLIN)
            yield from self._read_places([label for label in labels if label in self._places])

    def _leave(self, label: str, gone: bool = False) -> None:
        place = self._places.pop(label)
        self._of_fd.pop(place.sock.fileno(), None)
        with suppress(OSError):
            self._epoll.unregister(place.sock.fileno())
        place.sock.close()
        if not gone and place.netns.handle:  # 0: the one the broker was started in
            with suppress(BrokerError):
                self._broker.leave(place.netns)

    def _read_events(self) -> Iterator[Item]:
        datagrams: list[bytes] = []
        for fd, _ in self._epoll.poll(0):
            place = self._of_fd.get(fd)
            if place is not None:
                yield from self._receive(place, datagrams)
        if datagrams:
            yield _batch(self._events, self._seq.next(), datagrams, [False] * len(datagrams))

    def _receive(self, place: _Place, datagrams: list[bytes]) -> Iterator[Item]:
        found: set[str] = set()
        while True:
            try:
                datagram = place.sock.recv(_DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    break
                now = time.time_ns()
                yield Gap(self._events, self._seq.next(), None, GapReason.KERNEL, now, now)
                found |= ALL
                continue
            datagrams.append(datagram)
            found |= concerned(datagram)
        if NAMESPACES in found:
            self._announce()
        if SYSCTLS in found:
            place.sysctls_ns = min(place.sysctls_ns, 1)  # soon; 0: they were never read
        if found & ALL and not place.stale:
            place.due_ns = time.monotonic_ns() + _DEBOUNCE_NS
        place.stale |= found & ALL

    def _read_due(self, until: int) -> Iterator[Item]:
        now, gates = time.monotonic_ns(), self._gates()
        if self._with_sysctls:  # first: counts of many namespaces could use the whole allowance
            yield from self._read_sysctls(now, gates)
        due = {label: self._next_read_ns(label, gates) for label in self._places}
        ready = sorted((label for label in due if due[label] <= now), key=due.__getitem__)
        while ready and now < until:
            yield from self._read_places(ready[:_AT_ONCE])
            ready, now = ready[_AT_ONCE:], time.monotonic_ns()
        self._allowance_ns = min(_BURST_NS, self._allowance_ns + int((now - self._allowed_ns) * SHARE))
        self._allowed_ns = now

    def _read_places(self, labels: Sequence[str]) -> Iterator[Item]:
        """Read what is due in these namespaces."""
        now, began = time.monotonic_ns(), time.time_ns()
        parts = [self._due_parts(label, now) for label in labels]
        asked = [
            (self._places[label].netns, [READS[part] for part in of]) for label, of in zip(labels, parts, strict=True)
        ]
        for label, of, answer in zip(labels, parts, self._broker.read_dumps(asked), strict=True):
            if answer is None:  # it is gone: its end is reported soon
                self._leave(label)
                self._refused.add(label)
                continue
            body, cost_ns = answer
            started = time.thread_time_ns()
            yield from self._dumps_of(label, of, body, began)
            self._schedule(label, of, now, cost_ns + time.thread_time_ns() - started)

    def _due_parts(self, label: str, now: int) -> list[str]:
        """Return the parts of a namespace that are due, in the order of READS."""
        place = self._places[label]
        parts = set(ALL) if now >= place.again_ns else set[str]()
        if place.stale and now >= max(place.due_ns, place.rest_until_ns):
            parts |= place.stale
            place.stale = set()
        if now >= place.counts_ns:
            parts |= {COUNTS, QUEUES} if label in self._shown and now >= place.queues_ns else {COUNTS}
        return [part for part in READS if part in parts]

    def _schedule(self, label: str, parts: Sequence[str], now: int, cost_ns: int) -> None:
        """Set when these parts, just read at this cost, are due again."""
        place, many = self._places[label], max(1, (len(self._places) + len(self._unopened)) // _MANY)
        if place.again_ns:  # first reads are not limited
            self._allowance_ns -= int(cost_ns * _DOWNSTREAM)
        place.rest_until_ns = time.monotonic_ns() + max(_REST_NS, _REST_PER_COST * cost_ns)
        if COUNTS in parts:
            counts_ns = now + (_COUNTS_NS if label in self._shown else _COUNTS_UNSEEN_NS * many)
            place.counts_ns = counts_ns - counts_ns % _TOGETHER_NS
        if QUEUES in parts:
            place.queues_ns = now + _QUEUES_NS
        if len(parts) == len(READS):
            place.again_ns = now + _AGAIN_NS * many

    def _read_sysctls(self, now: int, gates: tuple[int, int, int]) -> Iterator[Item]:
        """Read the sysctls of one namespace, first of those that are shown; with `once` of several."""
        places = self._places
        due = [label for label in places if self._next_sysctls_ns(label, gates) <= now]
        due.sort(key=lambda one: (one not in self._shown, places[one].sysctls_ns))
        labels, began = due[: _AT_ONCE if self._once else 1], time.time_ns()
        spaces = [places[label].netns for label in labels]
        for label, found in zip(labels, self._broker.texts(spaces, TextKind.MAP_SYSCTLS), strict=True):
            body, cost_ns = found or (b"", 0)
            every_ns = _SYSCTLS_NS if label in self._shown else _SYSCTLS_UNSEEN_NS
            places[label].sysctls_ns = now + max(every_ns, _SYSCTLS_PER_COST * cost_ns)
            self._allowance_ns -= int(cost_ns * _DOWNSTREAM)
            yield Text(self._texts, self._seq.next(), began, TextKind.MAP_SYSCTLS, body, netns=label)

    def _dumps_of(self, label: str, parts: Sequence[str], body: bytes, began: int) -> Iterator[Item]:
        for part, datagrams in zip(parts, by_read(body), strict=True):
            stream = self._counts if part == COUNTS else self._dumps
            yield DumpMark(stream, self._seq.next(), began, part, True, netns=label)
            outgoing = [is_request(one) for one in datagrams]
            batch = _batch(stream, self._seq.next(), datagrams, outgoing)
            end = scan(batch, NLMSGHDR.unpack_from(datagrams[0])[3], True)
            complete = end.ended and not end.error and not end.interrupted
            if end.interrupted:
                self._places[label].stale.add(part)
            yield batch
            yield DumpMark(stream, self._seq.next(), began, part, False, complete, end.interrupted, label)


def _batch(stream: int, seq: int, datagrams: Sequence[bytes], outgoing: Sequence[bool]) -> Batch:
    """Return the datagrams as records; each begins at a multiple of four."""
    padded = [datagram + bytes(-len(datagram) % 4) for datagram in datagrams]
    sizes = np.array([len(datagram) for datagram in datagrams], np.uint32)
    off = np.cumsum([0, *map(len, padded[:-1])], dtype=np.int64).astype(np.uint32)
    stamps = np.full(len(sizes), time.time_ns(), np.int64)
    return Batch(stream, seq, b"".join(padded), off, sizes, stamps, NetlinkMeta(np.array(outgoing, np.bool_)))
