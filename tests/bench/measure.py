"""What a program costs: wall time, processor time and memory of it and its children; medians of interleaved runs."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import BinaryIO, TypeVar

T = TypeVar("T")
Stream = int | BinaryIO

ROOT = Path(__file__).resolve().parents[2]
NETTOP = str(Path(sys.executable).with_name("nettop"))
_LOOK_S = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")
_DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One run of a program: seconds, seconds of processor, bytes of memory of all its processes at their highest."""

    wall: float
    cpu: float
    rss: int
    code: int


def started(
    argv: Sequence[str],
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    stderr: Stream = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """A process in the project's root."""
    return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=ROOT)


def run(argv: Sequence[str], stdout: Stream = subprocess.DEVNULL) -> Cost:
    """Run a program to its end."""
    began = time.perf_counter()
    return ended(started(argv, stdout=stdout), began)


def ended(process: subprocess.Popen[bytes], began: float) -> Cost:
    """Wait for a process; its cost since `began` (time.perf_counter)."""
    pidfd = os.pidfd_open(process.pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    highest: dict[int, int] = {}
    try:
        while not poller.poll(_LOOK_S * 1000):
            note_memory(process.pid, highest)
            if time.perf_counter() - began > _DEADLINE_S:
                process.kill()
        wall = time.perf_counter() - began
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        os.close(pidfd)
    process.returncode = os.waitstatus_to_exitcode(status)
    rss = max(sum(highest.values()), usage.ru_maxrss * 1024)
    return Cost(wall, usage.ru_utime + usage.ru_stime, rss, process.returncode)


def note_memory(pid: int, highest: dict[int, int]) -> None:
    """Put the highest resident memory so far of a process and its children into `highest`, by pid."""
    for one in (pid, *children(pid)):
        try:
            with open(f"/proc/{one}/status", encoding="utf-8", errors="replace") as lines:
                found = [line for line in lines if line.startswith("VmHWM:")]
        except OSError:
            continue
        if found:
            highest[one] = int(found[0].split()[1]) * 1024


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        texts = [Path(f"/proc/{pid}/task/{task}/children").read_text() for task in tasks]
    except OSError:
        return []
    return [int(word) for text in texts for word in text.split()]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, its children and what these have waited for, so far."""
    total = 0.0
    for one in (pid, *children(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15])) / _TICKS  # utime, stime, cutime, cstime: proc_pid_stat(5)
    return total


def load_of(pid: int, seconds: float) -> float:
    """Per cent of a core that a process and its children use over the next `seconds`."""
    before, began = cpu_seconds(pid), time.perf_counter()
    pass_time(seconds)
    return 100 * (cpu_seconds(pid) - before) / (time.perf_counter() - began)


def pass_time(seconds: float) -> None:
    """Let a load run for this long: the measuring is the waiting."""
    threading.Event().wait(seconds)


def interleaved(rounds: int, *works: Callable[[], T]) -> list[list[T]]:
    """What each of the works gives, run in turns, so that a slow minute of the machine meets all of them."""
    results: list[list[T]] = [[] for _ in works]
    for _ in range(rounds):
        for result, work in zip(results, works, strict=True):
            result.append(work())
    return results


def walls(costs: Sequence[Cost]) -> float:
    """The median wall time."""
    return median(cost.wall for cost in costs)


def cpus(costs: Sequence[Cost]) -> float:
    """The median processor time."""
    return median(cost.cpu for cost in costs)
