"""The order of many rows where only the first few are looked at: selection instead of sorting, ties told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = NDArray[np.intp]

_DEEP = 0.2  # beyond this share of all rows a full sort costs no more than selecting


def ascending(column: Array, descending: bool) -> Array:
    """A column whose ascending order is the wanted one. Unsigned and float only; NaN (absent) comes last either way."""
    if column.dtype.kind == "f":
        return -column if descending else column
    return ~column if descending else column


def first_rows(keys: Sequence[Array], n: int) -> Rows:
    """The first n places in ascending order of keys[0], keys[1], … and, where all are equal, of place."""
    count = len(keys[0])
    if n >= count or n > count * _DEEP:
        return np.lexsort([np.arange(count), *reversed(keys)])[:n] if len(keys) > 1 else _sorted(keys[0])[:n]
    chosen = _select([*keys], np.arange(count), n)
    return chosen[np.lexsort([chosen, *(key[chosen] for key in reversed(keys))])]


def place_of(keys: Sequence[Array], row: int) -> int:
    """At which place of that order this row stands."""
    before = 0
    ties = np.arange(len(keys[0]))
    for key in keys:
        values, own = key[ties], key[row]
        if values.dtype.kind == "f" and np.isnan(own):
            before += int(np.count_nonzero(~np.isnan(values)))
            ties = ties[np.isnan(values)]
        else:
            before += int(np.count_nonzero(values < own))
            ties = ties[values == own]
    return before + int(np.searchsorted(ties, row))


def _sorted(key: Array) -> Rows:
    return np.argsort(key, kind="stable")


def _select(keys: list[Array], places: Rows, n: int) -> Rows:
    """The n first of `places`, in no order; ties of the first key are decided by the others, at last by place."""
    if n >= len(places):
        return places
    if not keys:
        return places[:n]
    values = keys[0][places]
    border = np.partition(values, n - 1)[n - 1] if n else values[:0]
    if not n:
        return places[:0]
    if values.dtype.kind == "f" and np.isnan(border):
        better, ties = ~np.isnan(values), np.isnan(values)
    else:
        better, ties = values < border, values == border
    ahead = places[better]
    return np.concatenate([ahead, _select(keys[1:], places[ties], n - len(ahead))])
