"""Rules found by text, and by addresses, ports and devices as they match them."""

from __future__ import annotations

import time

import pytest

from nettop.kinds import TextKind
from nettop.model.ruleset.find import RuleFinder
from nettop.model.ruleset.sets.contents import SetContents
from nettop.model.table import ViewSpec
from tests import rulesets
from tests.unit.model.ruleset.test_ruleset import T0, Feed, base, rule

RULES = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:lan - [0:0]
:lonely - [0:0]
[0:0] -A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 443 -j ACCEPT
[0:0] -A INPUT -i eth+ -p tcp -m multiport --dports 80,8000:8100 -m comment --comment "Web" -j lan
[0:0] -A INPUT -m iprange --src-range 192.168.1.10-192.168.1.20 -j DROP
[0:0] -A FORWARD -d 172.17.0.2/32 -i docker0 -p udp -m udp --dport 53 -j lan
[0:0] -A FORWARD -d 10.99.0.0/255.255.0.0 -j ACCEPT
[0:0] -A lan -m mark --mark 0x50 -j RETURN
[0:0] -A lan ! -s 10.44.0.0/16 -j DROP
[0:0] -A lonely -p tcp -m tcp --sport 99 -j DROP
COMMIT
"""


def fed(text: str) -> Feed:
    feed = Feed()
    feed.text(TextKind.IPTABLES_LEGACY_SAVE, text)
    return feed


def found(feed: Feed, text: str) -> list[str]:
    rules = {rule.ident: rule for rule in feed.ruleset.picture.rules}
    chains = feed.ruleset.picture.chains
    hits = [rules[hit.rule] for _, hit in feed.finder.found(text)]
    return [f"{chains[rule.chain].name} {rule.number}" for rule in hits]


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("10.0.0.5", ["INPUT 1"]),
        ("host 10.0.0.5", ["INPUT 1"]),
        ("10.99.3.3", ["INPUT 1", "FORWARD 2"]),
        ("10.44.0.0/16", ["INPUT 1", "lan 2"]),
        ("10.44.3.3", ["INPUT 1"]),  # lan 2 matches all others
        ("172.17.0.2", ["FORWARD 1"]),
        ("172.17.0.20", []),
        ("192.168.1.15", ["INPUT 3"]),
        ("192.168.1.21", []),
        ("192.168.1.19-192.168.1.30", ["INPUT 3"]),
        ("192.168.1.21-192.168.1.30", []),
        ("192.168.1.30-192.168.1.19", []),
        ("443", ["INPUT 1"]),
        ("port 443", ["INPUT 1"]),
        (":8050", ["INPUT 2"]),
        ("53", ["FORWARD 1"]),
        ("5", []),
        ("eth0", ["INPUT 2"]),
        ("dev docker0", ["FORWARD 1"]),
        ("web", ["INPUT 2"]),
        ("drop", ["INPUT 3", "lan 2", "lonely 1"]),
        ("lan", ["INPUT 2", "FORWARD 1"]),
        ("--mark 0x50", ["lan 1"]),
        ("no such text", []),
        ("   ", []),
    ],
)
def test_text_addresses_ports_and_devices_are_found_in_all_chains(text: str, rules: list[str]) -> None:
    assert sorted(found(fed(RULES), text)) == sorted(rules)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("-s 10.0.0.0/255.0.255.0 -j DROP", "10.7.0.5"),
        ("-p IPv4 -o ! veth+ -j DROP", "veth3"),
        ("--logical-in br+ -j DROP", "br0"),
        ("-p tcp -j MASQUERADE --to-ports 1024-2048", "1500"),
        ("-m conntrack --ctorigdstport 80:90 -j DROP", "85"),
        ("-s fd00::1/ffff::ff -j DROP", "fd00:1::5:1"),
        ("-p IPv6 --ip6-src fd00::/ffff:ffff:: -j DROP", "fd00:0:7::1"),
        ("-s 0.0.0.5/0.0.0.255 -j DROP", "10.7.0.5"),
        ("-s 10.0.0.5/255.0.0.255 -j DROP", "10.7.0.0/24"),
        ("-j DNAT --to-destination [fd00::1-fd00::9]:80-90", "85"),
        ("-j DNAT --to-destination [fd00::1-fd00::9]:80-90", "fd00::5"),
    ],
)
def test_words_of_xtables_are_found_by_meaning(words: str, text: str) -> None:
    assert found(fed(f"*filter\n:INPUT ACCEPT [0:0]\n[0:0] -A INPUT {words}\nCOMMIT\n"), text) == ["INPUT 1"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("-s 10.0.0.5/255.0.0.255 -j DROP", "10.7.0.6"),
        ("-s 10.0.0.5/255.0.0.255 -j DROP", "10.7.1.0/30"),
        ("-p IPv4 --ip-src ! 10.0.0.0/8 --ip-dport ! 80:90 -j DROP", "10.5.5.5"),
        ("-p IPv4 --ip-src ! 10.0.0.0/8 --ip-dport ! 80:90 -j DROP", "85"),
        ('-m comment --comment "port 80-90 of 10.0.0.0/8" -j DROP', "10.5.5.5"),
        ('-m comment --comment "port 80-90 of 10.0.0.0/8" -j DROP', "85"),
        ("-m comment --comment 10.0.0.0/8 -j DROP", "10.5.5.5"),
        ('-j LOG --log-prefix "dport 80-90"', "85"),
        ("-s 10.0.0.0/24 -j DROP", "24"),
    ],
)
def test_what_xtables_rules_only_mention_is_not_found_by_meaning(words: str, text: str) -> None:
    assert found(fed(f"*filter\n:INPUT ACCEPT [0:0]\n[0:0] -A INPUT {words}\nCOMMIT\n"), text) == []


@pytest.mark.parametrize(
    ("words", "text", "is_found"),
    [
        ('iifname { "a", "eth*" } drop', "eth0", True),
        ('oifname vmap { "eth*" : drop, "lo" : accept }', "eth1", True),
        ('iifname . tcp dport { "eth*" . 22 } accept', "eth0", True),
        ('meta ibrname "br*" drop', "br0", True),
        ('iifname "eth\\*" drop', "eth0", False),
        ('log prefix "eth*" drop', "eth0", False),
        ("tcp dport >= 1024 accept", "1024", True),
        ("tcp dport > 1024 accept", "8080", True),
        ("udp dport < 1024 accept", "80", True),
        ("udp dport < 1024 accept", "8080", False),
        ("udp dport <= 80 accept", "81", False),
        ("ct original proto-dst 80-90 accept", "85", True),
        ("meta l4proto tcp masquerade to :1024-2048", "1500", True),
        ("ip saddr . tcp dport { 10.0.0.1 . 80, 10.1.0.0/24 . 1000-2000 } drop", "1500", True),
        ("ip saddr . tcp dport { 10.0.0.1 . 80, 10.1.0.0/24 . 1000-2000 } drop", "10.1.0.7", True),
        ("ip saddr . tcp dport { 10.0.0.1 . 80, 10.1.0.0/24 . 1000-2000 } drop", "10", False),
        ("ip saddr . tcp dport { 10.0.0.1 . 80, 10.1.0.0/24 . 1000-2000 } drop", "24", False),
        ("tcp dport . ip saddr { 80-90 . 10.0.0.1 } drop", "85", True),
        ("tcp dport . ip saddr { 80-90 . 10.0.0.1 } drop", "10", False),
        ("tcp dport . ip6 saddr { 80-90 . fd00::7 } drop", "7", False),
        ("udp sport . udp dport { 1-5 . 100-200 } drop", "150", True),
        ("meta l4proto . th dport vmap { tcp . 22-25 : drop, udp . 53 : accept }", "24", True),
        ("tcp dport vmap { 80-90 : drop, 443-450 : accept }", "445", True),
        ("tcp dport vmap { 80 : jump lan1, 443-450 : accept }", "1", False),
        ("dnat ip to tcp dport map { 80-90 : 10.0.0.1 . 8080 }", "85", True),
        ("dnat ip to tcp dport map { 80-90 : 10.0.0.1 . 8080 }", "10", False),
        ("dnat ip6 to [fd00::1]:8080-8090", "8085", True),
        ("ip saddr & 255.0.255.0 == 10.0.5.0 drop", "10.7.5.9", True),
        ("ip saddr & 255.0.255.0 == 10.0.5.0 drop", "10.7.6.9", False),
        ("ip saddr & 255.0.255.0 != 10.0.5.0 drop", "10.7.5.9", False),
        ("ip saddr 10.0.0.5/255.0.0.255 drop", "10.7.7.5", True),
        ("ip6 saddr & ffff::ff == fd00::1 drop", "fd00:1::5:1", True),
        ('log prefix "10.0.0.0/8 dport 80-90 " drop', "10.5.5.5", False),
        ('log prefix "10.0.0.0/8 dport 80-90 " drop', "85", False),
    ],
)
def test_words_of_nft_are_found_by_meaning(words: str, text: str, is_found: bool) -> None:
    feed = Feed()
    feed.layout([base("fw", "in", "input")])
    feed.poll((rule("in", 4),), [0], T0)
    feed.texts(f"table inet fw {{ # handle 1\n\tchain in {{ # handle 1\n\t\t{words} # handle 4\n\t}}\n}}\n")
    assert found(feed, text) == ["in 1"] * is_found


def test_nft_words_are_found_too() -> None:
    feed = Feed()
    texts = [
        "tcp dport { 22, 80-90 } accept", "ip6 saddr 2001:db8::/32 drop", 'iifname "veth*" accept',
        "dnat ip to 10.0.0.4:8080", "ip saddr { 10.1.0.0/16, 10.3.0.1-10.3.0.9 } drop",
        "ip daddr != { 10.6.0.0/16, 10.7.0.1 } drop",
    ]  # fmt: skip
    lines = "\n".join(f"[0:0] -A INPUT {text}" for text in texts)
    feed.text(TextKind.IPTABLES_LEGACY_SAVE, f"*filter\n:INPUT ACCEPT [0:0]\n{lines}\nCOMMIT\n")
    for text, number in (("85", 1), ("2001:db8::7", 2), ("veth12", 3), ("8080", 4), ("10.1.9.9", 5), ("10.3.0.5", 5)):
        assert found(feed, text) == [f"INPUT {number}"], text
    assert found(feed, "10.3.0.10") == [] and found(feed, "91") == []
    assert found(feed, "10.6.0.9") == [] and found(feed, "10.6.0.0/16") == found(feed, "10.7.0.1") == ["INPUT 6"]


def test_the_rules_of_a_trace_are_not_found() -> None:
    feed = Feed()
    tables = ("nettop-7-abc", "fw")
    feed.layout([base(table, "pre", "prerouting") for table in tables])
    feed.poll([rule("pre", 1, "known", table=table) for table in tables], [0, 0], T0)
    assert [feed.ruleset.picture.chains[rule.chain].table for rule in feed.ruleset.picture.rules] == [*tables]
    assert len(feed.finder.found("known")) == len(feed.finder.every()) == 1


def test_hits_are_in_the_order_of_traversal_with_the_headings_above_them() -> None:
    feed = fed(RULES)
    assert found(feed, "drop") == ["lan 2", "INPUT 3", "lonely 1"]
    in_lan, in_input, lonely = (hit for _, hit in feed.finder.found("drop"))
    headings = {row.ident for row in feed.rules.snapshot(ViewSpec(("number",)), T0).rows if "lan" in row.cells[0]}
    assert set(in_lan.headings) == headings and in_input.headings == ()
    assert in_input.hooked and not lonely.hooked


def test_what_is_found_is_marked_and_can_be_shown_alone() -> None:
    feed = fed(RULES)
    marked = [row.marked for row in feed.rules.snapshot(ViewSpec(("number",), find="443"), T0).rows]
    assert marked[0] and not any(marked[1:])
    alone = feed.rules.snapshot(ViewSpec(("rule",), find="drop", isolated=True), T0).rows
    assert [row.cells[0].split(":")[0] for row in alone] == ["filter lan", "filter INPUT", "filter lonely"]


def test_a_changed_ruleset_is_searched_again() -> None:
    feed = fed(RULES)
    assert found(feed, "12345") == []
    feed.text(TextKind.IPTABLES_LEGACY_SAVE, RULES.replace("--dport 443", "--dport 12345"), T0 + 1)
    assert found(feed, "12345") == ["INPUT 1"]


def test_10000_rules_are_searched_in_50_ms() -> None:
    feed = fed(rulesets.kubernetes(1_000))
    assert len(feed.ruleset.picture.rules) > 10_000
    finder: RuleFinder = feed.finder
    finder.found("")  # as when the prompt opens
    times = []
    for text in ("10.96.0.5", "web-77", "8080", "KUBE-MARK-MASQ", "eth0"):
        began = time.process_time()
        assert finder.found(text) or text == "eth0"
        times.append(time.process_time() - began)
    assert max(times) < 0.05


def test_the_rules_that_use_a_set_which_holds_the_text_are_found() -> None:
    rules = "[0:0] -A INPUT -m set --match-set bad src -j DROP\n[0:0] -A INPUT -m set --match-set good src -j ACCEPT"
    feed = fed(f"*filter\n:INPUT ACCEPT [0:0]\n{rules}\nCOMMIT\n")
    assert feed.finder.used().names == ("bad", "good")
    feed.finder.hold("10.0.0.5", SetContents(of_ipsets={"bad": []}))
    assert found(feed, "10.0.0.5") == ["INPUT 1"] and found(feed, "10.0.0.6") == []
    feed.finder.hold("10.0.0.5", SetContents())
    assert found(feed, "10.0.0.5") == []


def test_what_a_recording_has_in_place_of_numbers_is_searched_as_text() -> None:
    many = "9" * 5000
    words = (f"-p tcp -m tcp --dport {many} -j DROP", f"-d 10.0.0.{many}/{many} -j lan", "ports {" * 20_000)
    rules = "".join(f"[0:0] -A INPUT {one}\n" for one in words)
    began = time.process_time()
    assert found(fed(f"*filter\n:INPUT DROP [0:0]\n{rules}COMMIT\n"), "--dport 9") == ["INPUT 1"]
    assert time.process_time() - began < 2
