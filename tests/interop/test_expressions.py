"""The expressions of rules as `nft --debug=netlink` prints them: of all that nft and the tools of xtables make."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import ReadRequest
from nettop.decode.nftables.decoder import NftDecoder
from nettop.decode.nftables.expressions import expression_lines
from nettop.linux.netlink import NETLINK_NETFILTER
from tests.interop.test_ruleset import batch_of, datagrams
from tests.interop.test_xtables_words import CONDITIONS, ENDS, MADE, TOOLS
from tests.kernel.namespaces import Lab, command_in, run_in
from tests.kernel.test_rules_kinds import NFT

pytestmark = [pytest.mark.kernel, pytest.mark.interop, pytest.mark.one_broker]

MORE = """
    ct mark set 7; ct direction original; ct original ip saddr 10.0.0.1; ct helper set "h"; ct zone set 3; ct bytes > 5
    notrack; meta priority set 1:2; meta oifname "eth0" queue num 3-5 bypass; queue num 7 fanout
    ip saddr 10.0.0.1 log prefix "x y " level warn flags all; log flags skuid; ip dscp set cs1; tcp sport set 5
    tcp option mss size 1; tcp option maxseg size set 1400; reset tcp option sack-perm; exthdr hbh exists
    ip option rr exists; fib daddr . iif type local; fib saddr . mark oif exists; fib saddr oifname "lo"
    numgen random mod 5 offset 3 vmap { 3 : accept }; jhash ip saddr . tcp dport mod 7 seed 0x5 offset 2 3
    symhash mod 5 1; ct count over 5; ct count 7; last; quota over 3 mbytes used 7 bytes; limit rate over 3 kbytes/day
    socket transparent 1; socket mark 5; rt nexthop 10.0.0.1; rt classid 5; meta hour "10:00"; meta time > 5
    meta mark set ct mark; meta mark set mark and 0xff or 0x5; ct mark set mark << 3; dup to 10.0.0.1 device "lo"
    tproxy to :50080; osf name "Linux"; synproxy mss 1460 wscale 7 timestamp sack-perm; add @dyn { ip saddr }
    update @dyn { ip saddr timeout 5s counter }; add @dyn { ip saddr limit rate 5/second }; delete @dyn { ip saddr }
    ip saddr map { 10.0.0.1 : 1.1.1.1 } 1.1.1.1; reject with icmp host-unreachable; reject with icmpx admin-prohibited
    counter name "hits"; quota name "much"; icmp id 5; @ih,0,8 3; ip length != 5-7; udp dport gt 1024 return
    tcp dport { 22-25, 80 } ct state { new, established } continue; ip saddr != { 10.0.0.0/8 } drop
"""
NAT = """dnat to 10.0.0.1; dnat to 10.0.0.1-10.0.0.9:80-90 random,persistent; redirect; redirect to :80
    tcp dport 80 dnat to 10.0.0.1:8080; tcp dport 22 redirect to :2222-2229 fully-random
    dnat ip prefix to ip daddr map { 10.0.0.0/24 : 10.1.0.0/24 }; dnat to tcp dport map { 80 : 10.0.0.1 }"""
POST = """snat to 10.0.0.1; masquerade; masquerade random; tcp dport 1 masquerade to :1000-2000 persistent
    snat to 10.0.0.1:7-9"""
HEAD = """table {family} t {{
    chain u {{ }}
    {more}
}}"""
OWN = """set dyn { type ipv4_addr; size 100; flags dynamic,timeout; }
    set bad { type ipv4_addr; }
    counter hits { packets 0 bytes 0
    }
    quota much { 25 mbytes
    }
    chain nat1 { type nat hook prerouting priority 0; }
    chain nat2 { type nat hook postrouting priority 0; }"""


def words(text: str) -> list[str]:
    return [one.strip() for one in re.split(r"[;\n]", text) if one.strip()]


def add(ns: str, family: str, chain: str, rules: list[str]) -> int:
    """Add those that this kernel takes; the number of them."""
    count = 0
    for rule in rules:
        command = command_in(ns, "nft", f"add rule {family} t {chain} {rule}")
        count += subprocess.run(command, capture_output=True, check=False).returncode == 0
    return count


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    lab = Lab()
    try:
        ns = lab.netns("expressions")
        run_in(ns, "nft", "-f", "-", stdin=NFT)
        made = 0
        for family, conditions in CONDITIONS.items():
            run_in(ns, "nft", "-f", "-", stdin=HEAD.format(family=family, more=OWN if family == "ip" else ""))
            made += add(ns, family, "u", words(conditions))
        made += add(ns, "ip", "u", [one for one in words(ENDS) if " u" not in one] + words(MORE))
        made += add(ns, "ip", "nat1", words(NAT)) + add(ns, "ip", "nat2", words(POST))
        assert made > 180, "most are taken"
        for family, tool in TOOLS.items():
            chain = "FORWARD" if family == "bridge" else "INPUT"
            run_in(ns, tool, "-N", "u")
            for rule in words(MADE[family]):
                run_in(ns, *f"{tool} -A {chain} {rule}".split())
        yield ns
    finally:
        lab.close()


def theirs(ns: str) -> dict[tuple[str, ...], list[str]]:
    """The lines of each rule: `inet fw in 9 8` before them is family, table, chain, handle and position."""
    found: dict[tuple[str, ...], list[str]] = {}
    lines: list[str] = []
    for line in run_in(ns, "nft", "--debug=netlink", "list", "ruleset", encoding="latin-1").split("\n"):
        if line.startswith("  ["):
            lines.append(line.strip())
        elif len(line.split()) in (4, 5) and not line.startswith(("\t", " ")) and line.split()[3].isdigit():
            lines = found.setdefault(tuple(line.split()[:4]), [])
    return found


def test_every_expression_is_as_nft_prints_it(host: str, broker: Broker) -> None:
    expected = theirs(host)
    sock = broker.netlink_socket(broker.netns(host), NETLINK_NETFILTER)
    broker.request(sock, ReadRequest.NFT_RULES)
    rules = [rule for block in NftDecoder()(batch_of(datagrams(sock.fd))).blocks for rule in block.rules]
    ours = {(r.family, r.table, r.chain, str(r.handle)): expression_lines(r.raw) for r in rules}
    assert set(ours) == set(expected) and len(ours) > 200
    wrong = {key: (ours[key], lines) for key, lines in expected.items() if ours[key] != lines}
    assert not wrong
