"""Told by traced packets: the order of chains at one hook and priority, and how often rules without a counter match."""

from __future__ import annotations

from contextlib import closing

import pytest

from nettop.broker.client import Broker
from nettop.model.table import ViewSpec
from nettop.session.live import LiveSession
from nettop.session.status import TraceRequest
from nettop.session.trace_actions import trace_text
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_opened_sets import answer

pytestmark = pytest.mark.kernel

TABLE = "table inet {0} {{\n chain in {{\n type filter hook input priority 0; counter;\n }}\n}}\n"


def test_a_trace_proves_which_of_two_tied_chains_is_first(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("tied")
    run_in(ns, "ip", "link", "set", "lo", "up")
    run_in(ns, "nft", "-f", "-", stdin=TABLE.format("aa"))
    run_in(ns, "nft", "-f", "-", stdin=TABLE.format("bb"))  # registered last: the kernel runs it first
    columns = ("table", "priority")
    with closing(LiveSession(broker, ns)) as session:

        def chains() -> list[tuple[str, ...]]:
            rows = answer(session.ask, "chains", ViewSpec(columns, height=99)).rows
            return [row.cells for row in rows if not row.cells[0].startswith("nettop-")]

        poll(lambda: chains() == [("aa", "0 filter ?"), ("bb", "0 filter ?")], what="the tie")
        assert answer(session.start_trace, TraceRequest("icmp")) is None

        def proven() -> bool:
            run_in(ns, "ping", "-c", "1", "-W", "1", "127.0.0.1")
            return chains() == [("bb", "0 filter ✓"), ("aa", "0 filter ✓")]

        poll(proven, what="the proof")
        assert answer(session.stop_trace) is None
        poll(lambda: "nettop-" not in run_in(ns, "nft", "list", "tables"))
        run_in(ns, "nft", "add", "rule", "inet", "aa", "in", "accept")
        assert chains() == [("bb", "0 filter ✓"), ("aa", "0 filter ✓")]
        run_in(ns, "nft", "delete", "table", "inet", "aa")
        run_in(ns, "nft", "-f", "-", stdin=TABLE.format("aa"))
        poll(lambda: {mark[-1] for _, mark in chains()} == {"?"}, what="made again: not known")


RULES = """table inet fw {
    chain in {
        type filter hook input priority 0;
        icmp type echo-request accept
        ip saddr 127.0.0.1 counter accept
    }
}
"""


def test_a_rule_without_a_counter_shows_the_packets_of_the_trace_that_met_it(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("uncounted")
    run_in(ns, "ip", "link", "set", "lo", "up")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    columns = ("note", "packets", "rule")
    with closing(LiveSession(broker, ns)) as session:
        poll(lambda: answer(session.ask, "chains", ViewSpec(("table",), height=99)).rows, what="the chain")
        (chain,) = answer(session.ask, "chains", ViewSpec(("table",), height=99)).rows
        spec = ViewSpec(columns, height=99, scope=chain.ident)
        rules = lambda: answer(session.ask, "rules", spec).rows  # noqa: E731
        shown = [("no counter: t traces", "–"), ("never hit", "0"), ("", "–")]
        poll(lambda: [row.cells[:2] for row in rules()] == shown)
        uncounted = rules()[0]
        assert "t counts packets by a trace" in str(answer(session.detail, "rules", uncounted.ident).lines)
        only, also, _, error = answer(session.rule_filter, "rules", uncounted.ident)
        assert not error and answer(session.start_trace, TraceRequest("icmp", only=only, also=also)) is None
        run_in(ns, "ping", "-c", "3", "-i", "0.2", "127.0.0.1")
        poll(lambda: rules()[0].cells[:2] == ("traced 3", "t 3"), what="three echo requests")
        assert "the latest trace saw 3 packets in it" in str(answer(session.detail, "rules", uncounted.ident).lines)
        assert answer(session.start_trace, TraceRequest("tcp")) is None
        poll(lambda: rules()[0].cells[:2] == ("no counter: t traces", "–"), what="another trace begins at 0")


MAPS = """table inet fw {
    map ways { type inet_service : verdict; elements = { 22 : jump ssh, 9 : jump discard, 80 : jump ssh } }
    chain ssh { counter accept; }
    chain discard { counter drop; }
    chain in {
        type filter hook input priority 0;
        udp dport vmap @ways
    }
}
"""


def test_the_element_of_a_verdict_map_is_named_in_the_trace(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("element")
    run_in(ns, "ip", "link", "set", "lo", "up")
    run_in(ns, "nft", "-f", "-", stdin=MAPS)
    with closing(LiveSession(broker, ns)) as session:
        knows = lambda: session._run.waited(lambda engine, _: bool(engine.ruleset.raw.sets.branches))  # noqa: E731
        poll(knows, what="the map's elements")
        assert answer(session.start_trace, TraceRequest("udp")) is None
        run_in(ns, "bash", "-c", "echo x > /dev/udp/127.0.0.1/9; echo x > /dev/udp/127.0.0.1/80")
        text = lambda: session._run.waited(lambda engine, _: trace_text(engine, None, True)[1])  # noqa: E731
        poll(
            lambda: "udp dport vmap @ways   9 in @ways" in text() and "vmap @ways   80 in @ways" in text(), what="both"
        )
