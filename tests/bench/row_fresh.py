"""fresh: from a packet to its flow on the screen; from a loss of most events to a table that is the kernel's again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from queue import SimpleQueue
from statistics import median

import numpy as np

from nettop.broker.start import start
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests.bench.report import Line, line
from tests.bench.terminal import Terminal, nettop_on
from tests.bench.world import World
from tests.kernel.namespaces import poll, run_in

FIRST_PORT = 40_001  # tests.flood stays far below
TINY = 4096  # bytes of a buffer for a handful of events
# Sends one packet there, and says when, by the clock that all processes share.
_SEND = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    print(time.perf_counter())
    out.sendto(b"x", ("10.9.0.1", int(sys.argv[1])))
"""


def fresh(world: World) -> Iterator[Line]:
    """A new flow on a pty, beside 200 others; then the session's table after a flood into a tiny buffer."""
    ns = world.flows(200)
    took = _new_flows(ns, world.size(25, 3))
    p50, p90 = (float(np.percentile(took, q)) * 1e3 for q in (50, 90))
    note = f"ms: p50 {p50:.0f}, most {1e3 * max(took):.0f}; {len(took)} flows"
    yield line("fresh", "a packet to its flow on the screen: p90", p90, "ms", most=200, note=note)
    count = world.size(20_000, 1_000)
    again = [_resynced(world, count) for _ in range(world.rounds)]
    note = f"{count:,} flows, of whose events {again[0][1]} never came"
    yield line("fresh", "  after a loss, to the kernel's table", median(one for one, _ in again), most=2, note=note)


def _new_flows(ns: str, count: int) -> list[float]:
    """Seconds from each packet's sending to the flow's port on the terminal; only such flows are shown."""
    with nettop_on(Terminal(), "--netns", ns) as app:
        app.until(b"200 flows")
        app.type(b"/")
        app.look(0.3)
        app.type(f"dst portrange {FIRST_PORT}-{FIRST_PORT + count}\r".encode())
        app.until(b"0 match")
        return [_shown_after(app, ns, FIRST_PORT + i) for i in range(count)]


def _shown_after(app: Terminal, ns: str, port: int) -> float:
    sent = float(run_in(ns, sys.executable, "-c", _SEND, str(port)))
    shown = app.until(b":%d" % port)
    app.look(0.1)
    return shown - sent


def _resynced(world: World, count: int) -> tuple[float, str]:
    """Seconds from the flood's end until as many flows are shown as conntrack counts, and how many events were lost."""
    ns = world.netns()
    with start("root", confine=False) as broker:
        session = LiveSession(broker, ns, interval=1000.0, buffer=TINY)
        try:
            poll(lambda: _shown(session) == 0 and session.status().clock_ns, what="the session")
            world.flood(ns, count).wait()
            ended = time.perf_counter()
            wanted = int(run_in(ns, "conntrack", "-C"))
            poll(lambda: _shown(session) == wanted, what="the kernel's table")
            return time.perf_counter() - ended, session.status().lost.removesuffix(" kernel")
        finally:
            session.close()
            world.drop_netns(ns)


def _shown(session: LiveSession) -> int:
    answer: SimpleQueue[Snapshot] = SimpleQueue()
    session.ask("flows", ViewSpec(()), answer.put)
    return answer.get(timeout=30).total
