"""The kernel's memory that an app holds: the rings and receive buffers of all sockets that were passed to it.

Such memory is never swapped, and no limit of the app counts it. A socket counts as long as anything holds it: an app
may keep one where no list of descriptors shows it (a mapping, a thread in recv(2)).
"""

from __future__ import annotations

import os
import re
import select

from nettop.errors import BrokerError

MAX_SOCKETS = 2048  # a namespace needs ten or so, each other one of the map one
LEAST_BUFFER = 256 << 10  # bytes
_OVERHEAD = 16 << 10  # bytes of a socket itself
_INODE = re.compile(r"^tfd:.* ino:([0-9a-f]+) ", re.MULTILINE)  # proc(5), fdinfo of an epoll instance


class Budget:
    """Counts what one app holds, in bytes."""

    def __init__(self) -> None:
        self._limit = _half_of_memory()
        self._sizes: dict[int, int] = {}  # by the socket's inode
        # It lists what was added until the last reference is gone (epoll(7)), but holds none itself: a socket that we
        # kept open would keep its namespace alive.
        self._alive = select.epoll()
        self._reserved = 0  # that the broker holds itself

    def check(self, size: int) -> None:
        """Raise BrokerError unless one more socket with `size` bytes fits."""
        self._check_count()
        if size > self._remaining():
            held = f"nettop holds {self._used() >> 20} of the {self._limit >> 20} MiB that it may use"
            raise BrokerError(f"no memory for {size >> 20} MiB of ring: {held}", "capture on fewer devices")

    def reserve(self, size: int) -> None:
        """Count memory that the broker holds for the app until release(). Raises BrokerError if there is none left."""
        if size > self._remaining():
            raise BrokerError(f"no memory for {size >> 10} KiB of ring", "capture on fewer devices")
        self._reserved += size

    def release(self, size: int) -> None:
        """Stop counting memory that the broker held."""
        self._reserved -= size

    def buffer_size(self, asked: int) -> int:
        """Return the size of a new socket's receive buffer, which may be smaller than asked. Raises BrokerError."""
        if len(self._sizes) >= MAX_SOCKETS or asked > self._remaining() // 4:
            self._check_count()
        # The kernel doubles it (socket(7), SO_RCVBUF); a quarter, so that something is left for others.
        return min(asked, max(LEAST_BUFFER, self._remaining() // 4))

    def add(self, fd: int, size: int) -> None:
        """Count a socket that is passed now."""
        self._alive.register(fd, select.EPOLLONESHOT)
        self._sizes[os.fstat(fd).st_ino] = size + _OVERHEAD

    def _check_count(self) -> None:
        with open(f"/proc/self/fdinfo/{self._alive.fileno()}", encoding="ascii") as lines:
            alive = {int(inode, 16) for inode in _INODE.findall(lines.read())}
        self._sizes = {inode: size for inode, size in self._sizes.items() if inode in alive}
        if len(self._sizes) >= MAX_SOCKETS:
            raise BrokerError(f"{MAX_SOCKETS} sockets are open already", "watch fewer namespaces")

    def _used(self) -> int:
        return self._reserved + sum(self._sizes.values())

    def _remaining(self) -> int:
        return self._limit - self._used()


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
