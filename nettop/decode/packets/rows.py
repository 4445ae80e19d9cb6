"""The rows being decoded: the place of each packet's next header, the columns so far, and the errors."""

from __future__ import annotations

import numpy as np

from nettop.batch import Array
from nettop.decode.packets.columns import PACKET_DTYPES
from nettop.decode.packets.window import Window


class Rows:
    """A chunk of a batch. Every layer reads at `pos`, writes columns, and moves `pos` behind its header."""

    __slots__ = ("cols", "data", "end", "errors", "n", "pos", "start")

    def __init__(self, data: Window, off: Array, caplen: Array) -> None:
        self.data = data
        self.n = len(off)
        self.start = np.minimum(off.astype(np.int64), data.size)
        self.end = np.minimum(self.start + caplen, data.size)
        self.pos = self.start.copy()
        self.cols: dict[str, Array] = {"have": np.zeros(self.n, np.uint16)}
        self.errors: list[tuple[Array, Array, int]] = []

    def column(self, name: str) -> Array:
        """The column of that name, zeros at first."""
        column = self.cols.get(name)
        if column is None:
            column = self.cols[name] = np.zeros(self.n, PACKET_DTYPES[name])
        return column

    def where(self, mask: Array) -> Array | slice:
        """An index for the rows of the mask; the whole as a slice, which copies nothing."""
        return slice(None) if mask.all() else np.flatnonzero(mask)

    def sure(self, at: Array | slice, ok: Array, code: int) -> tuple[Array | slice, Array | slice]:
        """The rows of `at` that are ok, and which of them these are; the others become errors at their position."""
        if ok.all():
            return at, slice(None)
        rows = np.arange(self.n)[at]
        bad = rows[~ok]
        self.errors.append((bad, self.pos[bad], code))
        kept = np.flatnonzero(ok)
        return rows[kept], kept

    def left(self, at: Array | slice) -> Array:
        """Return the number of captured bytes from `pos` on."""
        left: Array = self.end[at] - self.pos[at]
        return left

    def have(self, at: Array | slice, bits: int) -> None:
        """Sets bits of `have`."""
        self.cols["have"][at] |= np.uint16(bits)

    def has(self, bits: int) -> Array:
        """Return the rows that have any of these bits."""
        mask: Array = self.cols["have"] & np.uint16(bits) != 0
        return mask
