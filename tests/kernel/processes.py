"""The test app as a process, and what /proc says of processes."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nettop.broker import wire
from nettop.broker.client import Broker
from nettop.broker.options import Options
from nettop.broker.privileges import effective_capabilities
from nettop.broker.program import hello
from nettop.broker.server import Server
from nettop.broker.start import attach
from tests.kernel.namespaces import DEADLINE_S, poll

ROOT = Path(__file__).parents[2]


def app_command(plan: dict[str, Any]) -> list[str]:
    """The command that runs tests/kernel/app.py with a plan, from the project's root."""
    return [sys.executable, "-m", "tests.kernel.app", json.dumps(plan)]


class App:
    """A running test app: its JSON lines, one `expect` at a time."""

    def __init__(self, plan: dict[str, Any], before: tuple[str, ...] = (), env: dict[str, str] | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SUDO_", "DOAS_"))}
        self.process = subprocess.Popen(
            [*before, *app_command(plan)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**environment, **(env or {})},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def expect(self, what: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next line of that kind; lines of other kinds before it fail the test."""
        message = self.any_line(deadline_s)
        assert message["what"] == what, message
        return message

    def any_line(self, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next line, whatever it is about."""
        line = self._lines.get(timeout=deadline_s)
        assert line, f"the app ended: {self._complaint()}"
        message: dict[str, Any] = json.loads(line)
        return message

    def has_said(self) -> bool:
        """Whether a line waits that nobody has taken."""
        return not self._lines.empty()

    def end(self) -> int:
        """Let it end by itself; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(30)
        self._reader.join(30)
        return code

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def _complaint(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reader.join(30)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def forked_broker(prepare: Callable[[], object] = lambda: None) -> Iterator[Broker]:
    """A broker forked from this process, which prepares itself: limits that a test has set here hold there."""
    ours, theirs = wire.pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            prepare()
            Server(theirs, Options(read_only=True)).serve(hello(True, effective_capabilities()))
        finally:
            os._exit(0)
    theirs.close()
    try:
        with attach(ours) as broker:
            yield broker
    finally:
        os.waitpid(pid, 0)


def status_of(pid: int, thread: int | None = None) -> dict[str, str]:
    """The fields of /proc/PID/status, or of one thread of it."""
    path = Path(f"/proc/{pid}/task/{thread or pid}/status")
    lines = path.read_text(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def threads_of(pid: int) -> list[int]:
    return [int(task) for task in os.listdir(f"/proc/{pid}/task")]


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid`, zombies too."""
    found = []
    for other in filter(str.isdecimal, os.listdir("/proc")):
        try:
            parent = int(Path(f"/proc/{other}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            found.append(int(other))
    return found


def stop_a_child(parent: int, is_over: Callable[[], bool]) -> int:
    """SIGSTOP a child of the broker at its work; 0 when there was no time to, and `is_over` says so."""
    child = poll(lambda: children_of(parent) or [0] * is_over(), what="a child at work")[0]
    try:
        poll(lambda: not child or is_confined(child), what="its limits")  # stopped before, it could not see us die
        if child:
            os.kill(child, signal.SIGSTOP)
        state = poll(lambda: "Z" if not child else status_of(child)["State"][0].strip("RSD"), what="it stops or ends")
    except (ProcessLookupError, FileNotFoundError):
        return 0
    return child if state == "T" else 0


def is_confined(child: int) -> bool:
    """Whether a child has set its limits: the last that it does before its work."""
    with open(f"/proc/{child}/limits", encoding="ascii") as lines:
        size = next((line for line in lines if line.startswith("Max file size")), "unlimited")
    return "unlimited" not in size


def is_gone(pid: int) -> bool:
    """Whether no process (not even a zombie) has that number."""
    return not os.path.exists(f"/proc/{pid}")
