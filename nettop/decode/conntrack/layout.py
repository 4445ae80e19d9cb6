"""The layouts of conntrack messages: one walk over attributes gives the places of values in all messages like it.

Two messages of equal length whose attribute headers (length and type, 4 bytes) are equal at every place where the walk
of the first saw one have their values at the same places: by induction the walk of the second sees the same headers.
Where an attribute occurs twice the last one counts, as in the kernel's nla_parse. Format:
linux/netfilter/nfnetlink_conntrack.h; all numbers there are big endian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop import columns as c
from nettop.linux import conntrack as nfct
from nettop.linux.netlink import (
    ERR_FAMILY,
    ERR_TOO_LONG,
    ERR_VALUE_SHORT,
    NLA_HDRLEN,
    NLMSG_HDRLEN,
    Buffer,
    MalformedError,
    attributes,
)
from nettop.linux.nfnetlink import NFGEN_LENGTH
from nettop.linux.socket import AF_INET, AF_INET6

BODY = NLMSG_HDRLEN + NFGEN_LENGTH  # where the attributes begin
MAX_LENGTH = 1 << 16  # the kernel's are a few hundred bytes
MAX_HEADERS = 512


@dataclass(frozen=True, slots=True)
class Value:
    """A number of `width` bytes for a column, shifted left."""

    name: str
    width: int
    shift: int = 0


@dataclass(frozen=True, slots=True)
class Address6:
    """16 bytes for two columns: name_hi and name_lo."""

    name: str


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes of any length, to be interned; a NUL ends them where `text` is set."""

    name: str
    text: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """Only that the attribute is there counts."""

    name: str


Schema = dict[int, "Value | Address6 | Bytes | Mark | Schema"]


def tuple_schema(side: str, proto: str) -> Schema:
    """A tuple (CTA_TUPLE_*) whose columns begin with `side`; `proto` is the column of its protocol."""
    sport, dport = f"{side}sport", f"{side}dport"
    return {
        nfct.CTA_TUPLE_IP: {
            nfct.CTA_IP_V4_SRC: Value(f"{side}src_lo", 4),
            nfct.CTA_IP_V4_DST: Value(f"{side}dst_lo", 4),
            nfct.CTA_IP_V6_SRC: Address6(f"{side}src"),
            nfct.CTA_IP_V6_DST: Address6(f"{side}dst"),
        },
        nfct.CTA_TUPLE_PROTO: {
            nfct.CTA_PROTO_NUM: Value(proto, 1),
            nfct.CTA_PROTO_SRC_PORT: Value(sport, 2),
            nfct.CTA_PROTO_DST_PORT: Value(dport, 2),
            nfct.CTA_PROTO_ICMP_ID: Value(sport, 2),
            nfct.CTA_PROTO_ICMP_TYPE: Value(dport, 1, 8),
            nfct.CTA_PROTO_ICMP_CODE: Value(dport, 1),
            nfct.CTA_PROTO_ICMPV6_ID: Value(sport, 2),
            nfct.CTA_PROTO_ICMPV6_TYPE: Value(dport, 1, 8),
            nfct.CTA_PROTO_ICMPV6_CODE: Value(dport, 1),
        },
        nfct.CTA_TUPLE_ZONE: Value(f"{side}zone", 2),
    }


def _counters(side: str) -> Schema:
    packets, octets = f"{side}packets", f"{side}bytes"
    return {
        nfct.CTA_COUNTERS_PACKETS: Value(packets, 8),
        nfct.CTA_COUNTERS_BYTES: Value(octets, 8),
        nfct.CTA_COUNTERS32_PACKETS: Value(packets, 4),
        nfct.CTA_COUNTERS32_BYTES: Value(octets, 4),
    }


