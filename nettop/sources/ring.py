"""A source of live packets: the TPACKET_V3 receive ring of a packet socket that the broker opened."""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
import time

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Counter64, Counters, End, Gap, Item, PacketMeta, Stream, StreamAdded, select_rows
from nettop.broker import abi
from nettop.broker.requests import PacketSocket
from nettop.errors import BrokerError
from nettop.kinds import GapReason
from nettop.linux import packet
from nettop.linux.interface import ARPHRD_LOOPBACK
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.linux.socket import SOL_PACKET
from nettop.sources import tpacket
from nettop.sources.packet_filter import PacketFilter
from nettop.sources.tpacket import Frames

_STATISTICS = struct.Struct("=III")  # struct tpacket_stats_v3
_LAST_BLOCK_NS = 150_000_000  # a ring's open block is still retired after its device is gone (tp_retire_blk_tov)
_RECHECK_NS = 200_000_000  # removing a device that is down wakes no poll (net/packet/af_packet.c, packet_notifier)


class PacketRing:
    """Returns a Batch per retired block. The block is copied once and returned to the kernel at once.

    On loopback the kernel shows every packet twice; the outgoing copies are left out, as libpcap does. These, and what
    `packet_filter` (a filter that the kernel refuses) does not accept, are not in `Counters.received`. A link that goes
    down and up again only pauses the stream; a removed device ends it.
    """

    def __init__(
        self, stream: Stream, packet_socket: PacketSocket, seq: Counter64, packet_filter: PacketFilter | None = None
    ) -> None:
        self._stream = stream
        self._seq = seq
        self._filter = packet_filter
        self._name = packet_socket.device.name
        self._snaplen = packet_socket.snaplen
        self._ethernet = packet_socket.linktype == LINKTYPE_ETHERNET
        self._loopback = packet_socket.device.arphrd == ARPHRD_LOOPBACK
        self._block_words = packet_socket.block_size // 4
        self._block_count = packet_socket.block_count
        self._next_block = 0
        self._announced = False
        self._received = self._dropped = self._skipped = 0
        self._reported: tuple[int, int] | None = None
        self._checked_ns = time.time_ns()
        self._due_ns: int | None = 0  # monotonic
        self._down = self._gone = False
        self._socket = socket.socket(fileno=packet_socket.fd)
        self._ring = self._mapped(packet_socket.block_size * packet_socket.block_count)
        self._words = memoryview(self._ring).cast("I")

    def fileno(self) -> int:
        """Return the packet socket: readable when a block is retired, in error when the link goes down."""
        return self._socket.fileno()

    def due_ns(self) -> int | None:
        """Return 0 before the first read, the time of the next check while the device is down or gone, else None."""
        return self._due_ns

    def read(self, max_bytes: int) -> list[Item]:
        """Return the retired blocks, each as one Batch; after the last block of a removed device, the End."""
        items: list[Item] = [] if self._announced else [StreamAdded(self._stream, self._seq.next())]
        self._announced, due, self._due_ns = True, self._due_ns, None
        room = max_bytes
        while room > 0 and (block := self._read_block()) is not None:
            room -= len(block)
            items += self._batch(block)
        return items + self._check_device(due or 0)

    def losses(self) -> list[Item]:
        """Return a Gap when the ring was full since the last call, and Counters when they changed; both exact."""
        if not self._announced:
            return []
        raw = self._socket.getsockopt(SOL_PACKET, packet.PACKET_STATISTICS, _STATISTICS.size)
        packets, drops, _freezes = _STATISTICS.unpack(raw)  # since the last call: the kernel sets them to zero
        since, self._checked_ns = self._checked_ns, time.time_ns()
        self._received += packets
        self._dropped += drops
        items: list[Item] = []
        if drops:
            items.append(Gap(self._stream.id, self._seq.next(), drops, GapReason.RING, since, self._checked_ns))
        totals = (self._received - self._skipped, self._dropped)
        if totals != self._reported:
            self._reported = totals
            items.append(Counters(self._stream.id, self._seq.next(), self._checked_ns, *totals))
        return items

    def close(self) -> None:
        """Unmap the ring and close the socket: a mapping alone would keep the namespace alive."""
        self._words.release()
        self._ring.close()
        self._socket.close()

    def _mapped(self, size: int) -> mmap.mmap:
        try:
            return mmap.mmap(self._socket.fileno(), size)
        except OSError as error:
            self._socket.close()
            raise BrokerError(f"the ring of {self._name} cannot be mapped: {error.strerror}") from error

    def _read_block(self) -> bytearray | None:
        """Return a copy of the next block if it is retired, and give the block back to the kernel."""
        at = self._next_block * self._block_words
        if not self._words[at + tpacket.STATUS_WORD] & packet.TP_STATUS_USER:
            return None
        length = (self._words[at + tpacket.LENGTH_WORD] + 7) // 8 * 2
        block = bytearray(self._words[at : at + length])
        self._words[at + tpacket.STATUS_WORD] = packet.TP_STATUS_KERNEL
        self._next_block = (self._next_block + 1) % self._block_count
        return block

    def _batch(self, block: bytearray) -> list[Item]:
        frames = tpacket.frames_of(block, self._snaplen, self._ethernet)
        if self._loopback:
            frames = self._kept(frames, frames.direction != packet.PACKET_OUTGOING)
        if self._filter is not None:
            frames = self._kept(frames, self._filter.accepted(block, frames))
        if not len(frames):
            return []
        meta = PacketMeta(frames.wirelen, frames.direction, frames.status)
        return [Batch(self._stream.id, self._seq.next(), block, frames.off, frames.caplen, frames.ts_ns, meta)]

    def _kept(self, frames: Frames, mask: NDArray[np.bool_]) -> Frames:
        """Return the frames of the mask. The others do not count as received."""
        kept = select_rows(frames, mask)
        self._skipped += len(frames) - len(kept)
        return kept

    def _check_device(self, due_ns: int) -> list[Item]:
        """Clear the socket's error, which would keep poll ready. Return a removed device's End after its last block."""
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # ENETDOWN: link down, or device removed
            self._down = True
        if not self._down:
            return []
        now = time.monotonic_ns()
        if self._gone and now >= due_ns:
            return [*self.losses(), End(self._stream.id, self._seq.next(), error=f"device {self._name} is gone")]
        if not self._gone:
            self._gone = self._ifindex() <= 0
            due_ns = now + (_LAST_BLOCK_NS if self._gone else _RECHECK_NS)
        self._due_ns = due_ns
        return []

    def _ifindex(self) -> int:
        """Return the index of the device that the socket is bound to; -1: it was removed (net/packet/af_packet.c).

        Python's getsockname() gives a name instead, for which it makes an ioctl that the confined app may not make.
        """
        address = ctypes.create_string_buffer(packet.SOCKADDR_LL.size)
        size = ctypes.c_uint32(len(address))
        abi.checked(abi.libc.getsockname(self._socket.fileno(), address, ctypes.byref(size)), "getsockname")
        return int(packet.SOCKADDR_LL.unpack(address)[2])
