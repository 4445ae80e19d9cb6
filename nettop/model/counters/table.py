"""The table of counters: readings by name, their sums over CPUs, their rates, and how to reset them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import compress, count

import numpy as np

from nettop.batch import DumpMark, Gap
from nettop.broker.requests import CounterName
from nettop.decode.conntrack.statistics import ConntrackStats
from nettop.decode.drops import DropCounts
from nettop.decode.net_statistics import NetStatistics
from nettop.decode.nfacct import NfacctDecoded
from nettop.decode.nftables.decoder import NftDecoded
from nettop.decode.nftables.sets import NftSetsDecoded
from nettop.decode.sysctls import SysctlValues
from nettop.model.counters import readings
from nettop.model.counters.cells import COLUMNS, DEFAULT_COLUMNS, cell, detail_lines, is_quiet, order_key, sort_value
from nettop.model.counters.drops import DROP, drop_readings
from nettop.model.counters.meanings import LOST_MEANING
from nettop.model.counters.readings import EXPECT, LEDGER, NFT_ELEMENT, NFT_SET, TABLE, table_reading
from nettop.model.counters.series import WRAP32, WRAP64, About, CounterKey, Reading, Series
from nettop.model.counters.sets import ElementReading, SetCounters
from nettop.model.filter.fields import ListedFields
from nettop.model.ledger import LedgerRow, summed
from nettop.model.table import Column, CounterDetail, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.model.window import Match, OrderCache, value_keys
from nettop.text import units
from nettop.text.sanitize import clean

_SECOND = 1_000_000_000
MAX_COUNTERS = 100_000  # in the table, 2 kB each: ten times as many as a host with thousands of objects and CPUs has
# DumpMark.what → the groups that such a dump lists in full: counters that it does not have are removed.
_LISTED = {
    "nft-objects": (readings.NFT_COUNTER, readings.NFT_QUOTA, readings.NFT_LIMIT),
    "nfacct": (readings.NFACCT,),
    "nft-sets": (NFT_SET,),
}
Decoded = ConntrackStats | NftDecoded | NftSetsDecoded | NfacctDecoded | NetStatistics | DropCounts | SysctlValues


class CounterTable:
    """A TableModel of counters. From its second reading on a counter has a change and a rate."""

    columns: Sequence[Column] = COLUMNS
    default_columns: tuple[str, ...] = DEFAULT_COLUMNS
    default_sort: tuple[SortKey, ...] = ()

    def __init__(
        self,
        netns_label: Callable[[int], str] = lambda code: "",
        max_counters: int = MAX_COUNTERS,
        namespaces: Sequence[str] = (),  # in the order in which they are shown; it may grow
    ) -> None:
        self.version = 0
        self.left_out = 0  # readings of counters beyond max_counters
        self._max_counters = max_counters
        self._netns_label = netns_label
        self._namespaces = namespaces
        self._series: dict[CounterKey, Series] = {}
        self._groups: dict[tuple[str, str], set[CounterKey]] = {}  # (namespace, group) → its series
        self._cpus: dict[CounterKey, dict[int, Series]] = {}  # the parts of each sum
        self._listing: dict[tuple[str, str], set[CounterKey]] = {}  # (namespace, what) → keys in the open dump
        self._sets: dict[str, SetCounters] = {}  # by namespace
        self._objects = readings.ObjectReadings()
        self._idents = count(1)
        self._orders = OrderCache(self._match)
        self._shown: dict[int, Series] = {}  # by identity
        self._hidden = 0  # counters that are 0 and not shown

    def apply(self, item: Decoded | DumpMark | Gap, netns: int, now_ns: int) -> None:
        """Apply decoded counters of a namespace (its code), read at `now_ns` where the item has no time."""
        label = self._netns_label(netns)
        if isinstance(item, DumpMark):
            self._mark(label, item)
        elif isinstance(item, ConntrackStats):
            self._conntrack(label, item)
        elif isinstance(item, NftDecoded):
            self._read(label, self._objects(item.objects), now_ns)
        elif isinstance(item, NftSetsDecoded):
            self._add_sets(label, item)
        elif isinstance(item, NfacctDecoded):
            self._read(label, readings.nfacct_objects(item.objects), item.ts_ns)
        elif isinstance(item, NetStatistics):
            self._statistics(label, item)
        elif isinstance(item, DropCounts):
            self._drops(label, item)
        elif isinstance(item, SysctlValues):
            self.put_sysctls(item.values, netns, item.ts_ns)

    def put_sysctls(self, values: Mapping[str, str], netns: int, ts_ns: int) -> None:
        """Apply the limits in sysctls (`net.netfilter.nf_conntrack_expect_max`, …)."""
        label = self._netns_label(netns)
        found = {name: _number(values.get(f"net.netfilter.nf_conntrack_{name}")) for name in ("expect_max", "buckets")}
        if found["expect_max"] is not None:
            self._one(label, table_reading("max_expectations", found["expect_max"], "expectations"), ts_ns)
            self._expectations(label)
        if (buckets := found["buckets"]) is not None:
            entries = self.table_use(label)[0]
            mean = f"{2 * entries / buckets:.2f}" if entries is not None and buckets else ""
            note = f"; chains of {mean} from this namespace alone" if mean else ""
            self._one(label, table_reading("buckets", buckets, "buckets", note=note), ts_ns)
        self.version += 1

    def put_ledger(self, rows: Iterable[LedgerRow], now_ns: int) -> None:
        """Apply nettop's own losses as a group. Streams with the same name (one was restarted) are one counter."""
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

    def _conntrack(self, netns: str, item: ConntrackStats) -> None:
        sums = set()
        for ts_ns, reading in readings.conntrack_cpus(item):
            sums.add(self._part(netns, reading, ts_ns))
        self._sum(sums)
        if item.expect_cpus:
            self._expectations(netns)
        for table in item.tables:
            if table.entries is not None:
                self._one(netns, table_reading("entries", table.entries, limit=table.max_entries), table.ts_ns)
            if table.max_entries is not None:
                self._one(netns, table_reading("max_entries", table.max_entries), table.ts_ns)
        self.version += 1

    def _statistics(self, netns: str, item: NetStatistics) -> None:
        self._read(netns, readings.net_statistics(item), item.ts_ns)
        for group, listed in ((readings.NFQUEUE, item.queues), (readings.NFLOG, item.logs)):
            if listed is not None:
                known = self._groups.get((netns, group), ())
                self._drop(key for key in known if self._series[key].ts_ns < item.ts_ns)

    def _drops(self, netns: str, item: DropCounts) -> None:
        """Apply the drops by reason. A reason that is new was 0 at the last reading, or when counting began."""
        found, known = list(drop_readings(item)), self._groups.get((netns, DROP), set())
        began_ns = max((self._series[key].ts_ns for key in known), default=item.since_ns)
        new = [one for one in found if CounterKey(netns, DROP, one.name) not in known and began_ns < item.ts_ns]
        self._read(netns, [replace(one, value=0) for one in new if one.value], began_ns)
        self._read(netns, found, item.ts_ns)

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
        key = CounterKey(netns, reading.group, reading.name, reading.cpu)
        series = self._of(key)
        series.apply(reading, ts_ns)
        for what, groups in _LISTED.items():
            if key.group in groups and (netns, what) in self._listing:
                self._listing[netns, what].add(key)
        return series

    def _part(self, netns: str, reading: Reading, ts_ns: int) -> CounterKey:
        """Apply the reading of one CPU and return the key of the sum that it changes."""
        part = self._one(netns, reading, ts_ns)
        whole = part.key._replace(cpu=None)
        if part.key in self._series:
            self._cpus.setdefault(whole, {})[part.key.cpu or 0] = part
        return whole

    def _sum(self, keys: Iterable[CounterKey]) -> None:
        for key in keys:
            parts = list(self._cpus.get(key, {}).values())
            if parts:
                self._of(key).sum_of(parts)

    def _expectations(self, netns: str) -> None:
        """Compute the expectations that exist now from those created and deleted."""
        created, deleted = (self._series.get(CounterKey(netns, EXPECT, name)) for name in ("create", "delete"))
        limit = self._series.get(CounterKey(netns, TABLE, "max_expectations"))
        if created and deleted and created.value is not None and deleted.value is not None:
            now = (created.value - deleted.value) % WRAP32  # both are counted modulo 2³²
            maximum = None if limit is None else limit.value
            self._one(netns, table_reading("expectations", now, "expectations", maximum), created.ts_ns)

    def _add_sets(self, netns: str, item: NftSetsDecoded) -> None:
        sets = self._sets.setdefault(netns, SetCounters())
        for found in item.sets:
            sets.add_set(found)
        for set_id, part in item.elements:
            sets.add_elements(set_id, part)

    def _mark_sets(self, netns: str, mark: DumpMark) -> None:
        sets, elements = self._sets.setdefault(netns, SetCounters()), mark.what == "nft-elements"
        if mark.begin:
            sets.begin(elements)
        elif elements:
            self._elements(netns, sets.end_elements(mark.complete, mark.ts_ns))
        else:
            self._read(netns, sets.end_listing(mark.complete), mark.ts_ns)
        for reading in sets.completed():
            self._describe(netns, reading, mark.ts_ns)
        self._drop(CounterKey(netns, NFT_ELEMENT, name) for name in sets.removed())

    def _describe(self, netns: str, reading: Reading, ts_ns: int) -> None:
        """Apply the new description of a set; its value remains that of its listing, if it has one."""
        series = self._of(CounterKey(netns, reading.group, reading.name))
        if series.value is None:
            series.apply(reading, ts_ns)
        series.about = reading.about or series.about

    def _elements(self, netns: str, found: Iterable[ElementReading]) -> None:
        for each in found:
            if each.before is not None and CounterKey(netns, NFT_ELEMENT, each.now.name) not in self._series:
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
        listed = self._listing.pop((netns, mark.what), None)
        if mark.complete and listed is not None:
            for group in _LISTED[mark.what]:
                self._drop(self._groups.get((netns, group), set()) - listed)

    def _drop(self, keys: Iterable[CounterKey]) -> None:
        known = [key for key in keys if key in self._series]
        for key in known:
            del self._series[key]
            self._groups[key.netns, key.group].discard(key)
            self._cpus.pop(key, None)
        self.version += bool(known)

    def _of(self, key: CounterKey) -> Series:
        series = self._series.get(key)
        if series is None and len(self._series) >= self._max_counters:
            self.left_out += 1
            return Series(key=key)  # not kept
        if series is None:
            series = self._series[key] = Series(key=key, ident=next(self._idents))
            self._groups.setdefault((key.netns, key.group), set()).add(key)
        return series

    def table_use(self, netns: str) -> tuple[int | None, int | None]:
        """Return the entries of a namespace's conntrack table and their limit; None where not known."""
        entries, limit = (self._series.get(CounterKey(netns, TABLE, name)) for name in ("entries", "max_entries"))
        return None if entries is None else entries.value, None if limit is None else limit.value

    def reset_name(self, ident: int) -> CounterName | None:
        """Return the name that the broker's reset_counter needs for this row; None when it cannot be reset."""
        series = self._by_ident(ident)
        return None if series is None else series.about.resets

    def rows(self, per_cpu: bool = False) -> list[Series]:
        """Return the counters in the table's own order, with the parts of sums if `per_cpu`."""
        chosen = (series for series in self._series.values() if per_cpu or series.key.cpu is None)
        order = {netns: at for at, netns in enumerate(self._namespaces)}
        return sorted(chosen, key=lambda series: (order.get(series.key.netns, len(order)), order_key(series)))

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """Return the window that spec describes. Counters that are 0 are in it only if asked for, or with a filter."""
        order = self._orders.current(spec, now_ns, self.version)
        rows = lambda idents: (self._row(ident, spec.columns) for ident in idents.tolist())  # noqa: E731
        total = sum(series.key.cpu is None for series in self._series.values())
        return order.snapshot(spec, rows, total, (), self.version, totals=self._totals(spec, now_ns))

    def _row(self, ident: int, columns: Sequence[str]) -> Row:
        series = self._shown[ident]
        return Row.of(ident, [cell(series, key) for key in columns], series.about.resets is not None)

    def _match(self, spec: ViewSpec, now_ns: int, frozen: bool) -> Match:
        rows = self.rows()
        self._hidden = 0
        if spec.filter is not None:
            rows = list(compress(rows, spec.filter.mask(_fields(rows))))
        elif not spec.zeroes:
            shown = [series for series in rows if not is_quiet(series)]
            self._hidden, rows = len(rows) - len(shown), shown
        self._shown = {series.ident: series for series in rows}
        return Match(
            np.array(list(self._shown), np.int64),
            lambda: value_keys(spec.sort, lambda key: [sort_value(series, key) for series in rows]),
        )

    def _totals(self, spec: ViewSpec, now_ns: int) -> Line:
        newest = max((series.ts_ns for series in self._shown.values()), default=0)
        age = f"   read {max(0, now_ns - newest) / _SECOND:.1f} s ago" if self._shown else ""
        limit = units.grouped(self._max_counters)
        left_out = f"   there were more than {limit}: some are left out" if self.left_out else ""
        found = units.plural(len(self._shown), "counter") + (" found" if spec.filter is not None else "")
        hidden = f" {units.plural(self._hidden, 'zero', 'zeroes')} hidden"
        zeroes: Line = (("   ", ""), ("z", "key"), (hidden, "dim")) if self._hidden else ()
        if spec.zeroes and spec.filter is None:
            zeroes = (("   ", ""), ("z", "key"), (" hides zeroes", "dim"))
        return (found, "heading"), *zeroes, (age, "dim"), *(((left_out, "warn"),) if left_out else ())

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


def _fields(rows: Sequence[Series]) -> ListedFields:
    """Return the columns of these counters for the display filter: value rate bytes, name group netns."""

    def numbers(name: str) -> list[float | None] | None:
        return [sort_value(series, name) for series in rows] if name in ("value", "rate", "bytes") else None

    def texts(name: str) -> list[str] | None:
        return [str(getattr(series.key, name)) for series in rows] if name in ("name", "group", "netns") else None

    return ListedFields(len(rows), numbers, texts)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and text.isascii() and len(text) <= 20 else None


def _where_to(account: LedgerRow) -> str:
    """Return the destinations of a stream's records that are not 0; the detail has the whole equation."""
    terms = (
        ("filtered", account.filtered),
        ("lost by the kernel", account.kernel),
        ("lost in the queue", account.queue),
        ("evicted", account.evicted),
        ("unreadable", account.unreadable),
        ("in flight", account.in_flight),
    )
    rest = [f"{name} {units.grouped(number)}" for name, number in terms if number]
    rest += [f"{units.plural(account.unknown, 'loss', 'losses')} of unknown size"] if account.unknown else []
    return (
        " + ".join([f"= shown {units.grouped(account.shown)}", *rest]) if rest else "records of this stream, all shown"
    )
