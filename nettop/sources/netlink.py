"""Live netlink: each read makes one batch of many datagrams, and the kernel's losses are counted exactly.

A listener whose buffer is full loses messages. The kernel then drops everything until the buffer has been read empty
(linux net/netlink/af_netlink.c, NETLINK_S_CONGESTED), so a loss is located where the buffer ran empty. New messages
follow at once, so the reader approaches that point in steps that the buffer's fill (SO_MEMINFO) allows.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable

import numpy as np

from nettop.batch import Batch, Counter64, Counters, Gap, Item, NetlinkMeta, Stream, StreamAdded
from nettop.broker.requests import NetlinkSocket
from nettop.kinds import GapReason
from nettop.linux.socket import SK_MEMINFO_DROPS, SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_VARS, SO_MEMINFO
from nettop.sources.datagrams import Received, Slots, joined

_MEMINFO = struct.Struct(f"={SK_MEMINFO_VARS}I")
# Bytes of the buffer that one message takes (skb->truesize): at least a sk_buff, the smallest head and its
# skb_shared_info; at most, for events, a head of 2 KiB. A conntrack event takes 1,280.
_MIN_TRUESIZE = 768
_MAX_TRUESIZE = 2304
_STABLE_NS = 100_000_000
_FIRST_REST_NS = 200_000_000
ALL_PARTS = frozenset({""})  # instead of the names of the parts that have changed


class Receiver:
    """Receives one socket's datagrams and counts those that the kernel dropped. The socket stays shared."""

    def __init__(self, stream: int, netlink_socket: NetlinkSocket, seq: Counter64) -> None:
        self._stream = stream
        self._seq = seq
        self._socket = socket.socket(fileno=netlink_socket.fd)
        self._slots = Slots()
        self._received = 0
        self._dropped = 0
        self._drops_seen = 0
        self._reported: tuple[int, int] | None = None
        self._checked_ns = time.time_ns()
        self._overrun = False  # ENOBUFS was returned and the buffer has not been empty since
        self._drops_before = 0  # the kernel's count just before the buffer was read empty
        self._gap_reported = False  # a Gap was returned; a later ENOBUFS may be of the same drops
        self._lossy = False
        self._stable = 0, 0  # the kernel's drop count in an overrun, and since when it has not changed (monotonic ns)

    def fileno(self) -> int:
        """Return the socket."""
        return self._socket.fileno()

    def receive(self, max_bytes: int, max_datagrams: int = 1024) -> list[Item]:
        """Return the queued datagrams as one Batch of about max_bytes, and a Gap if the buffer overran.

        One system call reads at most `max_datagrams`.
        """
        parts, stamps, emptied = self._drain(max_bytes, max_datagrams)
        items: list[Item] = [self._batch(parts, stamps)] if parts else []
        if emptied and self._overrun:
            items += self._emptied_after_loss()
        elif emptied:  # without ENOBUFS: nothing was dropped so far
            self._gap_reported, self._checked_ns = False, time.time_ns()
        return items

    def losses(self) -> list[Item]:
        """Return Counters if they changed, and a Gap if the kernel dropped messages and all older ones are read."""
        fill, drops = self._memory()
        items: list[Item] = []
        if not fill and (not self._overrun or self._is_stable(drops)):
            self._overrun = False
            items += self._gap(drops)
        dropped = self._dropped + (drops - self._drops_seen & 0xFFFF_FFFF)
        totals = (self._received + dropped, dropped)
        if totals != self._reported:
            self._reported = totals
            items.append(Counters(self._stream, self._seq.next(), time.time_ns(), *totals))
        return items

    def _is_stable(self, drops: int) -> bool:
        """Return whether an overrun has ended: no drop for _STABLE_NS. Without new messages no read shows the last."""
        now = time.monotonic_ns()
        if drops != self._stable[0]:
            self._stable = drops, now
        return now - self._stable[1] >= _STABLE_NS

    def pop_lossy(self) -> bool:
        """Return whether there was a Gap since the last call."""
        lossy, self._lossy = self._lossy, False
        return lossy

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _drain(self, max_bytes: int, max_datagrams: int) -> tuple[list[Received], list[int], bool]:
        """Return the datagrams, each part's time, and whether none is left (in an overrun: none before the loss)."""
        parts: list[Received] = []
        stamps: list[int] = []
        last = False
        while max_bytes > 0 and not last:
            if self._overrun:
                max_datagrams, last = self._before_loss(max_datagrams)
            try:
                parts.append(self._slots.receive(self._socket.fileno(), max_datagrams))
            except BlockingIOError:
                return parts, stamps, True
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._overrun, last = True, False  # the messages in the buffer are older than the loss
                continue
            stamps.append(time.time_ns())
            max_bytes -= len(parts[-1].buf)
        return parts, stamps, last

    def _before_loss(self, max_datagrams: int) -> tuple[int, bool]:
        """Return how many queued messages are certainly older than the loss, and whether these are all."""
        memory = [self._memory() for _ in range(3)]
        fill = min(fill for fill, _ in memory)  # a message that is just being dropped counts for a moment
        self._drops_before = memory[-1][1]
        if fill < 2 * _MIN_TRUESIZE:
            return 1, True
        return max(1, min(max_datagrams, fill // _MAX_TRUESIZE - 1)), False

    def _batch(self, parts: list[Received], stamps: list[int]) -> Batch:
        buf, off, length = joined(parts)
        self._received += len(off)
        ts_ns = np.repeat(np.array(stamps, np.int64), [len(part.off) for part in parts])
        return Batch(self._stream, self._seq.next(), buf, off, length, ts_ns, NetlinkMeta(np.zeros(len(off), np.bool_)))

    def _emptied_after_loss(self) -> list[Item]:
        """Return the Gap, just after the buffer ran empty. Drops of a second overrun belong to the next Gap."""
        drops = self._memory()[1]
        again = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ENOBUFS
        items = self._gap(self._drops_before if again else drops) or self._unknown_gap()
        self._overrun = again
        return items

    def _gap(self, drops: int) -> list[Item]:
        since, self._checked_ns = self._checked_ns, time.time_ns()
        seen, self._drops_seen = self._drops_seen, drops
        lost = (self._drops_seen - seen) & 0xFFFF_FFFF
        if not lost:
            return []
        self._dropped += lost
        self._lossy = self._gap_reported = True
        return [Gap(self._stream, self._seq.next(), lost, GapReason.KERNEL, since, self._checked_ns)]

    def _unknown_gap(self) -> list[Item]:
        """Return a Gap for an ENOBUFS without a drop: the kernel could not make the message (netlink_set_err)."""
        if self._gap_reported:
            return []
        self._lossy = True
        return [Gap(self._stream, self._seq.next(), None, GapReason.KERNEL, self._checked_ns, self._checked_ns)]

    def _memory(self) -> tuple[int, int]:
        """Return the bytes in the buffer, and the messages dropped since the socket was made (modulo 2³²)."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        words = _MEMINFO.unpack(raw)
        return words[SK_MEMINFO_RMEM_ALLOC], words[SK_MEMINFO_DROPS]


class NetlinkEvents:
    """A source of the messages of its socket's groups: each read is a Batch, each record one datagram.

    With `announces`, `changed` is called on the source's thread after a read with a Gap or a batch that announces a
    change, and then not again for `rest_ns()`: further changes in that time are reported once, at its end. `grows`: the
    first rests are short, each twice as long as the one before, so that a few changes in a row are all reported soon.
    Its argument has the parts that `parts_of` finds in the batches; after a Gap: ALL_PARTS.
    """

    def __init__(
        self,
        stream: Stream,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        announces: Callable[[Batch], bool] | None = None,
        changed: Callable[[frozenset[str]], None] = lambda parts: None,
        rest_ns: Callable[[], int] = lambda: 0,
        grows: bool = False,
        parts_of: Callable[[Batch], frozenset[str]] = lambda batch: ALL_PARTS,
    ) -> None:
        self._stream = stream
        self._seq = seq
        self._receiver = Receiver(stream.id, netlink_socket, seq)
        self._announced = False
        self._changed, self._announces, self._rest_ns, self._grows = changed, announces, rest_ns, grows
        self._pending = False  # a change that `changed` was not called for yet
        self._parts_of, self._parts = parts_of, frozenset[str]()  # of the batches since that call
        self._rest_until_ns = self._last_rest_ns = 0

    def fileno(self) -> int:
        """Return the netlink socket."""
        return self._receiver.fileno()

    def due_ns(self) -> int | None:
        """Return 0 before the first read, then the time to report a pending change; None if there is none."""
        if not self._announced:
            return 0
        return self._rest_until_ns if self._pending else None

    def read(self, max_bytes: int) -> list[Item]:
        """Return the queued messages."""
        added: list[Item] = [] if self._announced else [StreamAdded(self._stream, self._seq.next())]
        self._announced = True
        return added + self._notify(self._receiver.receive(max_bytes))

    def losses(self) -> list[Item]:
        """Return the Gaps (exact, SO_MEMINFO) and Counters since the last call."""
        return self._notify(self._receiver.losses()) if self._announced else []

    def close(self) -> None:
        """Close the socket."""
        self._receiver.close()

    def _notify(self, items: list[Item]) -> list[Item]:
        """Call `changed` if it is due, and return the items."""
        announces = self._announces
        if announces is None:
            return items
        lossy = self._receiver.pop_lossy()
        batches = [item for item in items if isinstance(item, Batch)]
        self._pending |= lossy or any(announces(batch) for batch in batches)
        self._parts = self._parts.union(ALL_PARTS if lossy else (), *map(self._parts_of, batches))
        now = time.monotonic_ns()
        if self._pending and now >= self._rest_until_ns:
            self._pending, most_ns = False, self._rest_ns()
            longer_ns = 2 * self._last_rest_ns if now - self._rest_until_ns < most_ns else 0
            self._last_rest_ns = min(most_ns, max(_FIRST_REST_NS, longer_ns)) if self._grows else most_ns
            self._rest_until_ns = now + self._last_rest_ns
            parts, self._parts = self._parts, frozenset()
            self._changed(parts)
        return items
