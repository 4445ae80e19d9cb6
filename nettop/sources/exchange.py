"""One netlink dump: the request the broker sends, its answers read to the end, and the marks around them."""

from __future__ import annotations

import errno
import struct
import sys
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Counter64, DumpMark, Item, NetlinkMeta
from nettop.broker.client import Broker, NetlinkSocket, ReadRequest
from nettop.broker.requests import DumpFilter, SetName
from nettop.linux.netlink import NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_HDRLEN
from nettop.sources.netlink import Receiver
from nettop.sources.sysctls import Sysctls

_PASSING = frozenset({0, errno.EBUSY, errno.EINTR, errno.EAGAIN, errno.ENOBUFS})
_FLAGS_SHIFT, _TYPE_SHIFT = (16, 0) if sys.byteorder == "little" else (0, 16)  # u16 type, u16 flags read as one u32
_DATAGRAMS = 96  # a call: about 3 MB of a dump
_PART = 2 << 20  # bytes: one such call makes a batch
_SLACK = 32  # a part of the answers, and so many, may come and go while they are given
_SILENCE_NS = 5_000_000_000  # the kernel goes on with a dump inside our recv: it never lets us wait this long


@dataclass(frozen=True, slots=True)
class Asked:
    """A read with its scope: the flows of a conntrack dump that a filter selects, or the elements of one set."""

    what: ReadRequest
    dump_filter: DumpFilter | None = None
    of_set: SetName | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What stands between two marks: the requests sent one after the other, and what must not change meanwhile."""

    what: str  # DumpMark.what
    requests: tuple[ReadRequest | Asked, ...]
    steady: str = ""  # a sysctl that must read the same before, meanwhile and after
    counted: str = ""  # a sysctl that says about how many answers there must be
    rest_ns_a_byte: int = 0  # of its answers: so long it is not polled again, where others are polled with it

    def filtered(self, dump_filter: DumpFilter) -> Round:
        """Return this round for the flows that the filter selects: the number of answers is not known then."""
        requests = tuple(Asked(what, dump_filter) for what in self.requests if isinstance(what, ReadRequest))
        return replace(self, requests=requests, counted="")


class Exchange:
    """Runs one Round at a time on a socket of its own. Never raises on what the kernel answers: it is not complete."""

    def __init__(
        self, stream: int, broker: Broker, netlink_socket: NetlinkSocket, receiver: Receiver, seq: Counter64
    ) -> None:
        self._stream = stream
        self._broker = broker
        self._socket = netlink_socket
        self._receiver = receiver
        self._seq = seq
        self._round: Round | None = None
        self._left: list[ReadRequest | Asked] = []
        self._sequence = 0
        self._is_dump = True
        self._asked = False  # the round's first request is sent
        self._sysctls = Sysctls(broker, netlink_socket.netns)
        self._steady = ""  # what the round's sysctls said at its begin
        self._count = 0
        self._answers = 0
        self._shortfall = Shortfall()
        self._heard_ns = self._sent_ns = 0
        self.complete = False  # of the last round that ended
        self.refused = False  # it ended in an error that asking again does not mend

    def close(self) -> None:
        """Close what was opened for looking; the socket is the caller's."""
        self._sysctls.close()

    @property
    def active(self) -> bool:
        """Whether a round is under way."""
        return self._round is not None

    @property
    def due_ns(self) -> int:
        """When a silent kernel ends the round, on time.monotonic_ns; 0 where nothing was asked yet."""
        return self._heard_ns + _SILENCE_NS if self._asked else 0

    def take_sent_ns(self) -> int:
        """How long the broker took for the requests since this was last asked: its send runs a dump's first part."""
        sent, self._sent_ns = self._sent_ns, 0
        return sent

    def begin(self, wanted: Round) -> list[Item]:
        """The first mark, which must be on its way before the request is sent with the first read().

        An event that is older than the mark but younger than the answers would else seem to be of before the dump.
        """
        self._round, self._left, self.complete = wanted, list(wanted.requests), True
        self.refused = False
        self._steady, self._count = self._value(wanted.steady), self._counted(wanted)
        self._answers = 0
        self._asked = False
        self._receiver.take_lossy()
        return [self._mark(begin=True)]

    def read(self, max_bytes: int) -> list[Item]:
        """The first request; then what waits in the socket, with the last answer the next request, or the last mark.

        Raises BrokerError when a request cannot be sent.
        """
        if not self._asked:
            return [self._send()]
        items = self._receiver.receive(min(max_bytes, _PART), _DATAGRAMS)
        now = time.monotonic_ns()
        ended = now >= self.due_ns
        self.complete = self.complete and not ended
        for batch in items:
            if isinstance(batch, Batch):
                self._heard_ns = now
                end = scan(batch, self._sequence, self._is_dump)
                self._answers += end.messages
                self.complete = self.complete and not end.interrupted and not end.error
                self.refused = self.refused or end.error not in _PASSING
                ended = end.ended
        if ended and self._left:
            items.append(self._send())
        elif ended:
            items.append(self._end())
        elif items and self.complete:
            self.complete = self._is_steady()  # looked at often: what changes and changes back would seem steady
        return items

    def _send(self) -> Item:
        asked = self._left.pop(0)
        if isinstance(asked, ReadRequest):
            asked = Asked(asked)
        began = time.monotonic_ns()
        request = self._broker.request(self._socket, asked.what, dump_filter=asked.dump_filter, of_set=asked.of_set)
        flags, self._sequence = struct.unpack_from("=HI", request, 6)  # nlmsg_flags, nlmsg_seq
        self._is_dump = flags & NLM_F_DUMP == NLM_F_DUMP
        self._asked, self._heard_ns = True, time.monotonic_ns()
        self._sent_ns += self._heard_ns - began
        return outgoing(self._stream, self._seq, request)

    def _end(self) -> Item:
        lossy = self._receiver.take_lossy()
        self.complete = self.complete and not lossy and self._is_steady() and self._is_all()
        mark = self._mark(begin=False)
        self._round = None
        return mark

    def _mark(self, begin: bool) -> DumpMark:
        what = self._round.what if self._round else ""
        return DumpMark(self._stream, self._seq.next(), time.time_ns(), what, begin, not begin and self.complete)

    def _value(self, name: str) -> str:
        return self._sysctls.value(name) if name else ""

    def _is_steady(self) -> bool:
        return self._round is None or self._value(self._round.steady) == self._steady

    def _counted(self, wanted: Round) -> int:
        """How many answers there must be at least, by now; 0 where nobody knows."""
        said = self._value(wanted.counted)
        return int(said) if said.isdecimal() else 0

    def _is_all(self) -> bool:
        """Whether as many answers came as there are: a hash resized twice between two looks at it seemed steady."""
        counted = min(self._count, self._counted(self._round)) if self._round else 0
        return self._shortfall.is_none(counted, self._answers)


