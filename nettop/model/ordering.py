"""The order of many rows of which only the first few are shown: selection instead of sorting, with tie-breaking.

Rows that are equal in every key are ordered by `ties`: further columns, gathered only for the rows that need them, so
that the order is always the same; finally by position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array

Rows = NDArray[np.intp]
Ties = Callable[[Rows | None], Iterable[Array]]  # for some positions, or all (None): unsigned columns that break ties

_SORT_ALL = 0.2  # beyond this share of all rows a full sort costs no more than selecting
_DIGIT = 16  # bits: NumPy's stable argsort of uint16 is a radix sort, some 10 ms a million


def no_ties(positions: Rows | None) -> Iterable[Array]:
    """Return no column: rows that are equal in every key stay in order of position."""
    return ()


def ascending(column: Array, descending: bool) -> Array:
    """Return a column to sort in ascending order. Integers and floats; NaN (absent) is last in both directions."""
    if column.dtype.kind == "f":
        return -column if descending else column
    return ~column if descending else column


def first_rows(keys: Sequence[Array], n: int, ties: Ties = no_ties) -> Rows:
    """Return the first n positions in ascending order of keys[0], keys[1], …, then of `ties`, then of position."""
    count = len(keys[0])
    all_rows = not 0 < n <= count * _SORT_ALL
    return _ordered(keys, ties, np.arange(count) if all_rows else _select(keys, ties, np.arange(count), n))[:n]


def position_of(keys: Sequence[Array], row: int, ties: Ties = no_ties) -> int:
    """Return the position of a row in that order."""
    before, equal = _before(keys, np.arange(len(keys[0])), row)
    if len(equal) > 1:
        further, rest = _before(ties(equal), np.arange(len(equal)), int(np.searchsorted(equal, row)))
        before, equal = before + further, equal[rest]
    return before + int(np.searchsorted(equal, row))


def radix_order(columns: Sequence[Array]) -> Rows:
    """Return the rows in ascending order of columns[0], columns[1], … (unsigned), equal rows in their given order.

    Digits in which no rows differ cost next to nothing: a million IPv4 addresses take 25 ms, argsort takes 110.
    """
    order: Rows | None = None
    for column in reversed(columns):
        for shift in digits(column):
            digit = (column >> column.dtype.type(shift)).astype(np.uint16)
            index = np.argsort(digit if order is None else digit[order], kind="stable")
            order = index if order is None else order[index]
    return np.arange(len(columns[0])) if order is None else order


def digits(column: Array) -> list[int]:
    """Return the shifts of the digits in which some rows differ, the lowest first."""
    if not len(column):
        return []
    differ = int(np.bitwise_or.reduce(column ^ column[0]))
    return [shift for shift in range(0, 64, _DIGIT) if differ >> shift & 0xFFFF]


def _before(keys: Iterable[Array], rows: Rows, row: int) -> tuple[int, Rows]:
    """Return how many of `rows` come before `row` by these keys, and which are equal to it in all of them."""
    before = 0
    for key in keys:
        less, same = _against(key[rows], key[row])
        before += int(np.count_nonzero(less))
        rows = rows[same]
    return before, rows


def _against(values: Array, value: Any) -> tuple[Array, Array]:
    """Return masks of the values before and equal to a value; NaN is last."""
    if values.dtype.kind == "f" and np.isnan(value):
        return ~np.isnan(values), np.isnan(values)
    return values < value, values == value


def _select(keys: Iterable[Array], ties: Ties, positions: Rows, n: int) -> Rows:
    """Return the n first of these, ascending. Ties of a key are decided by the next, then `ties`, then position."""
    chosen, count = [], len(positions)
    for key in keys:
        values = key if len(positions) == len(key) else key[positions]  # of all rows no copy: they are a million
        less, same = _against(values, np.partition(values, n - 1)[n - 1])
        del values
        chosen.append(positions[less])
        n -= len(chosen[-1])
        positions = positions if same.all() else positions[same]
        if not 0 < n < len(positions):
            break  # before the next key is made, which may take several times the memory of its column
    if 0 < n < len(positions) and ties is not no_ties:
        tie_columns = ties(None if len(positions) == count else positions)
        positions = positions[_select(tie_columns, no_ties, np.arange(len(positions)), n)]
    return np.sort(np.concatenate([*chosen, positions[:n]]))


def _ordered(keys: Iterable[Array], ties: Ties, positions: Rows) -> Rows:
    """Return these positions (ascending) in order: each key sorts only the rows that earlier keys left equal."""
    order, run = positions, np.zeros(len(positions), np.intp)  # rows of one run are equal so far; they are adjacent
    for key in keys:
        undecided = _undecided(run)
        if not len(undecided):
            return order
        order, run = _refined(order, run, undecided, key[order[undecided]])
    undecided = _undecided(run)
    if len(undecided) and ties is not no_ties:
        order = order.copy()
        order[undecided] = order[undecided][radix_order((_number(run[undecided]), *ties(order[undecided])))]
    return order


def _undecided(run: Rows) -> Rows:
    """Return the rows that share their run with others."""
    same = run[1:] == run[:-1]
    undecided = np.zeros(len(run), np.bool_)
    undecided[1:] |= same
    undecided[:-1] |= same
    return undecided.nonzero()[0]


def _refined(order: Rows, run: Rows, undecided: Rows, values: Array) -> tuple[Rows, Rows]:
    """Return the order with the undecided rows sorted by their values within each run, and the new runs."""
    values = _number(values)
    index = radix_order((_number(run[undecided]), values))
    values = values[index]
    order = order.copy()
    order[undecided] = order[undecided][index]
    begins = np.zeros(len(run), np.bool_)
    begins[1:] = run[1:] != run[:-1]
    begins[undecided[1:]] |= values[1:] != values[:-1]
    return order, np.cumsum(begins)


def _number(values: Array) -> Array:
    """Return unsigned numbers in the order of the values; all NaN are equal, and last."""
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
