"""Text snapshots: what the tools themselves print in that namespace, and that reading changes nothing there."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from nettop.broker.client import Broker
from nettop.decode.sysctls import sysctl_values
from nettop.errors import BrokerError
from nettop.kinds import NATIVE, TextKind
from tests.kernel.live import sysctl
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.one_broker]

RULESET = """
table inet demo {
    set blocked { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 } }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ip saddr @blocked counter drop comment "a rule"
    }
}
"""


def in_namespace(lab: Lab, broker: Broker) -> tuple[str, str]:
    first, second = lab.netns("a"), lab.netns("b")
    run_in(first, "nft", "-f", "-", stdin=RULESET)
    return first, second


def test_the_ruleset_is_the_terse_listing_with_handles(broker: Broker, lab: Lab) -> None:
    full, empty = in_namespace(lab, broker)
    text = broker.text(broker.netns(full), TextKind.NFT_RULESET)
    assert text.decode() == run_in(full, "nft", "-a", "-t", "list", "ruleset")
    assert b"# handle" in text and b"192.0.2.1" not in text
    assert broker.text(broker.netns(empty), TextKind.NFT_RULESET) == b""


def test_a_part_of_the_listing_is_one_table_or_those_that_no_tool_of_xtables_made(broker: Broker, lab: Lab) -> None:
    spec = lab.netns("parts")
    script = "table inet fw { chain in { tcp dport 22 counter accept; }; }\ntable ip nat { chain prerouting { }; }\n"
    run_in(spec, "nft", "-f", "-", stdin=script)
    run_in(spec, "iptables-nft", "-A", "FORWARD", "-p", "tcp", "-j", "ACCEPT")
    run_in(spec, "ebtables-nft", "-A", "FORWARD", "-j", "ACCEPT")
    ns = broker.netns(spec)
    table = run_in(spec, "nft", "-a", "-t", "list", "table", "inet", "fw").encode()
    one, _ = broker.text_cost(ns, TextKind.NFT_RULESET, "inet fw")
    assert one == b'# nettop {"part": "inet fw"}\n' + table
    assert broker.text_cost(ns, TextKind.NFT_RULESET, "inet gone")[0] == b'# nettop {"part": "inet gone"}\n'
    native, _ = broker.text_cost(ns, TextKind.NFT_RULESET, NATIVE)
    assert native == table + run_in(spec, "nft", "-a", "-t", "list", "table", "ip", "nat").encode()
    every = broker.text(ns, TextKind.NFT_RULESET)
    assert broker.text_cost(ns, TextKind.NFT_RULESET, "inet fw; list")[0] == every, "no word of nft: all is listed"


def test_a_comment_that_is_not_utf8_comes_through_as_it_is(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    script = b'add table ip t\nadd chain ip t c\nadd rule ip t c counter comment "caf\xe9 \xff"\n'
    run_in(ns, "nft", "-f", "-", stdin=script.decode("latin-1"), encoding="latin-1")
    assert b'comment "caf\xe9 \xff"' in broker.text(broker.netns(ns), TextKind.NFT_RULESET)


@pytest.mark.parametrize(
    ("kind", "program", "address"),
    [
        (TextKind.IPTABLES_SAVE, "iptables-nft", "192.0.2.0/24"),
        (TextKind.IP6TABLES_SAVE, "ip6tables-nft", "2001:db8::/32"),
    ],
)
def test_iptables_rules_come_in_iptables_words_with_counters(
    broker: Broker, lab: Lab, kind: TextKind, program: str, address: str
) -> None:
    ns = lab.netns()
    run_in(ns, program, "-A", "FORWARD", "-s", address, "-m", "comment", "--comment", "hello", "-j", "DROP")
    text = broker.text(broker.netns(ns), kind).decode()
    assert f"[0:0] -A FORWARD -s {address} -m comment --comment hello -j DROP" in text
    assert text.splitlines()[-1].startswith("# Completed")


def test_reading_creates_no_table(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    netns = broker.netns(ns)
    for kind in (*TextKind, *TextKind):
        if kind not in (
            TextKind.SYSCTLS,
            TextKind.MAP_SYSCTLS,
            TextKind.NET_STATISTICS,
            TextKind.NAMESPACES,
            TextKind.DROPS,
            TextKind.DROP_RECORDS,
        ):
            assert broker.text(netns, kind) == b""
    assert run_in(ns, "nft", "list", "ruleset") == ""
    for names in ("ip_tables_names", "ip6_tables_names", "arp_tables_names"):
        assert run_in(ns, "sh", "-c", f"cat /proc/self/net/{names} 2>/dev/null || true") == ""


@pytest.mark.parametrize(
    ("kind", "program"),
    [
        (TextKind.IPTABLES_LEGACY_SAVE, "iptables-legacy"),
        (TextKind.IP6TABLES_LEGACY_SAVE, "ip6tables-legacy"),
    ],
)
def test_legacy_rules_are_read_from_the_tables_that_exist(
    broker: Broker, lab: Lab, kind: TextKind, program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ns = lab.netns()
    lock = tmp_path_factory.mktemp("lock") / "xtables.lock"
    run_in(ns, "env", f"XTABLES_LOCKFILE={lock}", program, "-t", "mangle", "-A", "POSTROUTING", "-j", "ACCEPT")
    text = broker.text(broker.netns(ns), kind).decode()
    assert "[0:0] -A POSTROUTING -j ACCEPT" in text
    assert [line for line in text.splitlines() if line.startswith("*")] == ["*mangle"]


def test_sysctls_are_those_of_the_namespace(broker: Broker, lab: Lab) -> None:
    here, elsewhere = lab.netns("a"), lab.netns("b")
    run_in(here, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    for ns, value in ((here, "1"), (elsewhere, "0")):
        netns = broker.netns(ns)
        assert sysctl(broker, netns, "net.ipv4.ip_forward") == value
        lines = broker.text(netns, TextKind.SYSCTLS).decode().splitlines()
        assert f"net.ipv4.ip_forward = {value}" in lines
        assert any(line.startswith("net.netfilter.nf_conntrack_count = ") for line in lines)


def test_the_maps_sysctls_are_those_that_sysctl_prints_of_devices_with_any_name(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    for name in ("eth0.5", "a=b", "..", ".x", "é"):
        made = run_in(ns, "ip", "link", "add", name, "type", "veth", "peer", "name", f"p{name[-1]}", check=False)
        assert not made
    run_in(ns, "sysctl", "-qw", "net.ipv4.conf.eth0/5.rp_filter=2", "net.ipv6.conf.default.accept_ra=2")
    text = broker.text(broker.netns(ns), TextKind.MAP_SYSCTLS)
    printed = sysctl_values(run_in(ns, "sysctl", "-a").replace("\t", " ").encode())
    listed = sysctl_values(text)
    found = {name: value for name, value in listed.items() if not name.startswith("ethtool.")}
    assert len(listed) > len(found) and {name: printed.get(name) for name in found} == found
    assert found["net.ipv4.conf.eth0/5.rp_filter"] == "2" and found["net.ipv6.conf.default.accept_ra"] == "2"
    names = ("net.ipv4.conf.a=b.proxy_arp_pvlan", "net.ipv4.conf./x.arp_ignore", "net.ipv4.ip_local_port_range")
    assert {*names, "net.netfilter.nf_log.2", "fs.nr_open", "net.ipv6.conf.lo.proxy_ndp"} <= found.keys()
    assert not any(".conf.//." in name for name in found)


def test_a_sysctl_the_namespace_lacks_is_refused_by_name(broker: Broker) -> None:
    with pytest.raises(BrokerError, match=r"this namespace has no sysctl net.netfilter.nf_no_such_knob"):
        broker.open_sysctl(broker.netns(""), "net.netfilter.nf_no_such_knob")


def test_an_opened_sysctl_tells_its_namespaces_value_whenever_it_is_read_and_cannot_be_written(
    broker: Broker, lab: Lab
) -> None:
    ns, elsewhere = lab.netns("a"), lab.netns("b")
    handle = broker.netns(ns)
    fd = broker.open_sysctl(handle, "net.ipv4.ip_forward")
    try:
        for value in ("1", "0", "1"):
            run_in(ns, "sysctl", "-qw", f"net.ipv4.ip_forward={value}")
            run_in(elsewhere, "sysctl", "-qw", f"net.ipv4.ip_forward={1 - int(value)}")
            assert os.pread(fd, 64, 0) == f"{value}\n".encode()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"0")
        broker.leave(handle)
        lab.remove(ns)
        poll(lambda: gone(fd), what="the sysctl's end with its namespace")
    finally:
        os.close(fd)


def gone(fd: int) -> bool:
    try:
        return os.pread(fd, 64, 0) == b""
    except OSError:
        return True


def test_many_listings_at_once_are_all_answered_or_told_to_wait(broker: Broker, lab: Lab) -> None:
    from concurrent.futures import ThreadPoolExecutor

    netns = broker.netns(in_namespace(lab, broker)[0])
    first = broker.text(netns, TextKind.NFT_RULESET)
    with ThreadPoolExecutor(32) as pool:
        calls = [pool.submit(broker.text, netns, TextKind.NFT_RULESET) for _ in range(64)]
    for call in calls:
        error = call.exception()
        assert call.result() == first if error is None else isinstance(error, BrokerError) and "at work" in str(error)
    assert broker.text(netns, TextKind.NFT_RULESET) == first


CONNTRACK = ("max", "buckets", "expect_max", "count", "acct", "timestamp", "events", "helper")


@pytest.mark.parametrize("fresh", [False, True], ids=["own", "fresh"])
def test_conntracks_limits_and_switches_are_in_both_the_listing_and_the_answer(
    broker: Broker, lab: Lab, fresh: bool
) -> None:
    ns = lab.netns() if fresh else ""
    names = [f"net.netfilter.nf_conntrack_{name}" for name in CONNTRACK]
    files = [f"/proc/sys/{name.replace('.', '/')}" for name in names]
    told = run_in(ns, "sh", "-c", 'for f in "$@"; do cat "$f" 2>/dev/null || echo absent; done', "sh", *files).split(
        "\n"
    )
    there = {name: value for name, value in zip(names, told, strict=False) if value != "absent"}
    handle = broker.netns(ns)
    values = {name: sysctl(broker, handle, name) for name in there}
    lines = broker.text(handle, TextKind.SYSCTLS).decode().splitlines()
    assert {"net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets"} <= set(there)
    steady = set(there) - {"net.netfilter.nf_conntrack_count"}
    assert all(values[name] == there[name] and f"{name} = {there[name]}" in lines for name in steady)


STATISTICS = ("snmp", "snmp6", "netstat", "softnet_stat", "netfilter/nfnetlink_queue", "netfilter/nfnetlink_log")


def blocks(text: bytes) -> dict[str, list[list[str]]]:
    """The words of each line, by file."""
    parts = text.decode().split("== /proc/net/")[1:]
    lines = {part.partition("\n")[0]: part.splitlines()[1:] for part in parts}
    return {name: [line.split() for line in of] for name, of in lines.items()}


def test_network_statistics_are_the_files_of_the_namespace(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    run_in(ns, "ping", "-c", "3", "-i", "0.2", "127.0.0.1")
    run_in(ns, "ping", "-c", "1", "::1")
    found = blocks(broker.text(broker.netns(ns), TextKind.NET_STATISTICS))
    assert list(found) == [
        name for name in STATISTICS if run_in(ns, "sh", "-c", f"ls /proc/net/{name} || true", check=False)
    ]
    for name in set(found) - {"softnet_stat"}:  # of the whole host: it moves
        assert found[name] == [line.split() for line in run_in(ns, "cat", f"/proc/net/{name}").splitlines()]
    icmp, values = [line for line in found["snmp"] if line[0] == "Icmp:"]
    assert int(values[icmp.index("InEchos")]) == 3
    assert len(found["softnet_stat"]) == len(run_in("", "cat", "/proc/net/softnet_stat").splitlines())


def test_a_listener_on_a_log_group_appears_in_the_statistics(broker: Broker, lab: Lab) -> None:
    ns = lab.netns()
    bind = (
        "import socket, struct, os, signal; s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12); s.bind((0, 0))\n"
        # nfnetlink_log.h: NFULNL_MSG_CONFIG for group 42, NFULA_CFG_CMD = NFULNL_CFG_CMD_BIND
        "s.send(struct.pack('=IHHII', 28, 0x401, 5, 1, 0) + struct.pack('!BBHHHB3x', 0, 0, 42, 0x0500, 0x0100, 1))\n"
        "s.recv(4096); os.write(1, b'ready'); signal.pause()"
    )
    process = lab.spawn_in(ns, sys.executable, "-c", bind, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.read(5) == b"ready"
    found = blocks(broker.text(broker.netns(ns), TextKind.NET_STATISTICS))
    assert [line[0] for line in found["netfilter/nfnetlink_log"]] == ["42"]
    assert blocks(broker.text(broker.netns(lab.netns("b")), TextKind.NET_STATISTICS))["netfilter/nfnetlink_log"] == []


@pytest.mark.parametrize("kind", [TextKind.NFT_RULESET, TextKind.NAMESPACES, TextKind.MAP_SYSCTLS])
def test_a_text_comes_with_the_processor_time_that_it_took(broker: Broker, lab: Lab, kind: TextKind) -> None:
    ns = broker.netns(lab.netns())
    began = time.monotonic_ns()
    body, cost_ns = broker.text_cost(ns, kind)
    assert 0 < cost_ns <= time.monotonic_ns() - began and (body or kind is TextKind.NFT_RULESET)


def test_reading_the_rules_of_ebtables_does_not_make_the_policy_of_a_user_chain_again(broker: Broker, lab: Lab) -> None:
    spec = lab.netns("policy")
    run_in(spec, "ebtables-nft", "-N", "lan", "-P", "DROP")
    run_in(spec, "ebtables-nft", "-A", "lan", "-i", "eth1", "-j", "ACCEPT")
    run_in(spec, "ebtables-nft", "-A", "FORWARD", "-j", "lan")
    run_in(spec, "nft", "add rule bridge filter FORWARD ip saddr { 192.0.2.1, 192.0.2.2 } accept")  # ends ebtables-save
    before = run_in(spec, "nft", "-a", "list", "ruleset")
    for _ in range(2):
        assert b"-A FORWARD -j lan" in broker.text(broker.netns(spec), TextKind.EBTABLES_SAVE)
    assert run_in(spec, "nft", "-a", "list", "ruleset") == before
