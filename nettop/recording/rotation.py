"""The output of a recording: one file, or with limits numbered files, each of them a complete recording."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nettop.batch import Item, Stream
from nettop.recording.writer import RecordingWriter


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits at which the next file begins; None: no such limit."""

    size: int | None = None  # bytes
    age_ns: int | None = None


NO_LIMITS = Limits()


def numbered(path: str, number: int) -> str:
    """Return the name of the number-th file: "out.pcapng" gives "out-00001.pcapng"."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}-{number:05}{suffix}"


class RecordingFiles:
    """Writes items like RecordingWriter and begins a new file at the limits, which are checked between items."""

    def __init__(
        self, open_file: Callable[[str], int], name: str, clock: Callable[[], int], limits: Limits = NO_LIMITS
    ) -> None:
        """Open the first file. `open_file` returns a writable descriptor for the name of a file."""
        self.rotated: Callable[[], None] = lambda: None  # called on the writing thread after a new file has begun
        self._open_file, self._name, self._limits, self._clock = open_file, name, limits, clock
        self._numbered = limits != NO_LIMITS
        self._number = 0
        self._closed_bytes = 0
        self._writing = threading.Lock()
        self._began_ns = clock()
        self._writer = self._open_writer(())

    @property
    def total(self) -> int:
        """The number of bytes written, in all files."""
        return self._closed_bytes + self._writer.written

    @property
    def name(self) -> str:
        """The name of the output, for the summary."""
        if not self._numbered:
            return self._name
        first = numbered(self._name, 1)
        return f"{first} and {self._number - 1} more" if self._number > 1 else first

    def write(self, items: Iterable[Item]) -> None:
        """Write the items in order. Raises as RecordingWriter.write does, and what `open_file` raises."""
        if not self._numbered:
            self._writer.write(items)
            return
        with self._writing:
            before, now_ns = self._number, self._clock()
            for item in items:
                if self._due(now_ns):
                    self._rotate(now_ns)
                self._writer.write([item])
        if self._number != before:
            self.rotated()

    def stop_rotation(self) -> None:
        """Begin no further file, after any that is just being opened: `open_file` may no longer work at the end."""
        with self._writing:
            self._limits = NO_LIMITS

    def close(self) -> None:
        """End the current file in good order."""
        self._writer.close()

    def _due(self, now_ns: int) -> bool:
        size, age = self._limits.size, self._limits.age_ns
        full = size is not None and self._writer.written >= size
        return full or (age is not None and now_ns - self._began_ns >= age)

    def _rotate(self, now_ns: int) -> None:
        """Open the next file before the current one is closed: if that fails, the current one can still be written."""
        successor = self._open_writer(self._writer.streams)
        successor.resume(self._writer.totals())
        previous, self._writer, self._began_ns = self._writer, successor, now_ns
        previous.close()
        self._closed_bytes += previous.written

    def _open_writer(self, streams: Iterable[Stream]) -> RecordingWriter:
        if not self._numbered:
            return RecordingWriter(self._open_file(self._name), name=self._name)
        writer = RecordingWriter(self._open_file(numbered(self._name, self._number + 1)), streams)
        self._number += 1
        return writer
