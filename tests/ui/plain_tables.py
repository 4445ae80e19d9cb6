"""Made-up tables for the screens: plain rows behind the TableModel protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nettop.model.table import (
    Column,
    CounterDetail,
    Detail,
    GroupDetail,
    Line,
    PacketDetail,
    Row,
    Snapshot,
    SortKey,
    ViewSpec,
)

ROLES = {"state": "good", "nat": "nat", "orig": "address", "reply": "address", "event": "new", "verdict": "bad"}
DUMP = tuple(
    (
        (f" {offset:04x}  ", "dim"),
        ("45 00 00 3c 1c 46 40 00  40 06 b1 e6 0a 00 03 07", ""),
        ("  E..<.F@.@.......", ""),
    )
    for offset in range(0, 96, 16)
)


@dataclass
class PlainModel:
    """A TableModel over a list of dicts; `text in any cell` is the filter's meaning."""

    columns: Sequence[Column]
    default_columns: tuple[str, ...]
    default_sort: tuple[SortKey, ...]
    rows: list[dict[str, str]]
    noun: str = "rows"
    notes: tuple[Line, ...] = ()
    details: bool = True
    hexdump: bool = False
    version: int = 1
    resettable: bool = False  # its rows are counters that can be reset
    order: list[int] | None = None  # identities in their order; None: as they are in rows

    def _visible(self, spec: ViewSpec) -> list[int]:
        found = list(range(len(self.rows))) if self.order is None else list(self.order)
        if spec.scope is not None:
            found = [i for i in found if self.rows[i].get("scope", str(spec.scope)) == str(spec.scope)]
        if spec.filter is not None:
            word = spec.filter.text.split()[-1]
            found = [i for i in found if any(word in cell for cell in self.rows[i].values())]
        for key in reversed(spec.sort):
            found.sort(key=lambda i: _sortable(self.rows[i].get(key.key, "")), reverse=key.descending)
        return found

    def snapshot(self, spec: ViewSpec, now_ns: int) -> Snapshot:
        found = self._visible(spec)
        first = max(0, len(found) - spec.height) if spec.follow else max(0, min(spec.first, len(found)))
        rows = tuple(self._row(i, spec.columns) for i in found[first : first + spec.height])
        anchor = found.index(spec.anchor) if spec.anchor in found else None
        totals = ((f"{len(self.rows):,} {self.noun}, {len(found):,} match", "number"),)
        return Snapshot(spec, first, rows, len(found), len(self.rows), anchor, totals, self.notes, self.version)

    def _row(self, ident: int, columns: tuple[str, ...]) -> Row:
        data = self.rows[ident]
        roles = tuple(ROLES.get(key, "") for key in columns)
        return Row(ident, tuple(data.get(key, "") for key in columns), roles, self.resettable, data.get("rule", ""))

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        if not self.details or ident >= len(self.rows) or (self.order is not None and ident not in self.order):
            return None
        lines = tuple(((f" {key:<10}", "key"), (value, "")) for key, value in self.rows[ident].items())
        row, title = self.rows[ident], ((f"{self.noun} {ident}", "heading"),)
        if self.hexdump:
            return PacketDetail(ident, title, lines, (), (), DUMP)
        if "filter" in row:
            return GroupDetail(ident, title, lines, row["filter"])
        return CounterDetail(ident, title, lines, row.get("name") != "found")


def _sortable(text: str) -> tuple[int, float, str]:
    number = text.replace(",", "").rstrip("kMG/s")
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text.removesuffix("/s")[-1:], 1.0)
    try:
        return (0, float(number) * scale, "")
    except ValueError:
        return (1, 0.0, text)


def flows(count: int = 300) -> PlainModel:
    """Flows of a gateway, the SNATed one first."""
    columns = (
        Column("proto", "PROTO", 5, frozen=True),
        Column("state", "STATE", 11, rank=3),
        Column("orig", "ORIGINAL", 36, grow=2),
        Column("reply", "REPLY TO", 20, rank=1, grow=1),
        Column("nat", "NAT", 5),
        Column("rate", "RATE", 7, right=True),
        Column("up", "↑BYTES", 6, right=True, rank=4),
        Column("down", "↓BYTES", 6, right=True, rank=4),
        Column("age", "AGE", 5, right=True, rank=5),
        Column("timeout", "TIMEOUT", 7, right=True, rank=6),
        Column("mark", "MARK", 6, rank=8),
    )
    rows = [_flow(i) for i in range(count)]
    chosen = tuple(c.key for c in columns if c.key != "mark")
    return PlainModel(columns, chosen, (SortKey("rate"),), rows, "flows")


def _flow(i: int) -> dict[str, str]:
    port = 56303 + i
    snat = i % 3 != 2
    return {
        "proto": ("tcp", "udp", "icmp")[i % 3],
        "state": ("ESTABLISHED", "assured", "UNREPLIED")[i % 3],
        "orig": f"192.168.1.2:{port} → 200.200.200.1:443",
        "reply": f"100.100.100.1:{port}" if snat else "",
        "nat": "SNAT" if snat else "–",
        "rate": f"{900 - 3 * i}k/s" if i < 300 else "0/s",
        "up": f"{i % 90 + 1}.1M",
        "down": f"{i % 70 + 1}.4M",
        "age": "1m04",
        "timeout": "4d23h",
        "mark": "0x1",
    }


