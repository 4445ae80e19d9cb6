"""The detail of one flow: its two tuples with the NAT between them, counters, and every attribute."""

from __future__ import annotations

from collections.abc import Sequence

from nettop import columns as ct
from nettop.linux.inet import IPPROTO_GRE
from nettop.model.flows.cells import MEASURED, RowView, current_rate, original_text, speed_cell, state_role
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.masters import master_lines
from nettop.model.flows.rate_history import READINGS, history_text, peak
from nettop.model.flows.store import BORN
from nettop.model.flows.templates import zone_direction
from nettop.model.table import Detail, Line, detail_line, more
from nettop.text import flow as words
from nettop.text import units
from nettop.text.address import endpoint_text
from nettop.text.sanitize import clean_bytes

_KEY, _NUMBER, _NAT, _DIM, _WARN = "key", "number", "nat", "dim", "warn"


def flow_detail(
    ident: int, row: RowView, children: Sequence[Line], history: Sequence[Line], joins: FlowJoins, now_ns: int
) -> Detail:
    """Return the detail of a flow, with lines about the flows that it expected and about its events, oldest first."""
    accounting = joins.accounting(row.netns_label(row.value("netns")))
    lines = (
        *drawing(row, accounting),
        *_rate(row, joins),
        *attributes(row, now_ns),
        *_joined(row, children, joins),
        detail_line("events", f"{len(history)} kept" if history else "none kept"),
        *history,
    )
    return Detail(ident, flow_title(row), lines)


def flow_title(row: RowView) -> Line:
    """Return `tcp 192.168.1.2:56303 → 200.200.200.1:443  ESTABLISHED`."""
    code = row.value("state_code")
    return (
        (words.PROTO_NAMES[row.value("proto")], "proto"),
        (" " + original_text(row), "address"),
        ("  " + words.STATE_LABELS[code], state_role(code)),
    )


def drawing(row: RowView, accounting: bool | None = None) -> tuple[Line, ...]:
    """Return the two tuples, the NAT between them, and the counters below; each line fits 80 cells.

    `accounting`: nf_conntrack_acct, None if not known.
    """
    if not row.have & ct.HAVE_REPLY:
        return (((original_text(row), "address"), ("   reply tuple not known", _DIM)),)
    left = (row.endpoint("osrc"), row.endpoint("rdst"))
    right = (row.endpoint("odst"), row.endpoint("rsrc"))
    w = max(map(len, left))
    return (
        _tuple_line(left[0], right[0], w, " ━━━━▶ "),
        *_between(row.value("nat"), w),
        _tuple_line(left[1], right[1], w, " ◀━━━━ "),
        _counters(row, "original", "o", ct.HAVE_OCOUNT, accounting),
        _counters(row, "reply", "r", ct.HAVE_RCOUNT, accounting),
        *_addresses(row),
        *_ids(row),
    )


def _tuple_line(left: str, right: str, w: int, arrow: str) -> Line:
    return (("  " + left.rjust(w), "address"), (arrow, _DIM), (right, "address"))


def _between(nat: int, width: int) -> tuple[Line, ...]:
    """Return the line with the NAT, drawn below the endpoint that it rewrote; () without NAT."""
    snat = ("│ SNAT" + (" port" if nat & words.NAT_SNAT_PORT else "")) if nat & words.NAT_SNAT else ""
    dnat = ("│ DNAT" + (" port" if nat & words.NAT_DNAT_PORT else "")) if nat & words.NAT_DNAT else ""
    at = 2 + width // 2
    text = (" " * at + snat) if snat else ""
    if dnat:
        text = text.ljust(2 + width + 10) + dnat
    return (((text, _NAT),),) if text else ()


def _counters(row: RowView, name: str, side: str, bit: int, accounting: bool | None) -> Line:
    label = detail_line(name, "")
    if not row.have & bit:
        return (*label, (f"– packets  – bytes ({_NOT_COUNTED[accounting]})", _DIM))
    packets, size = row.value(f"{side}packets"), row.value(f"{side}bytes")
    name = "rate_up" if side == "o" else "rate_down"
    speed = speed_cell(row, name) if name in row.data else ("", "")
    amount = f"{units.plural(packets, 'packet')}  {units.grouped(size)} B  "
    return (*label, (amount, _NUMBER), speed)


_NOT_COUNTED = {
    None: "not counted",
    False: "not counted: accounting is off",
    True: "not counted: this flow began before accounting",
}


def _addresses(row: RowView) -> list[Line]:
    """Return the line with the addresses, if names are shown in their place."""
    ends = ("osrc", "odst", "rsrc", "rdst")
    addresses = [endpoint_text(row.value("family"), *row.address(end), row.port(end)) for end in ends]
    if addresses == [row.endpoint(end) for end in ends]:
        return []
    return [detail_line("addresses", "{} → {}   reply {} → {}".format(*addresses))]


def _ids(row: RowView) -> list[Line]:
    """Return the line with the GRE keys, or with the ICMP ids, types and codes."""
    proto, have = row.value("proto"), row.have
    if proto == IPPROTO_GRE and have & ct.HAVE_OPORTS:
        keys = (f"{row.value(name):#x}" for name in ("osport", "odport", "rsport", "rdport"))
        return [detail_line("GRE keys", "original {} → {}   reply {} → {}".format(*keys))]
    if words.is_icmp(proto) and have & ct.HAVE_OPORTS and have & ct.HAVE_RPORTS:
        sent, back = (f"type {row.value(name) >> 8} code {row.value(name) & 255}" for name in ("odport", "rdport"))
        return [
            detail_line("ICMP", f"id {row.value('osport')}   {sent}, answered by id {row.value('rsport')}   {back}")
        ]
    return []


