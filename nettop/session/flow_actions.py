"""What the session does with flows that a person chose: their keys for the kernel, and what else is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.broker.requests import FlowKey
from nettop.columns import HAVE_ID, HAVE_ORIG, HAVE_ZONE_REPLY_ONLY
from nettop.model.filter.expression import Filter
from nettop.model.flows.cells import RowView
from nettop.model.flows.other_views import filter_of
from nettop.model.flows.store import KEY_COLUMNS
from nettop.model.ordering import Rows
from nettop.pipeline.engine import Engine
from nettop.text.address import address_text
from nettop.text.units import grouped

_CHUNK = 4096  # keys that are Python objects at a time


@dataclass(frozen=True, slots=True)
class Chosen:
    """The original tuples of some flows of a namespace, apart from the table: equally long columns."""

    netns: str  # its label
    columns: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["family"])

    def chunks(self) -> Iterator[list[FlowKey]]:
        """Their keys as the broker wants them, some thousand at a time."""
        for first in range(0, len(self), _CHUNK):
            part = {name: column[first : first + _CHUNK].tolist() for name, column in self.columns.items()}
            yield [_key(dict(zip(part, values, strict=True))) for values in zip(*part.values(), strict=True)]


def one(engine: Engine, ident: int) -> list[Chosen]:
    """The key of the flow with this identity; of none when it is gone."""
    row = engine.flows.store.row_of(ident)
    return _chosen(engine, np.array([] if row is None else [row], np.intp))


def matching(engine: Engine, wanted: Filter | None, now_ns: int) -> list[Chosen]:
    """The keys of the flows that match now, by namespace."""
    return _chosen(engine, engine.flows.matching(wanted, now_ns))


def _chosen(engine: Engine, rows: Rows) -> list[Chosen]:
    data = engine.flows.store.data
    rows = rows[data["have"][rows] & HAVE_ORIG != 0]
    codes = data["netns"][rows]
    return [Chosen(engine.labels[code], _copied(data, rows[codes == code])) for code in np.unique(codes).tolist()]


def _copied(data: dict[str, NDArray[Any]], rows: Rows) -> dict[str, NDArray[Any]]:
    columns = {name: data[name][rows] for name in (*KEY_COLUMNS, "id") if name in data}
    have = data["have"][rows]
    columns["zone"][have & HAVE_ZONE_REPLY_ONLY != 0] = 0  # the kernel's key has the original direction's
    return columns | {"known": have & HAVE_ID != 0}


def flow_of(engine: Engine, view: str, ident: int) -> RowView | None:
    """The flow in a row of flows or events; None when the row is gone, or tells of none."""
    if view == "flows":
        return engine.flows.flow_of(ident)
    return engine.events.flow_of(ident) if view == "events" else None


def deleted_words(deleted: int, gone: int) -> str:
    """`deleted 318 flows; 2 had ended already`."""
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
    """For a row of "flows" or "events": the identity in `to` (None: none there now) and the filter's text.

    `to` is "flows" (its flow; of an expectation's event, the master's), "events" (its last one kept), "packets" (only
    the filter), or "master" (in the flows: the flow that expected it). (None, "") when the row is gone or is none.
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
        kept = engine.events.of_flow(row)
        return (int(kept[-1]) if len(kept) else None), text
    return None, text
