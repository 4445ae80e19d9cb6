"""Traced packets as a table: one a row with its end and rule, filtered, sorted, kept up to a limit, and in full."""

from __future__ import annotations

import pytest

from nettop.decode.nftables.trace import TraceDecoded
from nettop.model.filter.expression import parse
from nettop.model.ruleset.picture import IPTABLES_NFT, NFT, ChainView, RuleView
from nettop.model.table import JourneyDetail, RulePlace, Snapshot, SortKey, ViewSpec
from nettop.model.traces.cells import DEFAULT_COLUMNS
from nettop.model.traces.fields import journey_fields, rule_filter
from nettop.model.traces.journeys import Journeys
from nettop.model.traces.table import TraceTable
from tests.unit.model.traces.test_journeys import NATED, PORTS, SECOND, TABLE, THROUGH, UDP, marked, of, ours

CHAIN = ChainView(1, NFT, "inet", "t", "b", None, None, None, None, 0, 1)
RULE = RuleView(5, 0, 3, "ip daddr @bad counter drop", NFT, None, (), "drop", 8)
BLOCKED = [
    marked(),
    of("f", "jump", 1, target="a", network=UDP, transport=PORTS),
    of("a", "jump", 2, target="b"),
    of("b", "drop", 8),
]
LOST = [marked(network=NATED)]


def table(*packets: list, keep: int = 100, **options: object) -> TraceTable:
    found = lambda family, table, handle, *_: (CHAIN, RULE) if handle == 8 else None  # noqa: E731
    model = Journeys(found, lambda _, index: f"eth{index}", keep=keep)
    model.begin(TABLE, **{"only": None, **options})  # type: ignore[arg-type]
    for packet in packets:
        model.apply(TraceDecoded(packet), 0, SECOND)
    return TraceTable(model)


def snapshot(model: TraceTable, expression: str = "", **more: object) -> Snapshot:
    spec = ViewSpec(DEFAULT_COLUMNS, filter=parse(expression, "traced packet"), **more)  # type: ignore[arg-type]
    return model.snapshot(spec, SECOND + 1)


def test_a_row_has_the_end_and_the_rule_behind_it() -> None:
    rows = snapshot(table(BLOCKED, THROUGH, LOST)).rows
    assert [row.cells[-2:] for row in rows] == [
        ("DROP", "inet t ▸ a ▸ b rule 3 “ip daddr @bad counter drop” (handle 8)"),
        ("accept", "out of eth3, NAT dst → 10.9.0.4:53"),
        ("…", "on its way, last seen in prerouting"),
    ]
    assert rows[0].cells[1:6] == ("eth2", "10.0.0.1:49152", "10.0.0.2:53", "udp", "")
    assert [row.roles[-2] for row in rows] == ["bad", "good", "dim"]


def test_totals_count_the_ends_and_the_rate() -> None:
    line = "".join(text for text, _ in snapshot(table(BLOCKED, BLOCKED, THROUGH)).totals)
    assert line == "3 packets   DROP 2   accept 1   3 pkt/s"
    assert "1 older evicted" in "".join(text for text, _ in snapshot(table(BLOCKED, BLOCKED, keep=1)).totals)
    assert "   on their way 1" in "".join(text for text, _ in snapshot(table(BLOCKED, LOST)).totals)


@pytest.mark.parametrize(
    ("expression", "numbers"),
    [
        ("verdict drop", [1]),
        ("chain a", [1]),
        ("chain f", [1, 2]),
        ("not chain a", [2, 3]),
        ("chain x", []),
        ("table t and hook forward", [2]),
        ("host 10.9.0.4", [2, 3]),  # after NAT, too
        ("dst host 10.9.0.4", [3]),
        ("udp and src 10.0.0.1:49152", [1, 2, 3]),
        ("device eth3", [2]),
        ('rule "*b handle 8"', [1]),
        (rule_filter("inet", "t", "b", "handle 8"), [1]),
        (rule_filter("inet", "t", "b", "policy"), []),
    ],
)
def test_the_filter_asks_for_any_of_the_chains_and_rules_it_met(expression: str, numbers: list[int]) -> None:
    assert [row.ident for row in snapshot(table(BLOCKED, THROUGH, LOST), expression).rows] == numbers


def test_it_is_sorted_by_any_column_but_the_last() -> None:
    model = table(BLOCKED, THROUGH, LOST)
    for key, first in (("time", 3), ("destination", 3), ("end", 3), ("source", 1)):
        assert snapshot(model, sort=(SortKey(key),)).rows[0].ident == first


def test_a_held_order_gets_new_packets_at_its_end() -> None:
    model = table(THROUGH, BLOCKED)
    sort = (SortKey("end", False),)
    assert [row.ident for row in snapshot(model, sort=sort).rows] == [2, 1]
    model._journeys.apply(TraceDecoded(BLOCKED), 0, SECOND)
    assert [row.ident for row in snapshot(model, sort=sort, frozen=True).rows] == [2, 1, 3]
    assert [row.ident for row in snapshot(model, sort=sort).rows] == [2, 3, 1]


