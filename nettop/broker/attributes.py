"""Netlink attributes as bytes (RFC 3549, linux/netlink.h struct nlattr), and the values they are made of."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from nettop.errors import BrokerError
from nettop.linux.netlink import NLA_F_NESTED, NLATTR
from nettop.linux.socket import AF_INET, AF_INET6

ADDRESS_OF: dict[int, type[IPv4Address] | type[IPv6Address]] = {AF_INET: IPv4Address, AF_INET6: IPv6Address}
_U16, _U32, _U64 = struct.Struct("!H"), struct.Struct("!I"), struct.Struct("!Q")
_HOST32 = struct.Struct("=I")


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    return NLATTR.pack(NLATTR.size + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def nested(kind: int, *inner: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def be16(kind: int, value: int) -> bytes:
    """Return a 16-bit attribute in network order; raises BrokerError when the value does not fit."""
    return attribute(kind, _U16.pack(_within(value, 0xFFFF)))


def be32(kind: int, value: int) -> bytes:
    """Return a 32-bit attribute in network order; raises BrokerError when the value does not fit."""
    return attribute(kind, _U32.pack(_within(value, 0xFFFF_FFFF)))


def be64(kind: int, value: int) -> bytes:
    """Return a 64-bit attribute in network order; raises BrokerError when the value does not fit."""
    return attribute(kind, _U64.pack(_within(value, 0xFFFF_FFFF_FFFF_FFFF)))


def host32(kind: int, value: int) -> bytes:
    """Return a 32-bit attribute in host order; raises BrokerError when the value does not fit."""
    return attribute(kind, _HOST32.pack(_within(value, 0xFFFF_FFFF)))


def u8(kind: int, value: int) -> bytes:
    """Return an 8-bit attribute; raises BrokerError when the value does not fit."""
    return attribute(kind, bytes([_within(value, 0xFF)]))


def name(kind: int, text: str, longest: int) -> bytes:
    """Return a NUL-ended name of 1 to `longest` bytes; raises BrokerError."""
    try:
        raw = text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raw = b""
    if not 1 <= len(raw) <= longest or b"\0" in raw:
        raise BrokerError(f"not on the list: the name {text[:80]!r}")
    return attribute(kind, raw + b"\0")


def address(family: int, text: str) -> bytes:
    """Return the bytes of an IPv4 or IPv6 address; raises BrokerError when it is none of that family."""
    try:
        return ADDRESS_OF[family](text).packed
    except (KeyError, ValueError) as error:
        raise BrokerError(f"not on the list: the address {text[:80]!r} of family {family}") from error


def _within(value: int, highest: int) -> int:
    if not 0 <= value <= highest:
        raise BrokerError(f"not on the list: the number {value}")
    return value
