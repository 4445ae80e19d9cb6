"""Interface Description Blocks: the stream that each describes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

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


def decode(
    link: int, snaplen: int, options: Sequence[blocks.Option], order: str, file: str
) -> tuple[Interface, int | None]:
    """Return the interface that an IDB describes, and the id its stream had when nettop recorded it.

    Raises struct.error, KeyError, TypeError or ValueError if what nettop added to it is damaged.
    """
    first: dict[int, bytes] = {}
    content: bytes | None = None
    for code, value in options:
        first.setdefault(code, value)
        if code == blocks.OPT_CUSTOM_BINARY and content is None:
            content = blocks.nettop_content(value, order)
    interface = Interface(_stream_of(link, snaplen, first, file), 0)
    interface.resolution = first.get(blocks.IF_TSRESOL, b"\x06")[:1].ljust(1, b"\x06")[0]
    offset = first.get(blocks.IF_TSOFFSET, b"")
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


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")
