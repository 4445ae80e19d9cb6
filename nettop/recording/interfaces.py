"""Interface Description Blocks: the stream that each describes, and the unit of its timestamps."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Stream
from nettop.kinds import StreamKind
from nettop.linux.linktypes import LINKTYPE_NETLINK
from nettop.recording import blocks, marks
from nettop.recording.records import Interface

_NETNS = "netns "  # if_description of a namespace's interface: "netns gw-a"; the host's has none


def encode(stream: Stream) -> bytes:
    """Return the IDB of a stream, with all of the stream's fields in a custom option."""
    options: list[blocks.Option] = [(blocks.IF_NAME, _utf8(stream.name))] if stream.name else []
    if stream.netns:
        options.append((blocks.IF_DESCRIPTION, _utf8(_NETNS + stream.netns)))
    options.append((blocks.IF_TSRESOL, b"\x09"))
    if stream.capture_filter:
        options.append((blocks.IF_FILTER, b"\0" + _utf8(stream.capture_filter)))
    if stream.os:
        options.append((blocks.IF_OS, _utf8(stream.os)))
    content = marks.pack(marks.stream_fields(stream))
    options.append((blocks.OPT_CUSTOM_BINARY, struct.pack("<I", blocks.PEN) + blocks.signature() + content))
    return blocks.interface_description(linktype(stream), stream.snaplen, options)


def linktype(stream: Stream) -> int:
    """Return the link type of the stream's interface: LINKTYPE_NETLINK for every netlink stream."""
    return LINKTYPE_NETLINK if stream.kind is StreamKind.NETLINK else stream.linktype


def decode(body: bytes, order: str, index: int, file: str) -> tuple[Interface, int | None]:
    """Return the interface an IDB's body describes, and the id its stream had when nettop recorded it.

    Raises struct.error, KeyError, TypeError or ValueError if the body, or what nettop added to it, is damaged.
    """
    link, snaplen = struct.unpack_from(order + "HxxI", body)
    options: dict[int, bytes] = {}
    content: bytes | None = None
    for code, value in blocks.decode_options(memoryview(body)[8:], order):
        options.setdefault(code, value)
        if code == blocks.OPT_CUSTOM_BINARY and content is None:
            content = blocks.nettop_content(value, order)
    interface = Interface(_stream_of(link, snaplen, options, file), index)
    interface.resolution = options.get(blocks.IF_TSRESOL, b"\x06")[:1].ljust(1, b"\x06")[0]
    offset = options.get(blocks.IF_TSOFFSET, b"")
    interface.offset_s = struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0
    if content is None:
        return interface, None
    recorded = marks.stream_from(marks.unpack(content)[0], file)
    interface.stream, interface.by_nettop = replace(recorded, id=0), True
    if linktype(recorded) != link or recorded.kind is StreamKind.TEXT:
        raise ValueError("the stream is of another link type than its interface")
    return interface, recorded.id


def _stream_of(link: int, snaplen: int, options: dict[int, bytes], file: str) -> Stream:
    expression = options.get(blocks.IF_FILTER, b"")
    description = _text(options.get(blocks.IF_DESCRIPTION, b""))
    return Stream(
        id=0,
        kind=StreamKind.NETLINK if link == LINKTYPE_NETLINK else StreamKind.PACKETS,
        name=_text(options.get(blocks.IF_NAME, b"")),
        netns=description.removeprefix(_NETNS) if description.startswith(_NETNS) else "",
        linktype=link,
        snaplen=snaplen,
        capture_filter=_text(expression[1:]) if expression[:1] == b"\0" else "",
        os=_text(options.get(blocks.IF_OS, b"")),
        file=file,
    )


def nanoseconds(ticks: NDArray[np.uint64], resolution: int, offset_s: int) -> NDArray[np.int64]:
    """Return times in ns since the epoch. `resolution` is if_tsresol: a negative power of 10, or of 2 with bit 7 set.

    Times beyond what 64 bits of ns can hold wrap: they are as wrong as the file that claims them.
    """
    power = resolution & 0x7F
    if resolution & 0x80:
        ns = _binary(ticks, power)
    elif power <= 9:
        ns = ticks * np.uint64(10 ** (9 - power))
    else:
        ns = ticks // np.uint64(10 ** (power - 9)) if power < 29 else np.zeros_like(ticks)
    signed = ns.view(np.int64)
    return signed + np.int64(_wrapped(offset_s * 1_000_000_000)) if offset_s else signed


def _binary(ticks: NDArray[np.uint64], power: int) -> NDArray[np.uint64]:
    billion = np.uint64(1_000_000_000)
    if power >= 64:
        seconds, fraction = np.zeros_like(ticks), ticks
    else:
        seconds = ticks >> np.uint64(power)
        fraction = ticks & np.uint64((1 << power) - 1)
    if power > 34:  # 2^34 × 10^9 is the most that fits in 64 bits
        shift = power - 34
        fraction = fraction >> np.uint64(shift) if shift < 64 else np.zeros_like(ticks)
        power = 34
    return seconds * billion + (fraction * billion >> np.uint64(power))


def _wrapped(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")
