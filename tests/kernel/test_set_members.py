"""Elements of sets and IP sets: which set holds an address, against `nft get element`; pages of a large set."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import numpy as np
import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import ReadRequest, SetName
from nettop.decode.nftables.members import member_text, rows_of
from nettop.decode.nftables.sets import NftSet
from nettop.model.ruleset.sets.contents import SetsUsed
from nettop.model.ruleset.sets.membership import holding, question
from nettop.pipeline.set_pages import SetPages, kernel_dump, set_elements
from nettop.session import sets
from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, command_in, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.interop, pytest.mark.one_broker]

RULES = """
table inet t {
    set plain { type ipv4_addr; elements = { 10.0.0.5, 10.0.0.6 } }
    set nets { type ipv4_addr; flags interval
        elements = { 0.0.0.0-0.0.0.9, 10.0.0.0/8, 192.168.0.0/24, 192.168.1.0/24, 255.255.255.250-255.255.255.255 } }
    set six { type ipv6_addr; flags interval; elements = { ::/16, fd00::/8, ffff:: } }
    set both { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/16 . 80-90, 10.0.0.5 . 443 } }
    map any { type ipv4_addr : verdict; elements = { 10.0.0.5 : accept, * : drop } }
    chain c { type filter hook input priority 0
        ip saddr @nets drop
        ip saddr vmap @any
    }
}
"""
MAKE_IPSETS = """
from pyroute2 import IPSet
from pyroute2.ipset import PortEntry
with IPSet() as made:
    made.create("badnets", stype="hash:net", counters=True, comment=True)
    made.add("badnets", "10.0.0.0/8", etype="net", packets=3, bytes=30, comment="ten")
    made.add("badnets", "192.168.1.1", etype="net")
    made.create("socks", stype="hash:ip,port", timeout=600, maxelem=100)
    made.add("socks", ("10.0.0.5", PortEntry(80, protocol=6)), etype="ip,port", timeout=300)
    made.create("sixes", stype="hash:ip", family=10)
    made.add("sixes", "fd00::5", etype="ip", family=10)
    made.create("unused", stype="hash:ip")
