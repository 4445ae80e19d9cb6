"""Flows that other flows expected: the master of a row, and the lines about both in a detail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nettop.batch import Array
from nettop.columns import HAVE_MASTER, HAVE_OPORTS, HAVE_ORIG, MASTER_DTYPES
from nettop.model.flows.cells import RowView, original_text
from nettop.model.flows.derive import Data
from nettop.model.table import Line
from nettop.text import units
from nettop.text.flow import PROTO_NAMES

LINES = 12  # of one kind in a detail
# The column of the master itself for each column of a flow that describes its master.
_OWN = {name: "proto" if name == "mproto" else f"o{name[1:]}" for name in MASTER_DTYPES}


def master_view(row: RowView, side: str = "m") -> RowView:
    """Return the master of a flow (of an expectation: side "r"), as a view with only the key of a flow."""
    data = {own: row.value("mproto" if name == "mproto" else side + name[1:]) for name, own in _OWN.items()}
    data |= {name: row.value(name) for name in ("netns", "zone", "family")} | {"have": HAVE_ORIG | HAVE_OPORTS}
    return RowView(data, data["have"], row.strings, row.netns_label)


def expected_by(data: Data, row: RowView) -> Array:
    """Return a mask of the rows whose master is this flow."""
    if "mproto" not in data:
        return np.zeros(len(data["have"]), np.bool_)
    mask = (data["have"] & HAVE_MASTER != 0) & (data["netns"] == row.value("netns"))
    for name, own in (*_OWN.items(), ("family", "family")):
        mask &= data[name] == row.value(own)
    return np.asarray(mask)


def master_lines(row: RowView) -> Sequence[Line]:
    """Return the line that names a flow's master; nothing if no flow expected this one."""
    return (relation_line("expected", f"by {_flow_text(master_view(row))}"),) if row.have & HAVE_MASTER else ()


def child_lines(children: Sequence[RowView], total: int) -> Sequence[Line]:
    """Return lines about the flows that a flow expected; these are the first of `total`."""
    return counted([relation_line("related", _flow_text(child)) for child in children], total)


def relation_line(name: str, text: str, note: str = "") -> Line:
    """Return a line about a flow's relation to others."""
    return ((f"{name:<9} ", "key"), (text, "address"), (f"   {note}" if note else "", "dim"))


def counted(lines: list[Line], total: int) -> list[Line]:
    """Return these lines, and a line with the number of the others."""
    more = total - len(lines)
    return [*lines, ((f"{'':<9} and {units.grouped(more)} more", "dim"),)] if more else lines


def _flow_text(row: RowView) -> str:
    return f"{PROTO_NAMES[row.value('proto')]} {original_text(row)}"
