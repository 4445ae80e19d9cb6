"""The flow table as a screen sees it: its columns, the order it stands in, and the window that a ViewSpec asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.columns import HAVE_OCOUNT, HAVE_RCOUNT, HAVE_STATUS
from nettop.model.filter.expression import Filter
from nettop.model.flows import derive
from nettop.model.flows.cells import ABSENT, MEASURED, SHARED_COLUMNS, Cell, RowView, age_cell, shared_cell, speed_cell
from nettop.model.flows.index import Rows
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.rate_history import course_text
from nettop.model.flows.store import FlowStore
from nettop.model.ordering import Ties, first_rows, place_of
from nettop.model.table import Column, Line, Row, Snapshot, SortKey, ViewSpec
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
    Column("process", "PROCESS", 11, rank=9, grow=1, wish=14, most=30),
    Column("course", "COURSE", 8, rank=9),
    Column("device", "DEVICES", 12, rank=9, sortable=False),
    *(_SHARED[key] for key in ("src", "sport", "dst", "dport", "reply_src")),
    *(_SHARED[key] for key in ("opackets", "rpackets", "packets", "bytes", "mark", "zone", "id", "status", "offload")),
    *(_SHARED[key] for key in ("helper", "labels", "netns")),
)
DEFAULT_COLUMNS = ("proto", "state", "original", "reply", "nat", "rate", "up", "down", "age", "timeout", "process")
DEFAULT_SORT = (SortKey("rate"), SortKey("bytes"))

RESORT_NS = 1_000_000_000  # a sorted table stands still at least this long …
SMALL_NS = 100_000_000  # … or this long, where it is small enough that new flows can be shown at once
SMALL = 50_000
_WINDOW = 128  # rows that any screen may want to see
_OLD_NS = 5_000_000_000  # the age from which on a dump's is told
_COUNTED = frozenset(("rate", "rate_up", "rate_down", "up", "down", "bytes", "packets", "opackets", "rpackets"))


class Flows(Protocol):
    """What the view needs of the table."""

    store: FlowStore
    version: int
    joins: FlowJoins
    dumped_ns: dict[int, int]

    def __len__(self) -> int: ...

    def matching(self, expression: Filter | None, now_ns: int) -> Rows: ...

    def sort_keys(self, rows: Rows, sort: Sequence[SortKey], now_ns: int) -> list[Array]: ...

    def picked(self, rows: Rows) -> derive.Data: ...

    def accounting(self, netns: int) -> bool | None: ...

    def ties(self, rows: Rows) -> Ties: ...

    def views(self, rows: Rows) -> list[RowView]: ...


@dataclass(slots=True)
class _Order:
    """What was shown last for one filter and sort."""

    rows: Rows  # of the flows that matched
    generations: NDArray[np.uint32]  # theirs, to tell when a row has gone to another flow
    keys: list[Array]  # over `rows`
    ties: Ties  # of them
    places: Rows  # into `rows`: the first of the order, at least as many as a screen has asked for
    made_ns: int
    version: int
    totals: Line
    totals_ns: int  # when they were made; while the order is held they are made anew
    more: int = 0  # flows that came since and do not stand in the order
    gone: int = 0  # of `places`, taken out since

    @property
    def matched(self) -> int:
        return len(self.rows) - self.gone

    def count(self, table: Flows, spec: ViewSpec, now_ns: int) -> None:
        """Totals as they are now, and how many flows the held order lacks."""
        rows = table.matching(spec.filter, now_ns)
        generations = table.store["generation"]
        kept = np.count_nonzero((generations[self.rows] == self.generations) & table.store.are_live(self.rows))
        self.totals = _totals(table, rows, spec.filter is not None)
        self.more, self.totals_ns = max(0, len(rows) - int(kept)), now_ns

    def deepen(self, depth: int) -> None:
        """More of the same order, for a screen that looks further down."""
        wanted = min(2 * depth, len(self.rows))
        self.places = first_rows(self.keys, wanted, self.ties) if self.keys else np.arange(len(self.rows))
        self.gone = 0

    def prune(self, store: FlowStore, depth: int) -> None:
        """Take out the flows that are gone, where there are such among the first `depth`."""
        if not self._alive(store, self.places[:depth]).all():
            alive = self._alive(store, self.places)
            self.places = self.places[alive]
            self.gone += len(alive) - len(self.places)

    def _alive(self, store: FlowStore, places: Rows) -> NDArray[np.bool_]:
        rows = self.rows[places]
        alive: NDArray[np.bool_] = store["generation"][rows] == self.generations[places]
        return alive & store.are_live(rows)

    def reach(self, store: FlowStore, spec: ViewSpec) -> None:
        """Deep enough for the window that spec describes, without the flows that are gone."""
        depth = first_shown(spec, self.matched) + spec.height
        self.prune(store, depth)
        while len(self.places) < min(self.matched, first_shown(spec, self.matched) + spec.height):
            self.deepen(depth + self.gone)
            self.prune(store, depth)

    def place_of(self, store: FlowStore, ident: int) -> int | None:
        """At which place of the order the flow with this identity stands."""
        row = store.row_of(ident)
        at = int(np.searchsorted(self.rows, row)) if row is not None else len(self.rows)
        if at == len(self.rows) or self.rows[at] != row or self.generations[at] != ident >> 32:
            return None
        shown = (self.places == at).nonzero()[0]
        if len(shown):
            return int(shown[0])
        return place_of(self.keys, at, self.ties) - self.gone if self.keys else at


class Orders:
    """Keeps the order between snapshots: a table that jumps under the eye cannot be read."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._order: _Order | None = None

    def snapshot(self, table: Flows, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window that spec describes."""
        order = self._current(table, spec, now_ns)
        order.reach(table.store, spec)
        if order.gone and not order.matched:  # held until nothing was left of it
            self._order = None
            order = self._current(table, spec, now_ns)
            order.reach(table.store, spec)
        first = first_shown(spec, order.matched)
        rows = order.rows[order.places[first : first + spec.height]]
        return Snapshot(
            spec,
            first,
            _drawn(table, rows[table.store.are_live(rows)], spec.columns, now_ns),
            order.matched,
            len(table),
            None if spec.anchor is None else order.place_of(table.store, spec.anchor),
            (*order.totals, *_dump_age(table, now_ns)),
            (
                *held_note(spec.frozen and order.matched > 0, order.made_ns, order.more, now_ns),
                *(_uncounted(table, rows, spec.columns) or _lacking(table)),
            ),
            now_ns,
            table.version if spec.frozen else order.version,
        )

    def _current(self, table: Flows, spec: ViewSpec, now_ns: int) -> _Order:
        key = (None if spec.filter is None else spec.filter.text, spec.sort)
        order = self._order
        if order is None or key != self._key or not self._stands(order, table, spec, now_ns):
            order = _made(table, spec, now_ns)
            self._key, self._order = key, order
        elif order.version != table.version and not 0 <= now_ns - order.totals_ns < RESORT_NS:
            order.count(table, spec, now_ns)
        return order

    @staticmethod
    def _stands(order: _Order, table: Flows, spec: ViewSpec, now_ns: int) -> bool:
        if spec.frozen or order.version == table.version:
            return True
        wait = SMALL_NS if table.store.top <= SMALL else RESORT_NS
        return 0 <= now_ns - order.made_ns < wait


def first_shown(spec: ViewSpec, matched: int) -> int:
    """The index of the first row that a window of so many rows shows."""
    last_first = max(0, matched - spec.height)
    return last_first if spec.follow else max(0, min(spec.first, last_first))


def _made(table: Flows, spec: ViewSpec, now_ns: int) -> _Order:
    rows = table.matching(spec.filter, now_ns)
    keys = [key if key.base is None else key.copy() for key in table.sort_keys(rows, spec.sort, now_ns)]
    totals = _totals(table, rows, spec.filter is not None)
    none = np.empty(0, np.intp)
    generations = table.store["generation"][rows]
    order = _Order(rows, generations, keys, table.ties(rows), none, now_ns, table.version, totals, now_ns)
    order.deepen(max(_WINDOW, spec.first + spec.height))
    return order


def held_note(held: bool, made_ns: int, more: int, now_ns: int) -> tuple[Line, ...]:
    """What a person who reads further down should know: the order is held, and how many rows it lacks."""
    age = max(0, now_ns - made_ns)
    if not held or age < RESORT_NS:
        return ()
    line: list[tuple[str, str]] = [(f"order held {units.duration(age / 1e9)}", "dim")]
    if more:
        line.append((f", {units.grouped(more)} new", "new"))
    return (tuple(line),)


def _totals(table: Flows, matched: Rows, filtered: bool) -> Line:
    """`1,204 flows, 318 match   1.6M/s   tcp 901   udp 288   ESTABLISHED 702   TIME_WAIT 160   UNREPLIED 41`."""
    data = table.picked(matched)
    noun = "flow" if len(table) == 1 else "flows"
    parts: list[tuple[str, str]] = [(f"{units.grouped(len(table))} {noun}", "heading")]
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


def _dump_age(table: Flows, now_ns: int) -> Line:
    """How old rates and timeouts are, where a large table is read seldom."""
    age = now_ns - min(table.dumped_ns.values(), default=now_ns)
    return ((f"   rates and timeouts {units.duration(age / 1e9)} old", "dim"),) if age >= _OLD_NS else ()


def _uncounted(table: Flows, rows: Rows, columns: Sequence[str]) -> tuple[Line, ...]:
    """Why there are no bytes, where there are none in sight and the reason is that nobody counts them."""
    if not _COUNTED.intersection(columns) or not len(rows):
        return ()
    if (table.store["have"][rows] & np.uint32(HAVE_OCOUNT | HAVE_RCOUNT)).any():
        return ()
    codes = set(table.store["netns"][rows].tolist())
    if not any(table.accounting(code) is False for code in codes):
        return ()
    return ((("bytes are not counted: accounting is off", "warn"),),)


def _lacking(table: Flows) -> tuple[Line, ...]:
    """What measured rates lack, the first thing of it: a flow's detail says the rest."""
    return tuple((((f"{MEASURED} {words}", "warn"),)) for words in table.joins.measuring()[1:2])


def _drawn(table: Flows, rows: Rows, columns: Sequence[str], now_ns: int) -> tuple[Row, ...]:
    idents, views = table.store.idents(rows).tolist(), table.views(rows)
    joined = {key: join(table.joins, views) for key, join in _JOINED.items() if key in columns}
    drawn = []
    for at, (ident, row) in enumerate(zip(idents, views, strict=True)):
        cells = [joined[key][at] if key in joined else _cell(row, key, now_ns) for key in columns]
        drawn.append(Row(ident, tuple(text for text, _ in cells), tuple(role for _, role in cells)))
    return tuple(drawn)


# Columns that other models fill in, all rows at once.
_JOINED: dict[str, Callable[[FlowJoins, Sequence[RowView]], Sequence[Cell]]] = {
    "process": FlowJoins.process,
    "device": FlowJoins.device,
}


def _age(row: RowView, now_ns: int) -> Cell:
    return age_cell((now_ns - row.value("birth_ns")) / 1e9, row.value("birth_known"))


_OWN: dict[str, Callable[[RowView, int], Cell]] = {
    "rate": lambda row, now_ns: speed_cell(row, "rate_up", "rate_down"),
    "rate_up": lambda row, now_ns: speed_cell(row, "rate_up"),
    "rate_down": lambda row, now_ns: speed_cell(row, "rate_down"),
    "course": lambda row, now_ns: (course_text(row.value("course")), "good") if row.value("course") else ABSENT,
    "age": _age,
}


def _cell(row: RowView, key: str, now_ns: int) -> Cell:
    own = _OWN.get(key)
    return shared_cell(row, key) if own is None else own(row, now_ns)
