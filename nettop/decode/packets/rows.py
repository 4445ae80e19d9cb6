"""The rows of a decoder at work: the offset of each packet's next header, the columns, and the errors."""

from __future__ import annotations

import numpy as np

from nettop.batch import Array
from nettop.decode.packets.columns import PACKET_DTYPES
from nettop.decode.packets.window import HeaderWindow


class PacketRows:
    """A chunk of a batch. Each layer reads at `pos`, writes columns, and moves `pos` to the end of its header."""

    __slots__ = ("cols", "data", "end", "errors", "n", "pos", "start")

    def __init__(self, data: HeaderWindow, off: Array, caplen: Array) -> None:
        self.data = data
        self.n = len(off)
        self.start = np.minimum(off.astype(np.int64), data.size)
        self.end = np.minimum(self.start + caplen, data.size)
        self.pos = self.start.copy()
        self.cols: dict[str, Array] = {"have": np.zeros(self.n, np.uint16)}
        self.errors: list[tuple[Array, Array, int]] = []

    def column(self, name: str) -> Array:
        """Return the column of that name. A new one is all zeros."""
        column = self.cols.get(name)
        if column is None:
            column = self.cols[name] = np.zeros(self.n, PACKET_DTYPES[name])
        return column

    def where(self, mask: Array) -> Array | slice:
        """Return an index of the rows of the mask: a slice if it is all of them, which copies nothing."""
        return slice(None) if mask.all() else np.flatnonzero(mask)

    def require(self, at: Array | slice, ok: Array, code: int) -> tuple[Array | slice, Array | slice]:
        """Return the rows of `at` that are ok, and their indices in `at`. The others become errors at their `pos`."""
        if ok.all():
            return at, slice(None)
        rows = np.arange(self.n)[at]
        bad = rows[~ok]
        self.errors.append((bad, self.pos[bad], code))
        good = np.flatnonzero(ok)
        return rows[good], good

    def remaining(self, at: Array | slice) -> Array:
        """Return the number of captured bytes from `pos` on."""
        remaining: Array = self.end[at] - self.pos[at]
        return remaining

    def have(self, at: Array | slice, bits: int) -> None:
        """Set these `have` bits."""
        self.cols["have"][at] |= np.uint16(bits)
