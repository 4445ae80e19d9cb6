"""One expectation, a connection that a conntrack helper expects: its values, and its text on screen and in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any

from nettop import columns as ct
from nettop.linux.conntrack import NF_CT_EXPECT_NAMES
from nettop.linux.socket import AF_INET
from nettop.model.table import Line, detail_line, more
from nettop.text import units
from nettop.text.address import address_text, endpoint_text
from nettop.text.flow import EVENT_NAMES, FAMILY_NAMES, PROTO_NAMES
from nettop.text.sanitize import clean, clean_bytes, decoded

_PORT = 0xFFFF
_ANY = "*"


@dataclass(frozen=True, slots=True)
class ConntrackTuple:
    """The two endpoints of a connection. Addresses are integers of 32 or 128 bits; a port is None if absent."""

    family: int  # AF_INET 2, AF_INET6 10
    proto: int
    src: int
    sport: int | None
    dst: int
    dport: int | None

    def text(self) -> str:
        """Return `10.0.0.1:40000 → 10.0.0.2:21`."""
        endpoints = ((self.src, self.sport), (self.dst, self.dport))
        return " → ".join(endpoint_text(self.family, *_halves(address), port) for address, port in endpoints)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation. A bit of 0 in `mask` matches any value. A field is None if the kernel did not send it."""

    netns: int
    ts_ns: int
    event: int  # EVENT_DUMP, or EVENT_EXPECT + EVENT_*
    expected: ConntrackTuple | None
    mask: ConntrackTuple | None
    master: ConntrackTuple | None  # original tuple of the connection that expects
    helper: bytes | None
    function: bytes | None
    timeout: int | None  # seconds
    id: int | None
    zone: int
    flags: int | None  # NF_CT_EXPECT_*
    klass: int | None


def expectation_of(row: Mapping[str, Any], strings: ct.Strings) -> Expectation:
    """Return the expectation of a row of columns (FLOW_DTYPES and EXPECT_DTYPES) given as Python values by name."""
    have = row["have"]

    def known(name: str, bit: int) -> Any:
        return row.get(name, 0) if have & bit else None

    def text(name: str, bit: int) -> bytes | None:
        return strings[row.get(name, 0)] if have & bit else None

    return Expectation(
        netns=row.get("netns", 0),
        ts_ns=row["ts_ns"],
        event=row["event"],
        expected=_tuple(row, "o", row["proto"], have & ct.HAVE_OPORTS) if have & ct.HAVE_ORIG else None,
        mask=_tuple(row, "x", row["proto"], have & ct.HAVE_OPORTS) if have & ct.HAVE_MASK else None,
        master=_tuple(row, "r", row.get("mproto", 0), have & ct.HAVE_RPORTS) if have & ct.HAVE_MASTER else None,
        helper=text("helper", ct.HAVE_HELPER),
        function=text("function", ct.HAVE_FUNCTION),
        timeout=known("timeout", ct.HAVE_TIMEOUT),
        id=known("id", ct.HAVE_ID),
        zone=row.get("zone", 0),
        flags=known("expect_flags", ct.HAVE_EXPECT_FLAGS),
        klass=known("expect_class", ct.HAVE_EXPECT_CLASS),
    )


def expectations_of(cols: ct.Columns, netns: int, strings: ct.Strings) -> list[Expectation]:
    """Return the expectations of decoded rows."""
    lists = {name: column.tolist() for name, column in cols.data.items()}
    return [
        expectation_of(dict(zip(lists, values, strict=True)) | {"netns": netns}, strings)
        for values in zip(*lists.values(), strict=True)
    ]


def _tuple(row: Mapping[str, Any], side: str, proto: int, ports: int) -> ConntrackTuple:
    src, dst = (row.get(f"{side}{end}_hi", 0) << 64 | row.get(f"{side}{end}_lo", 0) for end in ("src", "dst"))
    sport, dport = (row.get(f"{side}{name}", 0) if ports else None for name in ("sport", "dport"))
    return ConntrackTuple(row["family"], proto, src, sport, dst, dport)


def _halves(address: int) -> tuple[int, int]:
    return address >> 64, address & (1 << 64) - 1


def _address(family: int, address: int) -> str:
    return address_text(family, *_halves(address))


def event_word(event: int) -> str:
    """Return the cell of the EVENT column: `NEW`, `GAP`, `EXP NEW`."""
    return EVENT_NAMES[event].upper().replace("-", " ")


def expected_text(one: Expectation) -> str:
    """Return `10.0.0.2:* → 10.0.0.1:50001`: `*` is any value; another mask follows a slash."""
    if one.expected is None:
        return units.ABSENT
    e, mask = one.expected, one.mask
    if mask is None:
        return e.text()
    src = _end_text(e.family, e.src, e.sport, mask.src, mask.sport)
    return f"{src} → {_end_text(e.family, e.dst, e.dport, mask.dst, mask.dport)}"


def _end_text(family: int, address: int, port: int | None, mask: int, port_mask: int | None) -> str:
    whole = (1 << 32 if family == AF_INET else 1 << 128) - 1
    text = _address(family, address)
    if mask != whole:
        text = _ANY if not mask else f"{text}/{_mask_text(family, mask, whole)}"
    elif family != AF_INET and port is not None:
        text = f"[{text}]"
    if port is None:
        return text
    if port_mask is None or port_mask == _PORT:
        return f"{text}:{port}"
    return f"{text}:{_ANY}" if not port_mask else f"{text}:{port}/{port_mask:#x}"


