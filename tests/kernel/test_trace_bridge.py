"""Traced packets in bridges and at the ingress of devices, where that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nettop.broker.client import Broker
from nettop.model.traces.ends import certainty, where
from nettop.model.traces.journey import Journey
from tests.kernel.commands import holds, nettop, running
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.test_trace import SERVER, Path3, Tracing, steps, tracing

pytestmark = pytest.mark.kernel


class Bridge:
    """host a — br0 of the middle — host b; br0 has an address, too."""

    def __init__(self, lab: Lab) -> None:
        self.a, self.router, self.b = lab.netns("a"), lab.netns("br"), lab.netns("b")
        for ns in (self.a, self.router, self.b):
            run_in(ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        # br_netfilter has them pass the hooks of IP, too
        run_in(self.router, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", check=False)
        run_in(self.router, "ip", "link", "add", "br0", "type", "bridge")
        run_in(self.router, "ip", "link", "set", "br0", "up")
        run_in(self.router, "ip", "address", "add", "10.9.0.254/24", "dev", "br0")
        for ns, port, address in ((self.a, "pa", "10.9.0.1/24"), (self.b, "pb", "10.9.0.2/24")):
            lab.veth_pair(ns, self.router, "eth0", port, (address,), ())
            run_in(self.router, "ip", "link", "set", port, "master", "br0")
        for to in ("10.9.0.2", "10.9.0.254"):  # it knows where everybody is
            poll(lambda to=to: " 1 received" in run_in(self.a, "ping", "-c", "1", "-W", "1", to, check=False))  # type: ignore[misc]

    def rules(self, *lines: str) -> None:
        for line in lines:
            run_in(self.router, *(line.split() if line.startswith("eb") else ("nft", line)))

    def ping(self, to: str) -> None:
        run_in(self.a, "ping", "-c", "1", "-W", "0.2", to, check=False)


@pytest.fixture
def bridge(lab: Lab) -> Bridge:
    return Bridge(lab)


def request(trace: Tracing) -> Journey:
    """The journey of the echo request, when it has ended for good."""
    found = lambda: [one for one in trace.engine.traces.ended if one.head.info == "echo request"]  # noqa: E731
    poll(lambda: trace.read() or (found() and trace.engine.traces.is_complete(found()[0])))
    (one,) = found()
    trace.ended(1)
    return one


def test_chains_before_those_of_ip_are_named_with_the_option_that_traces_them(bridge: Bridge) -> None:
    bridge.rules(
        "add table bridge t",
        "add chain bridge t f { type filter hook forward priority 0; }",
        "add table netdev n",
        *(f"add chain netdev n i{at} {{ type filter hook ingress device pa priority {at}; }}" for at in range(5)),
        "add chain netdev n out { type filter hook egress device pa priority 0; }",
    )

    def said(*options: str) -> bytes:
        with running("trace", "udp port 9999", "--netns", bridge.router, *options) as command:
            assert b"tracing udp" in command.line(errors=True)
            found = b"" if len(options) == 2 else command.line(errors=True)
            command.signal()
            command.end()
        return found

    left_out = b"nettop: not traced, though packets may end there: "
    assert said() == left_out + b"netdev n i0, netdev n i1, netdev n i2 and 2 more (--ingress), bridge t f (--bridge)\n"
    assert said("--ingress") == left_out + b"bridge t f (--bridge)\n"
    assert said("--ingress", "--bridge") == b""


BRIDGE = (
    "add table bridge t",
    "add chain bridge t f { type filter hook forward priority 0; }",
    "add chain bridge t deep",
)


def test_a_bridged_packet_goes_through_the_hooks_of_the_bridge(bridge: Bridge, broker: Broker) -> None:
    bridge.rules(*BRIDGE, "add rule bridge t f ip protocol icmp jump deep", "add rule bridge t deep counter accept")
    with tracing(broker, bridge.router, "icmp and src host 10.9.0.1", bridge=True) as trace:
        bridge.ping("10.9.0.2")
        found = request(trace)
    assert steps(found) == ["forward t/f 1 jump deep", "forward t/deep 1 accept"]
    assert found.hooks == ["prerouting", "forward", "postrouting"]
    assert (found.iif, where(found)) == ("pa", "accepted, out of pb")


def test_a_rule_of_the_bridge_drops(bridge: Bridge, broker: Broker) -> None:
    bridge.rules(*BRIDGE, "add rule bridge t f jump deep", "add rule bridge t deep ip daddr 10.9.0.2 drop")
    with tracing(broker, bridge.router, "icmp", bridge=True) as trace:
        bridge.ping("10.9.0.2")
        found = request(trace)
    assert where(found).startswith("dropped by bridge t ▸ deep rule 1 ")


def test_ebtables_drops(bridge: Bridge, broker: Broker) -> None:
    bridge.rules("ebtables -A FORWARD -p IPv4 --ip-dst 10.9.0.2 -j DROP")
    with tracing(broker, bridge.router, "icmp", bridge=True) as trace:
        bridge.ping("10.9.0.2")
        found = request(trace)
    assert where(found).startswith("dropped by bridge filter FORWARD rule 1")


def test_from_the_bridge_to_this_host_is_one_entry(bridge: Bridge, broker: Broker) -> None:
    bridge.rules(
        "add table ip h", "add chain ip h i { type filter hook input priority 0; }", "add rule ip h i counter accept"
    )
    with tracing(broker, bridge.router, "icmp and src host 10.9.0.1", bridge=True) as trace:
        bridge.ping("10.9.0.254")
        found = request(trace)
        trace.read()
        assert len([one for one in trace.engine.traces.ended if one.head.info == "echo request"]) == 1
    assert found.hooks == ["prerouting", "input", "prerouting", "input"] and steps(found) == ["input h/i 1 accept"]
    assert (found.iif, found.device, where(found)) == ("pa", "br0", "accepted, for this host")


def test_where_bridged_packets_pass_the_chains_of_ip_it_is_one_entry(bridge: Bridge, broker: Broker) -> None:
    run_in(bridge.router, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    bridge.rules("add table ip h", "add chain ip h f { type filter hook forward priority 0; }", "add rule ip h f drop")
    with tracing(broker, bridge.router, "icmp and src host 10.9.0.1", bridge=True) as trace:
        bridge.ping("10.9.0.2")
        found = request(trace)
    assert steps(found) == ["forward h/f 1 drop"] and found.iif == "pa"
    assert where(found).startswith("dropped by ip h f rule 1")


def test_where_bridged_packets_pass_postrouting_of_ip_it_comes_after_that_of_the_bridge(
    bridge: Bridge, broker: Broker
) -> None:
    """br_netfilter calls it in the last place of the hook of the bridge, where our own chain was before."""
    run_in(bridge.router, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    bridge.rules(
        "add table bridge h",
        "add chain bridge h p { type filter hook postrouting priority 0; }",
        "add rule bridge h p counter",
        "add table ip h",
        "add chain ip h p { type filter hook postrouting priority 0; }",
        "add rule ip h p drop",
    )
    with tracing(broker, bridge.router, "icmp and src host 10.9.0.1", bridge=True) as trace:
        bridge.ping("10.9.0.2")
        poll(lambda: trace.read() or [one for one in trace.engine.traces.ended if one.verdict == "drop"])
        (found,) = trace.engine.traces.ended
    assert steps(found) == ["postrouting h/p 1 continue", "postrouting h/p policy accept", "postrouting h/p 1 drop"]
    assert where(found).startswith("dropped by ip h p rule 1")


def test_in_by_a_port_and_prerouting_called_twice_is_one_entry(bridge: Bridge, broker: Broker, lab: Lab) -> None:
    """br_netfilter calls prerouting at the port, and the kernel then gives the packet the id of the bridge."""
    beyond = lab.netns("w")
    lab.veth_pair(bridge.router, beyond, "wan", "eth0", ("10.8.0.1/24",), ("10.8.0.2/24",))
    run_in(beyond, "ip", "route", "add", "default", "via", "10.8.0.1")
    run_in(bridge.a, "ip", "route", "add", "default", "via", "10.9.0.254")
    run_in(bridge.router, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1", "net.ipv4.ip_forward=1")
    bridge.rules(
        "add table ip n",
        "add chain ip n p { type nat hook prerouting priority dstnat; }",
        "add rule ip n p ip daddr 10.9.0.77 dnat to 10.8.0.2",
    )
    (link,) = json.loads(run_in(bridge.router, "ip", "-j", "link", "show", "br0"))
    run_in(bridge.a, "ip", "neigh", "add", "10.9.0.77", "lladdr", link["address"], "dev", "eth0")
    expected = {
        "10.9.0.254": (["prerouting", "input"], "accepted, for this host"),
        "10.8.0.2": (["prerouting", "forward", "postrouting"], "accepted, out of wan"),
        "10.9.0.2": (["prerouting", "forward", "postrouting"], "accepted, out of br0"),
        "10.9.0.77": (["prerouting", "forward", "postrouting"], "accepted, out of wan, NAT dst → 10.8.0.2"),
    }
    for to, (hooks, end) in expected.items():
        with tracing(broker, bridge.router, "icmp and src host 10.9.0.1") as trace:
            run_in(bridge.a, "ping", "-c", "20", "-i", "0.01", "-W", "1", to)
            found = trace.ended(20)
        assert [(one.hooks, where(one)) for one in found] == [(hooks, end)] * 20, to
        assert not list(trace.engine.traces.open())


def test_what_the_limit_leaves_out_at_the_bridge_is_followed_from_its_port(bridge: Bridge, broker: Broker) -> None:
    """The mark of prerouting stays: the records of the bridge's id come without one."""
    run_in(bridge.router, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    with tracing(broker, bridge.router, "icmp and src host 10.9.0.1", per_second=1) as trace:
        bridge.ping("10.9.0.254")
        found = request(trace)
    assert (found.hooks, where(found)) == (["prerouting", "input"], "accepted, for this host")
    assert certainty(found) == "likely: its legs are joined by bytes and time"


def test_a_recording_has_one_entry_for_what_comes_in_by_a_port(bridge: Bridge, tmp_path: Path) -> None:
    run_in(bridge.router, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    recording, expression = tmp_path / "bridged.pcapng", "icmp and src host 10.9.0.1"
    with running("record", "-w", str(recording), "--netns", bridge.router) as record:
        poll(lambda: holds(recording, b"br0\0"), what="the names of devices")
        with running("trace", expression, "--netns", bridge.router, "--count", "5") as command:
            command.line(errors=True)
            run_in(bridge.a, "ping", "-c", "5", "-i", "0.01", "10.9.0.254")
            assert command.end(20)[0] == 0
        record.signal()
        assert record.end(20)[0] == 0
    out = nettop("trace", "-r", str(recording)).stdout
    assert out.count("from br0") == out.count("accepted, for this host") == out.count("likely: its legs") == 5


def test_without_bridge_it_is_seen_from_the_ip_hooks_on(bridge: Bridge, broker: Broker) -> None:
    with tracing(broker, bridge.router, "icmp and src host 10.9.0.1") as trace:
        bridge.ping("10.9.0.2")
        bridge.ping("10.9.0.254")
        found = request(trace)
    assert (found.head.dst, found.iif, found.hooks) == ("10.9.0.254", "br0", ["prerouting", "input"])


def test_a_rule_at_the_ingress_drops(lab: Lab, broker: Broker) -> None:
    path = Path3(lab)
    path.rules(
        "add table netdev n\nadd chain netdev n in { type filter hook ingress device lan0 priority 0; }\n"
        "add rule netdev n in ip protocol icmp drop"
    )
    with tracing(broker, path.router, "icmp", ingress=True) as trace:
        path.ping(SERVER)
        found = request(trace)
    assert steps(found) == ["ingress n/in 1 drop"] and found.hooks == ["ingress"]
    assert where(found).startswith("dropped by netdev n in rule 1 ")


def test_from_the_ingress_on_it_is_one_entry(lab: Lab, broker: Broker) -> None:
    path = Path3(lab)
    path.rules(
        "add table netdev n\nadd chain netdev n in { type filter hook ingress device lan0 priority 0; }\n"
        "add rule netdev n in counter\nadd table ip t\nadd chain ip t f { type filter hook forward priority 0; }\n"
        "add rule ip t f accept"
    )
    with tracing(broker, path.router, "icmp", ingress=True) as trace:
        path.ping(SERVER)
        found = request(trace)
    assert steps(found) == ["ingress n/in 1 continue", "ingress n/in policy accept", "forward t/f 1 accept"]
    assert found.hooks == ["ingress", "prerouting", "forward", "postrouting"]
    assert where(found) == "accepted, out of wan0"


def test_nothing_is_left_of_the_tables_of_any_family(bridge: Bridge) -> None:
    with running(
        "trace", "icmp", "--netns", bridge.router, "--bridge", "--ingress", "--count", "1", "--json"
    ) as command:
        command.line(errors=True)
        tables = run_in(bridge.router, "nft", "list", "tables")
        assert all(f"table {family} nettop-" in tables for family in ("inet", "bridge", "netdev"))
        bridge.ping("10.9.0.2")
        code, out, _ = command.end()
    end = json.loads(out.splitlines()[-1])
    assert code == 0 and end["hooks"] == ["ingress", "prerouting", "forward", "postrouting"] and end["oif"] == "pb"
    assert "nettop" not in run_in(bridge.router, "nft", "list", "tables")
