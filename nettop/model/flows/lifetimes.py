"""Events of one batch in an order for bulk operations: the lifetimes of each key, one after another.

Between a key's NEW and its DESTROY any number of updates can be written at once (the last value stays). Several
lifetimes of one key need as many rounds. Of a key with thousands of lifetimes only the first ones and the last one are
applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.columns import EVENT_DESTROY, HAVE_ID, Columns
from nettop.model.flows.store import FlowKeys

ROUNDS = 8  # lifetimes of one key in a batch that are applied


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """One lifetime of each of several keys: `rows` are rows of the batch, lifetime by lifetime, in order of arrival."""

    rows: NDArray[np.intp]
    starts: NDArray[np.intp]  # indices into `rows` at which lifetimes begin
    dies: NDArray[np.bool_]  # the last row is a DESTROY
    skipped: bool = False  # keys had earlier lifetimes in this batch that no round has

    def first(self) -> NDArray[np.intp]:
        """Return the first row of each lifetime."""
        return np.asarray(self.rows[self.starts])

    def lengths(self) -> NDArray[np.intp]:
        """Return the number of rows of each lifetime."""
        return np.diff(np.append(self.starts, len(self.rows))).astype(np.intp)

    def last(self) -> NDArray[np.intp]:
        """Return the last row of each lifetime."""
        found: NDArray[np.intp] = self.rows[self.starts + self.lengths() - 1]
        return found


def split_lifetimes(cols: Columns, keys: FlowKeys) -> list[Lifetimes]:
    """Return rounds to apply one after another; in each, every key has at most one lifetime."""
    if not has_repeats(keys.hashes):
        return [_singles(np.arange(len(cols)), cols)]
    order = np.argsort(keys.hashes, kind="stable")
    hashes = keys.hashes[order]
    same = np.zeros(len(order), np.bool_)  # the previous row, in this order, is of the same key
    same[1:] = hashes[1:] == hashes[:-1]
    repeats = same.nonzero()[0]
    if not keys.equal(order[repeats], order[repeats - 1]).all():  # keys with the same hash: rare, so row by row
        return [_singles(np.array([row]), cols) for row in range(len(cols))]
    return _rounds(order, same, _lifetime_begins(cols, order, same), cols)


def has_repeats(hashes: Array) -> bool:
    """Return whether any hash occurs twice."""
    ordered = np.sort(hashes)
    return bool((ordered[1:] == ordered[:-1]).any())


def _singles(rows: Array, cols: Columns) -> Lifetimes:
    return Lifetimes(rows, np.arange(len(rows)), cols["event"][rows] == EVENT_DESTROY)


def _lifetime_begins(cols: Columns, order: Array, same: Array) -> Array:
    """Return where lifetimes begin: at a key's first row, after a DESTROY, or where the id changes."""
    begins = ~same
    begins[1:] |= cols["event"][order][:-1] == EVENT_DESTROY
    ids = cols.get("id")
    if ids is not None:
        known = (cols["have"][order] & HAVE_ID) != 0
        ordered = ids[order]
        begins[1:] |= known[1:] & known[:-1] & (ordered[1:] != ordered[:-1])
    return begins


def _rounds(order: Array, same: Array, begins: Array, cols: Columns) -> list[Lifetimes]:
    starts = begins.nonzero()[0]
    lifetime = np.cumsum(begins) - 1  # of each row
    is_first = ~same[starts]
    is_last = np.append(is_first[1:], True)
    count = np.arange(len(starts))
    number = count - np.maximum.accumulate(np.where(is_first, count, 0))  # among the lifetimes of a key, from 0
    rounds = [_select(order, lifetime, number == n, False, cols) for n in range(min(ROUNDS, int(number.max()) + 1))]
    skipping = is_last & (number >= ROUNDS)
    return [*rounds, _select(order, lifetime, skipping, True, cols)] if skipping.any() else rounds


def _select(order: Array, lifetime: Array, selected: Array, skipped: bool, cols: Columns) -> Lifetimes:
    mask = selected[lifetime]
    rows = order[mask]
    starts = np.flatnonzero(np.diff(lifetime[mask], prepend=-1))
    ends = np.append(starts[1:], len(rows)) - 1
    return Lifetimes(rows, starts, cols["event"][rows[ends]] == EVENT_DESTROY, skipped)
