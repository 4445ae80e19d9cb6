"""`--filter` on a live namespace: what the kernel leaves out changes no line of what is printed."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.kernel.commands import nettop, rows, running
from tests.kernel.namespaces import Lab, netlink_sockets, poll, run_in

pytestmark = pytest.mark.kernel

FLOWS = (
    "-s 10.1.0.1 -d 10.2.0.1 -p udp --sport 5 --dport 53 -m 0x101 -w 2",
    "-s 10.1.0.2 -d 10.2.0.1 -p udp --sport 53 --dport 5000 -m 0x2",
    "-s 10.1.0.2 -d 10.2.0.1 -p tcp --sport 6 --dport 443 --state ESTABLISHED --src-nat 100.100.100.1 -u ASSURED",
    "-s fd00::1 -d fd00::2 -p tcp --sport 5 --dport 443 --state SYN_SENT",
)
ALWAYS = ("kind", "netns", "family", "proto", "src", "sport", "dst", "dport", "mark", "zone", "state")


@pytest.fixture
def world(lab: Lab) -> str:
    ns = lab.netns()
    make(ns)
    return ns


def make(ns: str) -> None:
    for flow in FLOWS:
        run_in(ns, "conntrack", "-I", *flow.split(), "-t", "100")


def told(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(str(row[key]) for key in ALWAYS)


@pytest.mark.parametrize(
    ("expression", "kernel", "expected"),
    [
        ("mark 0x1/0xff", "kernel: dump by mark 0x1/0xff", 1),
        ("zone 2 or mark 2", "here: zone 2 or mark 2", 2),
        ("assured and port 443", "kernel: dump by status assured", 1),
        ("ip6", "kernel: dump by ipv6", 1),
        ("tcp", "here: tcp", 2),
        ("net 10.1.0.0/24 and unreplied", "kernel: dump by ipv4 and not status seen_reply", 3),
    ],
)
def test_flows_are_the_same_whoever_left_the_others_out(
    world: str, expression: str, kernel: str, expected: int
) -> None:
    everything = rows("flows", "--netns", world)
    done = nettop("flows", "--netns", world, "--filter", expression, "--json", "-v")
    some = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(some) == expected
    assert done.stderr.startswith(f"nettop: filter: {kernel}")
    assert len(done.stderr.splitlines()) == 1
    assert {told(row) for row in some} < {told(row) for row in everything}


def test_flows_of_a_process_are_found(world: str, lab: Lab) -> None:
    lab.netns("other")
    rules = "table ip t {\n chain o { type filter hook output priority 0; ct state new; }\n}\n"
    run_in(world, "nft", "-f", "-", stdin=rules)
    hold = "import signal, socket\ns = socket.create_server(('127.0.0.1', 777))\n"
    hold += "c = socket.create_connection(('127.0.0.1', 777))\nsignal.pause()\n"
    child = lab.spawn_in(world, sys.executable, "-c", hold)
    poll(lambda: "dport=777" in run_in(world, "conntrack", "-L", "-p", "tcp"), what="the connection")
    found = rows("flows", "--netns", world, "--filter", f"pid {child.pid}")
    assert {row["dport"] for row in found} == {777}
    assert rows("flows", "--netns", world, "--filter", "process no-such-name") == []


@pytest.mark.parametrize("verbose", [False, True])
def test_events_are_the_same_and_a_line_says_what_the_kernel_left_out(lab: Lab, verbose: bool) -> None:
    ns = lab.netns()
    expression = "net 10.1.0.0/24 and not mark 0x1/0xff"
    more = ["-v"] if verbose else []
    with (
        running("events", "--netns", ns, "--json", "--count", "6") as everything,
        running("events", "--netns", ns, "--json", "--filter", expression, "--count", "3", *more) as some,
    ):
        poll(lambda: listening(ns) >= 2, what="both to listen")
        make(ns)
        run_in(ns, "conntrack", "-D", "-p", "udp")
        (_, all_lines, _), (code, lines, err) = everything.end(), some.end()
    wanted = [
        row for row in map(json.loads, all_lines.splitlines()) if row["family"] == "ipv4" and row["mark"] != 0x101
    ]
    assert code == 0
    assert [told(row) for row in map(json.loads, lines.splitlines())] == [told(row) for row in wanted]
    assert len(wanted) == 3
    said = "nettop: filter: kernel: events by net 10.1.0.0/24 and not mark 0x1/0xff\n"
    assert err == (said if verbose else "")


def listening(ns: str) -> int:
    """How many netlink sockets of the namespace have joined groups of nfnetlink (protocol 12)."""
    return sum(row[1] == "12" and row[3] != "00000000" for row in netlink_sockets(ns))
