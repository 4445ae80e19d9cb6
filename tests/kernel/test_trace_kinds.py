"""Packets of other kinds: fragments, copies of a broadcast, those for a queue, and those past an egress hook."""

from __future__ import annotations

import sys

import pytest

from nettop.broker.client import Broker
from nettop.broker.identity import is_host_root
from nettop.model.traces.ends import verdict_of, where
from nettop.model.traces.journey import Journey
from nettop.model.traces.lines import lines
from tests.kernel.commands import running
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.rights import tracepoints
from tests.kernel.test_trace import CLIENT, ROUTER_A, SERVER, Path3, Tracing, steps
from tests.kernel.test_trace_bridge import Bridge

pytestmark = pytest.mark.kernel

TRACKED = (
    "add table inet f\nadd chain inet f c { type filter hook forward priority 0; }\nadd rule inet f c ct state new"
)


@pytest.fixture
def path(lab: Lab) -> Path3:
    return Path3(lab)


def sent(ns: str, to: str, port: int, size: int = 1) -> None:
    """Send a UDP datagram, as a broadcast where its address is one."""
    family = "AF_INET6" if ":" in to else "AF_INET"
    script = f"from socket import *; s = socket({family}, SOCK_DGRAM); s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)"
    run_in(ns, sys.executable, "-c", f"{script}; s.sendto(b'x' * {size}, ({to!r}, {port}))")


def completed(trace: Tracing, count: int) -> list[Journey]:
    """The first UDP packets and fragments, in the order of their numbers, when nothing is added to them."""

    def found() -> list[Journey]:
        return [one for one in trace.engine.traces.ended if one.head.proto_text in ("udp", "fragment")]

    poll(lambda: trace.read() or (len(found()) >= count and all(map(trace.complete, found()[:count]))))
    return found()[:count]


def to_both_ports(path: Path3, broker: Broker, legacy: bool = False) -> list[Journey]:
    """The traced packets that the client sends to the ports 5 and 6 of the server."""
    trace = Tracing(broker, path.router, f"udp and src host {CLIENT}", legacy=legacy)
    try:
        for port in (5, 6):
            sent(path.client, SERVER, port)
        return completed(trace, 2)
    finally:
        trace.close()


def test_fragments_that_conntrack_reassembles_go_on_as_one_packet(path: Path3, broker: Broker) -> None:
    path.rules(TRACKED + " udp dport 5 drop")
    trace = Tracing(broker, path.router, f"src host {CLIENT}")
    try:
        sent(path.client, SERVER, 5, 4000)
        first, second, last = completed(trace, 3)
    finally:
        trace.close()
    assert steps(last) == ["forward f/c 1 drop"] and first.steps == second.steps == []
    assert where(last) == "dropped by inet f c rule 1 “ct state new udp dport 5 drop” (handle 2)", "no NAT"
    assert (last.head.dport, last.head.length) == (5, 4028)
    assert where(first) == where(second) == "reassembled into #3"
    assert second.head.dport is None and second.head.info.startswith("fragment at 1480, id ")


def test_fragments_that_nothing_reassembles_have_no_ports_but_the_first(path: Path3, broker: Broker) -> None:
    trace = Tracing(broker, path.router, f"src host {CLIENT}")
    try:
        sent(path.client, SERVER, 5, 2000)
        first, second = completed(trace, 2)
    finally:
        trace.close()
    assert (first.head.dport, second.head.dport) == (5, None)
    assert where(first) == where(second) == "accepted, out of wan0"


@pytest.mark.parametrize("rules", ["", TRACKED], ids=["forwarded", "reassembled"])
def test_fragments_of_ipv6(path: Path3, broker: Broker, rules: str) -> None:
    """nf_tables gives no addresses of the later ones; the filter matches those of the first."""
    path.rules(rules)
    trace = Tracing(broker, path.router, "ip6")
    try:
        sent(path.client, "fd08:2::2", 5, 2000)
        first, second = completed(trace, 2)
    finally:
        trace.close()
    assert where(second) == "accepted, out of wan0"
    if rules:
        assert where(first) == f"reassembled into #{second.number}" and second.head.destination == "[fd08:2::2]:5"
    else:
        assert where(first) == "accepted, out of wan0"
        assert next(lines(second, "")).endswith("from lan0  fragment later fragment: no addresses  608 B")


@pytest.mark.parametrize("legacy", [False, True], ids=["nft", "legacy"])
def test_a_packet_for_a_queue_ends_there_unless_it_comes_back(path: Path3, broker: Broker, legacy: bool) -> None:
    tool = "iptables-legacy" if legacy else "iptables"
    path.rules(
        f"{tool} -A FORWARD -p udp --dport 5 -j NFQUEUE --queue-num 3\n"
        f"{tool} -A FORWARD -p udp --dport 6 -j NFQUEUE --queue-num 3 --queue-bypass"
    )
    queued, passed = to_both_ports(path, broker, legacy=legacy)
    assert steps(queued) == ["forward filter/FORWARD 1 queue"]
    assert queued.end is not None and verdict_of(queued.end) == "queue"
    assert where(queued).startswith("sent to a queue by ip filter FORWARD rule 1 “-p udp ")
    if is_host_root():  # tracepoints are the host's
        assert where(queued).endswith("; then dropped: drop reason NOT_SPECIFIED (likely), in nf_queue"), "no reader"
    assert steps(passed)[0] == "forward filter/FORWARD 2 queue" and where(passed) == "accepted, out of wan0"


