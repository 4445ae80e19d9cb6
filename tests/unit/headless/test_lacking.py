"""Who asks for what the kernel does not keep is told so, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from nettop.columns import EVENT_NEW, Strings
from nettop.headless.lacking import lacking
from nettop.model.flows import FlowTable
from tests.unit.model.flow_rows import T0, decoded, row


def said(*asked: str, rows: list[dict[str, Any]]) -> list[str]:
    flows = FlowTable(Strings())
    flows.apply(decoded(*rows), 0, T0)
    return list(lacking(flows, asked))


OLD, TIMED = row(sport=1), row(sport=2, start_ns=T0, obytes=5)


@pytest.mark.parametrize("asked", ["age", "start", "start_ns"])
def test_ages_take_timestamps(asked: str) -> None:
    line = "are not known: `sysctl net.netfilter.nf_conntrack_timestamp=1` (for later flows)"
    assert said(asked, rows=[OLD]) == [f"the ages of these flows {line}"]
    assert said(asked, rows=[OLD, TIMED]) == [f"the ages of 1 of 2 flows {line}"]
    assert said(asked, rows=[TIMED]) == said(asked, rows=[]) == []


@pytest.mark.parametrize("asked", ["bytes", "packets", "rate", "rate_up", "down", "opackets"])
def test_counters_take_accounting(asked: str) -> None:
    line = "are not known: `sysctl net.netfilter.nf_conntrack_acct=1` (for later flows)"
    assert said(asked, rows=[OLD]) == [f"the bytes, packets and rates of these flows {line}"]
    assert said(asked, rows=[OLD, TIMED]) == [f"the bytes, packets and rates of 1 of 2 flows {line}"]
    assert said(asked, rows=[TIMED]) == []


def test_what_nobody_asked_for_is_not_missed() -> None:
    assert said("mark", "timeout", rows=[OLD]) == []


def test_a_flow_whose_beginning_was_seen_has_an_age() -> None:
    assert said("age", rows=[row(event=EVENT_NEW)]) == []
