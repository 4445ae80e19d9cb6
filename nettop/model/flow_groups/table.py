"""Flows grouped by source, service, NAT address and so on.

Groups are computed at most once a second from all matching flows, and keep their order while it is frozen. A group's
identity follows from its key (flow_groups.keys), so that the cursor stays on it while its flows change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from json import dumps

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.errors import FilterError, UsageError
from nettop.model.filter.expression import Filter, parse
from nettop.model.flow_groups import cells
from nettop.model.flow_groups.aggregate import SUMS, Groups, grouped, indices_of
from nettop.model.flow_groups.keys import GROUP_BY, GROUPS, GroupBy, GroupKey, Lexicon
from nettop.model.flows.table import FlowTable
from nettop.model.ordering import Rows, ascending, first_rows
from nettop.model.table import Cell, Column, Detail, GroupDetail, Line, Row, Snapshot, SortKey, ViewSpec, detail_line
from nettop.model.window import Handles, Match, OrderCache, visible, wait_ns
from nettop.text import units

__all__ = ["GROUPS", "FlowGroups"]

_MEMBERS = 10  # flows listed in a group's detail
_MEMBER_SORT = (SortKey("rate"), SortKey("bytes"), SortKey("packets"))
_KINDS = tuple(GROUP_BY)
_KIND_BITS = 4  # the lowest bits of an identity: the index of the grouping


class FlowGroups:
    """A TableModel over a FlowTable. ViewSpec.group names the grouping, "source" by default.

    `maximum` returns nf_conntrack_max, None where it is not known.
    """

    columns: Sequence[Column] = cells.COLUMNS
    default_columns: tuple[str, ...] = cells.DEFAULT_COLUMNS
    default_sort: tuple[SortKey, ...] = (SortKey("rate"), SortKey("flows"))
    sortable: tuple[str, ...] = tuple(column.key for column in cells.COLUMNS if column.sortable)

    def __init__(self, flows: FlowTable, maximum: Callable[[], int | None] = lambda: None) -> None:
        self._flows = flows
        self._maximum = maximum
        self._lexicon = Lexicon(flows.netns_label, flows.joins)
        self._orders = OrderCache(self._match, self._alive)
        self._groups = Groups((np.empty(0, np.uint64),), {})  # the last ones computed
        self._totals: dict[str, float] = {}  # the sums over all groups
        self._frozen_keys: tuple[Array, ...] = ()  # the keys when the order was made; a handle is an index into them
        self._indices: Rows = np.empty(0, np.intp)  # the index of each handle in `_groups`, -1 where it is gone
        self._filter: Filter | None = None  # of the last snapshot; applies to a group's detail

    @property
    def version(self) -> int:
        """A number that grows whenever the rows could differ."""
        return self._flows.version

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window of the groups that spec describes; UsageError for an unknown grouping or sort key."""
        by = grouping(spec.group)
        self._filter = spec.filter
        order = self._orders.current(spec, now_ns, self.version, wait_ns(self._flows.store.top))
        rows = lambda handles: self._drawn(by, self._indices[handles], spec)  # noqa: E731
        notes, version = order.note(spec, now_ns), self.version if spec.frozen else order.version
        anchor = self._handle(by, spec.anchor)
        return order.snapshot(spec, rows, len(self._groups), notes, version, anchor=anchor)

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        by = grouping(spec.group)
        rows = self._flows.matching(spec.filter, now_ns)
        data = self._flows.picked(rows)
        groups = self._groups = grouped(by.columns(data, self._lexicon), data)
        self._totals = cells.total_sums(groups)
        if frozen:
            self._indices = np.where(self._indices < 0, -1, indices_of(self._frozen_keys, groups.keys))
        else:
            self._frozen_keys, self._indices = groups.keys, np.arange(len(groups))
        counts = len(groups), len(self._flows), len(rows)
        totals = cells.totals_line(by.noun, *counts, spec.filter is not None, self._totals, self._maximum())

        def keys() -> list[Array]:
            return [column for key in spec.sort for column in self._sort_columns(by, groups, key)]

        return Match(np.arange(len(groups)), keys, totals=totals)

    def _alive(self, handles: Handles) -> NDArray[np.bool_]:
        return self._indices[handles] >= 0

    def _sort_columns(self, by: GroupBy, groups: Groups, key: SortKey) -> list[Array]:
        if key.key == "name":
            columns = groups.keys if not by.worded else (self._lexicon.ranks()[groups.keys[0]],)
            return [ascending(column, key.descending) for column in columns]
        if key.key not in self.sortable:
            raise UsageError(f"groups have no sort key {key.key!r}", "one of " + " ".join(self.sortable))
        return [ascending(groups.sums(cells.SUM_OF.get(key.key, key.key)), key.descending)]

    def _handle(self, by: GroupBy, anchor: int | None) -> int:
        """Return the index of a group in `_frozen_keys`; -1 where it is not there."""
        if anchor is None or not 0 <= anchor & (1 << _KIND_BITS) - 1 < len(_KINDS) or _split(anchor)[0] is not by:
            return -1
        key = [np.array([value], np.uint64) for value in _split(anchor)[1]]
        return int(indices_of(key, self._frozen_keys)[0])

    def _drawn(self, by: GroupBy, indices: Rows, spec: ViewSpec) -> tuple[Row, ...]:
        kind, maximum = _KINDS.index(spec.group or "source"), self._maximum()
        first = spec.sort[0].key if spec.sort else "name"
        shared = "flows" if first == "name" else cells.SUM_OF.get(first, first)  # SHARE is of what is sorted by
        sums = {name: self._groups.sums(name)[indices].tolist() for name in SUMS}
        drawn = []
        for at, key in enumerate(self._keys(indices)):
            own = {name: values[at] for name, values in sums.items()}
            found: list[Cell] = [
                by.name(key, self._lexicon) if name == "name" else cells.cell(name, own, self._totals, shared, maximum)
                for name in spec.columns
            ]
            drawn.append(Row.of(by.ident(key) << _KIND_BITS | kind, found))
        return tuple(drawn)

    def _keys(self, indices: Rows) -> list[GroupKey]:
        return list(zip(*(column[indices].tolist() for column in self._groups.keys), strict=True))

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the sums of a group and its largest flows; None when no flow that matches the last filter is left.

        A plain Detail (no GroupDetail) when the last filter is too long to be combined with the group's own.
        """
        by, key = _split(ident)
        title = ((by.title.lower() + " ", "key"), by.name(key, self._lexicon))
        own = self.filter_of(ident)
        text = own if self._filter is None else f"({self._filter.text}) and ({own})"
        try:
            rows = self._flows.matching(parse(text, "flow"), now_ns)
        except FilterError:
            return Detail(ident, title, ((("the filter is too long to be narrowed to a group", "warn"),),))
        if not len(rows):
            return None
        sums = cells.total_sums(grouped((np.zeros(len(rows), np.uint8),), self._flows.picked(rows)))
        keys = self._flows.sort_keys(rows, _MEMBER_SORT, now_ns)
        top = rows[first_rows(keys, min(_MEMBERS, len(rows)))]
        lines: tuple[Line, ...] = (
            *cells.sum_lines(sums, self._maximum()),
            detail_line("filter", text),
            (),
            ((f"  {len(top)} of {units.grouped(len(rows))} flows, the largest", "heading"),),
            *map(cells.member_line, self._flows.views(top)),
        )
        return GroupDetail(ident, title, lines, text)

    def filter_of(self, ident: int) -> str:
        """Return the display filter that selects exactly this group's flows."""
        by, key = _split(ident)
        return by.filter(key, self._lexicon)

    def json_lines(self, spec: ViewSpec, now_ns: int) -> Iterator[str]:
        """Yield the `group` objects of the groups that spec describes, one per line, without newlines."""
        by = grouping(spec.group)
        for key, values in self._summed(by, spec, now_ns):
            found = {"kind": "group", "by": spec.group or "source", "name": by.name(key, self._lexicon)[0]}
            sums = {
                name: None if value != value else round(value)
                for name, value in zip(cells.JSON_SUMS, values, strict=True)
            }
            yield dumps(found | sums | {"filter": by.filter(key, self._lexicon)}, ensure_ascii=False)

    def text_lines(self, spec: ViewSpec, now_ns: int) -> Iterator[str]:
        """Yield the same groups as plain lines: the name, then the sums that are known."""
        by = grouping(spec.group)
        for key, values in self._summed(by, spec, now_ns):
            sums = (
                f"{name} {value:.0f}" for name, value in zip(cells.JSON_SUMS, values, strict=True) if value == value
            )
            yield f"{by.name(key, self._lexicon)[0]:<24} {' '.join(sums)}"

    def _summed(self, by: GroupBy, spec: ViewSpec, now_ns: int) -> Iterator[tuple[GroupKey, list[float]]]:
        order = self._orders.current(spec, now_ns, self.version)
        indices = self._indices[order[visible(spec, len(order))]]
        sums = [self._groups.sums(cells.SUM_OF.get(name, name))[indices].tolist() for name in cells.JSON_SUMS]
        for key, *values in zip(self._keys(indices), *sums, strict=True):
            yield key, values


def grouping(name: str | None) -> GroupBy:
    """Return the grouping of this name; UsageError when there is none."""
    found = GROUP_BY.get(name or "source")
    if found is None:
        raise UsageError(f"flows cannot be grouped by {name!r}", "one of " + " ".join(GROUPS))
    return found


def _split(ident: int) -> tuple[GroupBy, GroupKey]:
    by = GROUP_BY[_KINDS[ident & (1 << _KIND_BITS) - 1]]
    return by, by.key(ident >> _KIND_BITS)
