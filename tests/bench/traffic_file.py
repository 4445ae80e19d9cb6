"""A pcap file of mixed TCP and UDP packets over IPv4, about 400 bytes each, written record by record."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

_FILE = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)  # pcap-savefile(5): µs, Ethernet
_ETHERNET = b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0"
_PAYLOAD = bytes(range(256)) * 4
_SIZES = (0, 40, 300, 1000)
_TCP, _UDP = 6, 17


def write_traffic(path: Path, count: int) -> None:
    """Write `count` packets; the same ones every time."""
    with path.open("wb") as out:
        out.write(_FILE)
        for frame in _records(count):
            out.write(frame)


def _records(count: int) -> Iterator[bytes]:
    chance = random.Random(3)
    for i in range(count):
        size = chance.choice(_SIZES)
        frame = _ETHERNET + _ip(i, size) + _PAYLOAD[:size]
        yield struct.pack("<IIII", 1_700_000_000 + i // 1000, i % 1000 * 1000, len(frame), len(frame)) + frame


def _ip(i: int, size: int) -> bytes:
    proto = _TCP if i % 3 else _UDP
    segment = _tcp(i) if proto == _TCP else _udp(i, size)
    length = 20 + len(segment) + size
    src, dst = 0x0A000000 + i % 4000, 0x0A800000 + i % 900
    return struct.pack(">BBHHHBBHII", 0x45, 0, length, i & 65535, 0, 64, proto, 0, src, dst) + segment


def _tcp(i: int) -> bytes:
    return struct.pack(">HHIIBBHHH", 1024 + i % 5000, 443 if i % 7 else 53, i, 0, 80, 16, 8192, 0, 0)


def _udp(i: int, size: int) -> bytes:
    return struct.pack(">HHHH", 1024 + i % 5000, 53 if i % 5 else 123, 8 + size, 0)
