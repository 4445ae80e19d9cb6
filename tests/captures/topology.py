"""Namespaces in a row (client, gateway, router, server), built from argument lists, and calls inside them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from nettop.errors import NettopError
from nettop.labs.isolation import enter_netns

T = TypeVar("T")

# The blocks for documentation of RFC 5737 and RFC 3849.
CLIENT, CLIENT6 = "192.0.2.2", "2001:db8:1::2"
SERVER, SERVER6 = "203.0.113.2", "2001:db8:3::2"

# Namespace, device, MAC address, IPv4, IPv6; for both ends of each veth pair.
_LINKS = (
    (
        ("client", "eth0", "02:00:00:00:01:02", "192.0.2.2/24", "2001:db8:1::2/64"),
        ("gateway", "eth0", "02:00:00:00:01:01", "192.0.2.1/24", "2001:db8:1::1/64"),
    ),
    (
        ("gateway", "eth1", "02:00:00:00:02:01", "198.51.100.1/24", "2001:db8:2::1/64"),
        ("router", "eth0", "02:00:00:00:02:02", "198.51.100.2/24", "2001:db8:2::2/64"),
    ),
    (
        ("router", "eth1", "02:00:00:00:03:01", "203.0.113.1/24", "2001:db8:3::1/64"),
        ("server", "eth0", "02:00:00:00:03:02", "203.0.113.2/24", "2001:db8:3::2/64"),
    ),
)
_ROUTES = (
    *(("client", "default via 192.0.2.1"), ("client", "default via 2001:db8:1::1")),
    *(("gateway", "default via 198.51.100.2"), ("gateway", "default via 2001:db8:2::2")),
    *(("router", "192.0.2.0/24 via 198.51.100.1"), ("router", "2001:db8:1::/64 via 2001:db8:2::1")),
    *(("server", "default via 203.0.113.1"), ("server", "default via 2001:db8:3::1")),
)
_FORWARD = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
_NO_RATE_LIMITS = ("net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")  # each packet gets its answer
ACCOUNTING = ("net.netfilter.nf_conntrack_acct=1", "net.netfilter.nf_conntrack_timestamp=1")
# No flow expires before the recording ends: each run records the same flows.
_LONG_TIMEOUTS = tuple(
    f"net.netfilter.nf_conntrack_{name}=300"
    for name in ("tcp_timeout_close", "tcp_timeout_time_wait", "udp_timeout", "icmp_timeout", "icmpv6_timeout")
)


def run(argv: Sequence[str], text: str | None = None) -> str:
    """Return the output of a command; NettopError when it fails."""
    try:
        result = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        raise NettopError(f"{argv[0]} is missing", "./dev captures installs it") from None
    if result.returncode:
        raise NettopError(f"{' '.join(argv)} failed", result.stderr.strip()[-300:])
    return result.stdout


def inside(netns: str, *argv: str, text: str | None = None) -> str:
    """Return the output of a command in a namespace; NettopError when it fails."""
    return run(["ip", "netns", "exec", netns, *argv], text)


def within(netns: str, make: Callable[[], T]) -> T:
    """Call `make` in a thread inside the namespace and return its result: sockets stay there."""
    made: list[T] = []
    failed: list[Exception] = []

    def thread() -> None:
        try:
            enter_netns(netns)
            made.append(make())
        except Exception as error:
            failed.append(error)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    if failed:
        raise failed[0]
    return made[0]


def add_rules(netns: str, tool: str, lines: str) -> None:
    """Run one iptables command for each line, given without the tool's name."""
    for line in lines.strip().splitlines():
        inside(netns, tool, *line.split())


def add_namespace(netns: str) -> None:
    """Add one namespace with loopback only."""
    run(["ip", "netns", "add", netns])
    run(["ip", "-n", netns, "link", "set", "lo", "up"])


def build_row() -> None:
    """Make four namespaces, linked and routed; the gateway counts its flows and gives them timestamps."""
    for netns in ("client", "gateway", "router", "server"):
        add_namespace(netns)
    for end, other_end in _LINKS:
        _pair(end, other_end)
    for netns, route in _ROUTES:
        run(["ip", "-n", netns, "route", "add", *route.split()])
    for netns in ("gateway", "router"):
        inside(netns, "sysctl", "-qw", *_FORWARD)
    for netns in ("gateway", "router", "server"):
        inside(netns, "sysctl", "-qw", *_NO_RATE_LIMITS)
    inside("gateway", "sysctl", "-qw", *ACCOUNTING, *_LONG_TIMEOUTS)


def _pair(end: tuple[str, ...], other_end: tuple[str, ...]) -> None:
    peer = ["name", other_end[1], "address", other_end[2], "netns", other_end[0]]
    run(["ip", "-n", end[0], "link", "add", end[1], "address", end[2], "type", "veth", "peer", *peer])
    for netns, device, _, address, address6 in (end, other_end):
        run(["ip", "-n", netns, "addr", "add", address, "dev", device])
        run(["ip", "-n", netns, "addr", "add", address6, "dev", device, "nodad"])
        run(["ip", "-n", netns, "link", "set", device, "up"])