def test_only_packets_that_hit_a_rule_are_kept_and_the_others_counted() -> None:
    hit = parse(rule_filter("inet", "t", "b", "handle 8"), "traced packet")
    assert hit is not None
    only = lambda journey: bool(hit.mask(journey_fields([journey]))[0])  # noqa: E731
    model = table(BLOCKED, THROUGH, BLOCKED, only=only)
    found = snapshot(model)
    assert [row.ident for row in found.rows] == [1, 3]
    assert "1 other traced" in "".join(text for text, _ in found.totals)
    nothing = snapshot(table(THROUGH, only=only))
    assert "No packet yet that matches (1 other packet traced)." in str(nothing.notes)


def test_without_a_packet_the_table_says_that_the_trace_has_ended() -> None:
    model = table()
    before = model.version
    model._journeys.note_over(True)
    assert "The trace has ended: no packet matched." in str(snapshot(model).notes) and model.version > before
    model._journeys.note_over(False)
    assert "No packet yet that matches." in str(snapshot(model).notes)


def test_a_trace_of_so_many_packets_begins_no_more() -> None:
    model = table(BLOCKED, THROUGH, BLOCKED, wanted=2)
    assert [row.ident for row in snapshot(model).rows] == [1, 2] and model._journeys.found == 2


def test_the_detail_has_the_sentence_and_a_line_for_each_step_with_its_rule() -> None:
    model = table([*BLOCKED[:2], of("a", "continue", 3, mark=7), *BLOCKED[2:3], of("b", "drop", 8, mark=7)])
    found = model.detail(1, SECOND)
    assert isinstance(found, JourneyDetail)
    text = ["".join(part for part, _ in line) for line in found.lines]
    sentence = "DROP dropped by inet t ▸ a ▸ b rule 3 “ip daddr @bad counter drop” (handle 8), reached by f ? → a ?"
    assert " ".join(text[0].split()) == sentence
    assert text[1].strip() == "certain: the kernel reported every step   the same end: 1 of 1"
    assert [line.split()[:4] for line in text[3:7]] == [
        ["prerouting", "inet", "t", "f"],
        ["a", "?", "continue", "mark"],
        ["a", "?", "jump", "mark"],
        ["b", "3", "drop", "mark"],
    ]
    assert text[6].endswith("mark 0x0 → 0x7   ip daddr @bad counter drop")
    assert "mark 0x0 → 0x7" in text[4] and text[6].startswith("                  b ")
    assert found.places[2:6] == (None,) * 4 and found.sentences == 2
    assert text[7:] == ["  ITS WAY", "  prerouting  t/f ? ━▶ a ? ━▶ a ? ━▶ b 3 ✖ DROP"]
    assert text[found.deciding_line].split()[:2] == ["b", "3"]
    assert found.places[6] == found.decisive == RulePlace("inet", "t", "b", 5)
    assert model.detail(9, SECOND) is None


def test_what_a_rule_rewrote_is_on_its_line() -> None:
    packet = [
        marked(),
        of("pre", "accept", 4, network=UDP, transport=PORTS),
        ours("forward", network=NATED, transport=PORTS, oif=3),
        of("f", "accept", 5, network=NATED, transport=PORTS, oif=3),
    ]
    found = table(packet).detail(1, SECOND)
    assert found is not None
    line = "".join(part for part, _ in found.lines[found.sentences + 1])
    assert line.endswith("dst → 10.9.0.4:53   then routing: out eth3")


@pytest.mark.parametrize(("rule", "record", "shown"), [("DNAT", "accept", "dnat"), ("reject", "drop", "reject")])
def test_a_step_has_the_verdict_of_its_rule_in_columns_that_no_name_moves(rule: str, record: str, shown: str) -> None:
    chain = ChainView(1, IPTABLES_NFT, "ip", "nat", f"KUBE-SEP-{'A' * 40}", None, None, None, None, 0, 1)
    view = RuleView(5, 0, 3, "-p tcp -j X", NFT, None, (), rule, 8)
    model = Journeys(lambda *_: (chain, view), lambda _, index: f"eth{index}")
    model.begin(TABLE, only=None)
    model.apply(TraceDecoded([marked(), of("f", "jump", 1, target=chain.name), of(chain.name, record, 8)]), 0, SECOND)
    found = TraceTable(model).detail(1, SECOND)
    assert found is not None
    title, first, last = ("".join(part for part, _ in line) for line in found.lines[found.sentences :][:3])
    assert first.index("I inet t f") == last.index("  KUBE-SEP-AAA") == title.index("CHAIN")
    assert first.index("jump") == last.index(shown) == title.index("VERDICT") and "AA…AA" in last
    assert last.index("-p tcp -j X") == title.index("CHANGES, RULE AS WRITTEN") < 72, "room for words on 80 columns"
