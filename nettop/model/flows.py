"""The flow table: kept by events and dumps, shown sorted and filtered, and printed as JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import DumpMark, Gap
from nettop.columns import EVENT_DUMP, FLOW_DTYPES, Columns, Decoded, Strings
from nettop.kinds import GapReason
from nettop.model import flow_derive as derive
from nettop.model import flow_view
from nettop.model.filter import Filter
from nettop.model.flow_cells import RowView, row_views
from nettop.model.flow_detail import flow_detail
from nettop.model.flow_fields import FlowFields
from nettop.model.flow_index import Rows
from nettop.model.flow_lines import FlowLines
from nettop.model.flow_order import first_rows
from nettop.model.flow_rules import FlowRules
from nettop.model.flow_sort import SORT_KEYS, Picked, sort_keys
from nettop.model.flow_store import KEY_COLUMNS, FlowStore
from nettop.model.view import Detail, Line, Snapshot, SortKey, ViewSpec
from nettop.text.flow import text_template

Array = NDArray[Any]
NetnsLabel = Callable[[int], str]  # the label of a namespace's code, "" for the one nettop was started in


class FlowTable:
    """Every flow the kernel told of, until it says, or a complete dump shows, that it is gone.

    `strings` is the decoder's. `history` gives lines about a flow's events for the detail pane.
    """

    columns = flow_view.COLUMNS
    default_columns = flow_view.DEFAULT_COLUMNS
    default_sort = flow_view.DEFAULT_SORT
    sortable = SORT_KEYS  # what SortKey and --sort understand: columns' keys and JSON names

    def __init__(
        self,
        strings: Strings,
        netns_label: NetnsLabel = lambda code: "",
        history: Callable[[RowView], Sequence[Line]] = lambda row: (),
    ) -> None:
        self.store = FlowStore()
        self.strings = strings
        self.netns_label = netns_label
        self.version = 0
        self.dumped_ns: dict[int, int] = {}  # namespace → when its last complete dump ended
        self._history = history
        self._rules = FlowRules(self.store)
        self._json = FlowLines(strings, netns_label)
        self._text = FlowLines(strings, netns_label, text_template)
        self._orders = flow_view.Orders()
        self._resync: set[int] = set()
        self._begun_after_gap: set[int] = set()

    # -- what comes in -------------------------------------------------------------------------------------------

    def apply(self, item: Decoded | Gap | DumpMark, netns: int, now_ns: int) -> None:
        """Take in decoded events or dump rows, the marks of a dump, or a loss, of the namespace with this code."""
        if isinstance(item, Decoded):
            self._rows(item.cols, netns)
        elif isinstance(item, DumpMark):
            self._mark(item, netns, now_ns)
        elif item.why is not GapReason.RECORDER:  # what only a recording lacks, we have
            self._resync.add(netns)
            self._begun_after_gap.discard(netns)
        self.version += 1

    def resync_wanted(self, netns: int) -> bool:
        """Events of this namespace were lost and no complete dump begun since has ended: ask for one."""
        return netns in self._resync

    def forget(self, netns: int) -> None:
        """The namespace is gone: so are its flows."""
        self._rules.begin(netns)
        self._rules.end(netns, complete=True)
        self._resync.discard(netns)
        self.version += 1

    def _rows(self, cols: Columns, netns: int) -> None:
        if not len(cols):
            return
        dumped = cols["event"] == EVENT_DUMP
        if dumped.all():
            self._rules.dump_rows(cols, netns)
        elif not dumped.any():
            self._rules.events(cols, netns)
        else:
            self._rules.dump_rows(cols.take(dumped), netns)
            self._rules.events(cols.take(~dumped), netns)

    def _mark(self, mark: DumpMark, netns: int, now_ns: int) -> None:
        if mark.what != "conntrack":
            return
        if mark.begin:
            self._rules.begin(netns)
            self._begun_after_gap.add(netns)
            return
        self._rules.end(netns, mark.complete)
        if mark.complete:
            self.dumped_ns[netns] = now_ns
            if netns in self._begun_after_gap:
                self._resync.discard(netns)

    # -- what goes out -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(np.count_nonzero(self.store.live()))

    def window(self) -> dict[str, Array]:
        """The columns of all rows ever used (views, no copies); `store.live()` says which are flows."""
        return {name: column[: self.store.top] for name, column in self.store.data.items()}

    def fields(self, now_ns: int) -> FlowFields:
        """The window as the filter sees it."""
        return self._fields(self.window(), now_ns)

    def _fields(self, data: derive.Data, now_ns: int) -> FlowFields:
        return FlowFields("flow", data, now_ns, self.strings, self.netns_label)

    def matching(self, expression: Filter | None, now_ns: int) -> Rows:
        """Rows of the flows that match, in the table's own order."""
        live = self.store.live()
        if expression is not None:
            live &= expression.mask(self.fields(now_ns))
        return live.nonzero()[0]

    def rows(
        self,
        expression: Filter | None = None,
        sort: Sequence[SortKey] = (),
        limit: int | None = None,
        now_ns: int = 0,
    ) -> Rows:
        """Rows of the matching flows in the wanted order, at most `limit`. UsageError for a key that is none."""
        rows = self.matching(expression, now_ns)
        keys = self.sort_keys(rows, sort, now_ns)
        wanted = len(rows) if limit is None else min(limit, len(rows))
        return rows[first_rows(keys, wanted)] if keys else rows[:wanted]

    def sort_keys(self, rows: Rows, sort: Sequence[SortKey], now_ns: int) -> list[Array]:
        """Columns over these rows whose ascending order is the wanted one; UsageError for a key that is none."""
        everything = len(rows) == self.store.top  # then the table's columns serve without a copy
        data = self.window() if everything else Picked(self.store.data, rows)
        return sort_keys(data, sort, self._fields(data, now_ns).words, now_ns)

    def json_lines(self, rows: Rows) -> Iterator[str]:
        """The contract's `flow` objects of these rows, one a line, without newlines."""
        for chunk in self._json.chunks(self.window(), rows):
            yield from chunk

    def text_lines(self, rows: Rows) -> Iterator[str]:
        """These rows as plain lines, without newlines."""
        for chunk in self._text.chunks(self.window(), rows):
            yield from chunk

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window of the table that spec describes; sorted anew at most once a second, never while frozen."""
        return self._orders.snapshot(self, spec, now_ns)

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Everything known of a flow; None when it is gone."""
        row = self.store.row_of(ident)
        if row is None:
            return None
        view = self.views(np.array([row]))[0]
        return flow_detail(ident, view, self._history(view), now_ns)

    def views(self, rows: Rows) -> list[RowView]:
        """These rows as Python values."""
        return row_views(self.store.data, rows, self.strings, self.netns_label)

    def ident_of(self, row: RowView) -> int | None:
        """The identity of the flow that has this row's key (an event's, say); None when there is none."""
        one = Columns(1, {name: np.array([row.value(name)], FLOW_DTYPES[name]) for name in KEY_COLUMNS})
        found = int(self.store.find(self.store.keys(row.value("netns"), one))[0])
        if found < 0 or not self.store.are_live(np.array([found]))[0]:
            return None
        return int(self.store.idents(np.array([found]))[0])
