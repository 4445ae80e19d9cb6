"""The recordings in captures/: the purpose of each, its namespaces, and its traffic."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

from nettop.labs import isolation, traffic
from nettop.labs.build import build
from nettop.labs.gateways import BLOCKED, GATEWAYS, INTERNET
from tests.captures import probes, topology
from tests.captures.topology import SERVER, SERVER6, inside

Argv = tuple[str, ...]

TRAFFIC_SECONDS = 9.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One recording. `build` and `pass_traffic` run in private namespaces; recording begins between them."""

    name: str
    shows: str  # a paragraph for captures/README.md
    netns: str  # where it is recorded
    build: Callable[[], None]
    pass_traffic: Callable[[], None]  # returns when all of it has passed
    record: Argv  # options of `nettop record`
    expect: tuple[Argv, ...]  # nettop commands whose output on the recording is compared
    traced: str = ""  # the packets that are traced for a while


# -- the lab of `nettop demo` -----------------------------------------------------------------------------------------

# Short lives, so that flows end while one watches; a stopped client repeats no SYN for long.
_SHORT = tuple(
    f"net.netfilter.nf_conntrack_{name}={seconds}"
    for name, seconds in (("tcp_timeout_time_wait", 8), ("tcp_timeout_close", 8), ("udp_timeout", 6))
)
_BEGIN_END = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0 or (ip6 and ip6[6] == 6 and ip6[53] & 7 != 0)"
# Keeps the file small: only the beginning and end of connections, nothing of the steady UDP stream.
_LAB_FILTER = f"{_BEGIN_END} or icmp or (icmp6 and ip6[40] >= 128 and ip6[40] <= 129) or udp port 53 or udp port 4500"

_TRACED = f"host {BLOCKED} or (host {INTERNET} and icmp)"


def _build_lab() -> None:
    build(GATEWAYS)
    for netns in ("gw-a", "gw-b"):
        inside(netns, "sysctl", "-qw", *_SHORT)
    inside("lan-a", "sysctl", "-qew", "net.ipv4.tcp_syn_retries=1", "net.ipv4.tcp_syn_linear_timeouts=0")


def _lab_traffic() -> None:
    """Run the lab's own traffic for a while; then stop its processes with their connections open."""
    children = [_start_role(netns) for netns in GATEWAYS.namespaces if GATEWAYS.traffic_of(netns)]
    threading.Event().wait(TRAFFIC_SECONDS)
    for pid in children:
        os.kill(pid, signal.SIGSTOP)


