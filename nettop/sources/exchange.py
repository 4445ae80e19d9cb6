"""One netlink dump: the requests that the broker sends, all their answers, and the marks around them."""

from __future__ import annotations

import errno
import os
import struct
import sys
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Counter64, DumpMark, Item, NetlinkMeta
from nettop.broker.client import Broker
from nettop.broker.requests import DumpFilter, NetlinkSocket, Netns, ReadRequest, RuleName, SetName, TableName
from nettop.errors import BrokerError
from nettop.linux.netlink import NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_HDRLEN, messages
from nettop.sources.netlink import Receiver

_TRANSIENT = frozenset({0, errno.EBUSY, errno.EINTR, errno.EAGAIN, errno.ENOBUFS})
_FLAGS_SHIFT, _TYPE_SHIFT = (16, 0) if sys.byteorder == "little" else (0, 16)  # u16 type, u16 flags read as one u32
_MAX_DATAGRAMS = 96  # per system call: about 3 MB of a dump
_PART = 2 << 20  # bytes of a batch: one such call
_SLACK = 32  # tolerated difference of the count: this many answers, plus one in this many
_MAX_SYSCTL = 64  # bytes: numbers only
_TIMEOUT_NS = 5_000_000_000  # the kernel continues a dump inside our recv: it never takes this long


