"""Netlink attributes of nf_tables as they lie in a message, and the numbers of linux/netfilter/nf_tables.h by name."""

from __future__ import annotations

import struct
from collections.abc import Iterator

# linux/netlink.h, linux/netfilter/nfnetlink.h
NLMSG_HEADER = struct.Struct("=IHHII")  # len, type, flags, seq, portid
NLMSG_ERROR, NLMSG_DONE = 2, 3
_ATTRIBUTE = struct.Struct("=HH").unpack_from  # len, type
NLA_TYPE_MASK = 0x3FFF
NFNL_SUBSYS_NFTABLES = 10

# linux/netfilter/nf_tables.h: enum nf_tables_msg_types
NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE = 0, 3, 6
NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM = 9, 12
NFT_MSG_NEWGEN, NFT_MSG_NEWOBJ = 15, 18

# linux/netfilter.h: NFPROTO_*, in nft's words
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

# Hook numbers by family: linux/netfilter.h (inet, ip, ip6), netfilter_arp.h, netfilter_bridge.h, netfilter_netdev.h
_INET_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting", 5: "ingress"}
HOOKS: dict[str, dict[int, str]] = {
    "inet": _INET_HOOKS,
    "ip": _INET_HOOKS,
    "ip6": _INET_HOOKS,
    "bridge": {**_INET_HOOKS, 5: "brouting"},
    "arp": {0: "input", 1: "output", 2: "forward"},
    "netdev": {0: "ingress", 1: "egress"},
}

NF_VERDICTS = {0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "repeat", 5: "stop"}  # linux/netfilter.h
NFT_VERDICTS = {-1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return"}  # enum nft_verdicts
NFT_OBJECTS = {
    1: "counter",
    2: "quota",
    3: "ct helper",
    4: "limit",
    5: "ct count",
    6: "tunnel",
    7: "ct timeout",
    8: "secmark",
    9: "ct expectation",
    10: "synproxy",
}

Span = tuple[int, int]  # where a payload lies: first byte, one past the last


class MalformedError(Exception):
    """An attribute whose length lies, or that is not as long as its kind; `offset` is where, in the datagram."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def each(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Every attribute between start and end, in order: (type without flags, payload start, payload end)."""
    while start + 4 <= end:
        size, kind = _ATTRIBUTE(data, start)
        if size < 4 or start + size > end:
            raise MalformedError(start)
        yield kind & NLA_TYPE_MASK, start + 4, start + size
        start += size + 3 & ~3


def spans(data: bytes, start: int, end: int) -> dict[int, Span]:
    """The attributes between start and end by type; of a repeated one the last."""
    return {kind: (first, last) for kind, first, last in each(data, start, end)}


def number(data: bytes, span: Span) -> int:
    """An unsigned big-endian integer of 1 to 8 bytes (nf_tables.h: all integers are in network order)."""
    first, last = span
    if not 1 <= last - first <= 8:
        raise MalformedError(first)
    return int.from_bytes(data[first:last], "big")


def signed(data: bytes, span: Span) -> int:
    """A signed 32-bit big-endian integer: priorities and verdict codes."""
    value = number(data, span)
    return value - (1 << 32) if value >= 1 << 31 else value


def maybe(data: bytes, found: dict[int, Span], kind: int) -> int | None:
    """The number under that type, or None where it is absent."""
    span = found.get(kind)
    return None if span is None else number(data, span)


def text(data: bytes, span: Span) -> str:
    """A NUL-terminated string; bytes that are not UTF-8 as `\\xNN`."""
    return data[span[0] : span[1]].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def name(data: bytes, found: dict[int, Span], kind: int) -> str:
    """The string under that type, "" where it is absent."""
    span = found.get(kind)
    return "" if span is None else text(data, span)


def user_comment(data: bytes, span: Span | None, wanted: int = 0) -> str | None:
    """The comment in user data: TLVs of one-byte type and length, type `wanted` (libnftnl udata.h: *_COMMENT)."""
    if span is None:
        return None
    at, end = span
    while at + 2 <= end:
        kind, size = data[at], data[at + 1]
        if kind == wanted:
            return text(data, (at + 2, min(end, at + 2 + size)))
        at += 2 + size
    return None
