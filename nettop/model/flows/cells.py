"""The columns of the flow and event tables, and the cells of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nettop import columns as ct
from nettop.linux.inet import IPPROTO_ICMP, WITH_PORTS
from nettop.model.flows import derive
from nettop.model.flows.templates import zone_direction
from nettop.model.names import Names
from nettop.model.table import Cell, Column
from nettop.text import flow as words
from nettop.text import units
from nettop.text.address import address_text, with_port
from nettop.text.packet import icmp_message, icmpv6_message
from nettop.text.sanitize import clean_bytes

SHARED_COLUMNS = (
    Column("proto", "PROTO", 6),
    Column("state", "STATE", 11, rank=2),
    Column("original", "ORIGINAL", 39, grow=4, max_width=97, frozen=True, whole=True),
    Column("reply", "REPLY TO", 20, rank=4, grow=2, max_width=47),
    Column(
        "nat", "NAT", 9, rank=1, grow=3, preferred_width=26, max_width=111, whole=True
    ),  # of both ends of an IPv6 flow
    Column("up", "↑BYTES", 7, right=True, rank=6),
    Column("down", "↓BYTES", 7, right=True, rank=5),
    Column("timeout", "TIMEOUT", 7, right=True, rank=8),
    Column("mark", "MARK", 10, rank=9),
    Column("zone", "ZONE", 10, right=True, rank=9),  # `7 original`
    Column("id", "ID", 10, right=True, rank=9),
    Column("opackets", "↑PKTS", 7, right=True, rank=9),
    Column("rpackets", "↓PKTS", 7, right=True, rank=9),
    Column("packets", "PACKETS", 8, right=True, rank=9),
    Column("bytes", "BYTES", 7, right=True, rank=9),
    Column("status", "STATUS", 28, rank=9),
    Column("flags", "FLAGS", 18, rank=9, sortable=False),
    Column("offload", "OFFLOAD", 8, rank=9),
    Column("helper", "HELPER", 10, rank=9),
    Column("labels", "LABELS", 12, rank=9),
    Column("src", "SOURCE", 15, rank=9, max_width=39),
    Column("sport", "SPORT", 5, right=True, rank=9),
    Column("dst", "DESTINATION", 15, rank=9, max_width=39),
    Column("dport", "DPORT", 5, right=True, rank=9),
    Column("reply_src", "REPLY FROM", 21, rank=9, max_width=47),
    Column("netns", "NETNS", 10, rank=3),
)
ABSENT: Cell = (units.ABSENT, "dim")
MEASURED = "≈"  # before a rate that is not the kernel's count


@dataclass(frozen=True, slots=True)
class RowView:
    """One row as Python values; strings and namespace labels are looked up."""

    data: dict[str, Any]
    have: int
    strings: ct.Strings
    netns_label: Callable[[int], str]
    names: Names | None = None

    def value(self, name: str) -> Any:
        """Return the column's value as int or float; 0 where no row has the column."""
        return self.data.get(name, 0)

    def address(self, end: str) -> tuple[int, int]:
        """Return the high and the low half of osrc, odst, rsrc or rdst."""
        return self.value(f"{end}_hi"), self.value(f"{end}_lo")

    @property
    def counted(self) -> bool:
        """True if at least one direction has counters."""
        return bool(self.have & (ct.HAVE_OCOUNT | ct.HAVE_RCOUNT))

    def port(self, end: str) -> int | None:
        """Return the port of osrc, odst, rsrc or rdst; None where the protocol has none."""
        has_ports = self.have & (ct.HAVE_OPORTS if end.startswith("o") else ct.HAVE_RPORTS)
        return self.value(f"{end[:2]}port") if has_ports and self.value("proto") in WITH_PORTS else None

    def host(self, end: str) -> str:
        """Return the address of osrc, odst, rsrc or rdst, or its name."""
        address = address_text(self.value("family"), *self.address(end))
        name = None if self.names is None else self.names.host(address)
        return name or address

    def endpoint(self, end: str) -> str:
        """Return `192.168.1.2:443`, with names `www.example.org:https`; without a port where the protocol has none."""
        port = self.port(end)
        if port is None or self.names is None:
            host = self.host(end)
            return host if port is None else with_port(host, port)
        address = address_text(self.value("family"), *self.address(end))
        host = self.names.host(address) or ""
        service = self.names.service(self.value("proto"), port) if end in _SERVICE_ENDS else None
        return f"{host}:{service or port}" if host else with_port(address, service or port)


