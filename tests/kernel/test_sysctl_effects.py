"""The values of sysctls that the map calls in effect, against what the kernel does with each combination."""

from __future__ import annotations

import errno
import itertools
import json
import re

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import RouteQuestion
from nettop.decode.sysctls import sysctl_values
from nettop.kinds import TextKind
from nettop.linux.socket import AF_INET
from nettop.model.topology.sysctls import conf, rows
from nettop.pipeline.route_question import ask_route
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

V4, V6 = "net.ipv4.conf.{}.", "net.ipv6.conf.{}."


class Router:
    """A namespace with the devices r0 (10.1.0.0/24, fd01::/64) and r1 (10.2, fd02), and a host behind each."""

    def __init__(self, lab: Lab, broker: Broker) -> None:
        self.here, self.a, self.b = lab.netns("r"), lab.netns("a"), lab.netns("b")
        for at, (host, name) in enumerate(((self.a, "r0"), (self.b, "r1")), 1):
            ours, theirs = (f"10.{at}.0.1/24", f"fd0{at}::1/64"), (f"10.{at}.0.2/24", f"fd0{at}::2/64")
            lab.veth_pair(self.here, host, name, "e0", ours, theirs)
            mac = json.loads(run_in(host, "ip", "-j", "link", "show", "e0"))[0]["address"]
            for address in (f"10.{at}.0.2", f"fd0{at}::2"):  # a question of the router would give its own MAC away
                run_in(self.here, "ip", "neigh", "replace", address, "lladdr", mac, "dev", name)
            self.run(host, "net.ipv4.neigh.e0.mcast_solicit=1", "net.ipv4.neigh.e0.retrans_time_ms=60")
            self.run(host, "net.ipv6.neigh.e0.mcast_solicit=1", "net.ipv6.neigh.e0.retrans_time_ms=60")
        # An answer for another host waits for a random part of proxy_delay.
        self.run(self.here, *(f"net.ipv{version}.neigh.r0.proxy_delay=0" for version in (4, 6)))
        self._broker, self._ns = broker, broker.netns(self.here)
        self._r0 = next(one.ifindex for one in broker.devices(self._ns) if one.name == "r0")

    @staticmethod
    def run(ns: str, *settings: str) -> None:
        run_in(ns, "sysctl", "-qw", *settings)

    def set(self, name: str, of_all: int, of_device: int) -> int:
        """Set both, that of `all` first, which some copy to all devices; return what is in effect on r0."""
        self.run(self.here, f"{name.format('all')}={of_all}", f"{name.format('r0')}={of_device}")
        values = sysctl_values(self._broker.text(self._ns, TextKind.MAP_SYSCTLS))
        found = conf(values, name, "r0")
        assert found is not None
        return found

    def routed(self, source: str, destination: str, mark: int = 0) -> int:
        """Return the errno for a packet that arrives at r0."""
        question = RouteQuestion(AF_INET, destination, source, self._r0, mark=mark)
        return ask_route(self._broker, self._ns, question).error

    def answers(self, ns: str, target: str) -> bool:
        """Return whether a host finds the MAC of an address by ARP or neighbour discovery."""
        run_in(ns, "ip", "neigh", "flush", "dev", "e0")

        def state() -> str:
            words = run_in(ns, "ip", "neigh", "show", target, "dev", "e0").split()
            if not words:  # not asked yet, or forgotten: all namespaces share the room for neighbours
                run_in(ns, "ping", "-c", "1", "-W", "0.01", target, check=False)
            return "" if not words or "INCOMPLETE" in words else words[-1]

        return poll(state, what=f"the neighbour {target}") != "FAILED"


@pytest.fixture
def router(lab: Lab, broker: Broker) -> Router:
    return Router(lab, broker)


def both(*values: int) -> itertools.product[tuple[int, int]]:
    return itertools.product(values, repeat=2)  # type: ignore[return-value]


