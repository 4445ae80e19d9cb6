"""The columns of the flow and event tables, and the text of one row's cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nettop.columns import (
    HAVE_HELPER,
    HAVE_ID,
    HAVE_LABELS,
    HAVE_MARK,
    HAVE_OCOUNT,
    HAVE_OPORTS,
    HAVE_RCOUNT,
    HAVE_REPLY,
    HAVE_RPORTS,
    HAVE_STATUS,
    HAVE_TIMEOUT,
    Strings,
)
from nettop.model import flow_derive as derive
from nettop.model.view import Column
from nettop.text import flow as words
from nettop.text import units
from nettop.text.address import endpoint_text
from nettop.text.packet import icmp_message, icmpv6_message
from nettop.text.sanitize import clean, clean_bytes

Cell = tuple[str, str]  # text, role

SHARED_COLUMNS = (
    Column("proto", "PROTO", 6),
    Column("state", "STATE", 11, rank=2),
    Column("original", "ORIGINAL", 40, grow=1, frozen=True),
    Column("reply", "REPLY TO", 20, rank=4, grow=1),
    Column("nat", "NAT", 9, rank=1, grow=6),
    Column("up", "↑BYTES", 7, right=True, rank=6),
    Column("down", "↓BYTES", 7, right=True, rank=5),
    Column("timeout", "TIMEOUT", 7, right=True, rank=8),
    Column("mark", "MARK", 10, rank=9),
    Column("zone", "ZONE", 5, right=True, rank=9),
    Column("id", "ID", 10, right=True, rank=9),
    Column("packets", "PACKETS", 8, right=True, rank=9),
    Column("bytes", "BYTES", 7, right=True, rank=9),
    Column("status", "STATUS", 28, rank=9),
    Column("helper", "HELPER", 10, rank=9),
    Column("labels", "LABELS", 12, rank=9),
    Column("netns", "NETNS", 10, rank=3),
)
ABSENT: Cell = (units.ABSENT, "dim")


@dataclass(frozen=True, slots=True)
class RowView:
    """One row as Python values: `value(name)` is an int or float; strings and namespace names are resolved."""

    data: dict[str, Any]
    have: int
    strings: Strings
    netns_label: Callable[[int], str]

    def value(self, name: str) -> Any:
        """The column's value as int or float; 0 where no row has the column."""
        return self.data.get(name, 0)

    def address(self, end: str) -> tuple[int, int]:
        """High and low half of osrc, odst, rsrc or rdst."""
        return self.value(f"{end}_hi"), self.value(f"{end}_lo")

    def endpoint(self, end: str) -> str:
        """`192.168.1.2:443`, or the bare address where the protocol has no ports."""
        original = end.startswith("o")
        has_ports = self.have & (HAVE_OPORTS if original else HAVE_RPORTS) and not words.is_icmp(self.value("proto"))
        port = self.value(f"{end[0]}{end[1]}port") if has_ports else None
        return endpoint_text(self.value("family"), *self.address(end), port)


def row_views(data: derive.Data, rows: Any, strings: Strings, netns_label: Callable[[int], str]) -> list[RowView]:
    """These rows of a table as Python values, with `nat` and `state_code` computed for them."""
    some = {name: column[rows] for name, column in data.items()}
    if not len(some["have"]):
        return []
    some["nat"], some["state_code"] = derive.nat_bits(some), derive.state_codes(some)
    if "first_ns" in some:
        some["birth_ns"], some["birth_known"] = derive.birth_ns(some), derive.birth_known(some)
    lists = {name: column.tolist() for name, column in some.items()}
    names = list(lists)
    return [
        RowView(dict(zip(names, values, strict=True)), values[names.index("have")], strings, netns_label)
        for values in zip(*lists.values(), strict=True)
    ]


def shared_cell(row: RowView, key: str) -> Cell:
    """The cell of one of SHARED_COLUMNS."""
    return _CELLS[key](row)


def _proto(row: RowView) -> Cell:
    return words.PROTO_WORDS[row.value("proto")], "proto"


