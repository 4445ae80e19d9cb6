"""Packets that the kernel drops: its reasons for them, counted, and as the ends of traced packets."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nettop.batch import Text
from nettop.broker import budget
from nettop.broker.client import Broker
from nettop.broker.privileges import confine_broker
from nettop.broker.tracing import perf
from nettop.broker.tracing.drops import MAX_COUNTS
from nettop.decode.drops import DropCounts, decode_drop_counts
from nettop.kinds import TextKind
from nettop.model.traces.ends import where
from nettop.model.traces.journey import Journey
from nettop.session.live import LiveSession
from nettop.session.status import TraceRequest
from tests.kernel.app import start_in_userns
from tests.kernel.commands import running
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.processes import forked_broker
from tests.kernel.rights import tracepoints
from tests.kernel.test_trace import CLIENT, ROUTER_A, SERVER, Path3, tracing

pytestmark = pytest.mark.kernel
SIZE = 211  # bytes: drops are the whole host's, and other tests have devices of the same names
FOREIGN = "172.31.9.9"  # of the client, without a route back


@pytest.fixture
def path(lab: Lab) -> Path3:
    made = Path3(lab)
    # The hosts know each other's hardware addresses: rp_filter drops requests of others for them.
    poll(lambda: " 1 received" in run_in(made.client, "ping", "-c", "1", "-W", "1", SERVER, check=False))
    run_in(made.client, "ip", "address", "add", f"{FOREIGN}/32", "dev", "c0")
    run_in(made.router, "sysctl", "-qw", "net.ipv4.conf.lan0.rp_filter=1")
    return made


def unanswered_ping(path: Path3, *options: str, to: str = SERVER) -> None:
    run_in(path.client, "ping", "-c", "1", "-W", "0.1", "-s", str(SIZE), *options, to, check=False)


def counts(broker: Broker, ns: str) -> DropCounts:
    return decode_drop_counts(Text(0, 0, 0, TextKind.DROPS, broker.text(broker.netns(ns), TextKind.DROPS)))


def by_place(found: DropCounts) -> Counter[tuple[str, str]]:
    return Counter({(one.reason, one.function): one.count for one in found.counts})


# -- counts ----------------------------------------------------------------------------------------------------------


@tracepoints
def test_each_drop_is_counted_with_its_reason_and_function(path: Path3, broker: Broker) -> None:
    path.rules("add table ip t\nadd chain ip t f { type filter hook forward priority 0; }\nadd rule ip t f drop")
    before = by_place(counts(broker, path.router))

    def are_counted() -> bool:
        """Send one of each; a ping that a busy machine ends before it was sent is sent again."""
        unanswered_ping(path, "-I", FOREIGN)
        unanswered_ping(path)
        path.send("udp", ROUTER_A, 70)
        found = by_reason(counts(broker, path.router), before)
        return min(found["IP_RPFILTER"], found["NETFILTER_DROP"], found["NO_SOCKET"]) >= 3

    poll(are_counted, 90.0)  # other tests may fill the rings
    grown = by_place(counts(broker, path.router)) - before  # other tests may run beside this one
    assert {reason for reason, function in grown if function in ("ip_rcv_finish_core", "__udp4_lib_rcv")} >= {
        "IP_RPFILTER",
        "NO_SOCKET",
    }
    assert any(reason == "NETFILTER_DROP" and "nf" in function for reason, function in grown)
    assert counts(broker, path.router).lost == 0


def by_reason(found: DropCounts, before: Counter[tuple[str, str]]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for (reason, _), count in (by_place(found) - before).items():
        sums[reason] += count
    return sums


def tracefs_mounts() -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if "tracefs" in line]


@tracepoints
def test_the_numbers_of_reasons_are_those_of_this_kernel() -> None:
    """A table of numbers would be wrong on another kernel; tracefs is mounted for the length of one read."""
    mounts = tracefs_mounts()
    (dropped,) = perf.tracepoints("skb/kfree_skb")
    assert {"NO_SOCKET", "NETFILTER_DROP", "NOT_SPECIFIED"} <= set(dropped.names.values())
    assert {"skbaddr", "location", "protocol", "reason"} <= dropped.fields.keys()
    assert tracefs_mounts() == mounts


@tracepoints
@pytest.mark.resizes_hash  # alone: it fills the rings of all brokers
def test_what_comes_too_fast_is_counted_as_lost(path: Path3, broker: Broker) -> None:
    """The ring of a CPU holds 4,096 drops, and the broker cannot read them while it is stopped."""
    before, sent = counts(broker, path.router), 6_000 * (os.cpu_count() or 1)
    script = f"""from socket import *
s = socket(AF_INET, SOCK_DGRAM)
for _ in range({sent}): s.sendto(b'x', ('127.0.0.1', 9))"""
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        run_in(path.router, sys.executable, "-c", script)
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    counts(broker, path.router)
    found = counts(broker, path.router)
    seen = by_reason(found, by_place(before))["NO_SOCKET"]
    assert found.lost > before.lost and sent <= found.lost - before.lost + seen < sent + 500


@tracepoints
@pytest.mark.resizes_hash  # alone: a broker that gets no time loses drops
def test_more_than_a_ring_holds_is_read_without_a_request(path: Path3, broker: Broker) -> None:
    before, sent = counts(broker, path.router), 6_000
    script = f"""from socket import *
