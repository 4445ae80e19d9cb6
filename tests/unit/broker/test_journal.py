"""Refusals in the system log: a few a minute, and the number of the others."""

from __future__ import annotations

from nettop.broker.journal import PER_MINUTE, Journal


def test_a_flood_of_refusals_is_a_few_lines_and_a_number() -> None:
    lines: list[str] = []
    now = [0.0]
    journal = Journal(lambda level, text: lines.append(text), lambda: now[0])
    for number in range(1000):
        journal.refused(f"request {number}")
    assert lines == [f"refused: request {number}" for number in range(PER_MINUTE)]
    now[0] = 61.0
    journal.refused("x" * 1000)
    assert len(lines) == PER_MINUTE + 1
    assert lines[-1].endswith(f"x ({1000 - PER_MINUTE} more were refused before)") and len(lines[-1]) < 600
