"""trace-1k: 1,000 traced packets a second through four chains, each with its way, and none of them lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench.measure import NETTOP, ended, load_of, started
from tests.bench.report import Line, line
from tests.bench.world import World
from tests.kernel.namespaces import command_in, poll, run_in

RATE = 1_000
_PORT = 4242
_RULES = """
add chain inet bench one
add chain inet bench two
add chain inet bench three
add rule inet bench o jump one
add rule inet bench one jump two
add rule inet bench two udp dport 4242 jump three
add rule inet bench three counter accept
add chain inet bench post { type filter hook postrouting priority 0; }
"""
_SENDER = """import socket, sys, time
count, rate, port = map(int, sys.argv[1:])
s, began = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.monotonic()
for at in range(count):
    s.sendto(b"x" * (at % 100), ("10.1.2.3", port))
    time.sleep(max(0.0, began + (at + 1) / rate - time.monotonic()))
"""
_FLOOD = """import socket, sys, time
s, end, sent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.monotonic() + float(sys.argv[1]), 0
while time.monotonic() < end:
    for _ in range(100):
        s.sendto(b"x", ("10.1.2.3", 4343))
    sent += 100
print(sent)
"""


def trace_1k(world: World) -> Iterator[Line]:
    """Packets that were sent and not printed with their whole way, in per cent, and the load of a core."""
    seconds = world.seconds(10, 0.5)
    count = int(RATE * seconds)
    ns, out = world.netns(), world.scratch / "traces"
    run_in(ns, "nft", "-f", "-", stdin=_RULES)
    with out.open("wb") as file:
        argv = [NETTOP, "trace", f"udp port {_PORT}", "--json", "--rate", str(2 * RATE), "--netns", ns]
        process = started(argv, stdout=file)
        poll(lambda: "nettop-" in run_in(ns, "nft", "list", "tables"), what="the tracing table")
        run_in(ns, sys.executable, "-c", _SENDER, str(count), str(RATE), str(_PORT))
        process.send_signal(signal.SIGINT)
        cost = ended(process, time.perf_counter())
    rows = [json.loads(text) for text in out.read_text().splitlines()]
    whole = sum(row["kind"] == "end" and row["verdict"] == "accept" for row in rows)
    steps = sum(row["kind"] == "step" for row in rows)
    gaps = sum(row["kind"] == "gap" for row in rows)
    load, rate = _load_beside_others(ns, world.seconds(10, 0.5))
    world.drop_netns(ns)
    note = f"{steps:,} steps, {gaps} gaps; % of packets without their whole way"
    yield line("trace-1k", f"{count:,} packets at {RATE:,}/s: lost by `trace --json`", 100 * (1 - whole / count), "%",
               most=0, note=note)  # fmt: skip
    yield line("trace-1k", "  its CPU time by packet", 1e6 * cost.cpu / count, "µs", note="start and broker included")
    note = "of a core, broker with it; the devices that a trace follows"
    yield line("trace-1k", f"  its load beside {rate:,.0f} other packets/s", load, "%", most=5, note=note)


def _load_beside_others(ns: str, seconds: float) -> tuple[float, float]:
    """Per cent of a core of a trace without a packet, and the packets a second that pass the device meanwhile."""
    process = started([NETTOP, "trace", f"udp port {_PORT}", "--netns", ns])
    poll(lambda: "nettop-" in run_in(ns, "nft", "list", "tables"), what="the tracing table")
    flood = started(command_in(ns, sys.executable, "-c", _FLOOD, str(seconds + 1)), stdout=subprocess.PIPE)
    load = load_of(process.pid, seconds)
    sent, _ = flood.communicate()
    process.send_signal(signal.SIGINT)
    process.wait()
    return load, int(sent) / (seconds + 1)
