"""Random conntrack messages with what they must decode to, as plain Python values: an oracle beside the decoder."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from nettop import columns as c
from nettop.columns import Decoded, Strings
from tests.unit.decode.netlink_bytes import CT_DELETE, CT_NEW, be, ct, nest, nla

TCP, UDP, ICMP, GRE, ICMP6, SCTP, DCCP, ESP = 6, 17, 1, 47, 58, 132, 33, 50
LOW = (1 << 64) - 1
EVENT_OF = {(CT_NEW, 0x600): c.EVENT_NEW, (CT_NEW, 0): c.EVENT_UPDATE, (CT_NEW, 2): c.EVENT_DUMP, (CT_DELETE, 0): 3}

Row = dict[str, Any]


@dataclass(frozen=True)
class Flow:
    """One message and the row it must give: column → value, absent columns left out."""

    message: bytes
    row: Row


def u(bits: int) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(0, (1 << bits) - 1), st.sampled_from([0, 1, (1 << bits) - 1]))


@st.composite
def _tuples(draw: st.DrawFn, side: str, family: int, proto: int, row: Row) -> bytes:
    width = 4 if family == 2 else 16
    src, dst = draw(u(8 * width)), draw(u(8 * width))
    row |= {f"{side}src_lo": src & LOW, f"{side}dst_lo": dst & LOW}
    if family == 10:
        row |= {f"{side}src_hi": src >> 64, f"{side}dst_hi": dst >> 64}
    first = 1 if family == 2 else 3
    addresses = draw(st.permutations([nla(first, be(width, src)), nla(first + 1, be(width, dst))]))
    parts = [nest(1, *addresses), nest(2, *draw(st.permutations(draw(_layer4(side, proto, row)))))]
    return b"".join(draw(st.permutations(parts)))


@st.composite
def _layer4(draw: st.DrawFn, side: str, proto: int, row: Row) -> list[bytes]:
    found = [nla(1, be(1, proto))]
    if proto in (ICMP, ICMP6):
        first = 4 if proto == ICMP else 7
        number, kind, code = draw(u(16)), draw(u(8)), draw(u(8))
        row |= {f"{side}sport": number, f"{side}dport": kind << 8 | code}
        return [*found, nla(first, be(2, number)), nla(first + 1, be(1, kind)), nla(first + 2, be(1, code))]
    if proto != ESP:
        sport, dport = draw(u(16)), draw(u(16))
        row |= {f"{side}sport": sport, f"{side}dport": dport}
        return [*found, nla(2, be(2, sport)), nla(3, be(2, dport))]
    return found


def _optional(draw: st.DrawFn, proto: int, row: Row) -> list[bytes]:
    """Any of the other attributes, each put into the row as well."""
    found = []
    for kind, name, width in [(3, "status", 4), (7, "timeout", 4), (8, "mark", 4), (11, "use", 4), (12, "id", 4)]:
        if draw(st.booleans()):
            row[name] = draw(u(8 * width))
            found.append(nla(kind, be(width, row[name])))
    if draw(st.booleans()):
        row["zone"] = draw(u(16))
        found.append(nla(18, be(2, row["zone"])))
    for kind, side in [(9, "o"), (10, "r")]:
        if draw(st.booleans()):
            row[f"{side}packets"], row[f"{side}bytes"] = draw(u(64)), draw(u(64))
            pair = [nla(1, be(8, row[f"{side}packets"])), nla(2, be(8, row[f"{side}bytes"]))]
            found.append(nest(kind, *draw(st.permutations(pair))))
    if draw(st.booleans()):
        names = draw(st.sampled_from([("start_ns",), ("start_ns", "stop_ns"), ("stop_ns",)]))
        row |= {name: draw(u(64)) for name in names}
        found.append(nest(20, *(nla(1 if name == "start_ns" else 2, be(8, row[name])) for name in names)))
    holder = {TCP: 1, DCCP: 2, SCTP: 3}.get(proto)
    if holder is not None and draw(st.booleans()):
        row["state"] = draw(st.integers(0, 10))
        found.append(nest(4, nest(holder, nla(1, be(1, row["state"])), nla(2, b"\x07"))))
    return found


def _named(draw: st.DrawFn, row: Row) -> list[bytes]:
    """Helper, labels, time of the event, master and what nettop does not know."""
    found = []
    if draw(st.booleans()):
        row["helper"] = draw(st.sampled_from([b"ftp", b"sip-5060", b"", b"\x1b[2J\xff"]))
        found.append(nest(5, nla(1, row["helper"] + b"\0"), nla(2, b"info")))
    if draw(st.booleans()):
        row["labels"] = draw(st.binary(min_size=16, max_size=16))
        found.append(nla(22, row["labels"]))
    if draw(st.booleans()):
        row["ts_ns"] = draw(st.integers(0, (1 << 63) - 1))
        found.append(nla(27, be(8, row["ts_ns"])))
    if draw(st.booleans()):
        row["master"] = True
        found.append(nest(14, nest(1, nla(1, bytes(4)), nla(2, bytes(4))), nest(2, nla(1, b"\x06"))))
    if draw(st.booleans()):
        row["secctx"] = True
        found.append(nest(19, nla(1, b"system_u:object_r:x:s0\0")))
    if draw(st.booleans()):
        found.append(nla(draw(st.integers(28, 900)), draw(st.binary(max_size=9)), nested=draw(st.booleans())))
    return found


@st.composite
def flows(draw: st.DrawFn, with_names: bool = True) -> Flow:
    """A message with its attributes in any order, some of them left out, and its row."""
    family, proto = draw(
        st.sampled_from([(2, p) for p in (TCP, UDP, ICMP, GRE, SCTP, DCCP, ESP)] + [(10, p) for p in (TCP, UDP, ICMP6)])
    )
    kind, flags = draw(st.sampled_from(list(EVENT_OF)))
    row: Row = {"family": family, "proto": proto, "event": EVENT_OF[kind, flags]}
    parts = [struct.pack("=HH", 4 + len(body), 0x8001) + body for body in [draw(_tuples("o", family, proto, row))]]
    if draw(st.booleans()):
        body = draw(_tuples("r", family, proto, row))
        parts.append(struct.pack("=HH", 4 + len(body), 0x8002) + body)
    parts += _optional(draw, proto, row)
    if with_names:
        parts += _named(draw, row)
    return Flow(ct(*draw(st.permutations(parts)), kind=kind, flags=flags, family=family), row)


_HAVE = {
    "osrc_lo": c.HAVE_ORIG,
    "rsrc_lo": c.HAVE_REPLY,
    "osport": c.HAVE_OPORTS,
    "rsport": c.HAVE_RPORTS,
    "status": c.HAVE_STATUS,
    "timeout": c.HAVE_TIMEOUT,
    "mark": c.HAVE_MARK,
    "id": c.HAVE_ID,
    "opackets": c.HAVE_OCOUNT,
    "rpackets": c.HAVE_RCOUNT,
    "start_ns": c.HAVE_START,
    "stop_ns": c.HAVE_STOP,
    "state": c.HAVE_STATE,
    "helper": c.HAVE_HELPER,
    "labels": c.HAVE_LABELS,
    "zone": c.HAVE_ZONE,
    "master": c.HAVE_MASTER,
    "ts_ns": c.HAVE_EVENT_TS,
    "use": c.HAVE_USE,
    "secctx": c.HAVE_SECCTX,
}


def expected(row: Row, record_ts_ns: int) -> Row:
    """The row as `rows` reads it out of a Decoded: every column, with its `have` bits."""
    have = 0
    for name, bit in _HAVE.items():
        have |= bit if name in row else 0
    full: Row = {name: 0 for name in c.FLOW_DTYPES} | {"ts_ns": record_ts_ns, "helper": b"", "labels": b""}
    full |= {name: value for name, value in row.items() if name not in ("master", "secctx")}
    return full | {"have": have}


def rows(decoded: Decoded, strings: Strings) -> list[Row]:
    """Every row of a Decoded as plain values, strings looked up."""
    found: list[Row] = []
    for i in range(len(decoded.cols)):
        row: Row = {name: int(col[i]) for name in c.FLOW_DTYPES if (col := decoded.cols.get(name)) is not None}
        row = {name: 0 for name in c.FLOW_DTYPES} | row
        found.append(row | {name: strings[row[name]] for name in ("helper", "labels")})
    return found