def _start_role(netns: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        isolation.enter_netns(netns)
        asyncio.run(traffic.run(GATEWAYS.traffic_of(netns)))
    finally:
        os._exit(1)


# -- IPv6 -------------------------------------------------------------------------------------------------------------

_RULES_IPV6 = """
table ip6 fw {
    chain known {
        tcp dport { 80, 443 } counter accept
        udp dport 53 counter accept
        icmpv6 type echo-request counter accept comment "ping"
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related counter accept
        exthdr hbh exists counter accept comment "hop-by-hop"
        ip6 saddr 2001:db8:1::/64 counter jump known
        udp dport 4242 counter accept comment "in fragments"
    }
}
table ip6 edge {
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
        tcp dport 443 counter masquerade
    }
}
"""


def _build_ipv6() -> None:
    topology.build_row()
    inside("gateway", "nft", "-f", "-", text=_RULES_IPV6)


def _ipv6_traffic() -> None:
    probes.tcp(SERVER6, 80, 40080, 200, 4000)
    probes.tcp(SERVER6, 443, 40443, 500, 9000)
    probes.udp(SERVER6, 53, 40053, 48)
    probes.udp(SERVER6, 4242, 44242, 3000)
    probes.extension_headers(SERVER6, 5353, 45353)
    probes.ping(SERVER6, 0x1234, 3)


# -- ICMP errors ------------------------------------------------------------------------------------------------------

_RULES_ERRORS = """
table inet fw {
    chain errors {
        icmp type destination-unreachable counter accept
        icmp type time-exceeded counter accept
        icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } counter accept
        counter comment "not an error"
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state related counter jump errors
        udp dport 7777 counter reject with icmpx admin-prohibited
    }
}
table ip edge {
    chain post {
        type nat hook postrouting priority srcnat; policy accept;
        oifname "eth1" ip saddr 192.0.2.0/24 counter snat to 198.51.100.1
    }
}
"""


def _build_errors() -> None:
    topology.build_row()
    inside("gateway", "nft", "-f", "-", text=_RULES_ERRORS)
    topology.run(["ip", "-n", "router", "link", "set", "eth1", "mtu", "1280"])


def _errors() -> None:
    for target in (SERVER, SERVER6):
        probes.udp(target, 53, 40053, 48)
        probes.expect_error(target, 9999, 40001, errno.ECONNREFUSED)
        probes.expect_error(target, 33434, 40002, errno.EHOSTUNREACH, hops=2)
        probes.expect_error(target, 33435, 40003, errno.EHOSTUNREACH, hops=1)
        probes.expect_error(target, 5000, 40004, errno.EMSGSIZE, size=1400)
    probes.expect_error(SERVER, 7777, 40005, errno.EHOSTUNREACH)
    probes.expect_error(SERVER6, 7777, 40005, errno.EACCES)


# -- a port scan ------------------------------------------------------------------------------------------------------

_RULES_SCAN = """
table inet fw {
    set silent { type inet_service; flags interval; elements = { 135-139, 445 } }
    chain scanned {
        tcp dport @silent counter drop comment "never answered"
        tcp dport 113 counter reject with tcp reset
        tcp flags & (fin|syn|rst|ack) == syn counter accept comment "let through"
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state established counter accept
        iifname "eth0" meta l4proto tcp counter goto scanned
    }
}
"""
_OPEN = (22, 80, 443)
_SILENT = (135, 136, 137, 138, 139, 445)
_CLOSED = (*range(1, 65), 110, 111, 113, 143, 993, 995, 3306, 5432, 6379, 8080)


def _build_scan() -> None:
    topology.build_row()
    inside("gateway", "nft", "-f", "-", text=_RULES_SCAN)


def _scan() -> None:
    probes.scan(_OPEN, _SILENT, [port for port in _CLOSED if port not in _OPEN], sport=40000)


# -- three backends ---------------------------------------------------------------------------------------------------

_NFT_THREE = """
table inet app {
    comment "made by hand"
    counter seen { }
    chain services {
        udp dport 53 counter accept comment "names"
        udp dport { 123, 5353 } counter accept
        counter return
    }
    chain empty { }
    chain in {
        type filter hook input priority filter + 10; policy accept;
        iifname "lo" counter jump services
        counter name "seen"
    }
    chain dormant_hours {
        type filter hook output priority mangle; policy accept;
        meta mark 0x2a counter drop
    }
}
"""
_IPTABLES_THREE = """
-N SERVICES
-N LOGGED
-A INPUT -i lo -m comment --comment loopback -j SERVICES
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A SERVICES -p udp -m multiport --dports 53,123 -j ACCEPT
-A SERVICES -p udp --dport 9999 -j LOGGED
-A LOGGED -m limit --limit 100/second -m comment --comment never-more -j DROP
-t mangle -A OUTPUT -p udp --dport 5353 -j MARK --set-mark 0x1
"""
_IP6TABLES_THREE = """
-P FORWARD DROP
-N SIX
-A INPUT -i lo -p udp -j SIX
-A SIX -p udp --dport 53 -m comment --comment six -j ACCEPT
-A SIX -p udp --dport 123 -j REJECT --reject-with icmp6-port-unreachable
"""
_LEGACY_THREE = """
-t raw -N EARLY
-t raw -A PREROUTING -i lo -p udp -j EARLY
-t raw -A EARLY -p udp --dport 4444 -m comment --comment dropped-early -j DROP
-t raw -A EARLY -j RETURN
"""
_THREE_PORTS = (53, 53, 123, 5353, 4444, 9999, 9999, 9999)


def _build_three() -> None:
    topology.add_namespace("host")
    inside("host", "sysctl", "-qw", *topology.ACCOUNTING)
    inside("host", "nft", "-f", "-", text=_NFT_THREE)
    topology.add_rules("host", "iptables-nft", _IPTABLES_THREE)
    topology.add_rules("host", "ip6tables-nft", _IP6TABLES_THREE)
    topology.add_rules("host", "iptables-legacy", _LEGACY_THREE)


def _three_traffic() -> None:
    for target in ("127.0.0.1", "::1"):
        probes.send_unanswered("host", target, _THREE_PORTS, 100)


# ---------------------------------------------------------------------------------------------------------------------


def _commands(*commands: str) -> tuple[Argv, ...]:
    return tuple(tuple(shlex.split(command)) for command in commands)


def _small_capture(expression: str) -> Argv:
    return ("--snaplen", "96", "-f", expression, "--keyframe-seconds")


SCENARIOS = (
    Scenario(
        "demo-gw-a",
        """
        The lab of `nettop demo` at gateway A, which is what `nettop demo --replay` shows: connections to
        machine B and to the internet that leave with the source address 100.100.100.1 (SNAT), downloads, DNS
        and pings of several rates, IPv6, a stream to a host that a rule three chains deep drops, rules of three
        backends whose counters move. For three seconds some of the packets are traced. A keyframe every 2.5 seconds
        gives flows and rules their rates. Packets: 96 bytes each of what begins and ends connections, ICMP echoes
        and small UDP, on both sides of the NAT. Timeouts are shortened so that flows end while one watches.
        """,
        "gw-a",
        _build_lab,
        _lab_traffic,
        (*_small_capture(_LAB_FILTER), "2.5"),
        _commands(
            "flows --json --sort age",
            "events --json --count 40",
            "rules --json",
            "counters --json",
            "read --json --filter icmp",
            "trace --json --count 8",
        ),
        _TRACED,
    ),
    Scenario(
        "demo-gw-b",
        """
        The same lab at gateway B, recorded in a run of its own: what comes to 200.200.200.1:443 is sent on to
        machine B, 192.168.2.2 (DNAT), by rules of iptables-nft with a user chain. Packets as above.
        """,
        "gw-b",
        _build_lab,
        _lab_traffic,
        (*_small_capture(_LAB_FILTER), "5"),
        _commands("flows --json --sort age", "events --json --count 20", "rules --json", "counters --json"),
    ),
    Scenario(
        "ipv6",
        """
        A client and a server behind a gateway that speaks IPv6 only: two TCP connections, one of them
        masqueraded, UDP, a 3,000-byte datagram in fragments each way, one behind a hop-by-hop and a destination
        options header, three pings, and the neighbour discovery between. The first 160 bytes of every packet.
        """,
        "gateway",
        _build_ipv6,
        _ipv6_traffic,
        ("--snaplen", "160", "-f", "ip6", "--keyframe-seconds", "2"),
        _commands("flows --json --sort age", "events --json", "rules --json", "read --json"),
    ),
    Scenario(
        "icmp-errors",
        """
        UDP that ICMP and ICMPv6 errors answer: port unreachable from the server, TTL exceeded from the router
        and from the gateway itself, a packet too big for the router's link of 1280 bytes, and a reject by a
        rule of the gateway. The IPv4 client is behind SNAT, so the packets quoted in the errors are rewritten
        as well; rules count the errors as related to their flows.
        """,
        "gateway",
        _build_errors,
        _errors,
        ("--snaplen", "160", "-f", "udp or icmp or (icmp6 and ip6[40] < 133)", "--keyframe-seconds", "2"),
        _commands("flows --json --sort age", "events --json", "rules --json", "read --json"),
    ),
    Scenario(
        "port-scan",
        """
        SYNs from one client to some eighty ports of a server: three accept, most answer with RST, which ends
        their flow at once, one is rejected and six are dropped by rules of the gateway, which never makes a
        flow. Only TCP is captured, 96 bytes a packet.
        """,
        "gateway",
        _build_scan,
        _scan,
        (*_small_capture("tcp"), "3"),
        _commands(
            "flows --json --sort age",
            "events --json",
            "rules --json",
            'read --json --filter "port 22 or port 135 or port 113"',
        ),
    ),
    Scenario(
        "three-backends",
        """
        One namespace whose loopback passes rules of nftables, iptables-nft, ip6tables-nft and iptables-legacy:
        user chains (one empty, one that leads to another), comments, policies, a named counter, counters that
        moved. No packets but the ICMP errors.
        """,
        "host",
        _build_three,
        _three_traffic,
        (*_small_capture("icmp or icmp6"), "1"),
        _commands("rules --json", "counters --json", "read --json"),
    ),
)
