"""Rates of flows: bytes per second between two readings of their counters that are far enough apart."""

from __future__ import annotations

import numpy as np

from nettop.batch import Array
from nettop.columns import HAVE_OCOUNT, HAVE_RCOUNT, Columns
from nettop.model.flows.store import FlowStore

# Dumps after an interrupted one, or after a loss, come within milliseconds: a short burst would look like a high rate.
MIN_S = 0.5
_COUNTS = np.uint32(HAVE_OCOUNT | HAVE_RCOUNT)
_SIDES = ((HAVE_OCOUNT, "obytes", "rate_up", "ahead_up"), (HAVE_RCOUNT, "rbytes", "rate_down", "ahead_down"))
_AHEAD = {ahead: np.float32 for *_, ahead in _SIDES}  # bytes counted since count_ns


def measure(store: FlowStore, rows: Array, cols: Columns, have: Array, had: Array) -> Array:
    """Compute the rates of these rows from the rows of a dump, before those are written.

    Return a mask of the rows whose reading came too soon: their rate is kept, and the next rate is measured from the
    older reading.
    """
    seconds = (cols["ts_ns"] - store["count_ns"][rows]) / 1e9
    soon = _comparable(store, rows, cols, have, had) & (seconds >= 0) & (seconds < MIN_S)
    if soon.any():
        store.add_columns(_AHEAD)
    for bit, name, rate, ahead in _SIDES:
        now = cols.get(name)
        if now is None:
            continue
        before = store[name][rows]
        usable = (have & had & bit != 0) & (now >= before) & (seconds >= MIN_S)
        grown = (now - before).astype(np.float64)
        if ahead in store.data:
            grown += store[ahead][rows]
            store[ahead][rows[soon]] = grown[soon]
        with np.errstate(divide="ignore", invalid="ignore"):
            store[rate][rows] = np.where(soon, store[rate][rows], np.where(usable, grown / seconds, np.nan))
    return soon


def begin(store: FlowStore, rows: Array, ts_ns: Array, have: Array) -> None:
    """Begin to measure rows that have counters from their values at `ts_ns`."""
    counted = (have & _COUNTS != 0).nonzero()[0]
    store["count_ns"][rows[counted]] = ts_ns[counted]
    for ahead in _AHEAD:
        if ahead in store.data:
            store[ahead][rows[counted]] = 0


def _comparable(store: FlowStore, rows: Array, cols: Columns, have: Array, had: Array) -> Array:
    """Return a mask of the rows that count the same directions as before, and whose counters did not fall."""
    same = (have & _COUNTS == had & _COUNTS) & (have & _COUNTS != 0)
    for bit, name, *_ in _SIDES:
        if name in cols:
            same &= (have & bit == 0) | (cols[name] >= store[name][rows])
    return np.asarray(same)