def test_rp_filter_is_the_higher_of_all_and_the_device(router: Router) -> None:
    router.run(router.here, "net.ipv4.ip_forward=1")
    for of_all, of_device in both(0, 1, 2):
        effective = router.set(V4 + "rp_filter", of_all, of_device)
        asymmetric, unrouted = router.routed("10.2.0.77", "10.2.0.2"), router.routed("8.8.8.8", "10.2.0.2")
        assert (bool(asymmetric), bool(unrouted)) == (effective == 1, effective > 0), (of_all, of_device)


def test_what_one_of_all_and_the_device_switches_on(router: Router) -> None:
    router.run(router.here, "net.ipv4.ip_forward=1")
    for of_all, of_device in both(0, 1):
        effective = router.set(V4 + "accept_local", of_all, of_device)
        assert (not router.routed("10.2.0.1", "10.2.0.2")) == bool(effective), (of_all, of_device)
        effective = router.set(V4 + "route_localnet", of_all, of_device)
        assert (not router.routed("10.1.0.2", "127.0.0.1")) == bool(effective), (of_all, of_device)


def test_the_mark_counts_for_the_way_back_if_one_of_them_says_so(router: Router) -> None:
    router.run(router.here, "net.ipv4.ip_forward=1", "net.ipv4.conf.r0.rp_filter=1")
    run_in(router.here, "ip", "route", "add", "10.2.0.77", "via", "10.1.0.2", "table", "7")
    run_in(router.here, "ip", "rule", "add", "fwmark", "7", "to", "10.2.0.77", "lookup", "7")
    for of_all, of_device in both(0, 1):
        effective = router.set(V4 + "src_valid_mark", of_all, of_device)
        assert (not router.routed("10.2.0.77", "10.2.0.2", 7)) == bool(effective), (of_all, of_device)


def test_forwarding_of_ipv4_is_the_devices_own(router: Router) -> None:
    for of_all, of_device in both(0, 1):
        effective = router.set(V4 + "forwarding", of_all, of_device)
        assert router.routed("10.1.0.2", "10.2.0.2") == (0 if effective else errno.EHOSTUNREACH), (of_all, of_device)


def test_arp_is_answered_as_the_values_in_effect_say(router: Router) -> None:
    router.run(router.here, "net.ipv4.ip_forward=1")
    for target in ("10.2.0.0/24", "10.3.0.0/24"):
        run_in(router.a, "ip", "route", "add", target, "dev", "e0")
    run_in(router.here, "ip", "route", "add", "10.3.0.0/24", "via", "10.1.0.3")  # behind the asking host's device
    run_in(router.here, "ip", "neigh", "add", "10.1.0.3", "lladdr", "02:00:00:00:00:01", "dev", "r0")  # it never asks
    for of_all, of_device in both(0, 1):
        effective = router.set(V4 + "proxy_arp", of_all, of_device)
        assert router.answers(router.a, "10.2.0.2") == bool(effective), (of_all, of_device)
        router.set(V4 + "proxy_arp", 0, 0)
        effective = router.set(V4 + "proxy_arp_pvlan", of_all, of_device)
        assert router.answers(router.a, "10.3.0.2") == bool(effective), (of_all, of_device)
        router.set(V4 + "proxy_arp_pvlan", 0, 0)
        run_in(router.here, "ip", "route", "replace", "10.1.0.2", "via", "10.2.0.2")
        effective = router.set(V4 + "arp_filter", of_all, of_device)
        assert router.answers(router.a, "10.1.0.1") == (not effective), (of_all, of_device)
        run_in(router.here, "ip", "route", "del", "10.1.0.2")
        router.set(V4 + "arp_filter", 0, 0)
    for of_all, of_device in itertools.product((0, 1, 8), repeat=2):
        effective = router.set(V4 + "arp_ignore", of_all, of_device)
        heard = router.answers(router.a, "10.1.0.1"), router.answers(router.a, "10.2.0.1")
        assert heard == (effective < 8, effective == 0), (of_all, of_device)


