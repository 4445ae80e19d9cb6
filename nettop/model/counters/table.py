"""The table of counters: readings of every kind by name, their sums over CPUs, their rates, and what may be reset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

import numpy as np

from nettop.batch import DumpMark, Gap
from nettop.broker.requests import CounterName
from nettop.decode.conntrack.statistics import ConntrackStats
from nettop.decode.net_statistics import NetStatistics
from nettop.decode.nfacct import NfacctDecoded
from nettop.decode.nftables.decoder import NftDecoded
from nettop.decode.nftables.sets import NftSetsDecoded
from nettop.decode.sysctls import SysctlValues
from nettop.model.counters import readings
from nettop.model.counters.cells import COLUMNS, DEFAULT_COLUMNS, cell, detail_lines, place, sort_value
from nettop.model.counters.lines import json_line, text_line
from nettop.model.counters.meanings import LOST_MEANING
from nettop.model.counters.readings import CONNTRACK, EXPECT, LEDGER, NFT_ELEMENT, NFT_SET, TABLE
from nettop.model.counters.series import WRAP64, About, Key, Reading, Series
from nettop.model.counters.sets import ElementReading, SetCourses
from nettop.model.ledger import LedgerRow, summed
from nettop.model.table import Column, CounterDetail, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.model.window import Match, Orders, value_keys, visible
from nettop.text import units
from nettop.text.sanitize import clean

__all__ = ["CONNTRACK", "EXPECT", "LEDGER", "TABLE", "CounterTable", "Key"]

_SECOND = 1_000_000_000
MOST = 100_000  # counters in the table, 2 kB each: ten times what a host with thousands of objects and CPUs has
# DumpMark.what → the groups that such a dump lists in full: what it does not show is gone.
_LISTED = {
    "nft-objects": (readings.NFT_COUNTER, readings.NFT_QUOTA, readings.NFT_LIMIT),
    "nfacct": (readings.NFACCT,),
    "nft-sets": (NFT_SET,),
}
Decoded = ConntrackStats | NftDecoded | NftSetsDecoded | NfacctDecoded | NetStatistics | SysctlValues


class CounterTable:
    """A TableModel of counters. Each reading gives a value and, from the second on, a change and a rate."""

    columns: Sequence[Column] = COLUMNS
    default_columns: tuple[str, ...] = DEFAULT_COLUMNS
    default_sort: tuple[SortKey, ...] = ()

    def __init__(
        self,
        netns_label: Callable[[int], str] = lambda code: "",
        most: int = MOST,
        namespaces: Sequence[str] = (),  # in the order in which they are shown; it may grow
    ) -> None:
        self.version = 0
        self.left_out = 0  # readings of counters that had no room
        self._most = most
        self._netns_label = netns_label
        self._namespaces = namespaces
        self._series: dict[Key, Series] = {}
        self._groups: dict[tuple[str, str], set[Key]] = {}  # (namespace, group) → its series
        self._cpus: dict[Key, dict[int, Series]] = {}  # the parts of each sum
        self._listing: dict[tuple[str, str], set[Key]] = {}  # (namespace, what) → what the dump under way has shown
        self._sets: dict[str, SetCourses] = {}  # by namespace
        self._objects = readings.ObjectReadings()
        self._idents = count(1)
        self._orders = Orders(self._match)
        self._shown: dict[int, Series] = {}  # by identity

    # -- what comes in -------------------------------------------------------------------------------------------

    def apply(self, item: Decoded | DumpMark | Gap, netns: int, now_ns: int) -> None:
        """Take in what a decoder says of the namespace with this code, read at `now_ns` where it does not say when."""
        label = self._netns_label(netns)
        if isinstance(item, DumpMark):
            self._mark(label, item)
        elif isinstance(item, ConntrackStats):
            self._conntrack(label, item)
        elif isinstance(item, NftDecoded):
            self._read(label, self._objects(item.objects), now_ns)
        elif isinstance(item, NftSetsDecoded):
            self._take_sets(label, item)
        elif isinstance(item, NfacctDecoded):
            self._read(label, readings.nfacct_objects(item.objects), item.ts_ns)
        elif isinstance(item, NetStatistics):
            self._statistics(label, item)
        elif isinstance(item, SysctlValues):
            self.put_sysctls(item.values, netns, item.ts_ns)

    def put_sysctls(self, values: Mapping[str, str], netns: int, ts_ns: int) -> None:
        """The limits that sysctls name (`net.netfilter.nf_conntrack_expect_max`, …)."""
        label = self._netns_label(netns)
        found = {name: _number(values.get(f"net.netfilter.nf_conntrack_{name}")) for name in ("expect_max", "buckets")}
        if found["expect_max"] is not None:
            self._one(label, readings.expectation_limit(found["expect_max"]), ts_ns)
            self._expectations(label)
        if found["buckets"] is not None:
            self._one(label, readings.bucket_use(found["buckets"], self.table_use(label)[0]), ts_ns)
        self.version += 1

    def put(self, key: Key, value: int | None, ts_ns: int, wrap: int | None = None) -> None:
        """A reading of any other counter."""
        self._one(key.netns, Reading(key.group, key.name, value, wrap, key.cpu), ts_ns)
        self.version += 1

    def put_ledger(self, rows: Iterable[LedgerRow], now_ns: int) -> None:
        """Our own losses, as a group beside the kernel's; streams of one name (one was begun anew) are one counter."""
        for row in summed(rows):
            if not row.seen and not row.lost and not row.unknown:
                continue
            name, lossy = clean(row.name), bool(row.lost or row.unknown or row.unreadable)
            words = f"records seen = {row.equation().partition(' = ')[2]}"
            about = About(_where_to(row), "records", alarming=lossy, more=words)
            self._one(row.netns, Reading(LEDGER, name, row.seen, WRAP64, about=about), now_ns)
            if lossy:
                lost = About(LOST_MEANING, unit="records", alarming=True)
                self._one(row.netns, Reading(LEDGER, f"{name} lost", row.lost, WRAP64, about=lost), now_ns)
            self.version += 1

    def forget(self, netns: str) -> None:
        """The namespace is gone."""
        self._drop(key for of, keys in self._groups.items() if of[0] == netns for key in keys)
        self._sets.pop(netns, None)

    def _conntrack(self, netns: str, item: ConntrackStats) -> None:
        sums = set()
        for ts_ns, reading in readings.conntrack_cpus(item):
            sums.add(self._part(netns, reading, ts_ns))
        self._sum(sums)
        if item.expect_cpus:
            self._expectations(netns)
        for table in item.tables:
            for reading in readings.table_use(table.entries, table.max_entries):
                self._one(netns, reading, table.ts_ns)
        self.version += 1

    def _statistics(self, netns: str, item: NetStatistics) -> None:
        self._read(netns, readings.net_statistics(item), item.ts_ns)
        for group, listed in ((readings.NFQUEUE, item.queues), (readings.NFLOG, item.logs)):
            if listed is not None:
                self._drop_older(netns, group, item.ts_ns)

    def _drop_older(self, netns: str, group: str, ts_ns: int) -> None:
        self._drop(key for key in self._groups.get((netns, group), ()) if self._series[key].ts_ns < ts_ns)

    def _read(self, netns: str, found: Iterable[Reading], ts_ns: int) -> None:
        sums = set()
        for reading in found:
            if reading.cpu is None:
                self._one(netns, reading, ts_ns)
            else:
                sums.add(self._part(netns, reading, ts_ns))
            self.version += 1
        self._sum(sums)

    def _one(self, netns: str, reading: Reading, ts_ns: int) -> Series:
        key = Key(netns, reading.group, reading.name, reading.cpu)
        series = self._of(key)
        series.read(reading, ts_ns)
        for what, groups in _LISTED.items():
            if key.group in groups and (netns, what) in self._listing:
                self._listing[netns, what].add(key)
        return series

    def _part(self, netns: str, reading: Reading, ts_ns: int) -> Key:
        """Takes in what one CPU counted; the key of the sum that this changes."""
        part = self._one(netns, reading, ts_ns)
        whole = part.key._replace(cpu=None)
        if part.key in self._series:
            self._cpus.setdefault(whole, {})[part.key.cpu or 0] = part
        return whole

    def _sum(self, keys: Iterable[Key]) -> None:
        for key in keys:
            parts = list(self._cpus.get(key, {}).values())
            if parts:
                self._of(key).sum_of(parts)

    def _expectations(self, netns: str) -> None:
        """How many stand now follows from what was made and what went."""
        made, gone = (self._series.get(Key(netns, EXPECT, name)) for name in ("create", "delete"))
        limit = self._series.get(Key(netns, TABLE, "max_expectations"))
        if made is not None and gone is not None and made.value is not None and gone.value is not None:
            most = None if limit is None else limit.value
            self._one(netns, readings.expectation_use(made.value, gone.value, most), made.ts_ns)

    def _take_sets(self, netns: str, item: NftSetsDecoded) -> None:
        courses = self._sets.setdefault(netns, SetCourses())
        for found in item.sets:
            courses.take_set(found)
        for of, part in item.elements:
            courses.take_elements(of, part)

    def _mark_sets(self, netns: str, mark: DumpMark) -> None:
        courses, elements = self._sets.setdefault(netns, SetCourses()), mark.what == "nft-elements"
        if mark.begin:
            courses.begin(elements)
        elif elements:
            self._elements(netns, courses.end_elements(mark.complete, mark.ts_ns))
        else:
            self._read(netns, courses.end_listing(mark.complete), mark.ts_ns)
        for reading in courses.settled():
            self._describe(netns, reading, mark.ts_ns)
        self._drop(Key(netns, NFT_ELEMENT, name) for name in courses.gone())

    def _describe(self, netns: str, reading: Reading, ts_ns: int) -> None:
        """Other words for a set; its value is its listing's, where that has one."""
        series = self._of(Key(netns, reading.group, reading.name))
        if series.value is None:
            series.read(reading, ts_ns)
        series.about = reading.about or series.about

    def _elements(self, netns: str, found: Iterable[ElementReading]) -> None:
        for each in found:
            if each.before is not None and Key(netns, NFT_ELEMENT, each.now.name) not in self._series:
                self._one(netns, each.before, each.before_ns)
            self._one(netns, each.now, each.ts_ns)
            self.version += 1

    def _mark(self, netns: str, mark: DumpMark) -> None:
        if mark.what in ("nft-sets", "nft-elements"):
            self._mark_sets(netns, mark)
        if mark.what not in _LISTED:
            return
        if mark.begin:
            self._listing[netns, mark.what] = set()
            self._objects.forget()
            return
        shown = self._listing.pop((netns, mark.what), None)
        if mark.complete and shown is not None:
            for group in _LISTED[mark.what]:
                self._drop(self._groups.get((netns, group), set()) - shown)

    def _drop(self, gone: Iterable[Key]) -> None:
        leaving = [key for key in gone if key in self._series]
        for key in leaving:
            del self._series[key]
            self._groups[key.netns, key.group].discard(key)
            self._cpus.pop(key, None)
        self.version += bool(leaving)

    def _of(self, key: Key) -> Series:
        series = self._series.get(key)
        if series is None and len(self._series) >= self._most:
            self.left_out += 1
            return Series(key=key)  # for nobody
        if series is None:
            series = self._series[key] = Series(key=key, ident=next(self._idents))
            self._groups.setdefault((key.netns, key.group), set()).add(key)
        return series

    # -- what goes out -------------------------------------------------------------------------------------------

    def table_use(self, netns: str) -> tuple[int | None, int | None]:
        """Entries and their limit of a namespace's conntrack table; None where not known."""
        entries, limit = (self._series.get(Key(netns, TABLE, name)) for name in ("entries", "max_entries"))
        return None if entries is None else entries.value, None if limit is None else limit.value

    def reset_name(self, ident: int) -> CounterName | None:
        """What the broker's reset_counter wants for the row with this identity; None: it cannot be reset."""
        series = self._by_ident(ident)
        return None if series is None else series.about.resets

    def rows(self, per_cpu: bool = False) -> list[Series]:
        """The counters in the table's own order; the parts of sums too, if wanted."""
        chosen = (series for series in self._series.values() if per_cpu or series.key.cpu is None)
        order = {netns: at for at, netns in enumerate(self._namespaces)}
        return sorted(chosen, key=lambda series: (order.get(series.key.netns, len(order)), place(series)))

    def json_lines(self) -> Iterator[str]:
        """The contract's `counter` objects: sums have `cpu` null, their parts follow with the CPU's number."""
        return (json_line(series) for series in self.rows(per_cpu=True))

    def text_lines(self) -> Iterator[str]:
        """Plain lines: group, name, value, rate, meaning."""
        return (text_line(series) for series in self.rows())

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window that spec describes; display filters do not apply to counters."""
        order = self._orders.current(spec, now_ns, self.version)
        part = visible(spec, len(order))
        return Snapshot(
            spec,
            part.start,
            tuple(_row(self._shown[ident], spec.columns) for ident in order[part].tolist()),
            len(order),
            len(order),
            order.place_of(spec.anchor),
            self._totals(now_ns),
            (),
            now_ns,
            self.version,
        )

    def _match(self, spec: ViewSpec, now_ns: int, held: bool) -> Match:
        rows = self.rows()
        self._shown = {series.ident: series for series in rows}
        return Match(
            np.array(list(self._shown), np.int64),
            lambda: value_keys(spec.sort, lambda key: [sort_value(series, key) for series in rows]),
        )

    def _totals(self, now_ns: int) -> Line:
        newest = max((series.ts_ns for series in self._shown.values()), default=0)
        age = f"   read {max(0, now_ns - newest) / _SECOND:.1f} s ago" if self._shown else ""
        left_out = f"   there were more than {units.grouped(self._most)}: some are left out" if self.left_out else ""
        return (f"{len(self._shown)} counters", "heading"), (age, "dim"), *(((left_out, "warn"),) if left_out else ())

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """Return one counter with its meaning, its history, and its parts by CPU; None when it is gone."""
        series = self._by_ident(ident)
        if series is None:
            return None
        title = ((f"{series.key.group} ", "dim"), (series.key.name, "heading"))
        lines = detail_lines(series, self._cpus.get(series.key, {}))
        return CounterDetail(ident, title, tuple(lines), series.about.resets is not None)

    def _by_ident(self, ident: int) -> Series | None:
        return next((series for series in self._series.values() if series.ident == ident), None)


def _row(series: Series, columns: Sequence[str]) -> Row:
    return Row.of(series.ident, [cell(series, key) for key in columns])


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and text.isascii() and len(text) <= 20 else None


def _where_to(account: LedgerRow) -> str:
    """Where a stream's records went, the terms that are not 0; the detail has the whole equation."""
    terms = (
        ("filtered", account.filtered),
        ("lost by the kernel", account.kernel),
        ("lost in the queue", account.queue),
        ("evicted", account.evicted),
        ("unreadable", account.unreadable),
        ("in flight", account.in_flight),
    )
    rest = [f"{name} {units.grouped(number)}" for name, number in terms if number]
    rest += [f"{account.unknown} losses of unknown size"] if account.unknown else []
    return (
        " + ".join([f"= shown {units.grouped(account.shown)}", *rest]) if rest else "records of this stream, all shown"
    )
