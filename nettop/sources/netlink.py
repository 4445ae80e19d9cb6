"""Live netlink: many datagrams become one batch at a read, and the kernel's losses are counted exactly.

A listener whose buffer is full loses messages; the kernel then refuses everything until the buffer has been read
empty (linux net/netlink/af_netlink.c, NETLINK_S_CONGESTED), so the place of a loss is where the buffer ran empty.
New messages follow at once, so that place is approached in steps that the buffer's fill (SO_MEMINFO) allows.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable

import numpy as np

from nettop.batch import Batch, Counter64, Counters, Gap, Item, NetlinkMeta, Stream, StreamAdded
from nettop.broker.client import NetlinkSocket
from nettop.kinds import GapReason
from nettop.linux.nf_tables import NFT_MSG_NEWGEN
from nettop.linux.nfnetlink import NFNL_SUBSYS_NFTABLES
from nettop.linux.socket import SK_MEMINFO_DROPS, SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_VARS, SO_MEMINFO
from nettop.sources.datagrams import Received, Slots, joined

_MEMINFO = struct.Struct(f"={SK_MEMINFO_VARS}I")
# What one message takes of the buffer (skb->truesize), in bytes: at least a sk_buff, the smallest head with its
# skb_shared_info; at most, for messages of events, a head of 2 KiB. Of conntrack's: 1,280.
_LEAST_TRUESIZE = 768
_MOST_TRUESIZE = 2304
_STILL_NS = 100_000_000
_NEWGEN = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN  # the last message of every commit


class Receiver:
    """Receives one socket's datagrams, and accounts for those the kernel dropped. The socket stays shared."""

    def __init__(self, stream: int, netlink_socket: NetlinkSocket, seq: Counter64) -> None:
        self._stream = stream
        self._seq = seq
        self._socket = socket.socket(fileno=netlink_socket.fd)
        self._slots = Slots()
        self._received = 0
        self._dropped = 0
        self._drops_seen = 0
        self._counted: tuple[int, int] | None = None
        self._looked_ns = time.time_ns()
        self._overrun = False  # ENOBUFS came and the buffer has not been empty since
        self._drops_before = 0  # the kernel's count just before the buffer was read empty
        self._told = False  # a Gap was given, and an ENOBUFS that came later may be of the same drops
        self._lossy = False
        self._still = 0, 0  # the kernel's count in an overrun, and since when it is that

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, max_bytes: int, most: int = 1024) -> list[Item]:
        """What waits in the socket as one Batch of about max_bytes, `most` datagrams a call; a Gap where it overran."""
        parts, stamps, emptied = self._drain(max_bytes, most)
        items: list[Item] = [self._batch(parts, stamps)] if parts else []
        if emptied and self._overrun:
            items += self._emptied_after_loss()
        elif emptied:  # without ENOBUFS: up to now nothing was dropped
            self._told, self._looked_ns = False, time.time_ns()
        return items

    def losses(self) -> list[Item]:
        """Counters when they changed; a Gap when the kernel dropped and nothing from before that waits to be read."""
        fill, drops = self._memory()
        items: list[Item] = []
        if not fill and (not self._overrun or self._is_still(drops)):
            self._overrun = False
            items += self._gap(drops)
        dropped = self._dropped + (drops - self._drops_seen & 0xFFFF_FFFF)
        totals = (self._received + dropped, dropped)
        if totals != self._counted:
            self._counted = totals
            items.append(Counters(self._stream, self._seq.next(), time.time_ns(), *totals))
        return items

    def _is_still(self, drops: int) -> bool:
        """Whether an overrun is over: no drop for a moment. When nothing comes any more, no read tells of the last."""
        now = time.monotonic_ns()
        if drops != self._still[0]:
            self._still = drops, now
        return now - self._still[1] >= _STILL_NS

    def take_lossy(self) -> bool:
        """Whether a Gap was given since this was last asked."""
        lossy, self._lossy = self._lossy, False
        return lossy

    def close(self) -> None:
        self._socket.close()

    def _drain(self, max_bytes: int, most: int) -> tuple[list[Received], list[int], bool]:
        """What came, the time of each part, and whether the socket had no more, or no more from before a loss."""
        parts: list[Received] = []
        stamps: list[int] = []
        last = False
        while max_bytes > 0 and not last:
            if self._overrun:
                most, last = self._before_loss(most)
            try:
                parts.append(self._slots.receive(self._socket.fileno(), most))
            except BlockingIOError:
                return parts, stamps, True
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._overrun, last = True, False  # what waits in the buffer is older than the loss
                continue
            stamps.append(time.time_ns())
            max_bytes -= len(parts[-1].buf)
        return parts, stamps, last

    def _before_loss(self, most: int) -> tuple[int, bool]:
        """How many of the messages that wait certainly came before the loss, and whether that is all of them."""
        memory = [self._memory() for _ in range(3)]
        fill = min(fill for fill, _ in memory)  # what is just being refused counts for a moment
        self._drops_before = memory[-1][1]
        if fill < 2 * _LEAST_TRUESIZE:
            return 1, True
        return max(1, min(most, fill // _MOST_TRUESIZE - 1)), False

    def _batch(self, parts: list[Received], stamps: list[int]) -> Batch:
        buf, off, length = joined(parts)
        self._received += len(off)
        ts_ns = np.repeat(np.array(stamps, np.int64), [len(part.off) for part in parts])
        return Batch(self._stream, self._seq.next(), buf, off, length, ts_ns, NetlinkMeta(np.zeros(len(off), np.bool_)))

    def _emptied_after_loss(self) -> list[Item]:
        """The Gap, just after the buffer ran empty. If it has overrun again since, those drops are of the next one."""
        drops = self._memory()[1]
        again = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ENOBUFS
        items = self._gap(self._drops_before if again else drops) or self._unknown_gap()
        self._overrun = again
        return items

    def _gap(self, drops: int) -> list[Item]:
        since, self._looked_ns = self._looked_ns, time.time_ns()
        seen, self._drops_seen = self._drops_seen, drops
        lost = (self._drops_seen - seen) & 0xFFFF_FFFF
        if not lost:
            return []
        self._dropped += lost
        self._lossy = self._told = True
        return [Gap(self._stream, self._seq.next(), lost, GapReason.KERNEL, since, self._looked_ns)]

    def _unknown_gap(self) -> list[Item]:
        """ENOBUFS without a drop of ours: the kernel could not even make the message (netlink_set_err)."""
        if self._told:
            return []
        self._lossy = True
        return [Gap(self._stream, self._seq.next(), None, GapReason.KERNEL, self._looked_ns, self._looked_ns)]

    def _memory(self) -> tuple[int, int]:
        """Bytes that the buffer holds, and how many messages were dropped since the socket was made (modulo 2³²)."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
        words = _MEMINFO.unpack(raw)
        return words[SK_MEMINFO_RMEM_ALLOC], words[SK_MEMINFO_DROPS]


class NetlinkEvents:
    """A source that listens to the groups its socket joined: a Batch a read, one datagram a record.

    With `announces`, `changed` is called on the source's thread after a read with a Gap or a batch that announces a
    change, and then not again for `rest_ns()`: changes in quick succession are one at their end.
    """

    def __init__(
        self,
        stream: Stream,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        announces: Callable[[Batch], bool] | None = None,
        changed: Callable[[], None] = lambda: None,
        rest_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._stream = stream
        self._seq = seq
        self._receiver = Receiver(stream.id, netlink_socket, seq)
        self._announced = False
        self._changed, self._announces, self._rest_ns = changed, announces, rest_ns
        self._pending = False  # a change that `changed` was not called for yet
        self._rest_until_ns = 0

    def fileno(self) -> int:
        """The netlink socket."""
        return self._receiver.fileno()

    def due_ns(self) -> int | None:
        """At once before the first read, to announce the stream; then when a change that waits may be passed on."""
        if not self._announced:
            return 0
        return self._rest_until_ns if self._pending else None

    def read(self, max_bytes: int) -> list[Item]:
        """What waits in the socket."""
        added: list[Item] = [] if self._announced else [StreamAdded(self._stream, self._seq.next())]
        self._announced = True
        return added + self._looked_at(self._receiver.receive(max_bytes))

    def losses(self) -> list[Item]:
        """Gaps (exact, SO_MEMINFO) and Counters since the last call."""
        return self._looked_at(self._receiver.losses()) if self._announced else []

    def close(self) -> None:
        """Close the socket."""
        self._receiver.close()

    def _looked_at(self, items: list[Item]) -> list[Item]:
        announces = self._announces
        if announces is None:
            return items
        self._pending |= self._receiver.take_lossy()
        self._pending |= any(isinstance(item, Batch) and announces(item) for item in items)
        now = time.monotonic_ns()
        if self._pending and now >= self._rest_until_ns:
            self._pending = False
            self._rest_until_ns = now + self._rest_ns()
            self._changed()
        return items


def commits(batch: Batch) -> bool:
    """Whether a datagram of nftables' events begins with NFT_MSG_NEWGEN: the kernel sends it alone."""
    words = np.frombuffer(batch.buf, np.uint16)
    whole = batch.off[batch.caplen >= 16]  # struct nlmsghdr; nlmsg_type at byte 4
    return bool(np.any(words[(whole >> 1) + 2] == _NEWGEN))
