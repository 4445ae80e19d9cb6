"""Rows that are selected keep what belongs to them, whatever selects them."""

from __future__ import annotations

import numpy as np
import pytest

from nettop.batch import Array, Batch, NetlinkMeta, PacketMeta, select_rows

N = 6
ROWS = [
    slice(0, N),
    slice(2, 5),
    slice(4, 99),
    slice(3, 3),
    np.array([1, 3, 4]),
    np.array([5, 0]),
    np.arange(N) % 2 == 0,
]


def batch(meta: PacketMeta | NetlinkMeta) -> Batch:
    off = np.arange(N, dtype=np.uint32)
    return Batch(7, 8, bytes(range(N)), off, np.ones(N, np.uint32), np.arange(N, dtype=np.int64) + 100, meta)


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_records_times_and_metadata_of_packets_stay_together(rows: Array | slice) -> None:
    status = np.arange(N, dtype=np.uint32) + 20
    meta = PacketMeta(np.arange(N, dtype=np.uint32), None, status, {1: "one", 4: "four"}, None, None)
    some, kept = select_rows(batch(meta), rows), np.arange(N)[rows].tolist()
    assert (some.stream, some.seq, len(some)) == (7, 8, len(kept))
    assert [some.record(row) for row in range(len(some))] == [bytes([row]) for row in kept]
    assert some.ts_ns.tolist() == [100 + row for row in kept]
    assert isinstance(some.meta, PacketMeta) and some.meta.direction is None
    assert some.meta.wirelen.tolist() == kept
    assert some.meta.tp_status is not None and some.meta.tp_status.tolist() == [20 + row for row in kept]
    words = {1: "one", 4: "four"}
    assert some.meta.comment == {at: words[row] for at, row in enumerate(kept) if row in words}


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_datagrams_keep_whose_they_are(rows: Array | slice) -> None:
    outgoing = np.array([True, False, True, False, False, True])
    some = select_rows(batch(NetlinkMeta(outgoing, np.arange(N, dtype=np.int32))), rows)
    assert isinstance(some.meta, NetlinkMeta) and some.meta.nsid is not None
    assert some.meta.outgoing.tolist() == outgoing[rows].tolist()
    assert some.meta.nsid.tolist() == np.arange(N)[rows].tolist()
