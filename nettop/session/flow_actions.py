"""Actions on flows that a person selected: their keys for the kernel, and their rows in other views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.broker.client import Broker
from nettop.broker.requests import FlowKey, Netns
from nettop.columns import HAVE_ID, HAVE_ORIG, HAVE_ZONE_REPLY_ONLY
from nettop.model.filter.expression import Filter
from nettop.model.flows.cells import RowView
from nettop.model.flows.other_views import filter_of
from nettop.model.flows.store import KEY_COLUMNS
from nettop.model.ordering import Rows
from nettop.pipeline.engine import Engine
from nettop.text.address import address_text
from nettop.text.units import grouped

_CHUNK = 4096  # flow keys that exist as Python objects at a time


@dataclass(frozen=True, slots=True)
class SelectedFlows:
    """Copies of the original tuples of some flows of a namespace: columns of one length."""

    netns: str  # its label
    columns: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["family"])

    def chunks(self) -> Iterator[list[FlowKey]]:
        """Yield their keys for the broker, some thousand at a time."""
        for first in range(0, len(self), _CHUNK):
            part = {name: column[first : first + _CHUNK].tolist() for name, column in self.columns.items()}
            yield [_key(dict(zip(part, values, strict=True))) for values in zip(*part.values(), strict=True)]


def one(engine: Engine, ident: int) -> list[SelectedFlows]:
    """Return the key of the flow with this identity, or nothing if it is gone."""
    row = engine.flows.store.row_of(ident)
    return _flow_keys(engine, np.array([] if row is None else [row], np.intp))


def matching(engine: Engine, display_filter: Filter | None, now_ns: int) -> list[SelectedFlows]:
    """Return the keys of the flows that match now, by namespace."""
    return _flow_keys(engine, engine.flows.matching(display_filter, now_ns))


def _flow_keys(engine: Engine, rows: Rows) -> list[SelectedFlows]:
    data = engine.flows.store.data
    rows = rows[data["have"][rows] & HAVE_ORIG != 0]
    codes = data["netns"][rows]
    return [
        SelectedFlows(engine.labels[code], _key_columns(data, rows[codes == code]))
        for code in np.unique(codes).tolist()
    ]


def _key_columns(data: dict[str, NDArray[Any]], rows: Rows) -> dict[str, NDArray[Any]]:
    columns = {name: data[name][rows] for name in (*KEY_COLUMNS, "id") if name in data}
    have = data["have"][rows]
    columns["zone"][have & HAVE_ZONE_REPLY_ONLY != 0] = 0  # the kernel's key has the zone of the original direction
    return columns | {"known": have & HAVE_ID != 0}


def flow_of(engine: Engine, view: str, ident: int) -> RowView | None:
    """Return the flow of a row of flows or events; None: the row is gone or has no flow."""
    if view == "flows":
        return engine.flows.flow_of(ident)
    return engine.events.flow_of(ident) if view == "events" else None


def delete(broker: Broker, selected: Iterable[SelectedFlows], netns: Mapping[str, Netns]) -> str:
    """Delete flows of these namespaces, by label. Return `deleted 318 flows; 2 had ended already`."""
    deleted = gone = 0
    for some in selected:
        for keys in some.chunks():
            done, missing = broker.delete_flows(netns[some.netns], keys)
            deleted, gone = deleted + done, gone + missing
    flows = "flow" if deleted == 1 else "flows"
    return f"deleted {grouped(deleted)} {flows}" + (f"; {grouped(gone)} had ended already" if gone else "")


def _key(row: dict[str, Any]) -> FlowKey:
    family = row["family"]
    return FlowKey(
        family,
        row["proto"],
        row["zone"],
        address_text(family, row.get("osrc_hi", 0), row["osrc_lo"]),
        address_text(family, row.get("odst_hi", 0), row["odst_lo"]),
        row["osport"],
        row["odport"],
        row["id"] if row["known"] else None,
    )


def related(engine: Engine, view: str, ident: int, to: str) -> tuple[int | None, str]:
    """Return the identity in view `to` (None: not there now) of a row of flows or events, and a filter that finds it.

    `to` is "flows" (its flow; for an event of an expectation the master), "events" (the last one kept), "packets" and
    "traces" (only the filter), or "master" (in the flows: the flow that expected it). (None, "") if the row or its flow
    is gone.
    """
    row = flow_of(engine, view, ident)
    if row is not None and to == "master":
        row, to = engine.flows.master_of(row), "flows"
    if row is None or not row.have & HAVE_ORIG:
        return None, ""
    text = filter_of(row, to, netns=len(engine.labels) > 1)
    if to == "flows":
        return engine.flows.ident_of(row), text
    if to == "events":
        events = engine.events.of_flow(row)
        return (int(events[-1]) if len(events) else None), text
    return None, text
