"""Findings of the map: each in namespaces where its fault is, and none where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

from nettop.broker.client import Broker
from nettop.model.findings import Finding
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.findings import map_findings
from nettop.pipeline.route_question import is_dropped
from tests.kernel.map_state import engine_with
from tests.kernel.namespaces import Lab, command_in, never_answered, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]


FORWARD = "table {} f {{ chain f {{ type filter hook forward priority 0; policy drop\n{}\n}}\n}}"


def found(broker: Broker, *specs: str, rules: str | None = None) -> dict[str, list[Finding]]:
    """The findings about these namespaces by name; the rules of one of them are read."""
    engine = engine_with(broker, *specs, with_rules=rules)
    by_name: dict[str, list[Finding]] = {}
    for one in map_findings(MapFacts(engine.host_map, engine.rulesets.of, partial(is_dropped, broker))):
        if dict(one.place)["netns"] in specs:
            assert one.evidence and one.summary
            by_name.setdefault(one.name, []).append(one)
    return by_name


def place(one: Finding) -> tuple[object, object]:
    keys = dict(one.place)
    return keys["netns"], keys.get("device")


def ip(ns: str, *lines: str) -> None:
    for line in lines:
        run_in(ns, "ip", *line.split())


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("nft", "ip nat prerouting { type nat hook prerouting priority -100; tcp dport 80 dnat to 10.2.0.2:8080\n}"),
        ("iptables-nft", "-t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.2.0.2:8080"),
        ("iptables-legacy", "-t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 10.2.0.2:8080"),
        ("iptables-nft", "-A FORWARD -p tcp -j ACCEPT"),
        ("ip6tables-nft", "-A FORWARD -p tcp -j ACCEPT"),
    ],
)
def test_rules_for_packets_to_others_are_found_where_nothing_is_forwarded(
    broker: Broker, lab: Lab, tool: str, words: str
) -> None:
    ns = lab.netns()
    if tool == "nft":
        table, chain = words.split(" prerouting ", 1)
        run_in(ns, "nft", "-f", "-", stdin=f"table {table} {{ chain prerouting {chain}\n}}")
    else:
        run_in(ns, tool, *words.split())
    (one,) = found(broker, ns, rules=ns)["forwarding-off"]
    name = "net.ipv6.conf.all.forwarding" if tool.startswith("ip6") else "net.ipv4.ip_forward"
    assert one.evidence[0] == f"{name} = 0" and len(one.evidence) == 2 and place(one) == (ns, None)
    run_in(ns, "sysctl", "-qw", f"{name}=1")
    assert found(broker, ns, rules=ns) == {}


def test_dnat_to_an_own_address_and_rules_that_let_nothing_through_need_no_forwarding(broker: Broker, lab: Lab) -> None:
    ns, other = lab.netns("a"), lab.netns("b")
    lab.veth_pair(ns, other)
    rules = ("tcp dport 80 dnat to 10.99.0.1", "tcp dport 81 redirect to :82", "tcp dport 83 dnat to 127.0.0.1:80")
    body = "\n".join(rules)
    nat = f"type nat hook prerouting priority -100\n{body}"
    run_in(ns, "nft", "-f", "-", stdin=f"table ip n {{ chain p {{ {nat}\n}}\n}}")
    assert found(broker, ns, rules=ns) == {}
    run_in(ns, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    run_in(ns, "nft", "-f", "-", stdin=FORWARD.format("inet", "tcp dport 22 accept"))
    run_in(ns, "nft", "-f", "-", stdin=FORWARD.format("ip", "tcp dport 22 counter\ntcp dport 23 drop"))
    assert found(broker, ns, rules=ns) == {}


def two_uplinks(lab: Lab) -> tuple[str, str]:
    """A namespace with two uplinks, the second of which has the default route with the worse metric."""
    here, net = lab.netns("a"), lab.netns("b")
    for at in (1, 2):
        lab.veth_pair(here, net, f"up{at}", f"u{at}", (f"10.{at}.0.2/24",), (f"10.{at}.0.1/24",))
        ip(here, f"route add default via 10.{at}.0.1 dev up{at} metric {at * 100}")
    ip(net, "address add 203.0.113.9/32 dev lo")
    return here, net


def pinged(ns: str, target: str, source: str) -> bool:
    out = run_in(ns, "ping", "-c", "1", "-W", "1", "-I", source, target, check=False)
    return "1 received" in out


def test_a_strict_rp_filter_is_found_where_the_way_back_is_another_device(broker: Broker, lab: Lab) -> None:
    here, net = two_uplinks(lab)
    assert found(broker, here, net) == {}
    run_in(here, "sysctl", "-qw", "net.ipv4.conf.up1.rp_filter=1", "net.ipv4.conf.up2.rp_filter=1")
    (one,) = found(broker, here, net)["asymmetric-route"]
    assert place(one) == (here, "up2")
    assert one.evidence[0] == "by up2: default via 10.2.0.1 dev up2 proto boot metric 200"
    assert one.evidence[1] == "way back: default via 10.1.0.1 dev up1 proto boot metric 100"
    assert one.evidence[2] == "net.ipv4.conf.all.rp_filter = 0, net.ipv4.conf.up2.rp_filter = 1"
    ip(net, "route add 10.2.0.2/32 dev u2")
    assert not pinged(net, "10.2.0.2", "203.0.113.9")
    # The usual cure: answers from the second address leave by the second device.
    ip(here, "route add default via 10.2.0.1 dev up2 table 2", "rule add from 10.2.0.2 lookup 2 pref 100")
    assert found(broker, here, net) == {}
    assert pinged(net, "10.2.0.2", "203.0.113.9")
    ip(here, "rule del pref 100")
    run_in(here, "sysctl", "-qw", "net.ipv4.conf.up2.rp_filter=2")
    assert found(broker, here, net) == {}
    assert pinged(net, "10.2.0.2", "203.0.113.9")


def test_two_devices_in_one_subnet_are_found_since_answers_leave_by_the_first(broker: Broker, lab: Lab) -> None:
    here, net = lab.netns("a"), lab.netns("b")
    for at in (1, 2):
        lab.veth_pair(here, net, f"up{at}", f"u{at}", (f"10.5.0.{at}/24",), ())
    run_in(here, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    (one,) = found(broker, here)["asymmetric-route"]
    assert place(one) == (here, "up2") and "10.5.0.3 is up1" in one.summary
    assert "dev up1" in run_in(here, "ip", "route", "get", "10.5.0.3")
    refused = run_in(here, "sh", "-c", "ip route get 10.5.0.2 from 10.5.0.3 iif up2 2>&1 || true")
    assert "dev lo" not in refused and "answers" in refused


def test_a_route_by_mark_alone_is_found_until_the_mark_counts_for_no_strict_check(broker: Broker, lab: Lab) -> None:
    here, net = lab.netns("a"), lab.netns("b")
    for at in (1, 2):
        lab.veth_pair(here, net, f"up{at}", f"u{at}", (f"10.{at}.0.2/24",), (f"10.{at}.0.1/24",))
    ip(here, "route add default via 10.1.0.1", "route add default via 10.2.0.1 table 7", "rule add fwmark 7 lookup 7")
    run_in(here, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    (one,) = found(broker, here)["asymmetric-route"]
    assert place(one) == (here, "up2") and "table 7" in one.evidence[0]
    run_in(here, "sysctl", "-qw", "net.ipv4.conf.all.src_valid_mark=1")
    assert found(broker, here) == {}
    ip(here, "rule del fwmark 7", "rule add lookup main suppress_prefixlength 0 pref 50", "rule add lookup 7 pref 51")
    (one,) = found(broker, here)["asymmetric-route"]
    assert place(one) == (here, "up1") and "table 7" in one.evidence[1]


def bridge_with_ports(lab: Lab) -> tuple[str, ...]:
    """A bridge with the ports p1 and p2, and the hosts behind them."""
    here, *hosts = (lab.netns(name) for name in ("br", "h1", "h2"))
    ip(here, "link add br0 type bridge", "link set br0 up")
    for at, host in enumerate(hosts, 1):
        lab.veth_pair(here, host, f"p{at}", "e0", (), (f"10.5.0.{at}/24",))
        ip(here, f"link set p{at} master br0")
    return here, *hosts


@pytest.mark.parametrize("tool", ["iptables-nft", "iptables-legacy"])
def test_rules_for_bridge_ports_are_found_while_bridged_frames_pass_no_iptables(
    broker: Broker, lab: Lab, tool: str
) -> None:
    here, *_ = bridge_with_ports(lab)
    run_in(here, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    run_in(here, tool, "-A", "FORWARD", "-m", "physdev", "--physdev-in", "p2", "-j", "DROP")
    run_in(here, tool, "-A", "FORWARD", "-m", "physdev", "--physdev-in", "p1", "--physdev-is-bridged", "-j", "ACCEPT")
    run_in(here, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")
    (one,) = found(broker, here, rules=here)["bridge-nf-off"]
    assert place(one)[0] == here and place(one)[1] in ("p1", "p2") and len(one.evidence) == 3
    assert one.summary == "2 rules match ports of a bridge, yet bridge-nf-call-iptables is 0: no match"
    ip(here, "link set br0 type bridge nf_call_iptables 1")
    assert found(broker, here, rules=here) == {}
    ip(here, "link set br0 type bridge nf_call_iptables 0")
    run_in(here, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    assert found(broker, here, rules=here) == {}


def test_a_conntrack_table_that_is_nearly_full_is_found(broker: Broker, lab: Lab) -> None:
    ns = never_answered(lab, "full")
    most = int(run_in(ns, "cat", "/proc/sys/net/netfilter/nf_conntrack_max"))
    few = found(broker, ns)
    assert "conntrack-full" not in few
    flood = command_in(ns, sys.executable, "-m", "tests.flood", str(int(most * 0.93)))
    subprocess.run(flood, check=True, capture_output=True, cwd=os.getcwd(), timeout=60)
    (one,) = found(broker, ns)["conntrack-full"]
    assert place(one) == (ns, None) and f"nf_conntrack_max = {most}" in one.evidence[1]


def test_ends_of_a_pair_with_different_mtus_are_found(broker: Broker, lab: Lab) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b)
    assert found(broker, a, b) == {}
    ip(b, "link set veth0 mtu 1400")
    (one,) = found(broker, a, b)["pair-mtu"]
    assert place(one) == (a, "veth0")
    assert one.evidence == (f"veth0 in {a}: veth, MTU 1500", f"veth0 in {b}: veth, MTU 1400")
    assert not pinged_with(a, "10.99.0.2", 1472) and pinged_with(a, "10.99.0.2", 1372)


def pinged_with(ns: str, target: str, size: int) -> bool:
    out = run_in(ns, "ping", "-c", "1", "-W", "1", "-M", "do", "-s", str(size), target, check=False)
    return "1 received" in out


@pytest.mark.parametrize(
    ("addresses", "remote", "device", "fits"),
    [
        (("10.99.0.1/24", "10.99.0.2/24"), "10.99.0.2", "", 1350),
        (("10.99.0.1/24", "10.99.0.2/24"), "10.99.0.2", "dev veth0 ", 1350),
        (("fd99::1/64", "fd99::2/64"), "fd99::2", "dev veth0 ", 1330),
    ],
)
def test_a_vxlan_whose_packets_do_not_fit_is_found(
    broker: Broker, lab: Lab, addresses: tuple[str, str], remote: str, device: str, fits: int
) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b, addresses_a=addresses[:1], addresses_b=addresses[1:])
    ip(a, f"link add vx42 type vxlan id 42 {device}remote {remote} dstport 4789")
    if device:  # the kernel knows the device, and makes it fit when it is made
        assert found(broker, a, b) == {}
    for ns in (a, b):
        ip(ns, "link set veth0 mtu 1400")
    (one,) = found(broker, a, b)["tunnel-mtu"]
    assert place(one) == (a, "vx42") and f"vxlan adds {1400 - fits} bytes" in one.summary
    ip(a, f"link set vx42 mtu {fits}")
    assert found(broker, a, b) == {}


@pytest.mark.parametrize(("mode", "faulty"), [("bridge", True), ("private", True), ("vepa", True), ("passthru", False)])
def test_a_macvlan_child_that_wants_its_parents_address_is_found(
    broker: Broker, lab: Lab, mode: str, faulty: bool
) -> None:
    parent, child, peer = lab.netns("p"), lab.netns("c"), lab.netns("x")
    lab.veth_pair(parent, peer, "eth1", "e0", ("10.7.0.1/24",), ("10.7.0.9/24",))
    ip(parent, f"link add mv0 link eth1 type macvlan mode {mode}", f"link set mv0 netns {child.removeprefix('pid:')}")
    ip(child, "address add 10.7.0.2/24 dev mv0", "link set mv0 up")
    here = found(broker, parent, child, peer)
    if not faulty:
        assert "parent-address" not in here
        return
    (one,) = here.pop("parent-address")
    assert place(one) == (child, "mv0") and one.summary.startswith("10.7.0.1 cannot be reached") and here == {}
    assert f"eth1 in {parent}: 10.7.0.1/24" in one.evidence
    assert not pinged(child, "10.7.0.1", "10.7.0.2") and (mode == "vepa" or pinged(child, "10.7.0.9", "10.7.0.2"))
    ip(parent, "address flush dev eth1")
    assert found(broker, parent, child, peer) == {}


def test_an_address_that_two_namespaces_of_one_lan_have_is_found(broker: Broker, lab: Lab) -> None:
    here, *hosts = bridge_with_ports(lab)
    far = lab.netns("far")
    lab.veth_pair(far, lab.netns("far2"), "e0", "e0", ("10.5.0.1/24",), ())  # another LAN
    specs = (here, *hosts, far)
    assert found(broker, *specs) == {}
    ip(hosts[1], "address add 10.5.0.1/24 dev e0")
    (one,) = found(broker, *specs)["duplicate-address"]
    assert {place(one)} <= {(host, "e0") for host in hosts} and "10.5.0.1" in one.summary and len(one.evidence) == 2


def test_a_device_that_is_down_and_holds_an_address_is_found(broker: Broker, lab: Lab) -> None:
    a, b = lab.netns("a"), lab.netns("b")
    lab.veth_pair(a, b, "e0", "e0", ("10.1.0.1/24",), ("10.1.0.2/24",))
    lab.veth_pair(a, b, "e1", "e1", ("10.2.0.1/24",), ("10.2.0.2/24",))
    ip(a, "route add 10.9.0.0/16 nexthop via 10.1.0.2 nexthop via 10.2.0.2")
    assert found(broker, a, b) == {}
    ip(a, "link set e1 down")
    here = found(broker, a, b)
    (one,) = here["down-address"]
    assert place(one) == (a, "e1") and one.summary == (
        "down, but it holds 10.2.0.1/24: no route to 10.2.0.0/24 leads through it"
    )
    assert any("nexthop via 10.2.0.2 dev e1 weight 1 dead" in line for line in one.evidence)
    (peer,) = here["no-carrier"]
    assert place(peer) == (b, "e1") and f"e1 in {a}" in peer.summary
    ip(a, "address del 10.2.0.1/24 dev e1")
    assert "down-address" not in found(broker, a, b)


def test_a_bridge_port_that_does_not_forward_is_found(broker: Broker, lab: Lab) -> None:
    here, *_ = bridge_with_ports(lab)
    assert found(broker, here) == {}
    run_in(here, "bridge", "link", "set", "dev", "p1", "state", "0")
    (one,) = found(broker, here)["port-state"]
    assert place(one) == (here, "p1") and "state disabled; STP is off on br0" in one.evidence[0]
    run_in(here, "bridge", "link", "set", "dev", "p1", "state", "3")
    assert found(broker, here) == {}
    ip(here, "link set p1 down")
    assert "port-state" not in found(broker, here)
