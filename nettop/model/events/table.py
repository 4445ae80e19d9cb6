"""The events table: the last N events with the losses among them, and their rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop import columns as ct
from nettop.batch import Array, Batch, DumpMark, Gap
from nettop.kinds import GapReason
from nettop.model.events.cells import COLUMNS, DEFAULT_COLUMNS, KINDS, ROLES, StreamName, cell, gap_cells, gap_text
from nettop.model.events.matches import Matches
from nettop.model.events.ring import EVENT_GAP, EventRing, FrozenRing
from nettop.model.events.rows import event_rows, without_row
from nettop.model.expectations.expectation import attribute_lines, event_word, expectation_of, expected_text
from nettop.model.filter.expression import Filter
from nettop.model.flows.cells import RowView, row_views, shared_cell
from nettop.model.flows.detail import attributes, drawing, flow_title
from nettop.model.flows.fields import FlowFields
from nettop.model.flows.masters import master_view
from nettop.model.flows.store import PACKED_KEY
from nettop.model.table import Column, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.model.window import position_in, visible
from nettop.text import units

KEEP_EVENTS = 100_000
SECONDS = 60  # whose events are counted by kind
_HISTORY = 8  # events of a flow in its detail


class EventRates:
    """Events by second and kind, of the last minute."""

    def __init__(self) -> None:
        self._counts = np.zeros((SECONDS + 1, len(KINDS)), np.int64)
        self._second = np.full(SECONDS + 1, -1, np.int64)

    def add(self, now_ns: int, counts: NDArray[Any]) -> None:
        """Add the numbers of new, update and destroy events of this moment."""
        second = now_ns // 1_000_000_000
        slot = second % len(self._second)
        if self._second[slot] != second:
            self._second[slot], self._counts[slot] = second, 0
        self._counts[slot] += counts

    def seconds(self, now_ns: int) -> NDArray[np.int64]:
        """Return the events of the last 60 whole seconds: shape (60, 3) of new, update, destroy; the newest last."""
        seconds = now_ns // 1_000_000_000 - np.arange(SECONDS, 0, -1)
        slots = seconds % len(self._second)
        return np.where((self._second[slots] == seconds)[:, None], self._counts[slots], 0)

    def last(self, now_ns: int) -> tuple[float, float, float]:
        """Return new, update and destroy events a second, of the last whole second."""
        second = now_ns // 1_000_000_000 - 1
        slot = second % len(self._second)
        new, update, destroy = self._counts[slot].tolist() if self._second[slot] == second else (0, 0, 0)
        return new, update, destroy


class EventLog:
    """The last `capacity` events. Older ones are evicted and counted."""

    columns: Sequence[Column] = COLUMNS
    default_columns: tuple[str, ...] = DEFAULT_COLUMNS
    default_sort: tuple[SortKey, ...] = ()

    def __init__(
        self,
        strings: ct.Strings,
        netns_label: Callable[[int], str] = lambda code: "",
        stream_name: StreamName = lambda stream: "conntrack",
        capacity: int = KEEP_EVENTS,
    ) -> None:
        self.ring = EventRing(capacity)
        self.counts = dict.fromkeys(KINDS, 0)  # events of flows by kind, since the start
        self.expectations = 0  # events of expectations, since the start
        self.damaged = 0  # records that could not be read, since the start
        self.version = 0
        self._strings = strings
        self._netns_label = netns_label
        self._stream_name = stream_name
        self.rates = EventRates()
        self._matches = Matches()
        self._filtered = False

    @property
    def evicted(self) -> int:
        """The number of events overwritten by newer ones."""
        return self.ring.evicted.total()

    def hidden(self) -> Counter[int]:
        """Return, by namespace, how many kept events the filter of the last snapshot hides."""
        return self._matches.hidden(self.ring) if self._filtered else Counter()

    def unreadable(self, batch: Batch, decoded: ct.Decoded) -> int:
        """Count and return the records of a batch of events that gave no row."""
        found = without_row(batch, decoded)
        self.damaged += found
        return found

    def apply(self, item: ct.Decoded | Gap | DumpMark, netns: int, now_ns: int) -> None:
        """Add decoded events or a loss of a namespace; rows of dumps are ignored."""
        if isinstance(item, ct.Decoded):
            self._add(event_rows(item), netns, now_ns)
        elif isinstance(item, Gap) and item.why is not GapReason.RECORDER:  # a loss of the recorder is none of the log
            self.ring.append_gap(item, netns)
        self.version += 1

    def _add(self, cols: ct.Columns, netns: int, now_ns: int) -> None:
        if not len(cols):
            return
        self.ring.append(cols, netns)
        counts = np.bincount(cols["event"], minlength=ct.EVENT_EXPECT)
        for kind in KINDS:
            self.counts[kind] += int(counts[kind])
        self.expectations += int(counts[ct.EVENT_EXPECT :].sum())
        self.rates.add(now_ns, counts[ct.EVENT_NEW : ct.EVENT_DESTROY + 1])

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window that spec describes, newest last. A frozen window does not change as events are added."""
        ring = self._shown(spec.frozen)
        self._filtered = spec.filter is not None
        fields = lambda rows: FlowFields("event", rows, now_ns, self._strings, self._netns_label)  # noqa: E731
        numbers = self._matches.numbers(ring, spec.filter, fields)
        arrived = self._matches.arrived(self.ring, spec.filter, fields)
        part = visible(spec, len(numbers))
        return Snapshot(
            spec,
            part.start,
            self._rows(ring, np.array(numbers[part], np.int64), spec.columns),
            len(numbers),
            len(ring),
            position_in(numbers, spec.anchor),
            self._totals(spec.filter, now_ns),
            _frozen_notes(ring, arrived, spec.filter is not None),
            self.version,
        )

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the detail of one event; None if it was evicted."""
        ring = self._ring_of(ident)
        if ring is None:
            return None
        row = self._views(ring, np.array([ident]))[0]
        head = (f"{units.clock(row.value('ts_ns'), 6)} ", "number")
        if row.value("event") == EVENT_GAP:
            return Detail(ident, (head, ("GAP", "bad")), (((gap_text(row, self._stream_name), "bad"),),))
        name = (event_word(row.value("event")) + " ", ROLES[row.value("event")])
        if row.value("event") > ct.EVENT_EXPECT:
            return self._expectation(ident, row, (head, name))
        lines = (*drawing(row), *attributes(row, now_ns))
        return Detail(ident, (head, name, *flow_title(row)), lines)

    def _expectation(self, ident: int, row: RowView, head: Line) -> Detail:
        one = expectation_of(row.data, self._strings)
        lines = attribute_lines(one, self._netns_label(one.netns))
        return Detail(ident, (*head, (expected_text(one), "address")), tuple(lines))

    def row(self, ident: int) -> RowView | None:
        """Return the event with this identity; None if it was evicted or is a loss."""
        ring = self._ring_of(ident)
        if ring is None:
            return None
        row = self._views(ring, np.array([ident]))[0]
        return None if row.value("event") == EVENT_GAP else row

    def flow_of(self, ident: int) -> RowView | None:
        """Return the flow of an event, or the master of an expectation. None: it has none, or the event was evicted."""
        row = self.row(ident)
        if row is None or row.value("event") < ct.EVENT_EXPECT:
            return row
        return master_view(row, "r") if row.have & ct.HAVE_MASTER else None

    def history(self, flow: RowView) -> Sequence[Line]:
        """Return lines of the last kept events of a flow, oldest first, for its detail."""
        return [
            (
                (f"    {units.clock(row.value('ts_ns'), 3)} ", "number"),
                (f"{event_word(row.value('event')):<8}", ROLES[row.value("event")]),
                shared_cell(row, "state"),
            )
            for row in self._views(self.ring, self.of_flow(flow)[-_HISTORY:])
        ]

    def of_flow(self, flow: RowView) -> NDArray[np.int64]:
        """Return the identities of the kept events of a flow, oldest first."""
        ring = self.ring
        data = {name: column[: len(ring)] for name, column in ring.data.items()}
        matching = (data["odst_lo"] == flow.value("odst_lo")) & (data["netns"] == flow.value("netns"))
        matching &= data["event"] < EVENT_GAP
        for name in (*PACKED_KEY, "osrc_lo", "osrc_hi", "odst_hi"):
            if name in data:
                matching &= data[name] == flow.value(name)
        return ring.numbers(matching.nonzero()[0])

    def _ring_of(self, ident: int) -> EventRing | FrozenRing | None:
        rings = (self.ring.frozen, self.ring)
        return next((ring for ring in rings if ring is not None and ring.start <= ident < ring.end), None)

    def _shown(self, frozen: bool) -> EventRing | FrozenRing:
        if not frozen:
            self.ring.frozen = None
            return self.ring
        if self.ring.frozen is None:
            self.ring.frozen = FrozenRing(self.ring)
        return self.ring.frozen

    def _views(self, ring: EventRing | FrozenRing, numbers: Array) -> list[RowView]:
        return row_views(ring.take(numbers), slice(None), self._strings, self._netns_label)

    def _rows(self, ring: EventRing | FrozenRing, numbers: Array, columns: Sequence[str]) -> tuple[Row, ...]:
        rows = []
        for ident, row in zip(numbers.tolist(), self._views(ring, numbers), strict=True):
            gap = row.value("event") == EVENT_GAP
            cells = gap_cells(row, columns, self._stream_name) if gap else [cell(row, key) for key in columns]
            rows.append(Row.of(ident, cells))
        return tuple(rows)

    def _totals(self, display_filter: Filter | None, now_ns: int) -> Line:
        """Return the totals line. It counts the events kept now, also while the rows are frozen."""
        total = len(self.ring)
        found = f", {units.grouped(self._matches.count(self.ring))} match" if display_filter is not None else ""
        per_second = zip(("new", "update", "destroy"), self.rates.last(now_ns), ("new", "", "dim"), strict=True)
        graph = units.sparkline(self.rates.seconds(now_ns).sum(axis=1).astype(float).tolist()[-30:])
        return (
            (f"{units.plural(total, 'event')}{found}", "heading"),
            *((f"   {name} {units.rate(speed)}", role) for name, speed, role in per_second),
            (f"   expectations {units.grouped(self.expectations)}" if self.expectations else "", "accent"),
            ("   " + graph, "good"),
            (f"   {units.grouped(self.evicted)} older evicted" if self.evicted else "", "dim"),
            (f"   {units.grouped(self.damaged)} unreadable" if self.damaged else "", "bad"),
        )


def _frozen_notes(ring: EventRing | FrozenRing, arrived: int, filtered: bool) -> tuple[Line, ...]:
    """Return a note on the events added (with a filter: matching) since the freeze, and on those evicted."""
    if not isinstance(ring, FrozenRing) or not ring.since:
        return ()
    line = [
        ("held", "dim"),
        (f", {units.grouped(arrived)} new{' match' if filtered else ''}", "new" if arrived else "dim"),
    ]
    if ring.evicted:
        line.append((f", {units.grouped(ring.evicted)} held rows evicted meanwhile", "warn"))
    if ring.unseen:
        line.append((f", {units.grouped(ring.unseen)} {'of all ' * filtered}came and went unseen", "bad"))
    return (tuple(line),)
