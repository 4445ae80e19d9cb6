"""nettop's own blocks: numbers that no recording holds are damage, and reach no model."""

from __future__ import annotations

import pytest

from nettop.recording import marks

TIMES = [
    {"item": "dump", "ts": 1 << 63, "what": "conntrack", "begin": True, "complete": True},
    {"item": "text", "ts": 1 << 63, "what": "sysctls", "error": ""},
    {"item": "gap", "lost": 1, "why": "kernel", "from": 1 << 63, "to": 0},
    {"item": "gap", "lost": 1, "why": "kernel", "from": 0, "to": (1 << 64) - 1},
    {"item": "counters", "ts": 1 << 63, "received": 1, "dropped": 0},
]
COUNTS = [
    {"item": "gap", "lost": -5, "why": "kernel", "from": 0, "to": 0},
    {"item": "counters", "ts": 0, "received": -1, "dropped": 0},
    {"item": "counters", "ts": 0, "received": 1, "dropped": -1},
]


@pytest.mark.parametrize("fields", TIMES)
def test_a_time_has_63_bits(fields: marks.Fields) -> None:
    with pytest.raises(ValueError, match="time"):
        marks.decode(fields, b"", 1, 0)


@pytest.mark.parametrize("fields", COUNTS)
def test_nothing_is_counted_below_zero(fields: marks.Fields) -> None:
    with pytest.raises(ValueError, match="count"):
        marks.decode(fields, b"", 1, 0)
