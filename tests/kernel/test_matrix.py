"""The matrix of chains of a live namespace, held to what nft, iptables-save and iptables-legacy-save say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from queue import SimpleQueue

import pytest

from nettop.broker.client import Broker
from nettop.model.ruleset.chain_matrix import MatrixSnapshot
from nettop.model.ruleset.hooks import LEGACY_TABLES
from nettop.model.ruleset.matrix import PATHS
from nettop.model.table import Snapshot, ViewSpec
from nettop.session.live import LiveSession
from tests import rulesets
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_opened_sets import searched

pytestmark = pytest.mark.kernel

NFT = """
table netdev early { chain in { type filter hook ingress device "lo" priority -500; policy accept; }; }
table inet asleep { flags dormant; chain x { type filter hook input priority 5; policy drop; }; }
table bridge br { chain f { type filter hook forward priority filter; policy drop; }; }
table arp a { chain in { type filter hook input priority filter; policy accept; }; }
"""
_NAT = {"prerouting": -100, "output": -100, "input": 100, "postrouting": 100}

Found = set[tuple[str, str, int, str]]  # path, hook, priority, table/chain


def in_the_picture(session: LiveSession) -> Found:
    """The places of all base chains, of all paths."""
    found: Found = set()
    for path in PATHS:
        answers: SimpleQueue[Snapshot] = SimpleQueue()
        columns = session.views["matrix"].default_columns
        session.ask("matrix", ViewSpec(columns, group=path, zeroes=True), answers.put)
        snapshot = answers.get(timeout=30)
        assert isinstance(snapshot, MatrixSnapshot)
        matrix = snapshot.matrix
        if matrix.path == path:
            found |= {
                (
                    path,
                    matrix.hooks[p.column],
                    int(matrix.priorities[p.row].split()[0]),
                    re.sub(r"^\S+ ", "", p.name[0]),
                )
                for p in matrix.places
                if p.ident is not None
            }
    return found


def paths_of(family: str) -> list[str]:
    return [path for path, (families, _) in PATHS.items() if family in families and " " not in path]


def as_nft_says(ns: str) -> Found:
    """The base chains of `nft -j list chains`. Those of nat run where the kernel's NAT does."""
    chains = [
        one["chain"] for one in json.loads(run_in(ns, "nft", "-j", "list", "chains"))["nftables"] if "chain" in one
    ]
    return {
        (path, c["hook"], _NAT[c["hook"]] if c["type"] == "nat" else c["prio"], f"{c['table']}/{c['name']}")
        for c in chains
        if "hook" in c
        for path in paths_of(c["family"])
        if path != "netdev"
    }


def as_legacy_says(ns: str, lock: str) -> Found:
    found: Found = set()
    for block in run_in(ns, "env", lock, "iptables-legacy-save").split("*")[1:]:
        table = block.split()[0]
        for chain in re.findall(r"^:(\S+) (?!-)", block, re.M):
            found.add(("IPv4", chain.lower(), LEGACY_TABLES[table][chain], f"{table}/{chain}"))
    return found


def test_every_base_chain_of_three_backends_has_the_place_that_the_tools_report(
    broker: Broker, lab: Lab, tmp_path: Path
) -> None:
    ns = lab.netns("m")
    run_in(ns, "iptables-nft-restore", stdin=rulesets.DOCKER)
    run_in(ns, "nft", "-f", "-", stdin=rulesets.FIREWALLD + rulesets.FAIL2BAN + NFT)
    lock = f"XTABLES_LOCKFILE={tmp_path / 'lock'}"  # that of the host is not writable in a user namespace
    run_in(ns, "env", lock, "iptables-legacy-restore", stdin=rulesets.UFW)
    session = LiveSession(broker, ns)
    try:
        expected = as_nft_says(ns) | as_legacy_says(ns, lock)
        poll(lambda: in_the_picture(session) == expected, what="the picture of the tools' chains")
    finally:
        session.close()


