"""The rows of a packet list in their order: packets that match the filter, and losses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nettop.kinds import NO_TIME
from nettop.model.packets.cells import PacketRow
from nettop.model.packets.store import GapRow, PacketStore, Segment

_BEFORE = 9  # rows above a window in which the previous packet is searched: losses may lie between


class PacketOrder:
    """The rows that the store shows now, found by segment, so that a window costs the same everywhere."""

    def __init__(self, store: PacketStore) -> None:
        self.segments = list(store.segments)
        self._store = store
        counts = np.fromiter(map(store.shown, self.segments), np.int64, len(self.segments))
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, part: slice) -> Iterator[PacketRow | GapRow]:
        """Yield the rows of a part, each packet with the time of the last packet before it that has one."""
        before_ns = None
        start, stop, _ = part.indices(len(self))
        for position in range(max(0, start - _BEFORE), stop):
            segment, row = self._at(position)
            if isinstance(segment, GapRow):
                if position >= start:
                    yield segment
                continue
            if position >= start:
                yield PacketRow(segment, row, before_ns)
            ts_ns = int(segment.ts_ns[row])
            before_ns = before_ns if ts_ns == NO_TIME else ts_ns

    def _at(self, position: int) -> tuple[Segment, int]:
        at = int(np.searchsorted(self._ends, position, "right"))
        segment = self.segments[at]
        return segment, 0 if isinstance(segment, GapRow) else self._store.row(segment, position - self._start(at))

    def _start(self, at: int) -> int:
        return int(self._ends[at - 1]) if at else 0

    def index_of(self, ident: int | None) -> int | None:
        """Return the index of a packet or loss; None when it is hidden or evicted."""
        found = None if ident is None else self._store.find(ident)
        if found is None:
            return None
        segment, row = found
        position = 0 if isinstance(segment, GapRow) else self._store.position(segment, row)
        at = next(index for index, other in enumerate(self.segments) if other is segment)
        return None if position is None else position + self._start(at)
