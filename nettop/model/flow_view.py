"""The flow table as a screen sees it: its columns, the order it stands in, and the window that a ViewSpec asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nettop.columns import HAVE_STATUS
from nettop.model import flow_derive as derive
from nettop.model.filter import Filter
from nettop.model.flow_cells import SHARED_COLUMNS, Cell, RowView, age_cell, rate_cell, shared_cell
from nettop.model.flow_index import Rows
from nettop.model.flow_order import first_rows, place_of
from nettop.model.flow_sort import Picked
from nettop.model.flow_store import FlowStore
from nettop.model.view import Column, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.text import flow as words
from nettop.text import units

Array = NDArray[Any]

_SHARED = {column.key: column for column in SHARED_COLUMNS}
COLUMNS: tuple[Column, ...] = (
    *(_SHARED[key] for key in ("proto", "state", "original", "reply", "nat")),
    Column("rate", "RATE", 8, right=True, rank=0),
    *(_SHARED[key] for key in ("up", "down")),
    Column("age", "AGE", 6, right=True, rank=7),
    _SHARED["timeout"],
    Column("rate_up", "RATE↑", 8, right=True, rank=9),
    Column("rate_down", "RATE↓", 8, right=True, rank=9),
    *(_SHARED[key] for key in ("mark", "zone", "id", "packets", "bytes", "status", "helper", "labels", "netns")),
)
DEFAULT_COLUMNS = ("proto", "state", "original", "reply", "nat", "rate", "up", "down", "age", "timeout")
DEFAULT_SORT = (SortKey("rate"), SortKey("bytes"))

RESORT_NS = 1_000_000_000  # a sorted table stands still at least this long …
SMALL_NS = 200_000_000  # … or this long, where it is small enough that new flows can be shown at once
SMALL = 50_000

class Flows(Protocol):
    """What the view needs of the table."""

    store: FlowStore
    version: int

    def __len__(self) -> int: ...

    def matching(self, expression: Filter | None, now_ns: int) -> Rows: ...

    def sort_keys(self, rows: Rows, sort: Sequence[SortKey], now_ns: int) -> list[Array]: ...

    def views(self, rows: Rows) -> list[RowView]: ...


@dataclass(slots=True)
class _Order:
    """What was shown last for one filter and sort."""

    rows: Rows  # the first of the order, at least as many as a screen has asked for
    idents: NDArray[np.int64]
    keys: list[Array]  # over `matched_rows`
    matched_rows: Rows
    made_ns: int
    version: int
    totals: Line


class Orders:
    """Keeps the order between snapshots: a table that jumps under the eye cannot be read."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._order: _Order | None = None

    def snapshot(self, table: Flows, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window that spec describes."""
        order = self._current(table, spec, now_ns)
        matched = len(order.matched_rows)
        first = max(0, matched - spec.height) if spec.follow else max(0, min(spec.first, matched - spec.height))
        if first + spec.height > len(order.rows) and len(order.rows) < matched:
            self._deepen(table, order, first + spec.height)
        rows = order.rows[first : first + spec.height]
        alive = (table.store.idents(rows) == order.idents[first : first + spec.height]) & table.store.are_live(rows)
        anchor = None if spec.anchor is None else self._place(table, order, spec.anchor)
        return Snapshot(
            spec,
            first,
            _drawn(table, rows[alive], spec.columns, now_ns),
            matched,
            len(table),
            anchor,
            (*order.totals, (f"   sorted {max(0, now_ns - order.made_ns) / 1e9:.1f} s ago", "dim")),
            (),
            now_ns,
            table.version,
        )

    def _current(self, table: Flows, spec: ViewSpec, now_ns: int) -> _Order:
        key = (None if spec.filter is None else spec.filter.text, spec.sort)
        order = self._order
        if order is None or key != self._key or not self._stands(order, table, spec, now_ns):
            order = _made(table, spec, now_ns)
            self._key, self._order = key, order
        return order

    @staticmethod
    def _stands(order: _Order, table: Flows, spec: ViewSpec, now_ns: int) -> bool:
        if spec.frozen or order.version == table.version:
            return True
        wait = SMALL_NS if table.store.top <= SMALL else RESORT_NS
        return 0 <= now_ns - order.made_ns < wait

    @staticmethod
    def _deepen(table: Flows, order: _Order, depth: int) -> None:
        """More of the same order, for a screen that looks further down."""
        places = first_rows(order.keys, min(2 * depth, len(order.matched_rows))) if order.keys else slice(None)
        ahead = table.store.idents(order.rows) == order.idents  # rows reused meanwhile stay marked as gone
        order.rows = order.matched_rows[places]
        idents = table.store.idents(order.rows)
        idents[: len(ahead)][~ahead] = -1
        order.idents = idents

    @staticmethod
    def _place(table: Flows, order: _Order, ident: int) -> int | None:
        row = table.store.row_of(ident)
        if row is None:
            return None
        shown = (order.rows == row).nonzero()[0]
        if len(shown):
            return int(shown[0])
        among = int(np.searchsorted(order.matched_rows, row))
        if among == len(order.matched_rows) or order.matched_rows[among] != row:
            return None
        return place_of(order.keys, among) if order.keys else among


def _made(table: Flows, spec: ViewSpec, now_ns: int) -> _Order:
    matched = table.matching(spec.filter, now_ns)
    keys = table.sort_keys(matched, spec.sort, now_ns)
    wanted = min(len(matched), max(256, spec.first + 2 * spec.height))
    rows = matched[first_rows(keys, wanted)] if keys else matched
    totals = _totals(table, matched, spec.filter is not None)
    return _Order(rows, table.store.idents(rows), keys, matched, now_ns, table.version, totals)


def _totals(table: Flows, matched: Rows, filtered: bool) -> Line:
    """`1,204 flows, 318 match   1.6M/s   tcp 901  udp 288   ESTABLISHED 702  TIME_WAIT 160  UNREPLIED 41`."""
    data = Picked(table.store.data, matched)
    parts: list[tuple[str, str]] = [(f"{units.grouped(len(table))} flows", "heading")]
    if filtered:
        parts.append((f", {units.grouped(len(matched))} match", "heading"))
    speeds = derive.rate(data)
    known = ~np.isnan(speeds)
    parts.append(("   " + units.rate(float(speeds[known].sum()) if known.any() else None), "number"))
    counts = np.bincount(data["proto"], minlength=256)
    protos = [proto for proto in np.argsort(-counts, kind="stable")[:4].tolist() if counts[proto]]
    parts += [(f"   {words.PROTO_WORDS[proto]} {units.grouped(int(counts[proto]))}", "proto") for proto in protos]
    states = np.bincount(derive.state_codes(data), minlength=len(words.STATE_WORDS))
    unreplied = derive.has(data, HAVE_STATUS) & (data["status"] & words.IPS_SEEN_REPLY == 0)
    named = [(words.STATE_WORDS[code], int(states[code])) for code in (words.TCP_ESTABLISHED, words.TCP_TIME_WAIT)]
    for word, count in (*named, ("UNREPLIED", int(np.count_nonzero(unreplied)))):
        if count:
            parts.append((f"   {word} {units.grouped(count)}", "good" if word == "ESTABLISHED" else "warn"))
    return tuple(parts)


def _drawn(table: Flows, rows: Rows, columns: Sequence[str], now_ns: int) -> tuple[Row, ...]:
    idents = table.store.idents(rows).tolist()
    drawn = []
    for ident, row in zip(idents, table.views(rows), strict=True):
        cells = [_cell(row, key, now_ns) for key in columns]
        drawn.append(Row(ident, tuple(text for text, _ in cells), tuple(role for _, role in cells)))
    return tuple(drawn)


def _rate(row: RowView, now_ns: int) -> Cell:
    up, down = row.value("rate_up"), row.value("rate_down")
    both = [speed for speed in (up, down) if speed == speed]  # NaN is not itself
    return rate_cell(sum(both) if both else np.nan)


def _age(row: RowView, now_ns: int) -> Cell:
    return age_cell((now_ns - row.value("birth_ns")) / 1e9, row.value("birth_known"))


_OWN: dict[str, Callable[[RowView, int], Cell]] = {
    "rate": _rate,
    "rate_up": lambda row, now_ns: rate_cell(row.value("rate_up")),
    "rate_down": lambda row, now_ns: rate_cell(row.value("rate_down")),
    "age": _age,
}


def _cell(row: RowView, key: str, now_ns: int) -> Cell:
    own = _OWN.get(key)
    return shared_cell(row, key) if own is None else own(row, now_ns)