def test_ipv6_is_forwarded_and_answered_as_the_values_in_effect_say(router: Router) -> None:
    run_in(router.b, "ip", "route", "add", "fd01::/64", "via", "fd02::1")
    run_in(router.a, "ip", "route", "add", "fd02::/64", "via", "fd01::1")
    router.set(V6 + "forwarding", 1, 1)
    poll(lambda: pinged(router.a, "fd02::2"), what="the first answer")  # all addresses are usable
    for of_all, of_device in both(0, 1):
        effective = router.set(V6 + "forwarding", of_all, of_device)
        assert pinged(router.a, "fd02::2") == bool(effective), (of_all, of_device)
    router.set(V6 + "forwarding", 1, 1)
    run_in(router.here, "ip", "neigh", "add", "proxy", "fd01::99", "dev", "r0")
    for of_all, of_device in both(0, 1):
        effective = router.set(V6 + "proxy_ndp", of_all, of_device)
        assert router.answers(router.a, "fd01::99") == bool(effective), (of_all, of_device)
    for of_all, of_device in both(0, 1):
        effective = router.set(V6 + "disable_ipv6", of_all, of_device)
        assert ("inet6" in run_in(router.here, "ip", "address", "show", "dev", "r0")) != bool(effective)


def pinged(ns: str, target: str) -> bool:
    return "1 received" in run_in(ns, "ping", "-c", "1", "-W", "0.5", target, check=False)


@pytest.fixture
def roundabout(router: Router) -> Router:
    """A router that sends packets of `a` for 10.9.0.0/16 back into their LAN."""
    router.run(router.here, "net.ipv4.ip_forward=1")
    run_in(router.here, "ip", "route", "add", "10.9.0.0/16", "via", "10.1.0.3")
    run_in(router.here, "ip", "neigh", "add", "10.1.0.3", "lladdr", "02:00:00:00:00:01", "dev", "r0")
    run_in(router.a, "ip", "route", "add", "10.9.0.0/16", "via", "10.1.0.1")
    return router


def send(router: Router, at: int) -> None:
    """Send a packet to 10.9.0.`at` from an address of its own: redirects are limited by source."""
    run_in(router.a, "ip", "address", "add", f"10.1.0.{at + 20}/24", "dev", "e0")
    run_in(router.a, "ping", "-c", "1", "-W", "0.1", "-I", f"10.1.0.{at + 20}", f"10.9.0.{at}", check=False)


def test_redirects_are_sent_if_one_of_them_says_so(roundabout: Router) -> None:
    for at, (of_all, of_device) in enumerate(both(0, 1)):
        effective = roundabout.set(V4 + "send_redirects", of_all, of_device)
        before = redirects(roundabout.here)
        send(roundabout, at)
        assert (redirects(roundabout.here) > before) == bool(effective), (of_all, of_device)


def redirects(ns: str) -> int:
    names, values = (line.split() for line in run_in(ns, "grep", "^Icmp:", "/proc/net/snmp").splitlines())
    return int(dict(zip(names, values, strict=True))["OutRedirects"])


def test_redirects_are_obeyed_if_both_say_so_on_a_router_and_one_of_them_on_a_host(roundabout: Router) -> None:
    host = roundabout.a
    run_in(host, "ip", "neigh", "add", "10.1.0.3", "lladdr", "02:00:00:00:00:01", "dev", "e0")  # only if it is known
    for at, settings in enumerate(itertools.product((0, 1), repeat=3)):
        names = ("conf.all.accept_redirects", "conf.e0.accept_redirects", "conf.e0.forwarding")
        values = {f"net.ipv4.{name}": str(value) for name, value in zip(names, settings, strict=True)}
        roundabout.run(host, *(f"{name}={value}" for name, value in values.items()))
        effective = conf(values, V4 + "accept_redirects", "e0")
        send(roundabout, at)
        used = run_in(host, "ip", "route", "get", f"10.9.0.{at}", "from", f"10.1.0.{at + 20}")
        assert ("via 10.1.0.3" in used) == bool(effective), (settings, used)


