"""Expectations, the connections that a conntrack helper awaits: few, so each is walked into a value of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import EVENT_DESTROY, EVENT_DUMP, EVENT_NEW, EVENT_UPDATE, DecodeErrors
from nettop.decode import nfct
from nettop.decode.conntrack_layout import BODY, Bytes, Schema, Value, Walk, tuple_schema
from nettop.decode.netlink import (
    ERR_VALUE_SHORT,
    NLM_F_CREATE,
    NLM_F_MULTI,
    NLMSG_HDRLEN,
    BadAttribute,
    Buffer,
    ErrorRows,
    split,
)

_NEW = nfct.NFNL_SUBSYS_CTNETLINK_EXP << 8 | nfct.IPCTNL_MSG_EXP_NEW
_DELETE = nfct.NFNL_SUBSYS_CTNETLINK_EXP << 8 | nfct.IPCTNL_MSG_EXP_DELETE
_SCHEMA: Schema = {
    nfct.CTA_EXPECT_MASTER: tuple_schema("master_", "master_proto"),
    nfct.CTA_EXPECT_TUPLE: tuple_schema("tuple_", "tuple_proto"),
    nfct.CTA_EXPECT_MASK: tuple_schema("mask_", "mask_proto"),
    nfct.CTA_EXPECT_TIMEOUT: Value("timeout", 4),
    nfct.CTA_EXPECT_ID: Value("id", 4),
    nfct.CTA_EXPECT_HELP_NAME: Bytes("helper", text=True),
    nfct.CTA_EXPECT_ZONE: Value("zone", 2),
    nfct.CTA_EXPECT_FLAGS: Value("flags", 4),
    nfct.CTA_EXPECT_CLASS: Value("class", 4),
    nfct.CTA_EXPECT_FN: Bytes("function", text=True),
}


@dataclass(frozen=True, slots=True)
class Tuple:
    """Ends of a connection: addresses are integers in host order; ports as in the flow columns; None: not sent."""

    src: int | None
    dst: int | None
    proto: int | None
    sport: int | None
    dport: int | None


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation. In `mask` a bit of 0 means that any value will do."""

    ts_ns: int
    event: int  # EVENT_* of columns.py
    family: int  # AF_INET 2, AF_INET6 10
    master: Tuple | None
    tuple: Tuple | None
    mask: Tuple | None
    timeout: int | None  # seconds
    id: int | None
    zone: int | None
    flags: int | None  # NF_CT_EXPECT_*: 1 permanent, 2 inactive, 4 made from user space
    helper: bytes
    function: bytes


@dataclass(frozen=True, slots=True)
class Expectations:
    """What a batch says of expectations, in its order."""

    stream: int
    seq: int
    found: tuple[Expectation, ...]
    errors: DecodeErrors


def decode_expectations(batch: Batch) -> Expectations:
    """The expectations of a dump or of events; anything else in the batch is passed over. Never raises on bad bytes."""
    messages = split(batch)
    wanted = (messages.kind == _NEW) | (messages.kind == _DELETE)
    if isinstance(batch.meta, NetlinkMeta):
        wanted &= ~batch.meta.outgoing[messages.record]
    errors = ErrorRows()
    found: list[Expectation] = []
    for row in np.flatnonzero(wanted).tolist():
        record, start = int(messages.record[row]), int(messages.offset[row])
        event = _event(int(messages.kind[row]), int(messages.flags[row]))
        try:
            found.append(
                _expectation(batch.buf, start, start + int(messages.length[row]), event, int(batch.ts_ns[record]))
            )
        except BadAttribute as error:
            errors.add(record, error.offset, error.code)
    return Expectations(batch.stream, batch.seq, tuple(found), errors.merged(messages.errors))


def _event(kind: int, flags: int) -> int:
    if kind == _DELETE:
        return EVENT_DESTROY
    if flags & NLM_F_MULTI:
        return EVENT_DUMP
    return EVENT_NEW if flags & NLM_F_CREATE else EVENT_UPDATE


def _expectation(buf: Buffer, start: int, end: int, event: int, ts_ns: int) -> Expectation:
    if end - start < BODY:
        raise BadAttribute(start, ERR_VALUE_SHORT)
    walk = Walk(buf, start)
    walk.nest(_SCHEMA, start + BODY, end)
    numbers = {
        name: sum(_number(buf, start + part.offset, part.width) << part.shift for part in parts.values())
        for name, parts in walk.numbers.items()
    }
    texts = {
        name: bytes(buf[start + offset : start + offset + width]).partition(b"\0")[0]
        for name, offset, width, _ in walk.texts.values()
    }
    return Expectation(
        ts_ns=ts_ns,
        event=event,
        family=buf[start + NLMSG_HDRLEN],
        master=_tuple(numbers, "master_"),
        tuple=_tuple(numbers, "tuple_"),
        mask=_tuple(numbers, "mask_"),
        timeout=numbers.get("timeout"),
        id=numbers.get("id"),
        zone=numbers.get("zone"),
        flags=numbers.get("flags"),
        helper=texts.get("helper", b""),
        function=texts.get("function", b""),
    )


def _tuple(numbers: dict[str, int], side: str) -> Tuple | None:
    if not any(name.startswith(side) for name in numbers):
        return None
    src, dst = (_address(numbers, f"{side}{end}") for end in ("src", "dst"))
    return Tuple(src, dst, *(numbers.get(f"{side}{name}") for name in ("proto", "sport", "dport")))


def _address(numbers: dict[str, int], name: str) -> int | None:
    low = numbers.get(f"{name}_lo")
    return None if low is None else numbers.get(f"{name}_hi", 0) << 64 | low


def _number(buf: Buffer, offset: int, width: int) -> int:
    return int.from_bytes(buf[offset : offset + width], "big")
