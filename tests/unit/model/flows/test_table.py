"""The flow table as screens and the command line see it."""

from __future__ import annotations

import itertools
import json
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import Gap
from nettop.columns import (
    EVENT_DESTROY,
    EVENT_NEW,
    EVENT_UPDATE,
    HAVE_HELPER,
    HAVE_LABELS,
    HAVE_OPORTS,
    HAVE_RPORTS,
    HAVE_TIMEOUT,
    Strings,
)
from nettop.errors import UsageError
from nettop.kinds import GapReason
from nettop.model.filter.expression import parse
from nettop.model.flows.cells import state_role
from nettop.model.flows.clipboard import flow_text
from nettop.model.flows.joins import FlowJoins, ProcessProvider
from nettop.model.flows.table import FlowTable
from nettop.model.processes.processes import FORWARDED
from nettop.model.table import Detail, Line, Snapshot, SortKey, ViewSpec
from nettop.text.flow import STATE_LABELS
from tests.unit.model.flows.flow_rows import SECOND, T0, begin, decoded, end, ip, row

IPS_SRC_NAT, IPS_DST_NAT = 1 << 4, 1 << 5


def table(*rows: dict[str, Any], strings: Strings | None = None, joins: FlowJoins | None = None) -> FlowTable:
    flows = FlowTable(strings or Strings(), lambda code: ("", "gw-a")[code], joins=joins)
    flows.apply(begin(), 0, T0)
    flows.apply(decoded(*rows), 0, T0)
    flows.apply(end(), 0, T0)
    return flows


def shown(flows: FlowTable, *keys: str, sort: str = "id", **spec: Any) -> list[tuple[str, ...]]:
    spec.setdefault("height", 100)
    order = (SortKey(sort, descending=False),)
    return [r.cells for r in flows.snapshot(ViewSpec(keys, sort=order, **spec), T0 + 5 * SECOND).rows]


def text(lines: Line | tuple[Line, ...]) -> str:
    return "".join(part for part, _ in lines) if lines and isinstance(lines[0][0], str) else "\n".join(map(text, lines))  # type: ignore[arg-type]


def parsed(flows: FlowTable, **given: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in flows.json_lines(flows.rows(**given))]


def snat(**given: Any) -> dict[str, Any]:
    nat = {"rdst_lo": ip("100.100.100.1"), "rdport": 56303, "status": 0x8E | IPS_SRC_NAT, "proto": 6, "state": 3}
    return row("192.168.1.2", 56303, "200.200.200.1", 443, **(nat | given))


# -- cells -------------------------------------------------------------------------------------------------------


def test_a_masqueraded_connection_shows_whom_the_peer_answers_to() -> None:
    flows = table(snat(id=1, timeout=431_940, obytes=2_100_000, rbytes=84_100_000))
    assert shown(flows, "proto", "state", "original", "reply", "nat", "up", "down", "timeout") == [
        ("tcp", "ESTABLISHED", "192.168.1.2:56303 → 200.200.200.1:443", "100.100.100.1:56303",
         "SNAT 100.100.100.1:56303", "2.1M", "84.1M", "5d00h")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"rsrc_lo": ip("10.9.0.4"), "status": IPS_DST_NAT}, "DNAT 10.9.0.4:80"),
        ({"rsport": 8080, "status": IPS_DST_NAT}, "DNAT port 8080"),
        ({"rdport": 9, "status": IPS_SRC_NAT}, "SNAT port 9"),
        ({"rdport": 9, "rsport": 9, "status": IPS_SRC_NAT | IPS_DST_NAT}, "DNAT port 9, SNAT port 9"),
        ({"rdst_lo": 1, "rsport": 9, "status": IPS_SRC_NAT | IPS_DST_NAT}, "DNAT port 9, SNAT 0.0.0.1:1000"),
        ({"rdst_lo": 1, "status": 0}, ""),  # not confirmed by the status
        ({"rdst_lo": 1}, "SNAT 0.0.0.1:1000"),  # no status to contradict
    ],
)
def test_nat_is_what_differs_and_the_status_confirms(change: dict[str, int], word: str) -> None:
    assert shown(table(row(id=1, **change)), "nat") == [(word,)]


