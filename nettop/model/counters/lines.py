"""Counters as lines: JSON objects and plain text, all of them or what has changed since the last time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from json import dumps
from typing import Any

from nettop.model.counters.cells import meaning
from nettop.model.counters.readings import TABLE
from nettop.model.counters.series import Course, Series
from nettop.text import units
from nettop.text.sanitize import clean

_SECOND = 1_000_000_000
_NONE = Course()  # of what counts no bytes


@dataclass(frozen=True, slots=True)
class Move:
    """By how much a number changed over some time; None: not known."""

    delta: int | None
    rate: float | None  # a second

    @classmethod
    def last(cls, course: Course) -> Move:
        """Between its last two readings."""
        return cls(course.delta, course.rate)


def json_line(series: Series, moves: tuple[Move, Move] | None = None) -> str:
    """The contract's `counter` object; `unit`, `limit` and `bytes…` where the counter has them.

    `moves`: what its value and its bytes did; None: between its last two readings.
    """
    key, about = series.key, series.about
    value, octets = moves or (Move.last(series), Move.last(series.octets or _NONE))
    row: dict[str, Any] = {"kind": "counter", "netns": key.netns, "group": key.group, "name": key.name, "cpu": key.cpu}
    row |= {"value": series.value, "delta": value.delta, "rate": _rounded(value.rate), "ts_ns": series.ts_ns}
    if about.unit:
        row["unit"] = about.unit
    if about.limit is not None:
        row["limit"] = about.limit
    if series.octets is not None:
        row |= {"bytes": series.octets.value, "bytes_delta": octets.delta, "bytes_rate": _rounded(octets.rate)}
    return dumps(row, separators=(",", ":"))


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def text_line(series: Series, moves: tuple[Move, Move] | None = None) -> str:
    """Group, name, value, rate, meaning; `moves` as for json_line."""
    key = series.key
    place = f"{clean(key.netns)} " if key.netns else ""
    rate = series.rate if moves is None else moves[0].rate
    number, speed = units.grouped(series.value), units.rate(rate)
    line = f"{place}{key.group:<11} {clean(key.name):<28} {number:>14} {speed:>9}  {clean(meaning(series))}"
    return line.rstrip()


@dataclass(frozen=True, slots=True)
class _Printed:
    """A counter as its last line had it."""

    ts_ns: int
    value: int
    octets: int
    moving: bool


class Changes:
    """Which rows a round of a stream prints, and by how much each changed since its last line.

    All the first time, then those that moved, and once more those that have come to rest. The table's entries are
    printed every time, so that every round has something to show and its time.
    """

    def __init__(self) -> None:
        self._printed: dict[int, _Printed] = {}

    def __call__(self, rows: Iterable[Series]) -> list[tuple[Series, tuple[Move, Move]]]:
        """The rows to print now."""
        found: list[tuple[Series, tuple[Move, Move]]] = []
        known, self._printed = self._printed, {}
        for series in rows:
            before = known.get(series.ident)
            moves = _since(series, before), _since(series.octets or _NONE, before, octets=True)
            moving = any(move.delta for move in moves)
            news = before is None or moves[0].delta is None or moving or before.moving
            fresh = before is None or series.ts_ns > before.ts_ns
            if fresh and (news or series.key[1:3] == (TABLE, "entries")):
                found.append((series, moves))
                before = _Printed(series.ts_ns, series.grown, (series.octets or _NONE).grown, moving)
            if before is not None:
                self._printed[series.ident] = before
        return found


def _since(course: Course, before: _Printed | None, octets: bool = False) -> Move:
    """What a course did since the last line; not known where there was none, or where it was reset meanwhile."""
    if before is None or course.reset_ns > before.ts_ns or course.ts_ns <= before.ts_ns or course.value is None:
        return Move(None, None)
    delta = course.grown - (before.octets if octets else before.value)
    return Move(delta, delta * _SECOND / (course.ts_ns - before.ts_ns))
