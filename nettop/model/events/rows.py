"""The events of a decoded batch in the order of arrival: flows and expectations in one set of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, NetlinkMeta
from nettop.columns import COLUMN_DTYPES, EVENT_DUMP, EVENT_EXPECT, EXPECT_DTYPES, Columns, Decoded


def event_rows(decoded: Decoded) -> Columns:
    """Return the events without the rows of dumps. Expectations (by their event) have the EXPECT_DTYPES columns."""
    flows, expect = _events(decoded.cols), _events(decoded.expect)
    if not expect.any():
        return decoded.cols if flows.all() else decoded.cols.take(flows)
    parts = [(decoded.cols, decoded.record, flows), (decoded.expect, decoded.expect_record, expect)]
    record = np.concatenate([records[mask] for _, records, mask in parts])
    order = np.argsort(record, kind="stable")
    names = dict.fromkeys([*decoded.cols.data, *decoded.expect.data, *EXPECT_DTYPES])
    columns = {name: np.concatenate([_column(cols, name, mask) for cols, _, mask in parts])[order] for name in names}
    columns["ts_ns"] = _in_order(columns["ts_ns"], columns["event"] > EVENT_EXPECT)
    return Columns(len(record), columns)


def without_row(batch: Batch, decoded: Decoded) -> int:
    """Return how many records of a batch of events gave no row. Each holds one event, so they are unreadable."""
    sent = len(batch) - (int(batch.meta.outgoing.sum()) if isinstance(batch.meta, NetlinkMeta) else 0)
    return max(0, sent - len(decoded.cols) - len(decoded.expect))


def _in_order(ts_ns: NDArray[Any], expected: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the times with those of expectations, which have no timestamp, at most that of the next flow event."""
    latest = np.minimum.accumulate(ts_ns[::-1])[::-1]
    return np.asarray(np.where(expected, latest, ts_ns))


def _events(cols: Columns) -> NDArray[np.bool_]:
    return np.asarray(cols["event"] != EVENT_DUMP) if len(cols) else np.zeros(0, np.bool_)


def _column(cols: Columns, name: str, mask: NDArray[np.bool_]) -> NDArray[np.generic]:
    found = cols.get(name) if len(cols) else None
    if found is None:
        return np.zeros(int(np.count_nonzero(mask)), COLUMN_DTYPES[name])
    return np.asarray(found[mask])
