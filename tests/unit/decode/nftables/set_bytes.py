"""Messages of nf_tables' sets built by hand, laid out as the kernel does (its lists carry no NESTED flag)."""

from __future__ import annotations

from tests.unit.decode.netlink_bytes import be, ct, nla

NEWSET, NEWSETELEM = 0xA09, 0xA0C


def counter(packets: int, octets: int) -> bytes:
    """NFTA_SET_ELEM_EXPR of a counter."""
    numbers = nla(1, be(8, octets)) + nla(2, be(8, packets))
    return nla(7, nla(1, b"counter\0") + nla(2, numbers))


def element(key: bytes, *more: bytes, end: bytes | None = None) -> bytes:
    """One NFTA_LIST_ELEM."""
    last = b"" if end is None else nla(10, nla(1, end))
    return nla(1, nla(1, nla(1, key)) + last + b"".join(more))


def elements(*listed: bytes, table: str = "t", name: str = "s", family: int = 1) -> bytes:
    """NFT_MSG_NEWSETELEM."""
    head = nla(1, table.encode() + b"\0") + nla(2, name.encode() + b"\0")
    return ct(head, nla(3, b"".join(listed)), kind=NEWSETELEM, family=family)


def a_set(name: str, key_type: int, key_length: int, *more: bytes, table: str = "t", family: int = 1) -> bytes:
    """NFT_MSG_NEWSET."""
    head = nla(1, table.encode() + b"\0") + nla(2, name.encode() + b"\0")
    return ct(head, nla(4, be(4, key_type)), nla(5, be(4, key_length)), *more, kind=NEWSET, family=family)