def _mask_text(family: int, mask: int, whole: int) -> str:
    """Return the prefix length, or the mask as an address if it is not contiguous."""
    inverse = whole & ~mask
    return str(mask.bit_count()) if inverse & inverse + 1 == 0 else _address(family, mask)


def flag_words(flags: int) -> list[str]:
    """Return the names of the NF_CT_EXPECT_* bits that are set; `bit_N` for a bit without a name."""
    bits = (n for n in range(32) if flags >> n & 1)
    return [NF_CT_EXPECT_NAMES[n] if n < len(NF_CT_EXPECT_NAMES) else f"bit_{n}" for n in bits]


def helper_text(one: Expectation) -> str:
    """Return the helper's name; `–` if none was sent (the expectation was made by NAT or a program)."""
    return clean_bytes(one.helper) if one.helper else units.ABSENT


def attribute_lines(one: Expectation, label: str) -> list[Line]:
    """Return all its fields as lines of a detail pane; `label` is that of its namespace."""
    flags = units.ABSENT if one.flags is None else f"{' '.join(flag_words(one.flags)) or 'none'} ({one.flags:#x})"
    master = f"{PROTO_NAMES[one.master.proto]} {one.master.text()}" if one.master else units.ABSENT
    proto = PROTO_NAMES[one.expected.proto] if one.expected else ""
    mask = one.mask.text() if one.mask else units.ABSENT
    function = clean_bytes(one.function) if one.function else units.ABSENT
    times = (
        *detail_line("timeout", _or_absent(one.timeout, " s"), "number"),
        *more("class", _or_absent(one.klass), "number"),
    )
    return [
        detail_line("expects", f"{proto} {expected_text(one)}", "address"),
        detail_line("mask", mask),
        (*detail_line("for", master, "address"), ("   the master connection", "dim")),
        detail_line("helper", helper_text(one), "accent") + more("function", function),
        times + more("zone", str(one.zone), "number") + more("id", _or_absent(one.id), "number"),
        detail_line("flags", flags) + more("netns", label or "this host's"),
    ]


def _or_absent(value: int | None, unit: str = "") -> str:
    return units.ABSENT if value is None else f"{value}{unit}"


# The JSON keys of a flow for which an expectation has no value.
_NULL_KEYS = ("reply_src", "reply_sport", "reply_dst", "reply_dport", "state", "status")
_NULL_COUNTERS = ("packets", "bytes", "reply_packets", "reply_bytes", "start_ns")


def expectation_json(one: Expectation, netns: str) -> str:
    """Return one JSON object: the keys of an `event`, and expectation (true), mask, master, flags, class, function.

    `event` is new, update or destroy. src, sport, dst and dport are the expected tuple; a bit of 0 in `mask` (same
    keys) matches any value. `master` is the original tuple of the connection that expects. A value not sent is null.
    """
    pair = one.expected
    values: dict[str, Any] = {"kind": "event", "event": EVENT_NAMES[one.event % ct.EVENT_EXPECT], "expectation": True}
    values |= {"netns": netns, "family": FAMILY_NAMES.get(pair.family, pair.family) if pair else None}
    values |= {"proto": PROTO_NAMES[pair.proto] if pair else None} | _tuple_json(pair)
    values |= dict.fromkeys(_NULL_KEYS) | {"nat": [], "timeout": one.timeout, "mark": None, "zone": one.zone}
    values |= {"id": one.id} | dict.fromkeys(_NULL_COUNTERS) | {"helper": _text(one.helper), "labels": None}
    values |= {"ts_ns": one.ts_ns, "mask": _tuple_json(one.mask) if one.mask else None}
    master = {"proto": PROTO_NAMES[one.master.proto]} | _tuple_json(one.master) if one.master else None
    values |= {"master": master, "flags": None if one.flags is None else flag_words(one.flags)}
    return dumps(values | {"class": one.klass, "function": _text(one.function)}, separators=(",", ":"))


def _tuple_json(pair: ConntrackTuple | None) -> dict[str, Any]:
    if pair is None:
        return dict.fromkeys(("src", "sport", "dst", "dport"))
    src, dst = _address(pair.family, pair.src), _address(pair.family, pair.dst)
    return {"src": src, "sport": pair.sport, "dst": dst, "dport": pair.dport}


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else decoded(raw)


def expectation_line(one: Expectation, netns: str) -> str:
    """Return `EXP NEW tcp    expects 10.0.0.2:* → 10.0.0.1:501 for tcp 10.0.0.1:40 → 10.0.0.2:21 helper ftp …`."""
    proto = PROTO_NAMES[one.expected.proto] if one.expected else units.ABSENT
    parts = [f"{event_word(one.event):<8}{proto:<6} expects {expected_text(one)}"]
    if one.master:
        parts.append(f"for {PROTO_NAMES[one.master.proto]} {one.master.text()}")
    parts.append(f"helper {helper_text(one)}" if one.helper else "")
    parts.append(f"timeout {one.timeout}" if one.timeout is not None else "")
    parts.append(" ".join(flag_words(one.flags or 0)))
    parts.append(f"zone {one.zone}" if one.zone else "")
    parts.append(f"id {one.id}" if one.id is not None else "")
    parts.append(f"netns {clean(netns)}" if netns else "")
    return " ".join(part for part in parts if part)
