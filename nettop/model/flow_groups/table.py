"""Flows grouped by source, service, NAT address and so on: who eats the bandwidth, who holds the table.

Groups are made anew at most once a second from all flows that match, and keep their order while it is frozen. What a
group is follows from its key (flow_group_keys), so that the cursor stays on it however its flows come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from json import dumps
from typing import Any

import numpy as np

from nettop.batch import Array
from nettop.errors import FilterError, UsageError
from nettop.model.filter.expression import Filter, parse
from nettop.model.flow_groups.aggregate import SUMS, Groups, grouped, places_of
from nettop.model.flow_groups.cells import (
    COLUMNS,
    DEFAULT_COLUMNS,
    JSON_SUMS,
    SUM_OF,
    cell,
    member_lines,
    sum_lines,
    totals_line,
    whole_of,
)
from nettop.model.flow_groups.keys import GROUP_BY, GROUPS, GroupBy, Key, Lexicon
from nettop.model.flows.cells import Cell
from nettop.model.flows.index import Rows
from nettop.model.flows.snapshots import RESORT_NS, SMALL, SMALL_NS, first_shown, held_note
from nettop.model.flows.table import FlowTable
from nettop.model.ordering import ascending, first_rows
from nettop.model.table import Column, Detail, GroupDetail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.text import units

__all__ = ["GROUPS", "FlowGroups"]

_MEMBERS = 10  # flows that a group's detail names
_MEMBER_SORT = (SortKey("rate"), SortKey("bytes"), SortKey("packets"))
_KINDS = tuple(GROUP_BY)
_KIND_BITS = 4  # the lowest of an identity: which grouping it is of


@dataclass(slots=True)
class _Held:
    """The groups that are shown, in the order they were given."""

    key: tuple[Any, ...]  # filter, grouping and sort
    groups: Groups
    whole: dict[str, float]  # all groups' sums together
    places: Rows  # into groups, in order
    totals: Line
    made_ns: int  # the order
    summed_ns: int  # the sums
    version: int  # the table's when the order was made
    more: int = 0  # groups that came since and do not stand in the order


class FlowGroups:
    """A TableModel over a FlowTable; ViewSpec.group says by what, "source" where it says nothing.

    `maximum` gives nf_conntrack_max, None where it is not known.
    """

    columns: Sequence[Column] = COLUMNS
    default_columns: tuple[str, ...] = DEFAULT_COLUMNS
    default_sort: tuple[SortKey, ...] = (SortKey("rate"), SortKey("flows"))
    sortable: tuple[str, ...] = tuple(column.key for column in COLUMNS if column.sortable)

    def __init__(self, flows: FlowTable, maximum: Callable[[], int | None] = lambda: None) -> None:
        self._flows = flows
        self._maximum = maximum
        self._lexicon = Lexicon(flows.netns_label, flows.joins)
        self._held: _Held | None = None
        self._filter: Filter | None = None  # of the last snapshot: a group's detail keeps to it

    @property
    def version(self) -> int:
        """Grows whenever what is shown could differ."""
        return self._flows.version

    # -- the table -----------------------------------------------------------------------------------------------

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window of the groups that spec describes; UsageError for a grouping or a sort key that is none."""
        by = grouping(spec.group)
        self._filter = spec.filter
        held = self._current(by, spec, now_ns)
        first = first_shown(spec, len(held.places))
        return Snapshot(
            spec,
            first,
            self._drawn(by, held, held.places[first : first + spec.height], spec),
            len(held.places),
            len(held.groups),
            self._anchor(by, held, spec.anchor),
            held.totals,
            held_note(spec.frozen and len(held.places) > 0, held.made_ns, held.more, now_ns),
            now_ns,
            self.version if spec.frozen else held.version,
        )

    def _current(self, by: GroupBy, spec: ViewSpec, now_ns: int) -> _Held:
        key = (None if spec.filter is None else spec.filter.text, by.title, spec.sort)
        held = self._held
        if held is None or held.key != key or not self._stands(held, spec, now_ns):
            held = self._made(key, by, spec, now_ns)
        elif spec.frozen and held.version != self.version and not 0 <= now_ns - held.summed_ns < RESORT_NS:
            held = self._renewed(held, by, spec, now_ns)
        self._held = held
        return held

    def _stands(self, held: _Held, spec: ViewSpec, now_ns: int) -> bool:
        if spec.frozen or held.version == self.version:
            return True
        return 0 <= now_ns - held.made_ns < (SMALL_NS if self._flows.store.top <= SMALL else RESORT_NS)

    def _made(self, key: tuple[Any, ...], by: GroupBy, spec: ViewSpec, now_ns: int) -> _Held:
        rows = self._flows.matching(spec.filter, now_ns)
        groups = self._groups(by, rows)
        whole = whole_of(groups)
        places = self._order(by, groups, spec.sort)
        totals = self._totals(by, groups, whole, len(rows), spec)
        return _Held(key, groups, whole, places, totals, now_ns, now_ns, self.version)

    def _renewed(self, held: _Held, by: GroupBy, spec: ViewSpec, now_ns: int) -> _Held:
        """The same order with what the groups add up to now; groups that are gone leave it."""
        new = self._made(held.key, by, replace(spec, sort=()), now_ns)
        known = places_of([column[held.places] for column in held.groups.keys], new.groups.keys)
        if not (known >= 0).any():
            return self._made(held.key, by, spec, now_ns)  # nothing is left of it
        new.places = known[known >= 0]
        new.more, new.made_ns, new.version = len(new.groups) - len(new.places), held.made_ns, held.version
        return new

    def _groups(self, by: GroupBy, rows: Rows) -> Groups:
        data = self._flows.picked(rows)
        return grouped(by.columns(data, self._lexicon), data)

    def _order(self, by: GroupBy, groups: Groups, sort: Sequence[SortKey]) -> Rows:
        """All places in order; where all sort keys are equal, by the group's own key."""
        keys = [column for key in sort for column in self._sort_columns(by, groups, key)]
        return first_rows(keys, len(groups)) if keys else np.arange(len(groups))

    def _sort_columns(self, by: GroupBy, groups: Groups, key: SortKey) -> list[Array]:
        if key.key == "name":
            columns = groups.keys if not by.worded else (self._lexicon.ranks()[groups.keys[0]],)
            return [ascending(column, key.descending) for column in columns]
        if key.key not in self.sortable:
            raise UsageError(f"nothing to sort groups by is called {key.key!r}", "one of " + " ".join(self.sortable))
        return [ascending(groups.sums(SUM_OF.get(key.key, key.key)), key.descending)]

    def _totals(self, by: GroupBy, groups: Groups, whole: dict[str, float], matched: int, spec: ViewSpec) -> Line:
        filtered = spec.filter is not None
        return totals_line(by.noun, len(groups), len(self._flows), matched, filtered, whole, self._maximum())

    def _anchor(self, by: GroupBy, held: _Held, anchor: int | None) -> int | None:
        if anchor is None or not 0 <= anchor & (1 << _KIND_BITS) - 1 < len(_KINDS) or _split(anchor)[0] is not by:
            return None
        key = _split(anchor)[1]
        wanted = [np.array([value], np.uint64) for value in key]
        place = places_of(wanted, held.groups.keys)[0]
        shown = (held.places == place).nonzero()[0]
        return int(shown[0]) if len(shown) else None

    def _drawn(self, by: GroupBy, held: _Held, places: Rows, spec: ViewSpec) -> tuple[Row, ...]:
        shared, maximum = _shared(spec.sort), self._maximum()
        sums = {name: held.groups.sums(name)[places].tolist() for name in SUMS}
        drawn = []
        for at, key in enumerate(self._keys(held.groups, places)):
            mine = {name: values[at] for name, values in sums.items()}
            cells: list[Cell] = [
                by.name(key, self._lexicon) if column == "name" else cell(column, mine, held.whole, shared, maximum)
                for column in spec.columns
            ]
            drawn.append(Row(_ident(by, key), tuple(text for text, _ in cells), tuple(role for _, role in cells)))
        return tuple(drawn)

    @staticmethod
    def _keys(groups: Groups, places: Rows) -> list[Key]:
        return list(zip(*(column[places].tolist() for column in groups.keys), strict=True))

    # -- one group -----------------------------------------------------------------------------------------------

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the sums of a group and its largest flows; None when none (that matches the last filter) is left.

        A plain Detail says that the last filter leaves no room for the group's own.
        """
        by, key = _split(ident)
        title = ((by.title.lower() + " ", "key"), by.name(key, self._lexicon))
        text = self.drill(ident)
        try:
            rows = self._flows.matching(parse(text, "flow"), now_ns)
        except FilterError:
            return Detail(ident, title, ((("the filter is too long to be narrowed to a group", "warn"),),))
        if not len(rows):
            return None
        sums = whole_of(grouped((np.zeros(len(rows), np.uint8),), self._flows.picked(rows)))
        keys = self._flows.sort_keys(rows, _MEMBER_SORT, now_ns)
        top = rows[first_rows(keys, min(_MEMBERS, len(rows)))]
        lines: tuple[Line, ...] = (
            *sum_lines(sums, self._maximum()),
            (("  filter    ", "key"), (text, "")),
            (),
            ((f"  {len(top)} of {units.grouped(len(rows))} flows, the largest", "heading"),),
            *member_lines(self._flows.views(top)),
        )
        return GroupDetail(ident, title, lines, text)

    def filter_of(self, ident: int) -> str:
        """The display filter that selects exactly this group's flows."""
        by, key = _split(ident)
        return by.filter(key, self._lexicon)

    def drill(self, ident: int) -> str:
        """filter_of within the filter of the last snapshot: the flows that the group's row has counted."""
        own = self.filter_of(ident)
        return own if self._filter is None else f"({self._filter.text}) and ({own})"

    # -- the command line ----------------------------------------------------------------------------------------

    def json_lines(self, spec: ViewSpec, now_ns: int) -> Iterator[str]:
        """The contract's `group` objects of the groups that spec describes, one a line, without newlines."""
        by = grouping(spec.group)
        for key, values in self._summed(by, spec, now_ns):
            found = {"kind": "group", "by": spec.group or "source", "name": by.name(key, self._lexicon)[0]}
            told = {
                name: None if value != value else round(value) for name, value in zip(JSON_SUMS, values, strict=True)
            }
            yield dumps(found | told | {"filter": by.filter(key, self._lexicon)}, ensure_ascii=False)

    def text_lines(self, spec: ViewSpec, now_ns: int) -> Iterator[str]:
        """The same groups as plain lines: the name, then what is known."""
        by = grouping(spec.group)
        for key, values in self._summed(by, spec, now_ns):
            told = (f"{name} {value:.0f}" for name, value in zip(JSON_SUMS, values, strict=True) if value == value)
            yield f"{by.name(key, self._lexicon)[0]:<24} {' '.join(told)}"

    def _summed(self, by: GroupBy, spec: ViewSpec, now_ns: int) -> Iterator[tuple[Key, list[float]]]:
        held = self._current(by, spec, now_ns)
        first = first_shown(spec, len(held.places))
        places = held.places[first : first + spec.height]
        sums = [held.groups.sums(SUM_OF.get(name, name))[places].tolist() for name in JSON_SUMS]
        for key, *values in zip(self._keys(held.groups, places), *sums, strict=True):
            yield key, values


def grouping(name: str | None) -> GroupBy:
    """The grouping of this name; UsageError when there is none."""
    found = GROUP_BY.get(name or "source")
    if found is None:
        raise UsageError(f"flows cannot be grouped by {name!r}", "one of " + " ".join(GROUPS))
    return found


def _ident(by: GroupBy, key: Key) -> int:
    kind = next(n for n, name in enumerate(_KINDS) if GROUP_BY[name] is by)
    return by.ident(key) << _KIND_BITS | kind


def _split(ident: int) -> tuple[GroupBy, Key]:
    by = GROUP_BY[_KINDS[ident & (1 << _KIND_BITS) - 1]]
    return by, by.key(ident >> _KIND_BITS)


def _shared(sort: Sequence[SortKey]) -> str:
    """The sum that SHARE is of: what is sorted by, else the flows."""
    key = SUM_OF.get(sort[0].key, sort[0].key) if sort else "flows"
    return "flows" if key == "name" else key
