"""The parts that few routes, rules and neighbours have are those that `ip` and `bridge` print."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest

from nettop.decode.topology.decoder import decode_map
from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, poll, run_in
from tests.unit.decode.netlink_bytes import batch, nla, nlmsg

pytestmark = pytest.mark.kernel

Row = dict[str, Any]
LINES = """
link add vx type vxlan external dstport 4792
link add vx1 type vxlan id 1 dstport 4793
link set vx up
link set vx1 up
address add 10.77.0.1/24 dev v0 label v0:one brd +
address add fd00:77::1/64 dev v0 nodad home
address add fd00:77::3/64 dev v0 nodad noprefixroute mngtmpaddr
route add 10.1.0.0/16 via 10.77.0.7 metric 50 mtu 1300 advmss 900 window 1000 rtt 10ms initcwnd 20 src 10.77.0.1
route add 10.2.0.0/16 via 99.1.1.1 dev v0 onlink
route add 10.3.0.0/16 dev v0 realm 3/4
route add 10.4.0.0/16 nexthop via 10.77.0.7 weight 3 nexthop via 99.1.1.2 dev v0 onlink
route add 10.5.0.0/16 via 10.77.0.7 mtu lock 1200 congctl cubic quickack 1 features ecn
route add 10.6.0.0/16 encap ip id 100 dst 10.8.0.9 ttl 9 dev vx
route add fd01::/64 via fd00:77::7 pref high
route add fd02::/64 from fd00:1::/64 via fd00:77::7
route add fd03::1 dev v0 src fd00:77::1
route add fd04::/48 encap seg6 mode encap segs fd00::5,fd00::6 dev v0
route add fd05::/48 encap seg6local action End.DX6 nh6 fd00:77::9 dev v0
route add fd06::/48 encap ip6 id 5 dst fd00::9 hoplimit 3 dev vx
route add fd07::/48 nexthop encap seg6 mode inline segs fd00::5 via fd00:77::7 nexthop via fd00:77::8
route add default via fd00:77::7 hoplimit 33
nexthop add id 9 encap seg6 mode encap segs fd00::5 via fd00:77::8 dev v0
nexthop add id 12 via 10.8.0.4 fdb
nexthop add id 13 group 12 fdb
neighbour add proxy 10.77.0.99 dev v0
neighbour add proxy fd00:77::99 dev v0
neighbour add 10.77.0.12 dev v0 managed
neighbour add 10.77.0.13 lladdr 02:00:00:00:00:0d dev v0 extern_learn
rule add iif nosuch oif v0 lookup 77 priority 84
rule add oif none lookup 77 priority 85
rule add fwmark 0/0x1 blackhole priority 86
rule add goto 99 priority 87
rule add tun_id 5 lookup 77 priority 89
rule add from all realms 3/4 lookup 77 priority 90
rule add from all realms 4 lookup 77 priority 91
rule add ipproto 200 lookup 88 priority 92 protocol 5
rule add ipproto gre lookup 77 priority 94
rule add ipproto ipv6-icmp lookup 77 priority 95 protocol bird
"""
FDB = (
    "fdb append 02:00:00:00:01:0b dev vx1 dst 10.8.0.4 port 4444 vni 77 via v0",
    "fdb append 02:00:00:00:01:0d dev vx dst 10.8.0.9 vni 13 src_vni 12",
    "fdb add 02:00:00:00:01:0e dev vx1 nhid 13",
)
METRICS = ("mtu", "advmss", "window", "initcwnd", "quickack", "congestion", "hoplimit")


@pytest.fixture(scope="module")
def ns() -> Iterator[str]:
    lab = Lab()
    try:
        here = lab.netns("a")
        lab.veth_pair(here, lab.netns("b"), "v0", "w0", addresses_a=(), addresses_b=())
        for line in LINES.strip().splitlines():
            run_in(here, "ip", *line.split())
        for line in FDB:
            run_in(here, "bridge", *line.split())
        yield here
    finally:
        lab.close()


def of(ns: str, kind: str) -> list[Row]:
    return [row for row in printed(ns) if row["kind"] == kind]


@lru_cache
def printed(ns: str) -> list[Row]:
    return rows("map", "--netns", ns)


def tool(ns: str, *argv: str) -> list[Row]:
    return [row for row in json.loads(run_in(ns, *argv) or "[]") if row]


def test_routes_have_their_metrics_sources_flags_and_preferences(ns: str) -> None:
    poll(lambda: our_routes(ns) == routes_of_ip(ns), what="a moment in which no address of a link comes")


def our_routes(ns: str) -> dict[object, object]:
    printed.cache_clear()
    return {
        (row["family"], row["destination"], row["table"], row["device"], row["metric"]): (
            row["from"],
            row["preferred_source"],
            row["flags"],
            [(hop["weight"], hop["flags"]) for hop in row["next_hops"] or ()],
            {name: row["options"][name].removeprefix("lock ") for name in sorted(METRICS) if name in row["options"]}
            | ({"congestion": row["options"]["congctl"]} if "congctl" in row["options"] else {}),
            row["options"].get("realms"),
            row["options"].get("pref", "medium" if row["family"] == "inet6" else None),
        )
        for row in of(ns, "route")
        if row["encapsulation"] is None
    }


def routes_of_ip(ns: str) -> dict[object, object]:
    return {
        (family, one["dst"], one.get("table", "main"), one.get("dev"), one.get("metric", 0)): (
            one.get("from"),
            one.get("prefsrc"),
            one["flags"],
            [(hop["weight"], hop["flags"]) for hop in one.get("nexthops", ())],
            {name: str(value) for name, value in one.get("metrics", [{}])[0].items() if name in METRICS},
            "/".join(one["flow"].values()) if "flow" in one else None,
            one.get("pref"),
        )
        for word, family in (("-4", "inet"), ("-6", "inet6"))
        for one in tool(ns, "ip", "-j", word, "route", "show", "table", "all")
        if "encap" not in one
    }


def test_encapsulations_of_routes_and_nexthops_are_said(ns: str) -> None:
    ours = {row["destination"]: row["encapsulation"] for row in of(ns, "route") if row["encapsulation"]}
    assert ours == {
        "10.6.0.0/16": "ip id 100 dst 10.8.0.9 ttl 9",
        "fd04::/48": "seg6 mode encap segs fd00::5,fd00::6",
        "fd05::/48": "seg6local action End.DX6 nh6 fd00:77::9",
        "fd06::/48": "ip6 id 5 dst fd00::9 hoplimit 3",
    }
    (several,) = [row for row in of(ns, "route") if row["destination"] == "fd07::/48"]
    assert [hop["encapsulation"] for hop in several["next_hops"]] == ["seg6 mode inline segs fd00::5,::", None]
    assert [row["encapsulation"] for row in of(ns, "nexthop") if row["id"] == 9] == ["seg6 mode encap segs fd00::5"]
    text = nettop("map", "--netns", ns).stdout
    for words in (
        "route fd04::/48 encap seg6 mode encap segs fd00::5,fd00::6 dev v0 ",
        "route 10.2.0.0/16 via 99.1.1.1 dev v0 onlink ",
        "route fd02::/64 from fd00:1::/64 via ",
        "metric 50 mtu 1300 window 1000 rtt 10ms advmss 900 initcwnd 20\n",
        "nexthop id 9 encap seg6 mode encap segs fd00::5 via fd00:77::8 dev v0",
    ):
        assert words in text


def test_the_other_encapsulations_are_read_from_bytes() -> None:
    label = lambda number, last=0: (number << 12 | last << 8 | 64).to_bytes(4, "big")  # noqa: E731
    program = nla(2, b"out.o\x1b\0")
    cases = {
        "mpls 100/200 ttl 9": (1, nla(1, label(100) + label(200, 1)) + nla(2, b"\x09")),
        "bpf in out.o\\x1b": (6, nla(1, program)),
        "xfrm if_id 0x7": (10, nla(1, (7).to_bytes(4, "little"))),
        "seg6local action End.DT4 vrftable 100": (
            7, nla(1, (8).to_bytes(4, "little")) + nla(9, (100).to_bytes(4, "little")),
        ),
        "ila": (3, b""),
        "77": (77, b""),
    }  # fmt: skip
    header = bytes((socket.AF_INET, 16, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0)) + nla(1, bytes((10, 9, 0, 0)))
    for words, (kind, data) in cases.items():
        body = header + nla(4, (3).to_bytes(4, "little")) + nla(21, kind.to_bytes(2, "little")) + nla(22, data)
        found = decode_map(batch([nlmsg(24, body)]))
        assert [hop.encapsulation for hop in found.routes[0].hops] == [words] and not len(found.errors)


def test_rules_are_those_of_ip_with_what_they_lack(ns: str) -> None:
    ours = sorted(f"{row['priority']}: {row['selector']} {row['action']}" for row in of(ns, "rule"))
    lines = [line for family in ("-4", "-6") for line in run_in(ns, "ip", family, "rule").splitlines()]
    assert ours == sorted(line.replace(":\t", ": ").strip() for line in lines)
    assert {"[detached]", "[unresolved]"} <= set(re.findall(r"\[\w+\]", " ".join(ours)))


def test_a_rule_by_dscp_does_not_look_like_one_for_all(ns: str) -> None:
    """iproute2 has the word since 6.12; the kernel's number is that of the header (tos >> 2)."""
    body = bytes((socket.AF_INET, 0, 0, 0, 254, 0, 0, 1)) + bytes(4)
    request = nlmsg(32, body + nla(6, (96).to_bytes(4, "little")) + nla(25, b"\x2e"), flags=0x605)
    code = f"import socket as s; s.socket(s.AF_NETLINK, s.SOCK_RAW, 0).sendto({request!r}, (0, 0))"
    run_in(ns, sys.executable, "-c", code)
    selectors = [row["selector"] for row in rows("map", "--netns", ns) if row.get("priority") == 96]
    run_in(ns, "ip", "rule", "del", "priority", "96")
    assert selectors == ["from all dscp 0x2e"]


