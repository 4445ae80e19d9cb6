"""One expectation, a connection that a conntrack helper awaits: its value, and its words on screen and in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any

from nettop.columns import (
    EVENT_EXPECT,
    HAVE_EXPECT_CLASS,
    HAVE_EXPECT_FLAGS,
    HAVE_FUNCTION,
    HAVE_HELPER,
    HAVE_ID,
    HAVE_MASK,
    HAVE_MASTER,
    HAVE_OPORTS,
    HAVE_ORIG,
    HAVE_RPORTS,
    HAVE_TIMEOUT,
    Columns,
    Strings,
)
from nettop.linux.conntrack import NF_CT_EXPECT_NAMES
from nettop.linux.socket import AF_INET
from nettop.model.table import Line
from nettop.text import units
from nettop.text.address import address_text, endpoint_text
from nettop.text.flow import EVENT_WORDS, FAMILY_WORDS, PROTO_WORDS
from nettop.text.sanitize import clean, clean_bytes

_PORT = 0xFFFF
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Ends:
    """Two ends of a connection. Addresses are integers of 32 or 128 bits; a port is None where there is none."""

    family: int  # AF_INET 2, AF_INET6 10
    proto: int
    src: int
    sport: int | None
    dst: int
    dport: int | None

    def text(self) -> str:
        """`10.0.0.1:40000 → 10.0.0.2:21`."""
        ends = ((self.src, self.sport), (self.dst, self.dport))
        return " → ".join(endpoint_text(self.family, *_halves(address), port) for address, port in ends)


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation. In `mask` a bit of 0 means that any value will do; what was not sent is None."""

    netns: int
    ts_ns: int
    event: int  # EVENT_DUMP, or EVENT_EXPECT + EVENT_*
    expected: Ends | None
    mask: Ends | None
    master: Ends | None  # original tuple of the connection that expects
    helper: bytes | None
    function: bytes | None
    timeout: int | None  # seconds
    id: int | None
    zone: int
    flags: int | None  # NF_CT_EXPECT_*
    klass: int | None


def expectation_of(row: Mapping[str, Any], strings: Strings) -> Expectation:
    """The expectation of a row of columns (FLOW_DTYPES and EXPECT_DTYPES) given as Python values by name."""
    have = row["have"]

    def known(name: str, bit: int) -> Any:
        return row.get(name, 0) if have & bit else None

    def text(name: str, bit: int) -> bytes | None:
        return strings[row.get(name, 0)] if have & bit else None

    return Expectation(
        netns=row.get("netns", 0),
        ts_ns=row["ts_ns"],
        event=row["event"],
        expected=_ends(row, "o", row["proto"], have & HAVE_OPORTS) if have & HAVE_ORIG else None,
        mask=_ends(row, "x", row["proto"], have & HAVE_OPORTS) if have & HAVE_MASK else None,
        master=_ends(row, "r", row.get("mproto", 0), have & HAVE_RPORTS) if have & HAVE_MASTER else None,
        helper=text("helper", HAVE_HELPER),
        function=text("function", HAVE_FUNCTION),
        timeout=known("timeout", HAVE_TIMEOUT),
        id=known("id", HAVE_ID),
        zone=row.get("zone", 0),
        flags=known("expect_flags", HAVE_EXPECT_FLAGS),
        klass=known("expect_class", HAVE_EXPECT_CLASS),
    )


def expectations_of(cols: Columns, netns: int, strings: Strings) -> list[Expectation]:
    """The expectations of decoded rows."""
    lists = {name: column.tolist() for name, column in cols.data.items()}
    return [
        expectation_of(dict(zip(lists, values, strict=True)) | {"netns": netns}, strings)
        for values in zip(*lists.values(), strict=True)
    ]


def _ends(row: Mapping[str, Any], side: str, proto: int, ports: int) -> Ends:
    src, dst = (row.get(f"{side}{end}_hi", 0) << 64 | row.get(f"{side}{end}_lo", 0) for end in ("src", "dst"))
    sport, dport = (row.get(f"{side}{name}", 0) if ports else None for name in ("sport", "dport"))
    return Ends(row["family"], proto, src, sport, dst, dport)


def _halves(address: int) -> tuple[int, int]:
    return address >> 64, address & (1 << 64) - 1


def _address(family: int, address: int) -> str:
    return address_text(family, *_halves(address))


# -- words -------------------------------------------------------------------------------------------------------------


def event_word(event: int) -> str:
    """`NEW`, `GAP`, `EXP NEW`: what stands in the table's column."""
    return EVENT_WORDS[event].upper().replace("-", " ")


def expected_text(one: Expectation) -> str:
    """`10.0.0.2:* → 10.0.0.1:50001`: `*` is any, a mask that is neither all nor nothing is said behind a slash."""
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
    """A prefix length, or the mask as an address where it is no prefix."""
    inverse = whole & ~mask
    return str(mask.bit_count()) if inverse & inverse + 1 == 0 else _address(family, mask)


