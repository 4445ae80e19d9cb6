"""The steps of a route: where they say that a packet ends, it ends, and else it arrives."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import RouteQuestion
from nettop.model.map_findings.hook_rules import hook_rules
from nettop.model.topology.route_case import HookRules, RouteReport
from nettop.model.topology.route_query import parse
from nettop.model.topology.route_steps import explain
from nettop.pipeline.route_question import ask_route
from tests.kernel.map_state import engine_with, namespace_map
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

COUNTED = """table inet t { counter here { }
    chain p { type filter hook prerouting priority -300
        icmp type echo-request counter name here
        icmpv6 type echo-request counter name here
    }
}"""


class Way:
    """Hosts a (10.1.0.2, fd01::2) and b (10.2.0.2, fd02::2) at both sides of a router."""

    def __init__(self, lab: Lab, broker: Broker) -> None:
        self.router, self.a, self.b = lab.netns("r"), lab.netns("a"), lab.netns("b")
        for at, (host, name) in enumerate(((self.a, "r0"), (self.b, "r1")), 1):
            ours, theirs = (f"10.{at}.0.1/24", f"fd0{at}::1/64"), (f"10.{at}.0.2/24", f"fd0{at}::2/64")
            lab.veth_pair(self.router, host, name, "e0", ours, theirs)
            for family in ("-4", "-6"):
                gateway = f"10.{at}.0.1" if family == "-4" else f"fd0{at}::1"
                run_in(host, "ip", family, "route", "add", "default", "via", gateway)
        run_in(self.b, "nft", "-f", "-", stdin=COUNTED)
        self.set("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for ns in (self.a, self.b, self.router):
            poll(lambda ns=ns: "tentative" not in run_in(ns, "ip", "address"), what="addresses that can be used")
        self._broker = broker

    def set(self, *settings: str) -> None:
        run_in(self.router, "sysctl", "-qw", *settings)

    def told(self, text: str, hooks: dict[str, HookRules] | None = None) -> RouteReport:
        ns = self._broker.netns(self.router)
        here = namespace_map(self._broker, self.router)
        return explain(parse(text), here, lambda asked: ask_route(self._broker, ns, asked), hooks or {})

    def arrives(self, destination: str, source: str, mark: str = "") -> bool:
        """Return whether a ping from host a reaches host b."""
        before = self.count()
        run_in(self.a, "ip", "address", "replace", source, "dev", "lo")
        run_in(self.b, "ip", "address", "replace", destination, "dev", "lo")
        run_in(self.a, "ping", "-c", "4", "-i", "0.3", "-W", "0.3", "-I", source, destination, check=False)
        return self.count() > before

    def count(self) -> int:
        listed = json.loads(run_in(self.b, "nft", "-j", "list", "counters"))["nftables"]
        return next(one["counter"]["packets"] for one in listed if "counter" in one)


@pytest.fixture
def way(lab: Lab, broker: Broker) -> Way:
    return Way(lab, broker)


CASES = [
    ("", "10.2.0.2", "10.1.0.2", "", ""),
    ("ip_forward=0", "10.2.0.2", "10.1.0.2", "forward", "ip_forward 0, r0 forwarding 0"),
    ("conf.r0.forwarding=0", "10.2.0.2", "10.1.0.2", "forward", "ip_forward 1, r0 forwarding 0"),
    ("conf.all.rp_filter=1", "10.2.0.2", "10.1.0.2", "", ""),
    ("conf.all.rp_filter=1", "10.2.0.2", "10.2.0.77", "in", "r0, rp_filter strict: way back is r1, dropped"),
    ("conf.r0.rp_filter=2", "10.2.0.2", "10.2.0.77", "", ""),
    ("conf.r0.rp_filter=2", "10.2.0.2", "10.77.0.1", "in", "r0, rp_filter loose: there is no way back, dropped"),
    ("conf.r1.rp_filter=1", "10.2.0.2", "10.77.0.1", "", ""),
    ("conf.all.accept_local=0", "10.2.0.2", "10.2.0.1", "in", "r0, martian source: 10.2.0.1 is an address of this "
     "host, and accept_local is 0"),
    ("", "10.66.0.1", "10.1.0.2", "route", "blackhole 10.66.0.0/16 in table main: dropped without an answer"),
    ("", "10.67.0.1", "10.1.0.2", "route", "the policy rule says prohibit: answered with ICMP administratively "
     "prohibited"),
    ("", "10.68.0.1", "10.1.0.2", "", ""),
    ("", "10.99.0.1", "10.1.0.2", "route", "no route to 10.99.0.1: answered with ICMP network unreachable"),
    ("", "fd02::2", "fd01::2", "", ""),
    ("v6 conf.all.forwarding=0", "fd02::2", "fd01::2", "forward", "all forwarding 0"),
    ("v6 conf.r0.disable_ipv6=1", "fd02::2", "fd01::2", "in", "r0, IPv6 is disabled on it: dropped"),
    ("", "fd02::2", "fd99::1", "", ""),
    ("", "fd66::1", "fd01::2", "route", "unreachable fd66::/64 in table main: answered with ICMP host unreachable"),
]  # fmt: skip


@pytest.mark.parametrize(("setting", "destination", "source", "topic", "text"), CASES)
def test_a_packet_ends_where_the_steps_say(
    way: Way, setting: str, destination: str, source: str, topic: str, text: str
) -> None:
    for words in (
        *(
            "route add blackhole 10.66.0.0/16",
            "rule add to 10.67.0.0/16 prohibit",
            "-6 route add unreachable fd66::/64",
        ),
        "route add 10.68.0.0/16 via 10.2.0.2 dev r1",
    ):
        run_in(way.router, "ip", *words.split())
    if setting:
        version = "ipv6" if setting.startswith("v6 ") else "ipv4"
        way.set(f"net.{version}.{setting.removeprefix('v6 ')}")
    report = way.told(f"to {destination} from {source} in r0")
    last = report.steps[-1]
    assert (last.topic, last.text, last.status) == (topic, text, "drops") if topic else last.status == "passes"
    if topic:
        assert not way.arrives(destination, source)
    else:
        poll(lambda: way.arrives(destination, source))


def test_the_steps_of_a_forwarded_packet_name_route_neighbour_mtu_and_rules(way: Way) -> None:
    run_in(way.router, "ip", "link", "set", "r1", "mtu", "1400")
    run_in(way.router, "ip", "route", "add", "10.9.0.0/16", "via", "10.2.0.2", "table", "7")
    run_in(way.router, "ip", "rule", "add", "fwmark", "0x7", "lookup", "7", "pref", "100")
    mac = "02:00:00:00:00:07"
    run_in(way.router, "ip", "neigh", "replace", "10.2.0.2", "lladdr", mac, "dev", "r1")
    hooks = {"prerouting": HookRules(3, dstnat=2), "forward": HookRules(20)}
    report = way.told("to 10.9.0.4:8443 from 10.1.0.2 in r0 mark 0x7", hooks)
    assert [(step.topic, step.text, step.status) for step in report.steps] == [
        ("in", "r0, rp_filter off: way back is r0", "passes"),
        ("NAT", "2 dstnat rules may rewrite the destination", "not evaluated"),
        ("policy", "100: from all fwmark 0x7 lookup 7", "inferred"),
        ("route", "10.9.0.0/16 via 10.2.0.2 dev r1 table 7 proto boot", "kernel"),
        ("forward", "ip_forward 1, r0 forwarding 1", "passes"),
        ("neigh", f"10.2.0.2 {mac} PERMANENT", "kernel"),
        ("MTU", "1500 → 1400: larger packets are answered with ICMP fragmentation needed, or fragmented without DF",
         "passes"),
        ("filter", "20 rules on forward", "not evaluated"),
    ]  # fmt: skip


def test_packets_for_this_host_and_from_it_have_their_own_steps(way: Way) -> None:
    to_here = way.told("10.1.0.1 from 10.1.0.2 in r0 proto icmp")
    assert ("local", "to this host, an address of r0", "kernel") in [
        (step.topic, step.text, step.status) for step in to_here.steps
    ]
    from_here = way.told("10.2.0.2")
    assert [step.topic for step in from_here.steps] == ["policy", "route", "neigh", "MTU", "filter"]
    assert from_here.steps[1].text == "10.2.0.0/24 dev r1 proto kernel scope link src 10.2.0.1 table main"
    foreign = way.told("10.2.0.2 from 10.1.0.2")
    assert foreign.steps[-1].text == "10.1.0.2 is no address of this host, so it sends nothing from it"
    run_in(way.router, "ip", "link", "set", "r0", "down")
    down = way.told("10.2.0.2 from 10.1.0.2 in r0")
    assert (down.steps[-1].text, down.steps[-1].status) == ("r0 is down: nothing comes in", "drops")


def test_an_encapsulated_packet_has_no_neighbour_of_its_own(way: Way) -> None:
    """Its destination is that of the packet around it, which the kernel looks up again."""
    line = "-6 route add fd77::/64 encap seg6 mode encap segs fd02::2 dev r1"
    run_in(way.router, "ip", *line.split())
    steps = {step.topic: (step.text, step.status) for step in way.told("fd77::1").steps}
    assert steps["route"][0].startswith("fd77::/64 encap seg6 mode encap segs fd02::2 dev r1 ")
    words = "encap seg6 mode encap segs fd02::2: what it makes of the packet is looked up again"
    assert (steps["neigh"], steps["MTU"][0]) == ((words, "not evaluated"), "1500, before encap")


def test_a_link_address_is_not_forwarded_and_the_packet_ends(way: Way) -> None:
    addresses = json.loads(run_in(way.a, "ip", "-j", "-6", "address", "show", "dev", "e0", "scope", "link"))
    source = next(one["local"] for one in addresses[0]["addr_info"] if one)
    last = way.told(f"fd02::2 from {source} in r0").steps[-1]
    assert (last.topic, last.status) == ("forward", "drops")
    before = way.count()
    run_in(way.a, "ping", "-c", "1", "-W", "0.5", "-I", f"{source}%e0", "fd02::2", check=False)
    assert way.count() == before


@pytest.mark.parametrize(
    ("chain", "ends"),
    [
        ("type filter hook forward priority 0; policy drop;", True),
        ("type filter hook forward priority 0; policy drop\ntcp dport 1 accept", False),
        ("type filter hook forward priority 0; policy accept;", False),
    ],
)
def test_a_chain_without_rules_whose_policy_is_drop_ends_the_packet(
    way: Way, broker: Broker, chain: str, ends: bool
) -> None:
    run_in(way.router, "nft", "-f", "-", stdin=f"table ip f {{ chain f {{ {chain}\n}}\n}}")
    picture = engine_with(broker, way.router, with_rules=way.router).ruleset.picture
    last = way.told("10.2.0.2 from 10.1.0.2 in r0", hook_rules(picture, 2)).steps[-1]
    assert (last.status == "drops") == ends
    if ends:
        assert (last.topic, last.text) == ("filter", "a chain on forward has no rule, and its policy is drop")
        assert not way.arrives("10.2.0.2", "10.1.0.2")


def test_ports_of_a_bridge_are_named_where_a_packet_comes_in_and_where_it_leaves(way: Way) -> None:
    run_in(way.router, "ip", "link", "add", "br0", "type", "bridge")
    run_in(way.router, "ip", "address", "flush", "dev", "r0")
    for words in ("link set r0 master br0", "link set br0 up", "address add 10.1.0.1/24 dev br0"):
        run_in(way.router, "ip", *words.split())
    poll(lambda: "1 received" in run_in(way.a, "ping", "-c", "1", "-W", "1", "10.1.0.1", check=False), what="an answer")
    mac = json.loads(run_in(way.a, "ip", "-j", "link", "show", "dev", "e0"))[0]["address"]
    steps = way.told("10.2.0.2 from 10.1.0.2 in r0").steps
    assert [step.text for step in steps[:2]] == [
        "r0 is a port of br0: IP packets come in by br0", "br0, rp_filter off: way back is br0",
    ]  # fmt: skip
    assert steps[-1].status == "passes"
    neighbour = next(step.text for step in way.told("10.1.0.2").steps if step.topic == "neigh")
    assert neighbour.startswith(f"10.1.0.2 {mac} ") and neighbour.endswith(", port r0")


CURES = {  # the words of a reason: what must be set for the packet to come in
    "rp_filter": {"rp_filter": 0},
    "accept_local is 0": {"accept_local": 1},
    "route_localnet is 0": {"route_localnet": 1},
}


def test_every_reason_under_random_sysctls_is_the_one_whose_cure_lets_the_packet_in(way: Way, broker: Broker) -> None:
    ip = ("rule add fwmark 7 lookup 7", "route add default via 10.2.0.2 table 7", "route add 10.3.0.0/16 via 10.2.0.2")
    for line in ip:
        run_in(way.router, "ip", *line.split())
    chance, ns, seen = random.Random(7), broker.netns(way.router), set()
    here = namespace_map(broker, way.router)
    r0 = next(index for index, device in here.devices.items() if device.link.name == "r0")
    keys = ("rp_filter", "accept_local", "route_localnet", "src_valid_mark")
    names = [f"net.ipv4.conf.{device}.{key}" for device, key in itertools.product(("all", "r0"), keys)]
    for _ in range(60):
        values = {name: chance.choice((0, 1, 2) if name.endswith("rp_filter") else (0, 1)) for name in names}
        way.set(*(f"{name}={value}" for name, value in values.items()))
        here.sysctls = {**here.sysctls, **{name: str(value) for name, value in values.items()}}
        for source, destination, mark in itertools.product(
            ("10.1.0.9", "10.2.0.9", "10.3.0.9", "10.2.0.1", "127.0.0.1", "198.51.100.1"),
            ("10.2.0.2", "10.1.0.1", "127.0.0.1"),
            (0, 7),
        ):
            asked = RouteQuestion(2, destination, source, r0, mark=mark)
            query = parse(f"{destination} from {source} in r0 mark {mark}")
            report = explain(query, here, lambda question: ask_route(broker, ns, question), {})
            first, refused = report.steps[0], ask_route(broker, ns, asked).error
            if first.status == "passes":
                assert not refused or report.steps[-1].topic in ("route", "forward"), (values, asked, report)
                continue
            assert refused, (values, asked, report)
            reason = next(words for words in CURES if words in first.text)
            seen.add(reason)
            cure = {f"net.ipv4.conf.{one}.{key}": of for one in ("all", "r0") for key, of in CURES[reason].items()}
            before = {name: values[name] for name in cure}
            way.set(*(f"{name}={value}" for name, value in cure.items()))
            changed = replace(here, sysctls={**here.sysctls, **{name: str(value) for name, value in cure.items()}})
            after = explain(query, changed, lambda question: ask_route(broker, ns, question), {}).steps[0]
            assert reason not in after.text or after.status == "passes", (values, asked, report, after)
            way.set(*(f"{name}={value}" for name, value in before.items()))
    assert seen == set(CURES)
