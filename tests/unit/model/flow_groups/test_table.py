"""Flows in groups: what a group is, what it adds up to, and that its filter selects exactly its flows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.columns import EVENT_DESTROY, EVENT_NEW, EVENT_UPDATE, HAVE_OPORTS, HAVE_RPORTS, Strings
from nettop.errors import UsageError
from nettop.model.filter.expression import parse
from nettop.model.filter.vocabulary import word_filter
from nettop.model.flow_groups.aggregate import grouped, indices_of
from nettop.model.flow_groups.table import GROUPS, FlowGroups
from nettop.model.flows.cells import RowView
from nettop.model.flows.derive import Data
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.table import FlowTable
from nettop.model.ordering import radix_order
from nettop.model.table import Cell, GroupDetail, Line, Snapshot, SortKey, ViewSpec
from nettop.text.sanitize import clean
from tests.unit.model.flows.flow_rows import ALWAYS, SECOND, T0, begin, decoded, end, ip, row

IPS_SEEN_REPLY, IPS_ASSURED, IPS_SRC_NAT, IPS_DST_NAT = 2, 4, 1 << 4, 1 << 5
FD = 0xFD00 << 48


class ByMark:
    """A provider of processes: the flow's mark says whose it is."""

    words = ("", "nginx", 'we"ird*', "[kworker]")

    def process(self, rows: Sequence[RowView]) -> Sequence[Cell]:
        return [(self.words[row.value("mark") % 4], "") for row in rows]

    def process_codes(self, data: Data) -> tuple[Any, Sequence[str]]:
        return data["mark"] % 4, self.words

    def pids(self, data: Data) -> Any:
        return data["mark"].astype(np.int64) - 1

    def process_lines(self, row: RowView) -> Sequence[Line]:
        return ()


def table(*rows: dict[str, Any]) -> FlowTable:
    flows = FlowTable(Strings(), lambda code: ("", "gw-a")[code], joins=FlowJoins(processes=ByMark()))
    dump(flows, *rows)
    return flows


def dump(flows: FlowTable, *rows: dict[str, Any], netns: int = 0, now_ns: int = T0) -> None:
    flows.apply(begin(), netns, now_ns)
    flows.apply(decoded(*(one | {"ts_ns": now_ns} for one in rows)), netns, now_ns)
    flows.apply(end(), netns, now_ns)


def spec(group: str, *columns: str, sort: str = "flows", descending: bool = True, **given: Any) -> ViewSpec:
    return ViewSpec(columns or ("name", "flows"), group=group, sort=(SortKey(sort, descending),), height=1000, **given)


def cells(flows: FlowTable, group: str, *columns: str, now_ns: int = T0, **given: Any) -> list[tuple[str, ...]]:
    return [r.cells for r in FlowGroups(flows).snapshot(spec(group, *columns, **given), now_ns).rows]


def text(lines: Any) -> str:
    return "".join(part for part, _ in lines) if lines and isinstance(lines[0][0], str) else "\n".join(map(text, lines))


def snat(to: str, **given: Any) -> dict[str, Any]:
    return row(rdst_lo=ip(to), status=IPS_SRC_NAT | IPS_SEEN_REPLY, **given)


# -- names and sums ----------------------------------------------------------------------------------------------


def test_the_source_that_holds_most_flows_stands_first_with_its_share() -> None:
    flows = table(row(sport=1), row(sport=2), row(sport=3), row("10.0.0.9", 1))
    assert cells(flows, "source", "name", "flows", "share") == [("10.0.0.1", "3", "75.0%"), ("10.0.0.9", "1", "25.0%")]


