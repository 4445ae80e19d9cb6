"""Messages about expectations, made by hand."""

from __future__ import annotations

from typing import Any

from tests.unit.decode.netlink_bytes import be, ct, nla, tuple4

EXP_NEW, EXP_DELETE = 0x200, 0x202
ALL = 0xFFFFFFFF


def expectation(kind: int = EXP_NEW, flags: int = 0x600, dport: int = 50001, **given: Any) -> bytes:
    """One that FTP's helper would make: 0.0.0.1:40000 → 0.0.0.2:21 expects 0.0.0.2:* → 0.0.0.1:dport."""
    name: bytes = given.get("helper", b"ftp\0")
    return ct(
        tuple4(1, 1, 2, 6, given.get("sport", 40000), 21),
        tuple4(2, 2, 1, 6, 0, dport),
        tuple4(3, ALL, ALL, 6, 0, 0xFFFF),
        nla(4, be(4, given.get("timeout", 300))),
        nla(5, be(4, given.get("ident", 9))),
        nla(6, name),
        nla(8, be(4, 1)),
        nla(9, be(4, 0)),
        nla(11, b"nat-follow-master\0"),
        *([nla(7, be(2, given["zone"]))] if "zone" in given else []),
        kind=kind,
        flags=flags,
    )
