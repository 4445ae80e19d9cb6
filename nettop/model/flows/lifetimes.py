"""Events of one batch put in an order that bulk operations can follow: the lives of each key, one after another.

Between a key's NEW and its DESTROY any number of updates can be written at once (the last value stays). Several lives
of one key take as many rounds. Who makes one key flap by the thousand gets its first lives and its last: those between
have come and gone by then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.columns import EVENT_DESTROY, HAVE_ID, Columns
from nettop.model.flows.store import Keys

ROUNDS = 8  # lives of one key in a batch that are applied in turn


@dataclass(frozen=True, slots=True)
class Lives:
    """One life each of different keys: `rows` are rows of the batch, life by life, in the order they came."""

    rows: NDArray[np.intp]
    starts: NDArray[np.intp]  # where in `rows` each life begins
    dies: NDArray[np.bool_]  # its last row is a DESTROY
    skipped: bool = False  # each key had earlier lives in this batch that no round has

    def first(self) -> NDArray[np.intp]:
        """The first row of each life."""
        return np.asarray(self.rows[self.starts])

    def lengths(self) -> NDArray[np.intp]:
        """How many rows each life has."""
        return np.diff(np.append(self.starts, len(self.rows))).astype(np.intp)

    def last(self) -> NDArray[np.intp]:
        """The last row of each life."""
        found: NDArray[np.intp] = self.rows[self.starts + self.lengths() - 1]
        return found


def split_lives(cols: Columns, keys: Keys) -> list[Lives]:
    """Rounds to apply in turn; in each, every key has at most one life."""
    if not has_repeats(keys.hashes):
        return [_singles(np.arange(len(cols)), cols)]
    order = np.argsort(keys.hashes, kind="stable")
    hashes = keys.hashes[order]
    same = np.zeros(len(order), np.bool_)  # the row before, in this order, is of the same key
    same[1:] = hashes[1:] == hashes[:-1]
    repeats = same.nonzero()[0]
    if not keys.equal(order[repeats], order[repeats - 1]).all():  # two keys of one hash: rare enough to go row by row
        return [_singles(np.array([row]), cols) for row in range(len(cols))]
    return _in_turn(order, same, _life_begins(cols, order, same), cols)


def has_repeats(hashes: Array) -> bool:
    """Whether any hash stands twice."""
    ordered = np.sort(hashes)
    return bool((ordered[1:] == ordered[:-1]).any())


def _singles(rows: Array, cols: Columns) -> Lives:
    return Lives(rows, np.arange(len(rows)), cols["event"][rows] == EVENT_DESTROY)


def _life_begins(cols: Columns, order: Array, same: Array) -> Array:
    """Where a life begins: a key's first row, a row after a DESTROY, a row with another id than the one before."""
    begins = ~same
    begins[1:] |= cols["event"][order][:-1] == EVENT_DESTROY
    ids = cols.get("id")
    if ids is not None:
        known = (cols["have"][order] & HAVE_ID) != 0
        ordered = ids[order]
        begins[1:] |= known[1:] & known[:-1] & (ordered[1:] != ordered[:-1])
    return begins


def _in_turn(order: Array, same: Array, begins: Array, cols: Columns) -> list[Lives]:
    starts = begins.nonzero()[0]
    life = np.cumsum(begins) - 1  # of each row
    is_first = ~same[starts]
    is_last = np.append(is_first[1:], True)
    count = np.arange(len(starts))
    number = count - np.maximum.accumulate(np.where(is_first, count, 0))  # which life of its key, from 0
    rounds = [_chosen(order, life, number == turn, False, cols) for turn in range(min(ROUNDS, int(number.max()) + 1))]
    late = is_last & (number >= ROUNDS)
    return [*rounds, _chosen(order, life, late, True, cols)] if late.any() else rounds


def _chosen(order: Array, life: Array, wanted: Array, skipped: bool, cols: Columns) -> Lives:
    mine = wanted[life]
    rows = order[mine]
    starts = np.flatnonzero(np.diff(life[mine], prepend=-1))
    ends = np.append(starts[1:], len(rows)) - 1
    return Lives(rows, starts, cols["event"][rows[ends]] == EVENT_DESTROY, skipped)
