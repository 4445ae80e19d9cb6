"""The event stream: the last N events with the losses among them, their rates, and their JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from json import dumps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import DumpMark, Gap
from nettop.columns import EVENT_DESTROY, EVENT_DUMP, EVENT_NEW, EVENT_UPDATE, Columns, Decoded, Strings
from nettop.kinds import GapReason
from nettop.model.events_ring import EVENT_GAP, REASONS, UNKNOWN_LOSS, EventRing
from nettop.model.filter import Filter
from nettop.model.flow_cells import SHARED_COLUMNS, Cell, RowView, row_views, shared_cell
from nettop.model.flow_detail import attributes, drawing, flow_title
from nettop.model.flow_fields import FlowFields
from nettop.model.flow_lines import FlowLines
from nettop.model.flow_store import PACKED_KEY
from nettop.model.view import Column, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.text import units
from nettop.text.flow import EVENT_WORDS, text_template
from nettop.text.sanitize import clean

Array = NDArray[Any]

CAPACITY = 100_000
_SECONDS = 60  # of the rates kept
_KINDS = (EVENT_NEW, EVENT_UPDATE, EVENT_DESTROY)
_ROLES = {EVENT_NEW: "new", EVENT_UPDATE: "", EVENT_DESTROY: "dim", EVENT_GAP: "bad"}
_HISTORY = 8  # of a flow's events in its detail


# At 80 columns an event keeps its state: the endpoints have less room, and NAT goes before it.
_NARROW_WIDTH, _NARROW_RANK = {"original": 36}, {"nat": 3}


def _columns() -> tuple[Column, ...]:
    own = (Column("time", "TIME", 12, frozen=True), Column("event", "EVENT", 7, frozen=True))
    return tuple(
        replace(
            c,
            width=_NARROW_WIDTH.get(c.key, c.width),
            rank=_NARROW_RANK.get(c.key, c.rank),
            sortable=False,
        )
        for c in (*own, *SHARED_COLUMNS)
    )


class EventLog:
    """Keeps the last `capacity` events; older ones are evicted and counted."""

    columns: Sequence[Column] = _columns()
    default_columns: tuple[str, ...] = ("time", "event", "proto", "state", "original", "reply", "nat", "up", "down")
    default_sort: tuple[SortKey, ...] = ()

    def __init__(
        self,
        strings: Strings,
        netns_label: Callable[[int], str] = lambda code: "",
        stream_name: Callable[[int], str] = lambda stream: "conntrack",
        capacity: int = CAPACITY,
    ) -> None:
        self.ring = EventRing(capacity)
        self.counts = dict.fromkeys(_KINDS, 0)  # since the start
        self.version = 0
        self._strings = strings
        self._netns_label = netns_label
        self._stream_name = stream_name
        self._rates = _Rates()
        self._held: EventRing | None = None
        self._matches = _Matches()

    @property
    def evicted(self) -> int:
        """Events that made room for newer ones."""
        return self.ring.start

    def apply(self, item: Decoded | Gap | DumpMark, netns: int, now_ns: int) -> None:
        """Take in decoded events, or a loss among them, of the namespace with this code; dumps are passed over."""
        if isinstance(item, Decoded):
            cols = item.cols
            dumped = cols["event"] == EVENT_DUMP if len(cols) else np.ones(0, np.bool_)
            self._add(cols if not dumped.any() else cols.take(~dumped), netns, now_ns)
        elif isinstance(item, Gap) and item.why is not GapReason.RECORDER:  # what only a recording lacks, we have
            self.ring.append_gap(item, netns)
        self.version += 1

    def _add(self, cols: Columns, netns: int, now_ns: int) -> None:
        if not len(cols):
            return
        self.ring.append(cols, netns)
        counts = np.bincount(cols["event"], minlength=EVENT_GAP)
        for kind in _KINDS:
            self.counts[kind] += int(counts[kind])
        self._rates.add(now_ns, counts[EVENT_NEW : EVENT_DESTROY + 1])

    def rates(self, now_ns: int) -> tuple[float, float, float]:
        """New, update and destroy events a second, of the last whole second."""
        new, update, destroy = self._rates.last(now_ns)
        return new, update, destroy

    def timeline(self, now_ns: int) -> NDArray[np.int64]:
        """Events of the last 60 whole seconds: shape (60, 3) of new, update, destroy; the newest last."""
        return self._rates.seconds(now_ns)

    # -- the table -----------------------------------------------------------------------------------------------

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window that spec describes, newest last. While frozen it stands still; everything is kept meanwhile."""
        ring = self._shown(spec.frozen)
        numbers = self._matches.numbers(ring, spec.filter, lambda rows: self._fields(rows, now_ns))
        matched = len(numbers)
        last_first = max(0, matched - spec.height)
        first = last_first if spec.follow else max(0, min(spec.first, last_first))
        chosen = numbers[first : first + spec.height]
        anchor = None
        if spec.anchor is not None:
            at = int(np.searchsorted(numbers, spec.anchor))
            anchor = at if at < matched and numbers[at] == spec.anchor else None
        totals = self._totals(len(ring), matched, spec.filter is not None, now_ns)
        rows = self._drawn(ring, chosen, spec.columns)
        return Snapshot(spec, first, rows, matched, len(ring), anchor, totals, (), now_ns, self.version)

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """One event; None when it was evicted."""
        ring = self._held if self._held is not None and self._held.start <= ident < self._held.end else self.ring
        if not ring.start <= ident < ring.end:
            return None
        row = self._views(ring, np.array([ident]))[0]
        head = (f"{units.clock(row.value('ts_ns'), 6)} ", "number")
        if row.value("event") == EVENT_GAP:
            return Detail(ident, (head, ("GAP", "bad")), (((self._gap_text(row), "bad"),),))
        name = (EVENT_WORDS[row.value("event")].upper() + " ", _ROLES[row.value("event")])
        lines = (*drawing(row), (), *attributes(row, now_ns))
        return Detail(ident, (head, name, *flow_title(row)), lines, marks={"flow": row})

    def history(self, flow: RowView) -> Sequence[Line]:
        """The last kept events of a flow, oldest first: for FlowTable."""
        rows = self.ring.rows(self.ring.start, self.ring.end)
        mine = (rows["netns"] == flow.value("netns")) & (rows["event"] != EVENT_GAP)
        for name in (*PACKED_KEY, "osrc_lo", "odst_lo", "osrc_hi", "odst_hi"):
            if name in rows:
                mine &= rows[name] == flow.value(name)
        numbers = self.ring.start + mine.nonzero()[0][-_HISTORY:]
        return [
            ((f"    {units.clock(row.value('ts_ns'), 3)} ", "number"), *self._word_and_state(row))
            for row in self._views(self.ring, numbers)
        ]

    def _word_and_state(self, row: RowView) -> Line:
        return (
            (f"{EVENT_WORDS[row.value('event')].upper():<8}", _ROLES[row.value("event")]),
            shared_cell(row, "state"),
        )

    def _shown(self, frozen: bool) -> EventRing:
        if not frozen:
            self._held = None
            return self.ring
        if self._held is None:
            self._held = self.ring.held()
        return self._held

    def _fields(self, rows: dict[str, Array], now_ns: int) -> FlowFields:
        return FlowFields("event", rows, now_ns, self._strings, self._netns_label)

    def _views(self, ring: EventRing, numbers: Array) -> list[RowView]:
        return row_views(ring.data, ring.places(numbers), self._strings, self._netns_label)

    def _drawn(self, ring: EventRing, numbers: Array, columns: Sequence[str]) -> tuple[Row, ...]:
        drawn = []
        for ident, row in zip(numbers.tolist(), self._views(ring, numbers), strict=True):
            cells = [self._cell(row, key) for key in columns]
            drawn.append(Row(ident, tuple(text for text, _ in cells), tuple(role for _, role in cells)))
        return tuple(drawn)

    def _cell(self, row: RowView, key: str) -> Cell:
        kind = row.value("event")
        if key == "time":
            return units.clock(row.value("ts_ns"), 3), "number"
        if key == "event":
            return EVENT_WORDS[kind].upper(), _ROLES[kind]
        if kind == EVENT_GAP:
            return (self._gap_text(row), "bad") if key == "original" else ("", "")
        return shared_cell(row, key)

    def _gap_text(self, row: RowView) -> str:
        lost = row.value("opackets")
        count = "an unknown number of" if lost == UNKNOWN_LOSS else units.grouped(lost)
        reason = REASONS[row.value("state")].value
        since, until = units.clock(row.value("start_ns"), 2), units.clock(row.value("stop_ns"), 2)
        stream = clean(self._stream_name(row.value("mark")))
        return f"┄┄ {count} events lost ({reason}), {stream}, between {since} and {until} ┄┄"

    def _totals(self, total: int, matched: int, filtered: bool, now_ns: int) -> Line:
        found = f", {units.grouped(matched)} match" if filtered else ""
        per_second = zip(("new", "update", "destroy"), self.rates(now_ns), ("new", "", "dim"), strict=True)
        graph = units.sparkline(self.timeline(now_ns).sum(axis=1).astype(float).tolist()[-30:])
        return (
            (f"{units.grouped(total)} events{found}", "heading"),
            *((f"   {name} {units.rate(speed)}", role) for name, speed, role in per_second),
            ("   " + graph, "good"),
            (f"   {units.grouped(self.evicted)} older evicted" if self.evicted else "", "dim"),
        )


