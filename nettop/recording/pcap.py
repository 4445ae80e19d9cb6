"""The classic pcap format (draft-ietf-opsawg-pcap): decodes chunks of a file into packets, encodes packets."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Item, PacketMeta, Stream
from nettop.errors import DamagedInput
from nettop.kinds import NO_TIME, StreamKind
from nettop.linux.linktypes import LINKTYPE_NETLINK
from nettop.recording import blocks, bulk
from nettop.recording.emission import Emitter
from nettop.recording.records import FileBlock, FormatDecoder, Interface, Ints, Numbering, RecordColumns, order_of

MAGIC_US, MAGIC_NS, MAGIC_MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34  # the last: Kuznetzov's patched libpcap
_FILE_HEADER = 24
_RECORD = 16  # bytes of a packet's header
_SWAPPED = {(2, 0), (2, 1), (2, 2), (2, 3), (543, 0)}  # 543.0: DG/UX; as libpcap's sf-pcap.c reads them
_VERSIONS = _SWAPPED | {(2, 4)}
_MAX_CAPLEN = 1 << 18  # libpcap's MAXIMUM_SNAPLEN
_LONG_LINKTYPES = {231, 249, 279, 189, 220}  # D-Bus, USBPcap, EBHSCR, Linux USB: libpcap allows them 128 MiB
_MAX_LONG = 1 << 27


def byte_order(head: bytes) -> str | None:
    """Return "<" or ">" if the first four bytes are one of pcap's magic numbers, else None."""
    return order_of(head[:4], MAGIC_US, MAGIC_NS, MAGIC_MODIFIED)


