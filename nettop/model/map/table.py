"""The table of the map: every namespace with its devices below it, as a tree that folds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields

import numpy as np

from nettop.batch import Array
from nettop.model.filter.expression import Filter
from nettop.model.findings import Finding
from nettop.model.map.detail import device_detail, namespace_detail
from nettop.model.map.idents import MapIdents
from nettop.model.map.rows import Known, MapRow, RowCells, addresses_by_device, fields, value
from nettop.model.table import Column, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.model.topology.device_words import closed_text
from nettop.model.topology.host_map import HostMap, NamespaceMap
from nettop.model.topology.tree import lower_of, tree_of
from nettop.model.window import Match, OrderCache, value_keys
from nettop.text.units import plural

MOST_FINDINGS = 3  # that have a line below the tree
_FINDINGS_NS = 5_000_000_000  # between two searches while no event has come
_SOON_NS, _REST_PER_COST = 500_000_000, 50  # after one: so long, or that much of what the last search cost
_MANY = 200  # devices from which namespaces are folded until they are opened, but for the one shown


_Made = tuple[NamespaceMap, int, list[MapRow]]  # with the layout that they are of


@dataclass(frozen=True, slots=True)
class MapSnapshot(Snapshot):
    """The window of the tree, with the first findings."""

    findings: tuple[Finding, ...] = ()


class MapTable:
    """The table model of the map. `here` returns the label of the shown namespace; `known` what else is known of one.

    The ident of a row is that of `idents`: also the drawing's and the lists'.
    """

    columns = (
        Column("name", "NETNS / DEVICE", 14, frozen=True, middle=True, preferred_width=18, grow=1, max_width=36),
        Column("address", "ADDRESS", 16, rank=2, preferred_width=16, grow=1, max_width=34),
        Column("kind", "KIND, MODE", 20, middle=True, whole=True, preferred_width=30, grow=2, max_width=60),
        Column("in", "IN", 7, right=True, rank=1),
        Column("out", "OUT", 7, right=True, rank=1),
        Column("drops", "DROP/s", 6, right=True, rank=4),
        Column("trend", "TREND", 10, rank=6, sortable=False),
        Column("mark", "!", 1, sortable=False),
        Column("mac", "MAC", 17, rank=5),
        Column("mtu", "MTU", 5, right=True, rank=4),
    )
    default_columns = ("name", "address", "kind", "in", "out", "drops", "trend", "mark")
    default_sort: tuple[SortKey, ...] = ()

    def __init__(
        self,
        hosts: HostMap,
        here: Callable[[], str],
        known: Known = lambda label: (),
        find: Callable[[], Sequence[Finding]] = lambda: (),
        rules_version: Callable[[], int] = lambda: 0,
    ) -> None:
        self.hosts, self.idents, self.here, self._known, self._find = hosts, MapIdents(), here, known, find
        self._rules_version = rules_version
        self._findings: list[tuple[Finding, int | None]] = []
        self._found_of = (-1, -1, -1)  # versions that the findings are of: rules, layout, all
        self._found_ns, self._rest_ns = -_FINDINGS_NS, 0
        self._orders = OrderCache(self._match)
        self._read: tuple[int, str] = (-1, "")  # version and place that `_all` is of
        self._all: list[MapRow] = []
        self._spaces: list[MapRow] = []  # those of them that are namespaces
        self._made: dict[str, _Made] = {}  # rows by label
        self.marks: Mapping[int, int] = {}  # number of findings by ident
        self._shown: dict[int, MapRow] = {}  # rows of the last order by ident
        self._opened = frozenset[str]()  # the label of the last row whose detail or lists were asked for
        self._found = 0  # of the filter
        self._marked: frozenset[int] = frozenset()  # idents that the filter matches, among those above them
        self._many = False  # there were that many once: no namespace folds or unfolds by itself around the limit

    @property
    def version(self) -> int:
        """The version, which grows whenever the table may look different."""
        return self.hosts.version

    def rows(self) -> list[MapRow]:
        """Return all rows, those of the shown namespace first, with nothing folded."""
        state = self.hosts.layout_version, self.here()
        if state != self._read:
            self._read = state
            spaces = sorted(self.hosts.namespaces(), key=lambda space: space.namespace.label != state[1])
            self._made = {space.namespace.label: self._rows_of(space) for space in spaces}
            self._all = [row for _, _, rows in self._made.values() for row in rows]
            self._spaces = [rows[0] for _, _, rows in self._made.values()]
        return self._all

    def _rows_of(self, space: NamespaceMap) -> _Made:
        made = self._made.get(space.namespace.label)
        if made is not None and made[0] is space and made[1] == space.layout_version:
            return made
        return space, space.layout_version, self._make_rows(space)

    def _make_rows(self, space: NamespaceMap) -> list[MapRow]:
        label, addresses = space.namespace.label, addresses_by_device(space)
        branches = tree_of(space.devices)
        found = [MapRow(self.idents.of(label), space, children=bool(branches))]
        for branch in branches:
            device, ident = space.devices[branch.ifindex], self.idents.of(label, branch.ifindex)
            own = addresses.get(branch.ifindex, ())
            found.append(MapRow(ident, space, device, branch.depth, branch.children, branch.last, addresses=own))
        return found

    def _visible(self, spec: ViewSpec) -> list[MapRow]:
        """Return the rows that the spec shows: a sorted table has devices only, a filtered one what is above them."""
        rows, self._marked = self.rows(), frozenset()
        if spec.filter is None:
            self._found = len(rows)
            return [row for row in rows if row.device] if spec.sort else self._folded(rows, spec.toggled)
        mask = spec.filter.mask(fields(rows, self.hosts))
        self._found = int(np.count_nonzero(mask))
        if spec.sort:
            return [row for row, hit in zip(rows, mask, strict=True) if hit and row.device]
        self._marked = frozenset(row.ident for row, hit in zip(rows, mask, strict=True) if hit)
        return _with_parents(rows, mask)

    def matching(self, display_filter: Filter) -> list[int]:
        """Return the idents of the rows that a filter matches."""
        rows = self.rows()
        return [row.ident for row, hit in zip(rows, display_filter.mask(fields(rows, self.hosts)), strict=True) if hit]

    def _folded(self, rows: Sequence[MapRow], toggled: frozenset[int]) -> list[MapRow]:
        self._many = self._many or len(rows) > _MANY
        here, shown = self.here(), list[MapRow]()
        hidden = -2  # depth of the folded row; -2: none is, -1: a namespace
        for row in rows:
            depth = -1 if row.device is None else row.depth
            if -2 < hidden < depth:
                continue
            shut = row.children and (row.ident in toggled) != (self._many and row.device is None and row.label != here)
            hidden = depth if shut else -2
            shown.append(replace(row, folded=True) if shut else row)
        return shown

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        shown = self._visible(spec)
        self._shown = {row.ident: row for row in shown}
        cells = self._cells()
        kinds = {row.ident: cells.cells(row)["kind"][0] for row in shown} if spec.sort else {}
        return Match(
            np.array([row.ident for row in shown], np.int64),
            lambda: value_keys(spec.sort, lambda key: [value(key, row, kinds[row.ident]) for row in shown]),
        )

    def _cells(self) -> RowCells:
        return RowCells(self.hosts, self.here(), self._known, self.marks)

    def findings(self, now_ns: int) -> Sequence[tuple[Finding, int | None]]:
        """Return what is probably wrong, with the ident of the row of each; None: it has none.

        They are less than a second old, but for what no event reports (sysctls).
        """
        now_ns = max(now_ns, self.hosts.read_ns)
        of = self._rules_version(), self.hosts.layout_version, self.version
        wait_ns = self._rest_ns if of[:2] != self._found_of[:2] else _FINDINGS_NS
        if of != self._found_of and not 0 <= now_ns - self._found_ns < wait_ns:
            began = time.thread_time_ns()
            self._found_of, self._found_ns = of, now_ns
            self._findings = [(one, self._ident_of(one)) for one in self._find()]
            self.marks = Counter(ident for _, ident in self._findings if ident is not None)
            self._rest_ns = max(_SOON_NS, _REST_PER_COST * (time.thread_time_ns() - began))
        return self._findings

    def _ident_of(self, found: Finding) -> int | None:
        place = dict(found.place)
        label, ifindex = place.get("netns"), place.get("ifindex") or 0
        return self.idents.of(label, ifindex) if isinstance(label, str) and isinstance(ifindex, int) else None

    def snapshot(self, spec: ViewSpec, now_ns: int) -> MapSnapshot:
        """Return the window of rows that spec describes."""
        found = self.findings(now_ns)
        by_values = spec.sort or spec.filter is not None
        order = self._orders.current(spec, now_ns, self.version if by_values else self.hosts.layout_version)
        cells = self._cells()

        def drawn(idents: Array) -> list[Row]:
            rows = [self._shown[ident] for ident in idents.tolist()]
            self.hosts.shown = self._opened.union(row.label for row in rows if row.device)
            made = list[Row]()
            for row in rows:
                texts = cells.cells(row, bool(spec.sort))
                found = [texts.get(key, ("", "")) for key in spec.columns]
                made.append(Row.of(row.ident, found, link=None if spec.sort else self._link(row.ident)))
            return [replace(row, marked=True) if row.ident in self._marked else row for row in made]

        made = order.snapshot(spec, drawn, len(self.rows()), self.notes(), self.version, totals=self.totals())
        first = tuple(one for one, _ in found[:MOST_FINDINGS])
        return MapSnapshot(**{each.name: getattr(made, each.name) for each in dataclass_fields(made)}, findings=first)

    def _link(self, ident: int) -> int | None:
        """Return the ident of the row that folds: itself, or the one above it."""
        row = self._shown[ident]
        if row.children or row.device is None:
            return ident if row.children else None
        master, label = row.device.link.master, row.label
        above = next((p for p in (master, lower_of(row.device)) if row.depth and p in row.namespace.devices), 0)
        return self.idents.of(label, above)

    def totals(self) -> Line:
        """Return the counts of rows."""
        rows, spaces = self.rows(), len(self._spaces)
        text = f"{plural(spaces, 'namespace')}, {plural(len(rows) - spaces, 'device')}"
        matching = f", {self._found} match" if self._found != len(rows) else ""
        wrong = plural(len(self._findings), "finding")
        more: Line = (("   ! ", "key"), (wrong, "warn")) if self._findings else ()
        return ((text + matching, "number"), *more)

    def notes(self) -> tuple[Line, ...]:
        """Return how many namespaces cannot be entered."""
        closed = [space for space in self._spaces if closed_text(space.namespace.namespace)]
        return (((f"{plural(len(closed), 'namespace')} cannot be entered", "warn"),),) if closed else ()

    def place(self, ident: int) -> tuple[NamespaceMap, int] | None:
        """Return the namespace and the ifindex of a row (0: the namespace itself); None: it is gone."""
        label, ifindex = self.idents.place(ident) or ("", -1)
        self._opened = frozenset((label,))
        space = self.hosts.of(label)
        return None if space is None or (ifindex and ifindex not in space.devices) else (space, ifindex)

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return the detail of a device or a namespace."""
        place = self.place(ident)
        if place is None:
            return None
        space, ifindex = place
        here = space.namespace.label == self.here()
        found = [one.summary for one, of in self._findings if of == ident]
        if not ifindex:
            return namespace_detail(space, ident, here, found)
        return device_detail(self.hosts, space, space.devices[ifindex], ident, here, found)


def _with_parents(rows: Sequence[MapRow], mask: Array) -> list[MapRow]:
    """Return the rows that match, and those above them."""
    found: list[MapRow] = []
    depth = -1  # rows above this depth are missing above the one kept last
    for row, hit in zip(reversed(rows), reversed(mask.tolist()), strict=True):
        own = -1 if row.device is None else row.depth
        if hit or own < depth:
            found.append(row)
            depth = own
    return found[::-1]
