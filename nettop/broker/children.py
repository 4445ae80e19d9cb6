"""Short-lived child processes: calls that may crash or hang run in one, in the target namespace, with few rights.

A child writes its answer into a memfd (as its stdout) under a file size limit, so no byte of it passes the broker.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nettop.broker import abi, privileges
from nettop.broker.failures import error_fields
from nettop.broker.identity import NOBODY, Account
from nettop.broker.wire import seal
from nettop.errors import BrokerError

Body = dict[str, Any]
Answer = tuple[Body, tuple[int, ...]]  # and descriptors

MAX_CHILDREN = 16  # at once
OUTPUT_LIMIT = 256 << 20  # bytes
MEMORY_LIMIT = 4 << 30  # bytes of address space
ERROR_LIMIT = 32 << 10  # bytes of stderr that are read
_PACKAGES = {"nft": "nftables", "arptables-legacy": "arptables"}  # others: iptables
FAILED = 3  # exit status of a child whose stderr is an error as JSON (see error_fields)
TOOL_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class ChildTask:
    """A child's task: `run` in the namespace `netns` (a descriptor, or None) with `capabilities`, within `seconds`.

    It runs as nobody, or as `account` and then without any capability.
    """

    name: str
    run: Callable[[], None]
    netns: int | None
    seconds: float
    capabilities: frozenset[int] = frozenset()
    gid: int = NOBODY
    account: Account | None = None
    channel: socket.socket | None = None  # kept open in the child, to pass a descriptor back


@dataclass(slots=True)
class ChildProcess:
    """A running child. The broker waits on `pidfd`, then calls outcome() once."""

    name: str
    pid: int
    pidfd: int
    deadline: float  # time.monotonic()
    stdout: int
    stderr: int
    kill_reason: str = ""
    overdue: int = 0  # how often it was killed after its deadline
    cost_ns: int = 0  # of processor time that it took, with its own children; known once it has ended

    def kill(self, reason: str) -> None:
        """End it; outcome() then raises BrokerError with `reason`. Without CAP_KILL its alarm ends it."""
        self.kill_reason = self.kill_reason or reason
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def outcome(self) -> int:
        """Return the sealed memfd with the ended child's output; the caller closes it. Raises BrokerError."""
        _, status, usage = os.wait4(self.pid, 0)
        self.cost_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
        stderr_text = os.pread(self.stderr, ERROR_LIMIT, 0)
        os.close(self.pidfd)
        os.close(self.stderr)
        complete = os.fstat(self.stdout).st_size < OUTPUT_LIMIT  # a tool may not notice that its output was cut
        if status == 0 and complete:
            seal(self.stdout)
            return self.stdout
        os.close(self.stdout)
        if not complete:
            raise BrokerError(f"{self.name}: more than {OUTPUT_LIMIT} bytes")
        raise self._failure(status, stderr_text)

    def _failure(self, status: int, stderr_text: bytes) -> BrokerError:
        if self.kill_reason:
            return BrokerError(f"{self.name}: {self.kill_reason}")
        if os.WIFSIGNALED(status):
            signal_name = signal.Signals(os.WTERMSIG(status)).name
            return BrokerError(f"{self.name} was ended by {signal_name}")
        code = os.waitstatus_to_exitcode(status)
        if code == FAILED:
            return RemoteFailure(stderr_text)
        first_line = stderr_text.decode(errors="replace").split("\n")[0].strip()
        return BrokerError(f"{self.name} failed with status {code}" + (f" ({first_line})" if first_line else ""))


class RemoteFailure(BrokerError):
    """An error that a child reported as JSON; it is passed to the app unchanged."""

    def __init__(self, stderr_text: bytes) -> None:
        super().__init__("a child failed")
        self.stderr_text = stderr_text

    def fields(self) -> dict[str, object]:
        """Return the error's fields as failures.error_fields() names them; those of a BrokerError if they were cut."""
        try:
            found = json.loads(self.stderr_text)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {"type": "BrokerError", "what": "a child failed", "do": ""}


