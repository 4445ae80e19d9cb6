"""Filters that find the packets of a rule, of a packet and of a flow, for a trace and among traced packets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.errors import UsageError
from nettop.labs.client import bundled
from nettop.model.filter.expression import parse
from nettop.model.ruleset.picture import NFT, ChainView, Picture, RuleView
from nettop.model.ruleset.rule_tree import heading_ident
from nettop.model.traces.match import matches
from nettop.pipeline.engine import Engine
from nettop.recording.reader import open_reader
from nettop.session.trace_actions import filter_of_rule, flow_of_journey, packet_filter, trace_text


def engine_of(*chains: ChainView, rules: list[RuleView] | None = None) -> Engine:
    engine = Engine("")
    engine.ruleset._picture = Picture(list(chains), rules or [])
    return engine


def chain(ident: int, name: str, family: str = "inet", backend: str = NFT) -> ChainView:
    return ChainView(ident, backend, family, 'f"w*', name, None, None, None, None, 0, 1)


def rule(ident: int, handle: int | None) -> RuleView:
    return RuleView(ident, 0, 3, "drop", NFT, None, (), "drop", handle)


def test_rules_are_found_by_handle_or_number_policies_and_chains_by_name() -> None:
    engine = engine_of(chain(1, "b"), rules=[rule(5, 17)])
    texts = [filter_of_rule(engine, view, ident)[0] for view, ident in (("rules", 5), ("rules", -1), ("chains", 1))]
    assert texts == ['rule "inet f?w? b handle 17"', 'rule "inet f?w? b policy"', 'table "f?w?" and chain "b"']
    assert filter_of_rule(engine, "rules", heading_ident(engine.ruleset.picture.chains[0])) == (texts[2], "", "")
    assert all(parse(text, "traced packet") for text in texts)
    legacy = engine_of(chain(1, "b", "ip", "iptables-legacy"), rules=[rule(5, None)])
    assert filter_of_rule(legacy, "rules", 5) == ('rule "ip f?w? b rule 3"', "", "")
    assert filter_of_rule(engine, "rules", 9) == ("", "", "")


def test_rules_of_bridges_and_devices_need_their_hooks_and_those_of_arp_are_refused() -> None:
    also = [filter_of_rule(engine_of(chain(1, "b", family)), "chains", 1)[1] for family in ("bridge", "netdev", "ip")]
    assert also == ["bridge", "ingress", ""]
    with pytest.raises(UsageError, match="no trace sees chains of family arp"):
        filter_of_rule(engine_of(chain(1, "b", "arp")), "chains", 1)


@pytest.mark.parametrize(
    ("backend", "text", "packets"),
    [
        (NFT, "ip saddr 203.0.113.66 tcp dport 22 counter drop", "src net 203.0.113.66"),
        (NFT, "ip6 saddr 2001:db8::/32 meta l4proto udp drop", "src net 2001:db8::/32 and proto udp"),
        (NFT, "ip saddr != 10.0.0.1 drop", ""),
        (NFT, "ip saddr { 10.0.0.1, 10.0.0.2 } ip protocol icmp drop", "proto icmp"),
        (NFT, "ip saddr 10.0.0.1-10.0.0.9 drop", ""),
        (NFT, "ct original ip saddr 10.0.0.1 drop", ""),
        (NFT, 'drop comment "ip saddr 10.0.0.1"', ""),
        (
            "iptables-nft",
            "-s 203.0.113.66/32 -p tcp -m tcp --dport 22 -j DROP",
            "src net 203.0.113.66/32 and proto tcp",
        ),
        ("iptables-nft", "! -s 10.0.0.0/8 -d 10.9.0.4/32 -j DROP", "dst net 10.9.0.4/32"),
        ("iptables-legacy", '-m comment --comment "-s 10.0.0.1" -j DROP', ""),
    ],
)
def test_what_a_rule_names_plainly_selects_the_packets_to_trace(backend: str, text: str, packets: str) -> None:
    forward = replace(chain(1, "b", "ip", backend), hook="forward", type="filter")
    engine = engine_of(forward, rules=[replace(rule(5, 17), text=text, backend=backend)])
    assert filter_of_rule(engine, "rules", 5)[2] == packets
    if packets:
        matches(parse(packets, "trace"))


def test_an_address_that_may_be_rewritten_before_the_rule_selects_nothing() -> None:
    text = "ip saddr 10.0.0.1 ip daddr 10.9.0.4 meta l4proto tcp drop"
    nat = replace(chain(2, "n", "ip"), hook="prerouting", type="nat", first=1, count=0)

    def packets(hook: str, *others: ChainView, more: str = "accept") -> str:
        own = replace(chain(1, "b", "ip"), hook=hook, type="filter")
        rules = [replace(rule(5, 17), text=text), replace(rule(6, 18), text=more)]
        return filter_of_rule(engine_of(replace(own, count=2), *others, rules=rules), "rules", 5)[2]

    assert packets("forward") == "src net 10.0.0.1 and dst net 10.9.0.4 and proto tcp"
    assert packets("forward", nat) == "src net 10.0.0.1 and proto tcp"
    assert packets("postrouting", nat) == "proto tcp"
    assert packets("forward", more="ip saddr set 10.0.0.1") == "proto tcp"


def test_packets_of_a_recording_are_found_again_by_their_filters() -> None:
    engine, kinds = Engine(), set()
    for item in open_reader(bundled()):
        engine.apply(item, getattr(item, "first_ns", 0))
    engine.packets.store.settle(1 << 62)
    for ident in next(iter(engine.packets.store.segments)).ident[:200].tolist():
        text = packet_filter(engine, ident)
        kinds.add(text.split(" ")[0])
        assert len(matches(parse(text, "trace"))) == 2
    assert kinds >= {"tcp", "icmp"} and packet_filter(engine, 1 << 40) == ""
    number = next(n for n, journey in engine.traces.kept.items() if journey.end and journey.end.verdict == "accept")
    ident, text = flow_of_journey(engine, number, 0)
    assert text.startswith("icmp and (") and ident is not None
    assert flow_of_journey(engine, 1 << 40, 0) == (None, "")


def test_an_export_has_what_matches_as_text_or_json() -> None:
    engine = Engine()
    for item in open_reader(bundled()):
        engine.apply(item, 0)
    drops = parse("verdict drop", "traced packet")
    count, text = trace_text(engine, drops, True)
    assert count == text.count("\n\n") == text.count("  DROP  ") > 0
    again, lines = trace_text(engine, drops, False)
    assert again == count == lines.count('"kind": "end"')
    assert trace_text(engine, parse("chain nowhere", "traced packet"), True) == (0, "")
