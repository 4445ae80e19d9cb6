"""The columns of traced packets and the text of their cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nettop.model.ruleset.words import verdict_role
from nettop.model.table import Cell, Column
from nettop.model.traces.ends import DIGITS, place, verdict_of
from nettop.model.traces.journey import Journey
from nettop.text.units import clock

COLUMNS = (
    Column("time", "TIME", 12, rank=5, frozen=True),
    Column("in", "IN", 5, rank=4, grow=1, max_width=15, whole=True),
    Column("source", "SOURCE", 15, grow=5, preferred_width=21, whole=True, max_width=47, middle=True),
    Column("destination", "DESTINATION", 15, grow=5, preferred_width=21, whole=True, max_width=47, middle=True),
    Column("proto", "PROTO", 5, rank=6),
    Column("info", "INFO", 6, rank=4, preferred_width=12, max_width=12),
    Column("end", "END", 7),
    Column("where", "WHERE AND WHY", 30, grow=10, sortable=False, path=True),
)
DEFAULT_COLUMNS = tuple(column.key for column in COLUMNS)
# Refusals are in capitals, as in the rules: the colour alone does not say it.
_ENDS = {"lost": ("NO END", "warn"), "stolen": ("taken", ""), "queue": ("queue", "")}


def end_cell(journey: Journey) -> Cell:
    """Return the end in a word, and its role: DROP, REJECT, accept, NO END, or … while the packet is on its way."""
    if (end := journey.shown_end) is None:
        return "…", "dim"
    verdict = verdict_of(end)
    word = verdict if verdict == "accept" else verdict.upper()
    return _ENDS.get(verdict, (word, verdict_role(verdict)))


_CELLS: dict[str, Callable[[Journey], Cell]] = {
    "time": lambda journey: (clock(journey.ts_ns, DIGITS), "number"),
    "in": lambda journey: (journey.iif or "–", "accent" if journey.iif else "dim"),
    "source": lambda journey: (journey.head.source, "address"),
    "destination": lambda journey: (journey.head.destination, "address"),
    "proto": lambda journey: (journey.head.proto_text, "proto"),
    "info": lambda journey: (journey.head.info, ""),
    "end": end_cell,
    "where": lambda journey: (place(journey), end_cell(journey)[1]),
}


def cell(journey: Journey, key: str) -> Cell:
    """Return the text and role of one column's cell."""
    return _CELLS[key](journey)


def sort_value(journey: Journey, key: str) -> Any:
    """Return the value to sort by a column; None is last."""
    head = journey.head
    values = {
        "time": journey.number,
        "source": (head.family, head.src_number, head.sport or 0),
        "destination": (head.family, head.dst_number, head.dport or 0),
    }
    return values[key] if key in values else cell(journey, key)[0] or None
