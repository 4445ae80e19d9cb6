"""A run of a tool inside a child: its output in full, within a time that depends on how often the ruleset changes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple

from nettop.broker import abi
from nettop.broker.children import TOOL_ENVIRONMENT, find_tool
from nettop.linux.process import PR_SET_PDEATHSIG

_LOOK_S = 0.1
_UNSETTLED_S = 0.2  # the tools begin again at each change: after so long under continuous changes they are ended
_UNSETTLED_CHANGES, _LATER_CHANGES = 8, 3  # of the first run, and of those after one that was ended for them
UNSETTLED = "the ruleset changes faster than it can be listed"


class ToolResult(NamedTuple):
    """The outcome of a run: `failure` in one line, "" if the tool succeeded."""

    output: bytes
    failure: str


class Runner:
    """Runs tools until a common time limit (time.monotonic()). `generation` returns the ruleset's."""

    def __init__(self, seconds: float, generation: Callable[[], int]) -> None:
        self._until, self._generation = time.monotonic() + seconds, generation
        self._changes = _UNSETTLED_CHANGES

    def extend(self, seconds: float) -> None:
        """Set the time limit to so long from now."""
        self._until = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """True once the time is up."""
        return time.monotonic() >= self._until

    def run(self, tool: str, *arguments: str | bytes) -> ToolResult:
        """Run a tool with these arguments; never by a shell. Raises BrokerError if it is not installed."""
        path = find_tool(tool)
        out, err = os.memfd_create("out", os.MFD_CLOEXEC), os.memfd_create("err", os.MFD_CLOEXEC)
        try:
            process = subprocess.Popen(
                [path, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=TOOL_ENVIRONMENT,
                preexec_fn=lambda: abi.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )  # fmt: skip
            ended = self._wait(process)
            return ToolResult(_content(out), ended or _failure(tool, process.returncode, _content(err)))
        finally:
            os.close(out)
            os.close(err)

    def _wait(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for the end, or end it; return the reason for that, or ""."""
        began, known, changes = time.monotonic(), self._generation(), 0
        with open(os.pidfd_open(process.pid), "rb", buffering=0) as ended:
            while not select.select([ended], [], [], _LOOK_S)[0]:
                generation = self._generation()
                changes, known = changes + (generation != known), generation
                unsettled = changes >= self._changes and time.monotonic() - began > _UNSETTLED_S
                if unsettled or self.is_over:
                    process.kill()
                    process.wait()
                    self._changes = _LATER_CHANGES if unsettled else self._changes
                    return UNSETTLED if unsettled else "it took too long"
        process.wait()
        return ""


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _failure(tool: str, status: int, stderr_text: bytes) -> str:
    if status < 0:
        return f"{tool} was ended by {signal.Signals(-status).name}"
    first_line = stderr_text.decode(errors="replace").split("\n")[0].strip()
    return f"{tool}: {first_line or f'status {status}'}" if status else ""
