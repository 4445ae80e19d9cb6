"""Stillness of flows: a dump finds them as they were, so that the next one may come later."""

from __future__ import annotations

import numpy as np

from nettop.batch import Array
from nettop.columns import HAVE_TIMEOUT, Columns
from nettop.model.flows.store import FlowStore

EXPIRING_S = 5  # a flow with less time left may be gone before a late dump
_RENEWED_S = 1.5  # by so much a packet has renewed the timeout, which the kernel gives in whole seconds
_VARYING = ("timeout", "use")


def are_still(store: FlowStore, rows: Array, cols: Columns, at: Array, passed_ns: int) -> bool:
    """Return whether the rows `at` of a dump leave these rows of the table as they are, but for the time passed.

    None has carried a packet, which changes the counters or, without accounting, renews the timeout; none expires soon.
    """
    for name, column in cols.data.items():
        if name in store.data and name not in _VARYING and (column[at] != store[name][rows]).any():
            return False
    left = cols.get("timeout")
    if left is None:
        return True
    timed = cols["have"][at] & np.uint32(HAVE_TIMEOUT) != 0
    left = left[at].astype(np.int64)
    renewed = left + passed_ns / 1e9 - store["timeout"][rows] > _RENEWED_S
    return not (timed & (renewed | (left <= EXPIRING_S))).any()
