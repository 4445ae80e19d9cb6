"""record-300k: 300,000 packets a second into a file: what is lost, and the processor time of a packet."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench.measure import NETTOP, cpu_seconds, ended, interleaved, pass_time, started
from tests.bench.report import Line, Peer, line
from tests.bench.world import World, flood_rate, wait_for_capture
from tests.kernel.namespaces import command_in

RATE = 300_000
RATIO = 1.5


@dataclass(frozen=True, slots=True)
class Recorded:
    """One capture of the flood."""

    rate: float
    packets: int
    cpu: float  # in all
    load: float  # of it, since the flood began


def record_300k(world: World) -> Iterator[Line]:
    """The same flood recorded by nettop, tcpdump and dumpcap in turn."""
    count = world.size(1_500_000, 20_000)
    ns = world.netns(tracked=False)
    out = str(world.scratch / "recorded.pcapng")
    ours, tcpdump, dumpcap = interleaved(
        world.rounds,
        partial(_record, world, ns, count, [NETTOP, "record", "--netns", ns, "-i", "veth0", "-w", out]),
        partial(
            _record, world, ns, count, command_in(ns, "tcpdump", "-Z", "root", "-i", "veth0", "-B", "65536", "-w", out)
        ),
        partial(_record, world, ns, count, command_in(ns, "dumpcap", "-q", "-i", "veth0", "-B", "64", "-w", out)),
    )
    world.drop_netns(ns)
    yield from _lines(count, ours, {"tcpdump -w": tcpdump, "dumpcap": dumpcap})


def _lines(count: int, ours: Sequence[Recorded], peers: dict[str, Sequence[Recorded]]) -> Iterator[Line]:
    rate = median(one.rate for one in ours)
    losses = ", ".join(f"{name} {count - _fewest(runs):,}" for name, runs in peers.items())
    what = f"{count:,} packets at {rate:,.0f}/s: lost"
    yield line("record-300k", what, max(0, count - _fewest(ours)), "packets", most=0, note=f"peers: {losses}")
    for name, runs in peers.items():
        most = RATIO if name.startswith("tcpdump") else None
        yield line("record-300k", "  CPU of a packet", _each(ours, "load", count), "µs",
                   peer=Peer(name, _each(runs, "load", count)), most_ratio=most)  # fmt: skip
    began = median(one.cpu - one.load for one in ours)
    peer = Peer("tcpdump -w", _of(peers["tcpdump -w"], "cpu"))
    yield line("record-300k", "  CPU of all, start-up with it", _of(ours, "cpu"), peer=peer, most_ratio=RATIO,
               note=f"start-up {began:.2f} s")  # fmt: skip


def _fewest(runs: Sequence[Recorded]) -> int:
    return min(one.packets for one in runs)


def _of(runs: Sequence[Recorded], name: str) -> float:
    return float(median(getattr(one, name) for one in runs))


def _each(runs: Sequence[Recorded], name: str, count: int) -> float:
    return _of(runs, name) / count * 1e6


def _record(world: World, ns: str, count: int, argv: Sequence[str]) -> Recorded:
    said, settle = world.scratch / "said", world.seconds(0.5, 0.2)  # a ring's last block retires by time
    with said.open("wb") as stderr:
        process = started(argv, stderr=stderr)
        wait_for_capture(ns)
        pass_time(settle)
        before = cpu_seconds(process.pid)
        printed, _ = world.flood(ns, count, RATE, subprocess.PIPE).communicate()
        pass_time(settle)
        process.send_signal(signal.SIGINT)
        cost = ended(process, time.perf_counter())
    (world.scratch / "recorded.pcapng").unlink()
    return Recorded(flood_rate(printed), _captured(said), cost.cpu, cost.cpu - before)


def _captured(said: Path) -> int:
    """`N packets` as nettop and tcpdump say at their end, `Packets captured: N` as dumpcap does."""
    text = said.read_text(errors="replace")
    found = re.search(r"Packets captured: (\d+)", text) or re.search(r"([\d,]+) packets", text)
    if found is None:
        raise RuntimeError(f"nothing was captured: {text!r}")
    return int(found[1].replace(",", ""))
