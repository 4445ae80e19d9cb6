"""The network namespaces the broker holds open, and noticing within moments that one has lost its last owner."""

from __future__ import annotations

import fcntl
import os
import re
import selectors
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from nettop.broker import abi
from nettop.broker.requests import Netns
from nettop.errors import BrokerError, NotPermitted
from nettop.linux.process import CLONE_NEWNET, IN_DELETE, IN_DELETE_SELF, IN_MOVED_FROM, NS_GET_NSTYPE
from nettop.text.sanitize import clean

_REMEDY = "give a name of `ip netns`, pid:N, or a path"
NAMED = "/run/netns"  # where ip-netns(8) keeps names
OWN = 0  # the handle of the namespace the broker was started in
MAX_OPEN = 256
_NAME_EVENTS = IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF


@dataclass(frozen=True, slots=True)
class Held:
    """One namespace: our descriptor of it, and what keeps it alive beside us (a name's path, or a process)."""

    netns: Netns
    fd: int
    path: str = ""
    pid: int = 0
    pidfd: int = -1


class Namespaces:
    """Opens namespaces by spec, and says which of them are gone. Everything runs on the broker's one thread."""

    def __init__(self) -> None:
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._own = own
        self._nsfs = os.fstat(own).st_dev
        self._held = {OWN: Held(Netns(OWN, "", os.fstat(own).st_ino), own)}
        self._next = OWN + 1
        self._inotify = abi.inotify_init()
        self._watched = selectors.EpollSelector()
        self._watched.register(self._inotify, selectors.EVENT_READ)
        # `ip netns del` unmounts a name before it unlinks it. mountinfo is always readable, and polls as an error
        # after a change (proc(5)): waiting for "writable" leaves only that.
        mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._watched.register(mounts, selectors.EVENT_WRITE)

    def fileno(self) -> int:
        """Return a descriptor that is readable when orphaned() may have news."""
        return self._watched.fileno()

    def open(self, spec: str) -> Netns:
        """Return the namespace of a spec: "" (ours), a name in /run/netns, "pid:N", or a path. Raises BrokerError."""
        if spec == "":
            return self._held[OWN].netns
        path = _path_of(spec)
        fd = self._open_nsfs(path, spec)
        inode = os.fstat(fd).st_ino
        for held in self._held.values():
            if held.netns.inode == inode and held.netns.label == spec:
                os.close(fd)
                return held.netns
        if len(self._held) >= MAX_OPEN:
            os.close(fd)
            raise BrokerError(f"{MAX_OPEN} namespaces are open already")
        held = self._with_owner(Held(Netns(self._next, spec, inode), fd), path)
        self._held[self._next] = held
        self._next += 1
        return held.netns

    def get(self, handle: int) -> Netns:
        """Return the namespace of a handle; raises BrokerError when it is gone."""
        return self._get(handle).netns

    def fd(self, handle: int) -> int:
        """Our descriptor of the namespace (not to be closed); raises BrokerError when it is gone."""
        return self._get(handle).fd

    @contextmanager
    def inside(self, handle: int) -> Iterator[None]:
        """Run the body in the namespace. A broker that cannot come back must not go on: it ends."""
        held = self._get(handle)
        if handle == OWN:
            yield
            return
        abi.setns(held.fd)
        try:
            yield
        finally:
            try:
                abi.setns(self._own)
            except OSError:
                os._exit(70)

    def orphaned(self, not_owners: frozenset[int]) -> list[Netns]:
        """Return the namespaces without a name or process left; `not_owners` (our children) do not count."""
        self._forget_events()
        gone = []
        for handle, held in list(self._held.items()):
            if handle == OWN or self._still_owned(held):
                continue
            heir = self._held[handle] = self._heir(held, not_owners)
            if not (heir.path or heir.pid):
                gone.append(heir.netns)
        return gone

    def let_go(self, handle: int) -> None:
        """Close what we hold of a namespace; our own stays."""
        if handle == OWN:
            return
        held = self._held.pop(handle, None)
        if held is not None:
            os.close(self._unwatched(held).fd)

    def _get(self, handle: int) -> Held:
        try:
            return self._held[handle]
        except KeyError:
            raise BrokerError("this namespace is gone") from None

    def _open_nsfs(self, path: str, spec: str) -> int:
        # O_PATH first: a path the app named must not open a device or wait for a FIFO's writer.
        try:
            look = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise _open_error(spec, error) from error
        try:
            if os.fstat(look).st_dev != self._nsfs:
                raise _none(spec)
            fd = os.open(f"/proc/self/fd/{look}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _open_error(spec, error) from error
        finally:
            os.close(look)
        if fcntl.ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET:
            os.close(fd)
            raise BrokerError(f"{spec} is a namespace, but not a network namespace")
        return fd

    def _forget_events(self) -> None:
        self._watched.select(0)
        with suppress(BlockingIOError):
            while os.read(self._inotify, 65536):
                pass

    def _with_owner(self, held: Held, path: str) -> Held:
        """Return `held`, which now watches the process or the name of `path`."""
        if process := re.fullmatch(r"/proc/(\d+)/ns/net", path):
            return self._with_process(held, int(process[1])) or held
        with suppress(OSError):
            abi.inotify_watch(self._inotify, os.path.dirname(path), _NAME_EVENTS)
        return replace(held, path=path)

    def _with_process(self, held: Held, pid: int) -> Held | None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        self._watched.register(pidfd, selectors.EVENT_READ)
        return replace(held, pid=pid, pidfd=pidfd)

    def _unwatched(self, held: Held) -> Held:
        if held.pidfd >= 0:
            self._watched.unregister(held.pidfd)
            os.close(held.pidfd)
        return replace(held, pid=0, pidfd=-1)

    def _still_owned(self, held: Held) -> bool:
        return _inode(held.path or f"/proc/{held.pid}/ns/net") == held.netns.inode

    def _heir(self, held: Held, not_owners: frozenset[int]) -> Held:
        """`held`, watching another owner, or nothing (no path, no pid) if there is none.

        A name that goes is the end whoever else is in there: its administrator has deleted the namespace.
        """
        bare = replace(self._unwatched(held), path="")
        if held.path:
            return bare
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            if pid not in not_owners and _inode(f"/proc/{pid}/ns/net") == held.netns.inode:
                heir = self._with_process(bare, pid)
                if heir is not None:
                    return heir
        for name in names():
            if _inode(f"{NAMED}/{name}") == held.netns.inode:
                return self._with_owner(bare, f"{NAMED}/{name}")
        return bare


def names() -> list[str]:
    """Return the names in /run/netns, sorted."""
    try:
        return sorted(os.listdir(NAMED))
    except OSError:
        return []


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _path_of(spec: str) -> str:
    if process := re.fullmatch(r"pid:(\d{1,10})", spec):
        return f"/proc/{process[1]}/ns/net"
    return spec if "/" in spec else f"{NAMED}/{spec}"


def _open_error(spec: str, error: Exception) -> BrokerError:
    if isinstance(error, PermissionError):
        return NotPermitted(f"the namespace {spec} cannot be opened", "CAP_SYS_PTRACE is missing: run as root")
    if spec.startswith("pid:"):
        return BrokerError(f"no process {spec[4:]}", "give the number of a running process")
    if "/" in spec:
        return _none(spec)
    known = ", ".join(map(clean, names()[:10]))
    return BrokerError(f"no namespace {spec!r}", f"there are {known}" if known else _REMEDY)


def _none(spec: str) -> BrokerError:
    """Of a path that is not there, too: which files there are is none of the app's business, and root sees them all."""
    return BrokerError(f"{spec} is not a network namespace", _REMEDY)
