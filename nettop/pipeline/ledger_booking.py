"""Booking of hidden and evicted records in the ledger, by stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nettop.model.events.table import EventLog
from nettop.model.ledger import Ledger
from nettop.model.packets.blocks import PacketBlock
from nettop.model.packets.lists import PacketLists
from nettop.model.packets.store import PacketStore


def book_packets(ledger: Ledger, lists: PacketLists, streams: Sequence[int]) -> None:
    """Book the packets of these streams that the display filter hides, and those evicted."""
    stored, shown = Counter[int](), Counter[int]()
    for one in lists.all:
        _add_packets(one.store, stored, shown)
    gone = lists.dropped + sum(one.store.evicted for one in lists.all)
    for stream in streams:
        missing = ledger.modelled(stream) - stored[stream]
        evicted = gone if len(streams) == 1 else min(gone, missing)
        ledger.set_evicted(stream, max(0, evicted))
        ledger.set_filtered(stream, stored[stream] - shown[stream])


def _add_packets(store: PacketStore, stored: Counter[int], shown: Counter[int]) -> None:
    """Add the numbers of packets stored, by stream, and of those that match the display filter."""
    for block in store.segments:
        if not isinstance(block, PacketBlock):
            continue
        counts = np.bincount(block.stream_index, minlength=len(block.streams)).tolist()
        through = counts
        if block.matched is not None:
            through = np.bincount(block.stream_index[block.matched], minlength=len(block.streams)).tolist()
        for stream, count, visible in zip(block.streams, counts, through, strict=True):
            stored[stream.id] += count
            shown[stream.id] += visible


def book_events(ledger: Ledger, log: EventLog, streams: Sequence[tuple[int, int]]) -> None:
    """Book the evicted and hidden events of these streams, given with their namespace's code, the oldest first.

    If a namespace has several streams (one for each receive filter), events of the older one were evicted first.
    """
    evicted, hidden = log.ring.evicted.copy(), log.hidden()
    for stream, code in streams:
        count = ledger.modelled(stream)
        out = min(evicted[code], count)
        unseen = min(hidden[code], count - out)
        evicted[code] -= out
        hidden[code] -= unseen
        ledger.set_evicted(stream, out)
        ledger.set_filtered(stream, unseen)
