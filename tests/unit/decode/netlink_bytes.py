"""Netlink messages and batches built by hand, for the tests of the netlink decoders."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from nettop.batch import Batch, NetlinkMeta

CT_NEW = 0x100
CT_DELETE = 0x102
NESTED = 0x8000


def nla(kind: int, payload: bytes, nested: bool = False) -> bytes:
    """One attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(payload), kind | NESTED * nested) + payload + bytes(-len(payload) % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    return nla(kind, b"".join(attributes), nested=True)


def nlmsg(kind: int, body: bytes, flags: int = 0, length: int | None = None) -> bytes:
    """One message; `length` lets its header lie."""
    return (
        struct.pack("=IHHII", 16 + len(body) if length is None else length, kind, flags, 7, 9 if flags & 2 else 0)
        + body
    )  # the kernel's events have no port id


def ct(*attributes: bytes, kind: int = CT_NEW, flags: int = 0, family: int = 2, res_id: int = 0) -> bytes:
    """One nfnetlink message."""
    return nlmsg(kind, struct.pack("!BBH", family, 0, res_id) + b"".join(attributes), flags)


def be(width: int, value: int) -> bytes:
    return value.to_bytes(width, "big")


def tuple4(kind: int, src: int, dst: int, proto: int, sport: int, dport: int) -> bytes:
    """CTA_TUPLE_* of IPv4 with ports."""
    addresses = nest(1, nla(1, be(4, src)), nla(2, be(4, dst)))
    layer4 = nest(2, nla(1, be(1, proto)), nla(2, be(2, sport)), nla(3, be(2, dport)))
    return nest(kind, addresses, layer4)


def udp(i: int, *more: bytes, flags: int = 2, kind: int = CT_NEW) -> bytes:
    """A UDP flow 10.0.x.x:i → 10.1.x.x:53 with an id, whatever else is given behind it."""
    return ct(
        tuple4(1, 0x0A000000 + i, 0x0A010000 + i, 17, i & 0xFFFF, 53),
        tuple4(2, 0x0A010000 + i, 0x0A000000 + i, 17, 53, i & 0xFFFF),
        nla(12, be(4, i)),
        *more,
        flags=flags,
        kind=kind,
    )


def batch(datagrams: Sequence[bytes], gap: int = 0, outgoing: Sequence[int] = ()) -> Batch:
    """A batch whose datagrams lie `gap` bytes apart; record i is stamped 1000 + i."""
    buf, off = bytearray(b"\xff" * gap), []
    for datagram in datagrams:
        off.append(len(buf))
        buf += datagram + b"\xff" * gap
    flags = np.zeros(len(datagrams), np.bool_)
    flags[list(outgoing)] = True
    return Batch(
        stream=3,
        seq=11,
        buf=bytes(buf),
        off=np.array(off, np.uint32),
        caplen=np.array([len(datagram) for datagram in datagrams], np.uint32),
        ts_ns=1000 + np.arange(len(datagrams), dtype=np.int64),
        meta=NetlinkMeta(flags),
    )
