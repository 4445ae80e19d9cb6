"""Longest-prefix match in bulk: nested prefixes are cut into intervals once, then found by binary search."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array

NONE = -1
_LOW = (1 << 64) - 1

Prefix = tuple[int, int, int]  # address, length in bits, value (not negative)


class PrefixTable:
    """Longest-prefix match of one family: `width` is 32 or 128 bits. Of equal prefixes the first one wins."""

    def __init__(self, prefixes: Iterable[Prefix], width: int) -> None:
        starts, values = _intervals(prefixes, width)
        self._hi = np.array([start >> 64 for start in starts], np.uint64)
        self._lo = np.array([start & _LOW for start in starts], np.uint64)
        self._values = np.array(values, np.int32)
        self._his, self._first = np.unique(self._hi, return_index=True)

    @property
    def empty(self) -> bool:
        """True if no address can match."""
        return bool((self._values == NONE).all())

    def find(self, hi: Array | None, lo: Array) -> NDArray[np.int32]:
        """Return the value of the longest prefix of each address, or NONE. `hi` None means zeros."""
        if len(self._his) == 1 and hi is None:  # IPv4
            return self._values[np.searchsorted(self._lo, lo.astype(np.uint64, copy=False), "right") - 1]
        halves = np.zeros(len(lo), np.uint64) if hi is None else hi
        group = np.searchsorted(self._his, halves, "right") - 1
        ends = np.append(self._first[1:], len(self._values))
        at = ends[group] - 1  # the last interval of that high half
        exact = (self._his[group] == halves).nonzero()[0]
        for one in np.unique(group[exact]).tolist():
            some = exact[group[exact] == one]
            begin, end = int(self._first[one]), int(ends[one])
            at[some] = begin + np.searchsorted(self._lo[begin:end], lo[some], "right") - 1
        return np.asarray(self._values[at])


def _intervals(prefixes: Iterable[Prefix], width: int) -> tuple[list[int], list[int]]:
    """Return the start of each interval, from 0 on, and the value that holds until the next start."""
    known: dict[tuple[int, int], int] = {}
    for address, length, value in prefixes:
        span = width - length
        known.setdefault((address >> span << span, length), value)
    starts, values = [0], [NONE]
    open_: list[tuple[int, int]] = []  # (one past the end, value) of the prefixes around, outermost first
    for (start, length), value in sorted(known.items()):
        _close(open_, start, starts, values)
        _mark(start, value, starts, values)
        open_.append((start + (1 << width - length), value))
    _close(open_, 1 << width, starts, values)
    if starts[-1] == 1 << width:
        del starts[-1], values[-1]
    return starts, values


def _close(open_: list[tuple[int, int]], until: int, starts: list[int], values: list[int]) -> None:
    while open_ and open_[-1][0] <= until:
        end, _ = open_.pop()
        _mark(end, open_[-1][1] if open_ else NONE, starts, values)


def _mark(start: int, value: int, starts: list[int], values: list[int]) -> None:
    if starts[-1] == start:
        values[-1] = value
    else:
        starts.append(start)
        values.append(value)