def test_an_echo_request_is_not_taken_for_port_translation() -> None:
    ping = {"proto": 1, "osport": 77, "odport": 8 << 8, "rsport": 77, "rdport": 0, "status": 0x3A}
    assert shown(table(row(id=1, **ping)), "nat", "original") == [("", "10.0.0.1 → 10.0.0.2 id 77 echo request")]
    assert shown(table(row(id=1, **(ping | {"rsport": 78}))), "nat") == [("SNAT id 78",)]


def test_what_is_not_known_is_a_dash_and_never_zero() -> None:
    keys = ("up", "down", "rate", "rate_up", "timeout", "mark", "packets", "bytes", "status", "helper", "labels")
    assert shown(table(row(id=1)), *keys) == [("–",) * len(keys)]


def test_states_of_protocols_without_states_are_conntracks_flags() -> None:
    flows = table(row(sport=1, id=1, status=8), row(sport=2, id=2, status=10), row(sport=3, id=3, status=14))
    assert shown(flows, "state") == [("UNREPLIED",), ("replied",), ("assured",)]


def test_hostile_names_reach_the_screen_escaped() -> None:
    strings = Strings()
    code = strings.code(b"\x1b[2Jftp\xff")
    flows = table(row(id=1, helper=code, have=HAVE_HELPER), strings=strings)
    assert shown(flows, "helper") == [("\\x1b[2Jftp\\xff",)]
    (line,) = flows.json_lines(flows.rows())
    assert line.isascii() and "\x1b" not in line
    assert json.loads(line)["helper"] == "\x1b[2Jftp\\xff"  # escaped once, by JSON


def test_age_is_the_kernels_or_the_new_events_or_at_least_since_first_seen() -> None:
    flows = table(row(sport=1, id=1, start_ns=T0 - 60 * SECOND), row(sport=3, id=3))
    flows.apply(decoded(row(sport=2, id=2, event=EVENT_NEW, ts_ns=T0 + 3 * SECOND)), 0, T0 + 3 * SECOND)
    assert shown(flows, "age") == [("1m05",), ("2s",), ("≥5s",)]


def test_totals_say_how_many_of_which_kind() -> None:
    rows = [snat(id=1), snat(osport=2, id=2, state=7), row(sport=5, id=3, status=8), row(sport=6, id=4, status=8)]
    line = text(table(*rows).snapshot(ViewSpec(("proto",), filter=parse("udp", "flow")), T0).totals)
    assert line.startswith("4 flows, 2 match   –   udp 2   UNREPLIED 2")
    line = text(table(*rows).snapshot(ViewSpec(("proto",)), T0).totals)
    assert line.startswith("4 flows   –   tcp 2   udp 2   ESTABLISHED 1   UNREPLIED 2   TIME_WAIT 1")


# -- order and window --------------------------------------------------------------------------------------------


def many(n: int) -> FlowTable:
    rng = np.random.default_rng(7)
    sizes = rng.integers(0, 50, n).tolist()
    return table(*(row(sport=i + 1, id=i, obytes=size, rbytes=0) for i, size in enumerate(sizes)))


def idents(snapshot: Snapshot) -> list[int]:
    return [r.ident for r in snapshot.rows]


@given(st.integers(0, 330), st.integers(1, 80), st.booleans())
def test_every_window_is_a_slice_of_one_order(first: int, height: int, descending: bool) -> None:
    flows = many(300)
    sort = (SortKey("bytes", descending),)
    whole = idents(flows.snapshot(ViewSpec(("id",), height=300, sort=sort), T0))
    assert len(set(whole)) == 300
    part = many_window(flows, first, height, sort)
    start = min(first, max(0, 300 - height))
    assert part.first == start and idents(part) == whole[start : start + height]
    fresh = many(300)
    assert idents(many_window(fresh, first, height, sort)) == whole[start : start + height]


def many_window(flows: FlowTable, first: int, height: int, sort: tuple[SortKey, ...]) -> Snapshot:
    return flows.snapshot(ViewSpec(("id",), first=first, height=height, sort=sort), T0)


