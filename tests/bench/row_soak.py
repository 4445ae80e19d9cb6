"""soak: memory of the app and its broker while a table of 200,000 flows has 20,000 events a second, for minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench import child, measure
from tests.bench.report import Line, line
from tests.bench.world import World
from tests.kernel.namespaces import command_in, run_in

RATE = 20_000
EVERY_S = 2.0
WARM_S = 90.0  # until every ring is full, every row was used once, and the allocator has met the largest bursts
WINDOW = 15  # samples: the least of each is what stays when a dump's buffers are gone again
GROWTH = 2.0  # per cent of the memory, over the whole of the run


def soak(world: World) -> Iterator[Line]:
    """Memory every two seconds, once it is warm: how much of it stays more and more, and how far it swings."""
    flows = world.size(200_000, 2_000)
    seconds = world.soak_minutes * 60 if world.soak_minutes else world.seconds(60, 3)
    warm = world.seconds(WARM_S, 1)
    ns = world.netns()
    world.room_for(2 * flows)
    run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=3600")
    with child.watcher(ns) as watching:
        samples, sent, load = _sampled(watching.process.pid, ns, flows, warm, seconds)
        found = watching.end()
    world.drop_netns(ns)
    floor = _floor(samples)
    rate, trend, swing = sent["rate"], _trend(floor), samples[:, 1].max() - samples[:, 1].min()
    what = f"{rate:,.0f} events/s, {found['flows']:,} flows, {seconds:.0f} s: memory grows by"
    size = f"{floor[0, 1]:.1f} to {floor[-1, 1]:.1f} MB, most − least {swing:.1f} MB"
    note = f"of it, by its trend, broker with it: {size}; lost {found['lost']}"
    yield line("soak", what, trend, "%", most=GROWTH, note=note)
    yield line("soak", "  processor, while windows are asked for", load, "%", note="of a core, broker with it")


def _sampled(pid: int, ns: str, flows: int, warm: float, seconds: float) -> tuple[np.ndarray, dict[str, float], float]:
    """Rows of seconds and MB; what was sent; per cent of a core."""
    argv = [sys.executable, "-m", "tests.bench.churner", str(flows), str(RATE), str(warm + seconds)]
    churner = measure.started(command_in(ns, *argv), stdout=subprocess.PIPE)
    assert churner.stdout is not None
    try:
        churner.stdout.readline()
        measure.pass_time(warm)
        cpu, rows = measure.cpu_seconds(pid), []
        for turn in range(max(3, int(seconds / EVERY_S))):
            rows.append((turn * EVERY_S, memory(pid) / 1e6))
            measure.pass_time(min(EVERY_S, seconds / 3))
        load = 100 * (measure.cpu_seconds(pid) - cpu) / seconds
        sent: dict[str, float] = json.loads(churner.stdout.readline())
    finally:
        churner.kill()
        churner.wait()
    return np.array(rows), sent, load


def _floor(samples: np.ndarray) -> np.ndarray:
    """The row of the least memory in each window, at least two."""
    parts = np.array_split(samples, max(2, len(samples) // WINDOW))
    return np.array([part[part[:, 1].argmin()] for part in parts])


def _trend(samples: np.ndarray) -> float:
    """Growth of a line through the samples, in per cent of where it begins."""
    slope, start = np.polyfit(samples[:, 0] - samples[0, 0], samples[:, 1], 1)
    return float(100 * slope * (samples[-1, 0] - samples[0, 0]) / start)


def memory(pid: int) -> int:
    """Anonymous memory of a process and its children, in bytes: what they allocated, shared pages counted once.

    Pages of files (libraries) are left out: how many of them count depends on who else has them mapped.
    """
    total = 0
    for one in (pid, *measure.children(pid)):
        text = Path(f"/proc/{one}/smaps_rollup").read_text(encoding="utf-8", errors="replace")
        total += sum(int(row.split()[1]) for row in text.splitlines() if row.startswith("Pss_Anon:"))
    return total * 1024