def test_neighbours_are_those_of_ip_proxies_included(ns: str) -> None:
    flags = ("proxy", "managed", "extern_learn")
    ours = {
        (row["name"], row["address"], *(flag in row["flags"] for flag in flags))
        for row in of(ns, "neighbour")
        if row["family"] != "bridge" and not row["address"].startswith("ff")  # multicast comes and goes by itself
    }
    listed = tool(ns, "ip", "-j", "neighbour", "show", "nud", "all")
    listed += [one for word in ("-4", "-6") for one in tool(ns, "ip", word, "-j", "neighbour", "show", "proxy")]
    unicast = [one for one in listed if not one["dst"].startswith("ff")]
    assert ours == {(one["dev"], one["dst"], *(flag in one for flag in flags)) for one in unicast}
    assert sum(entry[2] for entry in ours) == 2


def test_entries_of_tunnels_have_their_port_vni_device_and_nexthop(ns: str) -> None:
    ours = {
        (row["name"], row["link_address"], row["remote"], *(row["tunnel"].get(key) for key in KEYS))
        for row in of(ns, "neighbour")
        if row["family"] == "bridge"
    }
    theirs = {
        (one["ifname"], one["mac"], one.get("dst"), *(None if one.get(k) is None else str(one[k]) for k in PRINTED))
        for one in tool(ns, "bridge", "-j", "fdb")
    }
    assert ours == theirs and ("vx1", "02:00:00:00:01:0b", "10.8.0.4", "4444", "77", None, "v0", None) in ours


KEYS = ("port", "vni", "src_vni", "via", "nhid")
PRINTED = ("port", "vni", "src_vni", "viaIf", "nhid")


def test_addresses_have_their_label_broadcast_and_flags(ns: str) -> None:
    words = {"nodad", "home", "noprefixroute", "mngtmpaddr", "secondary"}
    ours = {
        (row["name"], row["address"], row["label"], row["broadcast"], *sorted(words & set(row["flags"])))
        for row in of(ns, "address")
    }
    assert ours == {
        (link["ifname"], one["local"], one.get("label"), one.get("broadcast"), *sorted(words & set(one)))
        for link in tool(ns, "ip", "-j", "address")
        for one in link["addr_info"]
    }
