"""A rule's text taken apart: its matches, and its verdict or target with what belongs to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.model.ruleset.picture import IPTABLES_NFT, NFT, RuleView
from nettop.model.ruleset.rule_words import split_rule

RULE = RuleView(1, 0, 1, "", NFT, None, (), "")


@pytest.mark.parametrize(
    ("text", "verdict", "parts"),
    [
        ("-i docker0 ! -o docker0 -j DOCKER-USER", "jump", ("-i docker0 ! -o docker0", "→ DOCKER-USER")),
        ("-p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", "DNAT",
         ("-p tcp -m tcp --dport 8080", "DNAT 172.17.0.2:80")),
        ("-o eth0 -j MASQUERADE --random-fully", "MASQUERADE", ("-o eth0", "MASQUERADE --random-fully")),
        ('-p tcp -m comment --comment "a -j b \\" c" -j DROP', "DROP", ("-p tcp", "DROP")),
        ("-m comment --comment web -j ACCEPT", "ACCEPT", ("every packet", "ACCEPT")),
        ('-p tcp -m comment --comment "cali:x" -m comment --comment "No policy" -m mark --mark 0/1 -j DROP', "DROP",
         ("-p tcp -m mark --mark 0/1", "DROP")),
        ('-j LOG --log-prefix "x -j ACCEPT "', "LOG", ("every packet", 'LOG --log-prefix "x -j ACCEPT "')),
        ('-m string --string "-j" --algo bm -j DROP', "DROP", ('-m string --string "-j" --algo bm', "DROP")),
        ("-p udp -g lan", "goto", ("-p udp", "goto lan")),
        ("-m mark --mark 0x1", "", ("-m mark --mark 0x1", "")),
        ('-m recent --set --name r"x --rsource -j DROP', "DROP", ('-m recent --set --name r"x --rsource', "DROP")),
        ("-j DROP -i eth+ ! -s 10.0.0.1 --opcode 1", "DROP", ("-i eth+ ! -s 10.0.0.1 --opcode 1", "DROP")),
        ("-j mangle -d 10.0.0.0/8 --mangle-ip-s 10.0.0.9", "mangle",
         ("-d 10.0.0.0/8", "mangle --mangle-ip-s 10.0.0.9")),
        ("-j MARK --set-xmark 0x5/0xff", "MARK", ("every packet", "MARK --set-xmark 0x5/0xff")),
        ("-j redirect ", "redirect", ("every packet", "redirect")),
    ],
)  # fmt: skip
def test_a_rule_of_iptables(text: str, verdict: str, parts: tuple[str, str]) -> None:
    rule = replace(RULE, text=text, verdict=verdict, backend=IPTABLES_NFT, targets=("DOCKER-USER",))
    assert split_rule(rule) == parts


@pytest.mark.parametrize(
    ("text", "verdict", "parts"),
    [
        ("ct state established,related accept", "accept", ("ct state established,related", "accept")),
        ("ip saddr 10.0.0.0/8 counter packets 4 bytes 9 jump lan", "jump", ("ip saddr 10.0.0.0/8", "→ lan")),
        ("tcp dport 80 goto lan", "goto", ("tcp dport 80", "goto lan")),
        ('tcp dport 22 log prefix "drop " drop comment "drop it"', "drop", ('tcp dport 22 log prefix "drop "', "drop")),
        ("tcp dport 80 dnat ip to 10.0.0.4:8080", "dnat", ("tcp dport 80", "dnat 10.0.0.4:8080")),
        ("reject with icmpx admin-prohibited", "reject", ("every packet", "reject with icmpx admin-prohibited")),
        ("tcp dport vmap { 22 : accept, 80 : drop }", "", ("tcp dport vmap { 22 : accept, 80 : drop }", "")),
        ("counter packets 0 bytes 0", "", ("every packet", "")),
        ('meta mark 0x1 comment "a "quoted"', "", ('meta mark 0x1', "")),
        ('log prefix "x\\" drop comment "y\\"', "drop", ('log prefix "x\\"', "drop")),
        ("add @d { ip saddr counter } counter packets 1 bytes 2 accept", "accept",
         ("add @d { ip saddr counter }", "accept")),
        ('tcp dport 80 counter name "web" accept', "accept", ('tcp dport 80 counter name "web"', "accept")),
        ("snat ip prefix to ip saddr map { 10.0.0.0/24 : 192.0.2.0/24 }", "snat",
         ("every packet", "snat prefix ip saddr map { 10.0.0.0/24 : 192.0.2.0/24 }")),
        ("masquerade to :1024-2048 random", "masquerade", ("every packet", "masquerade :1024-2048 random")),
        ("icmp type redirect redirect to :80", "redirect", ("icmp type redirect", "redirect :80")),
        ("ip saddr vmap { 10.0.0.1 : jump a } jump jump", "jump",
         ("ip saddr vmap { 10.0.0.1 : jump a }", "→ jump")),
        ("tcp dport 80 jump { ip saddr 10.0.0.1 accept }", "jump", ("tcp dport 80", "→ lan")),
    ],
)  # fmt: skip
def test_a_rule_of_nft(text: str, verdict: str, parts: tuple[str, str]) -> None:
    comment = text.partition(' comment "')[2][:-1] or None
    assert split_rule(replace(RULE, text=text, verdict=verdict, comment=comment, targets=("lan",))) == parts


def test_a_rule_without_words_has_the_chain_it_jumps_to() -> None:
    assert split_rule(replace(RULE, text=None, verdict="jump", targets=("lan",))) == ("(no words yet)", "→ lan")