@pytest.mark.parametrize("key", ["bytes", "original", "state", "id"])
def test_the_anchor_is_found_wherever_it_stands(key: str) -> None:
    flows = many(300)
    sort = (SortKey(key),)
    whole = idents(flows.snapshot(ViewSpec(("id",), height=300, sort=sort), T0))
    for place in (0, 17, 255, 299):
        again = many(300)
        anchor = again.snapshot(ViewSpec(("id",), height=5, sort=sort, anchor=whole[place]), T0).anchor
        assert anchor == place


def test_the_anchor_of_a_flow_that_is_gone_is_none() -> None:
    flows = many(3)
    ident = idents(flows.snapshot(ViewSpec(("id",)), T0))[0]
    flows.apply(decoded(row(sport=1, id=0, event=EVENT_DESTROY)), 0, T0 + SECOND)
    assert flows.snapshot(ViewSpec(("id",), anchor=ident), T0 + 2 * SECOND).anchor is None
    assert flows.detail(ident, T0) is None


def test_two_keys_decide_where_one_does_not() -> None:
    flows = table(*(row(sport=i, id=i, mark=i % 2, obytes=i) for i in range(1, 9)))
    sort = (SortKey("mark"), SortKey("bytes", descending=False))
    found = [r.cells[0] for r in flows.snapshot(ViewSpec(("id",), sort=sort), T0).rows]
    assert found == ["1", "3", "5", "7", "2", "4", "6", "8"]


@pytest.mark.parametrize("descending", [True, False])
def test_what_is_absent_comes_last_either_way(descending: bool) -> None:
    flows = table(row(sport=1, id=1), row(sport=2, id=2, obytes=5), row(sport=3, id=3, obytes=9))
    order = flows.rows(sort=(SortKey("bytes", descending),))
    assert flows.store["id"][order].tolist() == ([3, 2, 1] if descending else [2, 3, 1])


def test_a_key_that_is_none_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"'colour'.*bytes"):
        table(row(id=1)).rows(sort=(SortKey("colour"),))


@pytest.mark.parametrize("key", sorted(FlowTable.sortable))
def test_every_key_that_is_offered_sorts(key: str) -> None:
    flows = many(20)
    assert len(flows.rows(sort=(SortKey(key),), limit=7)) == 7
    assert {column.key for column in flows.columns if column.sortable} <= set(FlowTable.sortable)


def test_each_end_has_columns_of_its_own_to_show_and_to_sort_by() -> None:
    flows = table(snat(id=1), row("10.0.0.9", 5, dport=53, id=2), row("10.0.0.3", 7, id=3, proto=47))
    keys = ("src", "sport", "dst", "dport", "reply_src")
    assert set(keys) <= {column.key for column in flows.columns if column.sortable}
    assert [cells[-1] for cells in shown(flows, "dport", "id", sort="dport")] == ["2", "3", "1"]
    by_source = shown(flows, *keys, sort="src")
    assert [cells[:2] for cells in by_source if cells[0] == "10.0.0.9"] == [("10.0.0.9", "5")]
    gre = next(cells for cells in by_source if cells[0] == "10.0.0.3")
    assert (gre[1], gre[3]) == ("–", "–"), "GRE has no ports"


def test_every_column_can_be_shown() -> None:
    flows = table(snat(id=1, mark=5, timeout=3, obytes=1, rbytes=2, zone=2, start_ns=T0))
    assert len(shown(flows, *(column.key for column in flows.columns))[0]) == len(flows.columns)


def test_a_frozen_order_stays_while_flows_change_and_leave() -> None:
    flows = many(5)
    spec = ViewSpec(("id",), sort=(SortKey("bytes"),))
    before = idents(flows.snapshot(spec, T0))
    flows.apply(decoded(row(sport=99, id=99, event=EVENT_NEW), row(sport=3, id=2, event=EVENT_DESTROY)), 0, T0)
    frozen = ViewSpec(("id",), sort=(SortKey("bytes"),), frozen=True)
    kept = flows.snapshot(frozen, T0 + 60 * SECOND)
    after = idents(kept)
    assert kept.version == flows.version, "nothing else will come of it: nobody need ask again"
    assert after == [ident for ident in before if ident != 2 | 1 << 32]
    assert len(idents(flows.snapshot(spec, T0 + 120 * SECOND))) == 5


