"""The system calls that Python 3.11 does not wrap."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

from nettop.linux.process import CLONE_NEWNET
from nettop.linux.seccomp import NUMBERS

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, call: str) -> int:
    """Return the result of a libc call; raises OSError with errno and `call` when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)
    return result


def syscall(name: str, *arguments: int | bytes | None) -> int:
    """Make a system call that libc may not have; raises OSError. Numbers are passed as long, bytes by address."""
    number = NUMBERS.get(platform.machine(), {}).get(name)
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), name)
    words = (ctypes.c_long(one) if isinstance(one, int) else ctypes.c_char_p(one) for one in arguments)
    return checked(libc.syscall(ctypes.c_long(number), *words), name)


def prctl(option: int, a: int = 0, b: int = 0) -> int:
    """Call prctl(2); raises OSError."""
    arguments = (ctypes.c_ulong(a), ctypes.c_ulong(b), ctypes.c_ulong(0), ctypes.c_ulong(0))
    return checked(libc.prctl(option, *arguments), "prctl")


def setns(fd: int) -> None:
    """Move the calling thread into the network namespace `fd`; raises OSError."""
    checked(libc.setns(fd, CLONE_NEWNET), "entering the namespace")


def inotify_init() -> int:
    """Return a non-blocking inotify descriptor; raises OSError."""
    return checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")


def inotify_watch(fd: int, path: str, mask: int) -> int:
    """Watch `path`; returns the watch descriptor, raises OSError."""
    return checked(libc.inotify_add_watch(fd, os.fsencode(path), mask), "inotify_add_watch")
