"""Keys of nf_tables' sets and maps as nft prints them. Those of unknown types are hexadecimal.

The key type of a set is nft's own number (nftables include/datatype.h, enum datatypes); that of a concatenation has six
bits for each part. The parts of a concatenated key begin at multiples of four bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, summarize_address_range

from nettop.text.protocols import NFT_NAMES

_TYPE_BITS = 6  # datatype.h: TYPE_BITS
# datatype.h: TYPE_IPADDR, TYPE_IP6ADDR, TYPE_INET_SERVICE, TYPE_IFNAME
IPV4_ADDR, IPV6_ADDR, SERVICE, IFNAME = 7, 8, 13, 41
_MAX_PARTS = 5  # datatype.h: of a 32-bit number
_CT_STATES = ((1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked"))
_CT_DIRECTIONS = {0: "original", 1: "reply"}


def _host(part: bytes) -> int:
    return int.from_bytes(part, sys.byteorder)


def _network(part: bytes) -> str:
    return str(int.from_bytes(part, "big"))


def ct_states(bits: int) -> str:
    """Return `established,related`: nft's words for bits of NF_CT_STATE_BIT."""
    return ",".join(word for bit, word in _CT_STATES if bits & bit) or f"{bits:#x}"


def _states(part: bytes) -> str:
    return ct_states(_host(part))


def _string(part: bytes) -> str:
    return part.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


# number → (nft's name, length in bytes; 0: any, formatter)
_TYPES: dict[int, tuple[str, int, Callable[[bytes], str]]] = {
    2: ("nf_proto", 1, lambda part: {2: "ipv4", 10: "ipv6"}.get(part[0], str(part[0]))),
    4: ("integer", 0, _network),
    5: ("string", 0, _string),
    7: ("ipv4_addr", 4, lambda part: str(IPv4Address(part))),
    8: ("ipv6_addr", 16, lambda part: str(IPv6Address(part))),
    9: ("ether_addr", 6, lambda part: part.hex(":")),
    10: ("ether_type", 2, lambda part: f"0x{part.hex()}"),
    12: ("inet_proto", 1, lambda part: NFT_NAMES.get(part[0], str(part[0]))),
    13: ("inet_service", 2, _network),
    14: ("icmp_type", 1, _network),
    15: ("tcp_flag", 1, lambda part: f"{part[0]:#x}"),
    19: ("mark", 4, lambda part: f"{_host(part):#010x}"),
    20: ("iface_index", 4, lambda part: str(_host(part))),
    22: ("realm", 4, lambda part: str(_host(part))),
    24: ("uid", 4, lambda part: str(_host(part))),
    25: ("gid", 4, lambda part: str(_host(part))),
    26: ("ct_state", 4, _states),
    27: ("ct_dir", 1, lambda part: _CT_DIRECTIONS.get(part[0], str(part[0]))),
    29: ("icmpv6_type", 1, _network),
    34: ("icmpx_code", 1, _network),
    35: ("devgroup", 4, lambda part: str(_host(part))),
    36: ("dscp", 1, lambda part: f"{part[0]:#04x}"),
    39: ("boolean", 1, lambda part: "exists" if part[0] else "missing"),
    41: ("ifname", 16, _string),
}
_ADDRESSES: dict[int, Callable[[bytes], IPv4Address | IPv6Address]] = {7: IPv4Address, 8: IPv6Address}


def type_text(key_type: int) -> str:
    """Return the name of a key type: `ipv4_addr . inet_service`; of an unknown type the number."""
    return " . ".join(_TYPES[kind][0] if kind in _TYPES else f"type {kind}" for kind in _kinds(key_type))


def key_text(key_type: int, key: bytes, end: bytes | None = None) -> str:
    """Return a key as nft prints it, not safe for a terminal; with `end` (its last member) as a prefix or a range."""
    parts, ends = _split(key_type, key), None if end is None else _split(key_type, end)
    if not parts or (end is not None and not ends):
        return f"0x{key.hex()}" if end is None else f"0x{key.hex()}-0x{end.hex()}"
    if ends is None:
        return " . ".join(_text(kind, part) for kind, part in parts)
    pairs = zip(parts, ends, strict=True)
    return " . ".join(_range(kind, first, last) for (kind, first), (_, last) in pairs)


def _kinds(key_type: int) -> list[int]:
    found: list[int] = []
    while key_type > 0 and len(found) < _MAX_PARTS:
        found.append(key_type & (1 << _TYPE_BITS) - 1)
        key_type >>= _TYPE_BITS
    return found[::-1]


def parts_of(key_type: int, length: int) -> list[tuple[int, int, int]]:
    """Return type, offset and size of each part of a key; none if the length does not fit the types."""
    kinds = _kinds(key_type)
    if len(kinds) == 1:
        size = _TYPES[kinds[0]][1] if kinds[0] in _TYPES else -1
        return [(kinds[0], 0, length)] if length and size in (0, length) else []
    at, found = 0, []
    for kind in kinds:
        size = _TYPES[kind][1] if kind in _TYPES else 0
        if not size or at + size > length:
            return []
        found.append((kind, at, size))
        at += size + 3 & ~3
    return found if at == length else []


def _split(key_type: int, key: bytes) -> list[tuple[int, bytes]]:
    """Return the parts with their types."""
    return [(kind, key[at : at + size]) for kind, at, size in parts_of(key_type, len(key))]


def _text(kind: int, part: bytes) -> str:
    return _TYPES[kind][2](part)


def _range(kind: int, first: bytes, last: bytes) -> str:
    if first == last:
        return _text(kind, first)
    if kind in _ADDRESSES and first < last:
        nets = summarize_address_range(_ADDRESSES[kind](first), _ADDRESSES[kind](last))
        net = next(nets)
        if next(nets, None) is None:
            return str(net)
    return f"{_text(kind, first)}-{_text(kind, last)}"