SETS = """
table inet s {
    set bad { type ipv4_addr; elements = { 203.0.113.77 } }
    set tcpok { type inet_service; flags interval; elements = { 443, 8000-8100 } }
    map ports { type inet_service : verdict; elements = { 7100 : drop } }
    set unused { type ipv4_addr; elements = { 203.0.113.78 } }
    chain in { type filter hook input priority 0; policy accept
        ip saddr @bad drop
        tcp dport @tcpok accept
        tcp dport vmap @ports
        tcp dport vmap { 7200 : drop }
        ip saddr { 198.51.100.0/24 } drop
    }
}
"""


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        *(("203.0.113.77", [1]), ("host 203.0.113.77", [1]), ("203.0.113.78", []), ("port 443", [2])),
        *((":8050", [2]), ("7100", [3]), ("7200", [4]), ("198.51.100.9", [5]), ("7101", [])),
    ],
)
def test_rules_are_found_by_what_their_sets_and_maps_hold(
    broker: Broker, lab: Lab, text: str, numbers: list[int]
) -> None:
    ns = lab.netns("f")
    run_in(ns, "nft", "-f", "-", stdin=SETS)
    session = LiveSession(broker, ns)

    def found() -> tuple[list[str], list[str]]:
        _, missing = searched(session, text)
        rows: SimpleQueue[Snapshot] = SimpleQueue()
        session.ask("rules", ViewSpec(("number", "rule"), height=50, isolated=True, find=text), rows.put)
        return [row.cells[0] for row in rows.get(timeout=30).rows], [*missing]

    def is_read() -> bool:
        rows: SimpleQueue[Snapshot] = SimpleQueue()
        session.ask("rules", ViewSpec(("number", "rule"), height=50, isolated=True), rows.put)
        shown = rows.get(timeout=30).rows
        return len(shown) == 5 and not any("no words" in row.cells[1] for row in shown)

    try:
        poll(is_read, what="the rules with their words")
        assert found() == ([str(number) for number in numbers], [])
    finally:
        session.close()


def test_every_rule_has_the_counters_and_the_words_that_the_tools_print(broker: Broker, lab: Lab) -> None:
    ns = lab.netns("r")
    run_in(ns, "iptables-nft-restore", stdin=rulesets.DOCKER)
    run_in(ns, "iptables-nft", "-I", "INPUT", "-p", "icmp", "-m", "comment", "--comment", "pings", "-j", "DOCKER-USER")
    run_in(ns, "nft", "-f", "-", stdin=rulesets.FAIL2BAN)
    run_in(ns, "ping", "-c", "3", "-i", "0.01", "127.0.0.1")
    session = LiveSession(broker, ns)
    columns = ("handle", "packets", "rule")

    def rows(words: str = "") -> list[tuple[str, str, str]]:
        answers: SimpleQueue[Snapshot] = SimpleQueue()
        session.ask("rules", ViewSpec(columns, height=500, isolated=True, words=words), answers.put)
        return [(row.cells[0], row.cells[1], row.whole) for row in answers.get(timeout=30).rows]

    try:
        saved = run_in(ns, "iptables-nft-save", "-c")
        kept = re.findall(r"^\[(\d+):\d+\] (-A .*)$", saved, re.M)
        poll(lambda: sorted((packets, text) for _, packets, text in rows() if text[:2] == "-A") == sorted(kept))
        assert ("6", "-A INPUT -p icmp -m comment --comment pings -j DOCKER-USER") in kept, "the traffic was counted"
        listed = dict(re.findall(r"^\t\t(.*) # handle (\d+)$", run_in(ns, "nft", "-a", "list", "ruleset"), re.M))
        theirs = {(handle, re.sub(r" packets \d+ bytes \d+", "", text)) for text, handle in listed.items()}
        poll(lambda: theirs <= {(handle, text) for handle, _, text in rows(words="nft")}, what="the words of nft")
    finally:
        session.close()