def test_while_the_order_is_held_the_totals_live_and_new_flows_are_counted() -> None:
    flows = many(5)
    frozen = ViewSpec(("id",), sort=(SortKey("bytes"),), frozen=True)
    assert flows.snapshot(frozen, T0).notes == ()
    flows.apply(decoded(row(sport=98, id=98, event=EVENT_NEW), row(sport=99, id=99, event=EVENT_NEW)), 0, T0)
    flows.apply(decoded(row(sport=3, id=2, event=EVENT_DESTROY)), 0, T0)
    shown = flows.snapshot(frozen, T0 + 60 * SECOND)
    assert text(shown.totals).startswith("6 flows ") and shown.matched == 4
    assert text(shown.notes[0]) == "SORT PAUSED 1m00, 2 new not shown"
    assert flows.snapshot(ViewSpec(("id",), sort=(SortKey("bytes"),)), T0 + 61 * SECOND).notes == ()


@pytest.mark.parametrize("count", [2, 700])
def test_an_order_of_which_no_flow_is_left_is_held_no_longer(count: int) -> None:
    flows = many(count)
    frozen = ViewSpec(("id",), sort=(SortKey("bytes"),), frozen=True, filter=parse("udp", "flow"))
    assert flows.snapshot(frozen, T0).matched == count
    gone = (row(sport=i + 1, id=i, event=EVENT_DESTROY) for i in range(count))
    flows.apply(decoded(*gone, row("10.0.0.9", sport=3, id=3, event=EVENT_NEW)), 0, T0)
    assert [cells.cells for cells in flows.snapshot(frozen, T0 + SECOND).rows] == [("3",)]


def test_a_held_order_shows_the_flows_that_are_left_deep_in_it() -> None:
    flows = many(700)
    frozen = ViewSpec(("id",), sort=(SortKey("bytes"),), frozen=True, height=10)
    last = flows.rows(sort=(SortKey("bytes"),))[-1]
    kept = int(flows.store["id"][last])
    assert flows.snapshot(frozen, T0).matched == 700
    flows.apply(decoded(*(row(sport=i + 1, id=i, event=EVENT_DESTROY) for i in range(700) if i != kept)), 0, T0)
    left = flows.snapshot(frozen, T0 + SECOND)
    assert ([cells.cells for cells in left.rows], left.matched) == ([(str(kept),)], 1)


def test_a_row_reused_by_another_flow_is_not_shown_in_the_old_ones_place() -> None:
    flows = many(5)
    frozen = ViewSpec(("id",), sort=(SortKey("bytes"),), frozen=True)
    before = idents(flows.snapshot(frozen, T0))
    flows.apply(decoded(row(sport=3, id=2, event=EVENT_DESTROY)), 0, T0)
    flows.apply(decoded(row(sport=500, id=500, event=EVENT_NEW)), 0, T0)
    assert set(idents(flows.snapshot(frozen, T0))) < set(before)


