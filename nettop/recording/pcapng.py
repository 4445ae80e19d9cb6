"""The pcapng format (draft-ietf-opsawg-pcapng): decodes chunks of a file, block by block, into items."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Counters, Item
from nettop.errors import DamagedInput, InputError
from nettop.recording import blocks, bulk, interfaces, marks, packetblocks
from nettop.recording.records import FormatDecoder, Interfaces, Numbering, order_of, runs

_PACKETS = np.array([blocks.EPB, blocks.PB, blocks.SPB])
_KNOWN = np.array([*_PACKETS, blocks.IDB, blocks.ISB, blocks.CUSTOM, blocks.CUSTOM_NO_COPY, blocks.ANNOTATION])
Ints = NDArray[np.int64]


@dataclass(slots=True)
class _Section:
    """The state of a section: a byte order, and interfaces counted from 0."""

    order: str = "<"
    interfaces: Interfaces = field(default_factory=Interfaces)
    recorded: dict[int, int] = field(default_factory=dict)  # a stream's id when nettop recorded it → its id now
    text: dict[int, list[bytes]] = field(default_factory=dict)  # stream → the parts of a text so far


class PcapngDecoder(FormatDecoder):
    """Decodes the blocks in successive chunks of a pcapng file."""

    def __init__(self, numbering: Numbering) -> None:
        super().__init__(numbering, blocks.MIN_BLOCK)
        self._section = _Section()
        self._totals: dict[int, tuple[int, int, int]] = {}  # stream → its last Counters

    def _read(self, chunk: bytes, base: int, final: bool, out: list[Item]) -> int:
        pos = 0
        self.need = blocks.MIN_BLOCK
        while len(chunk) - pos >= blocks.MIN_BLOCK:
            if chunk[pos : pos + 4] == b"\n\r\r\n":
                length = self._section_header(chunk, pos, base)
            else:
                length = self._known_blocks(chunk, pos, base, out)
            if length == 0:
                break
            pos += length
        if final and pos < len(chunk):
            raise DamagedInput("the file is cut in the middle of a block", base + pos)
        return pos

    def _section_header(self, chunk: bytes, pos: int, base: int) -> int:
        """Begin a section. Return the length of its header in bytes; 0: the chunk does not hold all of it yet."""
        order = order_of(chunk[pos + 8 : pos + 12], blocks.BYTE_ORDER_MAGIC)
        if order is None:
            raise DamagedInput("a section header has no byte order", base + pos)
        length = struct.unpack_from(order + "I", chunk, pos + 4)[0]
        if length < 28 or length % 4 or length > blocks.MAX_BLOCK:
            raise DamagedInput(f"a section header claims {length} bytes", base + pos)
        if pos + length > len(chunk):
            self.need = length
            return 0
        if chunk[pos + 4 : pos + 8] != chunk[pos + length - 4 : pos + length]:
            raise DamagedInput("a section header's two lengths differ", base + pos)
        for _, value in blocks.decode_options(memoryview(chunk)[pos + 24 : pos + length - 4], order):
            _refuse_newer(value, order, base + pos)
        self._section = _Section(order)
        return int(length)

    def _known_blocks(self, chunk: bytes, start: int, base: int, out: list[Item]) -> int:
        """Handle the whole blocks from `start` to the next section; return their size in bytes."""
        order = self._section.order
        pos = np.array(_positions(chunk, start, order), np.int64)
        head = bulk.gather(chunk, pos, 2, order)
        kind, length = head[:, 0], head[:, 1].astype(np.int64)
        damage = self._check(chunk, pos, length, base)
        whole = len(pos) if damage is None else damage[0]
        known = np.flatnonzero(np.isin(kind[:whole], _KNOWN))
        kind_of = kind[known].astype(np.int64)
        kind_of[np.isin(kind_of, _PACKETS, invert=True)] *= -1  # other blocks: each is a run of its own
        for part in runs(kind_of):
            run = known[part]
            if len(run) and kind_of[part.start] > 0:
                self._packet_blocks(int(kind_of[part.start]), chunk, pos[run], length[run], base, out)
                continue
            for at in run.tolist():
                self._other_block(int(kind[at]), chunk, int(pos[at]), int(length[at]), base, out)
        if damage is not None and damage[1]:
            raise DamagedInput(damage[1], base + int(pos[whole]))
        return int(length[:whole].sum())

    def _check(self, chunk: bytes, pos: Ints, length: Ints, base: int) -> tuple[int, str] | None:
        """Return the first block that is not whole and its fault ("": it continues beyond the chunk); None: all are."""
        invalid = (length < blocks.MIN_BLOCK) | (length & 3 != 0) | (length > blocks.MAX_BLOCK)
        inside = ~invalid & (pos + length <= len(chunk))
        whole = int(np.argmin(inside)) if not inside.all() else len(pos)
        trailer = bulk.gather(chunk, pos[:whole] + length[:whole] - 4, 1, self._section.order)[:, 0]
        differ = np.flatnonzero(trailer != length[:whole])
        if len(differ):
            return int(differ[0]), "a block's two lengths differ"
        if whole == len(pos):
            return None
        if invalid[whole]:
            return whole, f"a block claims {length[whole]} bytes"
        self.need = int(length[whole])
        return whole, ""

    def _packet_blocks(self, kind: int, chunk: bytes, pos: Ints, length: Ints, base: int, out: list[Item]) -> None:
        section = self._section
        records, fault = packetblocks.decode(kind, chunk, pos, length, section.order, section.interfaces)
        try:
            self._emitter.emit(records, section.interfaces, chunk, base, out)
        except ValueError as error:
            raise DamagedInput(f"the file {error}", base + int(pos[0])) from None
        if fault is not None:
            raise DamagedInput(fault, base + int(pos[len(records)]))

    def _other_block(self, kind: int, chunk: bytes, pos: int, length: int, base: int, out: list[Item]) -> None:
        body = chunk[pos + 8 : pos + length - 4]
        try:
            if kind == blocks.IDB:
                self._interface(body, out)
            elif kind == blocks.ISB:
                self._statistics(body, out)
            else:
                self._emitter.number += kind != blocks.ANNOTATION  # Wireshark counts a Custom Block as a frame
                self._annotation(body, base + pos, out)
        except (struct.error, KeyError, TypeError, ValueError):
            raise DamagedInput(f"a block of type {kind:#x} makes no sense", base + pos) from None

    def _interface(self, body: bytes, out: list[Item]) -> None:
        known = self._section.interfaces
        if len(known) >= blocks.MAX_INTERFACES:
            raise ValueError("too many interfaces")
        interface, recorded = interfaces.decode(body, self._section.order, len(known), self._numbering.file)
        known.append(interface)
        if recorded is not None:
            family = interface.stream.netlink_family if interface.netlink else 0
            self._section.recorded[recorded] = self._streams.on(interface, family, out)
        elif not interface.netlink:
            self._streams.on(interface, 0, out)

    def _statistics(self, body: bytes, out: list[Item]) -> None:
        """Emit Counters, unless they only repeat the last ones, as at the end of a file."""
        order = self._section.order
        index, high, low = struct.unpack_from(order + "III", body)
        interface = self._section.interfaces[index] if index < len(self._section.interfaces) else None
        if interface is None or not interface.ids:
            return
        numbers = {c: v for c, v in blocks.decode_options(memoryview(body)[12:], order) if len(v) == 8}
        received, lost, os_lost = (
            struct.unpack(order + "Q", numbers.get(code, bytes(8)))[0]
            for code in (blocks.ISB_IFRECV, blocks.ISB_IFDROP, blocks.ISB_OSDROP)
        )
        if not numbers.keys() & {blocks.ISB_IFRECV, blocks.ISB_IFDROP, blocks.ISB_OSDROP}:
            return
        ticks = np.array([high << 32 | low], np.uint64)
        ts_ns = int(interfaces.nanoseconds(ticks, interface.resolution, interface.offset_s)[0])
        self._counters(Counters(next(iter(interface.ids.values())), 0, ts_ns, received, lost + os_lost), out)

    def _counters(self, item: Counters, out: list[Item]) -> None:
        totals = (item.ts_ns, item.received, item.dropped)
        if self._totals.get(item.stream) != totals:
            self._totals[item.stream] = totals
            out.append(replace(item, seq=self._numbering.seq()))

    def _annotation(self, body: bytes, offset: int, out: list[Item]) -> None:
        _refuse_newer(body, self._section.order, offset)
        content = blocks.nettop_content(body, self._section.order)
        if content is None:
            return
        fields, data = marks.unpack(content)
        if fields["item"] not in marks.KNOWN:
            return  # of a later minor version
        if fields["item"] == "stream":
            described = marks.stream_from(fields, self._numbering.file)
            stream_id = self._streams.announce(-1 - described.id, replace(described, id=0), out)
            self._section.recorded[described.id] = stream_id
            return
        recorded = fields["stream"]
        stream = self._section.recorded[recorded]
        if fields["item"] == "text" and self._keep_text_part(recorded, fields, data):
            return
        if fields["item"] == "text":
            data = b"".join([*self._section.text.pop(recorded, []), data])
        item = marks.decode(fields, data, stream, 0)
        if isinstance(item, Counters):
            self._counters(item, out)
        else:
            out.append(replace(item, seq=self._numbering.seq()))

    def _keep_text_part(self, recorded: int, fields: marks.Fields, data: bytes) -> bool:
        """Keep a part of a text that continues in a later block; return False for the last one."""
        parts = self._section.text.setdefault(recorded, [])
        if sum(map(len, parts)) + len(data) > marks.MAX_TEXT:
            raise ValueError("too long a text")
        if fields.get("more") is True:
            parts.append(data)
            return True
        return False


def _refuse_newer(value: bytes, order: str, offset: int) -> None:
    if blocks.nettop_content(value, order) is None or blocks.version(value) <= blocks.FORMAT_MAJOR:
        return
    message = f"this recording has format {blocks.version(value)}, this nettop reads up to {blocks.FORMAT_MAJOR}"
    if offset == 0:
        raise InputError(message, "update nettop")
    raise DamagedInput(message + ": update nettop", offset)


def _positions(chunk: bytes, pos: int, order: str) -> list[int]:
    """Return the offsets of blocks, following lengths unchecked to the next section header or an impossible length."""
    unpack = struct.Struct(order + "II").unpack_from
    found: list[int] = []
    append, last, section = found.append, len(chunk) - blocks.MIN_BLOCK, blocks.SHB
    while pos <= last:
        kind, length = unpack(chunk, pos)
        if kind == section:
            break
        append(pos)
        if length < 12:
            break
        pos += length
    return found