from select import select
s = socket(AF_INET, SOCK_DGRAM)
for n in range({sent}):
    s.sendto(b'x', ('127.0.0.1', 9))
    if not n % 200: select([], [], [], 0.15)"""
    run_in(path.router, "taskset", "-c", "0", sys.executable, "-c", script)
    found = counts(broker, path.router)
    assert found.lost == before.lost and by_reason(found, by_place(before))["NO_SOCKET"] >= sent


def test_without_the_right_the_reason_is_given() -> None:
    with start_in_userns(confine=False) as broker:
        error = counts(broker, "").error
    assert error == "the kernel's drop reasons are not read: this needs root on the host"


def test_without_the_right_there_is_a_row_that_says_so() -> None:
    command = ["unshare", "-Urn", sys.executable, "-m", "nettop", "counters", "--group", "drop-reason"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "not known: the kernel's drop reasons are not read: this needs root on the host" in done.stdout


@tracepoints
def test_root_without_the_capability_is_told_its_name() -> None:
    command = ["capsh", "--drop=cap_sys_admin", "--", "-c", f"{sys.executable} -m nettop counters --group drop-reason"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "not known: the kernel's drop reasons are not read: CAP_SYS_ADMIN is missing" in done.stdout


@tracepoints
def test_rings_that_may_not_be_mapped_take_nothing_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """All programs of root share what they may lock: 516 KiB a CPU, less than two rings."""
    monkeypatch.setattr(budget, "_half_of_memory", lambda: 16 << 20)
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, limits[1]))
    try:
        with forked_broker(confine_broker) as one, forked_broker(confine_broker) as other:
            refused, said = next((broker, error) for broker in (one, other) if (error := counts(broker, "").error))
            for _ in range(100):  # not all are refused if another program unlocks memory
                counts(refused, "")
            os.close(refused.packet_socket(refused.netns(""), "lo", block_size=1 << 20, block_count=8).fd)
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)
    assert said == "the kernel's drop reasons are not read: too much memory is locked: raise `ulimit -l`"


@tracepoints
def test_whoever_sends_every_protocol_makes_no_row_for_each(path: Path3, broker: Broker) -> None:
    before = counts(broker, path.router)
    script = """from socket import *
