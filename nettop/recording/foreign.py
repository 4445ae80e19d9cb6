"""pcapng blocks of other sections as blocks of a little-endian section with other interface numbers."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from nettop.recording import blocks, marks
from nettop.recording.records import FileBlock, order_of

# The options that are numbers, by block: their format. All others are bytes and text.
_EPB_NUMBERS = {blocks.EPB_FLAGS: "I", blocks.EPB_DROPCOUNT: "Q", 5: "Q", 6: "I"}  # 5: packet id, 6: queue
_IDB_NUMBERS = {8: "Q", 10: "I", blocks.IF_TSOFFSET: "q", 16: "Q", 17: "Q"}  # speeds, zone
_ISB_NUMBERS = {2: "II", 3: "II", **dict.fromkeys(range(4, 9), "Q")}
_NO_NUMBERS: Mapping[int, str] = {}
_CUSTOM_OPTIONS = (2988, 2989, 19372, 19373)  # begin with a PEN
_VERDICT = 7  # of a packet: a type of 8 bits, then of types 1 and 2 a 64-bit number
_NO_DROPS = 0xFFFF
_PLAIN = (9,)  # systemd's journal: text


def described(block: FileBlock) -> tuple[int, int, list[blocks.Option]]:
    """Return the link type, the snaplen and the options of an interface description."""
    link, snaplen = struct.unpack_from(block.order + "HxxI", block.body)
    return link, snaplen, options_of(block.body[8:], block.order, _IDB_NUMBERS)


def numbered(options: Iterable[blocks.Option], number: int) -> list[blocks.Option]:
    """Return the options of an interface, with the number as the id of its stream where nettop recorded it."""
    replaced: list[blocks.Option] = []
    for code, value in options:
        content = blocks.nettop_content(value, "<") if code == blocks.OPT_CUSTOM_BINARY else None
        if content is not None:
            fields, body = marks.unpack(content)
            value = value[:12] + marks.pack({**fields, "id": number}, body)
        replaced.append((code, value))
    return replaced


def of_interface(block: FileBlock, number: int) -> bytes:
    """Return a statistics block, or nettop's block of a loss, for an interface of that number."""
    if block.kind == blocks.ISB:
        _, high, low = struct.unpack_from(block.order + "III", block.body)
        options = options_of(block.body[12:], block.order, _ISB_NUMBERS)
        head = struct.pack("<III", number, high, low)
        return blocks.block(blocks.ISB, head + blocks.encode_options(options))
    fields, body = marks.unpack(blocks.nettop_content(block.body, block.order) or b"")
    return blocks.annotation(marks.pack({**fields, "stream": number}, body))


def native(block: FileBlock) -> bytes | None:
    """Return the body of a block of names or keys, or of a custom block, in little-endian order; None: unknown type."""
    if block.kind in (blocks.NRB, blocks.DSB, blocks.CUSTOM, *_PLAIN) and (block.order == "<" or block.kind in _PLAIN):
        return block.body
    if block.kind == blocks.NRB:
        return _names(block.body)
    if block.kind == blocks.DSB:
        kind, size = struct.unpack_from(">II", block.body)
        end = 8 + size + (-size % 4)
        return struct.pack("<II", kind, size) + block.body[8:end] + _swapped(block.body[end:])
    if block.kind == blocks.CUSTOM:
        return block.body[3::-1] + block.body[4:]
    return None


def packet(block: bytes | bytearray | memoryview, number: int) -> bytes:
    """Return any whole packet block as an enhanced one of interface `number`."""
    data = bytes(block)
    order = order_of(data[:4], blocks.EPB, blocks.PB, blocks.SPB) or "<"
    kind = struct.unpack_from(order + "I", data)[0]
    if kind == blocks.SPB:
        wire = struct.unpack_from(order + "I", data, 8)[0]
        frame = data[12 : 12 + min(wire, len(data) - 16)]
        return blocks.block(blocks.EPB, struct.pack("<5I", number, 0, 0, len(frame), wire) + frame)
    high, low, size, wire = struct.unpack_from(order + "4I", data, 12)
    end = 28 + size + (-size % 4)
    options = options_of(data[end:-4], order, _EPB_NUMBERS)
    if kind == blocks.PB:
        drops = struct.unpack_from(order + "HH", data, 8)[1]
        if drops not in (0, _NO_DROPS):
            options.append((blocks.EPB_DROPCOUNT, struct.pack("<Q", drops)))
    head = struct.pack("<5I", number, high, low, size, wire)
    return blocks.block(blocks.EPB, head + data[28:end] + blocks.encode_options(options))


def options_of(data: bytes, order: str, numbers: Mapping[int, str] = _NO_NUMBERS) -> list[blocks.Option]:
    """Return the options of a block in little-endian order; `numbers` are the formats of those that are numbers."""
    options, _ = blocks.decode_options(data, order)
    return options if order == "<" else [(code, _native_value(code, value, numbers)) for code, value in options]


def _native_value(code: int, value: bytes, numbers: Mapping[int, str]) -> bytes:
    """Return an option's value of a big-endian section in little-endian order."""
    form = numbers.get(code, "")
    if form and len(value) == struct.calcsize("<" + form):
        return struct.pack("<" + form, *struct.unpack(">" + form, value))
    if code in _CUSTOM_OPTIONS:
        return value[3::-1] + value[4:]
    if code == _VERDICT and numbers is _EPB_NUMBERS and value[:1] in (b"\x01", b"\x02"):
        return value[:1] + value[:0:-1]
    return value


def _swapped(data: bytes) -> bytes:
    return blocks.encode_options(options_of(data, ">"))


def _names(body: bytes) -> bytes:
    """Return the records of a big-endian name resolution block, and its options."""
    pos, parts = 0, []
    while pos + 4 <= len(body):
        kind, size = struct.unpack_from(">HH", body, pos)
        end = pos + 4 + size + (-size % 4)
        parts.append(struct.pack("<HH", kind, size) + body[pos + 4 : end])
        pos = end
        if kind == 0:
            break
    return b"".join(parts) + _swapped(body[pos:])
