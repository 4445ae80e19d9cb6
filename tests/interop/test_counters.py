"""Counters as nft, nfacct, conntrack, nstat and /proc say them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.decode.net_statistics import decode_net_statistics
from nettop.kinds import TextKind
from tests.kernel.counting import acknowledged, bind, counting_namespace, found, listed, nfacct
from tests.kernel.namespaces import Lab, command_in, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.interop]


@pytest.fixture
def here(lab: Lab) -> str:
    return counting_namespace(lab)


def test_named_counters_quotas_and_limits_are_nfts(here: str) -> None:
    ours = found(here, "nft-counter", "nft-quota", "nft-limit")
    theirs = {("nft-counter", f"inet t {one['name']}"): one for one in listed(here, "counters")}
    theirs |= {("nft-quota", f"inet t {one['name']}"): one for one in listed(here, "quotas")}
    theirs |= {("nft-limit", f"inet t {one['name']}"): one for one in listed(here, "limits")}
    assert ours.keys() == theirs.keys() and len(ours) == 6
    for key, one in theirs.items():
        if key[0] == "nft-counter":
            assert (ours[key]["value"], ours[key]["bytes"]) == (one["packets"], one["bytes"])
        elif key[0] == "nft-quota":
            assert (ours[key]["value"], ours[key]["limit"]) == (one["used"], one["bytes"])
    assert ours["nft-counter", "inet t total"]["value"] >= 7
    assert ours["nft-limit", "inet t slow"]["value"] == 400
    assert ours["nft-limit", "inet t wide"]["unit"] == "bytes"


def test_sets_hold_what_nft_lists_and_their_elements_count_what_nft_says(here: str) -> None:
    ours = found(here, "nft-set", "nft-element")
    theirs = {}
    for one in (*listed(here, "sets"), *listed(here, "maps")):
        if "name" in one and one.get("type") is not None:
            theirs[one["name"]] = one.get("elem", [])
    assert {name for group, name in ours if group == "nft-set"} == {f"inet t {name}" for name in theirs}
    for name, members in theirs.items():
        assert ours["nft-set", f"inet t {name}"]["value"] == len(members), name
        counted = {_words(member): _count(member) for member in members if _count(member)}
        shown = {
            key[1].removeprefix(f"inet t {name} "): (row["value"], row["bytes"])
            for key, row in ours.items() if key[0] == "nft-element" and key[1].startswith(f"inet t {name} ")
        }  # fmt: skip
        assert shown == counted, name
    assert ours["nft-element", "inet t nets 127.0.0.0/8"]["value"] >= 7
    assert ours["nft-element", "inet t seen 127.0.0.1"]["value"] >= 7
    assert ours["nft-set", "inet t pairs"]["limit"] == 1000


def _plain(member: Any) -> Any:
    """An element without its counter, timeout and what it maps to."""
    if isinstance(member, list):
        member = member[0]
    if isinstance(member, dict) and "elem" in member:
        member = member["elem"]["val"]
    return member


def _words(member: Any) -> str:
    plain = _plain(member)
    if isinstance(plain, dict) and "prefix" in plain:
        return f"{plain['prefix']['addr']}/{plain['prefix']['len']}"
    if isinstance(plain, dict) and "range" in plain:
        return "-".join(map(_words, plain["range"]))
    if isinstance(plain, dict) and "concat" in plain:
        return " . ".join(map(_words, plain["concat"]))
    return str(plain)


def _count(member: Any) -> tuple[int, int] | None:
    inner = member[0] if isinstance(member, list) else member
    counter = inner.get("elem", {}).get("counter") if isinstance(inner, dict) else None
    return (counter["packets"], counter["bytes"]) if counter else None


# -- nfacct, made by hand so that no tool is needed --


@pytest.fixture
def accounted(lab: Lab, broker: Broker) -> str:
    """nfacct objects that rules use."""
    ns = lab.netns("n")
    run_in(ns, "ip", "link", "set", "lo", "up")
    for name, quota, flags in (("plain", 0, 0), ("packets", 3, 1), ("octets", 10**6, 2)):
        nfacct(broker, ns, name, quota, flags)
        run_in(ns, "iptables", "-A", "OUTPUT", "-m", "nfacct", "--nfacct-name", name)
    run_in(ns, "ping", "-c", "3", "-i", "0.01", "127.0.0.1")
    return ns


def test_nfacct_objects_have_their_counters_and_quotas(accounted: str) -> None:
    ours = found(accounted, "nfacct")
    assert {name: (row["value"], row["bytes"], row.get("limit")) for (_, name), row in ours.items()} == {
        "plain": (6, 504, None), "packets": (6, 504, 3), "octets": (6, 504, None),
    }  # fmt: skip
    if shutil.which("nfacct"):
        text = run_in(accounted, "nfacct", "list")
        theirs = re.findall(r"pkts = (\d+), bytes = (\d+).*= (\w+);", text)
        assert {name: (int(packets), int(octets)) for packets, octets, name in theirs} == {
            name: (row["value"], row["bytes"]) for (_, name), row in ours.items()
        }


# -- /proc --


def test_snmp_and_tcp_counters_are_nstats(here: str) -> None:
    theirs = json.loads(run_in(here, "nstat", "-asz", "--json"))["kernel"]
    ours = found(here, "ip", "ip6", "tcp", "udp", "udp6", "icmp", "icmp6")
    assert len(ours) > 90
    assert {name: row["value"] for (_, name), row in ours.items()} == {name: theirs[name] for _, name in ours}
    assert ours["udp", "UdpNoPorts"]["value"] == 4


def test_softnet_is_the_files_a_line_a_cpu(here: str, broker: Broker) -> None:
    def wanted() -> list[tuple[int, int]]:
        lines = Path("/proc/net/softnet_stat").read_text().splitlines()
        return [(int(line.split()[1], 16), int(line.split()[2], 16)) for line in lines]

    def same() -> bool:
        before = wanted()
        text = decode_net_statistics(broker.text(broker.netns(here), TextKind.NET_STATISTICS), 0)
        return before == wanted() == [(cpu.dropped, cpu.time_squeeze) for cpu in text.softnet]

    poll(same, what="a reading in which nothing moved")


def test_conntracks_table_and_expectations_are_the_sysctls_and_tools(here: str) -> None:
    run_in(here, "nft", "add", "rule", "inet", "t", "o", "ct", "state", "new")
    ours = found(here, "table", "conntrack", "expect")
    limit = int(run_in(here, "sysctl", "-n", "net.netfilter.nf_conntrack_max"))
    assert ours["table", "entries"]["limit"] == ours["table", "max_entries"]["value"] == limit
    assert ours["table", "buckets"]["value"] == int(run_in(here, "sysctl", "-n", "net.netfilter.nf_conntrack_buckets"))
    assert ours["table", "max_expectations"]["value"] == int(
        run_in(here, "sysctl", "-n", "net.netfilter.nf_conntrack_expect_max")
    )
    assert ours["table", "expectations"]["value"] == 0


def test_expectations_that_stand_are_those_conntrack_lists(lab: Lab) -> None:
    ns = lab.netns("e")
    run_in(ns, "ip", "link", "set", "lo", "up")
    run_in(ns, "nft", "-f", "-", stdin='table ip h { ct helper f { type "ftp" protocol tcp; }\n'
           "chain o { type filter hook output priority -1; tcp dport 2121 ct helper set \"f\"\n}\n}\n")  # fmt: skip
    talk = """
