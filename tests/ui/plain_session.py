"""A session of plain rows with a frozen clock: what the screens are tested against, without kernel or thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from nettop.model.filter.expression import Filter
from nettop.model.flows.capture import FlowCapture
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
from nettop.session.status import DeviceChoice, Done, NetnsChoice, Status

NOON = 1_763_640_271_000_000_000

ROLES = {"state": "good", "nat": "nat", "orig": "address", "reply": "address", "event": "new", "verdict": "bad"}


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
        return Snapshot(spec, first, rows, len(found), len(self.rows), anchor, totals, self.notes, now_ns, self.version)

    def _row(self, ident: int, columns: tuple[str, ...]) -> Row:
        data = self.rows[ident]
        return Row(ident, tuple(data.get(key, "") for key in columns), tuple(ROLES.get(key, "") for key in columns))

    def detail(self, ident: int, now_ns: int) -> Detail | None:
        if not self.details or ident >= len(self.rows) or (self.order is not None and ident not in self.order):
            return None
        lines = tuple(((f" {key:<10}", "key"), (value, "")) for key, value in self.rows[ident].items())
        dump = tuple(
            (
                (f" {offset:04x}  ", "dim"),
                ("45 00 00 3c 1c 46 40 00  40 06 b1 e6 0a 00 03 07", ""),
                ("  E..<.F@.@.......", ""),
            )
            for offset in range(0, 96, 16)
        )
        row, title = self.rows[ident], ((f"{self.noun} {ident}", "heading"),)
        if self.hexdump:
            return PacketDetail(ident, title, lines, (), (), dump)
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


@dataclass
class PlainSession:
    """Answers at once, on the caller's thread; remembers what it was asked to do."""

    views: dict[str, PlainModel]
    facts: Status = field(default_factory=lambda: FACTS)
    done: list[tuple[object, ...]] = field(default_factory=list)
    asked: list[tuple[str, ViewSpec]] = field(default_factory=list)
    refusal: str | None = None
    held: bool = False  # answers wait
    still: bool = False  # nothing changes
    looks: int = 0
    ticks: int = 0  # how often its status was asked for
    waiting: list[Callable[[], None]] = field(default_factory=list)
    relations: dict[tuple[str, str], tuple[int | None, str]] = field(default_factory=dict)  # (view, to)

    def version(self, view: str) -> int:
        """Rows change under the tables' eyes: every look is a new one, unless `still`."""
        self.looks += not self.still
        return self.looks

    def ask(self, view: str, spec: ViewSpec, deliver: Callable[[Snapshot], None]) -> None:
        self.asked.append((view, spec))
        answer = lambda: deliver(self.views[view].snapshot(spec, self.facts.clock_ns))  # noqa: E731
        if self.held:
            self.waiting.append(answer)
        else:
            answer()

    def release(self) -> None:
        self.held = False
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()

    def detail(self, view: str, ident: int, deliver: Callable[[Detail | None], None]) -> None:
        deliver(self.views[view].detail(ident, self.facts.clock_ns))

    def status(self) -> Status:
        self.ticks += 1
        return self.facts

    def namespaces(self, deliver: Callable[[Sequence[NetnsChoice]], None]) -> None:
        deliver(
            [NetnsChoice("", "host", "here"), NetnsChoice("gw-a", "gw-a"), NetnsChoice("pid:812", "pid 812", "nginx")]
        )

    def switch_namespace(self, spec: str, done: Done) -> None:
        self._do(done, "switch_namespace", spec)

    def devices(self, deliver: Callable[[Sequence[DeviceChoice]], None]) -> None:
        deliver(
            [DeviceChoice("eth0", "up, mtu 1500", True), DeviceChoice("eth1", "up, mtu 1500"), DeviceChoice("lo", "up")]
        )

    def start_capture(self, devices: Sequence[str], expression: str, done: Done) -> None:
        self._do(done, "start_capture", tuple(devices), expression)

    def stop_capture(self) -> None:
        self.done.append(("stop_capture",))

    def start_recording(self, path: str, done: Done) -> None:
        self._do(done, "start_recording", path)

    def stop_recording(self, done: Done) -> None:
        self._do(done, "stop_recording")

    def export(self, path: str, wanted: Filter | None, done: Done) -> None:
        self._do(done, "export", path, None if wanted is None else wanted.text)

    def set_acct(self, on: bool, done: Done) -> None:
        self._do(done, "set_acct", on)

    def count_flows(self, wanted: Filter | None, deliver: Callable[[int], None]) -> None:
        spec = ViewSpec((), filter=wanted)
        deliver(len(self.views["flows"]._visible(spec)))

    def delete_flow(self, ident: int, done: Done, told: Callable[[str], None]) -> None:
        self._delete(done, told, "deleted 1 flow", "delete_flow", ident)

    def delete_matching(self, wanted: Filter | None, done: Done, told: Callable[[str], None]) -> None:
        text = None if wanted is None else wanted.text
        self._delete(done, told, "deleted 318 flows; 2 had ended already", "delete_matching", text)

    def _delete(self, done: Done, told: Callable[[str], None], words: str, *what: object) -> None:
        self._do(done, *what)
        if self.refusal is None:
            told(words)

    def copy_as(self, view: str, ident: int, form: str, deliver: Callable[[str], None]) -> None:
        self.done.append(("copy_as", view, ident, form))
        deliver(f"{form} of {view} {ident}: {self.views[view].rows[ident]['orig']}")

    def flow_capture(self, ident: int, deliver: Callable[[FlowCapture | None], None]) -> None:
        self.done.append(("flow_capture", ident))
        expression = "(host 192.168.1.2 and port 56303) or (host 100.100.100.1 and port 56303)"
        deliver(
            FlowCapture(
                expression,
                (("eth0", "before SNAT"), ("eth1", "after SNAT")),
                "fragments and ICMP errors of both hosts come along, others' too",
            )
        )

    def related(self, view: str, ident: int, to: str, deliver: Callable[[int | None, str], None]) -> None:
        self.done.append(("related", view, ident, to))
        deliver(*self.relations.get((view, to), (None, "")))

    def set_names(self, on: bool) -> None:
        self.done.append(("set_names", on))
        self.facts = replace(self.facts, names=on)

    def watch_only(self, expression: str, done: Done) -> None:
        self._do(done, "watch_only", expression)

    def measure_rates(self, done: Done) -> None:
        self._do(done, "measure_rates")

    def timeline(self, deliver: Callable[[Sequence[tuple[int, int, int]]], None]) -> None:
        deliver([(i * i % 97, i % 7, i * 3 % 50) for i in range(60)])

    def reset_counter(self, ident: int, done: Done) -> None:
        self._do(done, "reset_counter", ident)

    def pause(self, on: bool) -> None:
        self.done.append(("pause", on))

    def close(self) -> None:
        self.done.append(("close",))

    def _do(self, done: Done, *what: object) -> None:
        self.done.append(what)
        done(self.refusal)


FACTS = Status(
    netns="gw-a",
    count=1204,
    maximum=262_144,
    events_per_s=3100.0,
    capture="off",
    acct="since 12:01",
    lost="0",
    recording="",
    mode="LIVE",
    clock_ns=NOON,
    cpu_percent=1.2,
)


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


def session() -> PlainSession:
    """All seven tables."""
    return PlainSession(
        {
            "flows": flows(),
            "groups": groups(),
            "events": events(),
            "chains": chains(),
            "rules": rules(),
            "packets": packets(),
            "counters": counters(),
        }
    )
