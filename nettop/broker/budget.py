"""The kernel's memory that an app holds: the rings and receive buffers of all sockets that were passed to it.

Such memory is never swapped, and no limit of the app counts it. A socket counts until the kernel no longer lists it,
whoever holds it, since an app may keep a descriptor where no list of descriptors shows it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from nettop.broker.namespaces import Namespaces
from nettop.errors import BrokerError

MAX_SOCKETS = 512  # a namespace needs ten or so
LEAST_BUFFER = 256 << 10  # bytes
_OVERHEAD = 16 << 10  # bytes of a socket itself
_LISTS = ("packet", "netlink")  # in /proc/net, with the inode in the last column
_LEFT, _GONE = -1, -2  # in place of a namespace that is closed


@dataclass(frozen=True, slots=True)
class _Charge:
    """The memory of a socket, in bytes, and the handle of its namespace."""

    size: int
    netns: int


class Budget:
    """Counts what one app holds. `app` is its process number, 0 if it is not known."""

    def __init__(self, namespaces: Namespaces, app: int, limit: int | None = None) -> None:
        self._namespaces = namespaces
        self._app = app
        self._limit = _half_of_memory() if limit is None else limit
        self._charges: dict[int, _Charge] = {}  # by the socket's inode
        self._reserved = 0  # bytes that the broker holds itself

    def check(self, size: int) -> None:
        """Raise BrokerError unless one more socket with `size` bytes fits."""
        self._check_count()
        if size > self._remaining():
            held = f"nettop holds {self._used() >> 20} of the {self._limit >> 20} MiB that it may use"
            raise BrokerError(f"no memory for {size >> 20} MiB of ring: {held}", "capture on fewer devices")

    def reserve(self, size: int) -> None:
        """Count memory that the broker holds for the app until it ends. Raises BrokerError if there is none left."""
        if size > self._remaining():
            raise BrokerError(f"no memory for {size >> 10} KiB of ring", "capture on fewer devices")
        self._reserved += size

    def buffer_size(self, asked: int) -> int:
        """Return the size of a new socket's receive buffer, which may be smaller than asked. Raises BrokerError."""
        self._check_count()
        # The kernel doubles it (socket(7), SO_RCVBUF); a quarter, so that something is left for others.
        return min(asked, max(LEAST_BUFFER, self._remaining() // 4))

    def add(self, fd: int, size: int, netns: int) -> None:
        """Count a socket that is passed now."""
        self._charges[os.fstat(fd).st_ino] = _Charge(size + _OVERHEAD, netns)

    def leave(self, netns: int, *, gone: bool) -> None:
        """Note that a namespace is closed next. Sockets that are open in one that is not gone count for good."""
        if not gone:
            self._prune()
        for inode, charge in self._charges.items():
            if charge.netns == netns:
                self._charges[inode] = replace(charge, netns=_GONE if gone else _LEFT)

    def _check_count(self) -> None:
        self._prune()
        if len(self._charges) >= MAX_SOCKETS:
            raise BrokerError(f"{MAX_SOCKETS} sockets are open already", "watch fewer namespaces")

    def _used(self) -> int:
        return self._reserved + sum(charge.size for charge in self._charges.values())

    def _remaining(self) -> int:
        return self._limit - self._used()

    def _prune(self) -> None:
        """Forget the sockets that the kernel no longer has."""
        for netns in {charge.netns for charge in self._charges.values()} - {_LEFT}:
            present = self._descriptors() if netns == _GONE else self._listed(netns)
            charged = [inode for inode, charge in self._charges.items() if charge.netns == netns]
            for inode in charged:
                if inode not in present:
                    del self._charges[inode]

    def _listed(self, netns: int) -> set[int]:
        with self._namespaces.inside(netns):
            return {inode for name in _LISTS for inode in _inodes(name)}

    def _descriptors(self) -> set[int]:
        """Return the inodes of the app's sockets: of a namespace that is gone there is no other list."""
        found: set[int] = set()
        with suppress(OSError):
            for number in os.listdir(f"/proc/{self._app}/fd"):
                with suppress(OSError):
                    found.add(os.stat(f"/proc/{self._app}/fd/{number}").st_ino)
            with open(f"/proc/{self._app}/maps", "rb") as lines:  # a mapped ring stays, its descriptor need not
                found.update(map(int, re.findall(rb" socket:\[(\d+)\]\n", lines.read())))
        return found


def _inodes(name: str) -> Iterable[int]:
    with open(f"/proc/thread-self/net/{name}", encoding="ascii") as lines:
        next(lines)  # the titles
        return [int(line.split()[-1]) for line in lines]


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