class EventLines:
    """Events straight from the decoder to lines, for a headless stream."""

    def __init__(
        self, strings: Strings, netns_label: Callable[[int], str] = lambda code: "", json: bool = True
    ) -> None:
        self._strings = strings
        self._netns_label = netns_label
        self._lines = FlowLines(strings, netns_label) if json else FlowLines(strings, netns_label, text_template)
        self._json = json

    def __call__(self, cols: Columns, netns: int, wanted: Filter | None = None, now_ns: int = 0) -> list[str]:
        """The matching events of a decoded batch, one line each, without newlines; rows of dumps are left out."""
        if not len(cols):
            return []
        keep = cols["event"] != EVENT_DUMP
        if wanted is not None:
            data = cols.data | {"netns": np.full(len(cols), netns, np.uint16)}
            keep &= wanted.mask(FlowFields("event", data, now_ns, self._strings, self._netns_label))
        cols = cols if keep.all() else cols.take(keep)
        if not len(cols):
            return []
        lines = self._lines.lines(cols.data, netns)
        if self._json:
            return lines
        times = (units.clock(ts, 3) for ts in cols["ts_ns"].tolist())
        return [f"{time} {line}" for time, line in zip(times, lines, strict=True)]


def gap_json(gap: Gap, stream: str, netns: str | None = None) -> str:
    """The contract's `gap` object."""
    values = {"kind": "gap", "stream": stream, "netns": netns, "lost": gap.lost, "reason": gap.why.value}
    return dumps(values | {"from_ns": gap.from_ns, "to_ns": gap.to_ns}, separators=(",", ":"))