def test_a_sorted_table_stands_still_until_its_time_has_come() -> None:
    flows = many(5)
    spec = ViewSpec(("id",), sort=(SortKey("id"),))
    flows.snapshot(spec, T0)
    flows.apply(decoded(row(sport=99, id=99, event=EVENT_NEW)), 0, T0)
    held = flows.snapshot(spec, T0 + SECOND // 20)
    assert held.matched == 5 and held.version < flows.version, "who asks knows that there is more"
    sorted_anew = flows.snapshot(spec, T0 + SECOND // 4)
    assert sorted_anew.matched == 6 and sorted_anew.version == flows.version


def test_following_shows_the_end() -> None:
    assert many(300).snapshot(ViewSpec(("id",), height=10, follow=True), T0).first == 290


def test_an_empty_table_has_an_empty_window() -> None:
    spec = ViewSpec(("proto",), sort=(SortKey("rate"),), filter=parse("tcp", "flow"))
    snapshot = FlowTable(Strings()).snapshot(spec, T0)
    assert (snapshot.rows, snapshot.matched, snapshot.total, snapshot.first) == ((), 0, 0, 0)


# -- filters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("host 100.100.100.1", [1]),
        ("port 443", [1]),
        ("src host 192.168.1.2", [1]),
        ("rdst host 100.100.100.1", [1]),
        ("nat", [1]),
        ("tcp and state established", [1]),
        ("unreplied", [2]),
        ("ip6", [4]),
        ("net fd00::/16", [4]),
        ("icmp", [3]),
        ("port 77", []),  # an ICMP id is no port
        ("mark 0x2a", [2]),
        ("zone 9", [2]),
        ("bytes > 1k", [1]),
        ("rate > 1", []),
        ("timeout < 31", [2]),
        ("age > 1", [1, 2, 3, 4]),
        ("not nat", [2, 3, 4]),
        ("helper ftp", [4]),
        ("netns gw-a", []),
    ],
)
def test_filters_see_what_the_screen_shows(expression: str, found: list[int]) -> None:
    strings = Strings()
    six = {"family": 10, "osrc_hi": 0xFD00 << 48, "odst_hi": 0xFD00 << 48, "rsrc_hi": 0xFD00 << 48}
    flows = table(
        snat(id=1, obytes=2000),
        row(id=2, status=8, mark=0x2A, zone=9, timeout=30),
        row(id=3, proto=1, osport=77, odport=8 << 8, rsport=77, rdport=0, status=14),
        row(id=4, **six, rdst_hi=0xFD00 << 48, helper=strings.code(b"ftp"), have=HAVE_HELPER),
        strings=strings,
    )
    rows = flows.rows(parse(expression, "flow"), now_ns=T0 + 10 * SECOND)
    assert sorted(flows.store["id"][rows].tolist()) == found


# -- JSON --------------------------------------------------------------------------------------------------------


def test_json_has_the_contracts_keys_first_kind_then_values() -> None:
    found = parsed(table(snat(id=7, timeout=9, mark=42, obytes=5, opackets=1, rbytes=6, rpackets=2, start_ns=T0)))[0]
    assert next(iter(found)) == "kind"
    assert found == {
        "kind": "flow", "netns": "", "family": "ipv4", "proto": "tcp", "src": "192.168.1.2", "sport": 56303,
        "dst": "200.200.200.1", "dport": 443, "reply_src": "200.200.200.1", "reply_sport": 443,
        "reply_dst": "100.100.100.1", "reply_dport": 56303, "state": "ESTABLISHED",
        "status": ["seen_reply", "assured", "confirmed", "src_nat", "src_nat_done"], "nat": ["snat"], "timeout": 9,
        "mark": 42, "zone": 0, "id": 7, "packets": 1, "bytes": 5, "reply_packets": 2, "reply_bytes": 6,
        "start_ns": T0, "helper": None, "labels": None, "rate": None, "process": None, "pid": None,
    }  # fmt: skip


def test_icmp_flows_have_type_code_and_id_instead_of_ports() -> None:
    ping = row(id=1, proto=58, family=10, osport=77, odport=128 << 8, rsport=77, rdport=129 << 8, odst_hi=0xFD00 << 48)
    found = parsed(table(ping))[0]
    assert (found["icmp_type"], found["icmp_code"], found["icmp_id"]) == (128, 0, 77)
    assert found["proto"] == "icmpv6" and found["dst"] == "fd00::a00:2" and "sport" not in found


def test_protocols_without_ports_have_null_ports() -> None:
    bare = row(id=1, proto=50) | {"have": row()["have"] & ~(HAVE_OPORTS | HAVE_RPORTS)}
    assert {parsed(table(bare))[0][key] for key in ("sport", "dport", "reply_sport", "reply_dport")} == {None}


