"""The values of messages with a known layout, read in bulk or one by one into the columns of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.columns import COLUMN_DTYPES, FLOW_HI, Columns, Strings
from nettop.decode.conntrack.layout import MessageLayout, NumberPart
from nettop.decode.netlink import unaligned
from nettop.linux.netlink import NLMSG_HDRLEN, Buffer

_NAMES = "family proto have osrc_lo odst_lo rsrc_lo rdst_lo osport odport rsport rdport"
_ALWAYS = {name: COLUMN_DTYPES[name] for name in _NAMES.split()}
_BULK = 6  # fewer rows than this are read faster one by one
_MAX_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class MessageBlock:
    """Messages of one length: data[i] is the message of row rows[i], padded to a multiple of 4 bytes."""

    rows: NDArray[np.intp]
    data: NDArray[np.uint8]

    @classmethod
    def gather(cls, buf: Buffer, offsets: NDArray[np.int64], rows: NDArray[np.intp], length: int) -> MessageBlock:
        """Copy the messages of `length` bytes at these offsets."""
        data = unaligned(buf, f"V{length}")[offsets].view(np.uint8).reshape(len(rows), length)
        if length % 4:
            data = np.pad(data, ((0, 0), (0, -length % 4)))
        return cls(rows, data)

    def __len__(self) -> int:
        return len(self.rows)

    def fits(self, layout: MessageLayout) -> NDArray[np.bool_]:
        """Return a mask of the messages whose attribute headers are those of the layout."""
        heads = self.data.view(np.uint32)[:, layout.words]
        same: NDArray[np.bool_] = (heads == layout.heads).all(axis=1)
        return same

    def take(self, mask: NDArray[np.bool_]) -> MessageBlock:
        """Return the messages of the mask."""
        return self if mask.all() else MessageBlock(self.rows[mask], self.data[mask])

    def number(self, part: NumberPart) -> Array:
        """Return the big-endian number at this part of every message, not shifted."""
        n, width = self.data.shape
        return np.ndarray((n,), f">u{part.width}", self.data, part.offset, (width,))


class MessageColumns:
    """The columns of a batch while it is decoded: n rows, each filled in once."""

    def __init__(self, n: int, strings: Strings) -> None:
        self._n = n
        self._strings = strings
        self._data: dict[str, Array] = {name: np.zeros(n, dtype) for name, dtype in _ALWAYS.items()}

    def set(self, name: str, values: Array) -> None:
        """Set a whole column."""
        self._data[name] = values

    def columns(self) -> Columns:
        """Return the columns filled in so far."""
        if any(name in self._data for name in FLOW_HI):
            for name in FLOW_HI:
                self._column(name)
        return Columns(self._n, self._data)

    def read(self, layout: MessageLayout, block: MessageBlock) -> None:
        """Read all messages of the block, which have this layout."""
        if len(block) >= _BULK:
            self._read_bulk(layout, block)
            return
        for row, data in zip(block.rows.tolist(), block.data, strict=True):
            self.read_one(layout, row, data.tobytes())

    def read_one(self, layout: MessageLayout, row: int, data: bytes) -> None:
        """Read one message of this layout."""
        self._data["have"][row] = layout.have
        self._data["family"][row] = layout.family or data[NLMSG_HDRLEN]
        for name, parts in layout.numbers:
            value = 0
            for part in parts:
                value |= int.from_bytes(data[part.offset : part.offset + part.width], "big") << part.shift
            self._column(name)[row] = min(value, _MAX_NS) if name == "ts_ns" else value
        for name, offset, width, text in layout.texts:
            self._column(name)[row] = self._code(data[offset : offset + width], text)

    def _read_bulk(self, layout: MessageLayout, block: MessageBlock) -> None:
        self._put("have", block, np.full(len(block), layout.have, np.uint32))
        family = np.full(len(block), layout.family, np.uint8) if layout.family else block.data[:, NLMSG_HDRLEN].copy()
        self._put("family", block, family)
        for name, parts in layout.numbers:
            self._put(name, block, _number(name, parts, block))
        for name, offset, width, text in layout.texts:
            self._put(name, block, self._codes(block.data[:, offset : offset + width], text))

    def _codes(self, raw: NDArray[np.uint8], text: bool) -> Array:
        """Return the code of the string in each row. Fast if all are equal, which is usual."""
        if not raw.shape[1] or (raw == raw[0]).all():
            return np.full(len(raw), self._code(raw[0].tobytes(), text), np.uint16)
        return np.array([self._code(value.tobytes(), text) for value in raw], np.uint16)

    def _code(self, raw: bytes, text: bool) -> int:
        return self._strings.code(raw.partition(b"\0")[0] if text else raw)

    def _put(self, name: str, block: MessageBlock, values: Array) -> None:
        if len(block) == self._n:
            self._data[name] = values
        else:
            self._column(name)[block.rows] = values

    def _column(self, name: str) -> Array:
        column = self._data.get(name)
        if column is None:
            column = self._data[name] = np.zeros(self._n, COLUMN_DTYPES[name])
        return column


def _number(name: str, parts: tuple[NumberPart, ...], block: MessageBlock) -> Array:
    """Return the values of the column, in its dtype."""
    if name == "ts_ns":
        return np.minimum(block.number(parts[0]), np.uint64(_MAX_NS)).astype(np.int64)
    dtype = COLUMN_DTYPES[name]
    values = block.number(parts[0]).astype(dtype)
    if parts[0].shift:
        values <<= parts[0].shift
    for part in parts[1:]:
        values |= block.number(part).astype(dtype) << part.shift
    return values
