"""The widths of columns follow what they show: both ends of IPv6 flows, process ids and verdicts are readable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nettop.model.flows.table import FlowTable
from nettop.model.ruleset.chain_table import ChainTable
from nettop.model.ruleset.rule_table import RuleTable
from nettop.model.table import Column, Row, Snapshot, ViewSpec
from nettop.model.traces.cells import COLUMNS as TRACED
from nettop.ui.strips import fit_middle
from nettop.ui.widgets.column_layout import ContentWidths, lay_out

END = "2001:db8:1234:5678:9abc:def0:1234:5678"
SIX = f"[{END}]:56303 → [{END}]:50443"
FOUR = "192.168.100.102:56303 → 200.200.200.100:44333"


def shown(widths: ContentWidths, columns: list[Column], width: int, **texts: str) -> dict[str, int]:
    """The width of each column on the screen once these texts have been shown."""
    spec = ViewSpec(tuple(column.key for column in columns))
    row = Row(1, tuple(texts.get(key, "x") for key in spec.columns), ("",) * len(columns))
    widths.add(Snapshot(spec, 0, (row,), 1, 1, None))
    return {p.column.key: p.width for p in lay_out(widths.sized(columns, width), width).placed}


def default(table: type[FlowTable] | type[RuleTable] | type[ChainTable]) -> list[Column]:
    by_key = {column.key: column for column in table.columns}
    return [by_key[key] for key in table.default_columns]


def measured(table: type[FlowTable] | type[RuleTable] | type[ChainTable], width: int, **texts: str) -> dict[str, int]:
    columns = default(table)
    return shown(ContentWidths({c.key: c for c in columns}), columns, width, **texts)


@pytest.mark.parametrize("width", [159, 199, 240])
def test_both_ends_of_a_full_ipv6_flow_are_seen(width: int) -> None:
    found = measured(FlowTable, width, original=SIX, process="nginx[812]")
    assert found["original"] >= len(SIX) and {"state", "nat", "rate"} <= set(found)
    if width > 190:
        assert found["process"] >= len("nginx[812]")


@pytest.mark.parametrize("width", [119, 159, 199])
def test_ipv4_flows_leave_the_room_that_they_do_not_need(width: int) -> None:
    found = measured(FlowTable, width, original=FOUR, nat="SNAT 100.100.100.100:56303", process="x" * 15 + "[4194304]")
    assert found["original"] == len(FOUR)
    if width > 150:
        assert found["nat"] >= len("SNAT 100.100.100.100:56303")
        assert found["process"] >= 24, "the longest name of a process with the largest id"


@pytest.mark.parametrize("width", [79, 119, 159])
@pytest.mark.parametrize("device", ["eth0", "br-3f1e9a7c52d4"])
def test_the_ends_of_a_traced_ipv4_packet_are_whole(width: int, device: str) -> None:
    ends = {"source": "203.0.113.66:54543", "destination": "198.51.100.7:44321"}
    widths = ContentWidths({column.key: column for column in TRACED})
    found = shown(widths, list(TRACED), width, **ends, **{"in": device, "info": "[FIN, ACK]", "where": "x" * 80})
    assert all(found[key] >= len(text) for key, text in ends.items()) and found["where"] >= 30


def test_a_small_screen_keeps_its_columns_with_ipv6() -> None:
    assert {"proto", "state", "original", "nat", "rate"} <= set(measured(FlowTable, 79, original=SIX))


def test_reply_to_is_not_shown_by_default() -> None:
    assert "reply" not in FlowTable.default_columns and any(c.key == "reply" for c in FlowTable.columns)


@pytest.mark.parametrize("width", [79, 119, 159, 199])
def test_the_verdict_of_a_rule_has_a_column_on_every_screen(width: int) -> None:
    found = measured(
        RuleTable, width, verdict="jump DOCKER-ISOLATION-STAGE-2", rule="-s 10.0.0.0/8 " * 9, note="no hits"
    )
    assert found["verdict"] >= 10 and "rule" in found
    if width > 150:
        assert found["verdict"] >= len("jump DOCKER-ISOLATION-STAGE-2")


def test_widths_only_grow_until_other_rows_are_shown() -> None:
    columns = default(FlowTable)
    widths = ContentWidths({c.key: c for c in columns})
    assert shown(widths, columns, 199, original=SIX)["original"] == len(SIX)
    assert shown(widths, columns, 199, original=FOUR)["original"] == len(SIX), "nothing jitters"
    widths.restart()
    assert shown(widths, columns, 199, original=FOUR)["original"] == len(FOUR)


def test_a_text_that_may_extend_over_empty_cells_makes_no_column_wider() -> None:
    columns = default(FlowTable)
    texts = dict.fromkeys((c.key for c in columns), "") | {"proto": "GAP", "original": "┄" * 90}
    assert shown(ContentWidths({c.key: c for c in columns}), columns, 199, **texts)["original"] < 90


@pytest.mark.parametrize(
    ("text", "width", "found"),
    [
        ("nginx[812]", 12, "nginx[812]  "),
        ("systemd-resolve[4194304]", 14, "syst…[4194304]"),
        ("DOCKER-ISOLATION-STAGE-2", 12, "DOCKER…AGE-2"),
        ("-s 10.0.0.0/8 -p tcp -m tcp --dport 80 -j DROP", 20, "-s 10.0.0.0/8…j DROP"),
        ("macvlan private on eth0 @ gw-a", 27, "macvlan private…eth0 @ gw-a"),
        ("abc", 2, "a…"),
        ("-m conntrack --ctstate INVALID   /* cali:Ojm2Gp6V */", 30, "-m conntrack --ctstate INVALID"),
        ("-m conntrack --ctstate INVALID   /* cali:Ojm2Gp6V */", 20, "-m conntrack…INVALID"),
        ("-i cali+   /* cali:8ZoYfO5H Drop if no policy */", 30, "-i cali+   /* cali:… policy */"),
        ("漢字漢字漢字", 7, "漢字…字"),
    ],
)
def test_the_end_of_what_is_cut_in_the_middle_can_be_read(text: str, width: int, found: str) -> None:
    assert fit_middle(text, width) == found


@given(st.text(st.sampled_from("ab[]漢…\x1b1"), max_size=40), st.integers(0, 30))
def test_what_is_cut_in_the_middle_has_exactly_the_width(text: str, width: int) -> None:
    assert cell_len(fit_middle(text, width)) == width


def test_a_translation_comes_before_ages_and_timeouts() -> None:
    found = measured(FlowTable, 119, original=FOUR, nat="SNAT 100.100.100.100:56303")
    assert found["nat"] >= len("SNAT 100.100.100.100:56303") and {"state", "rate", "down"} <= set(found)


def test_a_long_rule_comes_before_its_handle_bytes_and_trend() -> None:
    texts = {"verdict": "drop", "rule": "-s 10.0.0.0/8 " * 9, "note": "no hits"}
    assert measured(RuleTable, 119, **texts)["rule"] >= 45
    small = measured(RuleTable, 79, **texts)
    assert {"number", "packets", "rate", "verdict", "rule"} <= set(small) and small["rule"] >= 25
    assert "handle" in measured(RuleTable, 119, **texts | {"rule": "counter drop"})