class _Rates:
    """Events by second, for the last minute."""

    def __init__(self) -> None:
        self._counts = np.zeros((_SECONDS + 1, len(_KINDS)), np.int64)
        self._second = np.full(_SECONDS + 1, -1, np.int64)

    def add(self, now_ns: int, counts: Array) -> None:
        second = now_ns // 1_000_000_000
        place = second % len(self._second)
        if self._second[place] != second:
            self._second[place], self._counts[place] = second, 0
        self._counts[place] += counts

    def seconds(self, now_ns: int) -> NDArray[np.int64]:
        wanted = now_ns // 1_000_000_000 - np.arange(_SECONDS, 0, -1)
        places = wanted % len(self._second)
        return np.where((self._second[places] == wanted)[:, None], self._counts[places], 0)

    def last(self, now_ns: int) -> list[float]:
        return [float(count) for count in self.seconds(now_ns)[-1]]


class _Matches:
    """The numbers of the rows that match; only rows that came since the last look are tested."""

    def __init__(self) -> None:
        self._of = ""
        self._numbers = np.empty(0, np.int64)
        self._tested = 0

    def numbers(
        self, ring: EventRing, wanted: Filter | None, fields: Callable[[dict[str, Array]], FlowFields]
    ) -> NDArray[np.int64]:
        if wanted is None:
            return np.arange(ring.start, ring.end)
        if self._of != wanted.text:
            self._of, self._numbers, self._tested = wanted.text, np.empty(0, np.int64), ring.start
        first = max(self._tested, ring.start)
        if first < ring.end:
            rows = ring.rows(first, ring.end)
            mask = wanted.mask(fields(rows)) | (rows["event"] == EVENT_GAP)  # a loss is always shown
            self._numbers = np.concatenate([self._numbers, first + mask.nonzero()[0]])
            self._tested = ring.end
        self._numbers = self._numbers[np.searchsorted(self._numbers, ring.start) :]
        return self._numbers[: np.searchsorted(self._numbers, ring.end)]
