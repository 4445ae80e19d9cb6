"""The layouts of conntrack messages: one walk over the attributes finds the offsets of values for all similar messages.

Take two messages of equal length, and the attribute headers (length and type, 4 bytes) that the walk of the first saw.
If the second has equal headers at the same offsets, its values are at the same offsets too: by induction its walk sees
the same headers. If an attribute occurs twice the last one counts, as in the kernel's nla_parse. Format:
linux/netfilter/nfnetlink_conntrack.h; all its numbers are big endian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop import columns as c
from nettop.linux import conntrack as nfct
from nettop.linux import netlink as nl
from nettop.linux.netlink import Buffer, MalformedError, attributes
from nettop.linux.nfnetlink import NFGEN_LENGTH
from nettop.linux.socket import AF_INET, AF_INET6

BODY = nl.NLMSG_HDRLEN + NFGEN_LENGTH  # offset of the first attribute
MAX_LENGTH = 1 << 16  # the kernel's messages have a few hundred bytes
MAX_HEADERS = 512


@dataclass(frozen=True, slots=True)
class NumberField:
    """A number of `width` bytes, shifted left by `shift` bits, for the column `name`."""

    name: str
    width: int
    shift: int = 0


@dataclass(frozen=True, slots=True)
class AddressField:
    """An IPv6 address for two columns: name_hi and name_lo."""

    name: str


@dataclass(frozen=True, slots=True)
class BytesField:
    """Bytes of any length, to be interned. With `text` a NUL ends them."""

    name: str
    text: bool


@dataclass(frozen=True, slots=True)
class PresenceField:
    """An attribute of which only the presence matters."""

    name: str


Schema = dict[int, "NumberField | AddressField | BytesField | PresenceField | Schema"]


def tuple_schema(side: str, proto: str) -> Schema:
    """Return the schema of a tuple (CTA_TUPLE_*). Its columns begin with `side`; `proto` is that of its protocol."""
    sport, dport = f"{side}sport", f"{side}dport"
    return {
        nfct.CTA_TUPLE_IP: {
            nfct.CTA_IP_V4_SRC: NumberField(f"{side}src_lo", 4),
            nfct.CTA_IP_V4_DST: NumberField(f"{side}dst_lo", 4),
            nfct.CTA_IP_V6_SRC: AddressField(f"{side}src"),
            nfct.CTA_IP_V6_DST: AddressField(f"{side}dst"),
        },
        nfct.CTA_TUPLE_PROTO: {
            nfct.CTA_PROTO_NUM: NumberField(proto, 1),
            nfct.CTA_PROTO_SRC_PORT: NumberField(sport, 2),
            nfct.CTA_PROTO_DST_PORT: NumberField(dport, 2),
            nfct.CTA_PROTO_ICMP_ID: NumberField(sport, 2),
            nfct.CTA_PROTO_ICMP_TYPE: NumberField(dport, 1, 8),
            nfct.CTA_PROTO_ICMP_CODE: NumberField(dport, 1),
            nfct.CTA_PROTO_ICMPV6_ID: NumberField(sport, 2),
            nfct.CTA_PROTO_ICMPV6_TYPE: NumberField(dport, 1, 8),
            nfct.CTA_PROTO_ICMPV6_CODE: NumberField(dport, 1),
        },
        nfct.CTA_TUPLE_ZONE: NumberField(f"{side}zone", 2),
    }


def _counters(side: str) -> Schema:
    packets, octets = f"{side}packets", f"{side}bytes"
    return {
        nfct.CTA_COUNTERS_PACKETS: NumberField(packets, 8),
        nfct.CTA_COUNTERS_BYTES: NumberField(octets, 8),
        nfct.CTA_COUNTERS32_PACKETS: NumberField(packets, 4),
        nfct.CTA_COUNTERS32_BYTES: NumberField(octets, 4),
    }


_STATE: Schema = {nfct.CTA_PROTOINFO_STATE: NumberField("state", 1)}
_FLOW: Schema = {
    nfct.CTA_TUPLE_ORIG: tuple_schema("o", "proto"),
    nfct.CTA_TUPLE_REPLY: tuple_schema("r", "rproto"),
    nfct.CTA_STATUS: NumberField("status", 4),
    nfct.CTA_PROTOINFO: {
        nfct.CTA_PROTOINFO_TCP: _STATE,
        nfct.CTA_PROTOINFO_DCCP: _STATE,
        nfct.CTA_PROTOINFO_SCTP: _STATE,
    },
    nfct.CTA_HELP: {nfct.CTA_HELP_NAME: BytesField("helper", text=True)},
    nfct.CTA_TIMEOUT: NumberField("timeout", 4),
    nfct.CTA_MARK: NumberField("mark", 4),
    nfct.CTA_COUNTERS_ORIG: _counters("o"),
    nfct.CTA_COUNTERS_REPLY: _counters("r"),
    nfct.CTA_USE: NumberField("use", 4),
    nfct.CTA_ID: NumberField("id", 4),
    nfct.CTA_TUPLE_MASTER: tuple_schema("m", "mproto"),
    nfct.CTA_ZONE: NumberField("zone", 2),
    nfct.CTA_SECCTX: PresenceField("secctx"),
    nfct.CTA_TIMESTAMP: {
        nfct.CTA_TIMESTAMP_START: NumberField("start_ns", 8),
        nfct.CTA_TIMESTAMP_STOP: NumberField("stop_ns", 8),
    },
    nfct.CTA_LABELS: BytesField("labels", text=False),
    nfct.CTA_TIMESTAMP_EVENT: NumberField("ts_ns", 8),
}

_HAVE = (
    (c.HAVE_ORIG, ("osrc_lo", "odst_lo", "proto")), (c.HAVE_REPLY, ("rsrc_lo", "rdst_lo", "rproto")),
    (c.HAVE_OPORTS, ("osport", "odport")), (c.HAVE_RPORTS, ("rsport", "rdport")), (c.HAVE_STATUS, ("status",)),
    (c.HAVE_TIMEOUT, ("timeout",)), (c.HAVE_MARK, ("mark",)), (c.HAVE_ID, ("id",)),
    (c.HAVE_OCOUNT, ("opackets", "obytes")), (c.HAVE_RCOUNT, ("rpackets", "rbytes")), (c.HAVE_START, ("start_ns",)),
    (c.HAVE_STOP, ("stop_ns",)), (c.HAVE_STATE, ("state",)), (c.HAVE_HELPER, ("helper",)),
    (c.HAVE_LABELS, ("labels",)), (c.HAVE_ZONE, ("zone",)), (c.HAVE_ZONE | c.HAVE_ZONE_ORIG_ONLY, ("ozone",)),
    (c.HAVE_ZONE | c.HAVE_ZONE_REPLY_ONLY, ("rzone",)), (c.HAVE_MASTER, ("msrc_lo", "mdst_lo", "mproto")),
    (c.HAVE_EVENT_TS, ("ts_ns",)), (c.HAVE_USE, ("use",)), (c.HAVE_SECCTX, ("secctx",)),
)  # fmt: skip
_FALLBACK = {"rproto": "proto", "ozone": "zone", "rzone": "zone"}


@dataclass(frozen=True, slots=True)
class MessageSchema:
    """The schema of the messages of one subsystem, and the presence bits of its columns."""

    schema: Schema
    have: tuple[tuple[int, tuple[str, ...]], ...]  # a bit is set if all these names were seen
    fallback: dict[str, str]  # name → the column its value fills if that was not seen itself


FLOW = MessageSchema(_FLOW, _HAVE, _FALLBACK)


@dataclass(frozen=True, slots=True)
class NumberPart:
    """Bytes [offset, offset + width) of the message: a big-endian number, shifted left by `shift` bits."""

    offset: int
    width: int
    shift: int


@dataclass(slots=True, eq=False)
class MessageLayout:
    """The offsets of values in all messages of this length with these attribute headers."""

    length: int
    words: NDArray[np.intp]  # offsets of the attribute headers, in 4-byte words
    heads: NDArray[np.uint32]  # the headers, as they are in memory
    have: int  # HAVE_* bits
    family: int  # of the addresses; 0: without addresses, the nfgenmsg has it
    numbers: tuple[tuple[str, tuple[NumberPart, ...]], ...]  # column → parts whose sum is the value
    texts: tuple[tuple[str, int, int, bool], ...]  # column, offset, width, ends at a NUL
    used: int = 0  # time of the last use, counted by the cache


class _MessageWalk:
    """A walk over one message: the offsets of its headers and of the values of a schema."""

    __slots__ = ("base", "buf", "families", "headers", "numbers", "texts")

    def __init__(self, buf: Buffer, base: int) -> None:
        self.buf = buf
        self.base = base
        self.headers: list[int] = []
        self.families: set[int] = set()
        self.numbers: dict[str, dict[int, NumberPart]] = {}
        self.texts: dict[str, tuple[str, int, int, bool]] = {}

    def nest(self, schema: Schema, start: int, end: int) -> None:
        """Walk buf[start:end]. Raises MalformedError."""
        for kind, begin, stop in attributes(self.buf, start, end):
            self.headers.append(begin - nl.NLA_HDRLEN - self.base)
            if len(self.headers) > MAX_HEADERS:
                raise MalformedError(begin - nl.NLA_HDRLEN, nl.ERR_TOO_LONG)
            field = schema.get(kind)
            if isinstance(field, dict):
                self.nest(field, begin, stop)
            elif field is not None:
                self._leaf(field, begin, stop - begin)

    def _leaf(self, field: NumberField | AddressField | BytesField | PresenceField, begin: int, width: int) -> None:
        offset = begin - self.base
        if isinstance(field, NumberField):
            self._require(begin, width, field.width)
            self._number(field.name, NumberPart(offset, field.width, field.shift))
            if field.name.endswith("_lo"):
                self._family(field.name, AF_INET)
        elif isinstance(field, AddressField):
            self._require(begin, width, 16)
            self._number(f"{field.name}_hi", NumberPart(offset, 8, 0))
            self._number(f"{field.name}_lo", NumberPart(offset + 8, 8, 0))
            self._family(field.name, AF_INET6)
        elif isinstance(field, BytesField):
            self.texts[field.name] = (field.name, offset, width, field.text)
        else:
            self.numbers.setdefault(field.name, {})

    def _family(self, name: str, family: int) -> None:
        """Note the family of an address, unless it is the master's."""
        if not name.startswith("m"):
            self.families.add(family)

    def _number(self, name: str, part: NumberPart) -> None:
        self.numbers.setdefault(name, {})[part.shift] = part

    def _require(self, begin: int, width: int, needed: int) -> None:
        if width < needed:
            raise MalformedError(begin - nl.NLA_HDRLEN, nl.ERR_VALUE_SHORT)


