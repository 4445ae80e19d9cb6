"""rp_filter: the finding is there exactly when the kernel drops the packets, which IPReversePathFilter counts."""

from __future__ import annotations

import json
import re
import sys
from functools import partial

import pytest

from nettop.broker.client import Broker
from nettop.model.findings import Finding
from nettop.model.map_findings.facts import MapFacts
from nettop.model.map_findings.findings import map_findings
from nettop.pipeline.engine import Engine
from nettop.pipeline.route_question import is_dropped
from tests.kernel.map_state import engine_with
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

UPLINKS = (1, 2)
PEERS = ("203.0.113.1", "198.51.100.1", "10.9.0.1", "172.20.5.1")  # the checks try the first addresses of prefixes
SEND = """
import socket, sys
for source in sys.argv[2:]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
    sock.bind((source, 9))
    for target in (f"10.{sys.argv[1][-1]}.0.2", f"10.{sys.argv[1][-1]}.0.3"):
        sock.sendto(b"x", (target, 9))
"""
UP1, UP2 = "route add default via 10.1.0.1", "route add default via 10.2.0.1"
BOTH = (f"{UP1} metric 100", f"{UP2} metric 200")
SECOND = (*BOTH, f"{UP2} table 2")
CASES: dict[str, tuple[tuple[str, ...], set[str]]] = {  # what is set up, and the devices that have the finding
    "one uplink": ((UP1,), set()),
    "two defaults": (BOTH, {"up2"}),
    "answers by their source": ((*SECOND, "rule add from 10.2.0.0/24 lookup 2"), set()),
    "answers of one of two addresses": ((*SECOND, "rule add from 10.2.0.3 lookup 2"), {"up2"}),
    "a table that no rule leads to": ((UP1, f"{UP2} table 2"), set()),
    "a rule to a prefix": (
        (UP1, "route add 10.9.0.0/16 via 10.2.0.1 table 2", "rule add to 10.9.0.0/16 lookup 2"),
        set(),
    ),
    "a prefix by the other way": (
        (UP1, *(f"route add 10.9.0.0/16 via 10.{at}.0.1 metric {at}" for at in UPLINKS)),
        {"up2"},
    ),
    "several hops": (("route add default nexthop via 10.1.0.1 nexthop via 10.2.0.1",), set()),
    "main without its default": (
        (UP1, f"{UP2} table 7", "rule add lookup main suppress_prefixlength 0 pref 50", "rule add lookup 7 pref 51"),
        {"up1"},
    ),
    "a rule that is skipped": (
        (UP1, f"{UP2} table 7", *("rule add goto 60 pref 50", "rule add lookup 7 pref 51", "rule add nop pref 60")),
        {"up2"},
    ),
    "not a prefix": ((*SECOND, "rule add not from 10.1.0.0/24 lookup 2 pref 100"), set()),
    "for a device": ((*SECOND, "rule add iif up2 lookup 2 pref 100"), {"up2"}),
    "for packets of this host": ((*SECOND, "rule add iif lo lookup 2 pref 100"), {"up1"}),
    "unreachable by rule": (
        (*BOTH, *(f"rule add from 10.2.0.{host} unreachable pref {host}" for host in (2, 3))),
        {"up2"},
    ),
    "for packets of one protocol": ((*SECOND, "rule add ipproto tcp lookup 2 pref 100"), set()),
}


@pytest.fixture
def uplinks(lab: Lab) -> tuple[str, str]:
    """A namespace with two strict uplinks, each with two addresses, and the net with the peers."""
    here, net = lab.netns("a"), lab.netns("b")
    for at in UPLINKS:
        lab.veth_pair(here, net, f"up{at}", f"u{at}", (f"10.{at}.0.2/24", f"10.{at}.0.3/24"), (f"10.{at}.0.1/24",))
        (link,) = json.loads(run_in(here, "ip", "-j", "link", "show", f"up{at}"))
        for host in (2, 3):  # a strict rp_filter drops ARP requests, too
            run_in(net, "ip", "neigh", "add", f"10.{at}.0.{host}", "lladdr", link["address"], "dev", f"u{at}")
    for peer in PEERS:
        run_in(net, "ip", "address", "add", f"{peer}/32", "dev", "lo")
    run_in(here, "sysctl", "-qw", *(f"net.ipv4.conf.up{at}.rp_filter=1" for at in UPLINKS))
    return here, net


def dropped(here: str) -> int:
    found = re.findall(r"^TcpExt: (.*)$", run_in(here, "cat", "/proc/net/netstat"), re.MULTILINE)
    return int(dict(zip(found[0].split(), found[1].split(), strict=True))["IPReversePathFilter"])


def received(here: str, at: int) -> int:
    (link,) = json.loads(run_in(here, "ip", "-s", "-j", "link", "show", f"up{at}"))
    return int(link["stats64"]["rx"]["packets"])


def drops_of(here: str, net: str, at: int) -> int:
    """Send a packet of each peer to each address of an uplink; how many of them rp_filter dropped."""
    before, came = dropped(here), received(here, at)
    run_in(net, sys.executable, "-c", SEND, f"u{at}", *PEERS)
    poll(lambda: received(here, at) >= came + 2 * len(PEERS))
    return dropped(here) - before


def asymmetric(engine: Engine, broker: Broker | None) -> dict[str, Finding]:
    drops = None if broker is None else partial(is_dropped, broker)
    found = map_findings(MapFacts(engine.host_map, engine.rulesets.of, drops))
    return {str(dict(one.place)["device"]): one for one in found if one.name == "asymmetric-route"}


@pytest.mark.parametrize("case", CASES)
def test_the_finding_is_there_exactly_when_packets_are_dropped(
    broker: Broker, uplinks: tuple[str, str], case: str
) -> None:
    here, net = uplinks
    lines, expected = CASES[case]
    run_in(here, "ip", "-batch", "-", stdin="\n".join(lines) + "\n")
    engine = engine_with(broker, here)
    found = asymmetric(engine, broker)
    for at in UPLINKS:
        lost, one = drops_of(here, net, at), found.get(f"up{at}")
        assert (one is not None) == (f"up{at}" in expected), (case, at, lost)
        if one is not None:
            peer = re.search(r"way back to (\S+) is", one.summary)
            assert peer and lost, "packets of a peer are dropped"
    assert set(asymmetric(engine, None)) <= set(found), "without the kernel nothing else is found"
