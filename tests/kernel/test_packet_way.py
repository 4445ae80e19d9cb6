"""The way of a packet through the hooks, asked of the kernel: local, forwarded or not, or without a route."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from nettop.broker.client import Broker
from nettop.errors import UsageError
from nettop.session.packet_way import packet_way
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.pty_terminal import terminal

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

WAYS = {
    "to 10.9.0.4": ("from this host", "10.9.0.4 leaves by eth1"),
    "10.1.0.1": ("over loopback", "10.1.0.1 is an address of this host"),
    "to 10.1.0.1 from 10.1.0.2 in eth0": ("to this host", "10.1.0.1 is an address of this host"),
    "to 10.9.0.4:443 from 10.1.0.2 in eth0": ("through it", "10.9.0.4 leaves by eth1"),
    "to 203.0.113.1": ("ends in routing", "203.0.113.1: Network is unreachable (no route)"),
    "to fd09::4": ("from this host", "fd09::4 leaves by eth1"),
    "in eth0 out eth1": ("through it", "in eth0, out eth1: net.ipv4.conf.eth0.forwarding is 1"),
    "in eth1.7 out eth0": ("through it", "in eth1.7, out eth0: net.ipv4.conf.eth1/7.forwarding is 1"),
    "to 10.1.0.255": ("from this host", "10.1.0.255 is a broadcast address: it leaves by eth0"),
    "to 224.0.0.5 out eth1": ("from this host", "224.0.0.5 is a multicast group: it leaves by eth1"),
    "to 10.1.0.255 from 10.1.0.2 in eth0": (
        "to this host",
        "10.1.0.255 is a broadcast address that this host receives",
    ),
    "to ff02::1 from fe80::1 in eth1": (
        "to this host",
        "ff02::1 is a multicast group: input sees its packets if this host is in it",
    ),
    "to fd09::4 from fd01::4 in eth0": ("ends in routing", "net.ipv6.conf.all.forwarding is 0: IPv6 is not forwarded"),
}


@pytest.fixture
def router(lab: Lab) -> Iterator[str]:
    ns = lab.netns("way")
    for at, (name, address) in enumerate((("eth0", "10.1.0.1/24"), ("eth1", "10.9.0.1/24"))):
        run_in(ns, "ip", "link", "add", name, "type", "veth", "peer", "name", f"peer{at}")
        run_in(ns, "ip", "address", "add", address, "dev", name)
        for end in (name, f"peer{at}"):
            run_in(ns, "ip", "link", "set", end, "up")
    run_in(ns, "ip", "address", "add", "fd09::1/64", "dev", "eth1", "nodad")
    run_in(ns, "ip", "link", "add", "eth1.7", "type", "veth", "peer", "name", "peer7")
    run_in(ns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    yield ns


def test_the_kernel_says_which_way_a_packet_goes(router: str, broker: Broker) -> None:
    netns = broker.netns(router)
    for asked, expected in WAYS.items():
        found = packet_way(broker, netns, asked, {})
        assert (found.journey, found.reason) == expected, asked
    for name in ("all.forwarding", "eth0.force_forwarding"):
        run_in(router, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=0")
        try:
            run_in(router, "sysctl", "-qw", f"net.ipv6.conf.{name}=1")
        except subprocess.CalledProcessError:
            assert name != "all.forwarding", "the other one is new in Linux 6.17"
        else:
            assert packet_way(broker, netns, "to fd09::4 from fd01::4 in eth0", {}).journey == "through it"
    run_in(router, "sysctl", "-qw", "net.ipv4.ip_forward=0")
    off = packet_way(broker, netns, "to 10.9.0.4 from 10.1.0.2 in eth0", {})
    assert off.journey == "ends in routing" and "forwarding is off" in off.reason
    assert packet_way(broker, netns, "in eth0 out eth1", {}).reason.startswith("net.ipv4.conf.eth0.forwarding is 0")
    for bad in ("in nowhere out eth1", "to 10.9.0.4 from 10.1.0.2 in nowhere", "hello world", ""):
        with pytest.raises(UsageError):
            packet_way(broker, netns, bad, {})


def test_o_lights_the_way_of_a_packet_on_the_matrix(router: str) -> None:
    run_in(router, "nft", "add table ip t; add chain ip t c { type filter hook forward priority 0; }")
    with terminal("--netns", router) as screen:
        poll(lambda: screen.shows("1 Flows"))
        screen.key("3")
        poll(lambda: screen.shows("O of a packet"))
        screen.key("Oto 10.9.0.4 from 10.1.0.2 in eth0\r")
        poll(lambda: screen.shows("way: through it   10.9.0.4 leaves by eth1"))
        screen.key("Oto nowhere\r")
        poll(lambda: re.search(r"'nowhere' is no IPv4 or IPv6 address", screen.read().decode(errors="replace")))
        assert screen.quit() == 0


def bridged(router: str) -> None:
    run_in(router, "ip", "link", "add", "br0", "type", "bridge")
    run_in(router, "ip", "address", "add", "10.5.0.254/24", "dev", "br0")
    run_in(router, "ip", "link", "set", "br0", "up")
    for at, port in enumerate(("pa", "pb"), 2):
        run_in(router, "ip", "link", "add", port, "type", "veth", "peer", "name", f"peer{at}")
        run_in(router, "ip", "link", "set", port, "master", "br0")
        for end in (port, f"peer{at}"):
            run_in(router, "ip", "link", "set", end, "up")


def test_o_shows_a_packet_between_two_ports_on_the_path_of_bridges(router: str) -> None:
    bridged(router)
    hook = "{ type filter hook forward priority 0; }"
    for family, chain in (("bridge", "onports"), ("ip", "routed")):
        run_in(router, "nft", f"add table {family} t; add chain {family} t {chain} {hook}")
    name = "net.bridge.bridge-nf-call-iptables"
    with terminal("--netns", router) as screen:
        poll(lambda: screen.shows("1 Flows"))
        screen.key("3")
        poll(lambda: screen.shows("O of a packet"))
        run_in(router, "sysctl", "-qw", f"{name}=0")
        screen.key("Oin pa out pb\r")
        poll(lambda: screen.shows(f"br0 forwards it from pa to pb: the hooks of bridges only, {name} is 0"))
        poll(lambda: screen.shows("onports"), what="the path of bridges")
        screen.drawn = b""
        run_in(router, "sysctl", "-qw", f"{name}=1")
        screen.key("Oto 10.5.0.2 from 10.5.0.1 in pa\r")
        poll(lambda: screen.shows("10.5.0.2 is behind br0, as pa is: the hooks of bridges, and in them those of IP"))
        screen.key("Oto 10.5.0.254 from 10.5.0.1 in pa\r")
        poll(lambda: screen.shows("way: to this host   10.5.0.254 is an address of this host"))
        poll(lambda: screen.shows("routed"), what="the path of IPv4")
        screen.key("Oto 10.9.0.4 from 10.5.0.1 in pa\r")
        poll(lambda: screen.shows("way: through it   10.9.0.4 leaves by eth1"))
        screen.key("Oin pa out eth1\r")
        poll(lambda: screen.shows("in br0, out eth1: net.ipv4.conf.br0.forwarding is 1"))
        assert screen.quit() == 0
