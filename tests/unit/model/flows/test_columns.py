"""Columns that other models fill in, names, measured rates, and what is said where nothing is counted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nettop.columns import (
    EVENT_DESTROY,
    EVENT_NEW,
    HAVE_LABELS,
    HAVE_SECCTX,
    HAVE_ZONE_ORIG_ONLY,
    Strings,
)
from nettop.model.filter.expression import parse
from nettop.model.flow_groups.table import FlowGroups
from nettop.model.flows.cells import RowView
from nettop.model.flows.derive import Data
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.table import FlowTable
from nettop.model.table import Cell, Detail, Line, Snapshot, SortKey, ViewSpec
from tests.unit.model.flows.flow_rows import SECOND, T0, begin, decoded, end, ip, row

IPS_OFFLOAD, IPS_HW_OFFLOAD = 1 << 14, 1 << 15


class Processes:
    def process(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        return [(f"nginx[{row.value('osport')}]", "accent") for row in rows]

    def process_codes(self, data: Data) -> tuple[Any, Sequence[str]]:
        return (data["osport"] % 2).astype(np.uint8), ("curl", "nginx")

    def pids(self, data: Data) -> Any:
        return data["osport"].astype(np.int64)

    def process_lines(self, row: RowView) -> Sequence[Line]:
        return ((("begun by  ", "key"), ("nginx[812]", "accent"), ("  certain", "dim")),)


class Devices:
    def device(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        return [("eth0 → eth1", "accent")] * len(rows)

    def device_lines(self, row: RowView) -> Sequence[Line]:
        return ((("devices  ", "key"), ("eth0 → eth1", "accent"), ("  inferred", "dim")),)


class Meter:
    """Measures 1000 and 2000 bytes a second of every flow with an odd port."""

    version = 1

    def notes(self) -> Sequence[str]:
        return "measured over 2s", "not counted: 7 later fragments"

    def measured(self, data: Data) -> tuple[Any, Any] | None:
        odd = data["osport"] % 2 == 1
        return np.where(odd, 1000.0, np.nan), np.where(odd, 2000.0, np.nan)


class Names:
    def host(self, address: str) -> str | None:
        return {"10.0.0.2": "www.example.org", "10.0.0.1": "evil\x1b[2J"}.get(address)

    def service(self, proto: int, port: int) -> str | None:
        return "https" if port == 443 else None


class Expectations:
    def of_flow(self, row: RowView) -> Sequence[Line]:
        return ((("expects  ", "key"), ("tcp 10.0.0.2:* → 10.0.0.1:40000", "address")),)


def table(
    *rows: dict[str, Any], accounting: bool | None = None, strings: Strings | None = None, **joins: Any
) -> FlowTable:
    flows = FlowTable(strings or Strings(), joins=FlowJoins(accounting=lambda netns: accounting, **joins))
    dump(flows, T0, *rows)
    return flows


def dump(flows: FlowTable, now_ns: int, *rows: dict[str, Any]) -> None:
    flows.apply(begin(), 0, now_ns)
    flows.apply(decoded(*(one | {"ts_ns": now_ns} for one in rows)), 0, now_ns)
    flows.apply(end(), 0, now_ns)


def snapshot(flows: FlowTable, *columns: str, sort: str = "sport", now_ns: int = T0, **given: Any) -> Snapshot:
    order = (SortKey(sort, descending=False),)
    return flows.snapshot(ViewSpec(columns, sort=order, **given), now_ns)


def shown(flows: FlowTable, *columns: str, **given: Any) -> list[tuple[str, ...]]:
    return [r.cells for r in snapshot(flows, *columns, **given).rows]


def text(lines: Any) -> str:
    return "".join(part for part, _ in lines) if lines and isinstance(lines[0][0], str) else "\n".join(map(text, lines))


def detail(flows: FlowTable, now_ns: int = T0) -> str:
    found = flows.detail(int(flows.store.idents(np.array([0]))[0]), now_ns)
    assert isinstance(found, Detail)
    return text(found.lines)


# -- joined columns ----------------------------------------------------------------------------------------------


def test_without_anybody_who_knows_there_are_dashes() -> None:
    assert shown(table(row()), "process", "device", "course", "offload") == [("–", "–", "–", "–")]


def test_processes_and_devices_come_from_who_knows_them() -> None:
    flows = table(row(sport=812), row(sport=813), processes=Processes(), devices=Devices())
    assert shown(flows, "process", "device") == [("nginx[812]", "eth0 → eth1"), ("nginx[813]", "eth0 → eth1")]
    assert [cells for (cells,) in shown(flows, "process", sort="process")] == ["nginx[812]", "nginx[813]"]
    assert [r.tolist() for r in flows.store["osport"][flows.rows(parse("process nginx", "flow"))]] == [813]
    assert [r.tolist() for r in flows.store["osport"][flows.rows(parse("pid 812", "flow"))]] == [812]


def test_packets_are_told_each_way() -> None:
    one = row(opackets=3, obytes=1, rpackets=1200, rbytes=1)
    assert shown(table(one), "opackets", "rpackets", "packets") == [("3", "1.2k", "1.2k")]


@pytest.mark.parametrize(
    ("status", "word"), [(8, ""), (8 | IPS_OFFLOAD, "software"), (8 | IPS_OFFLOAD | IPS_HW_OFFLOAD, "hardware")]
)
def test_offloaded_flows_say_who_forwards_them(status: int, word: str) -> None:
    flows = table(row(status=status))
    assert shown(flows, "offload") == [(word,)]
    assert (f"forwarded by {word}" in detail(flows)) == bool(word)


def test_gre_keys_are_no_ports() -> None:
    flows = table(row(proto=47, sport=3, dport=4, status=8))
    assert shown(flows, "original", "reply") == [("10.0.0.1 → 10.0.0.2", "10.0.0.1")]
    assert "GRE keys  original 0x3 → 0x4   reply 0x4 → 0x3" in detail(flows)


# -- names -------------------------------------------------------------------------------------------------------


def test_names_stand_where_they_are_known_and_reach_the_screen_escaped() -> None:
    flows = table(row(dport=443), row(sport=443, dport=8080, dst="10.0.0.3"), names=Names())
    assert [cells for (cells,) in shown(flows, "original", sort="dport")] == [
        "evil\\x1b[2J:1000 → www.example.org:https",
        "evil\\x1b[2J:443 → 10.0.0.3:8080",
    ]
    assert "addresses 10.0.0.1:1000 → 10.0.0.2:443   reply 10.0.0.2:443 → 10.0.0.1:1000" in detail(flows)
    assert "addresses" not in detail(table(row(src="10.0.0.8", dst="10.0.0.9"), names=Names()))
    groups = FlowGroups(flows).snapshot(ViewSpec(("name",), group="destination", sort=(SortKey("name"),)), T0)
    assert [r.cells[0] for r in groups.rows] == ["10.0.0.3", "10.0.0.2 www.example.org"]


# -- rates -------------------------------------------------------------------------------------------------------


def test_rates_measured_from_packets_are_marked_and_stand_only_where_counters_say_nothing() -> None:
    flows = table(row(sport=1), row(sport=2), row(sport=3, obytes=0, rbytes=0), meter=Meter())
    dump(flows, T0 + SECOND, row(sport=1), row(sport=2), row(sport=3, obytes=50, rbytes=7))
    assert shown(flows, "rate", "rate_up", "rate_down") == [
        ("≈3.0k/s", "≈1.0k/s", "≈2.0k/s"),
        ("–", "–", "–"),
        ("57/s", "50/s", "7/s"),
    ]
    assert [cells for (cells,) in shown(flows, "rate", sort="rate")] == ["57/s", "≈3.0k/s", "–"]
    assert len(flows.rows(parse("rate > 2k", "flow"))) == 1


def test_what_measured_rates_lack_is_said_below_the_table_and_in_the_detail() -> None:
    flows = table(row(sport=1), meter=Meter())
    snapshot = flows.snapshot(ViewSpec(("original", "rate")), T0)
    assert text(snapshot.notes) == "≈ not counted: 7 later fragments"
    assert "\n            measured over 2s\n            not counted: 7 later fragments\n" in detail(flows)
    counted = table(row(sport=1, obytes=0, rbytes=0))
    assert not counted.snapshot(ViewSpec(("rate",)), T0).notes and "counted: 7" not in detail(counted)


def test_a_measured_rate_is_not_inherited_by_the_next_flow_of_its_row() -> None:
    flows = table(row(sport=1), meter=Meter())
    assert shown(flows, "rate") == [("≈3.0k/s",)]
    flows.apply(decoded(row(sport=1, event=EVENT_DESTROY), row(sport=5, event=EVENT_NEW)), 0, T0)
    assert shown(flows, "rate", now_ns=T0 + 2 * SECOND) == [("–",)]
    assert isinstance(flows.joins.meter, Meter)
    flows.joins.meter.version += 1
    assert shown(flows, "rate", now_ns=T0 + 4 * SECOND) == [("≈3.0k/s",)]


# -- what is said beside the table -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accounting", "one", "note", "words"),
    [
        (False, row(), "bytes are not counted: accounting is off", "not counted: accounting is off"),
        (True, row(), "", "not counted: this flow began before accounting"),
        (None, row(), "", "– bytes (not counted)"),
        (False, row(obytes=5), "", "5 B"),
    ],
)
def test_where_nothing_is_counted_the_reason_is_said(
    accounting: bool | None, one: dict[str, Any], note: str, words: str
) -> None:
    flows = table(one, accounting=accounting)
    assert text(snapshot(flows, "proto", "rate").notes) == note
    assert snapshot(flows, "proto").notes == ()
    assert words in detail(flows)


def test_the_age_of_a_seldom_dump_is_said() -> None:
    flows = table(row())
    assert "old" not in text(snapshot(flows, "proto", now_ns=T0 + 4 * SECOND).totals)
    assert text(snapshot(flows, "proto", now_ns=T0 + 124 * SECOND).totals).endswith("   rates and timeouts 2m04 old")
    flows.forget(0)
    assert "old" not in text(snapshot(flows, "proto", now_ns=T0 + 124 * SECOND).totals)


@pytest.mark.parametrize("keys", [("zone",), ("rate", "bytes"), ("state", "proto")])
def test_flows_that_are_equal_stand_the_same_whatever_the_order_they_came_in(keys: tuple[str, ...]) -> None:
    rows = [row(f"10.0.0.{n % 7}", 1 + n, proto=(6, 17)[n % 2], id=n, state=3) for n in range(300)]
    spec = ViewSpec(("id",), height=300, sort=tuple(map(SortKey, keys)))
    orders = set()
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        flows = table(*rows)
        whole = tuple(r.cells[0] for r in flows.snapshot(spec, T0).rows)
        assert flows.store["id"][flows.rows(sort=spec.sort, limit=20)].tolist() == [int(cell) for cell in whole[:20]]
        ident = flows.snapshot(spec, T0).rows[250].ident
        near = table(*rows).snapshot(ViewSpec(("id",), height=5, sort=spec.sort, anchor=ident), T0)
        assert near.anchor == 250
        orders.add(whole)
    assert len(orders) == 1


# -- the detail --------------------------------------------------------------------------------------------------


def test_the_detail_says_all_that_anybody_knows_in_words_with_raw_values() -> None:
    strings = Strings()
    one = row(proto=6, state=3, status=0x19E, zone=4, mark=7, timeout=431_999, id=9, start_ns=T0 - 60 * SECOND,
              rdst_lo=ip("100.100.100.1"), labels=strings.code(bytes([5, 0])),
              have=HAVE_LABELS | HAVE_SECCTX | HAVE_ZONE_ORIG_ONLY)  # fmt: skip
    flows = table(one, strings=strings, processes=Processes(), devices=Devices(), expectations=Expectations().of_flow)
    lines = detail(flows)
    for words in (
        "SEEN_REPLY ASSURED CONFIRMED SRC_NAT SRC_NAT_DONE DST_NAT_DONE  (0x19e)",
        "protocol  tcp (6)   state ESTABLISHED (3)   zone 4 of the original direction only   netns this host's",
        "mark      0x7 (7)",
        "labels    0x5  (labels 0, 2)",
        "timeout   5d00h (431,999 s) when last reported",
        "1m00 ago, by the kernel's timestamp",
        "security  a context is set",
        "  begun by  nginx[812]  certain",
        "devices   eth0 → eth1  inferred",
        "  expects   tcp 10.0.0.2:* → 10.0.0.1:40000",
        "events    none kept",
    ):
        assert words in lines, words


def test_an_echo_says_what_it_asks_and_what_answers() -> None:
    assert "id 77   type 8 code 0, answered by id 77   type 0 code 0" in detail(
        table(row(proto=1, osport=77, odport=8 << 8, rsport=77, rdport=0, status=8))
    )
