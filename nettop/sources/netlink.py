"""Live netlink: many datagrams become one batch at a read, and the kernel's losses are counted exactly.

A listener whose buffer is full loses messages; the kernel then refuses everything until the buffer has been read
empty (linux net/netlink/af_netlink.c, NETLINK_S_CONGESTED), so the place of a loss is where the buffer ran empty.
"""

from __future__ import annotations

import errno
import socket
import struct
import time

import numpy as np

from nettop.batch import Batch, Counter64, Counters, Gap, Item, NetlinkMeta, Stream, StreamAdded
from nettop.broker.client import NetlinkSocket
from nettop.kinds import GapReason
from nettop.sources.datagrams import Received, Slots, joined

_SO_MEMINFO = 55  # asm-generic/socket.h; u32s SK_MEMINFO_* of linux/sock_diag.h
_MEMINFO = struct.Struct("=9I")
_SK_MEMINFO_DROPS = 8


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
        self._told = False  # a Gap was given for it already
        self._lossy = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, max_bytes: int, most: int = 1024) -> list[Item]:
        """What waits in the socket as one Batch of about max_bytes, `most` datagrams a call; a Gap where it overran."""
        parts, stamps, emptied = self._drain(max_bytes, most)
        items: list[Item] = [self._batch(parts, stamps)] if parts else []
        if self._overrun and emptied:
            items += self._gap() or self._unknown_gap()
            self._overrun = self._told = False
        return items

    def losses(self) -> list[Item]:
        """A Gap when the kernel dropped since the last look, and Counters when they changed."""
        items = self._gap()
        totals = (self._received + self._dropped, self._dropped)
        if totals != self._counted:
            self._counted = totals
            items.append(Counters(self._stream, self._seq.next(), time.time_ns(), *totals))
        return items

    def take_lossy(self) -> bool:
        """Whether a Gap was given since this was last asked."""
        lossy, self._lossy = self._lossy, False
        return lossy

    def close(self) -> None:
        self._socket.close()

    def _drain(self, max_bytes: int, most: int) -> tuple[list[Received], list[int], bool]:
        """What came, the time of each part, and whether the socket had no more."""
        parts: list[Received] = []
        stamps: list[int] = []
        while max_bytes > 0:
            try:
                parts.append(self._slots.receive(self._socket.fileno(), most))
            except BlockingIOError:
                return parts, stamps, True
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._overrun = True  # what waits in the buffer is older than the loss
                continue
            stamps.append(time.time_ns())
            max_bytes -= len(parts[-1].buf)
        return parts, stamps, False

    def _batch(self, parts: list[Received], stamps: list[int]) -> Batch:
        buf, off, length = joined(parts)
        self._received += len(off)
        ts_ns = np.repeat(np.array(stamps, np.int64), [len(part.off) for part in parts])
        return Batch(self._stream, self._seq.next(), buf, off, length, ts_ns, NetlinkMeta(np.zeros(len(off), np.bool_)))

    def _gap(self) -> list[Item]:
        since, self._looked_ns = self._looked_ns, time.time_ns()
        seen, self._drops_seen = self._drops_seen, self._kernel_drops()
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

    def _kernel_drops(self) -> int:
        raw = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(raw)[_SK_MEMINFO_DROPS])


class NetlinkEvents:
    """A source that listens to the groups its socket joined: a Batch a read, one datagram a record."""

    def __init__(self, stream: Stream, netlink_socket: NetlinkSocket, seq: Counter64) -> None:
        self._stream = stream
        self._seq = seq
        self._receiver = Receiver(stream.id, netlink_socket, seq)
        self._announced = False

    def fileno(self) -> int:
        """The netlink socket."""
        return self._receiver.fileno()

    def due_ns(self) -> int | None:
        """At once before the first read, to announce the stream; then only when the socket is ready."""
        return None if self._announced else 0

    def read(self, max_bytes: int) -> list[Item]:
        """What waits in the socket."""
        added: list[Item] = [] if self._announced else [StreamAdded(self._stream, self._seq.next())]
        self._announced = True
        return added + self._receiver.receive(max_bytes)

    def losses(self) -> list[Item]:
        """Gaps (exact, SO_MEMINFO) and Counters since the last call."""
        return self._receiver.losses() if self._announced else []

    def close(self) -> None:
        """Close the socket."""
        self._receiver.close()
