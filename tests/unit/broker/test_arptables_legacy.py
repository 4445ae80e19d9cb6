"""arptables-legacy's two listings, as one text of a save tool."""

from __future__ import annotations

from nettop.broker.rules.arptables_legacy import saved
from nettop.decode.nftables.iptables_save import parse_save

WORDS = b"""Chain INPUT (policy ACCEPT)
-j DROP -s 10.0.0.9 

Chain foo (1 references)
-j mangle --mangle-ip-s 5.6.7.8 
"""
COUNTED = b"""Chain INPUT (policy ACCEPT 5 packets, 60 bytes)
-j DROP -i * -o * -s 10.0.0.9 , pcnt=3 -- bcnt=84 

Chain foo (1 references)
-j mangle -i * -o * --mangle-ip-s 5.6.7.8 , pcnt=0 -- bcnt=0 
"""


def test_words_are_those_without_counters_and_counters_are_kept() -> None:
    found = parse_save(saved(WORDS, COUNTED) or b"")
    (rule,) = found.chains["filter", "INPUT"].rules
    assert (rule.text, rule.packets, rule.bytes) == ("-j DROP -s 10.0.0.9", 3, 84)
    chain = found.chains["filter", "INPUT"]
    assert (chain.policy, chain.packets, chain.bytes) == ("ACCEPT", 5, 60)
    assert found.chains["filter", "foo"].policy is None
    assert [rule.target for rule in found.chains["filter", "foo"].rules] == ["mangle"]


def test_two_listings_of_different_rules_are_none() -> None:
    assert saved(WORDS, COUNTED.replace(b"Chain foo", b"Chain bar")) is None
