"""rules-10k: ten thousand rules printed, drawn, and polled."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import median

from tests.bench import child
from tests.bench.measure import NETTOP, interleaved, run, walls
from tests.bench.report import Line, Peer, line
from tests.bench.world import World
from tests.kernel.namespaces import command_in, run_in


def rules_10k(world: World) -> Iterator[Line]:
    """`nettop rules --json` beside nft's listing; then the live session: how soon it stands, what it costs to keep."""
    rules = world.size(10_000, 300)
    ns = world.netns()
    ports = "".join(f"add rule inet bench c tcp dport {1 + i} counter accept\n" for i in range(rules))
    run_in(ns, "nft", "-f", "-", stdin=f"add chain inet bench c {{ type filter hook input priority 0; }}\n{ports}")
    ours, nft, nft_json = interleaved(
        world.rounds,
        partial(run, [NETTOP, "rules", "--json", "--netns", ns]),
        partial(run, command_in(ns, "nft", "list", "ruleset")),
        partial(run, command_in(ns, "nft", "-j", "list", "ruleset")),
    )
    took = walls(ours)
    yield line("rules-10k", f"{rules:,} rules as JSON lines", took, peer=Peer("nft list", walls(nft)))
    yield line("rules-10k", "  the same", took, peer=Peer("nft -j list", walls(nft_json)))
    words = [ns, str(rules), str(world.seconds(10, 0.5))]
    found = [child.answer(child.command("rules_child", *words)) for _ in range(world.rounds)]
    world.drop_netns(ns)
    note = f"from the broker's start {median(one['with_broker'] for one in found):.2f} s"
    yield line("rules-10k", "  drawn by the live session", median(one["drawn"] for one in found), most=1, note=note)
    load = median(one["load"] for one in found)
    yield line("rules-10k", "  kept up to date, all polls", load, "%", most=5, note="of a core, broker with it")
