"""Writing whole blocks to a descriptor: short writes are continued, a full disk leaves no half block behind."""

from __future__ import annotations

import errno
import os
import select
import stat
from collections.abc import Sequence
from contextlib import suppress

from nettop.errors import NettopError

BlockPart = bytes | memoryview

_MAX_IOV = 512  # below every system's IOV_MAX


class OutputClosed(NettopError):
    """The reader of the output has closed it (EPIPE). For a stream on stdout this is an ordinary end."""


class BlockOutput:
    """A descriptor that blocks are written to. `written` counts the bytes of whole calls; close() closes it."""

    def __init__(self, fd: int, name: str = "the recording") -> None:
        self.written = 0
        self._fd = fd
        self._name = name
        status = os.fstat(fd)
        self._start = os.lseek(fd, 0, os.SEEK_CUR) if stat.S_ISREG(status.st_mode) else None
        self._named = self._start is not None and status.st_nlink > 0

    def write(self, parts: Sequence[BlockPart]) -> None:
        """Write all the parts. Raises OutputClosed or NettopError; a regular file then ends before them.

        A file that no longer has a name is an error, too.
        """
        self._check_name()
        pending = [memoryview(part) for part in parts if len(part)]
        size = sum(map(len, pending))
        try:
            while pending:
                pending = _unwritten(pending, self._write_some(pending[:_MAX_IOV]))
        except OSError as error:
            self._truncate()
            raise self._failure(error) from None
        self.written += size

    def close(self) -> None:
        """Close the descriptor; a network file system may report only now that it is full."""
        try:
            self._check_name()
        finally:
            self._close()

    def _close(self) -> None:
        try:
            os.close(self._fd)
        except OSError as error:
            raise self._failure(error) from None

    def _check_name(self) -> None:
        if self._named and not os.fstat(self._fd).st_nlink:
            raise NettopError(f"{self._name} was removed while it was written", "its content is lost")

    def _write_some(self, parts: list[memoryview]) -> int:
        try:
            return os.writev(self._fd, parts)
        except BlockingIOError:  # the descriptor was non-blocking already
            select.select([], [self._fd], [])
            return 0

    def _truncate(self) -> None:
        if self._start is not None:
            with suppress(OSError):
                os.ftruncate(self._fd, self._start + self.written)
                os.lseek(self._fd, self._start + self.written, os.SEEK_SET)

    def _failure(self, error: OSError) -> NettopError:
        if error.errno == errno.EPIPE:
            return OutputClosed(f"cannot write {self._name}", "its reader closed it")
        remedy = {
            errno.ENOSPC: "free some space; what was written so far is whole",
            errno.EDQUOT: "your quota is used up; what was written so far is whole",
            errno.EFBIG: "the file is as large as may be; rotate by size",
        }.get(error.errno or 0, "check the disk")
        return NettopError(f"cannot write {self._name}: {(error.strerror or 'error').lower()}", remedy)


def _unwritten(parts: list[memoryview], written: int) -> list[memoryview]:
    for i, part in enumerate(parts):
        if written < len(part):
            return [part[written:], *parts[i + 1 :]]
        written -= len(part)
    return []
