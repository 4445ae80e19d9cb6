"""`nettop map` says of every namespace what `ip`, `bridge` and `tc` say there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, poll, run_in

pytestmark = pytest.mark.kernel

Row = dict[str, Any]
# One of every kind that this kernel has. The second namespace has the other ends.
LINKS = (
    "link add br0 type bridge forward_delay 0 ageing_time 100",
    "link set v0 master br0",
    "link add vx type vxlan id 42 dstport 4789 dev v1 remote 10.8.0.2 ttl 9",
    "link add vx6 type vxlan id 43 dstport 4790 local fd00:8::1 remote fd00:8::2 nolearning",
    "link set vx master br0",
    "link add br1 type bridge mcast_igmp_version 3 no_linklocal_learn 1 mcast_query_interval 4000",
    "link add mvs link v1 type macvlan mode source",
    "link set mvs type macvlan macaddr add 02:00:00:00:00:99",
    "link add vx8 type vxlan external vnifilter dstport 4791 tos 7",
    "link add vx9 type vxlan id 9 remote fd00:8::3 local fd00:8::1 dstport 4789 flowlabel 0xbeef df set",
    "link add mv0 link v1 type macvlan mode private",
    "link add mv1 link v1 type macvlan mode bridge",
    "link add mt0 link v1 type macvtap mode vepa",
    "link add ifb7 type ifb",
    "tuntap add tap0 mode tap user 0 multi_queue",
    "tuntap add tun0 mode tun pi",
    "link set v1 alias uplink",
    "link property add dev v1 altname the-uplink",
)
ADDRESSES = (
    "link set lo up",
    "link set v0 up",
    "link set v1 up",
    "link set br0 up",
    "link set vx up",
    "address add 10.9.0.1/24 dev br0",
    "address add 10.8.0.1 peer 10.8.0.2/32 dev v1",
    "address add fd00:9::1/64 dev br0 nodad",
    "route add 10.20.0.0/16 via 10.9.0.7 metric 50",
    "route add 10.21.0.0/16 nexthop via 10.9.0.7 nexthop via 10.9.0.8",
    "route add blackhole 10.22.0.0/16 table 77",
    "route add fd00:20::/64 via fd00:9::7",
    "route add unreachable fd00:22::/64 table 300",
    "neighbour replace 10.8.0.2 lladdr 02:00:00:00:00:06 dev v1",
    "neighbour add 10.9.0.7 lladdr 02:00:00:00:00:07 dev br0",
    "neighbour add fd00:9::7 lladdr 02:00:00:00:00:08 dev br0 router",
    "rule add from 10.0.0.0/8 to 1.2.3.4 fwmark 7/0xff iif v0 tos 0x10 lookup 77 priority 70",
    "rule add not from 10.1.0.0/16 ipproto tcp dport 80-90 unreachable priority 80",
    "rule add goto 32766 priority 81",
    "rule add uidrange 0-0 lookup main suppress_prefixlength 0 priority 82",
    "-6 rule add from fd00::/8 oif br0 lookup 300 priority 83",
)
BRIDGE = (
    "fdb add 02:00:00:00:00:09 dev v0 master static",
    "fdb append 00:00:00:00:00:00 dev vx dst 10.8.0.3",
    "link set dev v0 hairpin on",
)


def built(lab: Lab) -> tuple[str, str]:
    here, there = lab.netns("a"), lab.netns("b")
    lab.veth_pair(here, there, "v0", "w0")
    lab.veth_pair(here, there, "v1", "w1")
    for line in (*LINKS, *ADDRESSES):
        if OWNED or not line.startswith("tuntap"):
            run_in(here, "ip", *line.split())
    for line in BRIDGE:
        run_in(here, "bridge", *line.split())
    poll(lambda: '"operstate":"UP"' in run_in(here, "ip", "-j", "link", "show", "br0"))
    poll(lambda: '"tentative"' not in run_in(here, "ip", "-j", "address") + run_in(there, "ip", "-j", "address"))
    return here, there


@pytest.fixture(scope="module")
def namespaces() -> Iterator[tuple[str, str]]:
    lab = Lab()
    try:
        yield built(lab)
    finally:
        lab.close()


@pytest.fixture(scope="module")
def printed(namespaces: tuple[str, str]) -> list[Row]:
    done = nettop("map", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def of(printed: list[Row], kind: str, netns: str) -> list[Row]:
    return [row for row in printed if (row["kind"], row["netns"]) == (kind, netns)]


def tool(ns: str, *argv: str) -> list[Row]:
    found: list[Row] = json.loads(run_in(ns, *argv) or "[]")
    return [row for row in found if row]


OWNED = os.access("/dev/net/tun", os.W_OK)  # not everywhere an ordinary user's
NEWER = frozenset({"mab", "localbypass", "mst_enabled", "vlan_stats_enabled", "vlan_stats_per_port"})
# Running timers and counts.
LEFT_OUT = re.compile(
    r"fdb_n_learned|reserved_bits|\w+_timer|config_pending|topology_change_(ack|detected)|group_fwd_mask_str"
)


def same(name: str, value: str) -> str:
    """A value as ip prints it: the id of a bridge without leading zeros, a user by name."""
    if name == "user":
        return {"root": "0"}.get(value, value)
    if name not in ("root_id", "bridge_id"):
        return value
    priority, _, mac = value.partition(".")
    return f"{int(priority, 16)}.{':'.join(str(int(part, 16)) for part in mac.split(':'))}"


def plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, dict):
        return f"{value['low']}-{value['high']}"
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def test_every_device_is_what_ip_says_of_it(printed: list[Row], namespaces: tuple[str, str]) -> None:
    missing = set[str]()
    for ns in namespaces:
        rows = {row["name"]: row for row in of(printed, "link", ns)}
        links = tool(ns, "ip", "-d", "-j", "link")
        assert [link["ifname"] for link in links] == list(rows)
        for link in links:
            row, info = rows[link["ifname"]], link.get("linkinfo", {})
            assert (row["ifindex"], row["mtu"], row["address"]) == (link["ifindex"], link["mtu"], link.get("address"))
            assert (row["link_kind"], row["master"]) == (info.get("info_kind"), link.get("master"))
            assert (row["operstate"], row["qdisc"], row["queue_length"]) == (
                link["operstate"], link["qdisc"], link["txqlen"],
            )  # fmt: skip
            assert set(row["flags"]) - {"RUNNING"} == set(link["flags"]) - {"NO-CARRIER", "M-DOWN"}
            assert (row["alias"], row["altnames"]) == (link.get("ifalias"), link.get("altnames", []))
            assert {name: link[name] for name in row["offloads"]} == row["offloads"]
            for ours, theirs in ((row["parameters"], "info_data"), (row["port"], "info_slave_data")):
                said = {name: plain(value) for name, value in info.get(theirs, {}).items()}
                newer = set(ours) - set(said)  # than this iproute2
                assert newer <= NEWER
                assert {name: same(name, value) for name, value in ours.items() if name not in newer} == {
                    name: same(name, said[name]) for name in ours if name in said
                }
                missing |= {name for name in said if name not in ours and said[name] not in ("off", "0")}
    assert not [name for name in missing if not LEFT_OUT.fullmatch(name)]


def test_pairs_and_lower_devices_are_named_with_their_namespace(
    printed: list[Row], namespaces: tuple[str, str]
) -> None:
    here, there = namespaces
    rows = {row["name"]: row for row in of(printed, "link", here)}
    assert [(rows[name]["peer"], rows[name]["peer_netns"], rows[name]["lower"]) for name in ("v0", "v1")] == [
        ("w0", there, None), ("w1", there, None),
    ]  # fmt: skip
    assert [(rows[name]["mode"], rows[name]["lower"], rows[name]["lower_netns"]) for name in ("mv0", "mv1", "mt0")] == [
        ("private", "v1", here), ("bridge", "v1", here), ("vepa", "v1", here),
    ]  # fmt: skip
    assert rows["vx"]["lower"] == rows["vx"]["parameters"]["link"] == "v1"
    (netns,) = of(printed, "netns", here)
    assert list(netns["nsids"].values()) == [there]
    if OWNED:
        assert (rows["tap0"]["mode"], rows["tun0"]["mode"], rows["tap0"]["owner"]) == ("tap", "tun", "uid 0")


def test_the_addresses_are_those_of_ip(printed: list[Row], namespaces: tuple[str, str]) -> None:
    for ns in namespaces:
        ours = {
            (row["name"], row["family"], row["address"], row["prefix_length"], row["scope"], row["peer"])
            for row in of(printed, "address", ns)
        }
        assert ours == {
            (link["ifname"], one["family"], one["local"], one["prefixlen"], one["scope"], one.get("address"))
            for link in tool(ns, "ip", "-j", "address")
            for one in link["addr_info"]
        }


def test_the_routes_are_those_of_ip_in_all_tables(printed: list[Row], namespaces: tuple[str, str]) -> None:
    for ns in namespaces:
        ours = sorted(
            (
                row["type"], row["destination"], row["device"] or "", row["gateway"] or "", row["table"],
                row["protocol"], row["metric"], [(hop["device"], hop["gateway"]) for hop in row["next_hops"] or ()],
            )
            for row in of(printed, "route", ns)
        )  # fmt: skip
        theirs = [
            (
                route.get("type", "unicast"), route["dst"], route.get("dev", ""), route.get("gateway", ""),
                route.get("table", "main"), route.get("protocol", "boot"), route.get("metric", 0),
                [(hop["dev"], hop["gateway"]) for hop in route.get("nexthops", ())],
            )
            for family in ("-4", "-6")
            for route in tool(ns, "ip", family, "-j", "route", "show", "table", "all")
        ]  # fmt: skip
        # ip prints the device of an unreachable IPv6 route, which the kernel makes lo
        assert ours == sorted(theirs)


def test_the_rules_are_those_of_ip(printed: list[Row], namespaces: tuple[str, str]) -> None:
    for ns in namespaces:
        ours = [f"{row['priority']}: {row['selector']} {row['action']}" for row in of(printed, "rule", ns)]
        lines = [line for family in ("-4", "-6") for line in run_in(ns, "ip", family, "rule").splitlines()]
        theirs = [re.sub(r" \[(detached|unresolved)\]", "", line).replace(":\t", ": ").strip() for line in lines]
        assert sorted(ours) == sorted(theirs), set(ours) ^ set(theirs)


def test_the_neighbours_are_those_of_ip(printed: list[Row], namespaces: tuple[str, str]) -> None:
    for ns in namespaces:
        ours = {
            (row["name"], row["address"], row["link_address"], row["state"], "router" in row["flags"])
            for row in of(printed, "neighbour", ns)
            if row["family"] != "bridge" and row["state"] != "NOARP"  # ip leaves them out
        }
        assert ours == {
            (one["dev"], one["dst"], one.get("lladdr"), " ".join(one["state"]), "router" in one)
            for one in tool(ns, "ip", "-j", "neighbour")
        }


def test_the_forwarding_databases_are_those_of_bridge(namespaces: tuple[str, str]) -> None:
    here, _ = namespaces

    def said() -> tuple[set[tuple[Any, ...]], ...]:
        printed, listed = rows("map", "--netns", here), tool(here, "bridge", "-j", "fdb")
        ours = {
            (row["name"], row["link_address"], row["remote"], row["state"], "self" in row["flags"])
            for row in of(printed, "neighbour", here)
            if row["family"] == "bridge"
        }
        return ours, {
            (one["ifname"], one["mac"], one.get("dst"), one["state"] or "learned", "self" in one["flags"])
            for one in listed
        }

    def same_again() -> bool:  # a bridge learns while we look
        ours, theirs = said()
        return ours == theirs and ("v0", "02:00:00:00:00:09", None, "static", False) in ours

    poll(same_again)


def test_the_groups_behind_ports_are_those_of_bridge(lab: Lab) -> None:
    ns = lab.netns("c")
    for line in (
        "link add br0 type bridge mcast_snooping 1",
        "link add v0 type veth peer name v1",
        "link set v0 master br0",
        "link set br0 up",
        "link set v0 up",
        "link set v1 up",
    ):
        run_in(ns, "ip", *line.split())
    poll(lambda: "state forwarding" in run_in(ns, "bridge", "link"))
    for group in ("239.9.9.9 permanent", "ff05::9 permanent", "239.9.9.8 temp"):
        run_in(ns, "bridge", "mdb", "add", "dev", "br0", "port", "v0", "grp", *group.split())

    def said() -> tuple[set[tuple[Any, ...]], ...]:
        ours = of(rows("map", "--netns", ns), "port_group", ns)
        listed = tool(ns, "bridge", "-j", "mdb")[0]["mdb"]
        return (
            {(row["name"], row["bridge"], row["group"], row["permanent"]) for row in ours},
            {(one["port"], one["dev"], one["grp"], one["state"] == "permanent") for one in listed},
        )

    def same_again() -> bool:  # hosts join and leave while we look
        ours, theirs = said()
        return ours == theirs and ("v0", "br0", "239.9.9.9", True) in ours and ("v0", "br0", "ff05::9", True) in ours

    poll(same_again)


def test_filters_say_where_they_send_packets_and_an_ifb_what_feeds_it(lab: Lab) -> None:
    ns = lab.netns("c")
    for line in ("link add ifb0 type ifb", "link add veth0 type veth peer name veth1", "link add br0 type bridge"):
        run_in(ns, "ip", *line.split())
    u32 = "protocol ip u32 match u32 0 0"
    for line in (
        "qdisc add dev veth0 ingress",
        f"filter add dev veth0 ingress {u32} action mirred egress redirect dev ifb0",
        "qdisc add dev veth1 root handle 1: htb",
        "class add dev veth1 parent 1: classid 1:10 htb rate 1mbit",
        f"filter add dev veth1 parent 1: {u32} flowid 1:10",
        "qdisc add dev br0 egress_block 22 clsact",
        f"filter add block 22 {u32} action mirred egress mirror dev ifb0",
    ):
        run_in(ns, "tc", *line.split())
    printed = rows("map", "--netns", ns)
    assert {(row["name"], row["queue_kind"]) for row in printed if row["kind"] == "qdisc"} >= {
        ("veth0", "ingress"), ("veth1", "htb"), ("br0", "clsact"),
    }  # fmt: skip
    filters = [(row["name"], row["hook"], row["detail"]) for row in printed if row["kind"] == "filter"]
    assert {one for one in filters if one[2] or one[1] == "1:0"} == {
        ("veth0", "ingress", "redirect to ifb0"), ("br0", "egress", "mirror to ifb0"), ("veth1", "1:0", ""),
    }  # fmt: skip
    assert re.search(r"^  ifb0 +ifb ← (br0, veth0|veth0, br0|br0 and veth0|veth0 and br0), down", text_of(ns), re.M)


def text_of(ns: str) -> str:
    return nettop("map", "--netns", ns).stdout


def test_one_namespace_its_peers_named(namespaces: tuple[str, str]) -> None:
    here, there = namespaces
    printed = rows("map", "--netns", here)
    assert {row["netns"] for row in printed} == {here}
    assert next(row for row in printed if row["kind"] == "link" and row["name"] == "v0")["peer_netns"] == there


def test_the_text_is_a_tree_and_the_graph_has_its_edges(namespaces: tuple[str, str]) -> None:
    here, there = namespaces
    text = nettop("map", "--netns", here).stdout
    assert re.search(
        rf"^  br0 +bridge, stp off, up, mtu 1450 +10\.9\.0\.1/24.*\n    v0 +port ⇄ w0 @ {there}, up", text, re.M
    )
    assert "  route blackhole 10.22.0.0/16 table 77" in text
    assert "  rule 81: from all goto 32766" in text
    graph = nettop("map", "--dot").stdout
    ids = dict(re.findall(r'^    (d\d+_\d+) \[label="((?:v|w|mv|br)\d)\\n', graph, re.M))
    edges = {frozenset((ids.get(one), ids.get(other))) for one, other in re.findall(r"^  (\S+) -- (\S+)", graph, re.M)}
    assert {frozenset(("v0", "w0")), frozenset(("br0", "v0")), frozenset(("mv0", "v1"))} <= edges


def test_a_namespace_without_a_name_is_known_by_its_process(lab: Lab) -> None:
    holder = lab.spawn_in(lab.netns("c"), "unshare", "--net", "sleep", "infinity")
    label = f"pid:{holder.pid}"
    poll(lambda: "lo" in run_in(label, "ip", "link") and not run_in(label, "ip", "-4", "address", check=False).strip())
    (netns,) = [row for row in rows("map") if row["kind"] == "netns" and row["netns"] == label]
    assert (netns["processes"], netns["command"], netns["pid"]) == (1, "sleep", holder.pid)
