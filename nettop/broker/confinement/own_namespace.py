"""A user namespace of the app's own, where no other user can be had (user_namespaces(7)).

Whoever makes a user namespace has every right in it, and so has its root. Below or beside it, the app has none.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import suppress

from nettop.broker import abi
from nettop.broker.identity import NOBODY, can_change_ids
from nettop.linux.process import CLONE_NEWUSER

_HANDED_OVER = "NETTOP_BROKER"  # descriptor and pid of the broker that was started before


def enter() -> bool:
    """Move this process, which has one thread, into a user namespace as its nobody. Return False if it must not."""
    uid, gid = os.geteuid(), os.getegid()
    if can_change_ids() or abi.libc.unshare(CLONE_NEWUSER) < 0:
        return False
    for name, value in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {uid} 1"), ("gid_map", f"{NOBODY} {gid} 1")):
        with suppress(OSError), open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(value)  # a system that forbids it leaves the process without ids, which it does not need
    return True


def restart(broker: socket.socket, pid: int) -> None:
    """Execute this command line again in a user namespace of its own; handed_over() then returns the broker.

    The files of a process in /proc belong to the root of the namespace in which it was executed: here to nobody's.
    Returns where no namespace can be had.
    """
    if os.geteuid() != 0 or not sys.orig_argv or not enter():
        return
    broker.set_inheritable(True)
    os.environ[_HANDED_OVER] = f"{broker.fileno()} {pid}"
    os.execv(sys.executable, sys.orig_argv)


def is_restarted() -> bool:
    """Return whether restart() has executed this program, and its broker is not taken yet."""
    return _HANDED_OVER in os.environ


def handed_over() -> tuple[socket.socket, Child] | None:
    """Return the socket of the broker that was started before restart(), and the broker; None: there was none."""
    words = os.environ.pop(_HANDED_OVER, "").split()
    try:
        fd, pid = map(int, words)
        broker, sock = Child(pid), socket.socket(fileno=fd)
    except (ValueError, OverflowError, OSError):  # it is not ours
        return None
    sock.set_inheritable(False)
    return sock, broker


class Child:
    """A child of this process that an earlier program of it started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)  # an app that is confined cannot

    def wait(self, timeout: float) -> int | None:
        """Return its exit code once it has ended; None after `timeout` seconds."""
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        if poller.poll(timeout * 1000):
            with suppress(ChildProcessError):
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return None
