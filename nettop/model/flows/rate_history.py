"""The course of each flow's rate: its last eight readings, eight bits each, in one number a flow.

A flow takes 12 bytes here, and none before the first rates are known. A reading is a logarithm: 11 % apart, from 1 B/s
to beyond 1 TB/s, which is finer than a bar can be drawn.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.model.flows.store import FlowStore

READINGS = 8
_UNKNOWN, _ZERO, _FIRST = 0, 1, 2  # levels; _FIRST is 1 B/s
_LAST = 255
_STEP = log(2e12) / (_LAST - _FIRST)
_BITS = np.uint64(8)
_BARS = "▁▂▃▄▅▆▇█"


class FlowCourse:
    """Keeps the readings of the flows of one store, by row."""

    def __init__(self, store: FlowStore) -> None:
        self._store = store
        self._readings: NDArray[np.uint64] | None = None
        self._generation = np.empty(0, np.uint32)  # whose readings a row holds

    @property
    def nbytes(self) -> int:
        """Memory, in bytes."""
        return 0 if self._readings is None else self._readings.nbytes + self._generation.nbytes

    def take(self, rows: Array, rates: Array) -> None:
        """A reading of these rows: bytes a second, NaN where not known."""
        if self._readings is None and np.isnan(rates).all():
            return
        readings = self._room()
        generation = self._store["generation"][rows]
        before = np.where(self._generation[rows] == generation, readings[rows], np.uint64(0))
        readings[rows] = before << _BITS | levels(rates)
        self._generation[rows] = generation

    def of(self, rows: Array) -> dict[str, Array]:
        """The column `course` of these rows only; nothing before the first rates are known."""
        if self._readings is None:
            return {}
        readings, same = self._room()[rows], self._generation[rows] == self._store["generation"][rows]
        return {"course": np.where(same, readings, np.uint64(0))}

    def readings(self) -> dict[str, Array]:
        """The column `course` of all rows ever used; nothing before the first rates are known. Not to be kept."""
        if self._readings is None:
            return {}
        top = self._store.top
        readings = self._room()[:top]
        other = self._generation[:top] != self._store["generation"][:top]
        if other.any():  # the row has gone to another flow since
            readings[other] = 0
            self._generation[:top][other] = self._store["generation"][:top][other]
        return {"course": readings}

    def _room(self) -> NDArray[np.uint64]:
        capacity = self._store.capacity
        if self._readings is None:
            self._readings = np.zeros(0, np.uint64)
        if len(self._readings) < capacity:
            more = capacity - len(self._readings)
            self._readings = np.concatenate([self._readings, np.zeros(more, np.uint64)])
            self._generation = np.concatenate([self._generation, np.zeros(more, np.uint32)])
        return self._readings


def levels(rates: Array) -> NDArray[np.uint64]:
    """The level of each rate (bytes a second): 0 not known, 1 nothing, from 2 on by the logarithm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.rint(np.log(rates) / _STEP)
    found = np.clip(np.nan_to_num(steps, nan=0, posinf=_LAST, neginf=0) + _FIRST, _FIRST, _LAST)
    return np.where(np.isnan(rates), _UNKNOWN, np.where(rates < 1, _ZERO, found)).astype(np.uint64)


def peak_levels(course: Array) -> NDArray[np.uint8]:
    """The highest level among the readings of each row."""
    highest = np.zeros(len(course), np.uint8)
    for n in range(READINGS):
        np.maximum(highest, (course >> np.uint64(8 * n)).astype(np.uint8), out=highest)
    return highest


def rates_of(course: int) -> list[float | None]:
    """The readings of one flow in bytes a second, the oldest first; None where not known."""
    return [_rate(course >> 8 * n & 255) for n in reversed(range(READINGS))]


def _rate(level: int) -> float | None:
    if level == _UNKNOWN:
        return None
    return 0.0 if level == _ZERO else exp((level - _FIRST) * _STEP)


def course_text(course: int) -> str:
    """`   ▁▃▅█▂`: bars scaled to the highest reading, a blank for one that is not known; empty where none is."""
    rates = rates_of(course)
    if not course:
        return ""
    top = max(rate for rate in rates if rate is not None) or 1.0
    return "".join(" " if rate is None else _BARS[max(0, round(rate / top * 8) - 1)] for rate in rates)


def peak(course: int) -> float | None:
    """The highest reading in bytes a second; None where none is known."""
    return max((rate for rate in rates_of(course) if rate is not None), default=None)
