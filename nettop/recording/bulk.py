"""Many records at once: fixed-size headers and variable-length bodies, gathered from or scattered into a buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]

_TEMPORARY = 1 << 18  # bytes copied in one step: the temporary stays in the cache


def _windows(buf: Buffer, size: int) -> NDArray[Any]:
    """Return every `size`-byte window of buf as one void item; item i begins at byte i."""
    return np.ndarray((max(0, len(buf) - size + 1),), f"V{size}", buf, strides=(1,))


def gather(buf: Buffer, pos: Ints, words: int, order: str = "<") -> NDArray[np.uint32]:
    """Return `words` 32-bit numbers of that byte order from each position, within buf. Shape (len(pos), words)."""
    return _windows(buf, words * 4)[pos].view(order + "u4").reshape(-1, words)


def gather_mixed(buf: Buffer, pos: Ints, words: int, big: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return the same, each position's numbers in its own byte order: big-endian where `big`."""
    found = gather(buf, pos, words)
    if big.any():
        found[big] = found[big].byteswap()
    return found


def scatter(dst: NDArray[np.uint8], pos: Ints, rows: NDArray[np.uint32]) -> None:
    """Write row i of a C-contiguous (n, words) array at byte pos[i]."""
    size = rows.shape[1] * 4
    _windows(dst, size)[pos] = rows.view(f"V{size}")[:, 0]


def places(length: Ints, order: Ints) -> Ints:
    """Return where each record begins when records of these lengths follow one another in that order."""
    at = np.empty_like(length)
    at[order] = np.cumsum(length[order]) - length[order]
    return at


def _copy_fixed(dst: Buffer, to: Ints, src: Buffer, start: Ints, size: int) -> None:
    into, out_of = _windows(dst, size), _windows(src, size)
    step = max(1, _TEMPORARY // size)
    for a in range(0, len(to), step):
        into[to[a : a + step]] = out_of[start[a : a + step]]


def copy(dst: NDArray[np.uint8], to: Ints, src: Buffer, start: Ints, length: Ints) -> None:
    """Copy length[i] bytes from src[start[i]] to dst[to[i]] for every i; all ranges must lie within the buffers.

    Lengths are handled by powers of two: a record of 2^k ≤ length < 2^(k+1) is two overlapping copies of 2^k bytes,
    its first and its last, so a batch needs only a few NumPy calls for any mix of lengths.
    """
    if not len(to):
        return
    first = int(length[0])
    if first and np.all(length == first):
        _copy_fixed(dst, to, src, start, first)
        return
    powers = np.frexp(length)[1]
    for power in np.flatnonzero(np.bincount(powers)).tolist():  # np.unique would first import numpy.ma, for 15 ms
        if power:
            rows, size = np.flatnonzero(powers == power), 1 << (power - 1)
            head_to, head_from, tail = to[rows], start[rows], length[rows] - size
            _copy_fixed(dst, head_to, src, head_from, size)
            _copy_fixed(dst, head_to + tail, src, head_from + tail, size)
