"""One netlink dump: the request the broker sends, its answers read to the end, and the marks around them."""

from __future__ import annotations

import errno
import struct
import sys
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nettop.batch import Batch, Counter64, DumpMark, Item, NetlinkMeta
from nettop.broker.client import Broker, NetlinkSocket, ReadRequest
from nettop.sources.netlink import Receiver

NLMSG_ERROR, NLMSG_DONE = 2, 3  # linux/netlink.h
NLM_F_DUMP_INTR, NLM_F_DUMP = 0x10, 0x300
_PASSING = frozenset({0, errno.EBUSY, errno.EINTR, errno.EAGAIN, errno.ENOBUFS})
_HEADER_SIZE = 16  # struct nlmsghdr
_FLAGS_SHIFT, _TYPE_SHIFT = (16, 0) if sys.byteorder == "little" else (0, 16)  # u16 type, u16 flags read as one u32
_DATAGRAMS = 96  # a call: about 3 MB of a dump
_PART = 2 << 20  # bytes: one such call makes a batch
_SILENCE_NS = 5_000_000_000  # the kernel goes on with a dump inside our recv: it never lets us wait this long


@dataclass(frozen=True, slots=True)
class Round:
    """What stands between two marks: the requests sent one after the other, and what must not change meanwhile."""

    what: str  # DumpMark.what
    requests: tuple[ReadRequest, ...]
    steady: str = ""  # a sysctl that must read the same before and after


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
        self._left: list[ReadRequest] = []
        self._sequence = 0
        self._is_dump = True
        self._steady = ""
        self._heard_ns = 0
        self.complete = False  # of the last round that ended
        self.refused = False  # it ended in an error that asking again does not mend

    @property
    def active(self) -> bool:
        """Whether a round is under way."""
        return self._round is not None

    @property
    def due_ns(self) -> int:
        """When a silent kernel ends the round, on time.monotonic_ns."""
        return self._heard_ns + _SILENCE_NS

    def begin(self, wanted: Round) -> list[Item]:
        """The first mark and the first request. Raises BrokerError when it cannot be sent."""
        self._round, self._left, self.complete = wanted, list(wanted.requests), True
        self.refused = False
        self._steady = self._steady_value()
        self._receiver.take_lossy()
        return [self._mark(begin=True), self._send()]

    def read(self, max_bytes: int) -> list[Item]:
        """What waits in the socket; with the last answer the next request, or the last mark."""
        items = self._receiver.receive(min(max_bytes, _PART), _DATAGRAMS)
        now = time.monotonic_ns()
        ended = now >= self.due_ns
        self.complete = self.complete and not ended
        for batch in items:
            if isinstance(batch, Batch):
                self._heard_ns = now
                end = scan(batch, self._sequence, self._is_dump)
                self.complete = self.complete and not end.interrupted and not end.error
                self.refused = self.refused or end.error not in _PASSING
                ended = end.ended
        if ended and self._left:
            items.append(self._send())
        elif ended:
            items.append(self._end())
        return items

    def _send(self) -> Item:
        request = self._broker.request(self._socket, self._left.pop(0))
        flags, self._sequence = struct.unpack_from("=HI", request, 6)  # nlmsg_flags, nlmsg_seq
        self._is_dump = flags & NLM_F_DUMP == NLM_F_DUMP
        self._heard_ns = time.monotonic_ns()
        return outgoing(self._stream, self._seq, request)

    def _end(self) -> Item:
        lossy = self._receiver.take_lossy()
        self.complete = self.complete and not lossy and self._steady_value() == self._steady
        mark = self._mark(begin=False)
        self._round = None
        return mark

    def _mark(self, begin: bool) -> DumpMark:
        what = self._round.what if self._round else ""
        return DumpMark(self._stream, self._seq.next(), time.time_ns(), what, begin, not begin and self.complete)

    def _steady_value(self) -> str:
        name = self._round.steady if self._round else ""
        return self._broker.sysctls(self._socket.netns, [name]).get(name, "") if name else ""


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


def scan(batch: Batch, sequence: int, is_dump: bool) -> Scan:
    """Whether the answers to the request `sequence` end in this batch. RFC 3549, linux/netlink.h.

    NLM_F_MULTI is no help: IPCTNL_MSG_CT_GET_STATS is answered by one message that carries it, and no DONE.
    """
    words = memoryview(batch.buf).cast("B")
    words = words[: len(words) & ~3].cast("I")
    ended, interrupted, error = False, False, 0
    for start, length in zip((batch.off >> 2).tolist(), (batch.caplen >> 2).tolist(), strict=True):
        last, kinds = _walk(words, start, start + length)
        flags = kinds >> _FLAGS_SHIFT
        interrupted |= bool(flags & NLM_F_DUMP_INTR)
        if last is not None and words[last + 2] == sequence:
            kind = words[last + 1] >> _TYPE_SHIFT & 0xFFFF
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                ended = True
                error = error or _errno(words, last)
            elif not is_dump:
                ended = True
    return Scan(ended, interrupted, error)


def _errno(words: memoryview[int], at: int) -> int:
    """The errno in a DONE or ERROR message: a negative int after the header; DONE may come without."""
    return -words[at + 4] & 0xFFFF_FFFF if words[at] >= _HEADER_SIZE + 4 else 0


def _walk(words: memoryview[int], at: int, end: int) -> tuple[int | None, int]:
    """The last whole message in words[at:end] (None: none), and the or of all its messages' type and flags."""
    last, kinds = None, 0
    while at + 4 <= end:
        size = words[at]
        following = at + (size + 3 >> 2)
        if size < _HEADER_SIZE or following > end:
            break
        kinds |= words[at + 1]
        last, at = at, following
    return last, kinds
