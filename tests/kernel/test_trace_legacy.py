"""Traced packets in the chains of iptables-legacy; nf_log is what it was, whoever is killed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from nettop.broker.client import Broker
from nettop.broker.options import Options
from nettop.broker.start import start
from nettop.errors import BrokerError
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.filter.expression import parse
from nettop.model.traces.ends import certainty, verdict_of, where
from nettop.model.traces.journey import Journey
from nettop.model.traces.match import matches
from tests.kernel.commands import running
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_trace import SERVER, Path3, Tracing, steps, tracing

pytestmark = pytest.mark.kernel

LOGGERS = ("/proc/sys/net/netfilter/nf_log/2", "/proc/sys/net/netfilter/nf_log/10")
RULES = """iptables-legacy -N lan
iptables-legacy -N deep
iptables-legacy -A FORWARD -i lan0 -j lan
iptables-legacy -A lan -p tcp -j ACCEPT
iptables-legacy -A lan -g deep
iptables-legacy -A deep -p icmp -m comment --comment culprit -j DROP
add table ip t
add chain ip t early { type filter hook forward priority -5; }
add rule ip t early counter accept
add chain ip t late { type filter hook postrouting priority 0; }"""


@pytest.fixture
def path(lab: Lab) -> Path3:
    return Path3(lab)


def loggers(path: Path3) -> str:
    return run_in(path.router, "cat", *LOGGERS)


def restorers(path: Path3) -> set[int]:
    """The processes that switch nf_log of the router back."""
    inode = int(run_in(path.router, "stat", "-Lc", "%i", LOGGERS[0]))
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            named = (process / "cmdline").read_bytes().startswith(b"nf_log-restore\0")
            if named and any(os.stat(fd).st_ino == inode for fd in (process / "fd").iterdir()):
                found.add(int(process.name))
    return found


def traced(path: Path3, broker: Broker, to: str = SERVER) -> Journey:
    """The journey of a ping through the router, whose legacy chains are read, too."""
    trace = Tracing(broker, path.router, "icmp or icmp6", legacy=True)
    try:
        path.ping(to)
        poll(lambda: trace.read() or any(one.head.info == "echo request" for one in trace.engine.traces.ended))
        found = next(one for one in trace.engine.traces.ended if one.head.info == "echo request")
        poll(lambda: trace.read() or trace.engine.traces.is_complete(found))
        return found
    finally:
        trace.close()


def test_a_legacy_chain_beside_an_nft_chain_drops_three_chains_deep(path: Path3, broker: Broker) -> None:
    path.rules(RULES)
    before = loggers(path)
    found = traced(path, broker)
    assert steps(found) == [
        "forward t/early 1 accept",
        "forward filter/FORWARD 1 jump lan",
        "forward filter/lan 2 goto deep",
        "forward filter/deep 1 drop",
    ]
    assert [caller.record.chain for caller in found.steps[-1].callers] == ["FORWARD", "lan"]
    assert (
        where(found)
        == "dropped by ip filter ▸ lan ▸ deep rule 1 “-p icmp -m comment --comment culprit -j DROP” (iptables-legacy)"
    )
    assert loggers(path) == before


@pytest.mark.parametrize(
    ("rules", "expected", "verdict"),
    [
        (
            """iptables-legacy -t mangle -A PREROUTING -j MARK --set-mark 7
            iptables-legacy -A FORWARD -m mark --mark 7 -j REJECT""",
            ["prerouting mangle/PREROUTING 1 mark", "prerouting mangle/PREROUTING policy accept",
             "forward mangle/FORWARD policy accept", "forward filter/FORWARD 1 drop"],
            "reject",
        ),
        ("iptables-legacy -P FORWARD DROP", ["forward filter/FORWARD policy drop"], "drop"),
        ("iptables-legacy -A FORWARD -j DROP", ["forward filter/FORWARD 1 drop"], "drop"),
        (
            """iptables-legacy -N user
            iptables-legacy -A FORWARD -j user
            iptables-legacy -A user -p icmp -j RETURN
            iptables-legacy -A FORWARD -j ACCEPT""",
            ["forward filter/FORWARD 1 jump user", "forward filter/user 1 return", "forward filter/FORWARD 2 accept"],
            "accept",
        ),
        (
            """iptables-legacy -N empty
            iptables-legacy -A FORWARD -j empty""",
            ["forward filter/FORWARD 1 jump empty", "forward filter/FORWARD policy accept"],
            "accept",
        ),
        (
            "iptables-legacy -t nat -A POSTROUTING -o wan0 -j MASQUERADE",
            ["prerouting nat/PREROUTING policy accept", "postrouting nat/POSTROUTING 1 masquerade"],
            "accept",
        ),
    ],
)  # fmt: skip
def test_the_steps_of_legacy_rules(path: Path3, broker: Broker, rules: str, expected: list[str], verdict: str) -> None:
    path.rules(rules)
    found = traced(path, broker)
    assert steps(found) == expected and found.end is not None and verdict_of(found.end) == verdict


def test_chains_of_nft_and_legacy_are_in_the_order_of_their_priorities(path: Path3, broker: Broker) -> None:
    path.rules("""add table inet f
        add chain inet f raw_pre { type filter hook prerouting priority -290; }
        add chain inet f same { type filter hook forward priority 0; }
        add chain inet f last { type filter hook forward priority 10; policy drop; }
        iptables-legacy -t mangle -A PREROUTING -j MARK --set-mark 7
        iptables-legacy -P FORWARD ACCEPT""")
    found = traced(path, broker)
    assert steps(found) == [
        "prerouting f/raw_pre policy accept",
        "prerouting mangle/PREROUTING 1 mark",
        "prerouting mangle/PREROUTING policy accept",
        "forward mangle/FORWARD policy accept",
        "forward f/same policy accept",
        "forward filter/FORWARD policy accept",
        "forward f/last policy drop",
    ]
    assert [step.tied for step in found.steps] == [False] * 4 + [True] * 2 + [False]


def test_without_the_records_of_legacy_what_it_dropped_is_not_lost_in_routing(path: Path3, broker: Broker) -> None:
    path.rules("iptables-legacy -t mangle -A PREROUTING -p icmp --icmp-type echo-request -j DROP")
    with tracing(broker, path.router, "icmp") as trace:
        path.ping(SERVER)
        (dropped,) = trace.ended(1)
    assert where(dropped).startswith("dropped by a rule that was not seen (iptables-legacy at prerouting)")
    path.rules("iptables-legacy -t mangle -F")
    with tracing(broker, path.router, "icmp") as trace:
        path.ping(SERVER)
        accepted = trace.ended(1)[0]
    assert verdict_of(accepted.end) == "accept"  # type: ignore[arg-type]
    assert certainty(accepted) == (
        "incomplete: the log of iptables-legacy was not read, its steps in prerouting, forward, postrouting are missing"
    )


def test_ipv6(path: Path3, broker: Broker) -> None:
    path.rules("ip6tables-legacy -A FORWARD -p icmpv6 --icmpv6-type echo-request -j DROP")
    found = traced(path, broker, "fd08:2::2")
    assert steps(found) == ["forward filter/FORWARD 1 drop"] and where(found).startswith(
        "dropped by ip6 filter FORWARD"
    )


def test_each_of_twenty_pings_has_its_own_steps(path: Path3, broker: Broker) -> None:
    path.rules("iptables-legacy -A FORWARD -p icmp -j ACCEPT")
    trace = Tracing(broker, path.router, "icmp", legacy=True)
    path.ping(SERVER, 20)
    journeys = trace.ended(40)
    poll(lambda: trace.read() or all(map(trace.engine.traces.is_complete, journeys)))
    trace.close()
    assert [steps(journey) for journey in journeys] == [["forward filter/FORWARD 1 accept"]] * 40


def test_without_legacy_rules_nf_log_is_not_touched(path: Path3) -> None:
    before = loggers(path)
    with running("trace", "icmp", "--netns", path.router) as command:
        command.line(errors=True)
        assert loggers(path) == before


def test_a_packet_has_the_words_that_its_rules_had_when_it_met_them(path: Path3) -> None:
    """No event tells that rules of iptables-legacy have changed."""
    path.rules("iptables-legacy -A FORWARD -p udp -j ACCEPT")
    with running("trace", "icmp", "--netns", path.router, "--count", "1") as command:
        command.line(errors=True)
        path.rules("iptables-legacy -I FORWARD -p icmp -j DROP")
        path.ping(SERVER)
        code, out, _ = command.end()
    assert code == 0 and "dropped by ip filter FORWARD rule 1 “-p icmp -j DROP” (iptables-legacy)" in out


def test_the_first_rules_of_legacy_that_come_while_packets_are_traced_are_seen(path: Path3) -> None:
    before = loggers(path)
    with running("trace", "icmp", "--netns", path.router, "--count", "1") as command:
        command.line(errors=True)
        path.rules("iptables-legacy -A FORWARD -p icmp -j DROP")
        poll(lambda: "nfnetlink_log\nnfnetlink_log" in loggers(path), what="the records to be switched on")
        path.ping(SERVER)
        code, out, _ = command.end()
    assert code == 0 and "dropped by ip filter FORWARD rule 1 “-p icmp -j DROP” (iptables-legacy)" in out
    assert loggers(path) == before


def test_another_reader_of_the_records_is_named(path: Path3, broker: Broker) -> None:
    path.rules(RULES)
    held = broker.trace_log(broker.netns(path.router))
    before = loggers(path)
    with running("trace", "icmp", "--netns", path.router) as command:
        said = command.line(errors=True)
        said = said if b"legacy" in said else command.line(errors=True)
        assert said == (
            b"nettop: iptables-legacy has rules here, and their steps are not seen: "
            b"another program reads NFLOG group 0\n"
        )
    os.close(held.fd)
    assert loggers(path) == before
    broker.leave(broker.netns(path.router))


def kill_restorer(path: Path3) -> None:
    """Kill it, and wait for the next one."""
    (first,) = restorers(path)
    os.kill(first, signal.SIGKILL)
    poll(lambda: restorers(path) - {first})


@pytest.mark.one_broker
@pytest.mark.parametrize("victims", ["app", "broker", "app broker", "restorer", "restorer app broker"])
def test_nf_log_is_what_it_was_after_a_kill(path: Path3, victims: str) -> None:
    path.rules(RULES)
    before = loggers(path)
    with running("trace", "icmp", "--netns", path.router) as command:
        assert b"tracing icmp" in command.line(errors=True)
        assert "nfnetlink_log\nnfnetlink_log" in loggers(path)
        pids = {"app": command.pid, "broker": command.broker()}
        for victim in victims.split():
            if victim == "restorer":  # another one is started
                kill_restorer(path)
                assert "nfnetlink_log" in loggers(path)
            else:
                with suppress(ProcessLookupError):  # the broker ends with the app
                    os.kill(pids[victim], signal.SIGKILL)
        if victims == "restorer":
            command.signal()
        poll(lambda: loggers(path) == before)
        poll(lambda: not restorers(path))


def test_what_somebody_else_sets_meanwhile_stays(path: Path3) -> None:
    path.rules(RULES)
    with running("trace", "icmp", "--netns", path.router) as command:
        command.line(errors=True)
        run_in(path.router, "sysctl", "-qw", "net.netfilter.nf_log.2=NONE")
        command.signal()
        command.end()
    assert loggers(path).splitlines()[0] == "NONE" and "nfnetlink_log" not in loggers(path)


def test_what_switches_it_back_keeps_no_namespace_alive(lab: Lab, broker: Broker) -> None:
    path = Path3(lab)
    path.rules(RULES)
    held = broker.trace_log(broker.netns(path.router))
    (pid,) = restorers(path)
    assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat(f"/proc/{broker.pid}/ns/net").st_ino
    os.close(held.fd)
    gone: list[str] = []
    broker.on_gone = lambda netns, reason: gone.append(netns.label)
    lab.remove(path.router)
    poll(lambda: gone)
    poll(lambda: not os.path.exists(f"/proc/{pid}"))


def test_under_read_only_the_log_is_not_opened(lab: Lab) -> None:
    allowed = Options(read_only=True)
    with start("root", allowed=allowed, confine=False) as broker, pytest.raises(BrokerError, match="--read-only"):
        broker.trace_log(broker.netns(lab.netns()))


def test_the_processes_that_switch_it_back_are_few(lab: Lab, broker: Broker) -> None:
    """A namespace that is opened again is another one to the broker."""
    ns = lab.netns()
    opened = [broker.netns(ns, again=True) for _ in range(9)]
    for one in opened[:8]:
        os.close(broker.trace_log(one, rcvbuf=1 << 40).fd)
    with pytest.raises(BrokerError, match="8 namespaces"):
        broker.trace_log(opened[8])
    broker.leave(opened[0])
    os.close(broker.trace_log(opened[8]).fd)
    for one in opened:
        broker.leave(one)
    assert "nfnetlink_log" not in run_in(ns, "cat", *LOGGERS)


def test_a_log_that_is_opened_again_is_what_it_was_before_the_first(lab: Lab, broker: Broker) -> None:
    ns = lab.netns()
    before = run_in(ns, "cat", *LOGGERS)
    for _ in range(3):
        os.close(broker.trace_log(broker.netns(ns)).fd)
    assert run_in(ns, "cat", *LOGGERS).split() == ["nfnetlink_log"] * 2
    broker.leave(broker.netns(ns))
    assert run_in(ns, "cat", *LOGGERS) == before


def test_a_trace_that_is_refused_leaves_nf_log_as_it_was(path: Path3, broker: Broker) -> None:
    before, ns = loggers(path), broker.netns(path.router)
    held = broker.trace_log(ns)
    assert loggers(path) != before
    with pytest.raises(BrokerError, match="give 1 to 10000"):
        broker.start_trace(ns, matches(parse("icmp", "trace")), per_second=0)
    os.close(held.fd)
    assert loggers(path) == before
    poll(lambda: not restorers(path), what="the end of the process that would switch it back")


@pytest.mark.one_broker
def test_a_broker_with_many_descriptors_leaves_nf_log_as_it_was_when_it_is_killed(path: Path3) -> None:
    before = loggers(path)
    with start("root", confine=False) as broker:
        ns = broker.netns(path.router)
        held = []
        while len(os.listdir(f"/proc/{broker.pid}/fd")) < 99:  # the sysctls are 100 and 101 then
            held.append(broker.netlink_socket(ns, NETLINK_NETFILTER))
        held.append(broker.trace_log(ns))
        assert loggers(path) != before
        os.kill(broker.pid, signal.SIGKILL)
        for sock in held:
            os.close(sock.fd)
    poll(lambda: loggers(path) == before)