@dataclass(frozen=True, slots=True)
class ScopedRead:
    """A read with its scope: flows that a filter selects, the elements of one set, or some rules of nftables."""

    what: ReadRequest
    dump_filter: DumpFilter | None = None
    of_set: SetName | None = None
    of_table: TableName | None = None
    of: tuple[RuleName, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """The requests between two marks, sent one after the other, and the sysctls that check their answers."""

    what: str  # DumpMark.what
    requests: tuple[ReadRequest | ScopedRead, ...]
    steady: str = ""  # a sysctl that must not change during the round
    counted: str = ""  # a sysctl with the approximate number of answers
    rest_ns_a_byte: int = 0  # pause per byte of its answers before it is polled again together with others

    def filtered(self, dump_filter: DumpFilter) -> Round:
        """Return this round for the flows that the filter selects; the number of answers is then unknown."""
        requests = tuple(ScopedRead(what, dump_filter) for what in self.requests if isinstance(what, ReadRequest))
        return replace(self, requests=requests, counted="")


class _Sysctls:
    """The sysctls of one namespace, each opened once by the broker and then read with one pread."""

    def __init__(self, broker: Broker, netns: Netns) -> None:
        self._broker, self._netns = broker, netns
        self._open: dict[str, int] = {}  # descriptors, by name

    def value(self, name: str) -> str:
        """Return the current value; "" if there is none (no conntrack, or the namespace is gone)."""
        try:
            if name not in self._open:
                self._open[name] = self._broker.open_sysctl(self._netns, name)
            return os.pread(self._open[name], _MAX_SYSCTL, 0).decode("ascii").strip()
        except (BrokerError, OSError):
            return ""

    def close(self) -> None:
        """Close the descriptors."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()


class Exchange:
    """Runs one Round at a time on its own socket. An error from the kernel makes it incomplete and is not raised."""

    def __init__(
        self, stream: int, broker: Broker, netlink_socket: NetlinkSocket, receiver: Receiver, seq: Counter64
    ) -> None:
        self._stream, self._broker, self._socket = stream, broker, netlink_socket
        self._receiver, self._seq = receiver, seq
        self._round: Round | None = None
        self._remaining: list[ReadRequest | ScopedRead] = []
        self._sequence = 0
        self._is_dump = True
        self._requested = False  # the round's first request is sent
        self._sysctls = _Sysctls(broker, netlink_socket.netns)
        self._steady = ""  # values of the round's sysctls at its start
        self._count = 0
        self._answers = 0
        self._completeness = Completeness()
        self._answered_ns = self._sent_ns = 0
        self._whole = self._interrupted = False  # all answers came; the table changed meanwhile
        self.refused = False  # it ended in an error that a retry does not solve

    def close(self) -> None:
        """Close the sysctls; the socket is the caller's."""
        self._sysctls.close()

    @property
    def active(self) -> bool:
        """True while a round is running."""
        return self._round is not None

    @property
    def complete(self) -> bool:
        """True if the last round that ended has all answers, of one state of the table."""
        return self._whole and not self._interrupted

    @property
    def interrupted(self) -> bool:
        """True if the last round that ended has all answers, but the table changed meanwhile."""
        return self._whole and self._interrupted

    @property
    def due_ns(self) -> int:
        """Timeout of the round if the kernel does not answer, in monotonic ns; 0 before the first request."""
        return self._answered_ns + _TIMEOUT_NS if self._requested else 0

    def pop_sent_ns(self) -> int:
        """Return the processor time of the broker for requests since the last call, in ns."""
        sent, self._sent_ns = self._sent_ns, 0
        return sent

    def begin(self, next_round: Round) -> list[Item]:
        """Return the first mark. The first read() sends the request, after the mark has been put in the queue.

        Otherwise an event between the mark and the answers would seem older than the dump.
        """
        self._round, self._remaining = next_round, list(next_round.requests)
        self._whole, self._interrupted = True, False
        self.refused = False
        self._steady, self._count = self._value(next_round.steady), self._counted(next_round)
        self._answers = 0
        self._requested = False
        self._receiver.pop_lossy()
        return [self._mark(begin=True)]

    def read(self, max_bytes: int) -> list[Item]:
        """Return the first request, then the queued answers; then the next request or the end mark. BrokerError."""
        if not self._requested:
            return [self._send()]
        items = self._receiver.receive(min(max_bytes, _PART), _MAX_DATAGRAMS)
        now = time.monotonic_ns()
        ended = now >= self.due_ns
        self._whole = self._whole and not ended
        for batch in items:
            if isinstance(batch, Batch):
                self._answered_ns = now
                end = scan(batch, self._sequence, self._is_dump)
                self._answers += end.messages
                self._whole = self._whole and not end.error
                self._interrupted = self._interrupted or end.interrupted
                self.refused = self.refused or end.error not in _TRANSIENT
                ended = end.ended
        if ended and self._remaining:
            items.append(self._send())
        elif ended:
            items.append(self._end())
        elif items and self._whole:
            self._whole = self._is_steady()  # at each read: a value could change and change back
        return items

    def _send(self) -> Item:
        read = self._remaining.pop(0)
        if isinstance(read, ReadRequest):
            read = ScopedRead(read)
        request, cost_ns = self._broker.request(
            self._socket,
            read.what,
            dump_filter=read.dump_filter,
            of_set=read.of_set,
            of_table=read.of_table,
            of=read.of,
        )
        *_, (_, at, _) = messages(request)  # the last one's answer ends it
        flags, self._sequence = struct.unpack_from("=HI", request, at + 6)  # nlmsg_flags, nlmsg_seq
        self._is_dump = flags & NLM_F_DUMP == NLM_F_DUMP
        self._requested, self._answered_ns = True, time.monotonic_ns()
        self._sent_ns += cost_ns
        return outgoing(self._stream, self._seq, request)

    def _end(self) -> Item:
        lossy = self._receiver.pop_lossy()
        self._whole = self._whole and not lossy and self._is_steady() and self._is_all()
        mark = self._mark(begin=False)
        self._round = None
        return mark

    def _mark(self, begin: bool) -> DumpMark:
        what = self._round.what if self._round else ""
        ends = (self.complete, self.interrupted) if not begin else (False, False)
        return DumpMark(self._stream, self._seq.next(), time.time_ns(), what, begin, *ends)

    def _value(self, name: str) -> str:
        return self._sysctls.value(name) if name else ""

    def _is_steady(self) -> bool:
        return self._round is None or self._value(self._round.steady) == self._steady

    def _counted(self, this_round: Round) -> int:
        """Return the current number of answers by the round's sysctl; 0 if unknown."""
        value = self._value(this_round.counted)
        return int(value) if value.isdecimal() else 0

    def _is_all(self) -> bool:
        """Return whether all answers came: a hash resized twice between two reads of its size seems unchanged."""
        counted = (self._count, self._counted(self._round)) if self._round else (0, 0)
        return self._completeness.holds(counted, self._answers)


class Completeness:
    """The comparison of a round's answers with the kernel's counts at its begin and end.

    A round is whole if about as many answers came, or if as many were missing in the two rounds before. More answers
    than flows come from a hash that was resized twice: some came twice, and about as many are missing.

    The kernel counts flows that it does not dump, such as those of packets in an nfqueue. Two rounds are not enough:
    resizes of the hash sometimes cut two dumps short by the same number. (Expired flows are counted too, but the dump
    removes them.)
    """

    def __init__(self) -> None:
        self._before: list[int] = []  # missing answers of the last two rounds

    def holds(self, counted: tuple[int, int], answers: int) -> bool:
        """Return whether a round of so many answers is whole; counts of 0 are unknown. To be called once per round."""
        missing, surplus = min(counted) - answers, answers - max(counted)
        last = [*self._before, missing]
        self._before = last[-2:]
        tolerated = answers // _SLACK + _SLACK
        if max(counted) and surplus > tolerated:
            return False
        again = len(last) > 2 and max(last) - min(last) <= _SLACK
        return again or missing <= tolerated


def outgoing(stream: int, seq: Counter64, request: bytes) -> Batch:
    """Return a request of ours as a Batch of one record, to be recorded with its answers."""
    off, length = np.zeros(1, np.uint32), np.array([len(request)], np.uint32)
    meta = NetlinkMeta(np.ones(1, np.bool_))
    return Batch(stream, seq.next(), request, off, length, np.array([time.time_ns()], np.int64), meta)


class Scan(NamedTuple):
    """State of a dump by the message headers of one batch."""

    ended: bool  # by DONE or an error; a request that is no dump: by its answer
    interrupted: bool  # NLM_F_DUMP_INTR in any message
    error: int = 0  # errno at the end
    messages: int = 0


def scan(batch: Batch, sequence: int, is_dump: bool) -> Scan:
    """Return whether and how the answers to the request `sequence` end in this batch. RFC 3549, linux/netlink.h.

    NLM_F_MULTI does not show it: the only answer to IPCTNL_MSG_CT_GET_STATS has this flag, and no DONE follows.
    """
    words = np.frombuffer(batch.buf, np.uint32, len(batch.buf) >> 2)
    at = (batch.off >> np.uint32(2)).astype(np.int64)
    last, kinds, messages = _last_messages(words, at, at + (batch.caplen >> np.uint32(2)))
    ours = last[words[last + 2] == sequence]
    kind = words[ours + 1] >> _TYPE_SHIFT & 0xFFFF
    ends = ours[(kind == NLMSG_DONE) | (kind == NLMSG_ERROR)].tolist()
    ended = bool(ends) or (not is_dump and len(ours) > 0)
    error = next((error for error in (_errno(words, end) for end in ends) if error), 0)
    return Scan(ended, bool(kinds >> _FLAGS_SHIFT & NLM_F_DUMP_INTR), error, messages)


def _errno(words: NDArray[np.uint32], at: int) -> int:
    """Return the errno in a DONE or ERROR message: a negative int after the header; a DONE may lack it."""
    return -int(words[at + 4]) & 0xFFFF_FFFF if words[at] >= NLMSG_HDRLEN + 4 else 0


def _last_messages(
    words: NDArray[np.uint32], at: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int, int]:
    """Return the last whole message of each datagram words[at:end], all types and flags combined by or, and the count.

    Each step goes to the next message of every datagram, so that hundreds of them share its cost.
    """
    last, which = np.full(len(at), -1), np.arange(len(at))
    kinds = messages = 0
    while len(at) and len(words):
        size = words[np.minimum(at, len(words) - 1)].astype(np.int64)
        following = at + (size + 3 >> 2)
        whole = (size >= NLMSG_HDRLEN) & (following <= end)
        if not whole.all():
            at, end, which, following = at[whole], end[whole], which[whole], following[whole]
        last[which] = at
        kinds |= int(np.bitwise_or.reduce(words[at + 1]))
        messages += len(at)
        at = following
    return last[last >= 0], kinds, messages
