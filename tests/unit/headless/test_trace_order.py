"""Traced packets are printed by their numbers, whichever ends first."""

from __future__ import annotations

import pytest

from nettop.decode.nftables.trace import TraceDecoded
from nettop.headless.trace import JourneyPrinter
from nettop.pipeline.engine import Engine
from tests.unit.model.traces.test_journeys import SECOND, marked, of


def test_a_packet_waits_for_those_before_it(capfd: pytest.CaptureFixture[str]) -> None:
    engine = Engine()
    printer = JourneyPrinter(engine, as_json=False, count=0, time_format="none")
    two = [marked(id=1), marked(id=2), of("f", "drop", 4, id=2)]
    engine.traces.apply(TraceDecoded(two), 0, SECOND)
    printer.apply([], 9 * SECOND // 8)
    assert capfd.readouterr().out == ""
    engine.traces.apply(TraceDecoded([of("f", "drop", 4, id=1)]), 0, SECOND)
    printer.finish()
    heads = [line.split()[0] for line in capfd.readouterr().out.splitlines() if " from " in line]
    assert heads == ["#1", "#2"]
