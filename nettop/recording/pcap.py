"""The classic pcap format: walks chunks of a file and gives its packets (draft-ietf-opsawg-pcap)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import End, Item, Stream
from nettop.errors import DamagedInput
from nettop.kinds import StreamKind
from nettop.linux.linktypes import LINKTYPE_NETLINK
from nettop.recording import bulk
from nettop.recording.records import Emitter, Interface, Interfaces, Numbering, Rows, Streams

MAGIC_US, MAGIC_NS, MAGIC_MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34  # the last: Kuznetzov's patched libpcap
_FILE_HEADER = 24
_MAX_CAPLEN = 1 << 18  # libpcap's MAXIMUM_SNAPLEN
_LONG_LINKTYPES = {231, 249, 279, 189, 220}  # D-Bus, USBPcap, EBHSCR, Linux USB: libpcap allows them 128 MiB
_MAX_LONG = 1 << 27


@dataclass(frozen=True, slots=True)
class _Format:
    order: str  # of struct: "<" or ">"
    fraction_ns: int  # of the second half of a timestamp
    header: int  # bytes of a packet's header
    max_caplen: int


def byte_order(head: bytes) -> str | None:
    """ "<" or ">" if the first four bytes are one of pcap's magic numbers, else None."""
    for order in "<>":
        if struct.unpack(order + "I", head[:4])[0] in (MAGIC_US, MAGIC_NS, MAGIC_MODIFIED):
            return order
    return None


class PcapWalk:
    """Finds the packets in successive chunks of a pcap file."""

    def __init__(self, numbering: Numbering) -> None:
        self.need = _FILE_HEADER  # bytes from where the last walk stopped that the next one must have
        self.ended = False
        self._numbering = numbering
        self._streams = Streams(numbering)
        self._emitter = Emitter(self._streams)
        self._interfaces = Interfaces()
        self._format: _Format | None = None

    def walk(self, chunk: bytes, base: int, final: bool) -> tuple[list[Item], int]:
        """Return the items of the chunk, which is at file offset `base`, and how many of its bytes they take.

        What is left over must come again at the start of the next chunk. `final`: nothing follows this chunk; the
        last item is then an End, with an error where the file is damaged.
        """
        out: list[Item] = []
        used = 0
        try:
            used = self._head(chunk, base, final, out)
            if self._format is not None:
                used = self._packets(chunk, used, base, final, self._format, out)
            if final:
                self._end(out, End(None, self._numbering.seq()))
        except DamagedInput as damage:
            self._end(out, End(None, self._numbering.seq(), error=damage.what, offset=damage.offset))
        return out, used

    def _end(self, out: list[Item], end: End) -> None:
        self.ended = True
        out.append(end)

    def _head(self, chunk: bytes, base: int, final: bool, out: list[Item]) -> int:
        if self._format is not None:
            return 0
        if len(chunk) < _FILE_HEADER:
            if final:
                raise DamagedInput("the pcap header is cut", base)
            return 0
        order = byte_order(chunk) or "<"
        magic, snaplen, network = struct.unpack_from(order + "I12xII", chunk)
        link = network & 0x03FFFFFF  # the upper bits give the length of the frame check sequence
        self._format = _Format(
            order,
            1 if magic == MAGIC_NS else 1000,
            24 if magic == MAGIC_MODIFIED else 16,
            _MAX_LONG if link in _LONG_LINKTYPES else _MAX_CAPLEN,
        )
        kind = StreamKind.NETLINK if link == LINKTYPE_NETLINK else StreamKind.PACKETS
        stream = Stream(0, kind, "", linktype=link, snaplen=snaplen, file=self._numbering.file)
        interface = Interface(stream, 0)
        self._interfaces.add(interface)
        if kind is StreamKind.PACKETS:
            self._streams.on(interface, 0, out)
        return _FILE_HEADER

    def _packets(self, chunk: bytes, start: int, base: int, final: bool, form: _Format, out: list[Item]) -> int:
        found, end = _positions(chunk, start, form)
        pos = np.array(found, np.int64)
        head = bulk.gather(chunk, pos, form.header // 4, form.order)
        caplen = head[:, 2].astype(np.int64)
        good = _first(caplen > form.max_caplen, len(pos))
        if good == len(pos) and end > len(chunk):  # the last one goes on beyond the chunk
            good, end = good - 1, found[-1]
        rows = _rows(pos[:good] + form.header, caplen[:good], head[:good], form)
        self._emitter.emit(rows, self._interfaces, chunk, base, out)
        if good < len(pos) and caplen[good] > form.max_caplen:
            raise DamagedInput(f"a packet claims {caplen[good]} bytes", base + found[good])
        if final and end < len(chunk):
            raise DamagedInput("the file is cut in the middle of a packet", base + end)
        self.need = form.header + (int(caplen[good]) if good < len(pos) else 0)
        return end


def _positions(chunk: bytes, pos: int, form: _Format) -> tuple[list[int], int]:
    """Return the offsets of packet headers, following lengths unchecked, and the offset after the last one."""
    caplen = struct.Struct(form.order + "8xI").unpack_from
    found: list[int] = []
    append, header, last = found.append, form.header, len(chunk) - form.header
    while pos <= last:
        append(pos)
        pos += header + caplen(chunk, pos)[0]
    return found, pos


def _rows(off: NDArray[np.int64], caplen: NDArray[np.int64], head: NDArray[np.uint32], form: _Format) -> Rows:
    ts_ns = head[:, 0].astype(np.int64) * 1_000_000_000 + head[:, 1].astype(np.int64) * form.fraction_ns
    direction = None
    if form.header == 24:  # … ifindex u32, protocol u16, packet type u8, pad u8
        direction = np.ascontiguousarray(head[:, 5]).view(np.uint8)[2::4].copy()
    return Rows(np.zeros(len(off), np.int64), off, caplen, head[:, 3].astype(np.uint32), ts_ns, direction)


def _first(bad: NDArray[np.bool_], otherwise: int) -> int:
    """Return the index of the first True."""
    return int(np.argmax(bad)) if bad.any() else otherwise
