"""What nettop says of a ruleset is what nft, iptables-save and iptables-legacy-save say of it, counters included."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nettop.batch import Batch, DumpMark, NetlinkMeta, Text
from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest
from nettop.decode.nftables.decoder import NftDecoder
from nettop.errors import BrokerError
from nettop.headless.rule_listing import lines
from nettop.kinds import TextKind
from nettop.linux.netlink import NETLINK_NETFILTER, NLMSG_DONE, NLMSG_ERROR, NLMSGHDR
from nettop.model.ruleset.chain_table import ChainTable
from nettop.model.ruleset.find import RuleFinder
from nettop.model.ruleset.rule_table import RuleTable
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.table import ViewSpec
from tests.kernel import namespaces
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.interop, pytest.mark.one_broker]

DUMPS = (ReadRequest.NFT_TABLES, ReadRequest.NFT_CHAINS, ReadRequest.NFT_RULES, ReadRequest.NFT_OBJECTS)
TEXTS = (
    TextKind.NFT_RULESET,
    TextKind.IPTABLES_SAVE,
    TextKind.IP6TABLES_SAVE,
    TextKind.ARPTABLES_SAVE,
    TextKind.EBTABLES_SAVE,
    TextKind.IPTABLES_LEGACY_SAVE,
    TextKind.IP6TABLES_LEGACY_SAVE,
)


def datagrams(fd: int) -> list[bytes]:
    """The answer to one dump, to its NLMSG_DONE or an error."""
    got: list[bytes] = []
    with socket.socket(fileno=socket.dup(fd)) as sock:
        sock.setblocking(True)
        sock.settimeout(30)
        while True:
            data = sock.recv(1 << 18)
            got.append(data)
            at = 0
            while at + 16 <= len(data):
                size, kind = NLMSGHDR.unpack_from(data, at)[:2]
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return got
                at += size + 3 & ~3


def batch_of(records: list[bytes], stream: int = 1, ts_ns: int = 0) -> Batch:
    sizes = np.array([len(record) for record in records], dtype=np.uint32)
    offsets = (np.cumsum(sizes) - sizes).astype(np.uint32)
    meta = NetlinkMeta(np.zeros(len(records), np.bool_))
    return Batch(stream, 0, b"".join(records), offsets, sizes, np.full(len(records), ts_ns, np.int64), meta)


class Watch:
    """A Ruleset fed by a real broker, the way the pipeline feeds it."""

    def __init__(self, broker: Broker, ns: Netns) -> None:
        self.broker, self.ns = broker, ns
        self.socket = broker.netlink_socket(ns, NETLINK_NETFILTER)
        self.decoder = NftDecoder()
        self.ruleset = Ruleset(ns.label)
        self.chains = ChainTable(self.ruleset)
        self.rules = RuleTable(self.ruleset, self.chains, RuleFinder(self.ruleset, self.chains.order))

    def dump(self, what: ReadRequest) -> None:
        begun = time.time_ns()
        self.ruleset.apply(DumpMark(1, 0, begun, what.value, begin=True), begun)
        self.broker.request(self.socket, what)
        decoded = self.decoder(batch_of(datagrams(self.socket.fd)))
        assert len(decoded.errors) == 0 and decoded.refused == 0
        now = time.time_ns()
        self.ruleset.apply(decoded, now)
        self.ruleset.apply(DumpMark(1, 0, now, what.value, begin=False, complete=True), now)

    def read(self, what: TextKind) -> None:
        begun = time.time_ns()
        try:
            body, error = self.broker.text(self.ns, what), ""
        except BrokerError as failed:
            body, error = b"", str(failed)
        self.ruleset.apply(Text(2, 0, begun, what, body, error), begun)

    def look(self) -> Watch:
        for what in DUMPS:
            self.dump(what)
        for kind in TEXTS:
            self.read(kind)
        return self

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in lines(self.ruleset, self.ns.label, json=True)]

    def rule_objects(self, backend: str) -> list[dict[str, Any]]:
        return [o for o in self.objects() if o["kind"] == "rule" and o["number"] and o["backend"] == backend]


@pytest.fixture
def here(lab: Lab, broker: Broker) -> Watch:
    return Watch(broker, broker.netns(lab.netns("rules")))


def spec(watch: Watch) -> str:
    return watch.ns.label


NFT = r"""
table inet fw {
  comment "my \x1b table { } "
  set bad { type ipv4_addr; flags dynamic,timeout; size 65535; elements = { 1.2.3.4, 5.6.7.8 } }
  map m { type ipv4_addr : verdict; flags interval; elements = { 10.0.0.0/8 : jump lan } }
  counter cn { packets 3 bytes 4 comment "cc" }
  quota q { over 10 mbytes }
  limit l { rate 400/hour }
  ct helper ftp-s { type "ftp" protocol tcp; }
  chain forward {
    type filter hook forward priority filter; policy drop; comment "chain { com"
    ct state established,related counter accept comment "quote } { x # handle 77"
    ip saddr 10.0.0.0/8 counter jump lan
    tcp dport { %(many)s } counter drop
    tcp dport vmap { 80 : jump lan, 443 : goto lan2, 22 : accept }
    ip saddr vmap @m
    ip daddr . tcp dport vmap { 1.2.3.4 . 80 : accept, 1.2.3.5 . 81-90 : drop }
    ip6 saddr { %(long)s } counter packets 7 bytes 70 accept
    counter name "cn"
    counter packets 5 bytes 500 ip saddr 1.1.1.1 counter packets 2 bytes 200 comment "counter packets 1 bytes 1"
    limit rate 10/second burst 7 packets counter accept
    quota over 25 mbytes drop
    log prefix "a { b" group 5 accept
    meta mark set ip saddr map { 1.1.1.1 : 1, 2.2.2.2 : 2 } reject
  }
  chain lan {
    tcp dport { 80, 443 } counter accept
    udp dport 53 accept
    jump blocked
    counter comment "\xe2\x80\xae\x1b[31m\xff"
  }
  chain lan2 { }
  chain blocked {
    ip daddr @bad counter drop
    add @bad { ip saddr timeout 1m counter } counter
  }
  chain never {
    counter drop
  }
}
table ip nat2 {
  chain post {
    type nat hook postrouting priority srcnat + 5; policy accept;
    oifname "eth*" counter masquerade
    ip saddr 1.2.3.4 snat to 5.6.7.8
  }
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    tcp dport 443 counter dnat to 192.168.2.2:443
  }
}
table ip6 six {
  chain out {
    type route hook output priority mangle; policy accept;
    ip6 daddr fd00::/8 counter
  }
}
table bridge br {
  chain f {
    type filter hook forward priority filter; policy accept;
    ether type ip counter
  }
}
table arp a {
  chain i {
    type filter hook input priority filter - 1; policy accept;
    arp operation request counter
  }
}
table netdev nd {
  chain ing {
    type filter hook ingress devices = { lo } priority -500; policy accept;
    counter drop
  }
}
"""


def nft_ruleset() -> bytes:
    many = ", ".join(str(port) for port in range(1, 60))
    long = ", ".join(f"fd00:1234:5678:9abc:def0:1234:5678:{i:x}" for i in range(1, 40))
    text = NFT.replace("%(many)s", many).replace("%(long)s", long).encode()
    return text.replace(rb"\xe2\x80\xae\x1b[31m\xff", b"\xe2\x80\xae\x1b[31m\xff")


def load_nft(ns: str, script: bytes) -> None:
    subprocess.run(namespaces.command_in(ns, "nft", "-f", "-"), input=script, check=True, capture_output=True)


def listed(ns: str, *options: str) -> bytes:
    command = namespaces.command_in(ns, "nft", *options, "list", "ruleset")
    return subprocess.run(command, capture_output=True, check=True).stdout


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_every_nft_rule_has_its_handle_text_and_counter(here: Watch) -> None:
    load_nft(spec(here), nft_ruleset())
    rules = here.look().rule_objects("nft")
    oracle = json.loads(listed(spec(here), "-j", "-a").decode("utf-8", "surrogateescape"), strict=False)
    theirs = [one["rule"] for one in oracle["nftables"] if "rule" in one]
    assert {key(rule) for rule in rules} == {key(rule) for rule in theirs}
    assert len(rules) == len(theirs) == 27
    ours = {key(rule): rule for rule in rules}
    for rule in theirs:
        counters = [e["counter"] for e in rule["expr"] if isinstance(e.get("counter"), dict)]
        expected = (counters[-1]["packets"], counters[-1]["bytes"]) if counters else (None, None)
        assert (ours[key(rule)]["packets"], ours[key(rule)]["bytes"]) == expected
    text = squeezed(listed(spec(here), "-a").decode("utf-8", "backslashreplace"))
    for rule in rules:
        assert f"{squeezed(rule['text'])} # handle {rule['handle']}" in text


def key(rule: dict[str, Any]) -> tuple[str, str, str, int]:
    return rule["family"], rule["table"], rule["chain"], rule["handle"]


def test_rules_are_numbered_in_the_order_of_their_chain(here: Watch) -> None:
    load_nft(spec(here), nft_ruleset())
    run_in(spec(here), "nft", "insert", "rule", "inet", "fw", "lan", "udp", "dport", "99", "counter")
    rules = [rule for rule in here.look().rule_objects("nft") if rule["chain"] == "lan"]
    assert [rule["number"] for rule in rules] == [1, 2, 3, 4, 5]
    assert rules[0]["text"] == "udp dport 99 counter packets 0 bytes 0"


def test_chains_carry_hook_priority_policy_and_device(here: Watch) -> None:
    load_nft(spec(here), nft_ruleset())
    chains = {(o["table"], o["chain"]): o for o in here.look().objects() if o["kind"] == "chain"}
    oracle = json.loads(run_in(spec(here), "nft", "-j", "list", "chains"))
    theirs = [one["chain"] for one in oracle["nftables"] if "chain" in one]
    assert len(theirs) == len(chains) == 11
    for chain in theirs:
        ours = chains[chain["table"], chain["name"]]
        expected = [chain.get(name) for name in ("family", "hook", "prio", "policy", "type", "handle")]
        assert [ours[name] for name in ("family", "hook", "priority", "policy", "type", "handle")] == expected
    assert chains["nd", "ing"]["device"] == "lo"
    assert chains["fw", "forward"]["comment"] == "chain { com"


def test_priority_names_are_those_nft_prints(here: Watch) -> None:
    load_nft(spec(here), nft_ruleset())
    text = listed(spec(here)).decode("utf-8", "replace")
    printed = re.findall(r"hook (\w+)(?: device \"\w+\")? priority ([^;]+);", text)
    base = [o for o in here.look().objects() if o["kind"] == "chain" and o["hook"]]
    ours = [(o["hook"], o["priority_name"] or str(o["priority"])) for o in base]
    assert sorted(ours) == sorted(printed)


def save(ns: str, *command: str) -> list[str]:
    done = subprocess.run(namespaces.command_in(ns, *command), capture_output=True, check=True)
    return done.stdout.decode("utf-8", "backslashreplace").splitlines()


def as_saved(rules: list[dict[str, Any]]) -> list[str]:
    return [f"[{r['packets']}:{r['bytes']}] -A {r['chain']} {r['text']}" for r in rules]


IPTABLES = [
    ["-N", "lan"],
    ["-N", "empty"],
    ["-A", "FORWARD", "-s", "10.0.0.0/8", "-m", "comment", "--comment", 'say "hi" \\ there', "-j", "lan"],
    ["-A", "lan", "-p", "tcp", "-m", "multiport", "--dports", "80,443", "-c", "7", "700", "-j", "ACCEPT"],
    ["-A", "lan", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"],
    ["-A", "lan", "-m", "limit", "--limit", "3/min", "-j", "LOG", "--log-prefix", "a } b: "],
    ["-A", "INPUT", "-p", "tcp", "--syn", "-j", "REJECT", "--reject-with", "tcp-reset"],
    ["-A", "INPUT", "-m", "comment", "--comment", "\x1b[31m\udcff", "-j", "RETURN"],
    ["-P", "FORWARD", "DROP"],
    ["-t", "nat", "-A", "POSTROUTING", "-s", "192.168.1.0/24", "-j", "SNAT", "--to-source", "100.100.100.1"],
    ["-t", "mangle", "-A", "PREROUTING", "-p", "udp", "-j", "MARK", "--set-xmark", "0x7/0xff"],
]


def run_iptables(ns: str, program: str, **environment: str) -> None:
    for arguments in IPTABLES:
        command = namespaces.command_in(ns, "env", *(f"{k}={v}" for k, v in environment.items()), program, *arguments)
        subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize(("program", "family"), [("iptables-nft", "ip"), ("ip6tables-nft", "ip6")])
def test_iptables_nft_rules_are_in_iptables_words_with_kernel_handles(here: Watch, program: str, family: str) -> None:
    if family == "ip6":
        for rule in ("-p icmpv6 -m icmp6 --icmpv6-type 135 -j ACCEPT", "-s fd00::/8 -m comment --comment ab -j DROP"):
            run_in(spec(here), program, "-A", "FORWARD", *rule.split())
    else:
        run_iptables(spec(here), program)
    rules = here.look().rule_objects("iptables-nft")
    printed = [line for line in save(spec(here), f"{program}-save", "-c") if " -A " in line]
    assert sorted(as_saved(rules)) == sorted(printed)
    assert len(rules) == (2 if family == "ip6" else 8)
    handles = re.findall(r"# handle (\d+)$", listed(spec(here), "-a").decode("utf-8", "replace"), re.MULTILINE)
    assert {rule["handle"] for rule in rules} <= {int(handle) for handle in handles}
    assert here.rule_objects("nft") == []


def test_iptables_words_and_nft_handles_name_the_same_rule(here: Watch) -> None:
    run_iptables(spec(here), "iptables-nft")
    run_in(spec(here), "iptables-nft", "-I", "lan", "2", "-p", "udp", "--dport", "53", "-j", "ACCEPT")
    rule = next(r for r in here.look().rule_objects("iptables-nft") if "--dport 53" in r["text"])
    assert rule["number"] == 2
    text = listed(spec(here), "-a").decode("utf-8", "replace")
    assert re.search(rf"udp dport 53 counter .*accept # handle {rule['handle']}$", text, re.MULTILINE)


def test_iptables_comments_and_policies_are_told(here: Watch) -> None:
    run_iptables(spec(here), "iptables-nft")
    here.look()
    rules = {rule["comment"] for rule in here.rule_objects("iptables-nft")}
    assert rules == {None, 'say "hi" \\ there', "\x1b[31m\\xff"}
    policies = {o["chain"]: o["policy"] for o in here.objects() if o["kind"] == "rule" and o["number"] is None}
    assert policies["FORWARD"] == "drop" and policies["INPUT"] == "accept"


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_targets_that_iptables_nft_makes_of_expressions_are_verdicts_as_those_of_legacy(
    here: Watch, tmp_path: Path, program: str
) -> None:
    lock = f"XTABLES_LOCKFILE={tmp_path / 'lock'}"
    for target in ("NFLOG", "TRACE", "MARK", "LOG"):
        more = ("--set-mark", "5") if target == "MARK" else ()
        run_in(spec(here), "env", lock, program, "-t", "raw", "-A", "PREROUTING", "-j", target, *more)
    verdicts = [rule["verdict"] for rule in here.look().rule_objects(program)]
    assert verdicts == ["nflog", "trace", "mark", "log"]


def test_builtin_chains_that_do_not_exist_are_not_shown(here: Watch) -> None:
    run_in(spec(here), "iptables-nft", "-A", "INPUT", "-j", "ACCEPT")
    chains = [o["chain"] for o in here.look().objects() if o["kind"] == "chain"]
    assert chains == ["INPUT"]


def test_a_table_that_iptables_cannot_print_keeps_the_words_of_nft(here: Watch) -> None:
    rule = b"ip saddr { 1.1.1.1, 2.2.2.2 } meter x { ip daddr limit rate 5/second } counter"
    load_nft(spec(here), b"table ip filter {\nchain INPUT {\ntype filter hook input priority 0;\n%s\n}\n}\n" % rule)
    rules = here.look().rule_objects("nft")
    assert len(rules) == 1 and rules[0]["text"].startswith("ip saddr { 1.1.1.1, 2.2.2.2 }")


def test_legacy_rules_are_told_and_listing_makes_no_table(here: Watch, tmp_path: Path) -> None:
    names = "/proc/net/ip_tables_names"
    lock = str(tmp_path / "lock")
    assert here.look().objects() == []
    assert run_in(spec(here), "cat", names) == ""
    run_iptables(spec(here), "iptables-legacy", XTABLES_LOCKFILE=lock)
    before = run_in(spec(here), "cat", names)
    rules = here.look().rule_objects("iptables-legacy")
    command = ("env", f"XTABLES_LOCKFILE={lock}", "iptables-legacy-save", "-c")
    assert sorted(as_saved(rules)) == sorted(line for line in save(spec(here), *command) if " -A " in line)
    assert len(rules) == 8 and all(rule["handle"] is None for rule in rules)
    assert run_in(spec(here), "cat", names) == before
    chains = {(o["table"], o["chain"]): o for o in here.objects() if o["kind"] == "chain"}
    assert chains["nat", "POSTROUTING"]["priority_name"] == "srcnat"
    assert chains["mangle", "OUTPUT"]["priority"] == -150 and chains["mangle", "OUTPUT"]["type"] == "route"
    assert chains["filter", "lan"]["hook"] is None


def test_all_three_backends_stand_in_one_picture(here: Watch, tmp_path: Path) -> None:
    load_nft(spec(here), nft_ruleset())
    run_in(spec(here), "iptables-nft", "-A", "FORWARD", "-j", "ACCEPT")
    run_iptables(spec(here), "iptables-legacy", XTABLES_LOCKFILE=str(tmp_path / "lock"))
    here.look()
    view = here.chains.snapshot(ViewSpec(here.chains.default_columns, height=100), time.time_ns())
    forward = [row.cells for row in view.rows if row.cells[1] == "forward" and row.cells[0].startswith("0 ")]
    assert {cells[-1] for cells in forward} == {"nft", "iptables-nft", "iptables-legacy"}
    assert {cells[0] for cells in forward} == {"0 filter ?"}
    paths = [row.cells[2] for row in view.rows if row.cells[1] != "(no jump)"]
    assert paths[:3] == ["netdev", "bridge", "arp"] and not {"netdev", "bridge", "arp"} & set(paths[3:])
    hooks = [row.cells[1] for row in view.rows if row.cells[1] != "(no jump)"][3:]
    ranks = [("ingress", "prerouting", "input", "forward", "output", "postrouting").index(hook) for hook in hooks]
    assert ranks == sorted(ranks)


def test_an_owned_table_is_marked(here: Watch, lab: Lab) -> None:
    script = "add table inet own { flags owner; }; add chain inet own c; add rule inet own c tcp dport 7 drop"
    holder = subprocess.Popen(
        namespaces.command_in(spec(here), "nft", "-i"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        assert holder.stdin is not None
        holder.stdin.write(script.encode() + b"\n")
        holder.stdin.flush()
        poll(lambda: "dport 7" in run_in(spec(here), "nft", "list", "ruleset"))
        here.look()
        assert here.ruleset.raw.tables[0].flags == ("owner",)
        assert here.ruleset.raw.tables[0].owner is not None
        table, chain, rule = here.objects()
        assert (table["flags"], chain["flags"], rule["text"]) == (["owner"], ["owner"], "tcp dport 7 drop")
        assert table["owner"] == holder.pid
    finally:
        holder.kill()
        holder.wait()
        if holder.stdin is not None:
            holder.stdin.close()


def test_traffic_moves_counters_and_rates(here: Watch, lab: Lab) -> None:
    other = lab.netns("far")
    lab.veth_pair(spec(here), other)
    load_nft(
        spec(here),
        b"table inet t {\nchain c { counter drop\n }\nchain in {\ntype filter hook input priority 0;\n"
        b"icmp type echo-request counter\nudp dport 9 counter jump c\ntcp dport 9 counter\n}\n}\n",
    )
    here.look()
    run_in(other, "ping", "-c", "20", "-i", "0.01", "-s", "100", "10.99.0.1")
    with_udp = "import socket\ns=socket.socket(2,2)\nfor i in range(7): s.sendto(b'x', ('10.99.0.1', 9))"
    run_in(other, "python3", "-c", with_udp)
    # Two dumps within half a second make no rate: their packets go into the next one.
    poll(lambda: here.dump(ReadRequest.NFT_RULES) or here.ruleset.counts.rate[0] > 0, what="a rate")
    rules = here.rule_objects("nft")
    counted = {(rule["chain"], rule["number"]): (rule["packets"], rule["bytes"]) for rule in rules}
    assert counted == {("in", 1): (20, 20 * 128), ("in", 2): (7, 7 * 29), ("in", 3): (0, 0), ("c", 1): (7, 7 * 29)}
    columns = tuple(column.key for column in here.rules.columns)
    view = here.rules.snapshot(ViewSpec(columns), time.time_ns() + 90_000_000_000)
    cells = [dict(zip(columns, row.cells, strict=True)) for row in view.rows]
    assert cells.pop(2)["number"] == "▾ c   1 rule, from in 2   (1 of 1 hit)"
    assert [(c["chain"], c["number"]) for c in cells] == [
        ("in", "1"), ("in", "2"), ("  c", "1"), ("in", "3"), ("in", "policy"),
    ]  # fmt: skip
    assert float(here.ruleset.counts.rate[0]) > 0 and cells[0]["minute"].strip()
    assert (cells[2]["rule"], cells[2]["verdict"]) == ("  every packet", "drop") and cells[2]["share"] == "100%"
    assert cells[3]["note"] == "never hit" and cells[3]["rate"] == "0"
    assert cells[4]["packets"] == "–" and cells[4]["verdict"] == "accept"


def test_a_nat_chain_stands_before_a_filter_chain_of_a_lower_number_as_the_kernel_runs_them(
    here: Watch, lab: Lab
) -> None:
    other = lab.netns("far")
    lab.veth_pair(spec(here), other)
    load_nft(
        spec(here),
        b"table ip t {\nchain f60 {\ntype filter hook prerouting priority -60;\n"
        b"icmp type echo-request counter drop\n}\n"
        b"chain n50 {\ntype nat hook prerouting priority -50;\nicmp type echo-request counter\n"
        b"tcp dport 9 dnat to 10.77.0.1\n}\n}\n",
    )
    run_in(other, "ping", "-c", "3", "-i", "0.01", "-W", "0.1", "10.99.0.1", check=False)
    rules = {rule["chain"]: rule["packets"] for rule in here.look().rule_objects("nft") if rule["number"] == 1}
    assert rules == {"n50": 3, "f60": 3}  # the nat chain saw packets that the filter chain dropped
    assert [o["chain"] for o in here.objects() if o["kind"] == "chain"] == ["n50", "f60"]


def test_policy_counters_of_iptables_nft_follow_traffic_where_the_kernel_keeps_them(here: Watch, lab: Lab) -> None:
    other = lab.netns("far")
    lab.veth_pair(spec(here), other)
    run_in(spec(here), "iptables-nft", "-A", "INPUT", "-p", "tcp", "-j", "DROP")
    run_in(spec(here), "iptables-nft", "-P", "INPUT", "ACCEPT")
    run_in(other, "ping", "-c", "5", "-i", "0.01", "10.99.0.1")
    policy = next(o for o in here.look().objects() if o["kind"] == "rule" and o["number"] is None)
    assert f":INPUT ACCEPT [{policy['packets']}:{policy['bytes']}]" in save(spec(here), "iptables-nft-save", "-c")
    assert (policy["packets"], policy["bytes"]) == (5, 5 * 84)


def test_policy_counters_of_legacy_chains_follow_traffic(here: Watch, lab: Lab, tmp_path: Path) -> None:
    other = lab.netns("far")
    lab.veth_pair(spec(here), other)
    command = ("env", f"XTABLES_LOCKFILE={tmp_path / 'lock'}", "iptables-legacy")
    run_in(spec(here), *command, "-A", "INPUT", "-p", "tcp", "-j", "DROP")
    here.look()
    run_in(other, "ping", "-c", "5", "-i", "0.01", "10.99.0.1")
    here.read(TextKind.IPTABLES_LEGACY_SAVE)
    policy = next(
        o for o in here.objects() if o.get("chain") == "INPUT" and o["kind"] == "rule" and o["number"] is None
    )
    assert (policy["packets"], policy["bytes"]) == (5, 5 * 84)


def test_a_change_is_noticed_and_its_text_asked_for_again(here: Watch) -> None:
    load_nft(spec(here), b"table ip t {\nchain c { counter accept\n }\n}\n")
    assert here.ruleset.wants_text()
    here.look()
    assert not here.ruleset.wants_text() and not here.ruleset.stale()
    group = here.broker.netlink_socket(here.ns, NETLINK_NETFILTER, (7,))  # NFNLGRP_NFTABLES
    load_nft(spec(here), b"add rule ip t c udp dport 53 counter drop\n")
    with socket.socket(fileno=socket.dup(group.fd)) as events:
        events.setblocking(True)
        events.settimeout(30)
        decoder, generations = NftDecoder(events=True), 0
        while not generations:
            decoded = decoder(batch_of([events.recv(1 << 16)], stream=3, ts_ns=time.time_ns()))
            generations = len(decoded.generations)
            here.ruleset.apply(decoded, time.time_ns())
    generation = here.ruleset.generation
    assert generation is not None and generation.process == "nft"
    assert here.ruleset.wants_text() and here.ruleset.dumps.are_old() and here.ruleset.stale()
    here.look()
    assert not here.ruleset.wants_text() and not here.ruleset.dumps.are_old() and not here.ruleset.stale()
    assert [rule["text"] for rule in here.rule_objects("nft")] == [
        "counter packets 0 bytes 0 accept", "udp dport 53 counter packets 0 bytes 0 drop",
    ]  # fmt: skip


def test_old_words_stay_with_their_rules_until_new_ones_come(here: Watch) -> None:
    run_in(spec(here), "iptables-nft", "-A", "INPUT", "-p", "tcp", "-j", "ACCEPT")
    run_in(spec(here), "iptables-nft", "-A", "INPUT", "-p", "udp", "-j", "DROP")
    here.look()
    run_in(spec(here), "iptables-nft", "-D", "INPUT", "1")
    run_in(spec(here), "iptables-nft", "-I", "INPUT", "1", "-p", "sctp", "-j", "DROP")
    here.dump(ReadRequest.NFT_RULES)
    assert here.ruleset.wants_text()
    assert [rule["text"] for rule in here.rule_objects("iptables-nft")] == [None, "-p udp -j DROP"]
    here.look()
    assert [rule["text"] for rule in here.rule_objects("iptables-nft")] == ["-p sctp -j DROP", "-p udp -j DROP"]


def test_the_tree_is_safe_for_a_terminal_and_names_every_rule(here: Watch) -> None:
    load_nft(spec(here), nft_ruleset())
    tree = list(lines(here.look().ruleset, "", json=False))
    assert all(line.isprintable() for line in tree)
    assert "forward" in tree and "not reached by any hook" in tree
    handles = [int(found) for line in tree for found in re.findall(r"  # handle (\d+)$", line)]
    assert len(handles) == 27
