"""The network namespaces of the host that can be seen: by name, process, thread, mount and open descriptor."""

from __future__ import annotations

import errno
import math
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile

from nettop.broker.namespaces import NAMED, named
from nettop.text.sanitize import clean

_OF_MOUNT = re.compile(rb" net:\[(\d+)\] (\S+) ")  # proc(5), mountinfo: root and mount point of an nsfs
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_BROKER = "nettop-broker"  # of another nettop, which looks like we do
_TARGET = re.compile(r"net:\[(\d+)\]")
# Any user may have a million descriptors and mounts, which are read last, root's first: they hide no other's process.
SECONDS = 5.0
_MOST_PIDS = 64  # of a namespace whose containers are looked up


@dataclass(slots=True)
class SeenNamespace:
    """One namespace by the inode of its file in nsfs."""

    inode: int
    own: bool = False  # the one the broker was started in
    names: list[str] = field(default_factory=list)  # in /run/netns
    processes: int = 0
    pids: list[int] = field(default_factory=list)  # the first of them
    pid: int = 0  # the process with the lowest number whose first thread is there; 0: none
    thread: str = ""  # the path of a thread's file, where only a thread is there
    mounts: list[str] = field(default_factory=list)
    descriptor: str = ""  # the path of a descriptor that keeps it
    tuns: dict[str, str] = field(default_factory=dict)  # a tun's name, or a macvtap's ifindex → "qemu[5121]"

    def spec(self) -> str:
        """Return what opens it (Namespaces.open), safe for a terminal."""
        if self.own:
            return ""
        for name in self.names:
            if clean(name) == name and not name.startswith("pid:"):
                return name
        if self.pid:
            return f"pid:{self.pid}"
        paths = (*self.mounts, self.thread, self.descriptor)
        return next((path for path in paths if path and clean(path) == path), f"net:[{self.inode}]")


class Census:
    """A walk over /proc. `own` is the inode of our own namespace; the processes of `left_out` do not count."""

    def __init__(self, own: int, left_out: Collection[int] = ()) -> None:
        self.found: dict[int, SeenNamespace] = {own: SeenNamespace(own, own=True)}
        self._left_out = frozenset(left_out)
        self._mount_namespaces: set[str] = set()
        self.is_complete = True  # False: there was no time for all mounts and descriptors
        self._until = math.inf
        self._held: dict[int, str] = {}  # inode → descriptor: processes that come later may be inside

    def take(self) -> list[SeenNamespace]:
        """Return all namespaces, in no order."""
        for name in named():
            with suppress(OSError):
                self._of(os.stat(f"{NAMED}/{name}").st_ino).names.append(name)
        self._add_mounts("/proc/self", "")
        pids = {int(entry) for entry in os.listdir("/proc") if entry.isdecimal()} - self._left_out
        for pid in sorted(pids):
            with suppress(OSError):  # it ended, or we may not inspect it
                self._add_process(pid)
        self._until = time.monotonic() + SECONDS
        order = sorted(pids, key=_of_root_first)
        for pid in takewhile(self._has_time, order):
            with suppress(OSError):
                self._add_mounts(f"/proc/{pid}", f"/proc/{pid}/root")
        for pid in takewhile(self._has_time, order):
            with suppress(OSError):
                self._add_descriptors(pid)
        for inode, path in self._held.items():
            self._of(inode).descriptor = path
        return list(self.found.values())

    def _has_time(self, _item: object) -> bool:
        self.is_complete = self.is_complete and time.monotonic() < self._until
        return self.is_complete

    def _of(self, inode: int) -> SeenNamespace:
        return self.found.setdefault(inode, SeenNamespace(inode))

    def _add_process(self, pid: int) -> None:
        main = _inode(f"/proc/{pid}/ns/net")
        if main:
            place = self._of(main)
            place.pid = place.pid or pid
            if len(place.pids) < _MOST_PIDS:
                place.pids.append(pid)
        inside = {main} if main else set()
        threads = os.listdir(f"/proc/{pid}/task")
        for thread in threads if len(threads) > 1 else ():
            path = f"/proc/{pid}/task/{thread}/ns/net"
            inode = _inode(path)
            if inode and inode not in inside:
                inside.add(inode)
                place = self._of(inode)
                place.thread = place.thread or path
        for inode in inside:
            self._of(inode).processes += 1

    def _add_descriptors(self, pid: int) -> None:
        folder, holder, netns = f"/proc/{pid}/fd", command(pid), _inode(f"/proc/{pid}/ns/net")
        for number in takewhile(self._has_time, os.listdir(folder)):
            path = f"{folder}/{number}"
            target = _target(path)
            if found := _TARGET.fullmatch(target):
                if holder != _BROKER:
                    self._held.setdefault(int(found[1]), path)
            elif netns and (name := _tun(target, f"/proc/{pid}/fdinfo/{number}")):
                self._of(netns).tuns.setdefault(name, f"{holder}[{pid}]")

    def _add_mounts(self, process: str, root: str) -> None:
        """Add the namespaces that are mounted where this process sees them: read once for each mount namespace."""
        mount_namespace = os.readlink(f"{process}/ns/mnt")
        if mount_namespace in self._mount_namespaces:
            return
        self._mount_namespaces.add(mount_namespace)
        with open(f"{process}/mountinfo", "rb") as file:
            for inode, path in takewhile(self._has_time, _mounts(file.read())):
                seen = self.found.get(inode)
                if (root and seen and (seen.names or seen.mounts)) or (not root and os.path.dirname(path) == NAMED):
                    continue
                if _is_covered(f"{root}{path}", inode):
                    continue
                place = self._of(inode)
                if f"{root}{path}" not in place.mounts:
                    place.mounts.append(f"{root}{path}")


def _of_root_first(pid: int) -> tuple[bool, int]:
    try:
        return os.stat(f"/proc/{pid}").st_uid != 0, pid
    except OSError:
        return True, pid


def _mounts(mountinfo: bytes) -> Iterator[tuple[int, str]]:
    for inode, path in _OF_MOUNT.findall(mountinfo):
        yield int(inode), os.fsdecode(_ESCAPE.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), path))


def _is_covered(path: str, inode: int) -> bool:
    """Return whether another mount hides this one, so that no path leads to it (a lab has a /run of its own)."""
    try:
        return os.stat(path).st_ino != inode
    except OSError as error:
        return error.errno == errno.ENOENT


def _inode(path: str) -> int:
    """Return the inode of the network namespace that a link of /proc names; 0: none, or we may not read it."""
    found = _TARGET.fullmatch(_target(path))
    return int(found[1]) if found else 0


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # it is gone, or we may not read it
        return ""


def _tun(target: str, fdinfo: str) -> str:
    """Return the name of the tun or tap of a descriptor, or the ifindex of a macvtap; "": it is none."""
    if target == "/dev/net/tun":
        with suppress(OSError), open(fdinfo, encoding="utf-8", errors="backslashreplace") as lines:
            return next((line[4:].strip() for line in lines if line.startswith("iff:")), "")
    return target.removeprefix("/dev/tap") if re.fullmatch(r"/dev/tap\d+", target) else ""


def command(pid: int) -> str:
    """Return the comm of a process, "" if there is none."""
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as file:
        return file.read(64).removesuffix("\n")
    return ""
