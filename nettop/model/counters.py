"""Counters with their rates and what each means: conntrack's per-CPU statistics, table use, and our own ledger."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import count
from json import dumps

from nettop.batch import DumpMark, Gap
from nettop.decode.ctstats import ConntrackStats, CpuStats, ExpectCpuStats, TableStats
from nettop.model.counter_words import LOST_MEANING, MEANING
from nettop.model.ledger import LedgerRow
from nettop.model.view import Column, Detail, Line, Row, Snapshot, SortKey, ViewSpec
from nettop.text import units
from nettop.text.sanitize import clean

_SECOND = 1_000_000_000
_HISTORY = 60  # readings that the detail's sparkline shows
_TREND = 20  # … and a row's
_WRAP = 1 << 32  # conntrack's statistics are 32-bit

TABLE, CONNTRACK, EXPECT, LEDGER = "table", "conntrack", "expect", "ledger"
# On screen in this order; what is unlisted (nft counters, nfacct) follows by name.
_ORDER = {TABLE: 0, CONNTRACK: 1, EXPECT: 2, LEDGER: 9}
_BAD = frozenset(("insert_failed", "drop", "early_drop", "chain_toolong", "invalid", "error", "lost"))


@dataclass(frozen=True, slots=True)
class Key:
    """What is counted. `cpu` None: the sum over all CPUs, or something no CPU counts."""

    netns: str
    group: str
    name: str
    cpu: int | None = None


@dataclass(slots=True)
class Series:
    """One counter's last value, its rate and the rates before."""

    key: Key
    ident: int
    value: int | None = None
    ts_ns: int = 0
    rate: float | None = None  # a second; of a gauge: its change
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    def take(self, value: int | None, ts_ns: int, wrap: int | None) -> None:
        """A new reading. `wrap`: the counter starts again from 0 there; None: it may go down."""
        before, elapsed = self.value, ts_ns - self.ts_ns
        self.value = value
        if value is None or before is None:
            self.rate, self.ts_ns = None, ts_ns
            return
        if elapsed <= 0:
            return
        change = value - before
        if change < 0 and wrap is not None:
            change += wrap
        self.rate, self.ts_ns = change * _SECOND / elapsed, ts_ns
        self.rates.append(self.rate)