def test_json_lines_are_right_for_every_mixture_of_rows() -> None:
    strings = Strings()
    rows = [
        row(sport=i % 60000 + 1, id=i, proto=(6, 17, 1, 132)[i % 4], mark=i, status=i % 1000, zone=i % 3,
            labels=strings.code(bytes([i % 5] + [0] * 15)), have=HAVE_LABELS | (HAVE_TIMEOUT if i % 2 else 0))
        for i in range(20_000)
    ]  # fmt: skip
    flows = table(*rows, strings=strings)
    found = {line["id"]: line for line in parsed(flows)}
    assert len(found) == 20_000
    for i in (0, 1, 2, 3, 9_999, 19_999):
        line = found[i]
        assert line["mark"] == i and line["zone"] == i % 3 and line["labels"] == hex(i % 5)
        assert line["timeout"] == (0 if i % 2 else None)
        assert line.get("sport", line.get("icmp_id")) == i % 60000 + 1


def test_text_lines_say_the_same_in_one_line() -> None:
    line = next(table(snat(id=7, timeout=9, mark=42)).text_lines(np.array([0])))
    assert line == (
        "tcp    ESTABLISHED  192.168.1.2:56303 → 200.200.200.1:443 reply 200.200.200.1:443 → 100.100.100.1:56303 "
        "SNAT ASSURED timeout 9 mark 42 id 7"
    )


class Owners:
    """The process of a flow is nginx or a "hostile" one by its port; of port 814 none is known, 815 is forwarded."""

    words = ("", "nginx", 'ev"il\x1b[2J%s', FORWARDED)

    def process_codes(self, data: Any) -> tuple[Any, tuple[str, ...]]:
        return np.select([data["osport"] == 812, data["osport"] == 813, data["osport"] == 815], [1, 2, 3]), self.words

    def pids(self, data: Any) -> Any:
        return np.where(data["osport"] < 814, data["osport"].astype(np.int64), -1)


def owned() -> FlowTable:
    rows = (row(sport=port, id=port, obytes=0, ts_ns=T0) for port in (812, 813, 814, 815))
    return table(*rows, joins=FlowJoins(processes=cast(ProcessProvider, Owners())))


def test_one_dump_and_nobody_who_was_asked_leave_rate_and_process_null() -> None:
    keys = ("rate", "process", "pid")
    assert [[line[key] for key in keys] for line in parsed(owned())] == [[None] * 3] * 4
    assert list(parsed(owned())[0])[-3:] == list(keys)


def test_json_has_the_rate_of_both_directions_where_it_is_known() -> None:
    flows = table(row(sport=1, obytes=0, rbytes=0), row(sport=2, obytes=0), row(sport=3))
    later = T0 + 2 * SECOND
    again = (row(sport=1, obytes=2000, rbytes=501, ts_ns=later), row(sport=2, obytes=0, ts_ns=later), row(sport=3))
    flows.apply(decoded(*again), 0, later)
    assert [line["rate"] for line in parsed(flows)] == [1250, 0, None]
    assert [copied["rate"] for copied in copies(flows)] == [1250, 0, None]


def copies(flows: FlowTable) -> list[dict[str, Any]]:
    return [json.loads(flow_text(view, "json")) for view in flows.views(flows.rows())]


def test_json_has_the_processes_when_they_are_asked_for() -> None:
    flows = owned()
    found = [json.loads(line) for line in flows.json_lines(flows.rows(), owners=True)]
    assert [(line["process"], line["pid"]) for line in found] == [
        ("nginx", 812), ('ev"il\x1b[2J%s', 813), (None, None), (None, None)
    ]  # fmt: skip
    last = flows.rows(sort=(SortKey("sport"),), limit=3)
    assert [json.loads(line)["pid"] for line in flows.json_lines(last, owners=True)] == [None, None, 813]


def test_text_ends_with_rate_and_process_when_they_are_asked_for() -> None:
    flows = owned()
    flows.apply(decoded(row(sport=812, id=812, obytes=146_000, ts_ns=T0 + SECOND)), 0, T0 + SECOND)
    lines = list(flows.text_lines(flows.rows(), rate=True, owners=True))
    assert lines[0].endswith(" bytes 146000 rate 146k/s process nginx[812]")
    assert lines[1].endswith(r' bytes 0 process ev"il\x1b[2J%s[813]') and lines[1].isprintable()
    assert lines[2].endswith("packets 0 bytes 0")
    assert next(flows.text_lines(flows.rows())).endswith(" bytes 146000")
    assert next(flows.text_lines(flows.rows(), rate=True)).endswith(" rate 146k/s")


