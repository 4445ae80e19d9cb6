"""Capabilities and identities: what the broker keeps, what its children keep, and how the app gives everything up.

Capabilities belong to a thread in Linux: everything here must run while the process has one thread.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from nettop.broker import abi
from nettop.errors import NotPermitted

NOBODY = 65534

# KILL: the broker must be able to end its own children, which run as nobody (a parent-death signal, too, is
# checked against the dying parent's rights). With SETUID this adds no power.
_KEPT = "NET_ADMIN NET_RAW SYS_ADMIN SYS_PTRACE DAC_READ_SEARCH NET_BROADCAST SETUID SETGID KILL"
BROKER_KEEPS = frozenset(abi.CAPABILITIES[name] for name in _KEPT.split())
NET_ADMIN = abi.CAPABILITIES["NET_ADMIN"]
NET_RAW = abi.CAPABILITIES["NET_RAW"]


@dataclass(frozen=True, slots=True)
class Account:
    """A user: ids, and the login name where there is one (needed for the supplementary groups)."""

    uid: int
    gid: int
    name: str = ""


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def effective_capabilities() -> frozenset[int]:
    """The bits of this thread's effective set (linux/capability.h numbers)."""
    low, high = _capget()
    return _bits(low.effective | high.effective << 32)


def permitted_capabilities() -> frozenset[int]:
    """The bits of this thread's permitted set."""
    low, high = _capget()
    return _bits(low.permitted | high.permitted << 32)


def set_capabilities(keep: Iterable[int], *, inheritable: bool = False) -> None:
    """Make `keep` the permitted and effective set (and the inheritable one); raises OSError."""
    mask = sum(1 << bit for bit in set(keep))
    data = (_CapData * 2)()
    for half in (0, 1):
        word = mask >> 32 * half & 0xFFFF_FFFF
        data[half] = _CapData(word, word, word if inheritable else 0)
    header = _CapHeader(abi.LINUX_CAPABILITY_VERSION_3, 0)
    abi.checked(abi.libc.capset(ctypes.byref(header), data), "capset")


def confine_broker() -> frozenset[int]:
    """Keep of our capabilities what the broker needs, for good (also for what it executes). Returns what is left."""
    mine = effective_capabilities()
    keep = mine & BROKER_KEEPS
    if abi.CAPABILITIES["SETPCAP"] in mine:
        _drop_bounding(keep)
    set_capabilities(keep)
    abi.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
    return keep