def received(ns: str) -> int:
    return int(json.loads(run_in(ns, "ip", "-s", "-j", "link", "show", "e0"))[0]["stats64"]["rx"]["packets"])


def test_arp_is_sent_accepted_and_forgotten_as_the_values_in_effect_say(router: Router) -> None:
    router.run(router.a, "net.ipv4.conf.e0.arp_notify=1")
    for ns in (router.a, router.here):
        router.run(ns, "net.ipv6.conf.all.disable_ipv6=1")
    for at, (of_all, of_device) in enumerate(both(0, 1)):
        effective, before = router.set(V4 + "arp_notify", of_all, of_device), received(router.a)
        run_in(router.here, "ip", "link", "set", "r0", "address", f"02:00:00:00:01:{at:02}")
        assert (received(router.a) > before) == bool(effective), (of_all, of_device)
    for at, (of_all, of_device) in enumerate(both(0, 1, 2)):
        effective = router.set(V4 + "arp_accept", of_all, of_device)
        inside, outside = f"10.1.0.{100 + at}", f"10.9.0.{100 + at}"
        for address in (inside, outside):
            run_in(router.a, "ip", "address", "add", f"{address}/24", "dev", "e0")
        run_in(router.a, "ip", "link", "set", "e0", "address", f"02:00:00:00:02:{at:02}")
        run_in(router.here, "ip", "neigh", "replace", "10.1.0.2", "lladdr", f"02:00:00:00:02:{at:02}", "dev", "r0")
        run_in(router.a, "ping", "-c", "1", "-W", "2", "10.1.0.1")  # what was sent before it has arrived
        known = {words[0] for line in run_in(router.here, "ip", "neigh").splitlines() if (words := line.split())}
        assert (inside in known, outside in known) == (effective > 0, effective == 1), (of_all, of_device)
    for of_all, of_device in both(0, 1):
        effective = router.set(V4 + "arp_evict_nocarrier", of_all, of_device)
        learned = "neigh replace 10.1.0.50 lladdr 02:00:00:00:00:50 nud reachable dev r0"
        run_in(router.here, "ip", *learned.split())
        run_in(router.a, "ip", "link", "set", "e0", "down")
        poll(lambda: "state UP" not in run_in(router.here, "ip", "link", "show", "r0"))
        run_in(router.here, "ip", "link", "set", "r0", "alias", "a")  # it waits for what the kernel does at the change
        assert ("10.1.0.50" in run_in(router.here, "ip", "neigh")) == (not effective), (of_all, of_device)
        run_in(router.a, "ip", "link", "set", "e0", "up")
        poll(lambda: "state UP" in run_in(router.here, "ip", "link", "show", "r0"))


def test_a_new_namespace_has_the_defaults_of_the_table_and_the_old_ones_are_gone(lab: Lab, broker: Broker) -> None:
    ns = broker.netns(lab.netns())
    values = sysctl_values(broker.text(ns, TextKind.MAP_SYSCTLS))
    found = rows(values)
    assert [row for row in found if row.changed and not row.name.startswith("fs.")] == []
    gone = {row.name: row.effect for row in found if not row.value}
    assert gone["net.ipv4.tcp_tw_recycle"] == "gone since Linux 4.12"
    assert not {row.name for row in found} ^ {
        name
        for name in (*values, *gone)
        if not re.search(r"\.conf\.|^ethtool\.|^net\.netfilter\.nf_conntrack_frag6_low_thresh$", name)
    }
    assert {row.name for row in rows(values, "lo")} == {name for name in values if ".conf.lo." in name}