def test_groups_that_stand_still_say_that_there_is_more() -> None:
    flows = table(row(sport=1))
    groups = FlowGroups(flows)
    assert groups.snapshot(spec("source"), T0).version == flows.version
    flows.apply(decoded(row("10.0.0.9", sport=99, event=EVENT_NEW)), 0, T0)
    held = groups.snapshot(spec("source"), T0 + SECOND // 20)
    assert held.matched == 1 and held.version < flows.version
    assert groups.snapshot(spec("source"), T0 + SECOND).version == flows.version


def test_an_order_of_which_no_group_is_left_is_held_no_longer() -> None:
    flows = table(row(sport=1))
    groups = FlowGroups(flows)
    assert groups.snapshot(spec("source", frozen=True), T0).matched == 1
    flows.apply(decoded(row(sport=1, event=EVENT_DESTROY), row("10.0.0.9", sport=2, event=EVENT_NEW)), 0, T0)
    shown = groups.snapshot(spec("source", frozen=True), T0 + 2 * SECOND)
    assert [r.cells[0] for r in shown.rows] == ["10.0.0.9"]


def test_a_groups_share_is_drawn_as_a_bar() -> None:
    flows = table(row(sport=1), row(sport=2), row(sport=3), row("10.0.0.9", 1))
    assert cells(flows, "source", "name", "bar") == [("10.0.0.1", "███████▌"), ("10.0.0.9", "██▌")]
    assert cells(flows, "source", "bar", sort="rate") == [("",), ("",)], "no rate is known"


def test_every_grouping_names_its_groups_in_the_screens_words() -> None:
    rows = (
        snat("100.100.100.1", sport=1, proto=6, state=3, mark=1, zone=2),
        row(sport=2, dport=53, rsrc_lo=ip("192.168.2.2"), status=IPS_DST_NAT),
        row(sport=3, proto=1, odport=8 << 8, osport=77, rsport=77, rdport=0, status=8),
        row(sport=4, proto=47, status=8),
    )
    flows = table(*rows)
    by_name = {group: sorted(name for name, _ in cells(flows, group)) for group in GROUPS}
    assert by_name == {
        "source": ["10.0.0.1"],
        "destination": ["10.0.0.2"],
        "service": ["gre", "icmp", "tcp 80", "udp 53"],
        "nat": ["DNAT 192.168.2.2", "SNAT 100.100.100.1", "none"],
        "state": ["other UNREPLIED", "tcp ESTABLISHED"],
        "process": ["nginx", "not known"],
        "mark": ["0x0", "0x1"],
        "zone": ["0", "2"],
        "netns": ["this host's"],
        "proto": ["gre", "icmp", "tcp", "udp"],
    }


def test_sums_are_of_what_is_known_and_a_dash_where_nothing_is() -> None:
    flows = table(
        row(sport=1, obytes=10, opackets=1, rbytes=20, rpackets=2, status=8),
        row(sport=2, obytes=5, opackets=1, status=14),
        row(sport=3, status=14),
        row("10.0.0.9", 4),
    )
    columns = ("name", "bytes", "up", "down", "packets", "unreplied", "assured", "rate")
    assert cells(flows, "source", *columns) == [
        ("10.0.0.1", "≥35", "≥15", "≥20", "≥4", "1", "2", "–"),
        ("10.0.0.9", "–", "–", "–", "–", "0", "0", "–"),
    ]


def test_rates_are_summed_and_their_share_is_of_the_rate_when_sorted_by_it() -> None:
    flows = table(*(row(f"10.0.0.{n}", 1, obytes=0, rbytes=0) for n in (1, 2)))
    dump(flows, row("10.0.0.1", 1, obytes=1000, rbytes=2000), row("10.0.0.2", 1, obytes=0, rbytes=1000),
         now_ns=T0 + SECOND)  # fmt: skip
    assert cells(flows, "source", "name", "rate", "rate_up", "rate_down", "share", sort="rate", now_ns=T0 + SECOND) == [
        ("10.0.0.1", "3.0k/s", "1.0k/s", "2.0k/s", "75.0%"),
        ("10.0.0.2", "1.0k/s", "0/s", "1.0k/s", "25.0%"),
    ]


def test_a_group_says_how_much_of_the_table_it_takes() -> None:
    groups = FlowGroups(table(row(sport=1), row(sport=2)), lambda: 8)
    snapshot = groups.snapshot(spec("source", "name", "full"), T0)
    assert snapshot.rows[0].cells == ("10.0.0.1", "25.0%")
    assert text(snapshot.totals) == "1 source of 2 flows   –   25.0% of 8 entries"


@pytest.mark.parametrize("word", ['a"b', "a*b", "\x1b[2Jx", "\x9b2J", "a\u202eb"])
def test_the_filter_of_a_group_with_a_hostile_name_is_safe_and_parses(word: str) -> None:
    text = word_filter("netns", word)
    assert clean(text) == text
    assert parse(text, "flow") is not None


def test_only_flows_that_match_are_grouped() -> None:
    flows = table(row(sport=1, proto=6), row(sport=2), row("10.0.0.9", 3))
    wanted = spec("source", filter=parse("udp", "flow"))
    snapshot = FlowGroups(flows).snapshot(wanted, T0)
    assert [r.cells for r in snapshot.rows] == [("10.0.0.1", "1"), ("10.0.0.9", "1")]
    assert text(snapshot.totals).startswith("2 sources of 3 flows, 2 match")


def test_an_empty_table_has_no_groups() -> None:
    snapshot = FlowGroups(FlowTable(Strings())).snapshot(spec("source", sort="rate"), T0)
    assert (snapshot.rows, snapshot.matched, text(snapshot.totals)) == ((), 0, "0 sources of 0 flows   –")


@pytest.mark.parametrize("group", sorted(GROUPS))
@pytest.mark.parametrize("key", FlowGroups.sortable)
def test_every_grouping_can_be_sorted_by_every_column(group: str, key: str) -> None:
    flows = table(row(sport=1, status=8), row("10.0.0.9", 2, proto=6, state=3, obytes=5, mark=1))
    names = [name for name, *_ in cells(flows, group, sort=key)]
    assert sorted(names) == sorted(name for name, *_ in cells(flows, group, sort=key, descending=False))


def test_groups_are_named_in_the_order_of_addresses_and_words() -> None:
    flows = table(row("10.0.0.9", 1, mark=1), row("9.0.0.1", 2, mark=3), row("10.0.0.10", 3))
    assert [n for n, _ in cells(flows, "source", sort="name", descending=False)] == ["9.0.0.1", "10.0.0.9", "10.0.0.10"]
    assert [n for n, _ in cells(flows, "process", sort="name")] == ["nginx", "[kworker]", "not known"]


@pytest.mark.parametrize("wanted", [spec("colour"), spec("source", sort="timeout")])
def test_what_cannot_be_grouped_or_sorted_by_is_refused_with_what_can(wanted: ViewSpec) -> None:
    with pytest.raises(UsageError, match=r"(grouped by 'colour'.*source)|(sort key 'timeout'.*rate)"):
        FlowGroups(table(row())).snapshot(wanted, T0)


# -- identities and order ----------------------------------------------------------------------------------------


def shares(snapshot: Snapshot) -> list[int]:
    return [r.ident for r in snapshot.rows]


def test_a_groups_identity_outlives_all_its_flows() -> None:
    flows = table(row(sport=1), row("10.0.0.9", 2))
    groups = FlowGroups(flows)
    ident = shares(groups.snapshot(spec("source", sort="name", descending=False), T0))[0]
    flows.apply(decoded(row(sport=1, event=EVENT_DESTROY)), 0, T0)
    assert groups.snapshot(spec("source", anchor=ident), T0 + 2 * SECOND).anchor is None
    assert groups.detail(ident, T0 + 2 * SECOND) is None
    flows.apply(decoded(row(sport=7, event=EVENT_NEW), row(sport=8, event=EVENT_NEW)), 0, T0 + 3 * SECOND)
    snapshot = groups.snapshot(spec("source", anchor=ident), T0 + 4 * SECOND)
    assert snapshot.anchor == 0 and snapshot.rows[0].ident == ident and snapshot.rows[0].cells == ("10.0.0.1", "2")


def test_the_anchor_of_another_grouping_is_nowhere() -> None:
    groups = FlowGroups(table(row()))
    ident = groups.snapshot(spec("source"), T0).rows[0].ident
    assert groups.snapshot(spec("destination", anchor=ident), T0).anchor is None
    assert groups.snapshot(spec("source", anchor=2**140 + 15), T0).anchor is None


def test_a_frozen_order_stays_while_its_sums_go_on_and_groups_come_and_go() -> None:
    flows = table(row("10.0.0.1", 1), row("10.0.0.1", 2), row("10.0.0.2", 3), row("10.0.0.3", 4))
    groups = FlowGroups(flows)
    groups.snapshot(spec("source"), T0)
    flows.apply(decoded(*(row("10.0.0.3", n, event=EVENT_NEW) for n in (5, 6, 7))), 0, T0)
    flows.apply(decoded(row("10.0.0.4", 8, event=EVENT_NEW), row("10.0.0.2", 3, event=EVENT_DESTROY)), 0, T0)
    frozen = groups.snapshot(spec("source", frozen=True), T0 + 2 * SECOND)
    assert [r.cells for r in frozen.rows] == [("10.0.0.1", "2"), ("10.0.0.3", "4")]
    assert text(frozen.notes) == "SORT PAUSED 2s, 1 new not shown" and frozen.matched == 2
    again = groups.snapshot(spec("source"), T0 + 3 * SECOND)
    assert [r.cells[0] for r in again.rows] == ["10.0.0.3", "10.0.0.1", "10.0.0.4"]


def test_groups_stand_still_until_their_time_has_come() -> None:
    flows = table(row(sport=1))
    groups = FlowGroups(flows)
    groups.snapshot(spec("source"), T0)
    flows.apply(decoded(row("10.0.0.9", 9, event=EVENT_NEW)), 0, T0)
    assert groups.snapshot(spec("source"), T0 + SECOND // 20).matched == 1
    assert groups.snapshot(spec("source"), T0 + SECOND // 4).matched == 2


def test_a_window_is_a_slice_of_the_order() -> None:
    flows = table(*(row(f"10.0.0.{n}", port) for n in range(1, 40) for port in range(1, 1 + n % 7 + 1)))
    groups = FlowGroups(flows)
    whole = shares(groups.snapshot(spec("source"), T0))
    sort = (SortKey("flows"),)
    part = groups.snapshot(ViewSpec(("name",), first=17, height=5, group="source", sort=sort), T0)
    assert (part.first, shares(part), part.matched) == (17, whole[17:22], 39)
    last = groups.snapshot(ViewSpec(("name",), height=5, group="source", sort=sort, follow=True), T0)
    assert shares(last) == whole[-5:]


# -- filters -----------------------------------------------------------------------------------------------------


def mixed() -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.fixed_dictionaries(
        {
            "proto": st.sampled_from([1, 6, 17, 33, 41, 47, 58, 132, 200]),
            "six": st.booleans(),
            "src": st.integers(1, 3),
            "to": st.integers(1, 3),
            "dport": st.sampled_from([0, 53, 65535]),
            "state": st.sampled_from([None, 0, 1, 3, 7, 9, 11, 15]),
            "status": st.sampled_from([None, 0, 8, 10, 14, 12, 0x1A, 0x2A, 0x3E, 0x30]),
            "mark": st.sampled_from([None, 0, 1, 2, 3]),
            "zone": st.integers(0, 2),
            "ports": st.booleans(),
            "netns": st.integers(0, 1),
        }
    )
    return st.lists(one, min_size=1, max_size=40)


def made(number: int, given: dict[str, Any]) -> dict[str, Any]:
    hi = FD if given["six"] else 0
    values: dict[str, Any] = {name: given[name] for name in ("state", "status", "mark") if given[name] is not None}
    ends: dict[str, Any] = {"osrc_lo": given["src"], "odst_lo": 9, "rsrc_lo": given["to"], "rdst_lo": given["to"]}
    halves: dict[str, Any] = {name: hi for name in ("osrc_hi", "odst_hi", "rsrc_hi", "rdst_hi")}
    one = row(sport=number + 1, dport=given["dport"], proto=given["proto"], zone=given["zone"], id=number,
              family=10 if hi else 2, **ends, **halves, **values)  # fmt: skip
    return one if given["ports"] else one | {"have": one["have"] & ~(HAVE_OPORTS | HAVE_RPORTS), "osport": number}


@given(mixed())
def test_a_groups_filter_selects_exactly_its_flows(mix: list[dict[str, Any]]) -> None:
    flows = table()
    for netns in (0, 1):
        dump(flows, *(made(n, one) for n, one in enumerate(mix) if one["netns"] == netns), netns=netns)
    groups = FlowGroups(flows)
    for group in GROUPS:
        counted: set[int] = set()
        for shown in groups.snapshot(spec(group), T0).rows:
            found = flows.matching(parse(groups.filter_of(shown.ident), "flow"), T0).tolist()
            assert len(found) == int(shown.cells[1]), (group, shown.cells, groups.filter_of(shown.ident))
            assert not counted & set(found)
            counted |= set(found)
        assert len(counted) == len(flows)


def test_a_groups_detail_counts_its_flows_and_names_the_largest() -> None:
    flows = table(*(row(sport=n, obytes=n, opackets=1, rbytes=0, rpackets=0) for n in range(1, 31)), row("10.0.0.9", 5))
    groups = FlowGroups(flows, lambda: 1000)
    shown = groups.snapshot(spec("source", filter=parse("bytes > 10", "flow")), T0)
    found = groups.detail(shown.rows[0].ident, T0)
    assert isinstance(found, GroupDetail)
    lines = text(found.lines)
    assert text(found.title) == "source 10.0.0.1" and "flows     20   0 unreplied   0 assured" in lines
    assert "10 of 20 flows" in lines and lines.splitlines()[-10].split()[-3:] == ["10.0.0.1:30", "→", "10.0.0.2:80"]
    assert found.filter == "(bytes > 10) and (src host 10.0.0.1)"
    assert len(flows.matching(parse(found.filter, "flow"), T0)) == 20


@pytest.mark.parametrize("wanted", ["udp" + " or udp" * 1168, "(" * 100 + "udp" + ")" * 100], ids=["long", "deep"])
def test_a_filter_with_no_room_for_a_groups_own_is_told(wanted: str) -> None:
    groups = FlowGroups(table(row(sport=1)))
    shown = groups.snapshot(spec("source", filter=parse(wanted, "flow")), T0)
    found = groups.detail(shown.rows[0].ident, T0)
    assert found is not None and not isinstance(found, GroupDetail) and "too long" in text(found.lines)


def test_json_has_the_same_values_as_numbers() -> None:
    flows = table(row(sport=1, obytes=10, opackets=1, rbytes=20, rpackets=2, status=8), row("10.0.0.9", 4))
    found = [json.loads(line) for line in FlowGroups(flows).json_lines(spec("source"), T0)]
    assert found[0] == {
        "kind": "group", "by": "source", "name": "10.0.0.1", "flows": 1, "rate": None, "rate_up": None,
        "rate_down": None, "bytes": 30, "up": 10, "down": 20, "packets": 3, "unreplied": 1, "assured": 0,
        "filter": "src host 10.0.0.1",
    }  # fmt: skip
    assert found[1]["bytes"] is None and len(found) == 2


# -- the machinery -----------------------------------------------------------------------------------------------

keys = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1) | st.integers(0, 70_000)), max_size=60)


