"""Packets on their way through real chains: the journey is what was sent, and ends where the rules say."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nettop.batch import item_time
from nettop.broker.client import Broker
from nettop.errors import BrokerError
from nettop.headless.rule_reading import RULE_FEEDS
from nettop.model.filter.expression import parse
from nettop.model.traces.ends import verdict_of, where
from nettop.model.traces.journey import Journey
from nettop.model.traces.match import MAX_MATCHES, matches
from nettop.pipeline import feeds
from nettop.pipeline.engine import Engine
from nettop.pipeline.ingest import Plumbing
from nettop.pipeline.live_sources import LiveSources
from tests.kernel.commands import nettop, running
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

CLIENT, ROUTER_A, ROUTER_B, SERVER = "10.8.1.2", "10.8.1.1", "10.8.2.1", "10.8.2.2"


class Path3:
    """client — router — server, IPv4 and IPv6; rules are made in the router."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.client, self.router, self.server = lab.netns("cl"), lab.netns("ro"), lab.netns("se")
        lan = (f"{CLIENT}/24", "fd08:1::2/64"), (f"{ROUTER_A}/24", "fd08:1::1/64")
        wan = (f"{ROUTER_B}/24", "fd08:2::1/64"), (f"{SERVER}/24", "fd08:2::2/64")
        lab.veth_pair(self.client, self.router, "c0", "lan0", *lan)
        lab.veth_pair(self.router, self.server, "wan0", "s0", *wan)
        for ns, four, via in ((self.client, ROUTER_A, "fd08:1::1"), (self.server, ROUTER_B, "fd08:2::1")):
            run_in(ns, "ip", "route", "add", "default", "via", four)
            run_in(ns, "ip", "-6", "route", "add", "default", "via", via)
        run_in(self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def rules(self, text: str) -> None:
        """Make rules: lines that begin with a tool's name are its arguments, the others are nft's."""
        for line in filter(None, map(str.strip, text.splitlines())):
            run_in(self.router, *(line.split() if line.startswith(("ip", "eb")) else ("nft", line)))

    def ping(self, to: str, count: int = 1) -> None:
        run_in(self.client, "ping", "-c", str(count), "-i", "0.02", "-W", "0.2", to, check=False)

    def send(self, proto: str, to: str, port: int, size: int = 1) -> None:
        kind = "STREAM" if proto == "tcp" else "DGRAM"
        script = f"from socket import *; c = socket(AF_INET, SOCK_{kind}); c.settimeout(1); c.connect(({to!r}, {port}))"
        run_in(self.client, sys.executable, "-c", f"{script}; c.send(b'x' * {size})", check=False)


class Tracing:
    """A trace of the router, with its models."""

    def __init__(self, broker: Broker, ns: str, expression: str, legacy: bool = False, **limits: Any) -> None:
        self.plumbing = Plumbing()
        self.live = LiveSources(broker, broker.netns(ns), self.plumbing)
        self.engine = Engine(self.live.netns.label)
        self.live.watch(*RULE_FEEDS, feeds.ROUTES, *feeds.TRACING)
        poll(lambda: self.read() or (self.engine.ruleset.is_settled and self.engine.routing.links(0)))
        parsed = parse(expression, "trace")
        assert parsed is not None
        if legacy:
            self.live.trace_log()
        self.number, self.table = broker.start_trace(self.live.netns, matches(parsed), **limits)

    def read(self) -> None:
        for item in self.plumbing.handoff.get(0.02)[1]:
            self.engine.apply(item, item_time(item) or time.time_ns())
        self.engine.traces.settle(time.time_ns())

    def complete(self, journey: Journey) -> bool:
        return self.engine.traces.worded(journey) and self.engine.traces.is_complete(journey)

    def close(self) -> None:
        self.live.broker.stop_trace(self.number)
        self.live.close()
        self.plumbing.close()

    def ended(self, count: int) -> list[Journey]:
        """So many journeys, with the words of their rules."""
        poll(lambda: self.read() or len(self.engine.traces.ended) >= count, what=f"{count} journeys")
        found = list(self.engine.traces.ended)
        for step in (step for journey in found for step in journey.steps if step.record.handle is not None):
            step.found = step.found or self.engine.ruleset.rule(
                step.record.family, step.record.table, step.record.handle
            )
        return found


@contextmanager
def tracing(broker: Broker, ns: str, expression: str, **limits: Any) -> Iterator[Tracing]:
    trace = Tracing(broker, ns, expression, **limits)
    try:
        yield trace
    finally:
        trace.close()


@pytest.fixture
def path(lab: Lab) -> Path3:
    return Path3(lab)


REPLACED = (
    "add table ip p",
    "add chain ip p f { type filter hook forward priority 0; }",
    "add rule ip p f ip daddr 10.8.2.2 accept",
)


def _sent(journey: Journey) -> bool:
    """Whether a packet is one of the test's, no neighbour discovery."""
    return journey.head.proto_text == "udp" or journey.head.info == "echo request"


def steps(journey: Journey) -> list[str]:
    """`forward fw/in 2 jump lan` for each step."""
    return [
        " ".join(
            filter(
                None,
                (
                    step.hook,
                    f"{step.record.table}/{step.record.chain}",
                    "policy" if step.record.type == "policy" else str(step.number or "?"),
                    step.record.verdict,
                    step.record.target,
                ),
            )
        )
        for step in journey.steps
    ]


FW = """
add table inet fw
add chain inet fw forward { type filter hook forward priority 0; policy accept; }
add chain inet fw lan
add chain inet fw deep
add chain inet fw blocked
"""
CASES: dict[str, tuple[str, Callable[[Path3], None], list[str], str, str]] = {
    "accept": (
        FW + "add rule inet fw forward ip protocol icmp accept",
        lambda path: path.ping(SERVER),
        ["forward fw/forward 1 accept"],
        "accept",
        "accepted, out of wan0",
    ),
    "three chains deep": (
        FW
        + """add rule inet fw forward meta mark 1 accept
        add rule inet fw forward ip saddr 10.8.1.0/24 jump lan
        add rule inet fw lan jump deep
        add rule inet fw deep goto blocked
        add rule inet fw blocked counter drop comment "the culprit" """,
        lambda path: path.ping(SERVER),
        [
            "forward fw/forward 2 jump lan",
            "forward fw/lan 1 jump deep",
            "forward fw/deep 1 goto blocked",
            "forward fw/blocked 1 drop",
        ],
        "drop",
        'dropped by inet fw ▸ lan ▸ deep ▸ blocked rule 1 “counter drop comment "the culprit"” (handle 9)',
    ),
    "return": (
        FW
        + """add rule inet fw forward jump lan
        add rule inet fw lan ip protocol icmp return
        add rule inet fw lan drop
        add rule inet fw forward meta l4proto icmp reject""",
        lambda path: path.ping(SERVER),
        ["forward fw/forward 1 jump lan", "forward fw/lan 1 return", "forward fw/forward 2 drop"],
        "reject",
        "rejected by inet fw forward rule 2",
    ),
    "end of a chain": (
        FW
        + """add rule inet fw forward jump lan
        add rule inet fw lan meta mark 7 drop
        add rule inet fw forward jump deep
        add rule inet fw deep meta mark set 0x9
        add rule inet fw forward meta mark 9 drop""",
        lambda path: path.ping(SERVER),
        [
            "forward fw/forward 1 jump lan",
            "forward fw/forward 2 jump deep",
            "forward fw/deep 1 continue",
            "forward fw/forward 3 drop",
        ],
        "drop",
        "dropped by inet fw forward rule 3",
    ),
    "policy": (
        "add table ip p\nadd chain ip p f { type filter hook forward priority 10; policy drop; }",
        lambda path: path.ping(SERVER),
        ["forward p/f policy drop"],
        "drop",
        "dropped by ip p f policy",
    ),
    "sets and maps": (
        FW
        + """add set inet fw bad { type ipv4_addr; }
        add element inet fw bad { 10.8.2.2 }
        add rule inet fw forward ip protocol vmap { icmp : jump lan, tcp : drop }
        add rule inet fw lan ip daddr @bad drop""",
        lambda path: path.ping(SERVER),
        ["forward fw/forward 1 jump lan", "forward fw/lan 1 drop"],
        "drop",
        "dropped by inet fw ▸ lan rule 1 “ip daddr @bad drop” (handle 8)",
    ),
    "a named verdict map": (
        FW
        + """add map inet fw who { type ipv4_addr : verdict; }
        add element inet fw who { 10.8.1.2 : goto blocked, 10.8.1.3 : accept }
        add rule inet fw forward ip saddr vmap @who
        add rule inet fw blocked meta mark set 0x5 counter
        add rule inet fw blocked meta mark 5 reject with icmp type admin-prohibited""",
        lambda path: path.ping(SERVER),
        ["forward fw/forward 1 goto blocked", "forward fw/blocked 1 continue", "forward fw/blocked 2 drop"],
        "reject",
        "rejected by inet fw ▸ blocked rule 2",
    ),
    "DNAT, forward, masquerade": (
        """iptables -t nat -A PREROUTING -d 10.8.1.1 -p udp --dport 80 -j DNAT --to-destination 10.8.2.2:8080
        iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE
        iptables -A FORWARD -j ACCEPT""",
        lambda path: path.send("udp", ROUTER_A, 80),
        [
            "prerouting nat/PREROUTING 1 accept",
            "forward filter/FORWARD 1 accept",
            "postrouting nat/POSTROUTING 1 accept",
        ],
        "accept",
        "accepted, out of wan0, NAT src → 10.8.2.1:",
    ),
    "REDIRECT": (
        "iptables -t nat -A PREROUTING -p udp --dport 53 -j REDIRECT --to-ports 5353",
        lambda path: path.send("udp", SERVER, 53),
        ["prerouting nat/PREROUTING 1 accept"],
        "accept",
        "accepted, for this host, NAT dst → 10.8.1.1:5353",
    ),
    "NOTRACK": (
        """iptables -t raw -A PREROUTING -p icmp -j CT --notrack
        iptables -A FORWARD -m conntrack --ctstate UNTRACKED -j DROP""",
        lambda path: path.ping(SERVER),
        [
            "prerouting raw/PREROUTING 1 continue",
            "prerouting raw/PREROUTING policy accept",
            "forward filter/FORWARD 1 drop",
        ],
        "drop",
        "dropped by ip filter FORWARD rule 1",
    ),
    "IPv6": (
        """ip6tables -N IN
        ip6tables -A FORWARD -s fd08:1::/64 -j IN
        ip6tables -A IN -p ipv6-icmp -m icmp6 --icmpv6-type echo-request -j REJECT""",
        lambda path: path.ping("fd08:2::2"),
        ["forward filter/FORWARD 1 jump IN", "forward filter/IN 1 drop"],
        "reject",
        "rejected by ip6 filter ▸ IN rule 1",
    ),
    "for this host": (
        "iptables -A INPUT -i lan0 -p icmp -j ACCEPT",
        lambda path: path.ping(ROUTER_A),
        ["input filter/INPUT 1 accept"],
        "accept",
        "accepted, for this host",
    ),
    "no rule at all": ("", lambda path: path.ping(SERVER), [], "accept", "accepted, out of wan0"),
    "no route": (
        "",
        lambda path: path.ping("192.0.2.1"),
        [],
        "lost",
        "lost in routing, after prerouting",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_steps_of_a_packet_and_its_end_are_those_of_the_rules(path: Path3, broker: Broker, case: str) -> None:
    rules, send, expected, verdict, sentence = CASES[case]
    path.rules(rules)
    with tracing(broker, path.router, "device lan0") as trace:
        send(path)
        poll(lambda: any(map(_sent, trace.ended(1))))
        first = next(filter(_sent, trace.ended(1)))
    assert steps(first) == expected
    assert verdict_of(first.end) == verdict  # type: ignore[arg-type]
    assert where(first).startswith(sentence)


def test_each_of_twenty_pings_and_of_their_answers_is_a_packet_of_its_own(path: Path3, broker: Broker) -> None:
    """The kernel's id is not per packet: the next one often has the same."""
    path.rules(FW + "add rule inet fw forward ip protocol icmp accept")
    with tracing(broker, path.router, "icmp") as trace:
        path.ping(SERVER, 20)
        found = trace.ended(40)
    ways = [(journey.head.source, journey.iif, journey.end.oif if journey.end else None) for journey in found]
    assert sorted(ways) == sorted([(CLIENT, "lan0", "wan0"), (SERVER, "wan0", "lan0")] * 20)
    assert [journey.number for journey in found] == list(range(1, 41))


def test_what_the_filter_does_not_match_is_not_traced(path: Path3, broker: Broker) -> None:
    expression = f"(host {SERVER} and not port 81 and not icmp) or host 10.8.9.9"
    with tracing(broker, path.router, expression) as trace:
        path.ping(SERVER)
        path.ping("10.8.9.9")
        for port in (81, 82):
            path.send("udp", SERVER, port)
        found = trace.ended(2)
        trace.read()
    sent = [(j.head.proto_text, j.head.destination) for j in found if j.head.src == CLIENT]
    assert sorted(sent) == [("icmp", "10.8.9.9"), ("udp", f"{SERVER}:82")]


def test_the_limit_keeps_the_rest_unmarked(path: Path3, broker: Broker) -> None:
    with tracing(broker, path.router, f"src host {CLIENT}", per_second=5) as trace:
        run_in(path.client, "ping", "-f", "-c", "200", "-W", "1", SERVER)
        poll(lambda: trace.read() or len(trace.engine.traces.ended) >= 5)
    assert 5 <= len(trace.engine.traces.ended) < 100


def test_what_is_over_the_limit_is_counted_exactly(path: Path3, broker: Broker) -> None:
    with tracing(broker, path.router, f"icmp and src host {CLIENT}", per_second=5) as trace:
        run_in(path.client, "ping", "-f", "-c", "200", "-W", "1", SERVER)
        counts = broker.stop_trace(trace.number)
        poll(lambda: trace.read() or len(trace.engine.traces.ended) >= (counts or (0, 0))[1])
        assert counts == (200, len(trace.engine.traces.ended))
        assert broker.stop_trace(trace.number) == counts, "also later"


def test_the_command_reports_what_was_over_the_limit(path: Path3) -> None:
    with running("trace", f"src host {CLIENT} and icmp", "--netns", path.router, "--rate", "5") as command:
        command.line(errors=True)
        run_in(path.client, "ping", "-f", "-c", "100", "-W", "1", SERVER)
        command.signal()
        code, out, err = command.end()
    traced = out.count("ACCEPT")
    assert code == 0
    assert err == f"nettop: {100 - traced} packets of 100 that matched were over the limit, and not traced\n"


def test_two_traces_at_once_see_their_own_packets(path: Path3, broker: Broker) -> None:
    with tracing(broker, path.router, "icmp") as one, tracing(broker, path.router, f"dst host {SERVER}") as other:
        one.engine.traces.table, other.engine.traces.table = one.table, other.table
        path.ping(SERVER)
        assert {j.head.dst for j in one.ended(2)} == {SERVER, CLIENT}
        assert [j.head.dst for j in other.ended(1)] == [SERVER]
        other.read()
        assert len(other.engine.traces.ended) == 1


def test_a_rule_that_was_deleted_meanwhile_keeps_its_words(path: Path3, broker: Broker) -> None:
    path.rules(FW + 'add rule inet fw forward ip protocol icmp counter drop comment "gone soon"')
    with tracing(broker, path.router, f"icmp and src host {CLIENT}") as trace:
        path.ping(SERVER)
        (first,) = trace.ended(1)
        handle = first.steps[0].record.handle
        run_in(path.router, "nft", "delete", "rule", "inet", "fw", "forward", "handle", str(handle))
        path.ping(SERVER)
        poll(lambda: trace.read() or len(trace.engine.traces.ended) == 2)
        poll(lambda: trace.read() or trace.engine.ruleset.rule("inet", "fw", handle) is None)
        second = trace.engine.traces.ended[1]
    assert "gone soon" in where(first) and where(first).startswith("dropped by inet fw forward rule 1")
    assert where(second) == "accepted, out of wan0" and steps(second) == ["forward fw/forward policy accept"]


def test_a_rule_that_was_deleted_before_it_was_read_is_told_by_its_handle(path: Path3, broker: Broker) -> None:
    path.rules(FW)
    with tracing(broker, path.router, f"icmp and src host {CLIENT}") as trace:
        run_in(path.router, "nft", "add rule inet fw forward ip protocol icmp drop")
        path.ping(SERVER)
        run_in(path.router, "nft", "flush", "chain", "inet", "fw", "forward")
        poll(lambda: trace.read() or trace.engine.traces.ended)
        (found,) = trace.engine.traces.ended
    handle = found.steps[0].record.handle
    assert found.verdict == "drop" and f"handle {handle}" in where(found)


@pytest.mark.parametrize("made_again", [False, True])
def test_a_rule_that_another_one_replaces_with_its_handle_has_the_new_words(path: Path3, made_again: bool) -> None:
    """Linux gives a rule that is replaced the handle of the one before."""
    *table, rule = REPLACED
    path.rules("\n".join(REPLACED))
    handle = re.findall(r"# handle (\d+)", run_in(path.router, "nft", "-a", "list", "chain", "ip", "p", "f"))[-1]
    with running("trace", "icmp", "--netns", path.router, "--count", "1") as command:
        command.line(errors=True)
        if made_again:
            path.rules("\n".join(("delete table ip p", *table, rule.replace("daddr 10.8.2.2 accept", "ttl > 1 drop"))))
        else:
            path.rules(f"replace rule ip p f handle {handle} ip ttl > 1 drop")
        path.ping(SERVER)
        code, out, _ = command.end()
    assert code == 0 and f"dropped by ip p f rule 1 “ip ttl > 1 drop” (handle {handle})" in out


def test_a_trace_of_as_many_alternatives_as_a_filter_may_have_is_made(path: Path3, broker: Broker) -> None:
    ns, ports = broker.netns(path.router), " or ".join(f"src port {1 + 2 * n}" for n in range(MAX_MATCHES // 2 - 1))
    found = matches(parse(f"host fd08::1 and device lo and ({ports})", "trace"), syn=True)
    assert len(found) == MAX_MATCHES - 2
    number, table = broker.start_trace(ns, found, bridge=True, ingress=True)
    assert run_in(path.router, "nft", "list", "table", "bridge", table).count("counter packets") > 2 * len(found)
    assert broker.stop_trace(number) == (0, 0)


def test_a_trace_ends_with_its_time(path: Path3, broker: Broker) -> None:
    ns = broker.netns(path.router)
    number, table = broker.start_trace(ns, matches(parse("icmp", "trace")), seconds=1)  # type: ignore[arg-type]
    assert table in run_in(path.router, "nft", "list", "tables")
    poll(lambda: table not in run_in(path.router, "nft", "list", "tables"))
    broker.stop_trace(number)


def test_a_trace_that_goes_on_keeps_no_descriptors_of_others(path: Path3, broker: Broker) -> None:
    ns, icmp = broker.netns(path.router), matches(parse("icmp", "trace"))  # type: ignore[arg-type]
    broker.start_trace(ns, icmp)
    before = len(os.listdir(f"/proc/{broker.pid}/fd"))
    for _ in range(20):
        broker.stop_trace(broker.start_trace(ns, icmp)[0])
    assert len(os.listdir(f"/proc/{broker.pid}/fd")) == before


def test_a_namespace_that_is_left_or_has_too_many_traces(path: Path3, broker: Broker) -> None:
    ns, icmp = broker.netns(path.router), matches(parse("icmp", "trace"))  # type: ignore[arg-type]
    for _ in range(8):
        broker.start_trace(ns, icmp)
    with pytest.raises(BrokerError, match="8 traces run already"):
        broker.start_trace(ns, icmp)
    broker.leave(ns)
    assert "nettop" not in run_in(path.router, "nft", "list", "tables")


# -- the command -----------------------------------------------------------------------------------------------------


def rows_of(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def test_the_command_names_the_rule_that_drops(path: Path3) -> None:
    path.rules(CASES["three chains deep"][0])
    with running("trace", f"host {SERVER}", "--netns", path.router, "--count", "1", "--json") as command:
        notice = command.line(errors=True).decode()
        assert "at most 50 packets a second" in notice and "table inet nettop-" in notice
        path.ping(SERVER)
        code, out, _ = command.end()
    *found, end = rows_of(out)
    assert code == 0 and [row["kind"] for row in found] == ["step"] * 4
    assert [(row["chain"], row["number"], row["verdict"]) for row in found][-1] == ("blocked", 1, "drop")
    assert end["kind"] == "end" and end["verdict"] == "drop" and end["certainty"] == "certain"
    assert [(row["chain"], row["number"]) for row in end["by"]] == [("forward", 2), ("lan", 1), ("deep", 1)]  # type: ignore[attr-defined]
    assert "the culprit" in str(end["where"])
    assert "nettop" not in run_in(path.router, "nft", "list", "tables")


@pytest.mark.parametrize("victim", ["app", "broker", "both"])
def test_nothing_is_left_after_a_kill(path: Path3, victim: str) -> None:
    path.rules("add table ip mine\nadd chain ip mine c")
    before = run_in(path.router, "nft", "-a", "list", "ruleset")
    tracked = run_in(path.router, "cat", "/proc/net/nf_conntrack")
    with running("trace", "icmp", "--netns", path.router) as command:
        command.line(errors=True)
        assert "nettop-" in run_in(path.router, "nft", "list", "ruleset")
        path.ping(SERVER)
        pids = {"app": command.pid, "broker": command.broker()}
        for pid in pids.values() if victim == "both" else [pids[victim]]:
            os.kill(pid, signal.SIGKILL)
        poll(lambda: run_in(path.router, "nft", "-a", "list", "ruleset") == before)
        code, _, err = command.end()
    assert victim != "broker" or (code == 1 and re.fullmatch("nettop: the broker ended.*\n", err))
    assert run_in(path.router, "cat", "/proc/net/nf_conntrack") == tracked == "", "nothing was tracked before or after"


def test_the_command_names_the_element_of_a_verdict_map(path: Path3) -> None:
    path.rules(CASES["a named verdict map"][0])
    with running("trace", "icmp", "--json", "--count", "1", "--netns", path.router) as command:
        command.line(errors=True)
        path.ping(SERVER)
        out = command.end()[1]
    (found,) = [row["element"] for row in map(json.loads, out.splitlines()) if row["kind"] == "step" and row["element"]]
    assert found == f"{CLIENT} in @who"


def test_ctrl_c_ends_it_in_order(path: Path3) -> None:
    with running("trace", "icmp", "--netns", path.router) as command:
        command.line(errors=True)
        path.ping(SERVER)
        assert command.line().startswith(b"")
        command.signal()
        code, out, err = command.end()
    assert (code, err) == (0, "") and "ACCEPT      accepted, out of wan0" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("icmp", "--read-only"), 4, "nothing is traced: nettop runs with --read-only"),
        (("chain x",), 2, "“chain” does not apply to traces"),
        (("tcp and udp",), 2, "no packet can match this filter"),
        (("",), 2, "nothing to trace"),
        (("device v?th0",), 2, "device v?th0\n         ^"),
        (("port 1-",), 2, "port"),
    ],
)
def test_what_cannot_be_traced_is_refused(lab: Lab, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = nettop("trace", *arguments, "--netns", lab.netns())
    assert done.returncode == code and message in done.stderr


def test_a_recording_replays_the_same_packets(path: Path3, tmp_path: Path) -> None:
    path.rules(CASES["three chains deep"][0])
    recording = str(tmp_path / "traced.pcapng")
    with running("record", "-w", recording, "--netns", path.router, "-i", "lan0") as record:
        poll(lambda: _has_rules(recording))
        with running("trace", "device lan0", "--netns", path.router, "--duration", "5") as command:
            command.line(errors=True)
            path.ping(SERVER, 3)
            path.ping("192.0.2.1", 2)  # no route: these are lost
            path.ping(ROUTER_A)
            live = command.end(20)[1]
        record.signal()
        assert record.end(20)[0] == 0
    assert live.count("\n\n") >= 6 and "NO END" in live and "the culprit" in live
    done = nettop("trace", "-r", recording)
    assert done.returncode == 0 and _without_times(done.stdout) == _without_times(live)
    as_json = nettop("trace", "-r", recording, "--json", "--count", "1")
    assert [row["kind"] for row in rows_of(as_json.stdout)][-1] == "end"
    refused = nettop("trace", "icmp", "-r", recording)
    assert refused.returncode == 2 and "leave the expression out" in refused.stderr


def _without_times(out: str) -> list[str]:
    """The packets, without the time of day and in any order: the kernel gives no time, and each reader has its own.

    And without the drop reasons and what they mean, which only the nettop that traces can read.
    """
    own = r"(?m)^[\d:.]+ |(?<=prerouting): .*|; then dropped.*|\n +[A-Z_]+: .*"
    return sorted(re.sub(own, "", one).strip() for one in out.split("\n\n"))


def _has_rules(recording: str) -> bool:
    return nettop("rules", "-r", recording).stdout.count("culprit") > 0
