"""`nettop rules` while the ruleset changes, and on what it could not get: its rows, its exit code, its stderr."""

from __future__ import annotations

import json
import re
import shutil
import sys
from itertools import count
from pathlib import Path

import pytest

from tests.kernel.commands import nettop
from tests.kernel.commits import repeated
from tests.kernel.namespaces import Lab, run_in

pytestmark = pytest.mark.kernel

RULES = 60
PACE_S = 0.05


class Churn:
    """A chain whose rules are replaced one at a time. `ports`: by handle, of every rule that there ever was."""

    def __init__(self, ns: str) -> None:
        self.ns, self.ports, self.alive = ns, dict[int, int](), list[int]()
        self.next_port = 20_000
        run_in(ns, "nft", "add table ip filter; add chain ip filter in")
        self.insert(range(1_000, 1_000 + RULES))

    def insert(self, ports: range, also: str = "") -> None:
        script = "".join(f"insert rule ip filter in tcp dport {port} counter accept\n" for port in ports)
        told = run_in(self.ns, "nft", "-a", "-e", "-f", "-", stdin=script + also)
        for port, handle in re.findall(r"tcp dport (\d+) counter .*# handle (\d+)", told):
            self.ports[int(handle)] = int(port)
            self.alive.append(int(handle))

    def change(self) -> None:
        """One commit: a new rule, and one less."""
        port, self.next_port = self.next_port, self.next_port + 1
        self.insert(range(port, port + 1), f"delete rule ip filter in handle {self.alive.pop(0)}\n")


def test_rules_listed_while_they_change_have_their_own_words_and_none_is_lost(lab: Lab) -> None:
    churn = Churn(lab.netns("churn"))
    with repeated(churn.change, PACE_S):
        listings = [nettop("rules", "--json", "--netns", churn.ns) for _ in range(4)]
    for done in listings:
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        rules = [row for row in rows if row["kind"] == "rule"]
        assert (done.returncode, done.stderr, len(rules)) == (0, "", RULES)
        assert all(f"dport {churn.ports[rule['handle']]} " in rule["text"] for rule in rules)


@pytest.mark.parametrize("tool", ["nft", "iptables"])
def test_rules_of_a_table_that_is_loaded_again_and_again_have_their_own_words(lab: Lab, tool: str) -> None:
    spec, base = lab.netns("reload"), 1_000

    def load(first: int) -> None:
        ports = range(first, first + RULES)  # each rule counts as many packets as its port says
        if tool == "nft":
            rules = "".join(f"tcp dport {port} counter packets {port} bytes 1 accept\n" for port in ports)
            script = f"table ip filter\ndelete table ip filter\ntable ip filter {{ chain in {{\n{rules}}}\n}}\n"
            run_in(spec, "nft", "-f", "-", stdin=script)
        else:
            match = "-m string --string a --algo bm -j ACCEPT"
            rules = "".join(f"[{port}:1] -A INPUT -p tcp -m tcp --dport {port} {match}\n" for port in ports)
            script = f"*filter\n:INPUT ACCEPT [0:0]\n{rules}COMMIT\n"
            run_in(spec, "iptables-nft-restore", "-c", stdin=script)

    load(base)
    firsts = count(base + RULES, RULES)
    with repeated(lambda: load(next(firsts)), PACE_S):
        listings = [nettop("rules", "--json", "--netns", spec).stdout for _ in range(3)]
    for listing in listings:
        rules = [row for row in map(json.loads, listing.splitlines()) if row["kind"] == "rule" and row["number"]]
        assert len(rules) == RULES
        assert all(rule["text"] is None or f"dport {rule['packets']} " in rule["text"] for rule in rules)


TREE = """
table inet fw {
    chain second { ip saddr 192.0.2.7 counter drop
    }
    chain first { counter jump second
    }
    chain in { type filter hook input priority 0; policy accept; counter jump first
    }
    chain early { type filter hook prerouting priority -2147483648; policy accept; counter
    }
}
table ip other {
    chain in { type filter hook input priority 0; policy drop; meta mark 7 drop
    }
}
"""


def test_rules_of_nft_in_a_table_of_iptables_have_the_words_of_nft(lab: Lab) -> None:
    spec = lab.netns("mixed")
    run_in(spec, "iptables-nft", "-A", "INPUT", "-p", "tcp", "-m", "multiport", "--dports", "80,443", "-j", "ACCEPT")
    vmap = "tcp dport vmap { 22 : accept, 23 : jump more }"
    run_in(spec, "nft", f"add chain ip filter more; add rule ip filter INPUT {vmap}; add table ip nat")
    run_in(spec, "nft", "add chain ip nat post; add rule ip nat post counter masquerade")
    done = nettop("rules", "--json", "--netns", spec)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    texts = {row["text"]: (row["backend"], row["jumps"], row["stale"]) for row in rows if row["kind"] == "rule"}
    assert (done.returncode, done.stderr) == (0, "")
    assert texts == {
        "-p tcp -m multiport --dports 80,443 -j ACCEPT": ("iptables-nft", [], False),
        vmap: ("nft", ["more"], False),
        "counter packets 0 bytes 0 masquerade": ("nft", [], False),
        "policy accept": ("iptables-nft", [], False),
    }


