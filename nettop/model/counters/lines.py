"""Counters as lines: JSON objects and plain text; all of them, or those that have changed since their last line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from json import dumps
from typing import Any

from nettop.model.counters.cells import meaning
from nettop.model.counters.readings import TABLE
from nettop.model.counters.series import CounterHistory, Series
from nettop.model.table import Column, Row
from nettop.text import units

_SECOND = 1_000_000_000
_NO_BYTES = CounterHistory()  # of counters without bytes


@dataclass(frozen=True, slots=True)
class Growth:
    """The change of a number over some time; None: not known."""

    delta: int | None
    rate: float | None  # per second


Changes = tuple[Growth | CounterHistory, Growth | CounterHistory]  # of a counter's value, and of its bytes


def json_line(series: Series, changes: Changes | None = None) -> str:
    """Return the `counter` object; `unit`, `limit`, `bytes…` and `places` only where the counter has them.

    `changes` of its value and its bytes; None: those between its last two readings.
    """
    key, about = series.key, series.about
    value, octets = changes or (series, series.octets or _NO_BYTES)
    row: dict[str, Any] = {"kind": "counter", "netns": key.netns, "group": key.group, "name": key.name, "cpu": key.cpu}
    row |= {"value": series.value, "delta": value.delta, "rate": _rounded(value.rate), "ts_ns": series.ts_ns}
    if about.unit:
        row["unit"] = about.unit
    if about.limit is not None:
        row["limit"] = about.limit
    if series.octets is not None:
        row |= {"bytes": series.octets.value, "bytes_delta": octets.delta, "bytes_rate": _rounded(octets.rate)}
    if about.places:
        row["places"] = dict(about.places)
    return dumps(row, separators=(",", ":"))


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def text_line(series: Series, changes: Changes | None = None) -> str:
    """Return group, name, value, rate, bytes (of a counter that has them) and meaning; `changes` as for json_line."""
    row = table_row(series, changes)
    netns, group, name, number, speed, octets, octets_speed, text = row.cells
    counted = "; " * bool(text) + text if series.octets is None else f"{octets} bytes, {octets_speed}; {text}"
    line = f"{netns} {group:<11} {name:<28} {number:>14} {speed:>9}  {counted.removeprefix('; ')}"
    return line.strip()


TEXT_COLUMNS = (
    Column("netns", "NETNS", 0),
    Column("group", "GROUP", 0),
    Column("name", "NAME", 0),
    Column("value", "VALUE", 0, right=True),
    Column("rate", "RATE", 0, right=True),
    Column("bytes", "BYTES", 0, right=True),
    Column("byte_rate", "BYTES/S", 0, right=True),
    Column("meaning", "MEANING", 0, rank=1),
)


def table_row(series: Series, changes: Changes | None = None) -> Row:
    """Return the row of TEXT_COLUMNS; `changes` as for json_line."""
    key, octets = series.key, series.octets
    value, grown = changes or (series, octets or _NO_BYTES)
    amount = ("", "") if octets is None else (units.grouped(octets.value), units.rate(grown.rate))
    return Row(
        series.ident,
        (key.netns, key.group, key.name, units.grouped(series.value), units.rate(value.rate), *amount, meaning(series)),
        (),
    )


@dataclass(frozen=True, slots=True)
class _Printed:
    """The state of a counter at its last line."""

    ts_ns: int
    value: int
    octets: int
    changing: bool


class ChangedRows:
    """The rows that a round of a stream prints, with their changes since their last lines.

    The first round prints all, later ones those that changed, and once more those that have stopped. The entries of the
    conntrack table are printed every time, so that every round has a line with its time.
    """

    def __init__(self) -> None:
        self._printed: dict[int, _Printed] = {}
        self._first = True

    def __call__(self, rows: Iterable[Series]) -> list[tuple[Series, Changes]]:
        """Return the rows to print now."""
        found: list[tuple[Series, Changes]] = []
        first, known, self._printed = self._first, self._printed, {}
        self._first = False
        for series in rows:
            before = known.get(series.ident)
            since = before or (None if first else _Printed(series.began_ns, 0, 0, False))  # of a new one: all of it
            changes = _since(series, since), _since(series.octets or _NO_BYTES, since, octets=True)
            changing = any(change.delta for change in changes)
            changed = before is None or changes[0].delta is None or changing or before.changing
            newer = before is None or series.ts_ns > before.ts_ns
            if newer and (changed or series.key[1:3] == (TABLE, "entries")):
                found.append((series, changes))
                before = _Printed(series.ts_ns, series.grown, (series.octets or _NO_BYTES).grown, changing)
            if before is not None:
                self._printed[series.ident] = before
        return found


def _since(history: CounterHistory, before: _Printed | None, octets: bool = False) -> Growth:
    """Return the change since the last line; not known for a first line, or after a reset."""
    if before is None or history.reset_ns > before.ts_ns or history.ts_ns <= before.ts_ns or history.value is None:
        return Growth(None, None)
    delta = history.grown - (before.octets if octets else before.value)
    return Growth(delta, delta * _SECOND / (history.ts_ns - before.ts_ns))
