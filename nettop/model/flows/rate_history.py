"""The rate history of each flow: its last eight readings, eight bits each, in one number.

A flow needs 12 bytes here, and none before the first rates are known. A reading is a logarithm in steps of 11 %, from
1 B/s to beyond 1 TB/s, which is finer than a bar shows.
"""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.model.flows.store import FlowStore, grown

READINGS = 8
_UNKNOWN, _ZERO, _FIRST = 0, 1, 2  # levels; _FIRST is 1 B/s
_LAST = 255
_STEP = log(2e12) / (_LAST - _FIRST)
_BITS = np.uint64(8)
_BARS = "▁▂▃▄▅▆▇█"


class RateHistory:
    """The readings of the flows of one store, by row."""

    def __init__(self, store: FlowStore) -> None:
        self._store = store
        self._readings: NDArray[np.uint64] | None = None
        self._generation = np.empty(0, np.uint32)  # of the flow whose readings a row has

    def add(self, rows: Array, rates: Array) -> None:
        """Add a reading of these rows: bytes per second, NaN where not known."""
        if self._readings is None and np.isnan(rates).all():
            return
        readings = self._room()
        generation = self._store["generation"][rows]
        before = np.where(self._generation[rows] == generation, readings[rows], np.uint64(0))
        readings[rows] = before << _BITS | levels(rates)
        self._generation[rows] = generation

    def of(self, rows: Array) -> dict[str, Array]:
        """Return the column `rate_history` of these rows; {} before the first rates are known."""
        if self._readings is None:
            return {}
        readings, same = self._room()[rows], self._generation[rows] == self._store["generation"][rows]
        return {"rate_history": np.where(same, readings, np.uint64(0))}

    def readings(self) -> dict[str, Array]:
        """Return the column `rate_history` of all rows ever used, a view; {} before the first rates are known."""
        if self._readings is None:
            return {}
        top = self._store.top
        readings = self._room()[:top]
        other = self._generation[:top] != self._store["generation"][:top]
        if other.any():  # the row now belongs to another flow
            readings[other] = 0
            self._generation[:top][other] = self._store["generation"][:top][other]
        return {"rate_history": readings}

    def _room(self) -> NDArray[np.uint64]:
        capacity = self._store.capacity
        if self._readings is None:
            self._readings = np.zeros(0, np.uint64)
        if len(self._readings) < capacity:
            self._readings, self._generation = grown(self._readings, capacity), grown(self._generation, capacity)
        return self._readings


def levels(rates: Array) -> NDArray[np.uint64]:
    """Return the level of each rate (bytes per second): 0 not known, 1 nothing, from 2 on by the logarithm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.rint(np.log(rates) / _STEP)
    found = np.clip(np.nan_to_num(steps, nan=0, posinf=_LAST, neginf=0) + _FIRST, _FIRST, _LAST)
    return np.where(np.isnan(rates), _UNKNOWN, np.where(rates < 1, _ZERO, found)).astype(np.uint64)


def peak_levels(history: Array) -> NDArray[np.uint8]:
    """Return the highest level among the readings of each row."""
    highest = np.zeros(len(history), np.uint8)
    for n in range(READINGS):
        np.maximum(highest, (history >> np.uint64(8 * n)).astype(np.uint8), out=highest)
    return highest


def rates_of(history: int) -> list[float | None]:
    """Return the readings of one flow in bytes per second, the oldest first; None where not known."""
    return [_rate(history >> 8 * n & 255) for n in reversed(range(READINGS))]


def _rate(level: int) -> float | None:
    if level == _UNKNOWN:
        return None
    return 0.0 if level == _ZERO else exp((level - _FIRST) * _STEP)


def history_text(history: int) -> str:
    """Return `   ▁▃▅█▂`: bars scaled to the highest reading, a blank where it is not known; "" without any."""
    rates = rates_of(history)
    if not history:
        return ""
    top = max(rate for rate in rates if rate is not None) or 1.0
    return "".join(" " if rate is None else _BARS[max(0, round(rate / top * 8) - 1)] for rate in rates)


def peak(history: int) -> float | None:
    """Return the highest reading in bytes per second; None where none is known."""
    return max((rate for rate in rates_of(history) if rate is not None), default=None)
