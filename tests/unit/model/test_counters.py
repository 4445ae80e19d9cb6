"""Counters: rates from differences, sums over CPUs, and words that say what a number means."""

from __future__ import annotations

import json

import pytest

from nettop.columns import DecodeErrors
from nettop.decode.ctstats import ConntrackStats, CpuStats, ExpectCpuStats, TableStats
from nettop.model.counters import CONNTRACK, CounterTable, Key
from nettop.model.ledger import LedgerRow
from nettop.model.view import SortKey, ViewSpec

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def stats(*found: CpuStats | ExpectCpuStats | TableStats) -> ConntrackStats:
    return ConntrackStats(
        1,
        0,
        tuple(one for one in found if isinstance(one, CpuStats)),
        tuple(one for one in found if isinstance(one, ExpectCpuStats)),
        tuple(one for one in found if isinstance(one, TableStats)),
        DecodeErrors.none(),
    )


def read(counters: CounterTable, *readings: tuple[int, ConntrackStats]) -> None:
    for second, reading in readings:
        counters.apply(reading, 0, T0 + second * SECOND)


def cells(counters: CounterTable, name: str, *columns: str) -> tuple[str, ...]:
    rows = counters.snapshot(ViewSpec(("name", *columns)), T0 + 2 * SECOND).rows
    return next(row.cells[1:] for row in rows if row.cells[0] == name)


def test_two_readings_give_a_rate_one_gives_none() -> None:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, found=10))))
    assert cells(counters, "found", "value", "rate") == ("10", "–")
    read(counters, (2, stats(CpuStats(0, T0 + 2 * SECOND, found=110))))
    assert cells(counters, "found", "value", "rate") == ("110", "50/s")


def test_cpus_are_summed_and_a_wrap_at_32_bits_is_no_fall() -> None:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, drop=2**32 - 10), CpuStats(1, T0, drop=5))))
    later = T0 + SECOND
    read(counters, (1, stats(CpuStats(0, later, drop=10), CpuStats(1, later, drop=15))))
    assert cells(counters, "drop", "value", "rate") == ("25", "30/s")
    found = {(line["name"], line["cpu"]): line["rate"] for line in map(json.loads, counters.json_lines())}
    assert found == {("drop", None): 30.0, ("drop", 0): 20.0, ("drop", 1): 10.0}


def test_what_the_kernel_does_not_send_is_not_shown() -> None:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, found=1))))
    assert [series.key.name for series in counters.rows()] == ["found"]


def test_table_use_says_how_full_and_when_it_will_be() -> None:
    counters = CounterTable()
    read(counters, (0, stats(TableStats(T0, 1000, 10_000))))
    assert "10.0 % of the limit" in cells(counters, "entries", "meaning")[0]
    read(counters, (10, stats(TableStats(T0 + 10 * SECOND, 2000, 10_000))))
    assert "20.0 % of the limit, full in 1m20 at this rate" in cells(counters, "entries", "meaning")[0]
    read(counters, (20, stats(TableStats(T0 + 20 * SECOND, 10_000, 10_000))))
    assert "full, new flows are dropped" in cells(counters, "entries", "meaning")[0]
    assert counters.table_use("") == (10_000, 10_000) and counters.table_use("gone") == (None, None)


def test_a_table_that_empties_has_a_negative_rate() -> None:
    counters = CounterTable()
    read(counters, (0, stats(TableStats(T0, 1000, 10_000))), (1, stats(TableStats(T0 + SECOND, 400, 10_000))))
    assert cells(counters, "entries", "rate") == ("-600/s",)


@pytest.mark.parametrize("name", [f for f in CpuStats.__dataclass_fields__ if f not in ("cpu", "ts_ns")])
def test_every_counter_of_the_kernel_has_a_meaning(name: str) -> None:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, **{name: 1}))))
    assert len(cells(counters, name, "meaning")[0]) > 20


def test_the_ledger_is_a_group_beside_the_kernels_counters() -> None:
    counters = CounterTable()
    row = LedgerRow(1, "conntrack", "", 10, 7, 0, 0, 1, 2, 0, 0, 0)
    counters.put_ledger([row], T0)
    group, seen, meaning = cells(counters, "conntrack", "group", "value", "meaning")
    assert (group, seen) == ("ledger", "10")
    assert "shown 7" in meaning
    assert "lost by the kernel 2" in meaning
    assert "filtered" not in meaning, "what is 0 needs no room on a row"
    assert cells(counters, "conntrack lost", "value") == ("3",)
    quiet = LedgerRow(2, "nft", "", 10, 10, 0, 0, 0, 0, 0, 0, 0)
    counters.put_ledger([quiet], T0)
    assert cells(counters, "nft", "meaning") == ("records of this stream, all shown",)
    ident = next(series.ident for series in counters.rows() if series.key.name == "nft")
    detail = counters.detail(ident, T0)
    assert detail is not None and "filtered 0" in detail.lines[0][0][0], "the detail has the whole equation"


def test_json_has_the_contracts_keys() -> None:
    counters = CounterTable(lambda code: "gw-a")
    read(counters, (0, stats(ExpectCpuStats(0, T0, new=3))))
    assert json.loads(next(counters.json_lines())) == {
        "kind": "counter", "netns": "gw-a", "group": "expect", "name": "new", "cpu": None, "value": 3, "rate": None,
        "ts_ns": T0,
    }  # fmt: skip


def test_counters_sort_by_rate_and_keep_their_identity() -> None:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, found=0, insert=0, drop=0))))
    read(counters, (1, stats(CpuStats(0, T0 + SECOND, found=5, insert=50, drop=1))))
    spec = ViewSpec(("name",), sort=(SortKey("rate"),))
    rows = counters.snapshot(spec, T0).rows
    assert [row.cells[0] for row in rows] == ["insert", "found", "drop"]
    again = counters.snapshot(ViewSpec(("name",), anchor=rows[2].ident), T0)
    assert again.anchor is not None and again.rows[again.anchor].cells[0] == "drop"


def test_the_detail_shows_each_cpu() -> None:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, found=1), CpuStats(7, T0, found=2))))
    ident = counters.rows()[0].ident
    detail = counters.detail(ident, T0)
    assert detail is not None
    lines = ["".join(part for part, _ in line) for line in detail.lines]
    assert any(line.strip().startswith("cpu 7") for line in lines)
    assert counters.detail(999, T0) is None


def test_text_lines_say_group_name_value_and_meaning() -> None:
    counters = CounterTable()
    read(counters, (0, stats(TableStats(T0, 12, 100))))
    assert next(counters.text_lines()).split()[:3] == ["table", "entries", "12"]


def test_other_counters_find_their_place_and_hostile_names_are_escaped() -> None:
    counters = CounterTable()
    counters.put(Key("", "nft", "evil\x1b[2J"), 5, T0)
    read(counters, (0, stats(CpuStats(0, T0, found=1))))
    assert [series.key.group for series in counters.rows()] == [CONNTRACK, "nft"]
    assert cells(counters, "evil\\x1b[2J", "value") == ("5",)
    counters.forget("")
    assert counters.rows() == []
