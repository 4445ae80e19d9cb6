"""events-100k: nothing lost of 100,000 conntrack events a second, as text, in the models, and with the screen on."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import child
from tests.bench.measure import NETTOP, ended, interleaved, started
from tests.bench.report import Line, Peer, line
from tests.bench.terminal import Terminal, lost_of, nettop_on, number_of
from tests.bench.world import World, flood_rate, wait_for_listener, wait_until_read
from tests.kernel.namespaces import command_in

RATE = 100_000
SETTLED_S = 5.0  # after the last event was read from its socket, for it to be on the screen


def events_100k(world: World) -> Iterator[Line]:
    """Loss in per cent of the NEW events sent, for each listener in turn."""
    count = int(RATE * world.seconds(10, 0.3))
    ours, peer = interleaved(world.rounds, lambda: _as_lines(world, count), lambda: _conntrack(world, count))
    rate = min(rate for rate, _ in ours)
    what = f"{count:,} events at {rate:,.0f}/s: lost by `events --json`"
    bare = _bare(world, count)
    yield line("events-100k", what, _lost(ours), "%", peer=Peer("conntrack -E", _lost(peer)), floor=bare, most=0,
               note="% of NEW events that never came; floor: a bare recv loop's")  # fmt: skip
    rate, lost, found = _session(world, count)
    answer = 1e3 * found["answer_p95"]
    note = f"at {rate:,.0f}/s; header: lost {found['lost']}; a window is answered in p95 {answer:.0f} ms"
    yield line("events-100k", "  lost by the session, models live", lost, "%", most=0, note=note)
    rate, lost, header = _app(world, count)
    yield line("events-100k", "  lost by the app on a pty", lost, "%", most=0,
               note=f"at {rate:,.0f}/s; its header: {header}")  # fmt: skip


def _lost(runs: Sequence[tuple[float, float]]) -> float:
    return median(lost for _, lost in runs)


def _as_lines(world: World, count: int) -> tuple[float, float]:
    ns = world.netns()
    out = world.scratch / "events"
    with out.open("wb") as file:
        process = started([NETTOP, "events", "--json", "--netns", ns], stdout=file)
        rate = _flooded(world, ns, count)
        _interrupt(process)
    lost = 100 * (1 - _lines_with(out, b'"event":"new"') / count)
    world.drop_netns(ns)
    return rate, lost


def _conntrack(world: World, count: int) -> tuple[float, float]:
    ns = world.netns()
    out = world.scratch / "events"
    with out.open("wb") as file:
        process = started(command_in(ns, "conntrack", "-E"), stdout=file)
        rate = _flooded(world, ns, count)
        _interrupt(process)
    lost = 100 * (1 - _lines_with(out, b"[NEW]") / count)
    world.drop_netns(ns)
    return rate, lost


def _bare(world: World, count: int) -> float:
    ns = world.netns()
    process = started(command_in(ns, *child.command("bare", "listen")), stdout=subprocess.PIPE)
    _flooded(world, ns, count)
    printed, _ = process.communicate()
    world.drop_netns(ns)
    events = float(re.findall(rb'"events": (\d+)', printed)[0])
    return max(0.0, 100 * (1 - events / count))


def _session(world: World, count: int) -> tuple[float, float, dict[str, Any]]:
    ns = world.netns()
    with child.watcher(ns) as watching:
        rate = _flooded(world, ns, count)
        found = watching.end()
    world.drop_netns(ns)
    return rate, 100 * (1 - found["new"] / count), found


def _app(world: World, count: int) -> tuple[float, float, str]:
    """The events view of the app counts what it was given; its header says what it knows it lost."""
    ns = world.netns()
    with nettop_on(Terminal(), "--netns", ns) as app:
        app.until(b"Flows]")
        app.type(b"2")
        app.until(b"[2 Events]")
        rate = _flooded(world, ns, count, app)
        shown, header = _events_shown(app, count)
    world.drop_netns(ns)
    return rate, 100 * (1 - shown / count), header


def _events_shown(app: Terminal, count: int) -> tuple[int, str]:
    """How many events the app has, once it has all of them or a few seconds later; and its header's words."""
    end = time.perf_counter() + SETTLED_S
    while True:
        app.look(0.5)
        screen = app.screen()
        shown = number_of(screen, rb"([\d,]+) events") + number_of(screen, rb"([\d,]+) older evicted")
        if shown >= count or time.perf_counter() > end:
            return shown, f"lost {lost_of(screen)}"


def _flooded(world: World, ns: str, count: int, app: Terminal | None = None) -> float:
    """Flood once somebody listens; returns the rate when all of it was read."""
    wait_for_listener(ns)
    process = world.flood(ns, count, RATE, subprocess.PIPE)
    while app is not None and process.poll() is None:
        app.look(0.05)
    printed, _ = process.communicate()
    wait_until_read(ns)
    return flood_rate(printed)


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    ended(process, time.perf_counter())


def _lines_with(path: Path, word: bytes) -> int:
    with path.open("rb") as lines:
        return sum(word in text for text in lines)
