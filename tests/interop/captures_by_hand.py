"""Captures with everything that pcapng can say of packets, in both byte orders."""

from __future__ import annotations

import struct

from tests.unit.recording.handmade import block, epb, options, shb

AT = 1_700_000_000 * 10**6  # µs


def udp(number: int = 0, size: int = 0) -> bytes:
    """An Ethernet frame."""
    data = struct.pack(">HHHH", 1000 + number % 5000, 53, 8 + size, 0) + bytes(size)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(data), number & 0xFFFF, 0, 64, 17, 0, 0x0A000001, 0x0A000002)
    return b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + data


def full(order: str) -> bytes:
    """A section with comments, interface options, names, keys, statistics and packets with every option."""

    def number(form: str, value: int) -> bytes:
        return struct.pack(order + form, value)

    header = shb(order, (1, b"of the section"), (2, b"machine"), (3, b"Linux"), (4, b"dumpcap"))
    interface_options = options(
        (1, b"of the interface"), (2, b"eth7"), (3, b"uplink"), (8, number("Q", 10**9)), (9, b"\x06"),
        (11, b"\0udp port 53"), (12, b"Linux 6"), (15, b"model"), order=order,
    )  # fmt: skip
    interface = block(1, struct.pack(order + "HHI", 1, 0, 65535) + interface_options, order)
    name = bytes((10, 0, 0, 2)) + b"host-a\0"
    names = block(
        4, struct.pack(order + "HH", 1, len(name)) + name + b"\0" + bytes(4) + options((1, b"n"), order=order), order
    )
    keys = b"CLIENT_RANDOM 01 02\n"
    secrets = block(10, struct.pack(order + "II", 0x544C534B, len(keys)) + keys, order)
    packet = epb(
        udp(1), AT + 1, (1, b"one"), (1, b"two"), (2, number("I", 1)), (4, number("Q", 5)), (5, number("Q", 99)),
        (6, number("I", 3)), (2988, number("I", 1) + b"theirs"), order=order,
    )  # fmt: skip
    custom = block(0x0BAD, number("I", 1) + b"a custom block", order)
    statistics = block(
        5,
        struct.pack(order + "III", 0, (AT + 9) >> 32, (AT + 9) & 0xFFFFFFFF)
        + options((4, number("Q", 7)), (5, number("Q", 5)), order=order),
        order,
    )
    return header + interface + names + secrets + packet + epb(udp(2), AT + 2, order=order) + custom + statistics
