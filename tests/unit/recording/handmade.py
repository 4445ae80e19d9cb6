"""Captures built byte by byte from the format's description, independently of nettop's writer; and reading them."""

from __future__ import annotations

import struct
from pathlib import Path

from nettop.batch import Batch, Counter64, End, Item, Stream, StreamAdded
from nettop.recording.pcap import PcapDecoder
from nettop.recording.pcapng import PcapngDecoder
from nettop.recording.reader import open_reader
from nettop.recording.records import Numbering

PEN = 32473


def pcap(packets: list[tuple[int, int, bytes]], *, order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    """A pcap file of (seconds, fraction, frame)."""
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)]
    out += [struct.pack(order + "IIII", s, f, len(d), len(d) + 5) + d for s, f, d in packets]
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def options(*pairs: tuple[int, bytes], order: str = "<") -> bytes:
    out = b"".join(struct.pack(order + "HH", c, len(v)) + v + bytes(-len(v) % 4) for c, v in pairs)
    return out + bytes(4) if pairs else b""


def shb(order: str = "<", *pairs: tuple[int, bytes]) -> bytes:
    body = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    return block(0x0A0D0D0A, body + options(*pairs, order=order), order)


def idb(order: str = "<", *pairs: tuple[int, bytes], link: int = 1, snaplen: int = 0) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options(*pairs, order=order), order)


def epb(
    frame: bytes,
    ticks: int = 0,
    *pairs: tuple[int, bytes],
    interface: int = 0,
    order: str = "<",
    wire: int | None = None,
) -> bytes:
    head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), wire or len(frame))
    return block(6, head + frame + bytes(-len(frame) % 4) + options(*pairs, order=order), order)


def cooked(message: bytes, family: int = 12, kind: int = 0) -> bytes:
    """A record of LINKTYPE_NETLINK as a tap captures it."""
    return struct.pack("!HH10xH", kind, 824, family) + message


def read(data: bytes, path: Path) -> list[Item]:
    """Every item of a file with these bytes."""
    path.write_bytes(data)
    reader = open_reader(str(path))
    try:
        return list(reader)
    finally:
        reader.close()


def decode_chunks(data: bytes, step: int | None = None) -> list[Item]:
    """Every item of these bytes, as if they came through a pipe `step` at a time (None: all at once)."""
    numbering = Numbering(Counter64().next, Counter64().next)
    decoder = PcapngDecoder(numbering) if data[:4] == b"\n\r\r\n" else PcapDecoder(numbering)
    items: list[Item] = []
    base = have = 0
    while not decoder.ended:
        have = len(data) if step is None else min(len(data), have + step)
        some, used = decoder.decode(data[base:have], base, have == len(data))
        assert 0 <= used <= have - base
        items += some
        base += used
    return items


def records(items: list[Item]) -> list[tuple[int, int, bytes]]:
    """(stream, ts_ns, bytes) of every record, in order."""
    return [
        (item.stream, int(item.ts_ns[i]), item.record(i)) for item in items if isinstance(item, Batch)
        for i in range(len(item))
    ]  # fmt: skip


def frames(items: list[Item]) -> list[bytes]:
    return [data for _, _, data in records(items)]


def streams(items: list[Item]) -> list[Stream]:
    return [item.stream for item in items if isinstance(item, StreamAdded)]


def end(items: list[Item]) -> End:
    """The last item, which is the only End of the whole file."""
    ends = [item for item in items if isinstance(item, End) and item.stream is None]
    assert ends == [items[-1]]
    return ends[0]