def two_columns(pairs: list[tuple[int, int]]) -> tuple[Any, Any]:
    return np.array([a for a, _ in pairs], np.uint8), np.array([b for _, b in pairs], np.uint64)


@given(keys)
def test_a_radix_sort_is_a_stable_sort(pairs: list[tuple[int, int]]) -> None:
    assert radix_order(two_columns(pairs)).tolist() == sorted(range(len(pairs)), key=lambda n: pairs[n])


@given(keys.filter(bool), st.integers(0, 2**32))
def test_grouping_is_what_a_dict_of_lists_does(pairs: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = len(pairs)
    rates = np.where(rng.random(n) < 0.5, np.nan, rng.random(n))
    data = {"have": np.full(n, ALWAYS, np.uint32), "rate_up": rates, "rate_down": np.full(n, np.nan)}
    found = grouped(two_columns(pairs), data)
    wanted: dict[tuple[int, int], list[int]] = defaultdict(list)
    for at, pair in enumerate(pairs):
        wanted[pair].append(at)
    assert list(zip(*(column.tolist() for column in found.keys), strict=True)) == sorted(wanted)
    assert found.sums("flows").tolist() == [len(wanted[pair]) for pair in sorted(wanted)]
    for pair, rate in zip(sorted(wanted), found.sums("rate").tolist(), strict=True):
        known = rates[wanted[pair]][~np.isnan(rates[wanted[pair]])]
        assert rate == pytest.approx(known.sum()) if len(known) else rate != rate


@given(keys, keys)
def test_places_of_keys_are_found_among_others(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    one, other = sorted(set(one)), sorted(set(other))
    wanted = [other.index(pair) if pair in other else -1 for pair in one]
    assert indices_of(two_columns(one), two_columns(other)).tolist() == wanted


def test_updates_do_not_move_a_flow_to_another_group() -> None:
    flows = table(row(sport=1, mark=1), row(sport=2, mark=2))
    flows.apply(decoded(row(sport=1, mark=2, event=EVENT_UPDATE)), 0, T0)
    assert cells(flows, "mark") == [("0x2", "2")]


def test_a_groups_sums_and_their_total_say_that_some_flows_are_not_counted() -> None:
    flows = table(*(row(sport=n, obytes=0, rbytes=0) for n in (1, 2)), row(sport=3), row("10.0.0.9", 4, obytes=0))
    dump(flows, row(sport=1, obytes=500, rbytes=1000), row(sport=2, obytes=0, rbytes=0), row(sport=3),
         row("10.0.0.9", 4, obytes=7), now_ns=T0 + SECOND)  # fmt: skip
    found = FlowGroups(flows).snapshot(spec("source", "name", "rate", "bytes", sort="name"), T0 + SECOND)
    assert sorted(r.cells for r in found.rows) == [("10.0.0.1", "≥1.5k/s", "≥1.5k"), ("10.0.0.9", "7/s", "7")]
    assert "   ≥1.5k/s, 1 not counted   ≥1.5k bytes" in text(found.totals)
    groups = FlowGroups(flows)
    rows = groups.snapshot(spec("source"), T0 + SECOND).rows
    lines = "\n".join("".join(part for part, _ in line) for line in groups.detail(rows[0].ident, T0 + SECOND).lines)
    assert "≥3 packets" not in lines and "1 of the flows are not counted" in lines and "≥1.5k/s" in lines