class Shortfall:
    """How many answers fewer came than the kernel counts, round after round: none, or the same three times.

    The kernel counts what it does not dump, such as the flows of packets that wait in an nfqueue; resizes of the hash
    cut two dumps short alike now and then. (What has expired is counted too, but the dump that passes over it sweeps
    it up.)
    """

    def __init__(self) -> None:
        self._before: list[int] = []  # of the two last rounds

    def is_none(self, counted: int, answers: int) -> bool:
        """Whether a round of so many answers has all that can come. To be asked once a round."""
        missing = counted - answers
        last = [*self._before, missing]
        self._before = last[-2:]
        again = len(last) > 2 and max(last) - min(last) <= _SLACK
        return again or missing <= answers // _SLACK + _SLACK


def outgoing(stream: int, seq: Counter64, request: bytes) -> Batch:
    """A request of ours as a Batch of one record, to be recorded beside its answers."""
    off, length = np.zeros(1, np.uint32), np.array([len(request)], np.uint32)
    meta = NetlinkMeta(np.ones(1, np.bool_))
    return Batch(stream, seq.next(), request, off, length, np.array([time.time_ns()], np.int64), meta)


class Scan(NamedTuple):
    """What the headers of a batch's messages say about the dump they belong to."""

    ended: bool  # DONE or an error; of a request that is no dump, its answer
    interrupted: bool  # NLM_F_DUMP_INTR in any message
    error: int = 0  # errno at the end
    messages: int = 0


def scan(batch: Batch, sequence: int, is_dump: bool) -> Scan:
    """Whether the answers to the request `sequence` end in this batch. RFC 3549, linux/netlink.h.

    NLM_F_MULTI is no help: IPCTNL_MSG_CT_GET_STATS is answered by one message that carries it, and no DONE.
    """
    words = np.frombuffer(batch.buf, np.uint32, len(batch.buf) >> 2)
    at = (batch.off >> np.uint32(2)).astype(np.int64)
    last, kinds, messages = _walk(words, at, at + (batch.caplen >> np.uint32(2)))
    ours = last[words[last + 2] == sequence]
    kind = words[ours + 1] >> _TYPE_SHIFT & 0xFFFF
    ends = ours[(kind == NLMSG_DONE) | (kind == NLMSG_ERROR)].tolist()
    ended = bool(ends) or (not is_dump and len(ours) > 0)
    error = next((error for error in (_errno(words, end) for end in ends) if error), 0)
    return Scan(ended, bool(kinds >> _FLAGS_SHIFT & NLM_F_DUMP_INTR), error, messages)


def _errno(words: NDArray[np.uint32], at: int) -> int:
    """The errno in a DONE or ERROR message: a negative int after the header; DONE may come without."""
    return -int(words[at + 4]) & 0xFFFF_FFFF if words[at] >= NLMSG_HDRLEN + 4 else 0


def _walk(
    words: NDArray[np.uint32], at: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int, int]:
    """The last whole message of each datagram words[at:end] that has one, the or of all types and flags, how many.

    A step goes to the next message of every datagram: what a step costs, hundreds of them share.
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
