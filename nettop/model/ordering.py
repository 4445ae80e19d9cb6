"""The order of many rows where only the first few are looked at: selection instead of sorting, ties told apart.

Rows that are equal in every key stand by `ties`: further columns, gathered only for the rows that need them, so that
the order is the same at every look and in every run; at last by place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array

Rows = NDArray[np.intp]
Ties = Callable[[Rows | None], Iterable[Array]]  # of some places, or of all: unsigned columns whose order decides

_DEEP = 0.2  # beyond this share of all rows a full sort costs no more than selecting
_DIGIT = 16  # bits: NumPy's stable argsort of uint16 is a radix sort, some 10 ms a million


def no_ties(places: Rows | None) -> Iterable[Array]:
    """Rows that are equal in every key stand by place."""
    return ()


def ascending(column: Array, descending: bool) -> Array:
    """A column whose ascending order is the wanted one. Integers and floats; NaN (absent) comes last either way."""
    if column.dtype.kind == "f":
        return -column if descending else column
    return ~column if descending else column


def first_rows(keys: Sequence[Array], n: int, ties: Ties = no_ties) -> Rows:
    """The first n places in ascending order of keys[0], keys[1], …; where all are equal, of `ties` and of place."""
    count = len(keys[0])
    all_of_them = n >= count or n > count * _DEEP
    return _ordered(keys, ties, np.arange(count) if all_of_them else _select(keys, ties, np.arange(count), n))[:n]


def place_of(keys: Sequence[Array], row: int, ties: Ties = no_ties) -> int:
    """At which place of that order this row stands."""
    before, equal = _before(keys, np.arange(len(keys[0])), row)
    if len(equal) > 1:
        further, left = _before(ties(equal), np.arange(len(equal)), int(np.searchsorted(equal, row)))
        before, equal = before + further, equal[left]
    return before + int(np.searchsorted(equal, row))


def radix_order(columns: Sequence[Array]) -> Rows:
    """The rows in ascending order of columns[0], columns[1], … (unsigned), equal rows in their own order.

    Digits in which no rows differ cost next to nothing: a million IPv4 addresses take 25 ms, argsort takes 110.
    """
    order: Rows | None = None
    for column in reversed(columns):
        for shift in digits(column):
            digit = (column >> column.dtype.type(shift)).astype(np.uint16)
            place = np.argsort(digit if order is None else digit[order], kind="stable")
            order = place if order is None else order[place]
    return np.arange(len(columns[0])) if order is None else order


def digits(column: Array) -> list[int]:
    """The shifts of the digits in which some rows differ, the lowest first."""
    if not len(column):
        return []
    differ = int(np.bitwise_or.reduce(column ^ column[0]))
    return [shift for shift in range(0, 64, _DIGIT) if differ >> shift & 0xFFFF]


def _before(keys: Iterable[Array], rows: Rows, row: int) -> tuple[int, Rows]:
    """How many of `rows` stand before `row` by these keys, and which are equal to it in all of them."""
    before = 0
    for key in keys:
        better, same = _against(key[rows], key[row])
        before += int(np.count_nonzero(better))
        rows = rows[same]
    return before, rows


def _against(values: Array, own: Any) -> tuple[Array, Array]:
    """Where values stand before `own`, and where they are equal to it; NaN comes last."""
    if values.dtype.kind == "f" and np.isnan(own):
        return ~np.isnan(values), np.isnan(values)
    return values < own, values == own


def _select(keys: Iterable[Array], ties: Ties, places: Rows, n: int) -> Rows:
    """The n first of `places`, ascending; ties of a key are decided by the next ones, then by `ties`, then by place."""
    chosen, count = [], len(places)
    for key in keys:
        if not 0 < n < len(places):
            break
        values = key if len(places) == len(key) else key[places]  # of all rows no copy: they are a million
        better, same = _against(values, np.partition(values, n - 1)[n - 1])
        del values
        chosen.append(places[better])
        n -= len(chosen[-1])
        places = places if same.all() else places[same]
    if 0 < n < len(places) and ties is not no_ties:
        undecided = ties(None if len(places) == count else places)
        places = places[_select(undecided, no_ties, np.arange(len(places)), n)]
    return np.sort(np.concatenate([*chosen, places[:n]]))


def _ordered(keys: Iterable[Array], ties: Ties, places: Rows) -> Rows:
    """These places (ascending) in order: by one key after another, each only where those before it leave doubt."""
    order, run = places, np.zeros(len(places), np.intp)  # rows of one run are equal so far; they are adjacent
    for key in keys:
        doubt = _in_doubt(run)
        if not len(doubt):
            return order
        order, run = _refined(order, run, doubt, key[order[doubt]])
    doubt = _in_doubt(run)
    if len(doubt) and ties is not no_ties:
        order = order.copy()
        order[doubt] = order[doubt][radix_order((_number(run[doubt]), *ties(order[doubt])))]
    return order


def _in_doubt(run: Rows) -> Rows:
    """Which rows are not alone in their run."""
    same = run[1:] == run[:-1]
    doubt = np.zeros(len(run), np.bool_)
    doubt[1:] |= same
    doubt[:-1] |= same
    return doubt.nonzero()[0]


def _refined(order: Rows, run: Rows, doubt: Rows, values: Array) -> tuple[Rows, Rows]:
    """The order with the rows in doubt sorted by their values within each run, and the runs that are left."""
    values = _number(values)
    index = radix_order((_number(run[doubt]), values))
    values = values[index]
    order = order.copy()
    order[doubt] = order[doubt][index]
    begins = np.zeros(len(run), np.bool_)
    begins[1:] = run[1:] != run[:-1]
    begins[doubt[1:]] |= values[1:] != values[:-1]
    return order, np.cumsum(begins)


def _number(values: Array) -> Array:
    """Unsigned numbers that stand in the order of the values; NaN last, and all NaN equal."""
    if values.dtype.kind == "u":
        return values
    if values.dtype.kind == "i":
        return values.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)
    kind = np.uint32 if values.dtype == np.float32 else np.uint64
    bits = (values + values.dtype.type(0)).view(kind)  # IEEE 754; -0.0 + 0 is 0.0
    top = kind(1 << 8 * kind().itemsize - 1)
    numbers = np.where(bits & top != 0, ~bits, bits | top)
    numbers[np.isnan(values)] = ~kind(0)
    return np.asarray(numbers)
