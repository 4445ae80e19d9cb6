"""The columns of the table of groups, the text of its cells, and the lines of a group's detail."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nettop.model.flow_groups.aggregate import SUMS, UNKNOWN, Groups
from nettop.model.flows.cells import ABSENT, RowView, original_text, rate_sum, speed_cell, state_role
from nettop.model.table import Cell, Column, Line, detail_line
from nettop.text import flow as words
from nettop.text import units

COLUMNS = (
    Column("name", "GROUP", 22, grow=1, max_width=47, frozen=True),
    Column("flows", "FLOWS", 9, right=True),
    Column("share", "SHARE", 6, right=True, rank=3),
    Column("bar", "", 10, rank=4, sortable=False),
    Column("rate", "RATE", 8, right=True, rank=0),  # `≈12.3k/s`
    Column("rate_up", "RATE↑", 8, right=True, rank=6),
    Column("rate_down", "RATE↓", 8, right=True, rank=6),
    Column("bytes", "BYTES", 7, right=True, rank=1),
    Column("up", "↑BYTES", 7, right=True, rank=9),
    Column("down", "↓BYTES", 7, right=True, rank=9),
    Column("packets", "PACKETS", 8, right=True, rank=7),
    Column("unreplied", "UNREPLIED", 9, right=True, rank=2),
    Column("assured", "ASSURED", 9, right=True, rank=8),
    Column("full", "OF MAX", 6, right=True, rank=5),
)
DEFAULT_COLUMNS = (
    *("name", "flows", "share", "bar", "rate", "rate_up", "rate_down", "bytes", "packets", "unreplied", "full"),
)
SUM_OF = {"up": "obytes", "down": "rbytes", "share": "flows", "full": "flows"}  # columns whose sum has another name
JSON_SUMS = (*("flows", "rate", "rate_up", "rate_down", "bytes", "up", "down", "packets", "unreplied", "assured"),)
BAR = 10  # cells
_COUNTS = ("flows", "unreplied", "assured")
_RATES = ("rate", "rate_up", "rate_down")

Values = Mapping[str, float]  # one group's sums


def cell(key: str, sums: Values, totals: Values, shared: str, maximum: int | None) -> Cell:
    """Return the cell of a column other than the name. `shared`: the sum that SHARE is of; `totals`: of all groups."""
    if key == "share":
        return percent(sums[shared], totals[shared])
    if key == "bar":
        part = sums[shared] / totals[shared] if totals[shared] else 0.0
        return units.bar(0.0 if np.isnan(part) else part, BAR), "good"
    if key == "full":
        return percent(sums["flows"], maximum)
    value = sums[SUM_OF.get(key, key)]
    if key in _COUNTS:
        return _count(key, int(value), int(sums["flows"]))
    if np.isnan(value):
        return ABSENT
    return at_least(key, sums) + (units.rate(value) if key in _RATES else units.scaled(value)), "number"


def at_least(key: str, sums: Values) -> str:
    """Return `≥` where the value of this key is not known of every flow, else ""."""
    unknown = 0 if key in _COUNTS else sums["unrated" if key in _RATES else "uncounted"]
    return units.AT_LEAST if unknown and not np.isnan(sums[SUM_OF.get(key, key)]) else ""


def _count(key: str, value: int, flows: int) -> Cell:
    role = "warn" if key == "unreplied" and value * 2 > flows else "number" if value else "dim"
    return units.grouped(value), role


def percent(part: float, total: float | None) -> Cell:
    """Return `12.3%`; a dash where either is not known."""
    if not total or np.isnan(part) or np.isnan(total):
        return ABSENT
    return units.percent(part / total), "number"


def totals_line(noun: str, groups: int, flows: int, matched: int, filtered: bool, totals: Values,
                maximum: int | None) -> Line:  # fmt: skip
    """Return `37 sources of 1,204 flows, 318 match   1.6M/s   84.1M bytes   UNREPLIED 41   0.5% of 262,144 entries`."""
    one = noun.removesuffix("s") if not noun.endswith("ses") else noun.removesuffix("es")
    found = f", {units.grouped(matched)} match" if filtered else ""
    parts = [(f"{units.grouped(groups)} {one if groups == 1 else noun}", "heading")]
    parts.append((f" of {units.plural(flows, 'flow')}{found}", "heading"))
    speed = None if np.isnan(totals["rate"]) else totals["rate"]
    parts.append(("   " + rate_sum(speed, int(totals["unrated"])), "number"))
    if not np.isnan(totals["bytes"]):
        parts.append((f"   {at_least('bytes', totals)}{units.scaled(totals['bytes'])} bytes", "number"))
    if totals["unreplied"]:
        parts.append((f"   UNREPLIED {units.grouped(int(totals['unreplied']))}", "warn"))
    if maximum:
        parts.append((f"   {percent(totals['flows'], maximum)[0]} of {units.grouped(maximum)} entries", "dim"))
    return tuple(parts)


def sum_lines(sums: Values, maximum: int | None) -> list[Line]:
    """Return the sums of a group as lines."""
    count = {key: units.grouped(int(sums[key])) for key in _COUNTS}
    lines = [detail_line("flows", f"{count['flows']}   {count['unreplied']} unreplied   {count['assured']} assured")]
    if maximum:
        lines.append(
            detail_line("table", f"{percent(sums['flows'], maximum)[0]} of the {units.grouped(maximum)} it may hold")
        )
    for title, side, speed in (("original", "o", "rate_up"), ("reply", "r", "rate_down"), ("both", "", "rate")):
        packets, octets = sums[f"{side}packets"], sums[f"{side}bytes"]
        amount = "– packets  – bytes (not accounted)"
        if not np.isnan(octets):
            amount = at_least("bytes", sums) + f"{units.plural(int(packets), 'packet')}  {units.grouped(int(octets))} B"
        lines.append((*detail_line(title, amount), ("  " + cell(speed, sums, sums, "flows", None)[0], "number")))
    if sums["uncounted"]:
        lines.append(detail_line("", f"{units.grouped(int(sums['uncounted']))} of the flows are not counted"))
    return lines


def member_line(row: RowView) -> Line:
    """Return the line of one of the largest flows of a group."""
    size = units.scaled(row.value("obytes") + row.value("rbytes")) if row.counted else units.ABSENT
    state = row.value("state_code")
    return (
        (f"    {speed_cell(row, 'rate_up', 'rate_down')[0]:>8} {size:>7}  ", "number"),
        (f"{words.PROTO_NAMES[row.value('proto')]:<6} ", "proto"),
        (f"{words.STATE_LABELS[state]:<12} ", state_role(state)),
        (original_text(row), "address"),
    )


def total_sums(groups: Groups) -> dict[str, float]:
    """Return the sums over all groups; NaN where no group has a known value."""
    totals = {}
    for name in SUMS:
        values = groups.sums(name)
        known = name in (*_COUNTS, *UNKNOWN) or not np.isnan(values).all()
        totals[name] = float(np.nansum(values)) if known else np.nan
    return totals