def state_role(code: int) -> str:
    """The role of a state: its colour where there are colours."""
    word = words.STATE_WORDS[code]
    if word in ("ESTABLISHED", "assured", "OPEN"):
        return "good"
    if word in ("UNREPLIED", "SYN_SENT", "TIME_WAIT", "CLOSE", "TIMEWAIT"):
        return "warn"
    return "dim" if code == words.STATE_NONE else ""


def _state(row: RowView) -> Cell:
    code = row.value("state_code")
    return words.STATE_WORDS[code], state_role(code)


def original_text(row: RowView) -> str:
    """`192.168.1.2:56303 → 200.200.200.1:443`; ICMP as `10.0.0.1 → 10.0.0.2 echo request id 77`."""
    text = f"{row.endpoint('osrc')} → {row.endpoint('odst')}"
    if words.is_icmp(row.value("proto")) and row.have & HAVE_OPORTS:
        message = icmp_message if row.value("proto") == words.IPPROTO_ICMP else icmpv6_message
        text += f" {message(row.value('odport'))} id {row.value('osport')}"
    return text


def _reply(row: RowView) -> Cell:
    return (row.endpoint("rdst"), "address") if row.have & HAVE_REPLY else ABSENT


def _nat(row: RowView) -> Cell:
    """`SNAT` (REPLY TO says to what), `DNAT 192.168.2.2:443` or `DNAT port 8443`: who really answers."""
    bits = row.value("nat")
    label = words.NAT_LABELS[bits]
    if bits & words.NAT_DNAT_PORT:
        label += f" {row.value('rsport')}" if label.endswith("port") else f" :{row.value('rsport')}"
    elif bits & words.NAT_DNAT:
        label += f" {row.endpoint('rsrc')}"
    return label, "nat"


def _scaled(name: str, bit: int) -> Callable[[RowView], Cell]:
    return lambda row: (units.scaled(row.value(name)), "number") if row.have & bit else ABSENT


def _both(what: str) -> Callable[[RowView], Cell]:
    def cell(row: RowView) -> Cell:
        if not row.have & (HAVE_OCOUNT | HAVE_RCOUNT):
            return ABSENT
        return units.scaled(row.value(f"o{what}") + row.value(f"r{what}")), "number"

    return cell


def _if(bit: int, cell: Callable[[RowView], Cell]) -> Callable[[RowView], Cell]:
    return lambda row: cell(row) if row.have & bit else ABSENT


_CELLS: dict[str, Callable[[RowView], Cell]] = {
    "proto": _proto,
    "state": _state,
    "original": lambda row: (original_text(row), "address"),
    "reply": _reply,
    "nat": _nat,
    "up": _scaled("obytes", HAVE_OCOUNT),
    "down": _scaled("rbytes", HAVE_RCOUNT),
    "timeout": _if(HAVE_TIMEOUT, lambda row: (units.duration(row.value("timeout")), "number")),
    "mark": _if(HAVE_MARK, lambda row: (hex(row.value("mark")), "number")),
    "zone": lambda row: (str(row.value("zone")), "number"),
    "id": _if(HAVE_ID, lambda row: (str(row.value("id")), "number")),
    "packets": _both("packets"),
    "bytes": _both("bytes"),
    "status": _if(HAVE_STATUS, lambda row: (" ".join(words.status_words(row.value("status"))).upper(), "")),
    "helper": _if(HAVE_HELPER, lambda row: (clean_bytes(row.strings[row.value("helper")]), "accent")),
    "labels": _if(HAVE_LABELS, lambda row: (words.labels_text(row.strings[row.value("labels")]), "number")),
    "netns": lambda row: (clean(row.netns_label(row.value("netns"))), "accent"),
}


def rate_cell(value: float) -> Cell:
    """A rate in bytes a second, NaN where it is not known."""
    return ABSENT if np.isnan(value) else (units.rate(value), "number")


def age_cell(seconds: float, known: bool) -> Cell:
    """An age; with ≥ where only the time since we first heard of the flow is known."""
    text = units.duration(seconds)
    return (text, "number") if known else (f"≥{text}", "dim")