def layout_of(buf: Buffer, base: int, length: int, kind: MessageSchema = FLOW) -> MessageLayout:
    """Return the layout of the message buf[base : base + length], with its header. Raises MalformedError."""
    if length > MAX_LENGTH:
        raise MalformedError(base, nl.ERR_TOO_LONG)
    if length < BODY:
        raise MalformedError(base, nl.ERR_VALUE_SHORT)
    walk = _MessageWalk(buf, base)
    walk.nest(kind.schema, base + BODY, base + length)
    if len(walk.families) > 1:
        raise MalformedError(base + BODY, nl.ERR_FAMILY)
    words = np.array(walk.headers, np.intp) // 4
    return MessageLayout(
        length=length,
        words=words,
        heads=np.frombuffer(buf, np.uint8, length & ~3, base).copy().view(np.uint32)[words],
        have=_presence(walk, kind),
        family=next(iter(walk.families), 0),
        numbers=_numbers(walk, kind),
        texts=tuple(walk.texts.values()),
    )


def _presence(walk: _MessageWalk, kind: MessageSchema) -> int:
    seen = walk.numbers.keys() | walk.texts.keys()
    have = 0
    for bits, names in kind.have:
        if seen.issuperset(names):
            have |= bits
    return have


def _numbers(walk: _MessageWalk, kind: MessageSchema) -> tuple[tuple[str, tuple[NumberPart, ...]], ...]:
    found = dict(walk.numbers)
    for name, column in kind.fallback.items():
        parts = found.pop(name, None)
        if parts is not None:
            found.setdefault(column, parts)
    return tuple((name, tuple(parts.values())) for name, parts in found.items() if name in c.COLUMN_DTYPES)
