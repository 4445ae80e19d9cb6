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
from nettop.broker.requests import Netns, ReadRequest
from nettop.errors import BrokerError
from nettop.kinds import GapReason, TextKind
from nettop.linux import rtnetlink as rtnl
from nettop.linux.netlink import NETLINK_ROUTE, NLMSG_HDRLEN, NLMSGHDR, MalformedError, messages
from nettop.linux.socket import AF_BRIDGE
from nettop.sources.exchange import scan
from nettop.sources.map_dumps import by_read, is_request

COUNTS, _QUEUES = "map-counts", "map-queues"
READS: dict[str, ReadRequest] = {  # DumpMark.what → the read
    "map-links": ReadRequest.RTNL_DETAILS,
    "map-addresses": ReadRequest.RTNL_ADDRESSES,
    "map-routes": ReadRequest.RTNL_ROUTES,
    "map-rules": ReadRequest.RTNL_RULES,
    "map-nexthops": ReadRequest.RTNL_NEXTHOPS,
    "map-neighbours": ReadRequest.RTNL_NEIGHBOURS,
    "map-fdb": ReadRequest.RTNL_FDB,
    "map-vlans": ReadRequest.RTNL_VLANS,
    "map-groups": ReadRequest.RTNL_GROUPS,
    _QUEUES: ReadRequest.RTNL_QDISCS,
    COUNTS: ReadRequest.RTNL_COUNTS,
}
ALL = frozenset(READS)
GROUPS = (
    rtnl.RTNLGRP_LINK,
    rtnl.RTNLGRP_NEIGH,
    rtnl.RTNLGRP_TC,
    rtnl.RTNLGRP_NSID,
    rtnl.RTNLGRP_MDB,
    rtnl.RTNLGRP_NEXTHOP,
    *rtnl.RTNLGRP_IFADDR,
    *rtnl.RTNLGRP_ROUTE,
    *rtnl.RTNLGRP_RULE,
)
_OF_QUEUES = (
    *(rtnl.RTM_NEWQDISC, rtnl.RTM_DELQDISC, rtnl.RTM_NEWTCLASS, rtnl.RTM_DELTCLASS),
    *(rtnl.RTM_NEWTFILTER, rtnl.RTM_DELTFILTER),
)
_CONCERNS: dict[int, frozenset[str]] = {
    # The kernel reports no route that goes with its device.
    **dict.fromkeys((rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK), ALL - {COUNTS}),
    **dict.fromkeys((rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR), frozenset({"map-addresses", "map-routes"})),
    **dict.fromkeys((rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE), frozenset({"map-routes"})),
    **dict.fromkeys((rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH), frozenset({"map-neighbours"})),
    **dict.fromkeys((rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE), frozenset({"map-rules"})),
    **dict.fromkeys((rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP), frozenset({"map-nexthops", "map-routes"})),
    **dict.fromkeys(_OF_QUEUES, frozenset({_QUEUES})),
}
_OF_BRIDGES = {  # of messages of AF_BRIDGE
    rtnl.RTM_NEWLINK: frozenset({"map-links", "map-vlans"}),  # a port's state or VLANs have changed
    **dict.fromkeys((rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH), frozenset({"map-fdb"})),
    **dict.fromkeys((rtnl.RTM_NEWMDB, rtnl.RTM_DELMDB), frozenset({"map-groups"})),
}
_NSIDS = (rtnl.RTM_NEWNSID, rtnl.RTM_DELNSID)
_RCVBUF = 256 << 10  # bytes: what overflows is read again
_DATAGRAM = 1 << 16
_SECOND = 1_000_000_000
_DEBOUNCE_NS = 50_000_000  # from the first event to the read
_REST_NS, _REST_PER_COST = 100_000_000, 50  # between two reads of a namespace after events
SHARE = 0.02  # of a core, for all reads but the first of each namespace
_DOWNSTREAM = 1.6  # the cost of a read with decoding and applying its rows
_BURST_NS = 500_000_000  # of saved time that may be spent at once
_OVERDRAFT_NS = 500_000_000  # that reads after events may borrow: what a person has changed is shown at once
_AGAIN_NS = 60 * _SECOND  # everything, without an event
_COUNTS_NS, _COUNTS_UNSEEN_NS, _MANY = _SECOND, 10 * _SECOND, 100  # of each further 100 namespaces less often
_QUEUES_NS = 5 * _SECOND  # drops and backlogs, where they are shown
_TOGETHER_NS = _SECOND // 2  # counts are due at multiples of this: one wake-up reads those of many namespaces
_SYSCTLS_NS, _SYSCTLS_UNSEEN_NS = 10 * _SECOND, 300 * _SECOND  # a namespace with five devices takes 5 ms
_READ_NS = 10_000_000  # one read() goes on for so long


