"""Packets that belong together: the legs of one over lo and veth, and the answer to it."""

from __future__ import annotations

import json
import re

import pytest

from nettop.broker.client import Broker
from nettop.model.traces.ends import exchange, where
from nettop.model.traces.journey import Journey
from nettop.model.traces.lines import lines
from tests.kernel.commands import running
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_trace import CLIENT, ROUTER_A, SERVER, Path3, Tracing, steps, tracing

pytestmark = pytest.mark.kernel

TRACKED = (
    "add table inet tr\nadd chain inet tr f { type filter hook forward priority 0; }\nadd rule inet tr f ct state new"
)


@pytest.fixture
def path(lab: Lab) -> Path3:
    return Path3(lab)


def pings(trace: Tracing, count: int) -> list[Journey]:
    """So many ended journeys of echo requests and replies, in their order."""
    found = lambda: sorted(  # noqa: E731
        (one for one in trace.engine.traces.ended if one.head.info.startswith("echo")), key=lambda one: one.number
    )
    poll(lambda: trace.read() or len(found()) >= count)
    return found()


def test_a_packet_over_lo_is_one_entry(path: Path3, broker: Broker) -> None:
    path.rules(
        "add table ip t\nadd chain ip t o { type filter hook output priority 0; }\nadd rule ip t o counter\n"
        "add chain ip t i { type filter hook input priority 0; }\nadd rule ip t i counter accept"
    )
    with tracing(broker, path.router, "icmp") as trace:
        run_in(path.router, "ping", "-c", "3", "-i", "0.05", "127.0.0.1")
        found = pings(trace, 6)
    assert len(found) == 6, "three requests and three replies"
    for one in found:
        assert one.hooks == ["output", "postrouting", "prerouting", "input"]
        assert steps(one) == ["output t/o 1 continue", "output t/o policy accept", "input t/i 1 accept"]
        assert (one.iif, one.device, where(one)) == (None, "lo", "accepted, for this host")
        assert f"#{one.number} from this host  icmp 127.0.0.1" in next(lines(one, ""))


def test_a_packet_that_leaves_by_one_veth_and_comes_by_the_other_is_one_entry(path: Path3, broker: Broker) -> None:
    """Between two veth devices of one namespace; a policy route leads there."""
    for command in (
        "ip link add va type veth peer name vb",
        "ip address add 10.7.0.1/24 dev va",
        "ip link set va up",
        "ip link set vb up",
        "ip neigh add 10.7.0.9 lladdr 02:00:00:00:00:09 dev va",
        "ip link set vb address 02:00:00:00:00:09",
        "sysctl -qw net.ipv4.conf.vb.accept_local=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.vb.rp_filter=0",
        "ip route add 10.6.0.0/16 via 10.7.0.9",
        "ip rule add iif vb lookup 77",
        "ip route add 10.6.0.0/16 dev wan0 via 10.8.2.2 table 77",
    ):
        run_in(path.router, *command.split())
    with tracing(broker, path.router, "icmp and dst net 10.6.0.0/16") as trace:
        path.ping("10.6.1.1")
        (found, *others) = pings(trace, 1)
    assert not others
    assert found.hooks == ["prerouting", "forward", "postrouting"] * 2
    assert (found.iif, found.device) == ("lan0", "vb") and where(found) == "accepted, out of wan0"


def test_a_reply_is_joined_by_its_conntrack_id(path: Path3, broker: Broker) -> None:
    path.rules(TRACKED)
    with tracing(broker, path.router, "icmp") as trace:
        path.ping(SERVER, 3)
        found = pings(trace, 6)
    for request, reply in zip(found[::2], found[1::2], strict=True):
        assert (request.head.src, reply.head.src) == (CLIENT, SERVER) and request.ct_id == reply.ct_id is not None
        assert request.answer is reply and reply.answers is request
        assert re.fullmatch(rf"echo reply back (within 20 ms|after ≈ \d+ ms): #{reply.number}", exchange(request))
        assert re.fullmatch(rf"answers #{request.number} (within 20 ms|after ≈ \d+ ms)", exchange(reply))


def test_the_answer_to_a_syn_is_found_through_nat(path: Path3, broker: Broker) -> None:
    path.rules(
        """iptables -t nat -A PREROUTING -d 10.8.1.1 -p tcp --dport 80 -j DNAT --to-destination 10.8.2.2:8443
        iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE"""
    )
    server = path.lab.spawn_in(path.server, "python3", "-m", "http.server", "8443")
    poll(
        lambda: (
            "8443" in run_in(path.server, "cat", "/proc/net/tcp")
            or ":20FB" in run_in(path.server, "cat", "/proc/net/tcp")
        )
    )
    with tracing(broker, path.router, "tcp") as trace:
        path.send("tcp", ROUTER_A, 80)
        poll(lambda: trace.read() or any(one.answer for one in trace.engine.traces.ended))
        syn = next(one for one in trace.engine.traces.ended if one.answer)
    server.kill()
    assert syn.head.info == "[SYN]" and exchange(syn).startswith("[SYN, ACK] back ")
    assert where(syn).startswith("accepted, out of wan0, NAT src → 10.8.2.1:")
    assert where(syn).endswith("dst → 10.8.2.2:8443")


def test_the_command_says_what_nat_did_and_what_came_back(path: Path3) -> None:
    path.rules("iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE")
    with running("trace", "icmp", "--netns", path.router, "--count", "2", "--json") as command:
        command.line(errors=True)
        path.ping(SERVER)
        code, out, _ = command.end()
    first, second = (row for row in map(json.loads, out.splitlines()) if row["kind"] == "end")
    assert code == 0 and (first["nat"], first["answers"]) == ([f"src → {'10.8.2.1'}"], None)
    assert second["answers"] == first["trace"] and second["answer_ns"] >= 0
    assert second["nat"] == [f"dst → {CLIENT}"]
