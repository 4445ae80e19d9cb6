"""Rules that iptables-nft, arptables-nft or ebtables-nft can print as they are, known from their raw expressions.

The save tools print many rules of nft as other rules, without an error: they skip sets, ranges and what else they never
make. So a rule counts as theirs only if its expressions are what they make: conditions on fields that an option names,
each field once, then one counter and at most one target (iptables/nft-shared.c, nft-ipv4.c, nft-arp.c, nft-bridge.c).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from nettop.linux import nf_tables as nft
from nettop.linux.netlink import Attributes
from nettop.linux.nfnetlink import NF_ACCEPT, NF_DROP

Expression = tuple[bytes, Attributes]  # name, attributes
TABLES = frozenset({"filter", "nat", "mangle", "raw", "security", "broute"})  # of all xtables tools

_LINK, _NETWORK = nft.NFT_PAYLOAD_LL_HEADER, nft.NFT_PAYLOAD_NETWORK_HEADER
_META, _TRANSPORT = -1, nft.NFT_PAYLOAD_TRANSPORT_HEADER
_MAC, _IPV4, _IPV6 = 6, 4, 16  # bytes


class _Field(NamedTuple):
    """A header field that an option compares: `size` in bytes; `prefix`: or only its first bytes; `masked`: or bits."""

    size: int
    prefix: bool = False
    masked: bool = False
    late: bool = False  # an option of a match (-m), which may follow a limit


_TCP_FLAGS = _TRANSPORT, 13
_NAMES = {(_META, nft.NFT_META_IIFNAME): _Field(16, True), (_META, nft.NFT_META_OIFNAME): _Field(16, True)}
_PORTS = {
    (_TRANSPORT, 0): _Field(2, late=True),
    (_TRANSPORT, 2): _Field(2, late=True),
    _TCP_FLAGS: _Field(1, masked=True, late=True),
    (_META, nft.NFT_META_MARK): _Field(4, masked=True, late=True),
}
_PROTOCOL = _META, nft.NFT_META_L4PROTO
_IPV4_PROTOCOL = _NETWORK, 9  # iptables 1.8.10 and later compare this one
_IP = {**_NAMES, **_PORTS, _PROTOCOL: _Field(1)}
_FRAGMENT, _FRAGMENT_MASK = (_NETWORK, 6), b"\x1f\xff"
_SOURCE_AND_DESTINATION_PORT = 4  # bytes of one load of both
_FIELDS: dict[str, dict[tuple[int, int], _Field]] = {
    "ip": {
        **_IP,
        (_NETWORK, 12): _Field(_IPV4, True, True),
        (_NETWORK, 16): _Field(_IPV4, True, True),
        _FRAGMENT: _Field(2, masked=True),
    },
    "ip6": {**_IP, (_NETWORK, 8): _Field(_IPV6, True, True), (_NETWORK, 24): _Field(_IPV6, True, True)},
    "arp": {
        **_NAMES,
        (_NETWORK, 0): _Field(2),  # hardware type
        (_NETWORK, 2): _Field(2),  # protocol type
        (_NETWORK, 4): _Field(1),  # lengths of both addresses
        (_NETWORK, 5): _Field(1),
        (_NETWORK, 6): _Field(2),  # operation
        (_NETWORK, 8): _Field(_MAC, True, True),
        (_NETWORK, 14): _Field(_IPV4, True, True),
        (_NETWORK, 18): _Field(_MAC, True, True),
        (_NETWORK, 24): _Field(_IPV4, True, True),
    },
    "bridge": {
        **_NAMES,
        (_LINK, 0): _Field(_MAC, True, True),
        (_LINK, 6): _Field(_MAC, True, True),
        (_LINK, 12): _Field(2),  # EtherType
    },
}
_ARP_LENGTHS = {(_NETWORK, 4): b"\x06", (_NETWORK, 5): b"\x04"}  # arptables always compares these to a MAC's and IPv4's
_TCP, _UDP = b"\x06", b"\x11"
_JUMP, _GOTO, _RETURN = -3, -4, -5  # NFT_JUMP, …
_NAME = re.compile(rb"[\w.@:/-]+", re.ASCII)  # of a device: no character that a tool quotes, no wildcard
_NEVER = b"INVAL/D"  # iptables: ! -i +
_LIMIT_SCALE = 10_000  # linux/netfilter/xt_limit.h XT_LIMIT_SCALE: the tools count a limit in these parts of a second
_MAX_LIMIT = 400  # per second: above, the tools print a rounded one


class _Rule:
    """The walk over the expressions of one rule. Each method returns False for what the tools do not make."""

    def __init__(self, family: str) -> None:
        self.family, self.fields = family, _FIELDS[family]
        self.is_ip = family in ("ip", "ip6")
        self.seen: set[tuple[int, int]] = set()
        self.loaded: tuple[int, int] | None = None  # the field in the register
        self.size = 0  # of it, in bytes
        self.mask = b""
        self.protocol = b""  # the layer 4 protocol, once it is compared
        self.limited = self.counted = self.ended = False
        self.traced = False  # a value to set nftrace to is in the register

    def meta(self, data: Attributes) -> bool:
        key = data.number(nft.NFTA_META_KEY)
        if nft.NFTA_META_SREG in data:
            traces = self.traced and key == nft.NFT_META_NFTRACE
            self.traced = False
            return traces
        return self._load((_META, key if key is not None else -1), None)

    def payload(self, data: Attributes) -> bool:
        base, offset = data.number(nft.NFTA_PAYLOAD_BASE), data.number(nft.NFTA_PAYLOAD_OFFSET)
        if base is None or offset is None or nft.NFTA_PAYLOAD_SREG in data:
            return False
        return self._load((base, offset), data.number(nft.NFTA_PAYLOAD_LEN) or 0)

    def _load(self, at: tuple[int, int], size: int | None) -> bool:
        at = _PROTOCOL if self.family == "ip" and at == _IPV4_PROTOCOL else at
        field = self.fields.get(at)
        if field is None or at in self.seen or self.loaded is not None or self.ended:
            return False
        self.loaded, self.size, self.mask = at, field.size if size is None else size, b""
        self.seen.add(at)
        if at[0] == _TRANSPORT and self.protocol != _TCP and not (self.protocol == _UDP and at != _TCP_FLAGS):
            return False
        if at == (_TRANSPORT, 0) and self.size == _SOURCE_AND_DESTINATION_PORT:
            self.seen.add((_TRANSPORT, 2))
        elif not (self.size == field.size or (field.prefix and 0 < self.size < field.size)):
            return False
        return field.late or not self.limited

    def bitwise(self, data: Attributes) -> bool:
        mask, xor = _value(data, nft.NFTA_BITWISE_MASK), _value(data, nft.NFTA_BITWISE_XOR)
        if self.loaded is None or self.mask or not any(mask) or data.number(nft.NFTA_BITWISE_OP) or any(xor):
            return False
        self.mask = mask
        return self.fields[self.loaded].masked and len(mask) == self.size == self.fields[self.loaded].size

    def cmp(self, data: Attributes) -> bool:
        at, self.loaded = self.loaded, None
        value, operation = _value(data, nft.NFTA_CMP_DATA), data.number(nft.NFTA_CMP_OP)
        if at is None or operation not in (nft.NFT_CMP_EQ, nft.NFT_CMP_NEQ):
            return at == (_LINK, 12) and operation == nft.NFT_CMP_LT and value == b"\x06\x00"  # -p LENGTH
        return self._compares(at, value, operation == nft.NFT_CMP_EQ)

    def _compares(self, at: tuple[int, int], value: bytes, equal: bool) -> bool:
        if at in _NAMES:
            return _is_name(value)
        if len(value) != self.size or (self.mask and any(v & ~m & 0xFF for v, m in zip(value, self.mask, strict=True))):
            return False
        if at == _PROTOCOL:
            self.protocol = value if equal else b""
            return value != b"\0"  # 0 stands for every protocol
        if at == _FRAGMENT and self.is_ip:
            return self.mask == _FRAGMENT_MASK and value == b"\0\0"
        if at == _TCP_FLAGS:
            return bool(self.mask)
        if self.family == "arp" and at in _ARP_LENGTHS:
            return equal and value == _ARP_LENGTHS[at]
        return equal or at[0] != _TRANSPORT or self.size != _SOURCE_AND_DESTINATION_PORT

    def range(self, data: Attributes) -> bool:
        at, self.loaded = self.loaded, None
        return at in ((_TRANSPORT, 0), (_TRANSPORT, 2)) and self.size == 2

    def limit(self, data: Attributes) -> bool:
        rate, unit = data.number(nft.NFTA_LIMIT_RATE) or 0, data.number(nft.NFTA_LIMIT_UNIT) or 1
        plain = not data.number(nft.NFTA_LIMIT_TYPE) and not data.number(nft.NFTA_LIMIT_FLAGS)
        again, self.limited = self.limited, True
        exact = 0 < rate <= _MAX_LIMIT * unit and _LIMIT_SCALE * unit // (_LIMIT_SCALE * unit // rate) == rate
        return plain and exact and not again and self.loaded is None and not self.ended

    def counter(self, data: Attributes) -> bool:
        again, self.counted = self.counted, True
        self.ended = True
        return not again and self.loaded is None

    def immediate(self, data: Attributes) -> bool:
        verdict = data.nested(nft.NFTA_IMMEDIATE_DATA)
        first = self._target()
        if nft.NFTA_DATA_VERDICT not in verdict:
            self.traced = verdict.raw(nft.NFTA_DATA_VALUE) in (b"\1", b"\1\0\0\0", b"\0\0\0\1")
            return first and self.traced and self.is_ip
        code = verdict.nested(nft.NFTA_DATA_VERDICT).number(nft.NFTA_VERDICT_CODE, signed=True)
        return first and code in (NF_ACCEPT, NF_DROP, _JUMP, _RETURN, *((_GOTO,) if self.is_ip else ()))

    def log(self, data: Attributes) -> bool:
        plain = nft.NFTA_LOG_LEVEL not in data and nft.NFTA_LOG_FLAGS not in data
        return self.is_ip and plain and nft.NFTA_LOG_GROUP in data and self._target()

    def _target(self) -> bool:
        """Return True if this is the rule's only target, after its counter."""
        first, self.loaded = self.counted and self.loaded is None and not self.traced, (_META, -1)
        return first

    def is_whole(self) -> bool:
        return self.counted and not self.traced and (self.family != "arp" or self.seen >= _ARP_LENGTHS.keys())


