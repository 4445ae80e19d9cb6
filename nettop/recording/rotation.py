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
        """`open_next(n)` returns a writable descriptor for the n-th file, from 1."""
        self.number = 0
        self._closed_bytes = 0
        self._open_next = open_next
        self._limits = limits
        self._began_ns = now_ns
        self._writer = self._open_writer(streams)

    @property
    def written(self) -> int:
        """Bytes of the current file."""
        return self._writer.written

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return self._closed_bytes + self._writer.written

    def write(self, items: Iterable[Item], now_ns: int) -> None:
        """Write the items in order. Raises as RecordingWriter.write does, and what open_next raises."""
        for item in items:
            if self._due(now_ns):
                self._rotate(now_ns)
            self._writer.write([item])

    def stop_rotating(self) -> None:
        """Begin no further file: `open_next` may no longer work when the last items are written."""
        self._limits = Limits()

    def close(self) -> None:
        """End the current file."""
        self._writer.close()

    def _due(self, now_ns: int) -> bool:
        size, age = self._limits.size, self._limits.age_ns
        return (size is not None and self.written >= size) or (age is not None and now_ns - self._began_ns >= age)

    def _rotate(self, now_ns: int) -> None:
        """Open the next file before the current one is closed: if that fails, the current one can still be written."""
        successor = self._open_writer(self._writer.streams)
        successor.resume(self._writer.totals())
        previous, self._writer, self._began_ns = self._writer, successor, now_ns
        previous.close()
        self._closed_bytes += previous.written

    def _open_writer(self, streams: Iterable[Stream]) -> RecordingWriter:
        writer = RecordingWriter(self._open_next(self.number + 1), streams)
        self.number += 1
        return writer
