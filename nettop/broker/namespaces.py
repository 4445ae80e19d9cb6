"""The network namespaces that the broker has open, and the detection that one has lost its last owner."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nettop.broker import abi
from nettop.broker.in_time import open_in_time
from nettop.broker.requests import Netns
from nettop.errors import BrokerError, NotPermitted
from nettop.linux.process import CLONE_NEWNET, IN_DELETE, IN_DELETE_SELF, IN_MOVED_FROM, NS_GET_NSTYPE
from nettop.text.sanitize import clean
from nettop.text.units import listed

_SPEC_REMEDY = "give a name of `ip netns`, a container, pid:N, or a path"
NAMED = "/run/netns"  # where ip-netns(8) keeps names
OWN = 0  # the handle of the namespace the broker was started in
MAX_OPEN = 1024
_LOOK_SECONDS = 0.5  # between two looks at owners that report no end: threads and descriptors
_NAME_EVENTS = IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF


@dataclass(frozen=True, slots=True)
class OpenNamespace:
    """One open namespace: our descriptor, and its other owner: a name's path, or a process."""

    netns: Netns
    fd: int
    path: str = ""
    pid: int = 0
    pidfd: int = -1
    shared: bool = True  # the next open() of its spec returns it


class Namespaces:
    """Opens namespaces by spec, and reports those that are gone. Everything runs on the broker's one thread."""

    def __init__(self) -> None:
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._own = own
        self._nsfs = os.fstat(own).st_dev
        self._entries = {OWN: OpenNamespace(Netns(OWN, "", os.fstat(own).st_ino), own)}
        self._silent: set[int] = set()  # handles of those whose owner's end no event reports
        self._next = OWN + 1
        self._looked = time.monotonic()
        self._inotify = abi.inotify_init()
        self._watched = selectors.EpollSelector()
        self._watched.register(self._inotify, selectors.EVENT_READ)
        # `ip netns del` unmounts a name before it unlinks it. mountinfo is always readable, and polls as an error
        # after a change (proc(5)): waiting for "writable" leaves only that.
        mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._watched.register(mounts, selectors.EVENT_WRITE)

    def fileno(self) -> int:
        """Return a descriptor that is readable when orphaned() may return something."""
        return self._watched.fileno()

    def open(self, spec: str, again: bool = False) -> Netns:
        """Return the namespace of a spec; raises BrokerError.

        It is "" (ours), a name in /run/netns, "pid:N", a path, or the "net:[INODE]" of a named one (as in proc(5)).
        Opened `again` it is the caller's alone, who closes it.
        """
        if spec == "":
            return self._entries[OWN].netns
        path = _path_of(spec)
        fd = self._without_mount(self._open_nsfs(path, spec))
        inode = os.fstat(fd).st_ino
        for entry in self._entries.values():
            if not again and entry.shared and entry.netns.inode == inode and entry.netns.label == spec:
                os.close(fd)
                return entry.netns
        if len(self._entries) >= MAX_OPEN:
            os.close(fd)
            raise BrokerError(f"{MAX_OPEN} namespaces are open already")
        entry = self._with_owner(OpenNamespace(Netns(self._next, spec, inode), fd, shared=not again), path)
        self._keep(self._next, entry)
        self._next += 1
        return entry.netns

    def fd(self, handle: int) -> int:
        """Return our descriptor of the namespace (not to be closed); raises BrokerError when it is gone."""
        return self._get(handle).fd

    @contextmanager
    def inside(self, handle: int) -> Iterator[None]:
        """Run the body in the namespace. A broker that cannot return ends at once."""
        entry = self._get(handle)
        if handle == OWN:
            yield
            return
        abi.setns(entry.fd)
        try:
            yield
        finally:
            self._return()

    def next_look(self) -> float | None:
        """Return when orphaned() is due though no descriptor is ready (time.monotonic); None: never."""
        return self._looked + _LOOK_SECONDS if self._silent else None

    def orphaned(self, not_owners: frozenset[int]) -> list[Netns]:
        """Return the namespaces without a name or process left; `not_owners` (our children) do not count."""
        self._drain_events()
        self._looked = time.monotonic()
        gone = []
        for handle, entry in list(self._entries.items()):
            if handle == OWN or self._still_owned(entry):
                continue
            successor = self._with_next_owner(entry, not_owners)
            self._keep(handle, successor)
            if not (successor.path or successor.pid):
                gone.append(successor.netns)
        return gone

    def close(self, handle: int) -> None:
        """Close our descriptor of a namespace, except the own one."""
        if handle == OWN:
            return
        entry = self._entries.pop(handle, None)
        self._silent.discard(handle)
        if entry is not None:
            os.close(self._without_process(entry).fd)

    def _keep(self, handle: int, entry: OpenNamespace) -> None:
        self._entries[handle] = entry
        (self._silent.add if _is_silent(entry) else self._silent.discard)(handle)

    def _get(self, handle: int) -> OpenNamespace:
        try:
            return self._entries[handle]
        except KeyError:
            raise BrokerError("this namespace is gone") from None

    def _open_nsfs(self, path: str, spec: str) -> int:
        try:
            if path.startswith(f"{NAMED}/") or re.fullmatch(r"/proc/\d+/ns/net", path):
                fd = open_nsfs(path, self._nsfs)
            else:
                fd = open_in_time(partial(open_nsfs, path, self._nsfs))
        except (OSError, ValueError) as error:
            raise _open_error(spec, error) from error
        if fcntl.ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET:
            os.close(fd)
            raise BrokerError(f"{spec} is a namespace, but not a network namespace")
        return fd

    def _without_mount(self, fd: int) -> int:
        """Return a descriptor of the same namespace that keeps no mount busy: `umount` must work while we look."""
        try:
            abi.setns(fd)
        except OSError:  # we may not enter it
            return fd
        try:
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            self._return()
            os.close(fd)

    def _return(self) -> None:
        try:
            abi.setns(self._own)
        except OSError:
            os._exit(70)

    def _drain_events(self) -> None:
        self._watched.select(0)
        with suppress(BlockingIOError):
            while os.read(self._inotify, 65536):
                pass

    def _with_owner(self, entry: OpenNamespace, path: str) -> OpenNamespace:
        """Return `entry`, which now watches the process or the name of `path`."""
        if process := re.fullmatch(r"/proc/(\d+)/ns/net", path):
            return self._with_process(entry, int(process[1])) or entry
        if path.startswith("/proc/"):
            return replace(entry, path=path)
        with suppress(OSError):
            abi.inotify_watch(self._inotify, os.path.dirname(path), _NAME_EVENTS)
        return replace(entry, path=path)

    def _with_process(self, entry: OpenNamespace, pid: int) -> OpenNamespace | None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        self._watched.register(pidfd, selectors.EVENT_READ)
        return replace(entry, pid=pid, pidfd=pidfd)

    def _without_process(self, entry: OpenNamespace) -> OpenNamespace:
        if entry.pidfd >= 0:
            self._watched.unregister(entry.pidfd)
            os.close(entry.pidfd)
        return replace(entry, pid=0, pidfd=-1)

    def _still_owned(self, entry: OpenNamespace) -> bool:
        return _inode(entry.path or f"/proc/{entry.pid}/ns/net") == entry.netns.inode

    def _with_next_owner(self, entry: OpenNamespace, not_owners: frozenset[int]) -> OpenNamespace:
        """Return `entry` with another owner to watch, or with none (no path, no pid) if there is no other.

        A removed name ends it in any case, even with processes inside: its administrator has deleted the namespace.
        """
        unowned = replace(self._without_process(entry), path="")
        if entry.path and not _is_silent(entry):
            return unowned
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            if pid not in not_owners and _inode(f"/proc/{pid}/ns/net") == entry.netns.inode:
                successor = self._with_process(unowned, pid)
                if successor is not None:
                    return successor
        for name in named():
            if _inode(f"{NAMED}/{name}") == entry.netns.inode:
                return self._with_owner(unowned, f"{NAMED}/{name}")
        return unowned