def groups() -> PlainModel:
    """Flows by source, made up: three of them."""
    columns = (
        Column("name", "GROUP", 20, frozen=True, grow=1),
        Column("flows", "FLOWS", 7, right=True),
        Column("share", "SHARE", 14),
        Column("rate", "RATE", 8, right=True),
    )
    rows = [
        {
            "name": f"192.168.1.{n}",
            "flows": str(100 * n),
            "share": "▇" * n,
            "rate": f"{9 - n}M/s",
            "filter": f"src host 192.168.1.{n}",
        }
        for n in (1, 2, 3)
    ]
    return PlainModel(columns, tuple(c.key for c in columns), (SortKey("rate"),), rows, "sources")


def events(count: int = 200) -> PlainModel:
    columns = (
        Column("time", "TIME", 12, frozen=True),
        Column("event", "EVENT", 7),
        Column("proto", "PROTO", 5),
        Column("orig", "ORIGINAL", 36, grow=1),
        Column("nat", "NAT", 5, rank=1),
    )
    rows = [
        {
            "time": f"12:04:{i % 60:02d}.118",
            "event": ("NEW", "UPDATE", "DESTROY")[i % 3],
            "proto": "tcp",
            "orig": f"192.168.1.2:{40000 + i} → 200.200.200.1:443",
            "nat": "SNAT",
        }
        for i in range(count)
    ]
    return PlainModel(columns, tuple(c.key for c in columns), (), rows, "events")


def chains() -> PlainModel:
    columns = (
        Column("hook", "HOOK", 12, frozen=True),
        Column("priority", "PRIORITY", 12),
        Column("chain", "CHAIN", 24, grow=1),
        Column("backend", "BACKEND", 12, rank=2),
        Column("policy", "POLICY", 7),
        Column("rules", "RULES", 6, right=True),
    )
    names = ("prerouting", "input", "forward", "output", "postrouting")
    rows = [
        {
            "hook": hook,
            "priority": "0 filter",
            "chain": f"ip filter {hook.upper()}",
            "backend": "iptables-nft",
            "policy": "accept",
            "rules": "3",
        }
        for hook in names
    ]
    return PlainModel(columns, tuple(c.key for c in columns), (), rows, "base chains", details=False)


def rules() -> PlainModel:
    columns = (
        Column("chain", "CHAIN", 12, frozen=True),
        Column("number", "#", 4, right=True),
        Column("packets", "PACKETS", 8, right=True),
        Column("bytes", "BYTES", 8, right=True, rank=2),
        Column("text", "RULE", 40, grow=1, sortable=False),
    )
    rows = [
        {
            "scope": str(chain),
            "chain": ("forward", "lan", "blocked")[n],
            "number": str(n + 1),
            "packets": "4.4k",
            "bytes": "301k",
            "text": f"ip daddr 10.9.{chain}.{n} counter drop",
        }
        for chain in range(5)
        for n in range(3)
    ]
    return PlainModel(columns, tuple(c.key for c in columns), (), rows, "rules")


def packets(count: int = 120) -> PlainModel:
    columns = (
        Column("number", "#", 8, right=True, frozen=True),
        Column("time", "TIME", 15),
        Column("dev", "DEV", 5, rank=3),
        Column("src", "SOURCE", 21),
        Column("dst", "DESTINATION", 21),
        Column("proto", "PROTO", 5, rank=1),
        Column("len", "LEN", 5, right=True, rank=2),
        Column("info", "INFO", 20, grow=1, sortable=False),
    )
    rows = [
        {
            "number": str(i + 1),
            "time": f"12:04:30.{118201 + i}",
            "dev": "eth0",
            "src": f"10.0.3.7:{51822 + i}",
            "dst": "200.200.200.1:443",
            "proto": "TCP",
            "len": "74",
            "info": "[SYN] Seq=0 Win=64240 MSS=1460 WS=128",
        }
        for i in range(count)
    ]
    return PlainModel(columns, tuple(c.key for c in columns), (), rows, "packets", hexdump=True)


def counters() -> PlainModel:
    columns = (
        Column("group", "GROUP", 12, frozen=True),
        Column("name", "NAME", 16),
        Column("value", "VALUE", 12, right=True),
        Column("rate", "RATE", 8, right=True),
        Column("meaning", "WHAT IT MEANS", 30, rank=1, grow=1, sortable=False),
    )
    names = ("found", "invalid", "insert", "insert_failed", "drop", "early_drop", "search_restart")
    rows = [
        {
            "group": "conntrack",
            "name": n,
            "value": f"{i * 1204:,}",
            "rate": f"{i}/s",
            "meaning": "entries searched and found",
        }
        for i, n in enumerate(names)
    ]
    return PlainModel(columns, tuple(c.key for c in columns), (), rows, "counters")
