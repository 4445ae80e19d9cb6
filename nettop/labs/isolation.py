"""A process tree in namespaces of its own (mount, network, PID; user too when not root) that dies with its parent."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nettop.broker import abi, privileges
from nettop.errors import NotPermitted
from nettop.linux import process

# Sysctls that restrict the user namespaces of ordinary users, each with the value that does.
_RESTRICTIONS = {
    "user.max_user_namespaces": "0",
    "kernel.unprivileged_userns_clone": "0",  # Debian
    "kernel.apparmor_restrict_unprivileged_userns": "1",  # Ubuntu: they can be made, but give no capability
}


def userns_restriction(sysctls: Path = Path("/proc/sys")) -> str:
    """Return the sysctl that restricts user namespaces of ordinary users ("user.max_user_namespaces=0"), or ""."""
    for name, value in _RESTRICTIONS.items():
        with suppress(OSError):
            if sysctls.joinpath(*name.split(".")).read_text().strip() == value:
                return f"{name}={value}"
    return ""


def refusal(reason: str) -> NotPermitted:
    """Return the error for a user whom the kernel refuses private namespaces, or the capabilities in them."""
    return NotPermitted(f"this host denies user namespaces to ordinary users ({userns_restriction() or reason})")


def _check(result: int, message: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{message}: {os.strerror(code)}")


def _map_to_root(uid: int, gid: int) -> None:
    """Map this user to root inside; setgroups must be denied before gid_map is written (user_namespaces(7))."""
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    result = abi.libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
    _check(result, f"cannot mount {kind or 'private'} on {target}")


def enter_private_namespaces() -> int:
    """Become PID 1 of a fresh tree: the caller forks, the child returns 0, the parent gets the child's pid.

    Inside: a private /run (so that `ip netns` and xtables locks are our own) and a /proc of the new PID namespace.
    OSError where the kernel does not allow this.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags = process.CLONE_NEWNS | process.CLONE_NEWNET | process.CLONE_NEWPID | (process.CLONE_NEWUSER if uid else 0)
    _check(abi.libc.unshare(ctypes.c_int(flags)), "cannot make private namespaces")
    if uid:
        _map_to_root(uid, gid)
    pid = os.fork()
    if pid:
        return pid
    privileges.die_with(0)  # inside the new PID namespace the parent's pid reads as 0: it is outside
    _mount("none", "/", "", process.MS_REC | process.MS_PRIVATE)
    _mount("nettop", "/run", "tmpfs", process.MS_NOSUID | process.MS_NODEV)
    _mount("proc", "/proc", "proc", process.MS_NOSUID | process.MS_NODEV | process.MS_NOEXEC)
    os.makedirs("/run/netns", exist_ok=True)
    return 0


def enter_netns(name: str) -> None:
    """Move this process into the network namespace called `name`."""
    _setns(f"/run/netns/{name}")


@contextmanager
def inside_netns(name: str) -> Iterator[None]:
    """Move this process into the network namespace called `name`, and back at the end."""
    original = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter_netns(name)
        yield
    finally:
        _setns(f"/proc/self/fd/{original}")
        os.close(original)


def _setns(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(abi.libc.setns(fd, process.CLONE_NEWNET), f"cannot enter namespace {path}")
    finally:
        os.close(fd)
