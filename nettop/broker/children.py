"""Short-lived children: what is known to crash or to hang runs in one, in the target namespace, with least rights.

A child writes its answer into a memfd (as its stdout) under a file size limit, so no byte of it passes the broker.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from nettop.broker import abi, privileges
from nettop.broker.failures import error_fields
from nettop.broker.identity import NOBODY, Account
from nettop.broker.wire import seal
from nettop.errors import BrokerError

OUTPUT_LIMIT = 256 << 20  # bytes
MEMORY_LIMIT = 4 << 30  # bytes of address space
ERROR_LIMIT = 32 << 10  # bytes of stderr that are looked at
FAILED = 3  # exit status of a child whose stderr is an error as JSON (see error_fields)
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Work:
    """The job of a child: `run` in the namespace `netns` (a descriptor, or None) with `capabilities`, within `seconds`.

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
class Child:
    """A running child. The broker waits on `pidfd`, then calls outcome() once."""

    name: str
    pid: int
    pidfd: int
    deadline: float  # time.monotonic()
    stdout: int
    stderr: int
    why_killed: str = ""

    def kill(self, why: str) -> None:
        """End it; outcome() will then say why."""
        self.why_killed = self.why_killed or why
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def outcome(self) -> int:
        """Return the sealed memfd with what the ended child wrote; the caller closes it. Raises BrokerError."""
        _, status = os.waitpid(self.pid, 0)
        complaint = os.pread(self.stderr, ERROR_LIMIT, 0)
        os.close(self.pidfd)
        os.close(self.stderr)
        whole = os.fstat(self.stdout).st_size < OUTPUT_LIMIT  # a tool may not notice that its output was cut
        if status == 0 and whole:
            seal(self.stdout)
            return self.stdout
        os.close(self.stdout)
        raise self._failure(status, complaint) if whole else BrokerError(f"{self.name}: more than {OUTPUT_LIMIT} bytes")

    def _failure(self, status: int, complaint: bytes) -> BrokerError:
        if self.why_killed:
            return BrokerError(f"{self.name}: {self.why_killed}")
        if os.WIFSIGNALED(status):
            signal_name = signal.Signals(os.WTERMSIG(status)).name
            return BrokerError(f"{self.name} was ended by {signal_name}")
        code = os.waitstatus_to_exitcode(status)
        if code == FAILED:
            return RemoteFailure(complaint)
        words = complaint.decode(errors="replace").split("\n")[0].strip()
        return BrokerError(f"{self.name} failed with status {code}" + (f" ({words})" if words else ""))


class RemoteFailure(BrokerError):
    """An error a child reported as JSON: handed on to the app as it is."""

    def __init__(self, complaint: bytes) -> None:
        super().__init__("a child failed")
        self.complaint = complaint

    def fields(self) -> dict[str, object]:
        """Return the error's fields as errors.py of this package names them; a plain BrokerError if they were cut."""
        try:
            found = json.loads(self.complaint)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {"type": "BrokerError", "what": "a child failed", "do": ""}


def start(work: Work) -> Child:
    """Fork a child for `work`. It dies with the broker, and has only stdin (empty), stdout and stderr (memfds)."""
    stdout = os.memfd_create(f"nettop-{work.name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stderr = os.memfd_create(f"nettop-{work.name}-errors", os.MFD_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _run_child(work, parent, stdout, stderr)
    deadline = time.monotonic() + work.seconds
    return Child(work.name, pid, os.pidfd_open(pid), deadline, stdout, stderr)


def execute(*argv: str) -> None:
    """Become the program `argv` (an absolute path, its arguments; never a shell). Raises OSError."""
    os.execve(argv[0], argv, _ENVIRONMENT)


def write_out(text: bytes) -> None:
    """In a child: add all of `text` to its answer."""
    view = memoryview(text)
    while view:
        view = view[os.write(1, view) :]


def find_tool(name: str) -> str:
    """Return the absolute path of a system tool; raises BrokerError when it is not installed."""
    for directory in _ENVIRONMENT["PATH"].split(":"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    raise BrokerError(f"{name} is not installed", "apt install nftables iptables")


def _run_child(work: Work, parent: int, stdout: int, stderr: int) -> None:
    """In the child: never returns."""
    status = FAILED
    try:
        _arrange_descriptors(stdout, stderr)
        if work.netns is not None:
            abi.setns(work.netns)
        if work.account:
            privileges.become_for_good(work.account)
        else:
            privileges.confine_child(work.capabilities, work.gid)
        privileges.die_with(parent)
        _close_all_but(work.channel.fileno() if work.channel else None)
        _limit_resources()
        work.run()
        status = 0
    except BaseException as error:  # the child must end here, whatever happened
        os.write(2, json.dumps(error_fields(error)).encode()[:ERROR_LIMIT])
    finally:
        os._exit(status)


def _arrange_descriptors(stdout: int, stderr: int) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    for fd, place in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(fd, place)


def _close_all_but(kept: int | None) -> None:
    # An inherited descriptor of another namespace would keep that one alive.
    highest = os.sysconf("SC_OPEN_MAX")
    if kept is None:
        os.closerange(3, highest)
    else:
        os.closerange(3, kept)
        os.closerange(kept + 1, highest)


def _limit_resources() -> None:
    for what, limit in (
        (resource.RLIMIT_FSIZE, OUTPUT_LIMIT),
        (resource.RLIMIT_AS, MEMORY_LIMIT),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (limit, limit))
