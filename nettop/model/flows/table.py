"""The flow table: updated by events and dumps, sorted, filtered, shown and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nettop.batch import DumpMark, Gap
from nettop.columns import EVENT_DUMP, FLOW_DTYPES, HAVE_MASTER, Columns, Decoded, Strings
from nettop.kinds import GapReason
from nettop.model.flows import derive
from nettop.model.flows.cells import RowView, row_views
from nettop.model.flows.detail import flow_detail
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.lines import CHUNK, FlowLines, Owners, json_joined, text_joined
from nettop.model.flows.masters import LINES, child_lines, expected_by, master_view
from nettop.model.flows.rows import FlowRows, NetnsLabel
from nettop.model.flows.snapshots import COLUMNS, DEFAULT_COLUMNS, DEFAULT_SORT, FlowSnapshots, drawn_rows
from nettop.model.flows.sort_keys import SORT_KEYS, Picked
from nettop.model.flows.store import KEY_COLUMNS, FlowStore
from nettop.model.flows.templates import text_template
from nettop.model.flows.updates import FlowUpdates
from nettop.model.ordering import Rows
from nettop.model.table import Detail, Line, Row, Snapshot, ViewSpec

_RATE_ROWS = 1 << 16  # whose rates are added at a time: the work needs several times their memory


class FlowTable(FlowRows):
    """Every flow that the kernel reported, until an event or a complete dump shows that it is gone.

    `strings` is the decoder's. `history` returns lines about a flow's events for the detail.
    """

    columns = COLUMNS
    default_columns: tuple[str, ...] = DEFAULT_COLUMNS
    default_sort = DEFAULT_SORT
    sortable = SORT_KEYS  # accepted by SortKey and --sort: keys of columns and JSON names

    def __init__(
        self,
        strings: Strings,
        netns_label: NetnsLabel = lambda code: "",
        history: Callable[[RowView], Sequence[Line]] = lambda row: (),
        joins: FlowJoins | None = None,
        store: FlowStore | None = None,
    ) -> None:
        super().__init__(strings, netns_label, joins or FlowJoins(), FlowStore() if store is None else store)
        self._history = history
        self._updates = FlowUpdates(self.store)
        self._json = FlowLines(strings, netns_label, joined=json_joined)
        self._snapshots = FlowSnapshots(self)
        self._resync: set[int] = set()
        self._begun_after_gap: set[int] = set()

    def apply(self, item: Decoded | Gap | DumpMark, netns: int, now_ns: int) -> None:
        """Apply decoded events or dump rows, the marks of a dump, or a loss, of the namespace with this code."""
        shows = True
        if isinstance(item, Decoded):
            shows = self._rows(item.cols, netns)
        elif isinstance(item, DumpMark):
            self._mark(item, netns, now_ns)
        elif item.why is not GapReason.RECORDER:  # the table has what only the recorder lost
            self._resync.add(netns)
            self._begun_after_gap.discard(netns)
        self.version += shows

    def resync_wanted(self, netns: int) -> bool:
        """Return whether events of this namespace were lost and no complete dump since has ended: a dump is needed."""
        return netns in self._resync

    def forget(self, netns: int) -> None:
        """Remove the flows of a namespace that no longer exists."""
        self._updates.begin(netns)
        self._updates.end(netns, complete=True)
        self._resync.discard(netns)
        self.dumped_ns.pop(netns, None)
        self.store.still_dumps.pop(netns, None)
        self.version += 1

    def _rows(self, cols: Columns, netns: int) -> bool:
        """Apply rows and return whether they show now: updates of known flows from a part of a dump show at its end."""
        if not len(cols):
            return False
        dumped = cols["event"] == EVENT_DUMP
        if dumped.all():
            return self._updates.dump_rows(cols, netns) > 0 or netns not in self.dumped_ns
        if not dumped.any():
            self._updates.events(cols, netns)
        else:
            self._updates.dump_rows(cols.take(dumped), netns)
            self._updates.events(cols.take(~dumped), netns)
        return True

    def _mark(self, mark: DumpMark, netns: int, now_ns: int) -> None:
        if mark.what != "conntrack":
            return
        if mark.begin:
            self._updates.begin(netns)
            self._begun_after_gap.add(netns)
            return
        if self._updates.end(netns, mark.complete):
            self.dumped_ns[netns] = now_ns
            self._add_rates(netns)
            if netns in self._begun_after_gap:
                self._resync.discard(netns)

    def _add_rates(self, netns: int) -> None:
        """Add the rates of this namespace's flows, which a dump has renewed, to their history."""
        rows = (self.store.live() & (self.store["netns"][: self.store.top] == netns)).nonzero()[0]
        data = self.window()
        for start in range(0, len(rows), _RATE_ROWS):
            some = rows[start : start + _RATE_ROWS]
            self.rate_history.add(some, derive.rate(Picked(data, some)))

    def json_lines(self, rows: Rows, owners: bool = False) -> Iterator[str]:
        """Yield the `flow` objects of these rows, one per line, without newlines; with `owners` their processes."""
        for chunk in self._json.chunks(self.window(), rows, self._owners(rows) if owners else None):
            yield from chunk

    def text_lines(self, rows: Rows, rate: bool = False, owners: bool = False) -> Iterator[str]:
        """Yield these rows as plain lines, without newlines, with rates and processes at the end if requested."""
        lines = FlowLines(self.strings, self.netns_label, text_template, text_joined(rate))
        for chunk in lines.chunks(self.window(), rows, self._owners(rows) if owners else None):
            yield from chunk

    def table_rows(self, rows: Rows, columns: Sequence[str], now_ns: int) -> Iterator[Row]:
        """Yield these rows with the cells of these columns."""
        for start in range(0, len(rows), CHUNK):
            yield from drawn_rows(self, rows[start : start + CHUNK], columns, now_ns)

    def _owners(self, rows: Rows) -> Owners | None:
        processes, data = self.joins.processes, self.picked(rows)
        return None if processes is None else Owners(*processes.process_codes(data), processes.pids(data))

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window that spec describes; sorted at most once a second, never while frozen."""
        return self._snapshots.of(spec, now_ns)

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the detail of a flow; None when it is gone."""
        row = self.flow_of(ident)
        if row is None:
            return None
        rows = (self.store.live() & expected_by(self.window(), row)).nonzero()[0]
        rows = rows[np.argsort(self.store["first_ns"][rows], kind="stable")]
        first = row_views(self.store.data, rows[:LINES], self.strings, self.netns_label)
        return flow_detail(ident, row, child_lines(first, len(rows)), self._history(row), self.joins, now_ns)

    def flow_of(self, ident: int) -> RowView | None:
        """Return the flow with this identity as Python values; None when it is gone."""
        at = self.store.row_of(ident)
        return None if at is None else self.views(np.array([at]))[0]

    def master_of(self, row: RowView) -> RowView | None:
        """Return the flow that expected the one with this row's key, as a view with only its key; None: none."""
        ident = self.ident_of(row)
        flow = None if ident is None else self.flow_of(ident)
        return master_view(flow) if flow is not None and flow.have & HAVE_MASTER else None

    def ident_of(self, row: RowView) -> int | None:
        """Return the identity of the flow that has this row's key (an event's, say); None when there is none."""
        one = Columns(1, {name: np.array([row.value(name)], FLOW_DTYPES[name]) for name in KEY_COLUMNS})
        found = int(self.store.find(self.store.keys(row.value("netns"), one))[0])
        if found < 0 or not self.store.are_live(np.array([found]))[0]:
            return None
        return int(self.store.idents(np.array([found]))[0])