class PcapDecoder(FormatDecoder):
    """Decodes the packets in successive chunks of a pcap file."""

    def __init__(self, numbering: Numbering) -> None:
        super().__init__(numbering, _FILE_HEADER)
        self._interfaces: list[Interface] = []  # one, as soon as the file's header is read
        self._order = "<"
        self._swapped = False  # the two lengths are in the other order, always or (version 2.3) by some programs
        self._fraction_ns = 1000  # of the second half of a timestamp
        self._header, self._max_caplen = _RECORD, _MAX_CAPLEN  # bytes of a packet's header, and of a packet

    def _read(self, chunk: bytes, base: int, final: bool, out: list[Item]) -> int:
        start = 0
        if not self._interfaces:
            if len(chunk) < _FILE_HEADER:
                if final:
                    raise DamagedInput("the pcap header is cut", base)
                return 0
            self._file_header(chunk, base, out)
            start = _FILE_HEADER
        return self._packets(chunk, start, base, final, out)

    def _file_header(self, chunk: bytes, base: int, out: list[Item]) -> None:
        self._order = byte_order(chunk) or "<"
        magic, major, minor, snaplen, network = struct.unpack_from(self._order + "IHH8xII", chunk)
        if (major, minor) not in _VERSIONS:
            self._note(f"version {major}.{minor} of pcap is not known, it was read as 2.4", base + 4)
        self._swapped = (major, minor) in _SWAPPED
        link = network & 0x03FFFFFF  # the upper bits give the length of the frame check sequence
        self._header = 24 if magic == MAGIC_MODIFIED else _RECORD
        self._max_caplen = _MAX_LONG if link in _LONG_LINKTYPES else _MAX_CAPLEN
        kind = StreamKind.NETLINK if link == LINKTYPE_NETLINK else StreamKind.PACKETS
        stream = Stream(0, kind, "", linktype=link, snaplen=snaplen, file=self._numbering.file)
        interface, options = Interface(stream, 0), list[blocks.Option]()
        if magic == MAGIC_NS:
            self._fraction_ns, interface.resolution, options = 1, 9, [(blocks.IF_TSRESOL, b"\x09")]
        self._interfaces.append(interface)
        stream_id = self._streams.on(interface, 0, out) if kind is StreamKind.PACKETS else None
        if self._numbering.keep_block is not None:
            body = struct.pack("<HHI", min(link, 0xFFFF), 0, snaplen) + blocks.encode_options(options)
            self._numbering.keep_block(FileBlock(blocks.IDB, body, "<", stream_id, 1))

    def _packets(self, chunk: bytes, start: int, base: int, final: bool, out: list[Item]) -> int:
        found, end = self._positions(chunk, start)
        pos = np.array(found, np.int64)
        head = bulk.gather(chunk, pos, self._header // 4, self._order)
        if self._swapped:
            head[:, 2:4] = np.sort(head[:, 2:4], axis=1)
        caplen = head[:, 2].astype(np.int64)
        too_long = caplen > self._max_caplen
        intact = int(np.argmax(too_long)) if too_long.any() else len(pos)
        if intact == len(pos) and end > len(chunk):  # the last one continues beyond the chunk
            intact, end = intact - 1, found[-1]
        rows = self._columns(pos[:intact] + self._header, caplen[:intact], head[:intact])
        self._number += intact
        Emitter(self._streams, rows, self._interfaces, chunk, base, out).emit()
        if intact < len(pos) and caplen[intact] > self._max_caplen:
            raise DamagedInput(f"a packet claims {caplen[intact]} bytes", base + found[intact])
        if final and end < len(chunk):
            raise DamagedInput("the file is cut in the middle of a packet", base + end)
        self.need = self._header + (int(caplen[intact]) if intact < len(pos) else 0)
        return end

    def _positions(self, chunk: bytes, pos: int) -> tuple[list[int], int]:
        """Return the offsets of packet headers, following lengths unchecked, and the offset after the last one."""
        lengths = struct.Struct(self._order + ("8xII" if self._swapped else "8xI")).unpack_from
        found: list[int] = []
        append, header, last = found.append, self._header, len(chunk) - self._header
        while pos <= last:
            append(pos)
            pos += header + min(lengths(chunk, pos))
        return found, pos

    def _columns(self, off: Ints, caplen: Ints, head: NDArray[np.uint32]) -> RecordColumns:
        ts_ns = head[:, 0].astype(np.int64) * 1_000_000_000 + head[:, 1].astype(np.int64) * self._fraction_ns
        direction = None
        if self._header == 24:  # … ifindex u32, protocol u16, packet type u8, pad u8
            direction = np.ascontiguousarray(head[:, 5]).view(np.uint8)[2::4].copy()
        numbers = np.arange(self._number, self._number + len(off), dtype=np.uint64)
        return RecordColumns(np.zeros_like(off), off, caplen, head[:, 3].astype(np.uint32), ts_ns, numbers, direction)


def named(path: str) -> bool:
    """Return whether a file's name says that it is pcap."""
    return path.lower().endswith((".pcap", ".cap"))


def file_header(linktype: int, snaplen: int, nanoseconds: bool) -> bytes:
    """Return the header of a pcap file."""
    magic = MAGIC_NS if nanoseconds else MAGIC_US
    return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snaplen or _MAX_CAPLEN, linktype)


def encode(batches: Sequence[Batch], order: NDArray[np.int64], nanoseconds: bool) -> memoryview:
    """Return packets of one link type as pcap's records. `order` indexes the rows of all batches, one after another."""
    caplen = np.concatenate([batch.caplen.astype(np.int64) for batch in batches] or [np.empty(0, np.int64)])
    at = bulk.places(caplen + _RECORD, order)
    out = np.empty(int((caplen + _RECORD).sum()), np.uint8)
    start = 0
    for batch in batches:
        rows = slice(start, start + len(batch))
        assert isinstance(batch.meta, PacketMeta)
        head = np.empty((len(batch), 4), np.uint32)
        seconds, parts = np.divmod(np.where(batch.ts_ns == NO_TIME, 0, batch.ts_ns), 1_000_000_000)
        head[:, 0], head[:, 1] = seconds, parts if nanoseconds else parts // 1000
        head[:, 2], head[:, 3] = batch.caplen, batch.meta.wirelen
        bulk.scatter(out, at[rows], head)
        bulk.copy(out, at[rows] + _RECORD, batch.buf, batch.off.astype(np.int64), caplen[rows])
        start += len(batch)
    return out.data
