"""`nettop flows --group`: what the groups add up to is what the flows of the same namespace do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, run_in

pytestmark = pytest.mark.kernel

RULES = """
table inet t {
    chain o { type filter hook output priority -10; ct mark set udp dport map { 1001 : 1, 1002 : 2 }; }
    chain d { type nat hook output priority -100; udp dport 1002 dnat ip to 127.0.0.9:53; }
}
"""
SEND = """
import socket
for n in range(30):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((f"127.0.0.{1 + n % 3}", 20000 + n))
    sock.sendto(b"x" * n, ("127.0.0.1", 1001 + n % 2))
"""


@pytest.fixture
def busy(lab: Lab) -> str:
    ns = lab.netns("a")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    run_in(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1", "net.netfilter.nf_conntrack_udp_timeout=600")
    run_in(ns, "python3", "-c", SEND)
    return ns


def test_groups_count_what_the_flows_count(busy: str) -> None:
    flows = rows("flows", "--netns", busy)
    assert len(flows) == 30
    names: dict[str, Callable[[dict[str, Any]], str]] = {
        "source": lambda flow: flow["src"],
        "service": lambda flow: f"udp {flow['dport']}",
        "mark": lambda flow: hex(flow["mark"]),
        "nat": lambda flow: f"DNAT {flow['reply_src']}" if flow["nat"] else "none",
        "proto": lambda flow: flow["proto"],
    }
    for group, name in names.items():
        wanted = Counter(map(name, flows))
        octets: Counter[str] = Counter()
        for flow in flows:
            octets[name(flow)] += flow["bytes"] + flow["reply_bytes"]
        found = rows("flows", "--netns", busy, "--group", group)
        assert {one["name"]: one["flows"] for one in found} == wanted, group
        assert {one["name"]: one["bytes"] for one in found} == octets, group
        assert [one["flows"] for one in found] == sorted(wanted.values(), reverse=True)


def test_groups_are_sorted_cut_and_filtered_as_asked(busy: str) -> None:
    found = rows(
        "flows", "--netns", busy, "--group", "source", "--sort", "+name", "-n", "2", "--filter", "dst port 1001"
    )
    assert [(one["by"], one["name"], one["flows"]) for one in found] == [("source", f"127.0.0.{n}", 5) for n in (1, 2)]
    assert all(one["rate"] is None for one in found)
    rated = rows("flows", "--netns", busy, "--group", "source", "--sort", "rate")
    assert [one["rate"] for one in rated] == [0, 0, 0]


def test_groups_as_text_say_what_is_known(busy: str) -> None:
    done = nettop("flows", "--netns", busy, "--group", "proto")
    assert done.stdout.split()[:4] == ["udp", "flows", "30", "bytes"] and "rate" not in done.stdout


@pytest.mark.parametrize("wrong", [["--group", "colour"], ["--group", "source", "--sort", "timeout"]])
def test_what_cannot_be_grouped_by_is_said_before_anything_is_asked(wrong: list[str]) -> None:
    done = nettop("flows", *wrong)
    assert done.returncode == 2 and done.stdout == ""
    assert wrong[-1] in done.stderr and len(done.stderr.splitlines()) <= 2