# -- detail, namespaces, loss ------------------------------------------------------------------------------------


def test_the_detail_draws_both_tuples_with_the_nat_between() -> None:
    flows = table(snat(id=7, timeout=9, mark=42, obytes=5, opackets=1))
    ident = flows.snapshot(ViewSpec(("id",)), T0).rows[0].ident
    detail = flows.detail(ident, T0)
    assert isinstance(detail, Detail)
    lines = [text(line) for line in detail.lines]
    assert lines[0] == "    192.168.1.2:56303 ━━━━▶ 200.200.200.1:443"
    assert lines[1].strip() == "│ SNAT"
    assert lines[2] == "  100.100.100.1:56303 ◀━━━━ 200.200.200.1:443"
    assert lines[3].startswith("  original  1 packet  5 B") and lines[4].startswith("  reply     – packets")
    assert "SEEN_REPLY ASSURED CONFIRMED SRC_NAT SRC_NAT_DONE  (0x9e)" in "\n".join(lines)
    assert "0x2a (42)" in "\n".join(lines)


def test_after_a_loss_a_resync_is_wanted_until_a_later_dump_is_complete() -> None:
    flows = table(row(id=1))
    flows.apply(begin(), 0, T0)
    flows.apply(Gap(1, 0, 5, GapReason.KERNEL, T0, T0), 0, T0)
    flows.apply(end(), 0, T0)
    assert flows.resync_wanted(0), "that dump had begun before"
    flows.apply(begin(), 0, T0)
    flows.apply(end(complete=False), 0, T0)
    assert flows.resync_wanted(0)
    flows.apply(begin(), 0, T0)
    flows.apply(end(), 0, T0)
    assert not flows.resync_wanted(0) and len(flows) == 0


def test_forgetting_a_namespace_lets_go_of_its_flows_only() -> None:
    flows = table(row(id=1))
    flows.apply(decoded(row(id=1)), 1, T0)
    assert [line["netns"] for line in parsed(flows)] == ["", "gw-a"]
    flows.forget(1)
    assert [line["netns"] for line in parsed(flows)] == [""]


def test_the_flow_of_an_event_is_found_by_its_key() -> None:
    flows = table(row(sport=5, id=1), row(sport=6, id=2))
    wanted = flows.views(np.array([1]))[0]
    ident = flows.ident_of(wanted)
    assert ident is not None and flows.store.row_of(ident) == 1
    flows.apply(decoded(row(sport=6, id=2, event=EVENT_DESTROY)), 0, T0)
    assert flows.ident_of(wanted) is None


def test_an_update_of_an_unknown_flow_makes_it_known_without_a_birth() -> None:
    flows = FlowTable(Strings())
    flows.apply(decoded(row(id=1, event=EVENT_UPDATE, status=14)), 0, T0)
    assert shown(flows, "state", "age") == [("assured", "≥5s")]


def test_the_place_of_a_kept_order_stays_true_when_flows_above_it_leave() -> None:
    flows = table(*(row(sport=i + 1, id=i, obytes=1000 - i) for i in range(600)))
    sort = (SortKey("bytes"),)
    whole = idents(flows.snapshot(ViewSpec(("id",), height=600, sort=sort), T0))
    flows = table(*(row(sport=i + 1, id=i, obytes=1000 - i) for i in range(600)))
    flows.snapshot(ViewSpec(("id",), height=10, sort=sort), T0)
    for gone in (0, 3, 4):
        flows.apply(decoded(row(sport=gone + 1, id=gone, event=EVENT_DESTROY)), 0, T0)
    left = [ident for i, ident in enumerate(whole) if i not in (0, 3, 4)]
    spec = ViewSpec(("id",), height=10, sort=sort, frozen=True, anchor=whole[6])
    snapshot = flows.snapshot(spec, T0)
    assert idents(snapshot) == left[:10] and snapshot.anchor == left.index(whole[6]) and snapshot.matched == 597
    deep = flows.snapshot(ViewSpec(("id",), first=400, height=10, sort=sort, frozen=True), T0)
    assert idents(deep) == left[400:410]