class CounterTable:
    """A TableModel of counters. Each reading gives a value and, from the second on, a rate."""

    columns: Sequence[Column] = (
        Column("group", "GROUP", 10, frozen=True),
        Column("name", "NAME", 20, frozen=True, grow=1),
        Column("value", "VALUE", 14, right=True),
        Column("rate", "RATE", 9, right=True),
        Column("trend", "TREND", 20, rank=2, sortable=False),
        Column("meaning", "MEANING", 40, rank=1, grow=4, sortable=False),
        Column("netns", "NETNS", 10, rank=3),
    )
    default_columns: tuple[str, ...] = ("group", "name", "value", "rate", "trend", "meaning")
    default_sort: tuple[SortKey, ...] = ()

    def __init__(self, netns_label: Callable[[int], str] = lambda code: "") -> None:
        self.version = 0
        self._netns_label = netns_label
        self._series: dict[Key, Series] = {}
        self._cpus: dict[Key, dict[int, Series]] = {}  # the parts of each sum
        self._accounts: dict[Key, LedgerRow] = {}  # of the ledger's streams
        self._idents = count(1)

    # -- what comes in -------------------------------------------------------------------------------------------

    def apply(self, item: ConntrackStats | DumpMark | Gap, netns: int, now_ns: int) -> None:
        """Take in decoded statistics of the namespace with this code; marks and gaps change nothing here."""
        if not isinstance(item, ConntrackStats):
            return
        label = self._netns_label(netns)
        sums = {key for cpu in item.cpus for key in self._per_cpu(label, CONNTRACK, cpu)}
        sums |= {key for cpu in item.expect_cpus for key in self._per_cpu(label, EXPECT, cpu)}
        for key in sums:
            self._sum(key)
        for table in item.tables:
            self._table(label, table)
        self.version += 1

    def put(self, key: Key, value: int | None, ts_ns: int, wrap: int | None = None) -> None:
        """A reading of any other counter (an nft counter, an nfacct object)."""
        self._of(key).take(value, ts_ns, wrap)
        self.version += 1

    def put_ledger(self, rows: Iterable[LedgerRow], now_ns: int) -> None:
        """Our own losses, as a group beside the kernel's."""
        for row in rows:
            if not row.seen and not row.lost and not row.unknown:
                continue
            key = Key(row.netns, LEDGER, clean(row.name))
            self._accounts[key] = row
            self.put(key, row.seen, now_ns)
            if row.lost or row.unknown:
                self.put(Key(row.netns, LEDGER, f"{clean(row.name)} lost"), row.lost, now_ns)

    def forget(self, netns: str) -> None:
        """The namespace is gone."""
        self._series = {key: series for key, series in self._series.items() if key.netns != netns}
        self._cpus = {key: parts for key, parts in self._cpus.items() if key.netns != netns}
        self.version += 1

    def _per_cpu(self, netns: str, group: str, stats: CpuStats | ExpectCpuStats) -> Iterator[Key]:
        """Takes in what one CPU counted; yields the keys of the sums that this changes."""
        for name in (one.name for one in fields(stats) if one.name not in ("cpu", "ts_ns")):
            value = getattr(stats, name)
            if value is None:
                continue
            whole = Key(netns, group, name)
            part = self._of(Key(netns, group, name, stats.cpu))
            part.take(value, stats.ts_ns, _WRAP)
            self._cpus.setdefault(whole, {})[stats.cpu] = part
            yield whole

    def _sum(self, key: Key) -> None:
        parts = list(self._cpus[key].values())
        whole = self._of(key)
        whole.value = sum(part.value or 0 for part in parts)
        whole.ts_ns = max(part.ts_ns for part in parts)
        known = [part.rate for part in parts if part.rate is not None]
        whole.rate = sum(known) if len(known) == len(parts) else None
        depth = min(len(part.rates) for part in parts)
        whole.rates = deque((sum(part.rates[i - depth] for part in parts) for i in range(depth)), _HISTORY)

    def _table(self, netns: str, table: TableStats) -> None:
        for name, value in (("entries", table.entries), ("max_entries", table.max_entries)):
            if value is not None:
                self._of(Key(netns, TABLE, name)).take(value, table.ts_ns, None)

    def _of(self, key: Key) -> Series:
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series(key, next(self._idents))
        return series

    # -- what goes out -------------------------------------------------------------------------------------------

    def table_use(self, netns: str) -> tuple[int | None, int | None]:
        """Entries and their limit of a namespace's conntrack table; None where not known."""
        entries, limit = (self._series.get(Key(netns, TABLE, name)) for name in ("entries", "max_entries"))
        return None if entries is None else entries.value, None if limit is None else limit.value

    def rows(self, per_cpu: bool = False) -> list[Series]:
        """The counters in the table's own order; the parts of sums too, if wanted."""
        chosen = (series for series in self._series.values() if per_cpu or series.key.cpu is None)
        return sorted(chosen, key=lambda series: self._place(series.key))

    def json_lines(self) -> Iterator[str]:
        """The contract's `counter` objects: sums have `cpu` null, their parts follow with the CPU's number."""
        for series in self.rows(per_cpu=True):
            key, rate = series.key, series.rate
            values = {"kind": "counter", "netns": key.netns, "group": key.group, "name": key.name, "cpu": key.cpu}
            rounded = None if rate is None else round(rate, 3)
            yield dumps(values | {"value": series.value, "rate": rounded, "ts_ns": series.ts_ns}, separators=(",", ":"))

    def text_lines(self) -> Iterator[str]:
        """Plain lines: group, name, value, rate, meaning."""
        for series in self.rows():
            key = series.key
            place = f"{clean(key.netns)} " if key.netns else ""
            number, speed = units.grouped(series.value), units.rate(series.rate)
            line = f"{place}{key.group:<10} {clean(key.name):<24} {number:>14} {speed:>9}  {self._meaning(series)}"
            yield line.rstrip()

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        """The window that spec describes; display filters do not apply to counters."""
        rows = self._sorted(spec.sort)
        last_first = max(0, len(rows) - spec.height)
        first = last_first if spec.follow else max(0, min(spec.first, last_first))
        anchor = next((i for i, series in enumerate(rows) if series.ident == spec.anchor), None)
        drawn = tuple(self._row(series, spec.columns) for series in rows[first : first + spec.height])
        newest = max((series.ts_ns for series in rows), default=0)
        age = f"   read {max(0, now_ns - newest) / _SECOND:.1f} s ago" if rows else ""
        totals: Line = ((f"{len(rows)} counters", "heading"), (age, "dim"))
        return Snapshot(spec, first, drawn, len(rows), len(rows), anchor, totals, (), now_ns, self.version)

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        """One counter with its meaning, its course, and its parts by CPU."""
        series = next((series for series in self._series.values() if series.ident == ident), None)
        if series is None:
            return None
        title = ((f"{series.key.group} ", "dim"), (clean(series.key.name), "heading"))
        lines: list[Line] = [((self._meaning(series), ""),), _value_line("all", series)]
        parts = self._cpus.get(series.key, {})
        lines += [_value_line(f"cpu {cpu}", parts[cpu]) for cpu in sorted(parts)]
        return Detail(ident, title, tuple(lines))

    def _sorted(self, sort: tuple[SortKey, ...]) -> list[Series]:
        rows = self.rows()
        for key in reversed(sort):
            if key.key in _SORTS:
                rows.sort(key=_SORTS[key.key], reverse=key.descending)
        return rows

    @staticmethod
    def _place(key: Key) -> tuple[str, int, str, int, str, int]:
        known = MEANING.get(key.group, {})
        names = list(known)
        place = names.index(key.name) if key.name in known else len(names)
        return key.netns, _ORDER.get(key.group, 5), key.group, place, key.name, -1 if key.cpu is None else key.cpu

    def _row(self, series: Series, columns: Sequence[str]) -> Row:
        cells = [self._cell(series, key) for key in columns]
        return Row(series.ident, tuple(text for text, _ in cells), tuple(role for _, role in cells))

    def _cell(self, series: Series, column: str) -> tuple[str, str]:
        key = series.key
        moving = bool(series.rate)
        alarming = key.name.rpartition(" ")[2] in _BAD
        if column == "value":
            return units.grouped(series.value), "bad" if alarming and key.group == LEDGER and series.value else "number"
        if column == "rate":
            role = "bad" if moving and alarming else "number" if moving else "dim"
            return units.rate(series.rate), role
        if column == "trend":
            return units.sparkline(list(series.rates)[-_TREND:]), "warn" if alarming else "good"
        if column == "meaning":
            account = self._accounts.get(key)
            return (self._meaning(series), "dim") if account is None else _where_to(account)
        return (clean(key.netns), "accent") if column == "netns" else (clean(getattr(key, column)), "heading")

    def _meaning(self, series: Series) -> str:
        key = series.key
        if key.group == LEDGER:
            account = self._accounts.get(key)
            return LOST_MEANING if account is None else f"records seen = {account.equation().partition(' = ')[2]}"
        meaning = MEANING.get(key.group, {}).get(key.name, "")
        return meaning + self._forecast(series) if key.group == TABLE and key.name == "entries" else meaning

    def _forecast(self, series: Series) -> str:
        """`, 81 % of the limit, full in 4m12 at this rate`."""
        entries, limit = self.table_use(series.key.netns)
        if not limit or entries is None:
            return ""
        text = f", {100 * entries / limit:.1f} % of the limit"
        if entries >= limit:
            return text + ": full, new flows are dropped"
        if series.rate and series.rate > 0:
            text += f", full in {units.duration((limit - entries) / series.rate)} at this rate"
        return text


