"""Expectations among the events: in order, filtered, counted, in words and as JSON, whatever bytes they hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nettop.columns import HAVE_MASTER, Decoded, Strings
from nettop.decode.conntrack.decoder import ConntrackDecoder
from nettop.model.events.lines import EventLines
from nettop.model.events.table import EventLog
from nettop.model.expectations.expectation import expectations_of, expected_text
from nettop.model.filter.expression import parse
from nettop.model.flows.table import FlowTable
from nettop.model.table import Detail, Snapshot, ViewSpec
from nettop.text.times import TimeTexts
from tests.unit.decode.conntrack.expectation_messages import EXP_DELETE, EXP_NEW, expectation
from tests.unit.decode.netlink_bytes import batch, be, ct, nest, nla, tuple4, udp

COLUMNS = ("event", "proto", "state", "original", "reply", "nat", "up", "timeout")
NEW, DUMPED = 0x600, 2


def read(strings: Strings, *messages: bytes) -> Decoded:
    return ConntrackDecoder(strings)(batch(messages))


def log(*messages: bytes, capacity: int = 100) -> EventLog:
    strings = Strings()
    events = EventLog(strings, lambda code: "gw-a", capacity=capacity)
    events.apply(read(strings, *messages), 0, 0)
    return events


def shown(events: EventLog, columns: tuple[str, ...] = COLUMNS, **spec: Any) -> Snapshot:
    return events.snapshot(ViewSpec(columns, **spec), 0)


def cells(events: EventLog, **spec: Any) -> list[tuple[str, ...]]:
    return [row.cells for row in shown(events, **spec).rows]


def detail(events: EventLog, ident: int) -> Detail:
    found = events.detail(ident, 0)
    assert found is not None
    return found


def test_they_stand_among_the_events_where_they_came() -> None:
    events = log(udp(1, flags=NEW), expectation(), udp(2, flags=NEW), expectation(EXP_DELETE, 0), udp(3, flags=NEW))
    assert [row[0] for row in cells(events)] == ["NEW", "EXP NEW", "NEW", "EXP DEL", "NEW"]
    expected = ("EXP NEW", "tcp", "ftp", "0.0.0.2:* → 0.0.0.1:50001", "for 0.0.0.1:40000", "", "", "5m00")
    assert cells(events)[1] == expected
    assert cells(events)[0][1:4] == ("udp", "–", "10.0.0.1:1 → 10.1.0.1:53")


def test_their_time_is_not_after_that_of_what_came_later() -> None:
    """With nf_conntrack_timestamp the kernel stamps flows' events, and they are read a moment later."""
    strings = Strings()
    stamped = [udp(n, nla(27, be(8, at)), flags=NEW) for n, at in ((1, 500), (2, 700))]
    lines = EventLines(strings)(read(strings, stamped[0], expectation(), stamped[1], expectation(dport=2)), 0)
    assert [json.loads(line)["ts_ns"] for line in lines] == [500, 700, 700, 1003]


def test_those_of_a_dump_are_no_events() -> None:
    assert cells(log(expectation(flags=DUMPED), expectation(flags=DUMPED))) == []
    assert len(cells(log(udp(1), expectation(flags=DUMPED), expectation()))) == 1


def test_every_column_can_be_shown() -> None:
    events = log(expectation(), udp(1, flags=NEW))
    for row in shown(events, tuple(column.key for column in events.columns)).rows:
        assert len(row.cells) == len(events.columns)
    assert shown(events, ("status", "helper", "netns")).rows[0].cells == ("PERMANENT", "ftp", "gw-a")


def test_they_are_counted_in_totals_and_not_as_events_of_flows() -> None:
    events = log(udp(1, flags=NEW), expectation(), expectation(EXP_DELETE, 0))
    assert events.expectations == 2 and sum(events.counts.values()) == 1
    assert events.rates.seconds(1_000_000_000).sum() == 1
    assert "expectations 2" in "".join(text for text, _ in shown(events).totals)
    assert "expectations" not in "".join(text for text, _ in shown(log(udp(1, flags=NEW))).totals)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("host 0.0.0.2", 1), ("port 50001", 1), ("port 21", 1), ("helper ftp", 1), ("tcp", 1), ("nat", 0),
        ("host 9.9.9.9", 0), ("udp", 1), ("osrc host 0.0.0.2", 1),
        ("event exp-new", 1), ("event exp-*", 1), ("event new", 1), ("event exp-del", 0),
    ],
)  # fmt: skip
def test_a_filter_finds_them_by_what_is_expected_and_by_the_master(expression: str, found: int) -> None:
    events = log(udp(1, flags=NEW), expectation())
    assert len(cells(events, filter=parse(expression, "event"))) == found


def test_their_detail_says_all_in_words_and_leads_to_the_master() -> None:
    strings = Strings()
    events, flows = EventLog(strings), FlowTable(strings)
    master = ct(tuple4(1, 1, 2, 6, 40000, 21), tuple4(2, 2, 1, 6, 21, 40000), flags=NEW)
    decoded = read(strings, master, expectation())
    events.apply(decoded, 0, 0)
    flows.apply(decoded, 0, 0)
    found = detail(events, 1)
    text = "\n".join("".join(part for part, _ in line) for line in found.lines)
    for words in ("tcp 0.0.0.2:* → 0.0.0.1:50001", "tcp 0.0.0.1:40000 → 0.0.0.2:21", "permanent (0x1)", "300 s", "ftp"):
        assert words in text
    flow = events.flow_of(1)
    assert flow is not None and flows.ident_of(flow) is not None
    assert len(flows) == 1, "an expectation is no flow"