_STATE: Schema = {nfct.CTA_PROTOINFO_STATE: Value("state", 1)}
_FLOW: Schema = {
    nfct.CTA_TUPLE_ORIG: tuple_schema("o", "proto"),
    nfct.CTA_TUPLE_REPLY: tuple_schema("r", "rproto"),
    nfct.CTA_STATUS: Value("status", 4),
    nfct.CTA_PROTOINFO: {
        nfct.CTA_PROTOINFO_TCP: _STATE,
        nfct.CTA_PROTOINFO_DCCP: _STATE,
        nfct.CTA_PROTOINFO_SCTP: _STATE,
    },
    nfct.CTA_HELP: {nfct.CTA_HELP_NAME: Bytes("helper", text=True)},
    nfct.CTA_TIMEOUT: Value("timeout", 4),
    nfct.CTA_MARK: Value("mark", 4),
    nfct.CTA_COUNTERS_ORIG: _counters("o"),
    nfct.CTA_COUNTERS_REPLY: _counters("r"),
    nfct.CTA_USE: Value("use", 4),
    nfct.CTA_ID: Value("id", 4),
    nfct.CTA_TUPLE_MASTER: tuple_schema("m", "mproto"),
    nfct.CTA_ZONE: Value("zone", 2),
    nfct.CTA_SECCTX: Mark("secctx"),
    nfct.CTA_TIMESTAMP: {
        nfct.CTA_TIMESTAMP_START: Value("start_ns", 8),
        nfct.CTA_TIMESTAMP_STOP: Value("stop_ns", 8),
    },
    nfct.CTA_LABELS: Bytes("labels", text=False),
    nfct.CTA_TIMESTAMP_EVENT: Value("ts_ns", 8),
}

_HAVE = (
    (c.HAVE_ORIG, ("osrc_lo", "odst_lo", "proto")),
    (c.HAVE_REPLY, ("rsrc_lo", "rdst_lo", "rproto")),
    (c.HAVE_OPORTS, ("osport", "odport")),
    (c.HAVE_RPORTS, ("rsport", "rdport")),
    (c.HAVE_STATUS, ("status",)),
    (c.HAVE_TIMEOUT, ("timeout",)),
    (c.HAVE_MARK, ("mark",)),
    (c.HAVE_ID, ("id",)),
    (c.HAVE_OCOUNT, ("opackets", "obytes")),
    (c.HAVE_RCOUNT, ("rpackets", "rbytes")),
    (c.HAVE_START, ("start_ns",)),
    (c.HAVE_STOP, ("stop_ns",)),
    (c.HAVE_STATE, ("state",)),
    (c.HAVE_HELPER, ("helper",)),
    (c.HAVE_LABELS, ("labels",)),
    (c.HAVE_ZONE, ("zone",)),
    (c.HAVE_ZONE | c.HAVE_ZONE_ORIG_ONLY, ("ozone",)),
    (c.HAVE_ZONE | c.HAVE_ZONE_REPLY_ONLY, ("rzone",)),
    (c.HAVE_MASTER, ("msrc_lo", "mdst_lo", "mproto")),
    (c.HAVE_EVENT_TS, ("ts_ns",)),
    (c.HAVE_USE, ("use",)),
    (c.HAVE_SECCTX, ("secctx",)),
)
_STAND_IN = {"rproto": "proto", "ozone": "zone", "rzone": "zone"}


@dataclass(frozen=True, slots=True)
class Kind:
    """The content of the messages of one subsystem."""

    schema: Schema
    have: tuple[tuple[int, tuple[str, ...]], ...]  # a bit is set when all of these were seen
    stand_in: dict[str, str]  # where the first is seen and the second is not