def _where_to(account: LedgerRow) -> tuple[str, str]:
    """Where a stream's records went, the terms that are not 0; the detail has the whole equation."""
    terms = (
        ("filtered", account.filtered),
        ("lost by the kernel", account.kernel),
        ("lost in the queue", account.queue),
        ("evicted", account.evicted),
        ("in flight", account.in_flight),
    )
    rest = [f"{name} {units.grouped(count)}" for name, count in terms if count]
    rest += [f"{account.unknown} losses of unknown size"] if account.unknown else []
    if not rest:
        return "records of this stream, all shown", "dim"
    text = " + ".join([f"= shown {units.grouped(account.shown)}", *rest])
    return text, "bad" if account.lost or account.unknown else "dim"


_SORTS: dict[str, Callable[[Series], str | float]] = {
    "group": lambda series: series.key.group,
    "name": lambda series: series.key.name,
    "value": lambda series: -1 if series.value is None else series.value,
    "rate": lambda series: float("-inf") if series.rate is None else series.rate,
    "netns": lambda series: series.key.netns,
}


def _value_line(name: str, series: Series) -> Line:
    return (
        (f"  {name:<8}", "key"),
        (f"{units.grouped(series.value):>14}  {units.rate(series.rate):>9}  ", "number"),
        (units.sparkline(list(series.rates)), "good"),
    )
