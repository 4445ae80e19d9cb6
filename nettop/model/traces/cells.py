"""The columns of traced packets and the text of their cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nettop.model.ruleset.matrix import LETTERS
from nettop.model.ruleset.words import rule_text, verdict_role
from nettop.model.table import Cell, Column
from nettop.model.traces.ends import DIGITS, backend, verdict_of, where
from nettop.model.traces.journey import Journey, Step
from nettop.text.units import clock

COLUMNS = (
    Column("time", "TIME", 12, rank=5, frozen=True),
    Column("in", "IN", 5, rank=3, grow=1, max_width=15, whole=True),
    Column("source", "SOURCE", 15, grow=5, preferred_width=17, whole=True, max_width=47, middle=True),
    Column("destination", "DESTINATION", 15, grow=5, preferred_width=17, whole=True, max_width=47, middle=True),
    Column("proto", "PROTO", 5, rank=6),
    Column("info", "INFO", 6, rank=4, preferred_width=12, max_width=12),
    Column("end", "END", 7),
    Column("where", "WHERE AND WHY", 34, grow=10, sortable=False, path=True),
)
DEFAULT_COLUMNS = tuple(column.key for column in COLUMNS)
# Refusals are in capitals, as in the rules: the colour alone does not say it.
_ENDS = {"lost": ("NO END", "warn"), "stolen": ("taken", ""), "queue": ("queue", "")}


def end_cell(journey: Journey) -> Cell:
    """Return the end in a word, and its role: DROP, REJECT, accept, NO END, or … while the packet is on its way."""
    if journey.end is None:
        return "…", "dim"
    verdict = verdict_of(journey.end)
    word = verdict if verdict == "accept" else verdict.upper()
    return _ENDS.get(verdict, (word, verdict_role(verdict)))


def where_text(journey: Journey) -> str:
    """Return `inet fw ▸ blocked rule 1: ip daddr @bad drop`, `→ eth1 as 100.100.100.1:40112`, or how it was lost."""
    end = journey.end
    if end is None:
        return f"on its way, in {journey.hook}"
    if end.step is not None:
        return _rule(end.step)
    if end.verdict != "accept" or journey.drop is not None:
        return where(journey)
    place = f"→ {end.oif}" if end.oif else "→ this host"
    head, last = journey.head, journey.last
    source = f" as {last.source}" if last.src and last.source != head.source else ""
    return f"{place}{source}" + (f" to {last.destination}" if last.src and last.destination != head.destination else "")


def _rule(step: Step) -> str:
    """Return the place of a rule and its words; of a user chain with the chains that led there, without the base.

    The table has the letter of its tool before it, as in the matrix: I iptables-nft, L iptables-legacy.
    """
    record, letter = step.record, LETTERS.get(backend(step) or "")
    chains = [caller.record.chain for caller in step.callers[1:]] + [record.chain]
    table = f"{f'{letter} ' if letter else ''}{record.family} {record.table}"
    path = " ▸ ".join((table, *chains)) if step.callers else f"{table} {record.chain}"
    if record.type == "policy":
        return f"{path} policy"
    return f"{path} rule {step.number}: {rule_text(step.rule)}" if step.rule else f"{path} handle {record.handle}"


_CELLS: dict[str, Callable[[Journey], Cell]] = {
    "time": lambda journey: (clock(journey.ts_ns, DIGITS), "number"),
    "in": lambda journey: (journey.iif or "–", "accent" if journey.iif else "dim"),
    "source": lambda journey: (journey.head.source, "address"),
    "destination": lambda journey: (journey.head.destination, "address"),
    "proto": lambda journey: (journey.head.proto_text, "proto"),
    "info": lambda journey: (journey.head.info, ""),
    "end": end_cell,
    "where": lambda journey: (where_text(journey), end_cell(journey)[1]),
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