import socket
server = socket.create_server(("127.0.0.1", 2121))
client = socket.create_connection(("127.0.0.1", 2121))
other = server.accept()[0]
for number in range(3):
    client.sendall(b"PORT 127,0,0,1,40,%d\\r\\n" % number)
    other.recv(99)
    other.sendall(b"200 ok\\r\\n")
    client.recv(99)
print("said", flush=True)
input()
"""
    with subprocess.Popen(
        command_in(ns, "python3", "-c", talk), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "said\n"
        theirs = len(run_in(ns, "conntrack", "-L", "expect").splitlines())
        ours = found(ns, "table", "expect")
        process.kill()
    assert theirs > 0
    assert ours["table", "expectations"]["value"] == theirs
    assert ours["expect", "create"]["value"] - ours["expect", "delete"]["value"] == theirs


@pytest.fixture
def listeners(lab: Lab, broker: Broker) -> Iterator[str]:
    """A namespace in which somebody listens to NFLOG group 7 and NFQUEUE 5."""
    ns = lab.netns("q")
    log = acknowledged(broker, ns, 4 << 8 | 1, bind(7, b"\1"))
    queue = acknowledged(broker, ns, 3 << 8 | 2, bind(5, b"\1\0\0\2"))
    yield ns
    log.close()
    queue.close()


def test_queues_and_logs_are_those_of_proc(listeners: str) -> None:
    files = [run_in(listeners, "cat", f"/proc/net/netfilter/nfnetlink_{kind}") for kind in ("queue", "log")]
    ours = found(listeners, "nfqueue", "nflog")
    assert [int(file.split()[0]) for file in files] == [5, 7]
    assert set(ours) == {
        ("nfqueue", "5 packets"), ("nfqueue", "5 waiting"), ("nfqueue", "5 dropped"), ("nfqueue", "5 user dropped"),
        ("nflog", "7 waiting"),
    }  # fmt: skip
    assert all(row["value"] == 0 for row in ours.values())
