"""A recording spread over numbered files, each of them a complete recording."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nettop.batch import Item, Stream
from nettop.recording.writer import RecordingWriter


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits at which the next file begins; None: no such limit."""

    size: int | None = None  # bytes
    age_ns: int | None = None


def numbered(path: str, number: int) -> str:
    """Return the name of the number-th file: "out.pcapng" gives "out-00001.pcapng"."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}-{number:05}{suffix}"


class RotatingWriter:
    """Writes items like RecordingWriter and begins a new file at the limits, which are checked between items."""

    def __init__(self, open_next: Callable[[int], int], limits: Limits, streams: Iterable[Stream], now_ns: int) -> None:
        """`open_next(n)` gives a writable descriptor for the n-th file, from 1."""
        self.number = 0
        self._before = 0
        self._open_next = open_next
        self._limits = limits
        self._began_ns = now_ns
        self._writer = self._next(streams)

    @property
    def written(self) -> int:
        """Bytes of the present file."""
        return self._writer.written

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return self._before + self._writer.written

    def write(self, items: Iterable[Item], now_ns: int) -> None:
        """Write the items in order. Raises as RecordingWriter.write does, and what open_next raises."""
        for item in items:
            if self._due(now_ns):
                self._rotate(now_ns)
            self._writer.write([item])

    def stay(self) -> None:
        """Begin no further file: those who open them may be gone by the time of the last items."""
        self._limits = Limits()

    def close(self) -> None:
        """End the current file."""
        self._writer.close()

    def _due(self, now_ns: int) -> bool:
        size, age = self._limits.size, self._limits.age_ns
        return (size is not None and self.written >= size) or (age is not None and now_ns - self._began_ns >= age)

    def _rotate(self, now_ns: int) -> None:
        """Open the next file before the current one is closed: if that fails, the current one can still be written."""
        following = self._next(self._writer.streams)
        following.resume(self._writer.totals())
        before, self._writer, self._began_ns = self._writer, following, now_ns
        before.close()
        self._before += before.written

    def _next(self, streams: Iterable[Stream]) -> RecordingWriter:
        writer = RecordingWriter(self._open_next(self.number + 1), streams)
        self.number += 1
        return writer
