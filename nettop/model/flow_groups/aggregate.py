"""Many flows in few groups: equal keys are found by a radix sort over columns, then summed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.columns import HAVE_STATUS
from nettop.linux.conntrack import IPS_ASSURED, IPS_SEEN_REPLY
from nettop.model.flows import derive
from nettop.model.ordering import Rows, digits, radix_order

_PARTS_OF = {"rate": ("rate_up", "rate_down"), "bytes": ("obytes", "rbytes"), "packets": ("opackets", "rpackets")}
UNKNOWN = ("unrated", "uncounted")  # flows without a known rate, and without counters
SUMS = ("flows", "unreplied", "assured", *UNKNOWN, "rate_up", "rate_down", *derive.COUNTERS, *_PARTS_OF)


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups in ascending order of their keys."""

    keys: tuple[Array, ...]  # columns, most significant first, with a value per group
    parts: dict[str, Array]  # int32 counts, and float sums, NaN where no value is known

    def __len__(self) -> int:
        return len(self.keys[0])

    def sums(self, name: str) -> Array:
        """Return one of SUMS by group. Sums of two directions are computed here rather than kept twice."""
        if name not in _PARTS_OF:
            return self.parts[name]
        one, other = (self.parts[part] for part in _PARTS_OF[name])
        return np.where(np.isnan(one), other, np.where(np.isnan(other), one, one + other))


def grouped(columns: Sequence[Array], data: derive.Data) -> Groups:
    """Return the groups of rows with equal key columns (unsigned, as long as data's), and their sums."""
    order = radix_order(columns)
    begins = np.zeros(len(order), np.bool_)
    begins[:1] = True
    for column in columns:
        if digits(column):
            ordered = column[order]
            begins[1:] |= ordered[1:] != ordered[:-1]
    first = order[begins]
    codes = np.empty(len(order), np.int32)
    codes[order] = np.cumsum(begins, dtype=np.int32) - 1
    del order, begins
    return Groups(tuple(column[first] for column in columns), _parts(data, codes, len(first)))


def indices_of(keys: Sequence[Array], among: Sequence[Array]) -> Rows:
    """Return the index in `among` of each of `keys`, -1 where it is not there. Keys are distinct on either side."""
    n = len(keys[0])
    both = [np.concatenate(pair) for pair in zip(keys, among, strict=True)]
    order = radix_order(both)
    same = np.ones(max(0, len(order) - 1), np.bool_)
    for column in both:
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    at = same.nonzero()[0]
    found = np.full(n, -1, np.intp)
    found[order[at]] = order[at + 1] - n  # the sort is stable: of two equal keys that of `keys` is first
    return found


def _parts(data: derive.Data, codes: Array, n: int) -> dict[str, Array]:
    """Return counts and sums by group; see Groups.parts."""
    status = derive.column(data, "status")
    has_status = derive.has(data, HAVE_STATUS)
    parts: dict[str, Array] = {
        "flows": _count(codes, n),
        "unreplied": _count(codes[has_status & (status & IPS_SEEN_REPLY == 0)], n),
        "assured": _count(codes[has_status & (status & IPS_ASSURED != 0)], n),
    }
    up, down = derive.rates(data)
    parts |= {name: _sum(codes, rates, ~np.isnan(rates), n) for name, rates in (("rate_up", up), ("rate_down", down))}
    parts["unrated"] = _count(codes[np.isnan(up) & np.isnan(down)], n)
    parts["uncounted"] = _count(codes[~derive.counted(data)], n)
    for name, bit in derive.COUNTERS.items():
        parts[name] = _sum(codes, derive.column(data, name), derive.has(data, bit), n)
    return parts


def _count(codes: Array, n: int) -> NDArray[np.int32]:
    return np.bincount(codes, minlength=n).astype(np.int32)


def _sum(codes: Array, values: Array, known: Array, n: int) -> NDArray[np.float64]:
    """Return the sum by group, exact to 2^53; NaN for a group without a known value."""
    if not known.all():
        codes, values = codes[known], values[known]
    total = np.bincount(codes, values, n).astype(np.float64, copy=False)  # of no values it is int64
    total[np.bincount(codes, minlength=n) == 0] = np.nan
    return total
