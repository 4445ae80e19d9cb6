"""What `nettop flows` was asked to sort or filter by stands in its lines, or one line says why it is not known."""

from __future__ import annotations

import json
import re
import sys

import pytest

from nettop.headless.missing_data import NOT_COUNTED
from tests.kernel.commands import nettop, rows, running
from tests.kernel.namespaces import Lab, netlink_sockets, poll, run_in

pytestmark = pytest.mark.kernel

RULES = "table ip t { chain o { type filter hook output priority 0; ct state new; }; }"
SERVER = """import signal, socket
s = socket.create_server(('127.0.0.1', 777))
c = socket.create_connection(('127.0.0.1', 777))
signal.pause()"""
ACCOUNTING, TIMESTAMPS = "net.netfilter.nf_conntrack_acct", "net.netfilter.nf_conntrack_timestamp"
OLD_FLOW = "-p udp -s 10.1.0.1 -d 10.2.0.1 --sport 1 --dport 2 -t 600"


@pytest.fixture
def gateway(lab: Lab) -> str:
    """A namespace that tracks connections, counts them, and knows when they began."""
    ns = lab.netns()
    run_in(ns, "nft", RULES)
    run_in(ns, "sysctl", "-qw", f"{ACCOUNTING}=1", f"{TIMESTAMPS}=1")
    return ns


def pinging(lab: Lab, ns: str) -> None:
    """About 20 echo requests and replies of 528 bytes a second."""
    lab.spawn_in(ns, "ping", "-i", "0.05", "-s", "500", "127.0.0.1")
    poll(lambda: "icmp" in run_in(ns, "conntrack", "-L", check=False))


@pytest.mark.parametrize("asked", [["--sort", "rate"], ["--filter", "rate > 1k"]])
def test_rates_that_were_asked_for_are_printed(gateway: str, lab: Lab, asked: list[str]) -> None:
    pinging(lab, gateway)
    (flow,) = rows("flows", "--netns", gateway, *asked)
    assert 1000 < flow["rate"] < 60 * 528
    done = nettop("flows", "--netns", gateway, *asked)
    assert re.search(r" rate [\d.]+k/s$", done.stdout.rstrip("\n")) and done.stderr == ""
    plain = nettop("flows", "--netns", gateway)
    assert " rate " not in plain.stdout
    assert rows("flows", "--netns", gateway)[0]["rate"] is None


def test_processes_that_were_asked_for_are_printed(gateway: str, lab: Lab) -> None:
    server = lab.spawn_in(gateway, sys.executable, "-c", SERVER)
    poll(lambda: "dport=777" in run_in(gateway, "conntrack", "-L", "-p", "tcp", check=False))
    for asked in (["--filter", f"pid {server.pid}"], ["--sort", "process"]):
        (flow,) = rows("flows", "--netns", gateway, *asked)
        assert flow["pid"] == server.pid and flow["process"].startswith("python")
        done = nettop("flows", "--netns", gateway, *asked)
        assert done.stdout.endswith(f" process {flow['process']}[{server.pid}]\n")
    (flow,) = rows("flows", "--netns", gateway)
    assert (flow["process"], flow["pid"]) == (None, None)


@pytest.mark.parametrize("asked", [["--sort", "age"], ["--filter", "age > 1m"], ["--filter", "age > 1m", "--json"]])
def test_ages_that_the_kernel_does_not_keep_are_said_to_be_missing(lab: Lab, asked: list[str]) -> None:
    ns = lab.netns()
    run_in(ns, "conntrack", "-I", *OLD_FLOW.split())
    done = nettop("flows", "--netns", ns, *asked)
    assert done.returncode == 0
    assert done.stderr == f"nettop: the ages of these flows are not known: `sysctl {TIMESTAMPS}=1` (for later flows)\n"


def test_what_is_known_is_not_said_to_be_missing(gateway: str) -> None:
    run_in(gateway, "ping", "-c1", "127.0.0.1")
    done = nettop("flows", "--netns", gateway, "--sort", "age,bytes", "--filter", "age >= 0 and bytes > 1")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("icmp") == 1


@pytest.mark.parametrize("asked", [["--sort", "bytes"], ["--group", "source", "--sort", "bytes"]])
def test_counters_that_the_kernel_does_not_keep_are_said_to_be_missing(lab: Lab, asked: list[str]) -> None:
    ns = lab.netns()
    run_in(ns, "conntrack", "-I", *OLD_FLOW.split())
    done = nettop("flows", "--netns", ns, *asked)
    what = f"the bytes, packets and rates of these flows are not known: `sysctl {ACCOUNTING}=1` (for later flows)"
    assert (done.returncode, done.stderr) == (0, f"nettop: {what}\n")


@pytest.mark.parametrize("counts", [False, True])
def test_events_without_counters_are_said_to_have_none(gateway: str, counts: bool) -> None:
    run_in(gateway, "sysctl", "-qw", f"{ACCOUNTING}={int(counts)}")
    with running("events", "--netns", gateway, "--filter", "bytes > 10", "--json", "--duration", "3") as events:
        poll(lambda: events.process.poll() is not None or listens(gateway))
        run_in(gateway, "ping", "-c1", "127.0.0.1")
        run_in(gateway, "conntrack", "-D", "-p", "icmp")
        code, out, err = events.end()
    assert code == 0
    assert [json.loads(line)["event"] for line in out.splitlines()] == (["destroy"] if counts else [])
    assert err == ("" if counts else f"nettop: {NOT_COUNTED}\n")


def listens(ns: str) -> bool:
    """Whether somebody in the namespace listens to conntrack's events."""
    lines = netlink_sockets(ns)
    return any(line[1] == "12" and line[3] != "00000000" for line in lines)