def _value(data: Attributes, kind: int) -> bytes:
    return data.nested(kind).raw(nft.NFTA_DATA_VALUE)


def _is_name(value: bytes) -> bool:
    """Return True for a device's name, NUL-terminated, or a prefix of names without a NUL (`eth+`)."""
    name = value.rstrip(b"\0")
    return b"\0" not in name and (_NAME.fullmatch(name) is not None)


_STEPS: dict[bytes, Callable[[_Rule, Attributes], bool]] = {
    b"meta": _Rule.meta, b"payload": _Rule.payload, b"bitwise": _Rule.bitwise, b"cmp": _Rule.cmp,
    b"range": _Rule.range, b"limit": _Rule.limit, b"counter": _Rule.counter, b"immediate": _Rule.immediate,
    b"log": _Rule.log,
}  # fmt: skip


def is_printable(family: str, expressions: Iterable[Expression], user_data: bytes) -> bool:
    """Return True if the family's save tool prints a rule of these expressions, none of them an xt one, as it is.

    `user_data`: a comment, which only iptables prints, or the mark of the rule for an ebtables user chain's policy.
    """
    if family not in _FIELDS or (user_data and family in ("arp", "bridge")):
        return False
    rule = _Rule(family)
    for name, one in expressions:
        step = _STEPS.get(name)
        if step is None or not step(rule, one.nested(nft.NFTA_EXPR_DATA)):
            return False
    return rule.is_whole()
