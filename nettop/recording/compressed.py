"""Compressed input: recognised by its first bytes, decompressed piece by piece, never more than a few MiB at once."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from nettop.errors import InputError

PIECE = 1 << 22  # bytes returned at once
_ZSTD_INPUT = 512  # zstandard cannot bound its output; 512 bytes of input hold at most 128 blocks of 128 KiB
_ZSTD_WINDOW = 1 << 27  # bytes, the window of `zstd --long`
_XZ_MEMORY = 1 << 28

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
MAGIC_BYTES = 6  # the first bytes of a file that decide


class _Gzip:
    """zlib's decompressor with the methods of those in bz2 and lzma (lz4 has them, too)."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length and not self._inner.unconsumed_tail
        return piece


class _Zstd:
    """zstandard's decompressor with those methods. It gets little input at a time: its output has no limit."""

    def __init__(self, module: Any) -> None:
        self._inner = module.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._unused = b""

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return not self._unused

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data) + self._unused

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        data = self._unused + data
        parts, size, pos = [], 0, 0
        while pos < len(data) and size < max_length and not self.eof:
            parts.append(self._inner.decompress(data[pos : pos + _ZSTD_INPUT]))
            size += len(parts[-1])
            pos += _ZSTD_INPUT
        self._unused = data[pos:]
        return b"".join(parts)


Decompressor = bz2.BZ2Decompressor | lzma.LZMADecompressor | _Gzip | _Zstd


def compression(head: bytes) -> str | None:
    """Return the name of the compression that a file's first bytes announce."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def _constructor(name: str) -> tuple[Callable[[], Decompressor], tuple[type[Exception], ...]]:
    """Return a decompressor's constructor and its errors on damaged data. InputError: the package is not installed."""
    if name == "gzip":
        return _Gzip, (zlib.error,)
    if name == "bzip2":
        return bz2.BZ2Decompressor, (OSError, ValueError)
    if name == "xz":
        return lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), (lzma.LZMAError,)
    try:
        if name == "zstd":
            import zstandard

            return lambda: _Zstd(zstandard), (zstandard.ZstdError,)
        import lz4.frame

        return lz4.frame.LZ4FrameDecompressor, (RuntimeError, ValueError)
    except ImportError:
        remedy = f"pip install 'nettop[compression]', or decompress it first ({name} -d)"
        raise InputError(f"reading {name} needs an optional package", remedy) from None


class Decompression:
    """One compressed file: members one after another, as gzip, xz and zstd allow. `error` reports damage."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.error = ""
        self._new_member, self._failures = _constructor(name)
        self._member: Decompressor | None = None

    def feed(self, data: bytes, limit: Callable[[], int] = lambda: PIECE) -> Iterator[bytes]:
        """Yield the pieces, of at most about limit() bytes each, that `data` adds. Nothing more once `error` is set."""
        while not self.error:
            if self._member is None or self._member.eof:
                if self._member is not None:  # between members there may be padding
                    data = ((self._member.unused_data or b"") + data).lstrip(b"\0")
                if not data:
                    return
                self._member = self._new_member()
            try:
                piece = self._member.decompress(data, limit())
            except self._failures:
                self.error = f"the {self.name} data is damaged"
                return
            data = b""
            if piece:
                yield piece
            if self._member.needs_input and not self._member.eof:
                return

    def finish(self) -> None:
        """Report an unfinished member as damage: no more data follows."""
        if not self.error and self._member is not None and not self._member.eof:
            self.error = f"the {self.name} data ends too early"


# Steps in which damaged data is decompressed again, ever finer from where the steps before failed: input, output.
_STEPS = ((1 << 16, 1 << 12), (1 << 8, 1 << 6), (1, 1))


def salvage(name: str, again: Callable[[], Iterator[bytes]], given: int) -> tuple[bytes, int]:
    """Return all that still decompresses after the first `given` bytes, and the offset of the damage.

    A decompressor loses the output of the call that fails, so the data (`again` yields it from its beginning) is
    decompressed once more for each of _STEPS.
    """
    good = given  # bytes of output that certainly come
    offset = 0
    for input_step, output_step in _STEPS:
        run, found, total, before = Decompression(name), bytearray(), 0, offset

        def limit(step: int = output_step) -> int:
            return min(PIECE, good - total) if total < good else step  # noqa: B023

        offset = 0
        for data in _slices(again(), before, input_step):
            for piece in run.feed(data, limit):
                found += piece[max(0, given - total) :] if total + len(piece) > given else b""
                total += len(piece)
            if run.error:
                break
            offset += len(data)
        good = max(good, total)
    return bytes(found), offset


def _slices(parts: Iterator[bytes], whole: int, step: int) -> Iterator[bytes]:
    """Yield the parts up to offset `whole` as they are, and from there in slices of `step` bytes."""
    at = 0
    for part in parts:
        start = min(len(part), max(0, whole - at))
        if start:
            yield part[:start]
        for first in range(start, len(part), step):
            yield part[first : first + step]
        at += len(part)
