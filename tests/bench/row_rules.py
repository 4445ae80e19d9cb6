"""rules-10k: ten thousand rules printed, drawn, and polled; a page of a large set."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from functools import partial
from statistics import median

from tests.bench import child
from tests.bench.measure import NETTOP, interleaved, run, started, walls
from tests.bench.report import Line, Peer, line
from tests.bench.world import World
from tests.kernel.commits import commits
from tests.kernel.namespaces import command_in, run_in

_COMMITS = 20  # a second, in another table
_PAGE = 1_000  # elements


def rules_10k(world: World) -> Iterator[Line]:
    """`nettop rules --json` beside nft's listing; then the live session: how soon it stands, what it costs to keep."""
    rules = world.size(10_000, 300)
    ns = _namespace(world, rules)
    ours, nft_json = interleaved(
        world.rounds,
        partial(run, [NETTOP, "rules", "--json", "--netns", ns]),
        partial(run, command_in(ns, "nft", "-j", "list", "ruleset")),
    )
    peer = Peer("nft -j list", walls(nft_json))
    yield line("rules-10k", f"{rules:,} rules as JSON, half xtables", walls(ours), peer=peer, most_ratio=2)
    words = [ns, str(rules), str(world.seconds(10, 0.5))]
    found = [child.answer(child.command("rules_child", *words)) for _ in range(world.rounds)]
    note = f"from the broker's start {median(one['with_broker'] for one in found):.2f} s"
    yield line("rules-10k", "  drawn by the live session", median(one["drawn"] for one in found), most=1, note=note)
    load = median(one["load"] for one in found)
    yield line("rules-10k", "  kept up to date, all polls", load, "%", most=5, note="of a core, broker with it")
    load = median(_load_under_commits(ns, words) for _ in range(world.rounds))
    note = f"of a core, {_COMMITS} commits/s in another table"
    yield line("rules-10k", "  the same while others commit", load, "%", most=5, note=note)
    world.drop_netns(ns)
    yield from _set_page(world)


def _namespace(world: World, rules: int) -> str:
    """A namespace with rules of nft, and as many of iptables-nft with xt matches."""
    ns = world.netns()
    half = range(1, 1 + rules // 2)
    nft = "".join(f"add rule inet bench c tcp dport {port} counter accept\n" for port in half)
    run_in(ns, "nft", "-f", "-", stdin=f"add chain inet bench c {{ type filter hook input priority 0; }}\n{nft}")
    match = "-m conntrack --ctstate NEW -m comment --comment"
    xt = "".join(f"-A INPUT -p tcp -m multiport --dports {port},{port + 1} {match} {port} -j ACCEPT\n" for port in half)
    run_in(ns, "iptables-nft-restore", stdin=f"*filter\n:INPUT ACCEPT [0:0]\n{xt}COMMIT\n")
    return ns


def _load_under_commits(ns: str, words: list[str]) -> float:
    """Per cent of a core from the first commit on, once all is drawn: nft may list no rules while others commit."""
    process = started(child.command("rules_child", *words, "--wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    run_in(ns, "nft", "-f", "-", stdin="add table inet other\nadd chain inet other c\n")  # another program's
    with commits(ns, lambda _: "flush chain inet other c; add rule inet other c counter", 1 / _COMMITS):
        answer, _ = process.communicate(b"\n")
    return float(json.loads(answer)["load"])


def _set_page(world: World) -> Iterator[Line]:
    """The elements of a large set, a page at a time."""
    count = world.size(100_000, 5_000)
    ns = world.netns()
    members = ", ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(count))
    run_in(ns, "nft", "-f", "-", stdin=f"add set inet bench s {{ type ipv4_addr; elements = {{ {members} }}; }}\n")
    found = [child.answer(child.command("set_child", ns, str(count), str(_PAGE))) for _ in range(world.rounds)]
    world.drop_netns(ns)
    page = median(one["page"] for one in found)
    note = f"{_PAGE:,} elements, the slowest page; all {count:,} in {median(one['all'] for one in found):.2f} s"
    yield line("rules-10k", f"  a page of a set of {count:,}", page, most=0.3, note=note)
