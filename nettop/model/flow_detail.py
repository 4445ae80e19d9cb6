"""Everything known of one flow, drawn: its two tuples with the NAT between them, counters, and every attribute."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.columns import (
    HAVE_HELPER,
    HAVE_ID,
    HAVE_LABELS,
    HAVE_MARK,
    HAVE_MASTER,
    HAVE_OCOUNT,
    HAVE_RCOUNT,
    HAVE_REPLY,
    HAVE_START,
    HAVE_STATUS,
    HAVE_TIMEOUT,
    HAVE_USE,
)
from nettop.model.flow_cells import RowView, original_text, rate_cell, state_role
from nettop.model.flow_store import BORN
from nettop.model.view import Detail, Line, Segment
from nettop.text import flow as words
from nettop.text import units
from nettop.text.sanitize import clean, clean_bytes

_KEY, _NUMBER, _NAT, _DIM = "key", "number", "nat", "dim"


def flow_detail(ident: int, row: RowView, history: Sequence[Line], now_ns: int) -> Detail:
    """The detail pane of a flow; `history` are lines about its events, oldest first."""
    lines = (*drawing(row), (), *attributes(row, now_ns), *_history(history))
    return Detail(ident, flow_title(row), lines, marks={"flow": row})


def flow_title(row: RowView) -> Line:
    """`tcp 192.168.1.2:56303 → 200.200.200.1:443`."""
    code = row.value("state_code")
    return (
        (words.PROTO_WORDS[row.value("proto")], "proto"),
        (" " + original_text(row), "address"),
        ("  " + words.STATE_WORDS[code], state_role(code)),
    )


def drawing(row: RowView) -> tuple[Line, ...]:
    """The two tuples, the NAT between them, and their counters."""
    if not row.have & HAVE_REPLY:
        return (((original_text(row), "address"), ("   reply tuple not known", _DIM)),)
    left = (row.endpoint("osrc"), row.endpoint("rdst"))
    right = (row.endpoint("odst"), row.endpoint("rsrc"))
    w, x = max(map(len, left)), max(map(len, right))
    nat = row.value("nat")
    return (
        _tuple_line(left[0], right[0], w, x, " ━━━━▶ ", _counters(row, "original", "o", HAVE_OCOUNT)),
        _between(nat, w),
        _tuple_line(left[1], right[1], w, x, " ◀━━━━ ", _counters(row, "reply   ", "r", HAVE_RCOUNT)),
    )


def _tuple_line(left: str, right: str, w: int, x: int, arrow: str, counters: Line) -> Line:
    return (("  " + left.rjust(w), "address"), (arrow, _DIM), (right.ljust(x) + "   ", "address"), *counters)


def _between(nat: int, width: int) -> Line:
    """The rewriting, drawn below the end that it rewrote."""
    snat = ("│ SNAT" + (" port" if nat & words.NAT_SNAT_PORT else "")) if nat & words.NAT_SNAT else ""
    dnat = ("│ DNAT" + (" port" if nat & words.NAT_DNAT_PORT else "")) if nat & words.NAT_DNAT else ""
    at = 2 + width // 2
    text = (" " * at + snat) if snat else ""
    if dnat:
        text = text.ljust(2 + width + 10) + dnat
    return ((text, _NAT),)


def _counters(row: RowView, name: str, side: str, bit: int) -> Line:
    label = (f"{name}  ", _KEY)
    if not row.have & bit:
        return (label, ("– packets  – bytes (not accounted)", _DIM))
    packets, size = row.value(f"{side}packets"), row.value(f"{side}bytes")
    name = "rate_up" if side == "o" else "rate_down"
    speed = rate_cell(row.value(name)) if name in row.data else ("", "")
    amount = f"{units.grouped(packets)} packet{'' if packets == 1 else 's'}  {units.grouped(size)} B  "
    return (label, (amount, _NUMBER), speed)


def attributes(row: RowView, now_ns: int) -> list[Line]:
    """Every other attribute in words with its raw value."""
    have = row.have
    status, mark = row.value("status"), row.value("mark")
    names = " ".join(words.status_words(status)).upper() if have & HAVE_STATUS else ""
    raw_labels = row.strings[row.value("labels")]
    helper = clean_bytes(row.strings[row.value("helper")]) if have & HAVE_HELPER else units.ABSENT
    return [
        _line("status", f"{names}  ({status:#x})" if have & HAVE_STATUS else units.ABSENT),
        _line("protocol", f"{words.PROTO_WORDS[row.value('proto')]} ({row.value('proto')})")
        + _more("zone", str(row.value("zone")))
        + _more("netns", clean(row.netns_label(row.value("netns"))) or "this host's"),
        _line("mark", f"{mark:#x} ({mark})" if have & HAVE_MARK else units.ABSENT)
        + _more("helper", helper)
        + _more("labels", words.labels_text(raw_labels) if have & HAVE_LABELS else units.ABSENT)
        + _more("id", str(row.value("id")) if have & HAVE_ID else units.ABSENT)
        + _more("use", str(row.value("use")) if have & HAVE_USE else units.ABSENT),
        _line("timeout", _timeout(row.value("timeout")) if have & HAVE_TIMEOUT else units.ABSENT),
        *([_began(row, now_ns)] if row.have & HAVE_START or "first_ns" in row.data else []),
        *([_line("expected", "by a master connection")] if have & HAVE_MASTER else []),
    ]


def _timeout(seconds: int) -> str:
    """In words where seconds say little: `4d23h (431,999 s) when last reported`."""
    exact = f"{units.grouped(seconds)} s"
    return (exact if seconds < 60 else f"{units.duration(seconds)} ({exact})") + " when last reported"


def _began(row: RowView, now_ns: int) -> Line:
    if row.have & HAVE_START:
        start, how = row.value("start_ns"), "by the kernel's timestamp"
    elif row.value("flags") & BORN:
        start, how = row.value("first_ns"), "by its NEW event"
    else:
        since = row.value("first_ns")
        age = units.duration((now_ns - since) / 1e9)
        return _line("began", f"before {units.clock(since)}, when it was first seen (≥{age})")
    return _line("began", f"{units.clock(start, 3)}, {units.duration((now_ns - start) / 1e9)} ago, {how}")


def _line(name: str, text: str) -> tuple[Segment, ...]:
    return ((f"  {name:<9} ", _KEY), (text, ""))


def _more(name: str, text: str) -> tuple[Segment, ...]:
    return ((f"   {name} ", _KEY), (text, ""))


def _history(history: Sequence[Line]) -> tuple[Line, ...]:
    if not history:
        return (_line("events", "none kept"),)
    return (_line("events", f"{len(history)} kept"), *history)
