"""The flow table on screen: its columns, its order, and the window that a ViewSpec describes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.columns import HAVE_OCOUNT, HAVE_RCOUNT, HAVE_STATUS
from nettop.linux.conntrack import IPS_SEEN_REPLY
from nettop.model.flows import derive
from nettop.model.flows.cells import (
    ABSENT,
    MEASURED,
    SHARED_COLUMNS,
    RowView,
    age_cell,
    rate_sum,
    shared_cell,
    speed_cell,
    timeout_cell,
)
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.rate_history import history_text
from nettop.model.flows.rows import FlowRows
from nettop.model.ordering import Rows
from nettop.model.table import Cell, Column, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.model.window import Handles, Match, OrderCache, visible, wait_ns
from nettop.text import flow as words
from nettop.text import units

_SHARED = {column.key: column for column in SHARED_COLUMNS}
COLUMNS: tuple[Column, ...] = (
    *(_SHARED[key] for key in ("proto", "state", "original", "reply", "nat")),
    Column("rate", "RATE", 8, right=True, rank=0),  # `≈12.3k/s`
    *(_SHARED[key] for key in ("up", "down")),
    Column("age", "AGE", 6, right=True, rank=7),
    _SHARED["timeout"],
    Column("rate_up", "RATE↑", 8, right=True, rank=9),
    Column("rate_down", "RATE↓", 8, right=True, rank=9),
    Column("process", "PROCESS", 14, rank=6, grow=1, preferred_width=26, max_width=40, middle=True),
    Column("course", "TREND", 8, rank=9),
    Column("device", "DEVICES", 12, rank=9, sortable=False),
    *(_SHARED[key] for key in ("src", "sport", "dst", "dport", "reply_src")),
    *(_SHARED[key] for key in ("opackets", "rpackets", "packets", "bytes", "mark", "zone", "id")),
    *(_SHARED[key] for key in ("status", "flags", "offload", "helper", "labels", "netns")),
)
DEFAULT_COLUMNS = ("proto", "state", "original", "nat", "rate", "up", "down", "age", "timeout", "process")
DEFAULT_SORT = (SortKey("rate"), SortKey("bytes"))

_OLD_NS = 5_000_000_000  # the age from which on that of a dump is shown
_COUNTED = frozenset(("rate", "rate_up", "rate_down", "up", "down", "bytes", "packets", "opackets", "rpackets"))


class FlowSnapshots:
    """Windows of a flow table, sorted at most once a second, and never while the order is frozen."""

    def __init__(self, table: FlowRows) -> None:
        self._table = table
        self._orders = OrderCache(self._match, self._alive)

    def of(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window that spec describes."""
        table = self._table
        order = self._orders.current(spec, now_ns, table.version, wait_ns(table.store.top))
        limits = ((((f"{MEASURED} {note}", "warn"),)) for note in table.joins.rate_notes()[1:2])  # a detail has all
        rows = table.store.rows(order[visible(spec, len(order))])
        notes = (*order.note(spec, now_ns), *(_uncounted(table, rows, spec.columns) or limits))
        draw = lambda _: drawn_rows(table, rows, spec.columns, now_ns)  # noqa: E731
        version, totals = table.version if spec.frozen else order.version, (*order.totals, *_dump_age(table, now_ns))
        return order.snapshot(spec, draw, len(table), notes, version, totals=totals)

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        table = self._table
        rows = table.matching(spec.filter, now_ns)

        def keys() -> list[Array]:
            found = table.sort_keys(rows, spec.sort, now_ns)
            return [key if key.base is None else key.copy() for key in found]  # the table's own columns would change

        return Match(table.store.idents(rows), keys, table.ties(rows), _totals(table, rows, spec.filter is not None))

    def _alive(self, idents: Handles) -> NDArray[np.bool_]:
        store = self._table.store
        rows = store.rows(idents)
        alive: NDArray[np.bool_] = store["generation"][rows] == idents >> 32
        return alive & store.are_live(rows)


