"""`nettop rules --json` against `nft -j -a list ruleset` and `iptables-save -c`: all that a namespace has, backend by
backend, and what its options leave of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.interop]

NFT = """
table inet fw {
    comment "of the host"
    set bad { type ipv4_addr; flags interval; counter; elements = { 10.0.0.0/8, 192.168.1.1, 172.16.0.1-172.16.0.9 } }
    set pairs { type ipv4_addr . inet_service; flags interval; elements = { 10.1.0.0/16 . 80-90, 10.2.0.1 . 443 } }
    set seen { type ipv6_addr; size 1024; timeout 60s; flags dynamic,timeout; comment "seen lately"
        elements = { fd00::1, fd00::2 timeout 30s comment "two" } }
    map lead { type ipv4_addr : verdict; elements = { 10.0.0.1 : jump lan, 10.0.0.2 : drop, 10.0.0.3 : goto dmz } }
    map named { type inet_service : ipv4_addr; elements = { 80 comment "web" : 1.2.3.4, 81 : 1.2.3.5 } }
    counter hits { packets 1 bytes 2
    }
    quota much { over 25 mbytes used 5 mbytes
    }
    limit slow { rate over 10/second burst 7 packets
    }
    limit thin { rate 1 mbytes/second
    }
    map by { type ipv4_addr : counter; elements = { 10.0.0.1 : "hits" } }
    ct helper ftpd { type "ftp" protocol tcp; l3proto ip
    }
    ct expectation soon { protocol tcp; dport 5060; timeout 2m; size 8; l3proto ip
    }
    synproxy shield { mss 1460; wscale 7; timestamp sack-perm
    }
    chain dmz { counter return
    }
    chain lan {
        ip daddr @bad counter packets 7 bytes 70 drop
        tcp dport { 80, 443 } accept comment "say \\x1b[31m"
        udp dport vmap { 53 : jump dmz, 54 : drop }
    }
    chain into { type filter hook forward priority 0; policy drop;
        ct state established,related counter packets 5 bytes 50 accept
        ip saddr vmap @lead
        ip saddr . tcp dport @pairs log prefix "x "
        counter name "hits"
        counter name ip saddr map @by
        update @seen { ip6 saddr timeout 10s }
        meta l4proto tcp reject with tcp reset
        add @seen { ip6 saddr }
    }
    chain out { type nat hook prerouting priority dstnat; dnat ip to tcp dport map @named
    }
}
table netdev nd { chain ing { type filter hook ingress device "lo" priority 5; counter
    }
}
table ip empty { flags dormant; }
"""
XT = """*filter
:INPUT ACCEPT [3:30]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:drop - [0:0]
[1:10] -A INPUT -g drop
[2:20] -A drop -p tcp -m tcp --dport 22 -m comment --comment "ssh \\"in\\"" -j ACCEPT
[4:40] -A drop -m conntrack --ctstate NEW -j REJECT
[0:0] -A drop -j MARK --set-xmark 0x1/0xffffffff
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
[5:50] -A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination ADDRESS
COMMIT
"""
TOOLS = {
    ("ip", "iptables-nft"): "iptables-nft",
    ("ip6", "iptables-nft"): "ip6tables-nft",
    ("ip", "iptables-legacy"): "iptables-legacy",
    ("ip6", "iptables-legacy"): "ip6tables-legacy",
}


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    lab = Lab()
    try:
        yield build(lab.netns("kinds"))
    finally:
        lab.close()


def build(ns: str) -> str:
    run_in(ns, "nft", "-f", "-", stdin=NFT)
    for (family, _), tool in TOOLS.items():
        to = "1.2.3.4:80" if family == "ip" else "[fd00::1]:80"
        run_in(ns, f"{tool}-restore", "-c", stdin=XT.replace("ADDRESS", to))
    run_in(ns, "ebtables-nft", "-A", "FORWARD", "-i", "eth0", "-j", "DROP")
    run_in(ns, "arptables-nft", "-A", "INPUT", "-s", "10.0.0.1", "-j", "DROP")
    return ns


@pytest.fixture(scope="module")
def ours(host: str) -> list[dict[str, Any]]:
    return rows("rules", "--elements", "--netns", host)


def theirs(host: str, what: str) -> list[dict[str, Any]]:
    # libnftables 1.0.6 ends its JSON early where a table has one flag: by kind it is sound
    listed = json.loads(run_in(host, "nft", "-j", "-a", "list", what))["nftables"]
    return [next(iter(one.values())) for one in listed if "metainfo" not in one]


def kind(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == name]


def test_tables_and_chains_are_those_of_nft(host: str, ours: list[dict[str, Any]]) -> None:
    listed = {(row["family"], row["table"]): row for row in kind(ours, "table") if row["backend"] != "iptables-legacy"}
    tables = re.findall(r"^table (\S+) (\S+) \{ # handle (\d+)$", run_in(host, "nft", "-a", "list", "ruleset"), re.M)
    assert {(*key, str(row["handle"])) for key, row in listed.items()} == set(tables)
    assert listed["inet", "fw"]["comment"] == "of the host" and listed["ip", "empty"]["flags"] == ["dormant"]
    chains = {(row["family"], row["table"], row["chain"]): row for row in kind(ours, "chain") if row["handle"]}
    expected = theirs(host, "chains")
    assert len(chains) == len(expected) > 15
    for chain in expected:
        row = chains[chain["family"], chain["table"], chain["name"]]
        named = {"hook": "hook", "prio": "priority", "policy": "policy", "type": "type", "handle": "handle"}
        assert {theirs: row[own] for theirs, own in named.items()} == {key: chain.get(key) for key in named}


def test_every_rule_and_counter_of_every_tool_is_there(host: str, ours: list[dict[str, Any]]) -> None:
    rules = [row for row in kind(ours, "rule") if row["number"]]
    handles = {(row["family"], row["table"], row["handle"]) for row in rules if row["handle"]}
    text, expected, table = run_in(host, "nft", "-a", "list", "ruleset"), set(), ("", "")
    for line in text.splitlines():
        if found := re.match(r"table (\S+) (\S+) ", line):
            table = found[1], found[2]
        elif found := re.match(r"\t\t(?!type ).* # handle (\d+)$", line):
            expected.add((*table, int(found[1])))
    assert handles == expected
    for (family, backend), tool in TOOLS.items():
        lines = re.findall(r"^\[(\d+):(\d+)\] -A (\S+) (.*)$", run_in(host, f"{tool}-save", "-c"), re.M)
        own = [row for row in rules if (row["family"], row["backend"]) == (family, backend)]
        assert {(str(r["packets"]), str(r["bytes"]), r["chain"], r["text"]) for r in own} == set(lines)
        assert len(own) == len(lines) == 5
    assert {row["backend"] for row in rules if row["family"] in ("bridge", "arp")} == {"iptables-nft"}


def test_a_rule_names_its_verdict_the_chains_it_may_reach_and_its_sets(ours: list[dict[str, Any]]) -> None:
    rules = {(r["family"], r["backend"], r["chain"], r["number"]): r for r in kind(ours, "rule")}

    def keys(*at: Any) -> tuple[str, list[str], list[str]]:
        return rules[at]["verdict"], rules[at]["jumps"], rules[at]["sets"]

    assert keys("inet", "nft", "into", 1) == ("accept", [], [])
    assert keys("inet", "nft", "into", 2) == ("vmap", ["lan", "dmz"], ["lead"])
    assert keys("inet", "nft", "into", 3) == (None, [], ["pairs"])
    assert keys("inet", "nft", "into", 7)[0] == "reject" and keys("inet", "nft", "into", None)[0] == "drop"
    assert keys("inet", "nft", "into", 8) == (None, [], ["seen"])
    assert keys("inet", "nft", "lan", 1) == ("drop", [], ["bad"])
    assert keys("inet", "nft", "lan", 3) == ("vmap", ["dmz"], [])
    assert keys("inet", "nft", "out", 1) == ("dnat", [], ["named"])
    for backend in ("iptables-nft", "iptables-legacy"):
        assert keys("ip", backend, "INPUT", 1) == ("goto", ["drop"], [])
        assert [keys("ip", backend, "drop", at)[0] for at in (1, 2, 3)] == ["accept", "reject", "mark"]
        assert keys("ip6", backend, "PREROUTING", 1)[0] == "dnat"


def member(value: Any) -> str:
    """An element's value in nft's JSON, in its words."""
    if isinstance(value, dict):
        (name, inner), *_ = value.items()
        if name == "prefix":
            return f"{inner['addr']}/{inner['len']}"
        if name in ("range", "concat"):
            return {"range": "-", "concat": " . "}[name].join(map(member, inner))
        if name in ("jump", "goto"):
            return f"{name} {inner['target']}"
        return name
    return str(value)


def test_sets_and_their_elements_are_those_of_nft(host: str, ours: list[dict[str, Any]]) -> None:
    listed = {row["name"]: row for row in kind(ours, "set")}
    expected = theirs(host, "sets") + theirs(host, "maps")
    assert {one["name"] for one in expected} == set(listed)
    for one in expected:
        row = listed[one["name"]]
        kinds = one["type"] if isinstance(one["type"], list) else [one["type"]]
        assert (row["type"], row["map"]) == (" . ".join(kinds), one.get("map"))
        assert [row[key] for key in ("size", "timeout", "handle")] == [
            one.get(k) for k in ("size", "timeout", "handle")
        ]
        assert {"interval", "timeout", "dynamic"}.intersection(row["flags"]) >= {
            flag for flag in one.get("flags", []) if flag != "dynamic"
        }
        assert row["elements"] == len(one["elem"])
        assert sorted(elements_of(ours, one["name"])) == sorted(element(each) for each in one["elem"])


def elements_of(ours: list[dict[str, Any]], name: str) -> list[tuple[Any, ...]]:
    keys = ("element", "value", "packets", "bytes", "timeout", "comment")
    return [tuple(str(row[key]) for key in keys) for row in kind(ours, "element") if row["set"] == name]


def element(found: Any) -> tuple[Any, ...]:
    key, value = found if isinstance(found, list) else (found, None)
    inner = key.get("elem", {}) if isinstance(key, dict) else {}
    counter = inner.get("counter", {})
    told = [counter.get("packets"), counter.get("bytes"), inner.get("timeout"), inner.get("comment")]
    name = None if value is None else member(value)
    return tuple(str(one) for one in (member(inner.get("val", key)), name, *told))


def test_objects_are_those_of_nft(host: str, ours: list[dict[str, Any]]) -> None:
    listed = {(row["type"], row["name"]): row for row in kind(ours, "object")}
    counter, quota = theirs(host, "counters")[0], theirs(host, "quotas")[0]
    assert [listed["counter", "hits"][key] for key in ("packets", "bytes", "handle")] == [1, 2, counter["handle"]]
    much = listed["quota", "much"]
    assert (much["quota"], much["used"], much["over"]) == (25 << 20, quota["used"], True) and quota["used"] == 5 << 20
    slow, thin = listed["limit", "slow"], listed["limit", "thin"]
    assert (slow["rate"], slow["unit"], slow["burst"], slow["over"], slow["limit_type"]) == (10, 1, 7, True, "packets")
    assert (thin["rate"], thin["limit_type"]) == (1 << 20, "bytes")
    ftp, soon = listed["ct helper", "ftpd"], listed["ct expectation", "soon"]
    assert (ftp["helper"], ftp["protocol"], ftp["l3proto"]) == ("ftp", "tcp", "ip")
    assert (soon["dport"], soon["timeout_ms"], soon["size"], soon["protocol"]) == (5060, 120_000, 8, "tcp")
    assert (listed["synproxy", "shield"]["mss"], listed["synproxy", "shield"]["wscale"]) == (1460, 7)
    assert len(listed) == 7


@pytest.mark.parametrize(
    ("options", "chains"),
    [
        (["--table", "fw"], {"into", "out", "lan", "dmz"}),
        (["--table", "inet fw", "--hook", "forward"], {"into", "lan", "dmz"}),
        (["--chain", "inet fw lan"], {"lan"}),
        (["--chain", "lan", "--chain", "out"], {"lan", "out"}),
        (["--table", "fw", "--filter", "verdict drop"], {"into", "lan"}),
        (["--filter", "backend iptables-legacy and verdict dnat"], {"PREROUTING"}),
    ],
)
def test_options_restrict_what_is_printed(host: str, options: list[str], chains: set[str]) -> None:
    found = rows("rules", *options, "--netns", host)
    assert {row["chain"] for row in kind(found, "chain")} == chains
    assert {row["chain"] for row in kind(found, "rule")} == chains
    if options[-1] == "verdict drop":
        assert {row["verdict"] for row in kind(found, "rule")} == {"drop"}
        assert {row["name"] for row in kind(found, "set")} == {"bad"} and not kind(found, "object")
    text = nettop("rules", *options, "--netns", host)
    assert (text.returncode, text.stderr) == (0, "") and "\x1b" not in text.stdout
    assert all(chain in text.stdout for chain in chains)


def test_a_set_alone_is_printed_with_its_elements(host: str) -> None:
    found = rows("rules", "--elements", "lead", "--netns", host)
    assert [row["kind"] for row in found] == ["set", "element", "element", "element"]
    assert [row["kind"] for row in rows("rules", "--elements", "inet fw lead", "-n", "1", "--netns", host)][:2] == [
        "set",
        "element",
    ]
    text = nettop("rules", "--elements", "lead", "--netns", host).stdout
    assert "10.0.0.3 : goto dmz" in text and "chain" not in text


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--table", "nope"], r"nettop: no table 'nope' here: there are empty, filter, fw, nat, nd\n"),
        (["--chain", "ip fw lan"], r"nettop: no chain 'ip fw lan' here: there are .*\n"),
        (["--hook", "sideways"], r"nettop: no hook 'sideways' here: there are .*prerouting.*\n"),
        (["--elements", "nope"], r"nettop: no set 'nope' here: there are bad, by, .*\n"),
        (["--table", "\x1b[31m"], r"nettop: no table '\\x1b\[31m' here: .*\n"),
        (["--filter", "rate > 5"], r"nettop: filter: .*\n  rate > 5\n  \^\n"),
        (["--filter", "state new"], r"nettop: filter: .*\n  state new\n  \^\n"),
    ],
)
def test_an_unknown_name_is_refused_in_one_line(host: str, options: list[str], line: str) -> None:
    done = nettop("rules", *options, "--netns", host)
    assert (done.returncode, done.stdout) == (2, "") and re.fullmatch(line, done.stderr), done.stderr


HOSTILE = """
from pyroute2.nftables.main import NFTables
with NFTables(nfgen_family=2) as nft:
    for name in ("drop", "evil\\x1b[31m\\n}", "table x {"):
        nft.table("add", name=name)
        nft.chain("add", table=name, name="jump", hook="input", type="filter", policy=1)
        nft.chain("add", table=name, name="counter\\u202e { # handle 7")
"""


def test_names_that_are_keywords_or_hold_control_characters_are_printed_safely(lab: Lab) -> None:
    ns = lab.netns("hostile")
    run_in(ns, sys.executable, "-c", HOSTILE)
    found = rows("rules", "--elements", "--netns", ns)
    tables = ["drop", "evil\x1b[31m\n}", "table x {"]
    assert [row["table"] for row in kind(found, "table")] == tables
    assert sorted(row["table"] for row in kind(found, "chain")) == sorted(tables * 2)
    for argv in ([], ["--table", tables[1]], ["--findings"], ["--elements"], ["--holds", "10.0.0.1"]):
        done = nettop("rules", *argv, "--netns", ns)
        assert done.returncode == 0 and not set("\x1b\x07\u202e") & {*done.stdout, *done.stderr}, argv
    assert {row["chain"] for row in kind(rows("rules", "--table", tables[1], "--netns", ns), "chain")} == {
        "jump",
        "counter\u202e { # handle 7",
    }