def test_a_kept_order_is_of_the_values_it_was_made_from() -> None:
    flows = table(*(row(sport=i + 1, id=i, mark=i, zone=i) for i in range(600)))
    sort = (SortKey("zone", descending=False),)
    flows.snapshot(ViewSpec(("id",), height=5, sort=sort), T0)
    before = [r.cells[0] for r in flows.snapshot(ViewSpec(("id",), first=300, height=5, sort=sort), T0).rows]
    assert before == ["300", "301", "302", "303", "304"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_json_addresses_are_each_rows_own_in_any_mixture_of_families_and_nat(mix: list[tuple[bool, int, int]]) -> None:
    rows = []
    for n, (six, src, mapped) in enumerate(mix):
        hi = 0xFD00 << 48 if six else 0
        ends = {"osrc_lo": src + 1, "rdst_lo": mapped + 1, "osrc_hi": hi, "rdst_hi": hi, "odst_hi": hi, "rsrc_hi": hi}
        rows.append(row(sport=n + 1, id=n, family=10 if six else 2, **ends))
    found = {line["id"]: line for line in parsed(table(*rows))}
    for n, (six, src, mapped) in enumerate(mix):
        form = "fd00::{:x}" if six else "0.0.0.{}"
        assert found[n]["src"] == form.format(src + 1) and found[n]["reply_dst"] == form.format(mapped + 1)
        assert found[n]["dst"] == found[n]["reply_src"] == ("fd00::a00:2" if six else "10.0.0.2")


# -- when a screen has to look again ---------------------------------------------------------------------------------


def test_what_a_dump_says_of_known_flows_shows_at_its_end_and_new_flows_show_at_once() -> None:
    first, second = row("10.0.0.1", 1, "10.0.0.2", 2, id=1), row("10.0.0.1", 3, "10.0.0.2", 2, id=2)
    flows = FlowTable(Strings())
    flows.apply(begin(), 0, T0)
    versions = [flows.version]
    for item in (decoded(first), end(), begin(), decoded(first), decoded(first, second), decoded(second), end()):
        flows.apply(item, 0, T0)
        versions.append(flows.version)
    assert [after > before for before, after in itertools.pairwise(versions)] == [
        True, True, True, False, True, False, True
    ]  # fmt: skip


def test_a_sum_of_rates_says_how_many_flows_it_lacks() -> None:
    flows = table(row(sport=1, obytes=0, rbytes=0), row(sport=2), row(sport=3))
    again = decoded(row(sport=1, obytes=0, rbytes=0, ts_ns=T0 + SECOND), row(sport=2), row(sport=3))
    for item in (begin(), again, end()):
        flows.apply(item, 0, T0 + SECOND)
    spec = ViewSpec(("proto",))
    assert text(flows.snapshot(spec, T0 + SECOND).totals).startswith("3 flows   ≥0/s, 2 not counted   udp 3")
    counted = ViewSpec(("proto",), filter=parse("port 1", "flow"))
    assert text(flows.snapshot(counted, T0 + SECOND).totals).startswith("3 flows, 1 match   0/s   udp 1")


@pytest.mark.parametrize(
    ("word", "role"),
    [("ESTABLISHED", "good"), ("TIME_WAIT", "dim"), ("SYN_SENT", "warn"), ("UNREPLIED", "warn"), ("FIN_WAIT", "")],
)
def test_states_without_an_answer_warn_and_those_that_are_over_are_quiet(word: str, role: str) -> None:
    assert state_role(STATE_LABELS.index(word)) == role
    rows = [snat(id=1, state=7), row(sport=5, id=3, status=8)]
    roles = {part.split()[0]: role for part, role in table(*rows).snapshot(ViewSpec(("proto",)), T0).totals}
    assert (roles["TIME_WAIT"], roles["UNREPLIED"]) == ("dim", "warn")
