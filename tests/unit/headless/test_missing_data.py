"""Who asks for what the kernel does not keep is told so, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from nettop.batch import Text
from nettop.columns import EVENT_NEW, Strings
from nettop.headless.missing_data import NO_PROCESSES, unknown_data, unrecorded_data
from nettop.kinds import TextKind
from nettop.model.flows.joins import FlowJoins
from nettop.model.flows.table import FlowTable
from nettop.pipeline.engine import Engine
from tests.unit.model.flows.flow_rows import SECOND, T0, decoded, row


def said(*asked: str, rows: list[dict[str, Any]]) -> list[str]:
    flows = FlowTable(Strings())
    flows.apply(decoded(*rows), 0, T0)
    return list(unknown_data(flows, asked))


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


@pytest.mark.parametrize(("accounting", "why"), [(True, "they began after the last dump"), (False, "`sysctl ")])
def test_accounting_that_is_on_is_not_advised(accounting: bool, why: str) -> None:
    known = {"": accounting}
    flows = FlowTable(Strings(), joins=FlowJoins(accounting=known.get))
    flows.apply(decoded(OLD, TIMED), 0, T0)
    (line,) = unknown_data(flows, ["bytes"])
    assert line.startswith(f"the bytes, packets and rates of 1 of 2 flows are not known: {why}")
    known.clear()
    assert "`sysctl " in next(unknown_data(flows, ["bytes"]))


def recorded(*dumps: list[dict[str, Any]]) -> Engine:
    engine = Engine()
    code = engine.code("")
    for at, rows in enumerate(dumps):
        now_ns = T0 + 10 * at * SECOND
        engine.flows.apply(decoded(*({**given, "ts_ns": now_ns} for given in rows)), code, now_ns)
    return engine


def test_rates_of_a_recording_take_two_dumps() -> None:
    line = "are not known: a rate needs two dumps: `nettop record --keyframe-seconds S` records one every S seconds"
    later = {**TIMED, "obytes": 500}
    assert list(unrecorded_data(recorded([TIMED]), ["rate"])) == [f"the rates of these flows {line}"]
    assert list(unrecorded_data(recorded([OLD, TIMED]), ["rate_up"])) == [f"the rates of 1 of 2 flows {line}"]
    assert list(unrecorded_data(recorded([TIMED], [later]), ["rate"])) == []
    assert list(unrecorded_data(recorded([TIMED]), ["bytes"])) == []


@pytest.mark.parametrize("asked", ["process", "pid"])
def test_a_recording_without_processes_is_said_to_have_none(asked: str) -> None:
    engine = recorded([TIMED])
    assert list(unrecorded_data(engine, ["bytes"])) == []
    assert list(unrecorded_data(engine, [asked])) == [NO_PROCESSES]
    engine.processes.apply(Text(1, 0, T0, TextKind.PROCESSES, b"", "not permitted"), 0, T0)
    assert list(unrecorded_data(engine, [asked])) == [NO_PROCESSES]
    engine.processes.apply(Text(1, 0, T0, TextKind.PROCESSES, b"", ""), 0, T0)
    assert list(unrecorded_data(engine, [asked])) == []