def open_nsfs(path: str, nsfs: int) -> int:
    """Return a descriptor of a namespace's file, which is on the device `nsfs`. Raises OSError; EINVAL: it is none.

    O_PATH first: a path that others name must not open a device or wait for a FIFO's writer.
    """
    path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if os.fstat(path_fd).st_dev != nsfs:
            raise OSError(errno.EINVAL, "it is no namespace")
        return os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(path_fd)


def _is_silent(entry: OpenNamespace) -> bool:
    """Return True for an owner whose end no event reports: a thread or a descriptor of a process."""
    return entry.path.startswith("/proc/")


def named() -> list[str]:
    """Return the names in /run/netns, sorted."""
    try:
        return sorted(os.listdir(NAMED))
    except OSError:
        return []


def listed_netns() -> dict[str, list[Any]]:
    """Return the names in /run/netns, and the inodes of the namespaces of processes, sorted."""
    inodes = {_inode(f"/proc/{pid}/ns/net") for pid in filter(str.isdecimal, os.listdir("/proc"))}
    return {"names": named(), "inodes": sorted(inode for inode in inodes if inode)}


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _path_of(spec: str) -> str:
    if held := re.fullmatch(r"net:\[(\d{1,20})\]", spec):
        spec = next((name for name in named() if _inode(f"{NAMED}/{name}") == int(held[1])), spec)
    if process := re.fullmatch(r"pid:(\d{1,10})", spec):
        return f"/proc/{process[1]}/ns/net"
    return spec if "/" in spec else f"{NAMED}/{spec}"


def _open_error(spec: str, error: Exception) -> BrokerError:
    if isinstance(error, TimeoutError):
        return BrokerError(f"the file system of {spec} does not answer", _SPEC_REMEDY)
    if isinstance(error, PermissionError):
        return NotPermitted(f"the namespace {spec} cannot be opened", "CAP_SYS_PTRACE is missing: run as root")
    if spec.startswith("pid:"):
        return BrokerError(f"no process {spec[4:]}", "give the number of a running process")
    if "/" in spec or (isinstance(error, OSError) and error.errno == errno.EINVAL):
        # Also for one that does not exist: the app must not learn which files exist.
        return BrokerError(f"{spec} is not a network namespace", _SPEC_REMEDY)
    known = listed([*map(clean, named())])
    return BrokerError(f"no namespace {spec!r}", f"there are {known}" if known else _SPEC_REMEDY)
