"""pcapng's block types, option codes and limits, and the bytes of its small blocks (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from nettop import __version__

SHB = 0x0A0D0D0A  # section header
IDB = 1  # interface description
PB = 2  # packet block, obsolete
SPB = 3  # simple packet
NRB = 4  # name resolution
ISB = 5  # interface statistics
EPB = 6  # enhanced packet
DSB = 10  # decryption secrets
CUSTOM = 0x0BAD  # custom block that tools may copy
CUSTOM_NO_COPY = 0x40000BAD

# nettop's own block: a type for local use (bit 31), otherwise laid out as a Custom Block, and read from one too.
# Wireshark lists each Custom Block as a frame without a time: one before the first packet turns its relative times
# into 1.7 billion seconds, and frame numbers no longer count packets. Blocks for local use it passes over.
ANNOTATION = 0x80007ED9

BYTE_ORDER_MAGIC = 0x1A2B3C4D
PEN = 32473  # private enterprise number for examples (RFC 5612)

OPT_END = 0
OPT_COMMENT = 1
OPT_CUSTOM_BINARY = 2989  # copyable, not UTF-8: PEN, then the owner's bytes
SHB_OS, SHB_USERAPPL = 3, 4
IF_NAME, IF_DESCRIPTION, IF_TSRESOL, IF_FILTER, IF_OS, IF_TSOFFSET = 2, 3, 9, 11, 12, 14
ISB_STARTTIME, ISB_ENDTIME, ISB_IFRECV, ISB_IFDROP, ISB_OSDROP, ISB_USRDELIV = 2, 3, 4, 5, 7, 8
EPB_FLAGS, EPB_DROPCOUNT = 2, 4

MIN_BLOCK = 12
MAX_BLOCK = (1 << 27) + 4096  # a 128 MiB frame is the largest that libpcap knows (D-Bus, USB); longer lengths lie
OVERRUN = 1 << 31  # in a column of block lengths: an option reaches past the block
MAX_LINKTYPE = 0xFFFF
MAX_INTERFACES = 1 << 17  # of one section; a file that declares more is not a capture

FORMAT_MAJOR, FORMAT_MINOR = 1, 0  # of what nettop adds to pcapng; a reader refuses a newer major
SIGNATURE = b"nettop"

Option = tuple[int, bytes]


def signature() -> bytes:
    """Return the start of our custom options and blocks, after the PEN: name, major and minor (8 bytes)."""
    return SIGNATURE + bytes((FORMAT_MAJOR, FORMAT_MINOR))


def nettop_content(data: bytes, order: str) -> bytes | None:
    """Return the bytes after PEN and signature in a custom block's or option's value; None if it is not nettop's."""
    if len(data) < 12 or struct.unpack_from(order + "I", data)[0] != PEN or data[4:10] != SIGNATURE:
        return None
    return data[12:]


def version(data: bytes) -> int:
    """Return the major format version in a value of which `nettop_content` is not None."""
    return data[10]


def encode_options(options: Iterable[Option]) -> bytes:
    """Return options, each padded to four bytes, and the end marker; b"" for none. Values over 65,535 bytes are cut."""
    parts = []
    for code, value in options:
        value = value[:0xFFFF]
        parts.append(struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4))
    return b"".join([*parts, bytes(4)]) if parts else b""


def decode_options(data: bytes, order: str) -> tuple[list[Option], bool]:
    """Return (code, value) of each option up to the end marker, and True if one reaches past the end: it ends them."""
    found: list[Option] = []
    pos, header = 0, struct.Struct(order + "HH")
    while pos + 4 <= len(data):
        code, length = header.unpack_from(data, pos)
        if code == OPT_END or pos + 4 + length > len(data):
            return found, code != OPT_END
        found.append((code, data[pos + 4 : pos + 4 + length]))
        pos += 4 + length + (-length % 4)
    return found, False


def block(kind: int, body: bytes) -> bytes:
    """Return one little-endian block around `body`, padded."""
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def section_header(os_name: str) -> bytes:
    """Return the SHB of a recording: who wrote it, on what, and the format's version."""
    options: list[Option] = [(SHB_USERAPPL, f"nettop {__version__}".encode())]
    if os_name:
        options.insert(0, (SHB_OS, os_name.encode("utf-8", "replace")))
    options.append((OPT_CUSTOM_BINARY, struct.pack("<I", PEN) + signature()))
    return block(SHB, struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1) + encode_options(options))


def interface_description(linktype: int, snaplen: int, options: Iterable[Option]) -> bytes:
    """Return an IDB."""
    head = struct.pack("<HHI", linktype & 0xFFFF, 0, snaplen & 0xFFFFFFFF)
    return block(IDB, head + encode_options(options))


def high_and_low(value: int) -> tuple[int, int]:
    """Return a 64-bit time as pcapng stores it: high word, low word."""
    value &= 0xFFFFFFFFFFFFFFFF
    return value >> 32, value & 0xFFFFFFFF


def interface_statistics(interface: int, ts_ns: int, options: Iterable[Option]) -> bytes:
    """Return an ISB of an interface whose if_tsresol is 9."""
    return block(ISB, struct.pack("<III", interface, *high_and_low(ts_ns)) + encode_options(options))


def annotation(body: bytes) -> bytes:
    """Return a block of nettop's own around `body`."""
    return block(ANNOTATION, struct.pack("<I", PEN) + signature() + body)