@dataclass(slots=True)
class _Place:
    """One namespace that is read."""

    netns: Netns
    sock: socket.socket
    stale: set[str] = field(default_factory=lambda: set(ALL))
    due_ns: int = 0  # of what is stale
    rest_until_ns: int = 0
    counts_ns: int = 0  # when counts are due
    queues_ns: int = 0  # when those of queues are due with them
    again_ns: int = 0  # when everything is due
    sysctls_ns: int = 0  # when its sysctls are due, once nothing else is
    new: bool = True

    def next_ns(self) -> int:
        """Return when something is due, in monotonic ns."""
        times = [self.counts_ns, self.again_ns]
        return min(*times, max(self.due_ns, self.rest_until_ns)) if self.stale else min(times)


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
        self._refused: set[str] = set()  # labels that could not be opened
        self._wanted: tuple[str, ...] | None = None
        self._shown: Collection[str] = ()
        self._gone: list[int] = []  # handles of namespaces
        self._announced = self._finished = self._followed = False
        self._busy_ns = 0  # the broker's time for the current read
        self._allowance_ns, self._allowed_ns = _BURST_NS, time.monotonic_ns()

    def fileno(self) -> int:
        """Return the epoll descriptor of all event sockets."""
        return self._epoll.fileno()

    def due_ns(self) -> int | None:
        """Return the time of the next read, in monotonic ns."""
        if not self._announced or self._finished or self._wanted is not None or self._gone:
            return 0
        gates = self._gates()
        return min((self._next_ns(place, gates) for place in self._places.values()), default=None)

    def _gates(self) -> tuple[int, int, int]:
        """Return from when on the allowance is enough: after events, periodically, and for sysctls."""
        if self._once:
            return 0, 0, 0
        after_events, periodic, sysctls = (
            self._allowed_ns + max(0, int((least - self._allowance_ns) / SHARE) + 1)
            for least in (-_OVERDRAFT_NS, 0, _BURST_NS // 2)
        )
        return after_events, periodic, sysctls

    def _next_ns(self, place: _Place, gates: tuple[int, int, int]) -> int:
        """Return when something is due in a namespace, in monotonic ns."""
        if place.new:
            return 0
        next_ns = max(min(place.counts_ns, place.again_ns), gates[1])
        if place.stale:
            next_ns = min(next_ns, max(place.due_ns, place.rest_until_ns, gates[0]))
        return min(next_ns, max(place.sysctls_ns, gates[2])) if self._with_sysctls else next_ns

    def follow(self, labels: Sequence[str]) -> None:
        """Read these namespaces from now on."""
        self._wanted = tuple(labels)

    def show(self, labels: Collection[str]) -> None:
        """Read the counters of these namespaces every second."""
        self._shown = labels

    def close_netns(self, netns: Netns) -> None:
        """Close what is open in a namespace that is gone."""
        self._gone.append(netns.handle)

    def refresh(self) -> None:
        """Read everything again, as a keyframe."""
        for place in list(self._places.values()):
            place.again_ns = place.sysctls_ns = 0

    def finish(self) -> None:
        """End the source at its next read()."""
        self._finished = True

    def read(self, max_bytes: int) -> list[Item]:
        """Return events, and what was read again after earlier ones."""
        items: list[Item] = []
        if not self._announced:
            self._announced = True
            items += [StreamAdded(stream, self._seq.next()) for stream in self._streams]
        if not self._finished:
            self._open_and_close()
            items += self._read_events()
            items += self._read_due()
        if self._finished or (self._once and self._followed and not any(map(self._is_unread, self._places.values()))):
            items += [End(stream.id, self._seq.next()) for stream in self._streams]
        return items

    def _is_unread(self, place: _Place) -> bool:
        return place.new or (self._with_sysctls and not place.sysctls_ns)

    def losses(self) -> list[Item]:
        """Return nothing: events that were lost are reported by read(), and what they concern is read again."""
        return []

    def close(self) -> None:
        """Close every socket and leave every namespace."""
        for label in list(self._places):
            self._leave(label)
        self._epoll.close()

    def _open_and_close(self) -> None:
        gone, self._gone = self._gone, []
        for label in [label for label, place in self._places.items() if place.netns.handle in gone]:
            self._leave(label, gone=True)
        if self._wanted is None:
            return
        wanted, self._wanted, self._followed = dict.fromkeys(self._wanted), None, True
        for label in [label for label in self._places if label not in wanted]:
            self._leave(label)
        self._refused &= set(wanted)
        for label in wanted:
            if label not in self._places and label not in self._refused:
                self._open(label)

    def _open(self, label: str) -> None:
        try:
            netns = self._broker.netns(label, again=True)
            opened = self._broker.netlink_socket(netns, NETLINK_ROUTE, GROUPS, _RCVBUF)
        except BrokerError:  # it is gone, or we may not enter it: the list of namespaces says which
            self._refused.add(label)
            return
        place = _Place(netns, socket.socket(fileno=opened.fd))
        self._places[label] = self._of_fd[opened.fd] = place
        self._epoll.register(opened.fd, select.EPOLLIN)

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
        concerned: set[str] = set()
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
                concerned |= ALL
                continue
            datagrams.append(datagram)
            concerned |= self._concerns(datagram)
        if concerned and not place.stale:
            place.due_ns = time.monotonic_ns() + _DEBOUNCE_NS
        place.stale |= concerned

    def _concerns(self, datagram: bytes) -> set[str]:
        found: set[str] = set()
        with suppress(MalformedError):
            for kind, first, last in messages(datagram):
                if kind in _NSIDS:
                    self._announce()
                parts = _CONCERNS.get(kind, frozenset())
                if last - first > NLMSG_HDRLEN and datagram[first + NLMSG_HDRLEN] == AF_BRIDGE:
                    parts = _OF_BRIDGES.get(kind, parts)
                found |= parts
        return found

    def _read_due(self) -> Iterator[Item]:
        now = time.monotonic_ns()
        until, gates = now + _READ_NS, self._gates()
        due = {label: self._next_ns(place, gates) for label, place in self._places.items()}
        for label in sorted((label for label in due if due[label] <= now), key=due.__getitem__):
            place, now = self._places[label], time.monotonic_ns()
            self._allowance_ns = min(_BURST_NS, self._allowance_ns + int((now - self._allowed_ns) * SHARE))
            self._allowed_ns = now
            if now >= until:
                return
            if place.next_ns() <= now:
                yield from self._read_place(label, place, now)
        if self._with_sysctls and self._gates()[2] <= now:
            yield from self._read_sysctls()

    def _read_place(self, label: str, place: _Place, now: int) -> Iterator[Item]:
        self._busy_ns, began = 0, time.thread_time_ns()
        everything = now >= place.again_ns
        parts = set(ALL) if everything else set[str]()
        if place.stale and now >= max(place.due_ns, place.rest_until_ns):
            parts |= place.stale
            place.stale = set()
        if now >= place.counts_ns:
            parts |= {COUNTS, _QUEUES} if label in self._shown and now >= place.queues_ns else {COUNTS}
        try:
            yield from self._dump(place, [part for part in READS if part in parts])
        except BrokerError:  # it is gone: its end is reported soon
            self._leave(label)
            self._refused.add(label)
            return
        ended, cost_ns = time.monotonic_ns(), self._busy_ns + time.thread_time_ns() - began
        if not place.new:
            self._allowance_ns -= int(cost_ns * _DOWNSTREAM)
        place.new = False
        place.rest_until_ns = ended + max(_REST_NS, _REST_PER_COST * cost_ns)
        many = max(1, len(self._places) // _MANY)
        if COUNTS in parts:
            counts_ns = now + (_COUNTS_NS if label in self._shown else _COUNTS_UNSEEN_NS * many)
            place.counts_ns = counts_ns - counts_ns % _TOGETHER_NS
        if _QUEUES in parts:
            place.queues_ns = now + _QUEUES_NS
        if everything:
            place.again_ns = now + _AGAIN_NS * many

    def _read_sysctls(self) -> Iterator[Item]:
        """Read the sysctls of one namespace, first of those that are shown."""
        places = self._places
        label = min(places, key=lambda one: (places[one].sysctls_ns, one not in self._shown), default=None)
        now, began, cost_ns = time.monotonic_ns(), time.time_ns(), 0
        if label is None or places[label].sysctls_ns > now:
            return
        try:
            body, cost_ns = self._broker.text_cost(places[label].netns, TextKind.MAP_SYSCTLS)
        except BrokerError:
            body = b""
        places[label].sysctls_ns = now + (_SYSCTLS_NS if label in self._shown else _SYSCTLS_UNSEEN_NS)
        self._allowance_ns -= int(cost_ns * _DOWNSTREAM)
        yield Text(self._texts, self._seq.next(), began, TextKind.MAP_SYSCTLS, body, netns=label)

    def _dump(self, place: _Place, parts: Sequence[str]) -> Iterator[Item]:
        began = time.time_ns()
        body, self._busy_ns = self._broker.read_dumps(place.netns, [READS[part] for part in parts])
        for part, datagrams in zip(parts, by_read(body), strict=True):
            stream, label = self._counts if part == COUNTS else self._dumps, place.netns.label
            yield DumpMark(stream, self._seq.next(), began, part, True, netns=label)
            outgoing = [is_request(one) for one in datagrams]
            batch = _batch(stream, self._seq.next(), datagrams, outgoing)
            end = scan(batch, NLMSGHDR.unpack_from(datagrams[0])[3], True)
            complete = end.ended and not end.error and not end.interrupted
            if end.interrupted:
                place.stale.add(part)
            yield batch
            yield DumpMark(stream, self._seq.next(), began, part, False, complete, end.interrupted, label)


def _batch(stream: int, seq: int, datagrams: Sequence[bytes], outgoing: Sequence[bool]) -> Batch:
    """Return the datagrams as records; each begins at a multiple of four."""
    padded = [datagram + bytes(-len(datagram) % 4) for datagram in datagrams]
    sizes = np.array([len(datagram) for datagram in datagrams], np.uint32)
    off = np.cumsum([0, *map(len, padded[:-1])], dtype=np.int64).astype(np.uint32)
    stamps = np.full(len(sizes), time.time_ns(), np.int64)
    return Batch(stream, seq, b"".join(padded), off, sizes, stamps, NetlinkMeta(np.array(outgoing, np.bool_)))