"""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    lab = Lab()
    try:
        ns = lab.netns("sets")
        run_in(ns, "nft", "-f", "-", stdin=RULES)
        yield ns
    finally:
        lab.close()


def held(found: list[dict[str, Any]]) -> dict[str, list[str]]:
    named = {row["name"]: list[str]() for row in found if row["kind"] == "set"}
    for row in found:
        if row["kind"] == "element":
            named[row["set"]].append(row["element"])
    return named


ADDRESSES = (
    *("10.0.0.5", "10.0.0.4", "0.0.0.0", "0.0.0.9", "0.0.0.10", "9.255.255.255", "11.0.0.0", "192.168.0.255"),
    *("192.168.1.0", "192.168.2.0", "255.255.255.249", "255.255.255.250", "255.255.255.255"),
    *("::", "0:ffff:ffff::1", "1::", "fcff::1", "fd00::", "fdff::1", "fe00::", "ffff::", "ffff::1"),
)


@pytest.mark.parametrize(("name", "key_type", "version"), [("plain", 7, 4), ("nets", 7, 4), ("six", 8, 6)])
def test_a_set_holds_an_address_where_nft_finds_it(
    host: str, broker: Broker, name: str, key_type: int, version: int
) -> None:
    of = NftSet("inet", "t", name, 1, 0 if name == "plain" else 4, key_type, 4, "", None, None, None, False, None)
    elements, _ = set_elements(broker, broker.netns(host), of, 1_000)
    assert elements is not None
    for address in (one for one in ADDRESSES if ip_address(one).version == version):
        command = command_in(host, "nft", "get", "element", "inet", "t", name, f"{{ {address} }}")
        expected = subprocess.run(command, capture_output=True, check=False).returncode == 0
        assert holding(question(address), of, elements).any() == expected, address


def test_parts_of_a_concatenation_are_looked_for_in_order(host: str) -> None:
    for asked, elements in {
        "10.0.0.5": ["10.0.0.0/16 . 80-90", "10.0.0.5 . 443"],
        "10.0.0.5,85": ["10.0.0.0/16 . 80-90"],
        "10.0.0.5 . 443": ["10.0.0.5 . 443"],
        "10.0.1.0/24": ["10.0.0.0/16 . 80-90"],
        "443": ["10.0.0.5 . 443"],
        "443,10.0.0.5": [],
    }.items():
        assert sorted(held(rows("rules", "--holds", asked, "--netns", host)).get("both", [])) == elements, asked


def test_the_rules_that_use_a_holding_set_are_printed(host: str) -> None:
    found = rows("rules", "--holds", "192.168.1.7", "--netns", host)
    assert [(row["number"], row["sets"]) for row in found if row["kind"] == "rule"] == [(1, ["nets"]), (2, ["any"])]
    text = nettop("rules", "--holds", "192.168.1.7", "--netns", host)
    assert "ip saddr @nets drop" in text.stdout and "192.168.1.0/24" in text.stdout and not text.stderr
    done = nettop("rules", "--holds", "host.example", "--netns", host)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_ipsets_of_a_rule_have_their_elements(lab: Lab) -> None:
    ns = lab.netns("ipset")
    run_in(ns, sys.executable, "-c", MAKE_IPSETS)
    for tool in ("iptables-nft", "iptables-legacy"):
        run_in(ns, tool, "-A", "INPUT", "-m", "set", "--match-set", "badnets", "src", "-j", "DROP")
    run_in(ns, "iptables-nft", "-A", "FORWARD", "-j", "SET", "--add-set", "socks", "src,src")
    found = rows("rules", "--elements", "--netns", ns)
    rules = [row for row in found if row["kind"] == "rule" and row["number"]]
    assert [row["sets"] for row in rules] == [["badnets"], ["badnets"], ["socks"]]
    listed = {row["name"]: row for row in found if row["kind"] == "set"}
    assert {name: (row["type"], row["elements"], row["backend"]) for name, row in listed.items()} == {
        "badnets": ("hash:net", 2, "ipset"),
        "socks": ("hash:ip,port", 1, "ipset"),
        "sixes": ("hash:ip", 1, "ipset"),
        "unused": ("hash:ip", 0, "ipset"),
    }
    assert (listed["socks"]["timeout"], listed["socks"]["size"], listed["badnets"]["counter"]) == (600, 100, True)
    elements = {row["element"]: row for row in found if row["kind"] == "element"}
    assert set(elements) == {"10.0.0.0/8", "192.168.1.1", "10.0.0.5,tcp:80", "fd00::5"}
    ten = elements["10.0.0.0/8"]
    assert (ten["packets"], ten["bytes"], ten["comment"]) == (3, 30, "ten")
    assert 290 < elements["10.0.0.5,tcp:80"]["expires"] <= 300
    assert held(rows("rules", "--holds", "10.0.0.5", "--netns", ns)) == {
        "badnets": ["10.0.0.0/8"],
        "socks": ["10.0.0.5,tcp:80"],
    }
    text = nettop("rules", "--elements", "badnets", "--netns", ns).stdout
    assert "ipset badnets   set of hash:net   2 elements" in text and "192.168.1.1" in text


def test_a_page_of_a_large_set_reads_only_that_page(lab: Lab, broker: Broker) -> None:
    ns, count = lab.netns("large"), 100_000
    # Of a given size: otherwise the kernel's hash table still grows while it is read, and a dump is not whole.
    run_in(ns, "nft", f"table ip t {{ set s {{ type ipv4_addr; size {count}; }}; }}")
    for start in range(0, count, 4_000):  # nft 1.0.6 of a user namespace sends no more at once
        members = ", ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(start, start + 4_000))
        run_in(ns, "nft", "-f", "-", stdin=f"add element ip t s {{ {members} }}")
    of = NftSet("ip", "t", "s", 1, 0, 7, 4, "", None, count, None, False, None)
    with kernel_dump(broker, broker.netns(ns), ReadRequest.NFT_SET_ELEMENTS, SetName(2, "t", "s")) as dump:
        pages = SetPages(dump, of)
        first = pages.read(1_000)
        assert first is not None and 1_000 <= len(first) < 3_000 and dump.more
        second = pages.read(2_000)
        assert second is not None and 2_000 <= len(second) < 4_000
        assert np.array_equal(second.keys[: len(first)], first.keys)
        whole = pages.read(count)
        assert whole is not None and not dump.more
        assert len({member_text(of, whole, row) for row in rows_of(whole)}) == count


def test_a_search_that_takes_too_long_names_the_sets_that_it_left_out(
    host: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    netns = broker.netns(host)
    searched, used = sets.KernelSets(broker, lambda: netns), SetsUsed(frozenset({("inet", "t", "nets")}))
    asked = question("10.0.0.7")
    assert ("inet", "t", "nets") in searched.search(asked, used)[0].elements
    monkeypatch.setattr(sets, "_SEARCH_S", 0.0)
    found, missing = searched.search(asked, used)
    assert not found.elements and missing == ("nets",)
