"""`nettop map --route`, `--findings` and `--sysctls` as their users run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, run_in

pytestmark = pytest.mark.kernel


@pytest.fixture
def router(lab: Lab) -> str:
    """A router between two hosts, with rules, and an MTU that does not fit."""
    here, there = lab.netns("r"), lab.netns("t")
    for at in (1, 2):
        lab.veth_pair(here, there, f"r{at}", f"t{at}", (f"10.{at}.0.1/24",), (f"10.{at}.0.2/24",))
    run_in(there, "ip", "link", "set", "t2", "mtu", "1400")
    run_in(here, "iptables-nft", "-A", "FORWARD", "-p", "tcp", "-j", "ACCEPT")
    for tool in ("iptables-legacy", "iptables-nft"):
        dnat = ("-j", "DNAT", "--to-destination", "10.2.0.2")
        run_in(here, tool, "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "80", *dnat)
    return here


def test_a_route_is_told_in_steps_with_the_rules_of_every_backend_counted(router: str) -> None:
    packet = "to 10.2.0.2:80 from 10.1.0.2 in r1"
    (ends,) = rows("map", "--route", packet, "--netns", router)
    assert ends["steps"][-1] == {"topic": "forward", "text": "ip_forward 0, r1 forwarding 0", "status": "drops"}
    assert ends["error"] == "No route to host" and ends["table"] is None
    assert ends["back_devices"] == ["r1"]
    run_in(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    (row,) = rows("map", "--route", packet, "--netns", router)
    get = ("ip", "-j", "route", "get", "fibmatch", "10.2.0.2", "from", "10.1.0.2", "iif", "r1")
    (theirs,) = json.loads(run_in(router, *get))
    assert (row["kind"], row["netns"], row["to"], row["from"]) == ("route_answer", router, "10.2.0.2", "10.1.0.2")
    assert (row["prefix"], row["device"], row["table"]) == (theirs["dst"], theirs["dev"], theirs.get("table", "main"))
    assert (row["in"], row["proto"], row["dport"], row["back_devices"]) == ("r1", "tcp", 80, ["r1"])
    steps = {step["topic"]: (step["text"], step["status"]) for step in row["steps"]}
    assert steps["NAT"] == ("2 dstnat rules may rewrite the destination", "not evaluated")
    assert steps["filter"] == ("1 rule on forward", "not evaluated")
    text = nettop("map", "--route", packet, "--netns", router)
    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.splitlines()[0] == "to 10.2.0.2 from 10.1.0.2 in r1 proto tcp dport 80"
    assert "  route    kernel         10.2.0.0/24 dev r2 proto kernel scope link src 10.2.0.1 table main" in text.stdout


@pytest.mark.parametrize(
    ("packet", "said"),
    [
        ("", "route: no address"),
        ("to", "route: no value after 'to'"),
        ("10.0.0.300", "'10.0.0.300' is no IPv4 or IPv6 address"),
        ("to 10.0.0.1 via 10.0.0.2", "unknown word 'via'"),
        ("to 10.0.0.1 to 10.0.0.2", "a second word 'to'"),
        ("to 10.0.0.1 from fd00::1", "one address is IPv4 and the other IPv6"),
        ("to 10.0.0.1 in lo", "a packet that comes in has a source"),
        ("to 10.0.0.1 mark 0x100000000", "mark is a number up to 4294967295"),
        ("to fe80::1%eth0", "is no IPv4 or IPv6 address"),
        ("to 10.0.0.1 out \x1b[31m", r"no device '\x1b[31m' in this namespace: there are lo"),
    ],
)
def test_words_that_are_no_packet_are_refused_in_one_line(lab: Lab, packet: str, said: str) -> None:
    done = nettop("map", "--route", packet, "--netns", lab.netns())
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and len(done.stderr.splitlines()) == 1 and "\x1b" not in done.stderr


def test_a_recording_is_not_asked_for_a_route(router: str, tmp_path: Path) -> None:
    done = nettop("map", "--route", "10.0.0.1", "-r", str(tmp_path / "none.pcapng"))
    assert (done.returncode, done.stderr) == (
        2, "nettop: --route asks the kernel: a recording has the routes, but cannot answer\n",
    )  # fmt: skip


def test_findings_are_rows_of_the_map_and_those_of_rules_come_when_they_are_asked_for(router: str) -> None:
    found = rows("map", "--findings", "--netns", router)
    assert {(row["kind"], row["netns"], row["name"]) for row in found} == {
        ("finding", router, "forwarding-off"), ("finding", router, "pair-mtu"),
    }  # fmt: skip
    assert all(row["summary"] and row["evidence"] for row in found)
    in_map = [row for row in rows("map", "--netns", router) if row["kind"] == "finding"]
    assert in_map == [row for row in found if row["name"] == "pair-mtu"]
    text = nettop("map", "--netns", router).stdout
    assert "\n\nfindings (those of rules with --findings):\nr2 @ " in text
    run_in(router, "ip", "link", "set", "r2", "mtu", "1400")
    run_in(router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    done = nettop("map", "--findings", "--netns", router)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no findings\n", "")


def test_findings_follow_verdict_maps_and_need_no_words_where_packets_are_forwarded(lab: Lab) -> None:
    ns = lab.netns()
    jump = "chain f { type filter hook forward priority 0\nip saddr vmap %s\n}"
    for name in ("anonymous", "named"):
        lead = "map m { type ipv4_addr : verdict; elements = { 10.0.0.2 : jump led } }" if name == "named" else ""
        chains = jump % ("@m" if lead else "{ 10.0.0.1 : jump led }")
        rules = f"table ip {name} {{ chain led {{ tcp dport 22 accept\n}}\n{lead}\n{chains}\n}}"
        run_in(ns, "nft", "-f", "-", stdin=rules)
    (one,) = rows("map", "--findings", "--netns", ns)
    assert {line for line in one["evidence"] if "rule" in line} == {
        f"ip {name} led rule 1: tcp dport 22 accept" for name in ("anonymous", "named")
    }
    run_in(ns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    assert rows("map", "--findings", "--netns", ns) == []


def test_sysctls_have_the_values_of_sysctl_and_say_what_they_do(router: str) -> None:
    run_in(router, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2")
    found = {row["name"]: row for row in rows("map", "--sysctls", "--netns", router)}
    for name, row in found.items():
        if row["value"]:
            assert run_in(router, "sysctl", "-n", name).split() == row["value"].split()
    filtered = found["net.ipv4.conf.r1.rp_filter"]
    assert (filtered["value"], filtered["in_effect"], filtered["changed"]) == ("0", "2", True)
    assert filtered["effect"] == "loose: dropped unless there is some route back to the source"
    assert found["net.ipv4.tcp_tw_recycle"]["effect"] == "gone since Linux 4.12"
    text = nettop("map", "--sysctls", "--netns", router).stdout
    assert "* net.ipv4.conf.r1.rp_filter = 0, in effect 2, default 0   check of a packet's source" in text
