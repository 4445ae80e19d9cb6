"""Counters: rates from differences, sums over CPUs, and words that say what a number means."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import DumpMark
from nettop.broker.requests import CounterName
from nettop.columns import DecodeErrors
from nettop.decode.conntrack.statistics import ConntrackStats, CpuStats, ExpectCpuStats, TableStats
from nettop.decode.net_statistics import NetStatistics, NfLogGroup, NfQueue, SoftnetCpu
from nettop.decode.nfacct import NfacctDecoded, NfacctObject
from nettop.decode.nftables.decoder import NftDecoded
from nettop.decode.nftables.objects import NftObject
from nettop.errors import FilterError
from nettop.model.counters.cells import COLUMNS
from nettop.model.counters.lines import ChangedRows, json_line, text_line
from nettop.model.counters.meanings import NET_MEANING
from nettop.model.counters.readings import CONNTRACK
from nettop.model.counters.series import WRAP32, WRAP64, Reading, Series
from nettop.model.counters.table import CounterTable
from nettop.model.filter.expression import parse
from nettop.model.ledger import LedgerRow
from nettop.model.table import CounterDetail, SortKey, ViewSpec

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def stats(*found: CpuStats | ExpectCpuStats | TableStats) -> ConntrackStats:
    return ConntrackStats(
        tuple(one for one in found if isinstance(one, CpuStats)),
        tuple(one for one in found if isinstance(one, ExpectCpuStats)),
        tuple(one for one in found if isinstance(one, TableStats)),
        DecodeErrors.none(),
    )


def read(counters: CounterTable, *readings: tuple[int, ConntrackStats]) -> None:
    for second, reading in readings:
        counters.apply(reading, 0, T0 + second * SECOND)


def json_lines(counters: CounterTable) -> list[str]:
    return list(map(json_line, counters.rows(per_cpu=True)))


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
    found = {(line["name"], line["cpu"]): line["rate"] for line in map(json.loads, json_lines(counters))}
    assert found == {("drop", None): 30.0, ("drop", 0): 20.0, ("drop", 1): 10.0}


def test_what_the_kernel_does_not_send_is_not_shown() -> None:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, found=1))))
    assert [series.key.name for series in counters.rows()] == ["found"]


def test_table_use_says_how_full_and_when_it_will_be() -> None:
    counters = CounterTable()
    read(counters, (0, stats(TableStats(T0, 1000, 10_000))))
    assert "10.0% of the limit, full in –" in text_line(counters.rows()[0])
    assert cells(counters, "entries", "use", "meaning") == ("10.0%", "flows in this namespace's table")
    read(counters, *((n, stats(TableStats(T0 + n * SECOND, 1000 + 100 * n, 10_000))) for n in range(1, 11)))
    assert cells(counters, "entries", "meaning")[0].startswith("full in ~80 s at +100/s; flows in")
    detail = counters.detail(of(counters, "entries").ident, T0)
    assert detail is not None and "20.0% of the limit, full in ~80 s at +100/s" in detail.lines[0][0][0]
    read(counters, (20, stats(TableStats(T0 + 20 * SECOND, 10_000, 10_000))))
    full = cells(counters, "entries", "meaning")[0]
    assert "full, new flows are dropped" in full and "raise net.netfilter.nf_conntrack_max" in full
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
    row = LedgerRow("conntrack", "", 10, 7, 0, 0, 1, 2, 0, 0)
    counters.put_ledger([row], T0)
    group, seen, meaning = cells(counters, "conntrack", "group", "value", "meaning")
    assert (group, seen) == ("ledger", "10")
    assert "shown 7" in meaning
    assert "lost by the kernel 2" in meaning
    assert "filtered" not in meaning, "what is 0 needs no room on a row"
    assert cells(counters, "conntrack lost", "value") == ("3",)
    quiet = LedgerRow("nft", "", 10, 10, 0, 0, 0, 0, 0, 0)
    counters.put_ledger([quiet], T0)
    assert cells(counters, "nft", "meaning") == ("records of this stream, all shown",)
    ident = next(series.ident for series in counters.rows() if series.key.name == "nft")
    detail = counters.detail(ident, T0)
    assert detail is not None and "filtered 0" in detail.lines[0][0][0], "the detail has the whole equation"


def test_a_stream_that_began_anew_counts_on_and_its_rate_is_not_that_of_the_one_before() -> None:
    counters = CounterTable()
    before = LedgerRow("conntrack", "gw-a", 5_000, 4_000, 1_000, 0, 0, 0, 0, 0)
    for second, seen in enumerate((10, 30)):
        again = LedgerRow("conntrack", "gw-a", seen, seen, 0, 0, 0, 0, 0, 0)
        counters.put_ledger([before, again], T0 + second * SECOND)
    assert cells(counters, "conntrack", "value", "rate") == ("5,030", "20/s")
    assert "shown 4,030" in cells(counters, "conntrack", "meaning")[0]


def test_json_has_the_contracts_keys() -> None:
    counters = CounterTable(lambda code: "gw-a")
    read(counters, (0, stats(ExpectCpuStats(0, T0, new=3))))
    assert json.loads(json_lines(counters)[0]) == {
        "kind": "counter", "netns": "gw-a", "group": "expect", "name": "new", "cpu": None, "value": 3, "delta": None,
        "rate": None, "ts_ns": T0,
    }  # fmt: skip


def test_the_counters_of_the_namespace_that_is_shown_stand_first() -> None:
    labels = ["zulu", "alpha"]
    counters = CounterTable(lambda code: labels[code], namespaces=labels)
    for code in (1, 0):
        counters.apply(stats(ExpectCpuStats(0, T0, new=code)), code, T0)
    assert [series.key.netns for series in counters.rows() if series.key.name == "new"] == ["zulu", "alpha"]


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
    assert text_line(counters.rows()[0]).split()[:3] == ["table", "entries", "12"]


def test_other_counters_find_their_place_and_hostile_names_are_escaped() -> None:
    counters = CounterTable()
    counters._one("", Reading("nft", "evil\x1b[2J", 5), T0)
    read(counters, (0, stats(CpuStats(0, T0, found=1))))
    assert [series.key.group for series in counters.rows()] == [CONNTRACK, "nft"]
    assert cells(counters, "evil\\x1b[2J", "value") == ("5",)


def objects(*found: NftObject) -> NftDecoded:
    return NftDecoded(1, objects=list(found))


def mark(what: str, begin: bool, complete: bool = False) -> DumpMark:
    return DumpMark(1, 0, T0, what, begin, complete)


def of(counters: CounterTable, name: str) -> Series:
    return next(series for series in counters.rows() if series.key.name == name)


def test_a_counter_that_falls_was_reset_its_rate_is_unknown_once_and_that_is_said() -> None:
    counters = CounterTable()
    for second, value in enumerate((100, 300)):
        counters.apply(objects(NftObject("ip", "t", "c", "counter", 1, 1, value, 10 * value)), 0, T0 + second * SECOND)
    assert cells(counters, "ip t c", "rate", "byte_rate") == ("200/s", "2.0k/s")
    assert cells(counters, "ip t c", "meaning")[0].startswith("3.0k bytes, 2.0k/s; "), "their columns are not shown"
    counters.apply(objects(NftObject("ip", "t", "c", "counter", 1, 1, 5, 50)), 0, T0 + 2 * SECOND)
    assert cells(counters, "ip t c", "value", "rate", "byte_rate") == ("5", "–", "–")
    assert "reset at" in cells(counters, "ip t c", "meaning")[0]
    assert of(counters, "ip t c").delta is None and list(of(counters, "ip t c").rates) == [200.0]
    counters.apply(objects(NftObject("ip", "t", "c", "counter", 1, 1, 15, 150)), 0, T0 + 3 * SECOND)
    assert cells(counters, "ip t c", "rate") == ("10/s",)
    assert "reset" not in cells(counters, "ip t c", "meaning")[0]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=20), st.sampled_from([WRAP32, WRAP64]))
def test_a_counters_rate_is_never_negative_nor_huge_after_a_fall(values: list[int], wrap: int) -> None:
    counters = CounterTable()
    for second, value in enumerate(values):
        counters._one("", Reading("x", "n", value % wrap, wrap), T0 + second * SECOND)
        rate = of(counters, "n").rate
        fell = second > 0 and value % wrap < values[second - 1] % wrap
        assert rate is None or 0 <= rate <= (wrap / 2 if fell else wrap)


def test_objects_can_be_reset_by_the_name_the_kernel_knows_them_by() -> None:
    counters = CounterTable()
    counters.apply(
        objects(
            NftObject("inet", "t\x1b", "c", "counter", 1, 1, 1, 1),
            NftObject("ip6", "t", "q", "quota", 2, 1, quota=10, used=11, inverted=True),
            NftObject("ip", "t", "l", "limit", 3, 1, rate=400, unit=60, burst=5, limit_type="packets"),
        ), 0, T0,
    )  # fmt: skip
    counters.apply(NfacctDecoded(T0, (NfacctObject("a", 1, 2, 2, 100, "bytes", False),), DecodeErrors.none()), 0, T0)
    names = {row.key.name: counters.reset_name(row.ident) for row in counters.rows()}
    assert names == {
        "inet t\x1b c": CounterName("nft-counter", 1, "t\x1b", "c"),
        "ip6 t q": CounterName("nft-quota", 10, "t", "q"),
        "ip t l": None,
        "a": CounterName("nfacct", 0, "", "a"),
    }
    assert counters.reset_name(999) is None
    detail = counters.detail(of(counters, "a").ident, T0)
    assert isinstance(detail, CounterDetail) and detail.resettable is True


def test_a_quota_says_how_much_of_it_is_used_and_a_limit_what_it_lets_through() -> None:
    counters = CounterTable()
    counters.apply(
        objects(
            NftObject("ip6", "t", "q", "quota", 2, 1, quota=10, used=11, inverted=True),
            NftObject("ip", "t", "l", "limit", 3, 0, rate=400, unit=60, burst=5, limit_type="packets"),
            NftObject("ip", "t", "b", "limit", 3, 2, rate=10**6, unit=1, limit_type="bytes", inverted=True),
        ), 0, T0,
    )  # fmt: skip
    assert cells(counters, "ip6 t q", "value", "use") == ("11", "110%")
    assert "OVER" in cells(counters, "ip6 t q", "meaning")[0]
    assert "400 per minute, burst 5 packets" in cells(counters, "ip t l", "meaning")[0]
    assert "what is over 1.0M bytes per second" in cells(counters, "ip t b", "meaning")[0]


def test_an_object_that_a_complete_dump_does_not_show_is_gone_an_incomplete_one_removes_none() -> None:
    counters = CounterTable()
    both = [NftObject("ip", "t", name, "counter", 1, 1, 1, 1) for name in ("a", "b")]

    def dump(complete: bool, *found: NftObject) -> list[str]:
        counters.apply(mark("nft-objects", True), 0, T0)
        counters.apply(objects(*found), 0, T0)
        counters.apply(mark("nft-objects", False, complete), 0, T0)
        return [row.key.name for row in counters.rows()]

    assert dump(True, *both) == ["ip t a", "ip t b"]
    assert dump(False, both[0]) == ["ip t a", "ip t b"]
    counters.apply(NfacctDecoded(T0, (NfacctObject("n", 1, 2, 2, None, "", False),), DecodeErrors.none()), 0, T0)
    assert dump(True, both[0]) == ["ip t a", "n"], "other kinds stay"


def test_expectations_are_what_was_made_less_what_went_against_their_limit() -> None:
    counters = CounterTable()
    counters.put_sysctls({"net.netfilter.nf_conntrack_expect_max": "4096"}, 0, T0)
    read(counters, (0, stats(ExpectCpuStats(0, T0, 0, 2**32 - 1, 2), ExpectCpuStats(1, T0, 0, 1024, 2**32 - 2))))
    assert cells(counters, "expectations", "value", "use") == ("1,023", "25.0%")
    assert cells(counters, "max_expectations", "value") == ("4,096",)


def test_buckets_say_how_long_chains_are() -> None:
    counters = CounterTable()
    read(counters, (0, stats(TableStats(T0, 4096, 10_000))))
    counters.put_sysctls(
        {"net.netfilter.nf_conntrack_buckets": "1024", "net.netfilter.nf_conntrack_expect_max": "x"}, 0, T0
    )
    assert "chains of 8.00" in cells(counters, "buckets", "meaning")[0]
    assert [row.key.name for row in counters.rows()] == ["entries", "max_entries", "buckets"]


def test_what_never_counted_sinks_to_the_end_and_comes_up_when_it_moves() -> None:
    counters = CounterTable()
    counters.apply(NetStatistics(T0, {"IpInDiscards": 0, "TcpRetransSegs": 7, "UdpNoPorts": 0}), 0, T0)
    assert [row.key.name for row in counters.rows()] == ["TcpRetransSegs", "IpInDiscards", "UdpNoPorts"]
    counters.apply(NetStatistics(T0 + SECOND, {"IpInDiscards": 3, "TcpRetransSegs": 7, "UdpNoPorts": 0}), 0, T0)
    assert [row.key.name for row in counters.rows()] == ["IpInDiscards", "TcpRetransSegs", "UdpNoPorts"]
    assert cells(counters, "IpInDiscards", "rate") == ("3/s",)


def test_queues_and_logs_leave_with_their_readers_softnet_is_summed_over_cpus() -> None:
    counters = CounterTable()
    queue, log = NfQueue(3, 4242, 5, 2, 65531, 6, 7, 8), NfLogGroup(2, 4242, 1, 2, 65535, 100)
    cpus = [SoftnetCpu(0, 10, 1, 2), SoftnetCpu(3, 20, 3, 4)]
    counters.apply(NetStatistics(T0, {}, cpus, [queue], [log]), 0, T0)
    values = {(row.key.group, row.key.name): row.value for row in counters.rows()}
    assert values == {
        ("nfqueue", "3 packets"): 8, ("nfqueue", "3 waiting"): 5, ("nfqueue", "3 dropped"): 6,
        ("nfqueue", "3 user dropped"): 7, ("nflog", "2 waiting"): 1,
        ("softnet", "dropped"): 4, ("softnet", "time_squeeze"): 6, ("softnet", "processed"): 30,
    }  # fmt: skip
    counters.apply(NetStatistics(T0 + SECOND, {}, cpus, [], []), 0, T0)
    assert {row.key.group for row in counters.rows()} == {"softnet"}


def test_a_text_without_those_files_removes_nothing() -> None:
    counters = CounterTable()
    counters.apply(NetStatistics(T0, {}, [], [NfQueue(3, 4242, 5, 2, 65531, 6, 7, 8)], None), 0, T0)
    counters.apply(NetStatistics(T0 + SECOND), 0, T0)
    assert len(counters.rows()) == 4


def test_advice_comes_with_what_moves() -> None:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, chain_toolong=4))))
    assert "hashsize" not in cells(counters, "chain_toolong", "meaning")[0]
    read(counters, (1, stats(CpuStats(0, T0 + SECOND, chain_toolong=9))))
    assert "hashsize" in cells(counters, "chain_toolong", "meaning")[0]


def test_every_counter_of_softnet_and_snmp_has_a_meaning() -> None:
    counters = CounterTable()
    names = {name for words in NET_MEANING.values() for name in words}
    counters.apply(NetStatistics(T0, dict.fromkeys(names, 1), [SoftnetCpu(0, 1, 1, 1, 1, 1, 1)]), 0, T0)
    assert {row.key.name for row in counters.rows()} >= names
    assert all(len(row.about.meaning) > 10 for row in counters.rows())


def test_rounds_print_all_once_then_what_moved_or_came_to_rest_and_the_tables_entries_always() -> None:
    counters, changes = CounterTable(), ChangedRows()

    def round_of(second: int, found: int, drop: int) -> list[tuple[str, int | None, int | None]]:
        at = T0 + second * SECOND
        read(counters, (second, stats(CpuStats(0, at, found=found, drop=drop), TableStats(at, 5, 10))))
        rows = [json.loads(json_line(*moved)) for moved in changes(counters.rows())]
        return [(row["name"], row["value"], row["delta"]) for row in rows]

    assert round_of(0, 1, 0) == [("entries", 5, None), ("max_entries", 10, None), ("drop", 0, None), ("found", 1, None)]
    assert round_of(1, 4, 0) == [("entries", 5, 0), ("found", 4, 3)]
    assert round_of(2, 4, 0) == [("entries", 5, 0), ("found", 4, 0)]
    assert round_of(3, 4, 0) == [("entries", 5, 0)]


def test_deltas_of_lines_add_up_whatever_was_read_between_them() -> None:
    counters, changes = CounterTable(), ChangedRows()

    def line(second: int, packets: int) -> dict[str, Any] | None:
        at = T0 + second * SECOND
        counters.apply(objects(NftObject("ip", "t", "c", "counter", 1, 1, packets, 10 * packets)), 0, at)
        return next((json.loads(json_line(*moved)) for moved in changes(counters.rows())), None) if second % 2 else None

    readings = [0, 5, 6, 6, 9, 9, 9, 9, 9, 9, 2, 4, 4, 7]
    lines = [found for second, packets in enumerate(readings) if (found := line(second, packets))]
    assert [(one["value"], one["delta"], one["rate"], one["bytes_delta"]) for one in lines] == [
        (5, None, None, None),
        (6, 1, 0.5, 10),  # its last two readings are the same
        (9, 3, 1.5, 30),
        (9, 0, 0.0, 0),  # it has come to rest; then nothing, until it was reset
        (4, None, None, None),
        (7, 3, 1.5, 30),
    ]


def test_a_line_waits_for_a_new_reading() -> None:
    counters, changes = CounterTable(), ChangedRows()
    read(counters, (0, stats(TableStats(T0, 5, 10), CpuStats(0, T0, found=1))))
    assert len(list(changes(counters.rows()))) == 3
    assert list(changes(counters.rows())) == []


def test_deltas_cross_a_wrap_at_32_bits() -> None:
    counters, changes = CounterTable(), ChangedRows()
    read(counters, (0, stats(CpuStats(0, T0, drop=2**32 - 10), CpuStats(1, T0, drop=5))))
    list(changes(counters.rows()))
    later = T0 + SECOND
    read(counters, (1, stats(CpuStats(0, later, drop=10), CpuStats(1, later, drop=15))))
    ((row, moves),) = changes(counters.rows())
    assert (row.value, moves[0].delta, moves[0].rate) == (25, 30, 30.0)


def test_json_has_units_limits_and_bytes_where_they_apply_and_escapes_hostile_names() -> None:
    counters = CounterTable()
    counters.apply(objects(NftObject("ip", "t", "c\x1b\u202e", "counter", 1, 1, 3, 4)), 0, T0)
    read(counters, (0, stats(TableStats(T0, 5, 10))))
    entries, _, counter = json_lines(counters)
    assert json.loads(entries)["unit"] == "entries" and json.loads(entries)["limit"] == 10
    assert counter.isascii() and counter.isprintable()
    found = json.loads(counter)
    assert (found["name"], found["value"], found["unit"]) == ("ip t c\x1b\u202e", 3, "packets")
    assert (found["bytes"], found["bytes_delta"], found["bytes_rate"]) == (4, None, None)
    assert "limit" not in found


@pytest.mark.parametrize("key", [column.key for column in COLUMNS if column.sortable])
@pytest.mark.parametrize("descending", [True, False])
def test_every_column_sorts(key: str, descending: bool) -> None:
    counters = CounterTable()
    counters.apply(objects(*(NftObject("ip", "t", f"c{n}", "counter", 1, 1, n, 9 - n) for n in range(9))), 0, T0)
    read(counters, (0, stats(TableStats(T0, 5, 10), CpuStats(0, T0, found=3))))
    counters.apply(objects(NftObject("ip", "t", "q", "quota", 2, 1, quota=10, used=9)), 0, T0)
    rows = counters.snapshot(ViewSpec((key,), sort=(SortKey(key, descending),)), T0).rows
    plain = counters.snapshot(ViewSpec((key,), sort=(SortKey(key, not descending),)), T0).rows
    assert len(rows) == 13 and {row.ident for row in rows} == {row.ident for row in plain}
    assert key in ("netns", "rate", "byte_rate") or [row.cells for row in rows] != [row.cells for row in plain]


@pytest.mark.parametrize("descending", [True, False])
def test_counters_without_a_value_come_last_either_way(descending: bool) -> None:
    counters = CounterTable()
    read(counters, (0, stats(TableStats(T0, 5, 10), CpuStats(0, T0, found=3))))
    counters.apply(objects(NftObject("ip", "t", "q", "quota", 2, 1, quota=10, used=9)), 0, T0)
    rows = counters.snapshot(ViewSpec(("use",), sort=(SortKey("use", descending),)), T0).rows
    used = [row.cells[0] for row in rows]
    assert used[:2] == (["90.0%", "50.0%"] if descending else ["50.0%", "90.0%"]) and not any(used[2:])


def named(counters: CounterTable, values: dict[str, int], second: int) -> None:
    """A whole listing of named counters."""
    now_ns = T0 + second * SECOND
    found = (NftObject("ip", "t", name, "counter", 1, 1, value, 0) for name, value in values.items())
    counters.apply(mark("nft-objects", True), 0, now_ns)
    counters.apply(objects(*found), 0, now_ns)
    counters.apply(mark("nft-objects", False, complete=True), 0, now_ns)


def test_a_held_order_of_counters_stays_what_is_gone_leaves_and_what_is_new_comes_last() -> None:
    counters = CounterTable()
    sort = (SortKey("value"),)
    named(counters, {"a": 40, "b": 30, "c": 20, "d": 10}, 0)
    live, held = ViewSpec(("name", "value"), sort=sort), ViewSpec(("name", "value"), sort=sort, frozen=True)
    assert [row.cells[0] for row in counters.snapshot(live, T0).rows] == ["ip t a", "ip t b", "ip t c", "ip t d"]
    named(counters, {"a": 41, "c": 21, "d": 99, "e": 70, "f": 80}, 1)
    shown = counters.snapshot(held, T0 + SECOND)
    assert [row.cells for row in shown.rows] == [
        ("ip t a", "41"), ("ip t c", "21"), ("ip t d", "99"), ("ip t f", "80"), ("ip t e", "70"),
    ]  # fmt: skip
    assert (shown.matched, shown.total, shown.notes) == (5, 5, ())
    now = counters.snapshot(live, T0 + SECOND)
    assert [row.cells[1] for row in now.rows] == ["99", "80", "70", "41", "21"]


def test_the_cursors_counter_is_found_and_the_window_never_passes_the_end() -> None:
    counters = CounterTable()
    named(counters, {"a": 40, "b": 30, "c": 20, "d": 10}, 0)
    spec = ViewSpec(("name",), height=2, first=9, sort=(SortKey("value"),))
    last = counters.snapshot(spec, T0)
    assert (last.first, [row.cells[0] for row in last.rows]) == (2, ["ip t c", "ip t d"])
    followed = ViewSpec(("name",), height=3, sort=(SortKey("value"),), follow=True, anchor=last.rows[0].ident)
    shown = counters.snapshot(followed, T0)
    assert (shown.first, shown.anchor) == (1, 2)
    named(counters, {"a": 40, "b": 30, "d": 10}, 1)
    assert counters.snapshot(followed, T0 + SECOND).anchor is None


def test_counters_without_end_are_left_out_and_the_table_says_so() -> None:
    counters = CounterTable(max_counters=20)
    cpus = [CpuStats(number, T0, found=1, insert_failed=1) for number in range(50)]
    read(counters, (0, stats(*cpus)))
    for number in range(50):
        counters.apply(objects(NftObject("ip", "t", f"c{number}", "counter", 1, 1, number, 9)), 0, T0)
    drawn = counters.snapshot(ViewSpec(("name",)), T0)
    assert len(json_lines(counters)) <= 20 and counters.left_out > 0
    assert "some are left out" in "".join(text for text, _ in drawn.totals)
    read(counters, (1, stats(*cpus)))
    counters._drop([row.key for row in counters.rows(per_cpu=True)])
    assert json_lines(counters) == []
    read(counters, (2, stats(CpuStats(0, T0, found=1))))
    assert len(counters.rows()) == 1, "there is room again"


def shown(counters: CounterTable, text: str = "", zeroes: bool = False) -> list[str]:
    spec = ViewSpec(("name",), height=999, filter=parse(text, "counter"), zeroes=zeroes)
    return [row.cells[0] for row in counters.snapshot(spec, T0 + 2 * SECOND).rows]


def varied() -> CounterTable:
    counters = CounterTable()
    read(counters, (0, stats(CpuStats(0, T0, found=10, drop=0), TableStats(T0, 0, 262_144))))
    read(
        counters, (1, stats(CpuStats(0, T0 + SECOND, found=12, drop=0, insert=0), TableStats(T0 + SECOND, 0, 262_144)))
    )
    counters.apply(objects(NftObject("inet", "fw", "mine", "counter", 1, 1, packets=0, bytes=0)), 0, T0)
    counters.put_ledger([LedgerRow("events", "", 10, 10, 0, 0, 0, 0, 0, 0)], T0)
    return counters


def test_zeroes_of_the_kernel_are_hidden_until_they_are_asked_for() -> None:
    counters = varied()
    names = shown(counters)
    assert "found" in names and "insert" not in names
    assert "drop" in names, "that nothing was dropped is an answer"
    assert {"entries", "inet fw mine"} <= set(names), "an empty table and what a person made are shown"
    assert "insert" in shown(counters, zeroes=True)
    snapshots = (counters.snapshot(ViewSpec(("name",), zeroes=on), T0) for on in (False, True))
    totals = ["".join(text for text, _ in snapshot.totals) for snapshot in snapshots]
    hidden = len(shown(counters, zeroes=True)) - len(names)
    assert hidden == 1 and "z 1 zero hidden" in totals[0] and "z hides zeroes" in totals[1]


def test_the_ledger_comes_last_also_after_zeroes() -> None:
    assert shown(varied())[-1] == shown(varied(), zeroes=True)[-1] == "events"
    assert varied().rows()[-1].key.group == "ledger"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("drop", ["drop", "early_drop"]),
        ("EARLY", ["early_drop"]),
        ("name drop", ["drop"]),
        ("group conntrack and value > 11", ["found"]),
        ("rate > 0", ["found"]),
        ("fw or group ledger", ["inet fw mine", "events"]),
        ("bytes = 0", ["inet fw mine"]),
        ('"fw mine"', ["inet fw mine"]),
        ("not (group conntrack or table) and not name *mine", ["events"]),
        ("nothing", []),
    ],
)
def test_counters_are_found_by_words_and_numbers_zeroes_too(text: str, found: list[str]) -> None:
    counters = varied()
    read(counters, (2, stats(CpuStats(0, T0 + 2 * SECOND, found=14, drop=0, early_drop=0))))
    assert shown(counters, text) == found


@pytest.mark.parametrize("text", ["tcp", "nat", "host", "established", "src", "less", "packets"])
def test_words_of_other_filters_are_parts_of_counters_names(text: str) -> None:
    assert shown(varied(), text) == []
    assert shown(varied(), f"{text} or found") == ["found"]


@pytest.mark.parametrize("text", ["host 10.0.0.1", "value", "rate >", "name", "(drop", "value > x", "drop and"])
def test_what_counters_cannot_be_asked_is_refused(text: str) -> None:
    with pytest.raises(FilterError):
        parse(text, "counter")