def test_a_flows_history_is_without_expectations() -> None:
    strings = Strings()
    events, flows = EventLog(strings), FlowTable(strings)
    alike = ct(tuple4(1, 2, 1, 6, 0, 50001), tuple4(2, 1, 2, 6, 50001, 0), flags=NEW)
    decoded = read(strings, alike, expectation())
    events.apply(decoded, 0, 0)
    flows.apply(decoded, 0, 0)
    assert len(events.history(flows.views(flows.rows())[0])) == 1


def test_json_has_the_keys_of_an_event_and_those_of_an_expectation() -> None:
    strings = Strings()
    lines = EventLines(strings, lambda code: "gw-a")
    decoded = read(strings, udp(1, flags=NEW), expectation(), expectation(EXP_DELETE, 0, zone=4))
    flow, new, gone = (json.loads(line) for line in lines(decoded, 0))
    assert flow.keys() - new.keys() == set() and "expectation" not in flow
    assert {key: value for key, value in new.items() if value is not None} == {
        "kind": "event", "event": "new", "expectation": True, "netns": "gw-a", "family": "ipv4", "proto": "tcp",
        "src": "0.0.0.2", "sport": 0, "dst": "0.0.0.1", "dport": 50001, "nat": [], "timeout": 300, "zone": 0, "id": 9,
        "helper": "ftp", "ts_ns": 1001, "flags": ["permanent"], "class": 0, "function": "nat-follow-master",
        "mask": {"src": "255.255.255.255", "sport": 0, "dst": "255.255.255.255", "dport": 65535},
        "master": {"proto": "tcp", "src": "0.0.0.1", "sport": 40000, "dst": "0.0.0.2", "dport": 21},
    }  # fmt: skip
    assert (gone["event"], gone["zone"], gone["ts_ns"]) == ("destroy", 4, 1002)


def test_lines_keep_the_order_and_the_filter() -> None:
    strings = Strings()
    decoded = read(strings, udp(1, flags=NEW), expectation(), udp(2, flags=NEW))
    text = EventLines(strings, times=TimeTexts())
    assert [line.split()[1] for line in text(decoded, 0)] == ["NEW", "EXP", "NEW"]
    line = text(decoded, 0)[1][13:]
    ends = "0.0.0.2:* → 0.0.0.1:50001 for tcp 0.0.0.1:40000 → 0.0.0.2:21"
    assert line == f"EXP NEW tcp    expects {ends} helper ftp timeout 300 permanent id 9"
    assert len(text(decoded, 0, parse("tcp", "event"))) == 1


def test_hostile_names_reach_no_terminal() -> None:
    strings = Strings()
    decoded = read(strings, expectation(helper=b"\x1b]0;x\x07\xff"))
    for form in (True, False):
        line = EventLines(strings, times=None if form else TimeTexts())(decoded, 0)[0]
        assert "\x1b" not in line and "\x07" not in line
    events = EventLog(strings)
    events.apply(decoded, 0, 0)
    assert shown(events).rows[0].cells[2] == r"\x1b]0;x\x07\xff"
    assert not any("\x1b" in text for line in detail(events, 0).lines for text, _ in line)


def test_what_was_not_sent_is_absent() -> None:
    strings = Strings()
    decoded = read(strings, ct(nest(2, nest(1, nla(1, be(4, 1)), nla(2, be(4, 2)))), kind=EXP_NEW, flags=NEW))
    events = EventLog(strings)
    events.apply(decoded, 0, 0)
    assert shown(events).rows[0].cells[0] == "EXP NEW"
    assert events.flow_of(0) is None
    found = json.loads(EventLines(strings)(decoded, 0)[0])
    assert found["src"] is None and found["master"] is None and found["mask"] is None and found["flags"] is None


@pytest.mark.parametrize(
    ("addresses", "ports", "text"),
    [
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFF, 0xFFFF), "0.0.0.2:0 → 0.0.0.1:80"),
        ((0, 0xFFFFFF00), (0, 0xFFF0), "*:* → 0.0.0.1/24:80/0xfff0"),
        ((0xFF00FF00, 0xFFFFFFFF), (0xFFFF, 0), "0.0.0.2/255.0.255.0:0 → 0.0.0.1:*"),
    ],
)
def test_masks_in_words(addresses: tuple[int, int], ports: tuple[int, int], text: str) -> None:
    strings = Strings()
    message = ct(tuple4(2, 2, 1, 6, 0, 80), tuple4(3, *addresses, 6, *ports), kind=EXP_NEW)
    one = expectations_of(read(strings, message).expect, 0, strings)[0]
    assert expected_text(one) == text and not one.master


def test_events_beyond_the_ring_are_gone_and_memory_is_bounded() -> None:
    events = log(*(expectation(dport=n) for n in range(25)), capacity=10)
    before = sum(column.nbytes for column in events.ring.data.values())
    assert len(cells(events)) == 10 and events.evicted == 15
    kept = events.flow_of(24)
    assert kept is not None and kept.have and not kept.have & HAVE_MASTER
    assert events.flow_of(14) is None
    strings = Strings()
    events.apply(read(strings, *(expectation(dport=n) for n in range(500))), 0, 0)
    assert sum(column.nbytes for column in events.ring.data.values()) == before
