"""Bytes by tuple and capture point."""

from __future__ import annotations

import numpy as np

from nettop.model.packet_rates.tally import PacketTally


def test_one_tuple_on_many_devices_is_spread_over_the_index() -> None:
    """The point is in the highest bits of the key: the lowest bits of the hash, a home in the index, must differ."""
    points = np.arange(2_000, dtype=np.uint64) << np.uint64(48)
    same = np.full(len(points), 0x0A000001, np.uint64)
    hashes = PacketTally()._hashed(points, same, same + np.uint64(1), None)
    assert len(np.unique(hashes)) == 2_000
    assert len(np.unique(hashes & np.uint64(4_095))) > 1_000
