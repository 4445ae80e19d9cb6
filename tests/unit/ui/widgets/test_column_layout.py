"""Columns on a line: they fit, in order, and the least important go first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nettop.model.counters.table import CounterTable
from nettop.model.events.table import EventLog
from nettop.model.flow_groups.table import FlowGroups
from nettop.model.flows.table import FlowTable
from nettop.model.packets.table import PacketModel
from nettop.model.table import Column
from nettop.ui.widgets.column_layout import column_at, lay_out, scroll_stops, scrolled

FLOWS = (
    Column("proto", "PROTO", 6),
    Column("state", "STATE", 12, rank=2),
    Column("original", "ORIGINAL", 36, grow=3, frozen=True),
    Column("reply", "REPLY TO", 20, rank=4, grow=1),
    Column("nat", "NAT", 9, rank=1),
    Column("rate", "RATE", 8, right=True),
)

columns = st.lists(
    st.builds(
        Column,
        key=st.uuids().map(str),
        title=st.text("ABCDEF界", max_size=8),
        width=st.integers(1, 40),
        rank=st.integers(0, 9),
        grow=st.integers(0, 3),
        frozen=st.booleans(),
    ),
    max_size=14,
)


def test_the_least_important_go_first() -> None:
    assert lay_out(FLOWS, 120).keys == ("proto", "state", "original", "reply", "nat", "rate")
    assert lay_out(FLOWS, 79).keys == ("proto", "state", "original", "nat", "rate")
    assert lay_out(FLOWS, 66).keys == ("proto", "original", "nat", "rate")
    assert lay_out(FLOWS, 20).keys == ("proto", "original", "rate"), "rank 0 never goes"


def test_a_narrow_column_takes_the_room_a_wide_one_left() -> None:
    found = (Column("a", "A", 10), Column("wide", "W", 30, rank=1), Column("small", "S", 5, rank=2))
    assert lay_out(found, 30).keys == ("a", "small")


def test_spare_cells_go_to_the_columns_that_grow() -> None:
    by_key = {p.column.key: p.width for p in lay_out(FLOWS, 160).placed}
    assert by_key["proto"] == 6 and by_key["rate"] == 8
    assert by_key["original"] > 36 and by_key["reply"] > 20


def test_what_a_column_has_no_use_for_goes_to_the_others() -> None:
    found = (
        Column("a", "A", 10, grow=3, max_width=20),
        Column("b", "B", 10, grow=1),
        Column("c", "C", 10, grow=1, max_width=12),
    )
    widths = {p.column.key: p.width for p in lay_out(found, 99).placed}
    assert widths["a"] == 20 and widths["c"] == 12 and widths["b"] == 99 - 1 - 3 - 32
    full = lay_out(found[:1], 99)
    assert full.placed[0].width == 20, "the rest of the line stays empty"


def test_a_wish_comes_before_what_others_grow_by_and_before_wider_gaps() -> None:
    found = (Column("a", "A", 10, grow=1), Column("b", "B", 10, preferred_width=20))
    assert [p.width for p in lay_out(found, 26).placed] == [10, 13], "all that there is"
    assert [p.width for p in lay_out(found, 40).placed] == [17, 20]
    shown = [c for c in FlowTable.columns if c.key in FlowTable.default_columns]
    wide = {p.column.key: p.width for p in lay_out(shown, 159).placed}
    assert wide["nat"] >= len("SNAT+DNAT 192.168.2.2:443") and {"age", "timeout", "process"} <= set(wide)


def test_a_wide_screen_shows_where_an_icmp_flow_and_a_translated_one_go() -> None:
    widths = {
        p.column.key: p.width
        for p in lay_out([c for c in FlowTable.columns if c.key in FlowTable.default_columns], 199).placed
    }
    assert widths["original"] >= len("192.168.1.2 → 198.51.100.4 id 64771 echo request")
    assert widths["nat"] >= len("DNAT 192.168.2.2:443")


def test_a_measured_rate_fits_and_a_small_screen_keeps_the_state() -> None:
    shown = [c for c in FlowTable.columns if c.key in FlowTable.default_columns]
    layout = lay_out(shown, 79)
    assert layout.keys == ("proto", "state", "original", "nat", "rate")
    assert all(c.width >= len("≈999.9k/s"[:-1]) for c in FlowTable.columns if c.key.startswith("rate"))
    assert layout.placed[2].width >= len("[fd00:1::2]:56424 → [fd00:198::4]:443")


def test_who_holds_the_table_is_told_at_120_cells_and_drawn_at_80() -> None:
    shown = [c for c in FlowGroups.columns if c.key in FlowGroups.default_columns]
    assert {"share", "bar", "full", "unreplied", "rate_up"} <= set(lay_out(shown, 119).keys)
    assert lay_out(shown, 79).keys == ("name", "flows", "share", "bar", "rate", "bytes", "unreplied")


def test_scrolling_sideways_keeps_the_frozen_column_and_reaches_the_last() -> None:
    wide = lay_out(FLOWS, 60, everything=True)
    offsets = scroll_stops(wide, 60)
    assert offsets[0] == 0 and len(offsets) > 1
    last = scrolled(wide, offsets[-1])
    assert last.placed[0].column.key == "original"
    end = last.placed[-1]
    assert end.column.key == "rate" and end.x + end.width <= 60


def test_a_click_finds_the_column() -> None:
    layout = lay_out(FLOWS, 160)
    for place in layout.placed:
        assert column_at(layout, place.x) is place.column
        assert column_at(layout, place.x + place.width - 1) is place.column
    assert column_at(layout, 0) is None


@given(columns, st.integers(1, 300), st.booleans())
def test_columns_never_overlap_and_fit_where_they_can(found: list[Column], width: int, everything: bool) -> None:
    layout = lay_out(found, width, everything)
    x = 0
    for place in layout.placed:
        assert place.x > x - 1 and place.width >= place.column.width
        x = place.x + place.width + layout.gap
    kept = {p.column.key for p in layout.placed}
    assert kept >= {c.key for c in found if c.rank == 0}
    assert len(kept) + layout.hidden == len(found)
    if not everything and any(p.column.rank for p in layout.placed):
        assert layout.width <= width
    for offset in scroll_stops(layout, width):
        xs = [p.x for p in scrolled(layout, offset).placed]
        assert xs == sorted(xs) and all(a >= 1 for a in xs)


def test_at_80_columns_flows_keep_their_endpoints_packets_what_they_say_and_events_their_state() -> None:
    flows = {column.key: column for column in FlowTable.columns}
    laid = lay_out([flows[key] for key in FlowTable.default_columns], 79)
    assert {"state", "original", "nat", "rate"} <= set(laid.keys)
    assert next(p.width for p in laid.placed if p.column.key == "original") >= len(
        "100.100.100.1:60070 → 200.200.200.1:443"
    )
    packets = {column.key: column for column in PacketModel.columns}
    shown = lay_out([packets[key] for key in PacketModel.default_columns], 79).keys
    assert shown == ("time", "source", "destination", "proto", "info")
    events = {column.key: column for column in EventLog.columns}
    assert "state" in lay_out([events[key] for key in EventLog.default_columns], 79).keys


def test_at_120_columns_elements_of_a_set_can_be_told_apart() -> None:
    counters = {column.key: column for column in CounterTable.columns}
    laid = lay_out([counters[key] for key in CounterTable.default_columns], 119)
    name = next(place.width for place in laid.placed if place.column.key == "name")
    pair = ("talkers 192.168.1.2 . 198.51.100.4", "talkers 192.168.1.2 . 200.200.200.1")
    assert len({text[: name - 1] for text in pair}) == 2
    assert "meaning" in laid.keys