FLOW = Kind(_FLOW, _HAVE, _STAND_IN)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes [offset, offset + width) of the message, as a big-endian number shifted left by `shift` bits."""

    offset: int
    width: int
    shift: int


@dataclass(slots=True, eq=False)
class Layout:
    """The places of values in every message of this length with these attribute headers."""

    length: int
    words: NDArray[np.intp]  # places of the attribute headers, in 4-byte words
    heads: NDArray[np.uint32]  # the headers themselves, as they are in memory
    have: int  # HAVE_* bits
    family: int  # of the addresses; 0: there are none, the nfgenmsg says
    numbers: tuple[tuple[str, tuple[Part, ...]], ...]  # column → parts to be added up
    texts: tuple[tuple[str, int, int, bool], ...]  # column, offset, width, ends at a NUL
    used: int = 0  # when it last fitted, on the decoder's own clock


class Walk:
    """A walk over one message: the places of its headers and of the values of a schema."""

    __slots__ = ("base", "buf", "families", "headers", "numbers", "texts")

    def __init__(self, buf: Buffer, base: int) -> None:
        self.buf = buf
        self.base = base
        self.headers: list[int] = []
        self.families: set[int] = set()
        self.numbers: dict[str, dict[int, Part]] = {}
        self.texts: dict[str, tuple[str, int, int, bool]] = {}

    def nest(self, schema: Schema, start: int, end: int) -> None:
        """Walk buf[start:end]. Raises MalformedError."""
        for kind, begin, stop in attributes(self.buf, start, end):
            self.headers.append(begin - NLA_HDRLEN - self.base)
            if len(self.headers) > MAX_HEADERS:
                raise MalformedError(begin - NLA_HDRLEN, ERR_TOO_LONG)
            what = schema.get(kind)
            if isinstance(what, dict):
                self.nest(what, begin, stop)
            elif what is not None:
                self._leaf(what, begin, stop - begin)

    def _leaf(self, what: Value | Address6 | Bytes | Mark, begin: int, width: int) -> None:
        offset = begin - self.base
        if isinstance(what, Value):
            self._fits(begin, width, what.width)
            self._number(what.name, Part(offset, what.width, what.shift))
            if what.name.endswith("_lo"):
                self._family(what.name, AF_INET)
        elif isinstance(what, Address6):
            self._fits(begin, width, 16)
            self._number(f"{what.name}_hi", Part(offset, 8, 0))
            self._number(f"{what.name}_lo", Part(offset + 8, 8, 0))
            self._family(what.name, AF_INET6)
        elif isinstance(what, Bytes):
            self.texts[what.name] = (what.name, offset, width, what.text)
        else:
            self.numbers.setdefault(what.name, {})

    def _family(self, name: str, family: int) -> None:
        """A master's is not the row's."""
        if not name.startswith("m"):
            self.families.add(family)

    def _number(self, name: str, part: Part) -> None:
        self.numbers.setdefault(name, {})[part.shift] = part

    def _fits(self, begin: int, width: int, needed: int) -> None:
        if width < needed:
            raise MalformedError(begin - NLA_HDRLEN, ERR_VALUE_SHORT)


def layout_of(buf: Buffer, base: int, length: int, kind: Kind = FLOW) -> Layout:
    """The layout of the message buf[base : base + length], header included. Raises MalformedError on bad bytes."""
    if length > MAX_LENGTH:
        raise MalformedError(base, ERR_TOO_LONG)
    if length < BODY:
        raise MalformedError(base, ERR_VALUE_SHORT)
    walk = Walk(buf, base)
    walk.nest(kind.schema, base + BODY, base + length)
    if len(walk.families) > 1:
        raise MalformedError(base + BODY, ERR_FAMILY)
    words = np.array(walk.headers, np.intp) // 4
    return Layout(
        length=length,
        words=words,
        heads=np.frombuffer(buf, np.uint8, length & ~3, base).copy().view(np.uint32)[words],
        have=_presence(walk, kind),
        family=next(iter(walk.families), 0),
        numbers=_numbers(walk, kind),
        texts=tuple(walk.texts.values()),
    )


def _presence(walk: Walk, kind: Kind) -> int:
    seen = walk.numbers.keys() | walk.texts.keys()
    have = 0
    for bits, names in kind.have:
        if seen.issuperset(names):
            have |= bits
    return have


def _numbers(walk: Walk, kind: Kind) -> tuple[tuple[str, tuple[Part, ...]], ...]:
    found = dict(walk.numbers)
    for name, instead_of in kind.stand_in.items():
        parts = found.pop(name, None)
        if parts is not None:
            found.setdefault(instead_of, parts)
    return tuple((name, tuple(parts.values())) for name, parts in found.items() if name in c.COLUMN_DTYPES)
