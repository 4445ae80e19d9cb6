"""polling: what keeping a big table up to date costs when nobody touches anything."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import child
from tests.bench.report import Line, line
from tests.bench.world import World


def polling(world: World) -> Iterator[Line]:
    """Per cent of a core of the live session and its broker, over whole rounds of dumps, at two sizes of the table."""
    for flows in (world.size(100_000, 1_000), world.size(1_000_000, 3_000)):
        ns = world.flows(flows)
        with child.watcher(ns, "--quiet") as watching:
            load, every = _load(watching, world.seconds(20, 0.1))
            watching.end()
        what = f"{flows:,} flows polled by default"
        note = f"of a core, broker with it; a dump every {every:.0f} s"
        yield line("polling", what, load, "%", most=5, note=note)
    flows = world.size(100_000, 1_000)
    with child.watcher(world.flows(flows), "--quiet", "--interval=1") as watching:
        load, every = _load(watching, world.seconds(20, 0.1))
        watching.end()
    note = f"of a core, broker with it; a dump every {every:.1f} s"
    yield line("polling", f"{flows:,} flows polled with --interval 1", load, "%", most=35, note=note)


def _load(watching: child.Watcher, seconds: float) -> tuple[float, float]:
    """From the end of the first dump to that of another, at least `seconds` later: per cent, and seconds a dump."""
    first = now = watching.dumped
    dumps = 0
    while not dumps or now["dumped"] - first["dumped"] < seconds:
        now = watching.line()
        dumps += 1
    took = now["dumped"] - first["dumped"]
    return 100 * (now["cpu"] - first["cpu"]) / took, took / dumps