def _totals(table: FlowRows, matched: Rows, filtered: bool) -> Line:
    """Return `1,204 flows, 318 match   ≥1.6M/s, 2 not counted   tcp 901   ESTABLISHED 702   UNREPLIED 41`."""
    data = table.picked(matched)
    parts: list[tuple[str, str]] = [(units.plural(len(table), "flow"), "heading")]
    if filtered:
        parts.append((f", {units.grouped(len(matched))} match", "heading"))
    rates = derive.rate(data)
    known = ~np.isnan(rates)
    speed = float(rates[known].sum()) if known.any() else None
    parts.append(("   " + rate_sum(speed, len(rates) - int(np.count_nonzero(known))), "number"))
    counts = np.bincount(data["proto"], minlength=256)
    protos = [proto for proto in np.argsort(-counts, kind="stable")[:4].tolist() if counts[proto]]
    parts += [(f"   {words.PROTO_NAMES[proto]} {units.grouped(int(counts[proto]))}", "proto") for proto in protos]
    states = np.bincount(derive.state_codes(data), minlength=len(words.STATE_LABELS))
    unreplied = derive.has(data, HAVE_STATUS) & (data["status"] & IPS_SEEN_REPLY == 0)
    named = [("ESTABLISHED", int(states[words.STATE_ESTABLISHED]), "good")]
    named.append(("UNREPLIED", int(np.count_nonzero(unreplied)), "warn"))
    named.append(("TIME_WAIT", int(states[words.STATE_TIME_WAIT]), "dim"))
    parts += [(f"   {word} {units.grouped(count)}", role) for word, count, role in named if count]
    return tuple(parts)


def _dump_age(table: FlowRows, now_ns: int) -> Line:
    """Return the age of rates and timeouts, where a large table is read less often."""
    age = now_ns - min(table.dumped_ns.values(), default=now_ns)
    return ((f"   rates and timeouts {units.duration(age / 1e9)} old", "dim"),) if age >= _OLD_NS else ()


def _uncounted(table: FlowRows, rows: Rows, columns: Sequence[str]) -> tuple[Line, ...]:
    """Return the note that accounting is off, if that is why no visible flow has counters."""
    if not _COUNTED.intersection(columns) or not len(rows):
        return ()
    if (table.store["have"][rows] & np.uint32(HAVE_OCOUNT | HAVE_RCOUNT)).any():
        return ()
    codes = set(table.store["netns"][rows].tolist())
    if not any(table.accounting(code) is False for code in codes):
        return ()
    return ((("bytes are not counted: accounting is off", "warn"),),)


def drawn_rows(table: FlowRows, rows: Rows, columns: Sequence[str], now_ns: int) -> tuple[Row, ...]:
    """Return these rows with the cells of these columns."""
    idents, views = table.store.idents(rows).tolist(), table.views(rows)
    joined = {key: join(table.joins, views) for key, join in _JOINED.items() if key in columns}
    if "timeout" in columns:
        joined["timeout"] = [timeout_cell(row, table.passed_s(row.value("netns"), now_ns)) for row in views]
    drawn = []
    for at, (ident, row) in enumerate(zip(idents, views, strict=True)):
        cells = [
            joined[key][at] if key in joined else _OWN[key](row, now_ns) if key in _OWN else shared_cell(row, key)
            for key in columns
        ]
        drawn.append(Row.of(ident, cells))
    return tuple(drawn)


# Columns of other models, made for all rows at once.
_JOINED: dict[str, Callable[[FlowJoins, Sequence[RowView]], Sequence[Cell]]] = {
    "process": FlowJoins.process,
    "device": FlowJoins.device,
}


_OWN: dict[str, Callable[[RowView, int], Cell]] = {
    "rate": lambda row, now_ns: speed_cell(row, "rate_up", "rate_down"),
    "rate_up": lambda row, now_ns: speed_cell(row, "rate_up"),
    "rate_down": lambda row, now_ns: speed_cell(row, "rate_down"),
    "course": lambda row, now_ns: (text, "good") if (text := history_text(row.value("rate_history"))) else ABSENT,
    "age": lambda row, now_ns: age_cell((now_ns - row.value("birth_ns")) / 1e9, row.value("birth_known")),
}
