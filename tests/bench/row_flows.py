"""dump-1m, sort-filter: the whole conntrack table from the kernel to a sorted, filterable list."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median

from tests.bench import child
from tests.bench.measure import NETTOP, interleaved, run, walls
from tests.bench.report import Line, Peer, line
from tests.bench.terminal import Terminal
from tests.bench.world import World
from tests.kernel.namespaces import command_in

RSS = 350  # MB
SORTED, GROUPED = 0.2, 0.3  # s


def dump_1m(world: World) -> Iterator[Line]:
    """Every flow from the kernel to a sorted top 20, against `conntrack -L`, pyroute2, and a bare recv loop."""
    flows = world.size(1_000_000, 3_000)
    small = world.size(20_000, 1_000)
    seconds_small = child.bare(world.flows(small), "pyroute2")["seconds"]
    ns = world.flows(flows)
    ours, peer, floor = interleaved(
        world.rounds,
        partial(run, [NETTOP, "flows", "--netns", ns, "--sort", "bytes", "-n", "20"]),
        partial(run, command_in(ns, "conntrack", "-L")),
        lambda: child.bare(ns, "dump")["seconds"],
    )
    what = f"{flows:,} flows to a sorted top 20"
    took, bare = walls(ours), median(floor)
    yield line("dump-1m", what, took, peer=Peer("conntrack -L", walls(peer)), floor=bare, most_ratio=0.9)
    beyond = took - bare
    note = f"the work beyond the bare recv loop: {beyond:.2f} s"
    extrapolated = Peer("pyroute2", seconds_small * flows / small)
    yield line("dump-1m", "  the same beside pyroute2's dump", took, peer=extrapolated, most_ratio=1 / 30,
               note=f"pyroute2 extrapolated from {small:,} flows in {seconds_small:.2f} s; {note}")  # fmt: skip
    rss = max(cost.rss for cost in ours) / 1e6
    yield line("dump-1m", "  memory, the broker's with it", rss, "MB", most=RSS)


def sort_filter(world: World) -> Iterator[Line]:
    """A screenful of a table sorted, filtered and grouped anew; iptstate on a hundredth of the flows."""
    flows = world.size(1_000_000, 3_000)
    small = world.size(10_000, 500)
    ns = world.flows(small)
    iptstate = _on_terminal(command_in(ns, "iptstate", "-1"))
    own = child.answer(child.command("table_child", ns))
    found = child.answer(child.command("table_child", world.flows(flows)))
    for what, most in (("sort", SORTED), ("filter", SORTED), ("group", GROUPED)):
        worst = max(found[what], key=found[what].get)
        others = ", ".join(f"{word} {1000 * took:.0f}" for word, took in found[what].items())
        label = f"{found['flows']:,} flows: {what} ({worst})"
        yield line("sort-filter", label, found[what][worst], most=most, note=f"ms: {others}")
    yield line("sort-filter", f"  {small:,} flows: sort", max(own["sort"].values()),
               peer=Peer("iptstate -1", iptstate), note="iptstate's one run has its own dump in it")  # fmt: skip


def _on_terminal(argv: list[str]) -> float:
    """Wall time of a program that measures its terminal."""
    terminal = Terminal()
    try:
        terminal.start(*argv)
        return terminal.ended() - terminal.began
    finally:
        terminal.close()