class AnswerDeferred(Exception):
    """Raised by a handler whose answer comes later, from a child process."""


@dataclass(slots=True)
class RunningRequest:
    """A request whose answer a child process makes."""

    child: ChildProcess
    id: int
    netns: int
    make_answer: Callable[[int], Answer]  # from the child's memfd


def start(task: ChildTask) -> ChildProcess:
    """Fork a child for `task`. It dies with the broker, and has only stdin (empty), stdout and stderr (memfds)."""
    with ExitStack() as opened:
        stdout = os.memfd_create(f"nettop-{task.name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        opened.callback(os.close, stdout)
        stderr = os.memfd_create(f"nettop-{task.name}-errors", os.MFD_CLOEXEC)
        opened.callback(os.close, stderr)
        place = os.dup(stdout)  # of the pidfd: a child without one would never be waited for
        opened.callback(os.close, place)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _run_child(task, parent, stdout, stderr)
        opened.pop_all()
    os.close(place)
    deadline = time.monotonic() + task.seconds
    return ChildProcess(task.name, pid, os.pidfd_open(pid), deadline, stdout, stderr)


def check_room(running: Sequence[ChildProcess], name: str) -> None:
    """Raise BrokerError unless another child of that name may run.

    A file system that does not answer (NFS, FUSE) holds a child even after SIGKILL: one such child of a name is enough.
    """
    if len(running) >= MAX_CHILDREN:
        raise BrokerError(f"{MAX_CHILDREN} calls are running already", "wait for one to end")
    if any(child.name == name and child.overdue > 1 for child in running):
        raise BrokerError(f"{name}: an earlier call cannot be ended", "a file system may not answer")


def execute(*argv: str) -> None:
    """Become the program `argv` (an absolute path, its arguments; never a shell). Raises OSError."""
    os.execve(argv[0], argv, TOOL_ENVIRONMENT)


def write_out(text: bytes) -> None:
    """Append `text` to the answer of the calling child."""
    view = memoryview(text)
    while view:
        view = view[os.write(1, view) :]


def find_tool(name: str) -> str:
    """Return the absolute path of a system tool; raises BrokerError when it is not installed."""
    for directory in TOOL_ENVIRONMENT["PATH"].split(":"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    raise BrokerError(f"{name} is not installed", f"apt install {_PACKAGES.get(name, 'iptables')}")


def _run_child(task: ChildTask, parent: int, stdout: int, stderr: int) -> None:
    """Run the task in the forked child; never returns."""
    status = FAILED
    try:
        for fd, number in ((stdout, 1), (stderr, 2), (os.open(os.devnull, os.O_RDONLY), 0)):
            os.dup2(fd, number)
        if task.netns is not None:
            abi.setns(task.netns)
        if task.account:
            privileges.become_for_good(task.account)
        else:
            privileges.confine_child(task.capabilities, task.gid)
        privileges.die_with(parent)
        close_all_but(*(task.channel.fileno(),) if task.channel else ())
        _limit_resources()
        signal.alarm(math.ceil(task.seconds) + 1)  # for a broker without CAP_KILL; it survives an exec
        task.run()
        status = 0
    except BaseException as error:  # the child must end here in any case
        os.write(2, json.dumps(error_fields(error)).encode()[:ERROR_LIMIT])
    finally:
        os._exit(status)


def close_all_but(*kept: int) -> None:
    """Close every descriptor above 2 but these: an inherited one of another namespace would keep that one alive."""
    for before, after in pairwise((2, *sorted(kept), os.sysconf("SC_OPEN_MAX"))):
        os.closerange(before + 1, after)


def _limit_resources() -> None:
    for kind, limit in (
        (resource.RLIMIT_FSIZE, OUTPUT_LIMIT),
        (resource.RLIMIT_AS, MEMORY_LIMIT),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))