s = socket(AF_PACKET, SOCK_RAW)
s.bind(("c0", 0))
for kind in range(0x0600, 0x0600 + 3000):
    s.send(bytes.fromhex("ffffffffffff020000000001") + kind.to_bytes(2, "big") + bytes(46))"""
    run_in(path.client, sys.executable, "-c", script)
    poll(lambda: sum(one.count for one in counts(broker, path.router).counts) >= 3000)
    found = counts(broker, path.router)
    assert len(found.counts) < MAX_COUNTS + 100
    others = [one for one in found.counts if one.protocol == 0 and one.reason == "UNHANDLED_PROTO"]
    assert others and sum(one.count for one in found.counts) - sum(one.count for one in before.counts) >= 3000


@tracepoints
def test_the_counters_command_gives_rates_and_exact_changes(path: Path3) -> None:
    rows: list[dict[str, Any]] = []
    with running(
        "counters", "--netns", path.router, "--json", "--interval", "0.3", "--group", "drop-reason"
    ) as command:
        rows.append(json.loads(command.line()))
        for _ in range(4):
            unanswered_ping(path, "-I", FOREIGN)
        while not any(row["name"] == "IP_RPFILTER" and row["value"] >= 4 for row in rows):
            rows.append(json.loads(command.line()))
        command.signal()
        code, _, err = command.end()
    assert (code, err) == (0, "")
    filtered = [row for row in rows if row["name"] == "IP_RPFILTER"]
    assert sum(row["delta"] for row in filtered) == filtered[-1]["value"], "also the first row has its change"
    assert all(row["rate"] > 0 for row in filtered)
    assert "ip_rcv_finish_core ip" in filtered[-1]["places"]
    assert rows[0]["name"] == "all" and rows[0]["unit"] == "packets"


# -- the ends of traced packets --------------------------------------------------------------------------------------


def with_drop(path: Path3, broker: Broker, expression: str, send: Any) -> Journey:
    """The first traced packet that the kernel dropped."""
    with tracing(broker, path.router, expression) as trace:
        # Sent again and again: on a busy host a drop may not be found to be that of a packet.
        poll(lambda: send() or trace.read() or any(journey.drop for journey in trace.engine.traces.ended))
        return next(journey for journey in trace.engine.traces.ended if journey.drop)


@tracepoints
def test_a_packet_that_rp_filter_drops_has_that_reason(path: Path3, broker: Broker) -> None:
    found = with_drop(path, broker, "icmp", lambda: unanswered_ping(path, "-I", FOREIGN))
    assert found.verdict == "lost" and found.head.src == FOREIGN
    expected = "lost in routing, after prerouting: drop reason IP_RPFILTER (likely), in ip_rcv_finish_core"
    assert where(found).replace("possible", "likely") == expected


@tracepoints
def test_a_datagram_for_no_socket_is_accepted_and_then_dropped(path: Path3, broker: Broker) -> None:
    found = with_drop(path, broker, "udp", lambda: path.send("udp", ROUTER_A, 77, SIZE))
    expected = "accepted, for this host; then dropped: drop reason NO_SOCKET (likely), in __udp4_lib_rcv"
    assert where(found).replace("possible", "likely") == expected  # possible: where another fits as well


@tracepoints
def test_a_packet_without_route_has_that_reason(path: Path3, broker: Broker) -> None:
    found = with_drop(path, broker, "icmp", lambda: unanswered_ping(path, to="192.0.2.1"))
    assert where(found).startswith("lost in routing, after prerouting: drop reason IP_INNOROUTES (likely)")


@tracepoints
def test_a_packet_that_iptables_legacy_drops_has_netfilters_reason(path: Path3, broker: Broker) -> None:
    path.rules("iptables-legacy -A FORWARD -p icmp -j DROP")
    found = with_drop(path, broker, "icmp", lambda: unanswered_ping(path))
    assert "drop reason NETFILTER_DROP (likely), in " in where(found)


@tracepoints
def test_packets_of_one_length_keep_their_own_reasons(path: Path3, broker: Broker) -> None:
    """Dropped by rp_filter, without a route, by a rule, and forwarded: all of one length from lan0 at the same time."""
    path.rules(
        "add table ip t\nadd chain ip t f { type filter hook forward priority 0; }\n"
        "add rule ip t f ip daddr 10.8.2.77 drop"
    )
    targets = (("-I", FOREIGN, SERVER), ("192.0.2.1",), ("10.8.2.77",), (SERVER,))

    def ends() -> dict[tuple[str, str], str]:
        with tracing(broker, path.router, f"icmp and not src host {ROUTER_A}") as trace:
            pings = [
                path.lab.spawn_in(path.client, "ping", "-c", "1", "-W", "1", "-s", str(SIZE), *target)
                for target in targets
            ]
            for ping in pings:
                ping.wait()
            journeys = trace.ended(5)
            poll(lambda: trace.read() or trace.engine.traces.drops.known_ns > max(one.last_ns for one in journeys))
        return {
            (one.head.src, one.head.dst): one.drop.record.reason if one.drop else one.verdict
            for one in journeys
            if one.head.info == "echo request"
        }

    expected = {
        (FOREIGN, SERVER): "IP_RPFILTER",
        (CLIENT, "192.0.2.1"): "IP_INNOROUTES",
        (CLIENT, "10.8.2.77"): "NETFILTER_DROP",
        (CLIENT, SERVER): "accept",
    }
    # Drops of other tests, on a device of the same name, may come between.
    assert ends() == expected or ends() == expected


@tracepoints
def test_the_trace_command_names_the_drop_reason(path: Path3) -> None:
    with running("trace", "icmp", "--netns", path.router, "--count", "4", "--json") as command:
        command.line(errors=True)
        for _ in range(4):
            unanswered_ping(path, "-I", FOREIGN)
        code, out, _ = command.end()
    ends = [row for row in map(json.loads, out.splitlines()) if row.get("drop_reason")]
    end = ends[0]
    assert code == 0 and end["verdict"] == "lost"
    names = ("drop_reason", "drop_function", "drop_certainty")
    assert [end[name] for name in names] == ["IP_RPFILTER", "ip_rcv_finish_core", "likely"]


@tracepoints
def test_a_trace_that_is_interrupted_waits_for_the_reason_of_its_last_packet(path: Path3) -> None:
    with running("trace", "udp", "--netns", path.router, "--json") as command:
        command.line(errors=True)
        path.send("udp", ROUTER_A, 78, SIZE)
        command.signal()
        code, out, _ = command.end()
    (end,) = [row for row in map(json.loads, out.splitlines()) if row["kind"] == "end"]
    assert code == 0 and end["drop_reason"] == "NO_SOCKET"


@tracepoints
def test_the_count_of_a_trace_in_the_app_ends_it_with_the_reason_of_its_last_packet(
    path: Path3, broker: Broker
) -> None:
    with closing(LiveSession(broker, path.router)) as session:
        refused = []  # why the trace did not begin

        def reasons() -> list[str]:
            return [journey.drop.record.reason for journey in traces.ended if journey.drop]

        session.start_trace(TraceRequest("udp", count=1), refused.append)
        poll(lambda: session.status().tracing or refused)
        traces = session._run.waited(lambda engine, now_ns: engine.traces)
        path.send("udp", ROUTER_A, 79, SIZE)
        poll(lambda: session.status().tracing is None, what="its count ends it")
        assert reasons() == ["NO_SOCKET"]
