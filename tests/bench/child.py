"""The benchmark's own children: modules beside this one that measure from within and print JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.bench import measure
from tests.kernel.namespaces import command_in


def command(module: str, *words: str) -> list[str]:
    """The command that runs tests/bench/MODULE.py."""
    return [sys.executable, "-m", f"tests.bench.{module}", *words]


def answer(argv: Sequence[str]) -> dict[str, Any]:
    """What a child prints."""
    done = subprocess.run(argv, capture_output=True, cwd=measure.ROOT, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr.decode(errors='replace')}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def bare(ns: str, work: str) -> dict[str, Any]:
    """One of the floors, measured inside a namespace."""
    return answer(command_in(ns, *command("bare", work)))


class Watcher:
    """The session without a screen, in a process of its own."""

    def __init__(self, ns: str, *words: str) -> None:
        self.process = measure.started(command("watcher", ns, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.dumped = self.line()

    def end(self) -> dict[str, Any]:
        """Let it end; what it saw."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        found = self.line()
        self.process.wait()
        return found

    def line(self) -> dict[str, Any]:
        """The next thing that it says."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline() or b"{}")
        if not found:
            raise RuntimeError("the watcher ended early")
        return found


@contextmanager
def watcher(ns: str, *words: str) -> Iterator[Watcher]:
    """A watcher, killed at the end if it still runs."""
    made = Watcher(ns, *words)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
