"""Capabilities that the broker keeps, and those that its children keep.

In Linux a thread has capabilities: the functions here are for a process with one thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress

from nettop.broker import abi
from nettop.broker.identity import NOBODY, Account, become, can_change_ids, is_host_root
from nettop.linux import process

# KILL: the broker must be able to end its own children, which run as nobody (a parent-death signal, too, is
# checked against the dying parent's rights). With SETUID this adds no power.
_KEPT = "NET_ADMIN NET_RAW SYS_ADMIN SYS_PTRACE DAC_READ_SEARCH NET_BROADCAST SETUID SETGID KILL"
BROKER_KEEPS = frozenset(process.CAPABILITIES[name] for name in _KEPT.split())
NET_ADMIN = process.CAPABILITIES["NET_ADMIN"]
NET_RAW = process.CAPABILITIES["NET_RAW"]
SYS_ADMIN = process.CAPABILITIES["SYS_ADMIN"]
SYS_PTRACE = process.CAPABILITIES["SYS_PTRACE"]
DAC_READ_SEARCH = process.CAPABILITIES["DAC_READ_SEARCH"]


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def effective_capabilities() -> frozenset[int]:
    """Return the bits of this thread's effective set (linux/capability.h numbers)."""
    return _capability_set("effective")


def permitted_capabilities() -> frozenset[int]:
    """Return the bits of this thread's permitted set."""
    return _capability_set("permitted")


def bounding_capabilities() -> frozenset[int]:
    """Return the bits of this thread's bounding set: no program that it starts can have others, sudo included."""
    found = set[int]()
    for bit in process.CAPABILITIES.values():
        with suppress(OSError):  # this kernel does not know it
            found |= {bit} if abi.prctl(process.PR_CAPBSET_READ, bit) else set()
    return frozenset(found)


def missing_capabilities(held: frozenset[int], *names: str) -> tuple[str, ...]:
    """Return those of the names (without CAP_) that are not in `held`."""
    return tuple(name for name in names if process.CAPABILITIES[name] not in held)


def missing_text(names: Sequence[str]) -> str:
    """Return "CAP_A is missing" or "CAP_A, CAP_B and CAP_C are missing"."""
    *others, last = (f"CAP_{name}" for name in names)
    return f"{', '.join(others)} and {last} are missing" if others else f"{last} is missing"


def missing_rights(*names: str) -> str:
    """Return the text of those capabilities (without CAP_) that the kernel may have refused us for; "": not known.

    By the bounding set: a child of the broker has hardly any in its effective one.
    """
    missing = missing_capabilities(bounding_capabilities(), *names)
    if missing:
        return missing_text(missing)
    return "" if is_host_root() else "this needs root on the host"


def set_capabilities(keep: Iterable[int], *, inheritable: bool = False) -> None:
    """Make `keep` the permitted and effective set (and the inheritable one); raises OSError."""
    mask = sum(1 << bit for bit in set(keep))
    data = (_CapData * 2)()
    for half in (0, 1):
        word = mask >> 32 * half & 0xFFFF_FFFF
        data[half] = _CapData(word, word, word if inheritable else 0)
    header = _CapHeader(process.LINUX_CAPABILITY_VERSION_3, 0)
    abi.checked(abi.libc.capset(ctypes.byref(header), data), "capset")


def confine_broker() -> frozenset[int]:
    """Reduce our capabilities to those the broker needs, for good (also across an exec). Returns those kept."""
    effective = effective_capabilities()
    keep = effective & BROKER_KEEPS
    if process.CAPABILITIES["SETPCAP"] in effective:
        drop_bounding(keep)
    set_capabilities(keep)
    abi.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    return keep


def confine_child(keep: frozenset[int], gid: int = NOBODY) -> None:
    """Become nobody in a child of the broker, with only the capabilities `keep` (ambient: they survive an exec).

    In a user namespace that maps one user, the ids stay as they are.
    """
    _become_child_user(gid)
    keep = keep & permitted_capabilities()
    set_capabilities(keep, inheritable=True)
    for bit in keep:
        abi.prctl(process.PR_CAP_AMBIENT, process.PR_CAP_AMBIENT_RAISE, bit)
    abi.prctl(process.PR_SET_NO_NEW_PRIVS, 1)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies; ends at once if that has happened already.

    To be called last: a change of credentials clears the setting.
    """
    abi.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def become_for_good(account: Account) -> None:
    """Become the account and give up every capability, for good."""
    become(account)
    set_capabilities(())
    abi.prctl(process.PR_SET_NO_NEW_PRIVS, 1)


def _capability_set(name: str) -> frozenset[int]:
    data = (_CapData * 2)()
    header = _CapHeader(process.LINUX_CAPABILITY_VERSION_3, 0)
    abi.checked(abi.libc.capget(ctypes.byref(header), data), "capget")
    mask = getattr(data[0], name) | getattr(data[1], name) << 32
    return frozenset(bit for bit in range(64) if mask >> bit & 1)


def _become_child_user(gid: int) -> None:
    if not can_change_ids():
        return
    abi.prctl(process.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def drop_bounding(keep: frozenset[int]) -> None:
    """Reduce the bounding set to `keep`; needs CAP_SETPCAP. Raises OSError."""
    for bit in range(64):
        try:
            abi.prctl(process.PR_CAPBSET_READ, bit)
        except OSError:
            return  # past the kernel's last capability
        if bit not in keep:
            abi.prctl(process.PR_CAPBSET_DROP, bit)