def test_a_rule_in_the_egress_hook_drops_what_has_left(path: Path3, broker: Broker) -> None:
    path.rules(
        "add table netdev n\nadd chain netdev n u\nadd rule netdev n u udp dport 5 drop\n"
        "add chain netdev n e { type filter hook egress device wan0 priority 0; }\nadd rule netdev n e jump u"
    )
    dropped, passed = to_both_ports(path, broker)
    assert dropped.hooks == passed.hooks == ["prerouting", "forward", "postrouting", "egress"]
    assert steps(dropped) == ["egress n/e 1 jump u", "egress n/u 1 drop"]
    assert where(dropped) == "dropped by netdev n ▸ u rule 1 “udp dport 5 drop” (handle 2)"
    assert steps(passed) == ["egress n/e 1 jump u", "egress n/e policy accept"]
    assert where(passed) == "accepted, out of wan0"


def test_each_copy_of_a_broadcast_has_its_own_end(lab: Lab, broker: Broker) -> None:
    bridge = Bridge(lab)
    bridge.rules(
        "add table bridge t",
        "add chain bridge t f { type filter hook forward priority 0; }",
        "add rule bridge t f udp dport 5 drop",
    )
    trace = Tracing(broker, bridge.router, "udp dst port 5", bridge=True)
    try:
        sent(bridge.a, "10.9.0.255", 5)
        received, copy = completed(trace, 2)
    finally:
        trace.close()
    assert where(received).startswith("accepted, for this host") and received.hooks[:2] == ["prerouting", "input"]
    assert where(copy) == "dropped by bridge t f rule 1 “udp dport 5 drop” (handle 2)"
    assert [line.strip() for line in lines(copy, "")][-1] == f"another copy of #{received.number}"


@tracepoints
def test_a_drop_at_a_socket_is_that_of_the_packet_for_this_host(path: Path3, broker: Broker) -> None:
    """Of packets of one length, of which the first was forwarded."""
    trace = Tracing(broker, path.router, f"udp and src host {CLIENT}")
    try:
        for to in (SERVER, ROUTER_A):
            sent(path.client, to, 5)
        forwarded, received = completed(trace, 2)
    finally:
        trace.close()
    assert where(forwarded) == "accepted, out of wan0"
    assert where(received) == "accepted, for this host; then dropped: drop reason NO_SOCKET (likely), in __udp4_lib_rcv"


def test_of_hundreds_of_devices_each_is_traced_at_its_ingress_and_has_its_drops(path: Path3, broker: Broker) -> None:
    """More than one chain of nf_tables may have, and than the filters of drops name. The last has an odd name."""
    pairs = "".join(f"link add x{number} type veth peer name y{number}\n" for number in range(128))
    run_in(path.router, "ip", "-batch", "-", stdin=pairs)
    path.lab.veth_pair(path.client, path.router, "c1", "z;lan", ("10.8.9.2/24",), ("10.8.9.1/24",))
    path.rules(
        'add table netdev n\nadd chain netdev n i { type filter hook ingress device "z;lan" priority 0; }\n'
        "add rule netdev n i udp dport 5 drop"
    )
    run_in(path.client, "ip", "route", "add", "10.9.9.9", "via", "10.8.9.1")
    trace = Tracing(broker, path.router, "udp", ingress=True)
    try:
        for port in (5, 6):
            sent(path.client, "10.9.9.9", port)
        dropped, lost = completed(trace, 2)
    finally:
        trace.close()
    assert (dropped.iif, where(dropped)) == ("z;lan", "dropped by netdev n i rule 1 “udp dport 5 drop” (handle 2)")
    if is_host_root():  # tracepoints are the host's
        assert where(lost).endswith("drop reason IP_INNOROUTES (likely), in ip_error")


@tracepoints
def test_a_packet_whose_next_hop_does_not_answer_is_dropped_after_it_has_left(path: Path3) -> None:
    """Sent until the kernel's record of one is found: floods of other tests make room in what is searched."""
    unreachable = iter(range(100, 250))
    with running("trace", f"udp and src host {CLIENT}", "--netns", path.router, "--time", "none") as command:
        assert b"tracing udp" in command.line(errors=True)
        found: list[bytes] = []
        while not any(line.startswith(b"#") for line in found):
            sent(path.client, f"10.8.2.{next(unreachable)}", 5)
            while (line := command.line()) != b"\n":
                found.append(line)
        command.signal()
        command.end()
    assert found[1] == b"  ACCEPT      accepted, out of wan0\n"
    number, _, words = next(line for line in found if line.startswith(b"#")).partition(b" ")
    reason = b"drop reason NEIGH_FAILED (likely), in neigh_invalidate"
    assert words == b"accepted, out of wan0; then dropped: " + reason + b"\n"
    assert any(line.startswith(b" " + number + b" from lan0  udp") for line in found)


@pytest.mark.parametrize("legacy", [False, True], ids=["nft", "legacy"])
def test_behind_extension_headers_of_ipv6_the_protocol_and_ports_are_known(
    path: Path3, broker: Broker, legacy: bool
) -> None:
    tool = "ip6tables-legacy" if legacy else "ip6tables"
    path.rules(f"{tool} -A FORWARD -p udp --dport 5 -j DROP")
    trace = Tracing(broker, path.router, "udp dst port 5", legacy=legacy)
    options = "s.setsockopt(IPPROTO_IPV6, IPV6_HOPOPTS, bytes(8)); s.setsockopt(IPPROTO_IPV6, IPV6_DSTOPTS, bytes(8))"
    script = f"from socket import *; s = socket(AF_INET6, SOCK_DGRAM); {options}; s.sendto(b'x', ('fd08:2::2', 5))"
    try:
        run_in(path.client, sys.executable, "-c", script)
        (dropped,) = completed(trace, 1)
    finally:
        trace.close()
    assert (dropped.head.proto_text, dropped.head.destination) == ("udp", "[fd08:2::2]:5")
    assert steps(dropped) == ["forward filter/FORWARD 1 drop"]
    assert {step.head.dport for step in dropped.steps} == {5}