_SERVICE_ENDS = ("odst", "rsrc")  # the endpoints whose ports are services; the ports of others are arbitrary


def row_views(
    data: derive.Data, rows: Any, strings: ct.Strings, netns_label: Callable[[int], str], names: Names | None = None
) -> list[RowView]:
    """Return these rows of a table as Python values, with `nat` and `state_code` computed for them."""
    some = {name: column[rows] for name, column in data.items()}
    if not len(some["have"]):
        return []
    some["nat"], some["state_code"] = derive.nat_bits(some), derive.state_codes(some)
    if "first_ns" in some:
        some["birth_ns"], some["birth_known"] = derive.birth_ns(some), derive.birth_known(some)
    lists = {name: column.tolist() for name, column in some.items()}
    columns = list(lists)
    have = columns.index("have")
    return [
        RowView(dict(zip(columns, values, strict=True)), values[have], strings, netns_label, names)
        for values in zip(*lists.values(), strict=True)
    ]


def shared_cell(row: RowView, key: str) -> Cell:
    """Return the cell of one of SHARED_COLUMNS."""
    return _CELLS[key](row)


_STATE_ROLES = {
    **dict.fromkeys(("ESTABLISHED", "assured", "OPEN"), "good"),
    **dict.fromkeys(("UNREPLIED", "SYN_SENT", "SYN_SENT2", "COOKIE_WAIT", "REQUEST", "CLOSE"), "warn"),  # no answer
    **dict.fromkeys(("TIME_WAIT", "TIMEWAIT", units.ABSENT), "dim"),  # over, or unknown
}


def state_role(code: int) -> str:
    """Return the role of a state, which gives its colour: a warning where no answer has come, quiet when it is over."""
    return _STATE_ROLES.get(words.STATE_LABELS[code], "")


def _state(row: RowView) -> Cell:
    code = row.value("state_code")
    return words.STATE_LABELS[code], state_role(code)


def original_text(row: RowView) -> str:
    """Return `192.168.1.2:56303 → 200.200.200.1:443`; ICMP as `10.0.0.1 → 10.0.0.2 id 77 echo request`.

    The id comes where others have a port, so that a narrow column does not cut it: it distinguishes two pings.
    """
    text = f"{row.endpoint('osrc')} → {row.endpoint('odst')}"
    if words.is_icmp(row.value("proto")) and row.have & ct.HAVE_OPORTS:
        message = icmp_message if row.value("proto") == IPPROTO_ICMP else icmpv6_message
        text += f" id {row.value('osport')} {message(row.value('odport'))}"
    return text


def _port(end: str) -> Callable[[RowView], Cell]:
    def cell(row: RowView) -> Cell:
        port = row.port(end)
        return ABSENT if port is None else (str(port), "address")

    return cell


def _nat(row: RowView) -> Cell:
    """Return what each end became: `SNAT 100.100.100.1:56303`, `DNAT 192.168.2.2:443`, `DNAT port 8443`, or both."""
    bits, parts = row.value("nat"), []
    if bits & words.NAT_DNAT:
        parts.append(f"DNAT {_new_end(row, 'rsrc', bits & words.NAT_DNAT_PORT)}")
    if bits & words.NAT_SNAT:
        parts.append(f"SNAT {_new_end(row, 'rdst', bits & words.NAT_SNAT_PORT)}")
    return ", ".join(parts), "nat"


def _new_end(row: RowView, end: str, only_port: bool) -> str:
    if words.is_icmp(row.value("proto")):
        return f"id {row.value('rsport')}" if only_port else row.host(end)
    return f"port {row.value(f'{end[:2]}port')}" if only_port else row.endpoint(end)


def _scaled(name: str, bit: int) -> Callable[[RowView], Cell]:
    return lambda row: (units.scaled(row.value(name)), "number") if row.have & bit else ABSENT


def _both(what: str) -> Callable[[RowView], Cell]:
    def cell(row: RowView) -> Cell:
        return units.scaled(row.value(f"o{what}") + row.value(f"r{what}")), "number"

    return _if(ct.HAVE_OCOUNT | ct.HAVE_RCOUNT, cell)


