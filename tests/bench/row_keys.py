"""key-to-paint: how soon the app answers a key through a pty under load; its rest, its first paint."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from tests.bench.measure import load_of
from tests.bench.report import Line, line
from tests.bench.terminal import Terminal, lost_of, nettop_on
from tests.bench.world import World, flood_rate, wait_for_listener

RATE = 100_000
SIZE = Path("/proc/sys/net/netfilter/nf_conntrack_buckets")
# A key, and what it alone draws.
VIEWS = ((b"2", b"[2 Events]"), (b"1", b"[1 Flows]"), (b"4", b"[4 Packets]"), (b"1", b"[1 Flows]"),
         (b"5", b"[5 Counters]"), (b"2", b"[2 Events]"), (b"3", b"[3 Chains]"), (b"1", b"[1 Flows]"))  # fmt: skip
LETTERS = b"QWZXJ"  # in the filter's prompt; nothing else on the screen has them
_PAINTED = b"1 Flows]"


def key_to_paint(world: World) -> Iterator[Line]:
    """At rest, and from exec to the first paint; then keys under 100,000 events and packets a second.

    At rest first: once the row's flood has raised the hash to a million buckets, each dump of 300 flows walks those.
    """
    quiet = world.flows(300)
    rest = _idle(quiet, world.seconds(10, 0.5))
    paints = [_first_paint(quiet) for _ in range(world.rounds)]
    world.clear()
    seconds = world.seconds(10, 0.3)
    ns = world.netns()
    yield from _loaded(world, ns, int(RATE * seconds))
    world.drop_netns(ns)
    yield rest
    yield line("key-to-paint", "  exec to the first paint", median(first for first, _ in paints), most=0.5,
               note=f"to the first flow {median(row for _, row in paints):.2f} s")  # fmt: skip


def _loaded(world: World, ns: str, count: int) -> Iterator[Line]:
    with nettop_on(Terminal(), "--netns", ns, "-i", "veth0") as app:
        app.until(_PAINTED)
        wait_for_listener(ns)
        process = world.flood(ns, count, RATE, subprocess.PIPE)
        try:
            app.look(0.3)
            took = _keys(app, process, world.size(len(VIEWS), 2), world.size(len(LETTERS), 1))
            printed, _ = process.communicate()
        finally:
            process.kill()
        lost = lost_of(app.screen())
    rate = flood_rate(printed)
    p50, p95, p99 = (float(np.percentile(took, q)) * 1e3 for q in (50, 95, 99))
    what = f"key to paint at {rate:,.0f} events and packets/s: p95"
    note = f"ms: p50 {p50:.1f}, p99 {p99:.1f}, most {max(took) * 1e3:.0f}; {len(took)} keys; header: lost {lost}"
    yield line("key-to-paint", what, p95, "ms", most=40, note=note)


def _keys(app: Terminal, flood: subprocess.Popen[bytes], views: int, letters: int) -> list[float]:
    """Seconds from each key to what it draws, for as long as the flood lasts."""
    took: list[float] = []
    pause = random.Random(5)
    while flood.poll() is None:
        for key, words in VIEWS[:views]:
            took.append(_press(app, key, words))
            app.look(pause.uniform(0.03, 0.2))
        app.type(b"/")
        app.look(0.2)
        for letter in LETTERS[:letters]:
            took.append(_press(app, bytes((letter,)), bytes((letter,))))
            app.look(pause.uniform(0.03, 0.2))
        app.type(b"\x7f" * letters + b"\r")  # not Esc: with the next key it could be read as Alt and that key
        app.look(0.3)
    return took


def _press(app: Terminal, key: bytes, words: bytes) -> float:
    began = time.perf_counter()
    app.type(key)
    return app.until(words) - began


def _idle(ns: str, seconds: float) -> Line:
    with nettop_on(Terminal(), "--netns", ns) as app:
        app.until(b"300")
        app.look(0.3 * seconds)
        load = _load_while_drawing(app, seconds)
    return line("key-to-paint", "  idle, 300 flows on the screen", load, "%", most=2,
                note=f"of a core, broker with it; a hash of {int(SIZE.read_text()):,} buckets")  # fmt: skip


def _load_while_drawing(app: Terminal, seconds: float) -> float:
    """The pty must be read meanwhile, or the app would block."""
    assert app.process is not None
    loads, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        loads.append(load_of(app.process.pid, min(0.5, seconds)))
        app.look(0)
    return sum(loads) / len(loads)


def _first_paint(ns: str) -> tuple[float, float]:
    with nettop_on(Terminal(), "--netns", ns) as app:
        painted = app.until(_PAINTED) - app.began
        row = app.until(b"UNREPLIED") - app.began
        return painted, row
