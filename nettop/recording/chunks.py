"""Sources of a file's bytes, as chunks: a regular file read at positions, a pipe, or a compressed one.

A chunk is a bytes object of its own that batches keep as their buffer. Reading 400 MB this way takes 30 ms, no longer
than mapping it, and a file that shrinks meanwhile (tcpdump -W begins its files again) gives a short read, not a SIGBUS.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from nettop.errors import InputError
from nettop.linux.process import F_SETPIPE_SZ
from nettop.recording.compressed import Decompression, salvage

CHUNK = 1 << 22
_PIPE_READ = 1 << 20
_MAX_HISTORY = 1 << 26  # bytes of a compressed pipe that are kept, to read it again where it is damaged

Chunk = tuple[bytes, int, bool]  # its bytes, their offset, and True if it is the last


def open_input(path: str) -> int:
    """Return a descriptor for reading `path` ("-": standard input). Raises InputError with what to do."""
    if path == "-":
        if os.isatty(0):
            raise InputError("standard input is a terminal", "pipe a capture into it, or name a file")
        return os.dup(0)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "is not a file name").lower()
        raise InputError(f"cannot open {path!r}: {reason}", "name a pcap or pcapng file that you may read") from None
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputError(f"{path!r} is a directory", "name a pcap or pcapng file in it")
    return fd


class RegularFile:
    """A file that can be read at any position. Bytes that were not used come again at the start of the next chunk."""

    ready = True  # the next read does not wait for the descriptor

    def __init__(self, fd: int, chunk: int = CHUNK) -> None:
        self._fd = fd
        self._chunk = chunk
        self._pos = 0

    def read(self, need: int) -> Chunk | None:
        """Return a chunk. None: fewer than `need` bytes have arrived.

        A long `need` is believed only as far as the file reaches.
        """
        remaining = os.fstat(self._fd).st_size - self._pos
        size = max(self._chunk, min(need, remaining + 1))  # one byte more than there is: a short read shows the end
        chunk = os.pread(self._fd, size, self._pos)
        return chunk, self._pos, len(chunk) < size

    def advance(self, used: int) -> None:
        """Skip the first `used` bytes of the last chunk."""
        self._pos += used

    def parts(self) -> Iterator[bytes]:
        """Yield the whole file from its beginning, without a change of position."""
        at = 0
        while part := os.pread(self._fd, CHUNK, at):
            yield part
            at += len(part)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


class _Buffered:
    """A source without positions: bytes that arrived and are not used yet, joined only when there are enough."""

    def __init__(self) -> None:
        self._base = self._size = 0
        self._parts: list[bytes] = []

    def _with(self, part: bytes, need: int, final: bool) -> Chunk | None:
        """Add a part. Return the chunk, once it has `need` bytes or is the last."""
        self._parts.append(part)
        self._size += len(part)
        if self._size < need and not final:
            return None
        if len(self._parts) != 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0], self._base, final

    def advance(self, used: int) -> None:
        """As RegularFile.advance."""
        rest = b"".join(self._parts)[used:]
        self._base += used
        self._size = len(rest)
        self._parts = [rest] if rest else []


class Pipe(_Buffered):
    """A descriptor without positions: each read is one read(2), which does not block when the descriptor is ready."""

    ready = False

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        with suppress(OSError):
            fcntl.fcntl(fd, F_SETPIPE_SZ, _PIPE_READ)

    def read(self, need: int) -> Chunk | None:
        """As RegularFile.read."""
        try:
            data = os.read(self._fd, _PIPE_READ)
        except BlockingIOError:
            return None
        return self._with(data, need, final=not data)

    def close(self) -> None:
        """As RegularFile.close."""
        os.close(self._fd)


class Decompressed(_Buffered):
    """The decompressed bytes of another source. `error` and `offset` report damage of its compression."""

    def __init__(self, inner: RegularFile | Pipe, name: str, first: Chunk) -> None:
        """`first`: the chunk that `inner` has returned already."""
        super().__init__()
        self._inner = inner
        self._decompression = Decompression(name)
        self._history: list[bytes] | None = None if isinstance(inner, RegularFile) else []
        self.offset = 0  # of the damage, in the compressed file
        self._pieces = self._decompressed(first)
        self._ahead = next(self._pieces, b"")  # the next piece, so that `ready` is known; b"": none follows

    @property
    def error(self) -> str:
        """The reason why the data ends early, in one line; "" if there is none."""
        return self._decompression.error

    @property
    def ready(self) -> bool:
        """As RegularFile.ready."""
        return self._ahead is not None or self._inner.ready

    def read(self, need: int) -> Chunk | None:
        """As RegularFile.read; each call adds one piece."""
        if self._ahead is None:
            self._ahead = next(self._pieces, b"")
        if self._ahead is None:
            return None
        piece, self._ahead = self._ahead, next(self._pieces, b"")
        return self._with(piece, need, final=self._ahead == b"")

    def _decompressed(self, chunk: Chunk | None) -> Iterator[bytes | None]:
        """Yield the pieces; None before each read of the other source, which may block."""
        given, final = 0, False  # `given`: bytes of output
        while not (final or self.error):
            if chunk is not None:
                data, self.offset, final = chunk
                self._inner.advance(len(data))
                if self._history is not None:
                    self._history.append(data)
                    self._history = self._history if self.offset + len(data) <= _MAX_HISTORY else None
                for piece in self._decompression.feed(data):
                    given += len(piece)
                    yield piece
            if not (final or self.error):
                yield None
                chunk = self._inner.read(1)
        if not self.error:
            self.offset += len(data)
            self._decompression.finish()
        elif self._history is not None or isinstance(self._inner, RegularFile):
            rest, self.offset = salvage(self._decompression.name, self._again, given)
            if rest:
                yield rest

    def _again(self) -> Iterator[bytes]:
        """Yield the compressed data from its beginning."""
        return iter(self._history or ()) if isinstance(self._inner, Pipe) else self._inner.parts()

    def close(self) -> None:
        """As RegularFile.close."""
        self._inner.close()


Chunks = RegularFile | Pipe | Decompressed
