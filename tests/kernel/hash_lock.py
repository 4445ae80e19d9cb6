"""A lock on the conntrack hash, which all namespaces of a host share: a dump is incomplete if it is resized meanwhile.

It holds between all processes of the host, so between two runs of the tests, too.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

FOLDER = Path("/tmp")


@contextmanager
def held(exclusive: bool) -> Iterator[None]:
    """Wait until nobody resizes the hash, or (`exclusive`) until nobody needs it; it stays so in the block."""
    with ExitStack() as stack:
        with _locked("turn", fcntl.LOCK_EX):  # nobody overtakes one that waits to have it alone
            stack.enter_context(_locked("hash", fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH))
        yield


@contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    fd = _opened(FOLDER / f"nettop-tests.{name}")
    try:
        fcntl.flock(fd, how)
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # also for a child that was forked meanwhile
        os.close(fd)


def _opened(path: Path) -> int:
    """Another user may have made the file, and O_CREAT is refused then (fs.protected_regular)."""
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
