"""Random access to the packets of a big file: where each stands, from one pass that can be shown while it goes on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, Item, PacketMeta
from nettop.errors import InputError
from nettop.recording.chunks import open_input

_COLUMNS: dict[str, type[np.generic]] = {
    "file_off": np.uint64,  # of the frame's first byte
    "caplen": np.uint32,
    "wirelen": np.uint32,
    "ts_ns": np.int64,
    "stream": np.int32,
    "number": np.uint64,  # among all records of the file, from 1
}


class FrameIndex:
    """One row a packet, in the order of the batches added. The columns are views of the first `len(index)` rows."""

    def __init__(self, fd: int) -> None:
        """`fd` is a regular file that is not compressed; the index reads frames from it and does not close it."""
        self._fd = fd
        self._n = 0
        self._data: dict[str, NDArray[Any]] = {name: np.empty(1 << 14, dtype) for name, dtype in _COLUMNS.items()}

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column: file_off u64, caplen u32, wirelen u32, ts_ns i64, stream i32, number u64."""
        return self._data[name][: self._n]

    def add(self, items: Iterable[Item]) -> int:
        """Takes in the packet batches among the items; how many rows they add. ValueError if a batch has no place."""
        before = self._n
        for item in items:
            if isinstance(item, Batch) and isinstance(item.meta, PacketMeta):
                self._append(item, item.meta)
        return self._n - before

    def frame(self, row: int) -> bytes:
        """The bytes of a frame; fewer than its caplen if the file has shrunk since."""
        return os.pread(self._fd, int(self._data["caplen"][row]), int(self._data["file_off"][row]))

    def _append(self, batch: Batch, meta: PacketMeta) -> None:
        if meta.file_off is None or meta.number is None:
            raise ValueError("the batch does not say where in a file it stands")
        a, b = self._n, self._n + len(batch)
        if b > len(self._data["caplen"]):
            self._grow(b)
        values = (meta.file_off, batch.caplen, meta.wirelen, batch.ts_ns, batch.stream, meta.number)
        for column, value in zip(self._data.values(), values, strict=True):
            column[a:b] = value
        self._n = b

    def _grow(self, least: int) -> None:
        size = max(least, 2 * len(self._data["caplen"]))
        for name, column in self._data.items():
            bigger = np.empty(size, column.dtype)
            bigger[: self._n] = column[: self._n]
            self._data[name] = bigger


@contextmanager
def frames_of(path: str) -> Iterator[FrameIndex]:
    """An index over the file at `path`, empty yet, with a descriptor of its own. Raises InputError."""
    if path == "-":
        raise InputError("standard input cannot be read at random", "save it to a file first")
    fd = open_input(path)
    try:
        yield FrameIndex(fd)
    finally:
        os.close(fd)