def confine_child(keep: frozenset[int], gid: int = NOBODY) -> None:
    """For a child of the broker: nobody, with `keep` only (ambient: they survive an exec), for good.

    In a user namespace that maps one user, the ids stay as they are.
    """
    _become_child_user(gid)
    keep = keep & permitted_capabilities()
    set_capabilities(keep, inheritable=True)
    for bit in keep:
        abi.prctl(abi.PR_CAP_AMBIENT, abi.PR_CAP_AMBIENT_RAISE, bit)
    abi.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies; ends at once if that has happened already.

    To be called last: a change of credentials clears the setting.
    """
    abi.prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def invoker() -> Account:
    """Who called us: the user behind sudo, doas or pkexec, else the user we are."""
    uid = _number(os.environ.get("SUDO_UID"), os.environ.get("PKEXEC_UID"), _uid_of(os.environ.get("DOAS_USER")))
    if os.geteuid() != 0 or uid is None:
        uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, _number(os.environ.get("SUDO_GID")) or uid)
    return Account(uid, entry.pw_gid, entry.pw_name)


def drop_target() -> Account:
    """Who the app becomes when it was started as root: the invoker, or nobody when that is root itself."""
    account = invoker()
    return account if account.uid != 0 else Account(NOBODY, NOBODY)


def become(account: Account) -> None:
    """Take on the account's ids and groups; raises OSError. Root's own account changes nothing."""
    if account.uid == os.getuid() == os.geteuid():
        return
    if account.name:
        os.initgroups(account.name, account.gid)
    else:
        os.setgroups([])
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)


def become_for_good(account: Account) -> None:
    """become(), then without any capability, for good."""
    become(account)
    set_capabilities(())
    abi.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)


def drop_app(account: Account | None = None, *, preload: Sequence[str] = ()) -> None:
    """Give up every privilege of this process, for good: ids (where there are others), capabilities, setuid programs.

    `preload` names modules to import first; without it the interpreter and the package must stay readable.
    Raises NotPermitted when they would not, when the process already has threads, or when the kernel refuses.
    """
    account = (account or drop_target()) if can_change_ids() else Account(os.getuid(), os.getgid())
    if account.uid != os.getuid() and not preload:
        check_readable(account)
    for module in preload:
        __import__(module)
    if len(os.listdir("/proc/self/task")) != 1:
        raise NotPermitted("privileges can not be dropped: threads already run", "drop before starting any")
    try:
        _give_up(account)
    except OSError as error:
        raise NotPermitted(f"privileges can not be dropped: {error}") from error


def can_change_ids() -> bool:
    """Whether we are root where there are other users: not in a user namespace that maps one user (`unshare -Ur`)."""
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", encoding="ascii") as lines:
        mapped = sum(int(line.split()[2]) for line in lines)
    return mapped > 1


def check_readable(account: Account) -> None:
    """Raise NotPermitted, naming the directory, if `account` could not read the interpreter or this package.

    A child really becomes the account and tries, so that access lists and security modules count, too.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _try_reading(account, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        refused = os.fsdecode(answer.read())
    os.waitpid(pid, 0)
    if refused:
        who = account.name or f"uid {account.uid}"
        remedy = f"chmod o+rx {refused}, or install nettop where everybody may read it (for example /opt)"
        raise NotPermitted(f"{who} cannot read {refused}, and nettop does not run as root", remedy)


def _try_reading(account: Account, writing: int) -> None:
    try:
        become(account)
        os.write(writing, os.fsencode(_first_unreadable(_needed_paths())))
    except OSError as error:
        os.write(writing, os.fsencode(str(error.filename or "/")))
    finally:
        os._exit(0)


def _needed_paths() -> list[str]:
    modules = [find_spec(name) for name in ("nettop", "numpy", "textual", "scapy")]
    files = [spec.origin for spec in modules if spec and spec.origin]
    return [os.path.realpath(sys.executable), os.__file__, *files]


def _first_unreadable(paths: Iterable[str]) -> str:
    for path in paths:
        parts = path.split("/")
        for end in range(2, len(parts)):
            directory = "/".join(parts[:end])
            if not os.access(directory, os.X_OK):
                return directory
        if not os.access(path, os.R_OK):
            return path
    return ""


def _give_up(account: Account) -> None:
    if abi.CAPABILITIES["SETPCAP"] in effective_capabilities():
        _drop_bounding(frozenset())
    abi.prctl(abi.PR_CAP_AMBIENT, abi.PR_CAP_AMBIENT_CLEAR_ALL)
    become_for_good(account)


def _capget() -> tuple[_CapData, _CapData]:
    data = (_CapData * 2)()
    header = _CapHeader(abi.LINUX_CAPABILITY_VERSION_3, 0)
    abi.checked(abi.libc.capget(ctypes.byref(header), data), "capget")
    return data[0], data[1]


def _bits(mask: int) -> frozenset[int]:
    return frozenset(bit for bit in range(64) if mask >> bit & 1)


def _become_child_user(gid: int) -> None:
    if not can_change_ids():
        return
    abi.prctl(abi.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _drop_bounding(keep: frozenset[int]) -> None:
    for bit in range(64):
        try:
            abi.prctl(abi.PR_CAPBSET_READ, bit)
        except OSError:
            return  # past the kernel's last capability
        if bit not in keep:
            abi.prctl(abi.PR_CAPBSET_DROP, bit)


def _number(*texts: str | None) -> int | None:
    return next((int(text) for text in texts if text and text.isdecimal()), None)


def _uid_of(name: str | None) -> str | None:
    try:
        return str(pwd.getpwnam(name).pw_uid) if name else None
    except KeyError:
        return None
