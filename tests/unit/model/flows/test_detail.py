"""The detail of a flow: what is counted each way is read at 80 columns, however much it is."""

from __future__ import annotations

from typing import Any

import pytest

from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.table import FlowTable
from nettop.model.table import Line, ViewSpec
from tests.unit.model.flows.flow_rows import SECOND, T0, row
from tests.unit.model.flows.test_table import snat, table


def text(line: Line) -> str:
    return "".join(words for words, _ in line)


def drawn(flows: FlowTable) -> list[str]:
    ident = flows.snapshot(ViewSpec(("id",)), T0).rows[0].ident
    found = flows.detail(ident, T0 + SECOND)
    assert found is not None
    return [text(line) for line in found.lines]


LARGE = {"opackets": 40_009_508_123, "rpackets": 40_009_508_123, "obytes": 10**14 + 7, "rbytes": 10**14 + 7}


def test_packets_bytes_and_rate_of_each_direction_fit_80_columns() -> None:
    lines = drawn(table(snat(id=7, **LARGE)))
    assert lines[0] == "    192.168.1.2:56303 ━━━━▶ 200.200.200.1:443"
    assert lines[1].strip() == "│ SNAT"
    assert lines[2] == "  100.100.100.1:56303 ◀━━━━ 200.200.200.1:443"
    for line, name in zip(lines[3:5], ("original", "reply"), strict=True):
        assert line.startswith(f"  {name:<9} 40,009,508,123 packets  100,000,000,000,007 B")
        assert len(line) + len("≈999.9k/s") < 80


@pytest.mark.parametrize("accounting", [True, False, None])
@pytest.mark.parametrize("one", [row(), row(family=10, osrc_hi=0xFD00 << 48), row(proto=1), row(proto=47)])
def test_why_nothing_is_counted_fits_80_columns(one: dict[str, Any], accounting: bool | None) -> None:
    flows = table(one, joins=FlowJoins(accounting=lambda netns: accounting))
    assert all(len(line) <= 79 for line in drawn(flows) if "packets" in line)