def _rate(row: RowView, joins: FlowJoins) -> list[Line]:
    """Return the rate with its history and peak, if there is one; for a measured one the method and its limits."""
    speed = speed_cell(row, "rate_up", "rate_down")
    history = row.value("rate_history")
    if speed[0] == units.ABSENT and not history:
        return []
    line: Line = (*detail_line("rate", ""), speed)
    highest = max(peak(history) or 0.0, current_rate(row))  # readings are exact to 11 %: the peak may be below the rate
    if history and highest:
        peak_text = f"   peak about {units.rate(highest)} in the last {READINGS} readings"
        line = (*line, (f"   {history_text(history)}", "good"), (peak_text, _DIM))
    if not speed[0].startswith(MEASURED):
        return [line]
    notes = joins.rate_notes()
    roles = (_DIM, *[_WARN] * len(notes))
    return [line, *(((f"{'':<12}{note}", role),) for note, role in zip(notes, roles, strict=False))]


def attributes(row: RowView, now_ns: int) -> list[Line]:
    """Return the other attributes in words, with their raw values."""
    have = row.have
    return [
        detail_line("status", _status(row)),
        detail_line("protocol", f"{words.PROTO_NAMES[row.value('proto')]} ({row.value('proto')})")
        + more("state", _state(row))
        + more("zone", _zone(row))
        + more("netns", row.netns_label(row.value("netns")) or "this host's"),
        detail_line("mark", f"{row.value('mark'):#x} ({row.value('mark')})" if have & ct.HAVE_MARK else units.ABSENT)
        + more("helper", clean_bytes(row.strings[row.value("helper")]) if have & ct.HAVE_HELPER else units.ABSENT)
        + more("id", str(row.value("id")) if have & ct.HAVE_ID else units.ABSENT)
        + more("use", str(row.value("use")) if have & ct.HAVE_USE else units.ABSENT),
        detail_line("labels", _labels(row)),
        detail_line("timeout", _timeout(row.value("timeout")) if have & ct.HAVE_TIMEOUT else units.ABSENT),
        *([_began(row, now_ns)] if have & ct.HAVE_START or "first_ns" in row.data else []),
        *([detail_line("ended", units.clock(row.value("stop_ns"), 3))] if have & ct.HAVE_STOP else []),
        *([detail_line("caused by", f"a program, netlink port id {by}")] if (by := row.value("portid")) else []),
        *([detail_line("security", "a context is set (its text is not read)")] if have & ct.HAVE_SECCTX else []),
    ]


def _status(row: RowView) -> str:
    """Return `SEEN_REPLY ASSURED CONFIRMED  (0xe)`."""
    if not row.have & ct.HAVE_STATUS:
        return units.ABSENT
    status = row.value("status")
    offload = words.OFFLOAD_NAMES[words.offload_code(status)]
    forwarded = f"   forwarded by {offload}, past conntrack's counters" if offload else ""
    return f"{' '.join(words.status_names(status)).upper()}  ({status:#x}){forwarded}"


def _state(row: RowView) -> str:
    word = words.STATE_LABELS[row.value("state_code")]
    return f"{word} ({row.value('state')})" if row.have & ct.HAVE_STATE else word


def _zone(row: RowView) -> str:
    direction = zone_direction(row.have)
    return f"{row.value('zone')}" + (f" of the {direction} direction only" if direction else "")


def _labels(row: RowView) -> str:
    """Return `0x5  (labels 0, 2)`."""
    if not row.have & ct.HAVE_LABELS:
        return units.ABSENT
    raw = row.strings[row.value("labels")]
    bits = int.from_bytes(raw, "little")
    numbers = [str(n) for n in range(bits.bit_length()) if bits >> n & 1]
    return words.labels_text(raw) + (f"  (label{'s'[: len(numbers) > 1]} {', '.join(numbers)})" if numbers else "")


def _timeout(seconds: int) -> str:
    """Return the timeout, from one minute on also in words: `4d23h (431,999 s) when last reported`."""
    exact = f"{units.grouped(seconds)} s"
    return (exact if seconds < 60 else f"{units.remaining(seconds)} ({exact})") + " when last reported"


def _began(row: RowView, now_ns: int) -> Line:
    if row.have & ct.HAVE_START:
        start, how = row.value("start_ns"), "by the kernel's timestamp"
    elif row.value("flags") & BORN:
        start, how = row.value("first_ns"), "by its NEW event"
    else:
        since = row.value("first_ns")
        age = units.duration((now_ns - since) / 1e9)
        return detail_line("began", f"before {units.clock(since)}, when it was first seen (≥{age})")
    return detail_line("began", f"{units.clock(start, 3)}, {units.duration((now_ns - start) / 1e9)} ago, {how}")


def _joined(row: RowView, children: Sequence[Line], joins: FlowJoins) -> list[Line]:
    """Return process, devices, master connection, expectations and the flows from them, as far as they are known."""
    known = (*joins.process_lines(row), *joins.device_lines(row))
    relations = (*master_lines(row), *joins.expectations(row), *children)
    return [_indented(line) for line in (*known, *relations)]


def _indented(line: Line) -> Line:
    """Return a line of another model, its key (if it begins with one) aligned with the keys here."""
    (text, role), *rest = line or (("", ""),)
    return ((f"  {text.strip():<9} " if role == _KEY else f"  {text}", role), *rest)