def flag_words(flags: int) -> list[str]:
    """Names of the set NF_CT_EXPECT_* bits; bits without a name as `bit_N`."""
    bits = (n for n in range(32) if flags >> n & 1)
    return [NF_CT_EXPECT_NAMES[n] if n < len(NF_CT_EXPECT_NAMES) else f"bit_{n}" for n in bits]


def helper_text(one: Expectation) -> str:
    """The helper's name; `–` where none was sent (an expectation of NAT's or of a program's)."""
    return clean_bytes(one.helper) if one.helper else units.ABSENT


def attribute_lines(one: Expectation, label: str) -> list[Line]:
    """Everything of it in words, for a detail pane; `label` is its namespace's."""
    flags = units.ABSENT if one.flags is None else f"{' '.join(flag_words(one.flags)) or 'none'} ({one.flags:#x})"
    master = f"{PROTO_WORDS[one.master.proto]} {one.master.text()}" if one.master else units.ABSENT
    proto = PROTO_WORDS[one.expected.proto] if one.expected else ""
    mask = one.mask.text() if one.mask else units.ABSENT
    function = clean_bytes(one.function) if one.function else units.ABSENT
    return [
        (("  expects   ", "key"), (f"{proto} {expected_text(one)}", "address")),
        (("  mask      ", "key"), (mask, "")),
        (("  for       ", "key"), (master, "address"), ("   the master connection", "dim")),
        (("  helper    ", "key"), (helper_text(one), "accent"), ("   function ", "key"), (function, "")),
        (
            *(("  timeout   ", "key"), (_or_absent(one.timeout, " s"), "number")),
            *(("   class ", "key"), (_or_absent(one.klass), "number")),
            *(("   zone ", "key"), (str(one.zone), "number")),
            *(("   id ", "key"), (_or_absent(one.id), "number")),
        ),
        (("  flags     ", "key"), (flags, ""), ("   netns ", "key"), (label or "this host's", "")),
    ]


def _or_absent(value: int | None, unit: str = "") -> str:
    return units.ABSENT if value is None else f"{value}{unit}"


# -- lines of a stream -------------------------------------------------------------------------------------------------

# The flow keys of the contract that an expectation has no value for.
_NOT_OF_IT = ("reply_src", "reply_sport", "reply_dst", "reply_dport", "state", "status")
_NOR_THESE = ("packets", "bytes", "reply_packets", "reply_bytes", "start_ns")


def expectation_json(one: Expectation, netns: str) -> str:
    """One JSON object: the keys of an `event`, `expectation` true, then `mask`, `master`, `flags`, `class`, `function`.

    `event` is new, update or destroy; src, sport, dst and dport are what is expected, where `mask` (same keys) is 0 any
    value will do; `master` is the original tuple of the connection that expects. What was not sent is null.
    """
    ends = one.expected
    values: dict[str, Any] = {"kind": "event", "event": EVENT_WORDS[one.event % EVENT_EXPECT], "expectation": True}
    values |= {"netns": netns, "family": FAMILY_WORDS.get(ends.family, ends.family) if ends else None}
    values |= {"proto": PROTO_WORDS[ends.proto] if ends else None} | _ends_json(ends)
    values |= dict.fromkeys(_NOT_OF_IT) | {"nat": [], "timeout": one.timeout, "mark": None, "zone": one.zone}
    values |= {"id": one.id} | dict.fromkeys(_NOR_THESE) | {"helper": _text(one.helper), "labels": None}
    values |= {"ts_ns": one.ts_ns, "mask": _ends_json(one.mask) if one.mask else None}
    master = {"proto": PROTO_WORDS[one.master.proto]} | _ends_json(one.master) if one.master else None
    values |= {"master": master, "flags": None if one.flags is None else flag_words(one.flags)}
    return dumps(values | {"class": one.klass, "function": _text(one.function)}, separators=(",", ":"))


def _ends_json(ends: Ends | None) -> dict[str, Any]:
    if ends is None:
        return dict.fromkeys(("src", "sport", "dst", "dport"))
    src, dst = _address(ends.family, ends.src), _address(ends.family, ends.dst)
    return {"src": src, "sport": ends.sport, "dst": dst, "dport": ends.dport}


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else clean_bytes(raw)


def expectation_line(one: Expectation, netns: str) -> str:
    """`EXP NEW tcp    expects 10.0.0.2:* → 10.0.0.1:501 for tcp 10.0.0.1:4000 → 10.0.0.2:21 helper ftp timeout 300`."""
    proto = PROTO_WORDS[one.expected.proto] if one.expected else units.ABSENT
    parts = [f"{event_word(one.event):<8}{proto:<6} expects {expected_text(one)}"]
    if one.master:
        parts.append(f"for {PROTO_WORDS[one.master.proto]} {one.master.text()}")
    parts.append(f"helper {helper_text(one)}" if one.helper else "")
    parts.append(f"timeout {one.timeout}" if one.timeout is not None else "")
    parts.append(" ".join(flag_words(one.flags or 0)))
    parts.append(f"zone {one.zone}" if one.zone else "")
    parts.append(f"id {one.id}" if one.id is not None else "")
    parts.append(f"netns {clean(netns)}" if netns else "")
    return " ".join(part for part in parts if part)
