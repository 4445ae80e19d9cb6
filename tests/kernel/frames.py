"""Frames of several protocols, with and without VLAN tags, as bytes."""

from __future__ import annotations

import struct


def ethernet(kind: int, payload: bytes, source: int = 1, broadcast: bool = False, tags: tuple[int, ...] = ()) -> bytes:
    to = b"\xff" * 6 if broadcast else b"\x02\0\0\0\0\x7f"
    tag = b"".join(struct.pack("!HH", 0x8100, tci) for tci in tags)
    return to + b"\x02\0\0\0\0" + bytes([source]) + tag + struct.pack("!H", kind) + payload


def ipv4(protocol: int, payload: bytes, last: int = 2) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    return head + bytes([10, 0, 0, 1, 10, 0, 0, last]) + payload


def udp(port: int, size: int = 10) -> bytes:
    return struct.pack("!HHHH", 4000, port, 8 + size, 0) + bytes(size)


def tcp(port: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", 4000, port, 1, 1, 0x50, flags, 512, 0, 0)


def mixed_frames() -> list[bytes]:
    packets = [udp(53), udp(53, 200), udp(9999)]
    frames = [
        ethernet(0x0800, ipv4(17, one), tags=tags) for one in packets for tags in ((), (5,), (6,), (5, 4095), (0,))
    ]
    frames += [ethernet(0x0800, ipv4(6, tcp(port, flags))) for port in (80, 443) for flags in (2, 16)]
    frames += [ethernet(0x0800, ipv4(17, udp(1), last=3)), ethernet(0x0806, bytes(28), broadcast=True)]
    frames += [ethernet(0x86DD, b"\x60" + bytes(39)), ethernet(0x88B5, b"x" * 40, source=9, tags=(5,))]
    return frames
