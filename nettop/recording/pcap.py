"""The classic pcap format (draft-ietf-opsawg-pcap): decodes chunks of a file into packets, encodes packets."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Item, PacketMeta, Stream
from nettop.errors import DamagedInput
from nettop.kinds import NO_TIME, StreamKind
from nettop.linux.linktypes import LINKTYPE_NETLINK
from nettop.recording import blocks, bulk
from nettop.recording.emission import Emitter
from nettop.recording.records import FileBlock, FormatDecoder, Interface, Numbering, RecordColumns, order_of

MAGIC_US, MAGIC_NS, MAGIC_MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34  # the last: Kuznetzov's patched libpcap
_FILE_HEADER = 24
_RECORD = 16  # bytes of a packet's header
_SWAPPED = {(2, 0), (2, 1), (2, 2), (2, 3), (543, 0)}  # 543.0: DG/UX; as libpcap's sf-pcap.c reads them
_VERSIONS = _SWAPPED | {(2, 4)}
_MAX_CAPLEN = 1 << 18  # libpcap's MAXIMUM_SNAPLEN
_LONG_LINKTYPES = {231, 249, 279, 189, 220}  # D-Bus, USBPcap, EBHSCR, Linux USB: libpcap allows them 128 MiB
_MAX_LONG = 1 << 27


@dataclass(frozen=True, slots=True)
class _PcapFormat:
    order: str  # of struct: "<" or ">"
    swapped: bool  # the two lengths are written in the other order, always or (version 2.3) by some programs
    fraction_ns: int  # of the second half of a timestamp
    header: int  # bytes of a packet's header
    max_caplen: int


def byte_order(head: bytes) -> str | None:
    """Return "<" or ">" if the first four bytes are one of pcap's magic numbers, else None."""
    return order_of(head[:4], MAGIC_US, MAGIC_NS, MAGIC_MODIFIED)


class PcapDecoder(FormatDecoder):
    """Decodes the packets in successive chunks of a pcap file."""

    def __init__(self, numbering: Numbering) -> None:
        super().__init__(numbering, _FILE_HEADER)
        self._interfaces: list[Interface] = []
        self._format: _PcapFormat | None = None

    def _read(self, chunk: bytes, base: int, final: bool, out: list[Item]) -> int:
        start = self._file_header(chunk, base, final, out)
        return start if self._format is None else self._packets(chunk, start, base, final, self._format, out)

    def _file_header(self, chunk: bytes, base: int, final: bool, out: list[Item]) -> int:
        if self._format is not None:
            return 0
        if len(chunk) < _FILE_HEADER:
            if final:
                raise DamagedInput("the pcap header is cut", base)
            return 0
        order = byte_order(chunk) or "<"
        magic, major, minor, snaplen, network = struct.unpack_from(order + "IHH8xII", chunk)
        if (major, minor) not in _VERSIONS:
            self._note(f"version {major}.{minor} of pcap is not known, it was read as 2.4", base + 4)
        link = network & 0x03FFFFFF  # the upper bits give the length of the frame check sequence
        self._format = _PcapFormat(
            order,
            (major, minor) in _SWAPPED,
            1 if magic == MAGIC_NS else 1000,
            24 if magic == MAGIC_MODIFIED else 16,
            _MAX_LONG if link in _LONG_LINKTYPES else _MAX_CAPLEN,
        )
        kind = StreamKind.NETLINK if link == LINKTYPE_NETLINK else StreamKind.PACKETS
        stream = Stream(0, kind, "", linktype=link, snaplen=snaplen, file=self._numbering.file)
        interface = Interface(stream, 0, resolution=9 if magic == MAGIC_NS else 6)
        self._interfaces.append(interface)
        stream_id = self._streams.on(interface, 0, out) if kind is StreamKind.PACKETS else None
        if self._numbering.keep_block is not None:
            body = struct.pack("<HHI", min(link, 0xFFFF), 0, snaplen)
            body += blocks.encode_options([(blocks.IF_TSRESOL, b"\x09")] if magic == MAGIC_NS else [])
            self._numbering.keep_block(FileBlock(blocks.IDB, body, "<", stream_id, 1))
        return _FILE_HEADER

    def _packets(self, chunk: bytes, start: int, base: int, final: bool, layout: _PcapFormat, out: list[Item]) -> int:
        found, end = _positions(chunk, start, layout)
        pos = np.array(found, np.int64)
        head = bulk.gather(chunk, pos, layout.header // 4, layout.order)
        if layout.swapped:
            head[:, 2:4] = np.sort(head[:, 2:4], axis=1)
        caplen = head[:, 2].astype(np.int64)
        too_long = caplen > layout.max_caplen
        intact = int(np.argmax(too_long)) if too_long.any() else len(pos)
        if intact == len(pos) and end > len(chunk):  # the last one continues beyond the chunk
            intact, end = intact - 1, found[-1]
        rows = _columns(pos[:intact] + layout.header, caplen[:intact], head[:intact], layout, self._number)
        self._number += intact
        Emitter(self._streams, rows, self._interfaces, chunk, base, out).emit()
        if intact < len(pos) and caplen[intact] > layout.max_caplen:
            raise DamagedInput(f"a packet claims {caplen[intact]} bytes", base + found[intact])
        if final and end < len(chunk):
            raise DamagedInput("the file is cut in the middle of a packet", base + end)
        self.need = layout.header + (int(caplen[intact]) if intact < len(pos) else 0)
        return end


def _positions(chunk: bytes, pos: int, layout: _PcapFormat) -> tuple[list[int], int]:
    """Return the offsets of packet headers, following lengths unchecked, and the offset after the last one."""
    lengths = struct.Struct(layout.order + "8xII" if layout.swapped else layout.order + "8xI").unpack_from
    found: list[int] = []
    append, header, last = found.append, layout.header, len(chunk) - layout.header
    while pos <= last:
        append(pos)
        pos += header + min(lengths(chunk, pos))
    return found, pos


def _columns(
    off: NDArray[np.int64], caplen: NDArray[np.int64], head: NDArray[np.uint32], layout: _PcapFormat, number: int
) -> RecordColumns:
    ts_ns = head[:, 0].astype(np.int64) * 1_000_000_000 + head[:, 1].astype(np.int64) * layout.fraction_ns
    direction = None
    if layout.header == 24:  # … ifindex u32, protocol u16, packet type u8, pad u8
        direction = np.ascontiguousarray(head[:, 5]).view(np.uint8)[2::4].copy()
    numbers = np.arange(number, number + len(off), dtype=np.uint64)
    interface = np.zeros(len(off), np.int64)
    return RecordColumns(interface, off, caplen, head[:, 3].astype(np.uint32), ts_ns, numbers, direction)


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
