"""polling: what keeping a big table up to date costs when nobody touches anything."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import child
from tests.bench.measure import load_of, pass_time
from tests.bench.report import Line, line
from tests.bench.world import World


def polling(world: World) -> Iterator[Line]:
    """Per cent of a core of the live session and its broker, at two sizes of the table."""
    for flows in (world.size(100_000, 1_000), world.size(1_000_000, 3_000)):
        ns = world.flows(flows)
        with child.watcher(ns, "--quiet") as watching:
            pass_time(world.seconds(5, 0.1))
            load = load_of(watching.process.pid, world.seconds(20, 0.5))
            found = watching.end()
        what = f"{flows:,} flows polled by default"
        yield line("polling", what, load, "%", most=5, note=f"of a core, broker with it; {found['dumps']} dumps")