def _if(bit: int, cell: Callable[[RowView], Cell]) -> Callable[[RowView], Cell]:
    return lambda row: cell(row) if row.have & bit else ABSENT


def timeout_cell(row: RowView, passed_s: int = 0) -> Cell:
    """Return the cell of the time left, of which so much has passed since it was read."""
    if not row.have & ct.HAVE_TIMEOUT:
        return ABSENT
    return units.remaining(max(0, row.value("timeout") - passed_s)), "number"


_CELLS: dict[str, Callable[[RowView], Cell]] = {
    "proto": lambda row: (words.PROTO_NAMES[row.value("proto")], "proto"),
    "state": _state,
    "original": lambda row: (original_text(row), "address"),
    "src": lambda row: (row.host("osrc"), "address"),
    "sport": _port("osrc"),
    "dst": lambda row: (row.host("odst"), "address"),
    "dport": _port("odst"),
    "reply": _if(ct.HAVE_REPLY, lambda row: (row.endpoint("rdst"), "address")),
    "reply_src": _if(ct.HAVE_REPLY, lambda row: (row.endpoint("rsrc"), "address")),
    "nat": _nat,
    "up": _scaled("obytes", ct.HAVE_OCOUNT),
    "down": _scaled("rbytes", ct.HAVE_RCOUNT),
    "timeout": timeout_cell,
    "mark": _if(ct.HAVE_MARK, lambda row: (hex(row.value("mark")), "number")),
    "zone": lambda row: (f"{row.value('zone')} {zone_direction(row.have)}".rstrip(), "number"),
    "id": _if(ct.HAVE_ID, lambda row: (str(row.value("id")), "number")),
    "opackets": _scaled("opackets", ct.HAVE_OCOUNT),
    "rpackets": _scaled("rpackets", ct.HAVE_RCOUNT),
    "packets": _both("packets"),
    "bytes": _both("bytes"),
    "status": _if(ct.HAVE_STATUS, lambda row: (" ".join(words.status_names(row.value("status"))).upper(), "")),
    "flags": _if(  # in conntrack's words: `ASSURED OFFLOAD`
        ct.HAVE_STATUS, lambda row: (" ".join(words.flag_words(row.value("status"), row.have & ct.HAVE_STATE > 0)), "")
    ),
    "offload": _if(
        ct.HAVE_STATUS, lambda row: (words.OFFLOAD_NAMES[words.offload_code(row.value("status"))], "accent")
    ),
    "helper": _if(ct.HAVE_HELPER, lambda row: (clean_bytes(row.strings[row.value("helper")]), "accent")),
    "labels": _if(ct.HAVE_LABELS, lambda row: (words.labels_text(row.strings[row.value("labels")]), "number")),
    "netns": lambda row: (row.netns_label(row.value("netns")), "accent"),
}


def speed_cell(row: RowView, *sides: str) -> Cell:
    """Return the total rate of these sides (rate_up, rate_down); with ≈ where it is measured from packets."""
    if _known(row, _SIDES):
        known = _known(row, sides)
        return (units.rate(sum(known)), "number") if known else ABSENT
    measured = _known(row, [side.replace("rate", "measured") for side in sides])
    return (f"{MEASURED}{units.rate(sum(measured))}", "number") if measured else ABSENT


def current_rate(row: RowView) -> float:
    """Return the rate of both directions in bytes per second, 0 where it is not known."""
    return sum(_known(row, _SIDES) or _known(row, _MEASURED_SIDES))


_SIDES = ("rate_up", "rate_down")
_MEASURED_SIDES = ("measured_up", "measured_down")


def _known(row: RowView, names: Sequence[str]) -> list[float]:
    """Return those of these rates that are known."""
    return [rate for rate in (row.data.get(name, np.nan) for name in names) if not np.isnan(rate)]


def rate_sum(value: float | None, unknown: int) -> str:
    """Return `1.6M/s`, or `≥1.6M/s, 2 not counted` where the rates of 2 flows are not known; `–` for None."""
    if value is None or not unknown:
        return units.rate(value)
    return f"{units.AT_LEAST}{units.rate(value)}, {units.grouped(unknown)} not counted"


def age_cell(seconds: float, known: bool) -> Cell:
    """Return the cell of an age; with ≥ where only the time since the flow was first seen is known."""
    text = units.duration(seconds)
    return (text, "number") if known else (f"{units.AT_LEAST}{text}", "dim")