def test_a_listing_has_titles_for_its_numbers_and_a_nested_chain_is_indented(lab: Lab) -> None:
    spec = lab.netns("tree")
    run_in(spec, "nft", "-f", "-", stdin=TREE)
    lines = nettop("rules", "--netns", spec).stdout.splitlines()
    at = lines.index("  inet fw in   nft   priority 0 filter ?   policy accept")
    assert lines[at + 1] == "    CHAIN          #  PACKETS  BYTES  RULE"
    number, rule = lines[at + 1].index("#"), lines[at + 1].index("RULE")
    assert [line[number] for line in lines[at + 2 : at + 5]] == ["1", "1", "1"]
    assert [line[:number].rstrip() for line in lines[at + 2 : at + 5]] == ["", "    first", "      second"]
    texts = [line[rule:].partition("  #")[0] for line in lines[at + 2 : at + 6]]
    assert texts == ["▾ counter jump first", "  ▾ counter jump second", "    ip saddr 192.0.2.7 counter drop", "accept"]
    assert "  inet fw early   nft   priority min   policy accept" in lines


def test_a_filter_does_not_hide_that_the_order_of_two_chains_is_not_known(lab: Lab) -> None:
    spec = lab.netns("tie")
    run_in(spec, "nft", "-f", "-", stdin=TREE)
    for expression in ("chain second", "chain in and family inet"):
        told = nettop("rules", "--netns", spec, "--filter", expression).stdout
        assert "inet fw in   nft   priority 0 filter ?" in told and "?  another chain runs at the same place" in told


def test_a_rule_without_words_is_said_on_stderr_and_by_the_exit_code(lab: Lab) -> None:
    spec = lab.netns("missing")
    run_in(spec, "iptables-nft", "-A", "INPUT", *["-m", "string", "--string", "abc", "--algo", "bm", "-j", "DROP"])
    run_in(spec, "nft", "add rule ip filter INPUT ct state new accept")  # iptables-nft then prints nothing of the chain
    done = nettop("rules", "--netns", spec)
    assert done.returncode == 1
    assert re.match(r"nettop: 1 rule without words, in ip filter INPUT: .+\n$", done.stderr)
    assert "string" in done.stdout and "ct state new accept" in done.stdout and "xt match" not in done.stdout
    rows = [json.loads(line) for line in nettop("rules", "--json", "--netns", spec).stdout.splitlines()]
    texts = [row["text"] for row in rows if row["kind"] == "rule" and row["number"]]
    assert texts == [None, "ct state new accept"]


# getsockopt(ARPT_SO_GET_INFO) makes the table, as arptables-legacy does (linux/netfilter_arp/arp_tables.h).
MAKE_ARP_TABLE = """
import ctypes, socket
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
info, size = ctypes.create_string_buffer(b"filter", 68), ctypes.c_uint(68)
assert ctypes.CDLL(None).getsockopt(sock.fileno(), 0, 96, info, ctypes.byref(size)) == 0
"""


def test_tables_of_arptables_legacy_are_seen_or_said_to_be_unreadable(lab: Lab) -> None:
    spec = lab.netns("arp")
    run_in(spec, sys.executable, "-c", MAKE_ARP_TABLE)
    done = nettop("rules", "--netns", spec)
    if shutil.which("arptables-legacy", path="/usr/sbin:/sbin"):
        assert (done.returncode, done.stderr) == (0, "") and "arp filter INPUT   iptables-legacy" in done.stdout
    else:
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("nettop: rules of arptables-legacy: arptables-legacy is not installed")


def test_a_file_without_rules_is_told_apart_from_a_host_without_rules(lab: Lab, tmp_path: Path) -> None:
    plain = Path(__file__).parents[2] / "captures" / "icmp-errors.pcapng"
    bare = tmp_path / "bare.pcap"
    assert nettop("read", str(plain), "-w", str(bare)).returncode == 0
    for words in (["rules"], ["rules", "--json"]):
        done = nettop(*words, "-r", str(bare))
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.count("\n") == 1 and "holds no rules" in done.stderr
    empty = nettop("rules", "--netns", lab.netns("empty"))
    assert (empty.returncode, empty.stderr) == (0, "") and "no " in empty.stdout
