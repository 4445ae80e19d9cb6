"""Rules that nettop takes for those of iptables, arptables or ebtables: their tools make and print the same ones.

The proof of a word is a round trip: given to its tool, it makes the rule that it was printed of.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from nettop.broker.client import Broker
from nettop.broker.requests import ReadRequest
from nettop.decode.nftables.decoder import NftDecoder
from nettop.decode.nftables.rules import NftRule
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.model.ruleset.words import tool_command
from tests.interop.test_ruleset import Watch, batch_of, datagrams
from tests.kernel.namespaces import Lab, command_in, run_in

pytestmark = [pytest.mark.kernel, pytest.mark.interop, pytest.mark.one_broker]

TOOLS = {"ip": "iptables-nft", "ip6": "ip6tables-nft", "arp": "arptables-nft", "bridge": "ebtables-nft"}
ARP = "arp htype 1 arp hlen 6 arp plen 4"
CONDITIONS = {
    "ip": """ip saddr 1.2.3.4; ip saddr 10.0.0.0/8; ip saddr != 10.0.0.0/9; ip daddr & 255.0.255.0 == 10.0.3.0
        ip saddr @bad; ip saddr 10.0.0.1-10.0.0.9; ip saddr { 1.1.1.1, 2.2.2.2 }; ip saddr > 1.2.3.4
        ip saddr 0.0.0.0/0; ip saddr 0.0.0.0; ip protocol tcp meta l4proto tcp; ip protocol tcp; ip protocol != udp
        meta l4proto tcp
        meta l4proto { tcp, udp }; meta l4proto != tcp tcp dport 3; meta l4proto 0; meta l4proto 255
        th dport 22; tcp dport 22; tcp dport 22-25; tcp dport != 22-25; tcp dport 1024-65535
        tcp dport { 22, 23 }; tcp sport 5 tcp dport 6; tcp sport 5 tcp dport != 6; udp dport != 53
        udp sport 5 udp dport 6; udp length 20; udplite dport 5; sctp dport 5; dccp dport 5; tcp flags syn
        tcp flags == syn; tcp window 5; tcp flags & (syn|ack) == syn; tcp flags & (syn|ack) != syn
        tcp flags != syn; icmp type echo-request; meta mark 1; meta mark & 0xff == 3; meta mark & 0xff != 3
        meta mark 1-5; meta mark & 0x1 == 0; ct state new; ct mark 1; iifname "eth0"; iifname != "eth0"
        iifname "eth*"; iifname "et+"; iifname "e t"; iif lo; iifgroup 0; meta length 20; meta skuid 0
        meta pkttype broadcast; meta cpu 1; meta protocol ip; ip dscp cs1; ip ttl 3; ip length 30; ip id 4
        ip frag-off & 0x1fff != 0; ip frag-off & 0x1fff == 0; ip frag-off 0
        ip saddr 1.1.1.1 ip saddr 2.2.2.2; @nh,96,16 258; @nh,104,8 10; @th,16,16 22; @th,0,32 5
        limit rate 5/second; limit rate 5/minute burst 7 packets; limit rate 3000/second
        limit rate 7/second; limit rate 250/second; limit rate 9/hour; limit rate over 5/second
        limit rate 5 kbytes/second; limit rate 5/second ip saddr 1.2.3.4
        ip saddr 1.2.3.4 limit rate 5/second; limit rate 5/second tcp dport 22
        meta l4proto tcp limit rate 5/second tcp dport 22; quota 5 mbytes; fib saddr type local
        ip saddr . tcp dport { 1.1.1.1 . 22 }; tcp dport vmap { 22 : accept }; numgen inc mod 2 0""",
    "ip6": """ip6 saddr fd00::1; ip6 saddr fd00::/8; ip6 saddr fd00::/9; ip6 daddr != fd00::/64
        ip6 saddr fd00::1-fd00::9; ip6 daddr & ffff::ffff == fd00::1; ip6 nexthdr tcp
        meta l4proto ipv6-icmp; tcp dport 22; exthdr frag exists; icmpv6 type nd-neighbor-solicit
        ip6 hoplimit 5; meta mark & 0x3 == 1; ip6 saddr { fd00::1, fd00::2 }""",
    "arp": f"""arp operation request; arp htype 1; {ARP}; {ARP} arp operation request
        {ARP} arp saddr ip 10.0.0.0/9; {ARP} arp saddr ether 02:00:00:00:00:01-02:00:00:00:00:09
        arp hlen != 6 arp htype 1 arp plen 4; {ARP} arp daddr ip 1.2.0.0/16; iifname "lo" {ARP}
        {ARP} meta mark 1""",
    "bridge": """ether saddr 02:00:00:00:00:01; ether daddr != 02:00:00:00:00:01; ether saddr 02:00:00:00:00:00/16
        ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00; ether type ip; ether type != arp
        ether type < 0x600; ether type > 0x600; ether type { ip, arp }; meta protocol ip; ip saddr 1.2.3.4
        vlan id 5; meta mark 3; iifname "eth*"; limit rate 4/second; meta pkttype multicast; tcp dport 22
        arp operation request""",
}
ENDS = """counter; counter drop; counter accept; counter return; drop; counter counter drop; counter jump u
        counter goto u; counter log group 3; counter log group 3 drop; counter log prefix "ab" group 3
        counter log; counter meta nftrace set 1; counter meta mark set 1; counter reject; counter continue
        counter log prefix "ab" group 2 snaplen 7"""
MADE = {
    "ip": """-i eth0 -s 10.0.0.0/8 -d 1.2.3.4/255.255.0.255 -j ACCEPT; -i eth+ ! -s 10.0.0.0/9 -p tcp -j DROP
        -f -j DROP; -p tcp --dport 22 -g u; -p tcp --sport 1:5 --dport 22:; -p udp ! --sport 1:5
        -p udp --sport 1 --dport 5; ! -f; -p tcp --syn -j LOG; -m mark --mark 1/3 -j RETURN
        -m limit --limit 3/min -j NFLOG --nflog-group 3; -p 47; ! -i +; -p icmp --icmp-type 8 -j REJECT
        -m conntrack --ctstate NEW -j u; -j u; -m addrtype --dst-type LOCAL; ! -p udp""",
    "ip6": """-s fd00::/9 -d fd00::1 -p tcp --dport 3:5 -j DROP; -p icmpv6 --icmpv6-type 135; -i eth0
        -m mark ! --mark 7""",
    "arp": """-j DROP; ! -s 10.0.0.0/9; -d 1.2.0.0/16; -i lo -j ACCEPT; --opcode 2 -j ACCEPT
        -j mangle --mangle-ip-s 1.2.3.4; -s 10.0.0.9 -j u""",
    "bridge": """-j DROP; -i eth0 -p 0x86dd -s 02:00:00:00:00:01 -d Multicast -j ACCEPT; -p LENGTH
        --limit 3/sec -j DROP; -p IPv4 --ip-proto tcp --ip-dport 22 --log
        --pkttype-type multicast -j RETURN; -s 2:0:0:0:0:0/ff:ff:0:0:0:0 -j u""",
}


def parts(text: str) -> list[str]:
    return [part.strip() for line in text.splitlines() for part in line.split(";") if part.strip()]


def raw_rules(broker: Broker, spec: str, family: str) -> list[NftRule]:
    sock = broker.netlink_socket(broker.netns(spec), NETLINK_NETFILTER)
    broker.request(sock, ReadRequest.NFT_RULES)
    decoded = NftDecoder()(batch_of(datagrams(sock.fd)))
    rules = [rule for block in decoded.blocks for rule in block.rules]
    return [rule for rule in rules if (rule.family, rule.chain) == (family, "f")]


def with_filter_table(lab: Lab, name: str, family: str) -> str:
    """A namespace with the tool's own filter table, a user chain u and an empty user chain f."""
    spec = lab.netns(name)
    for chain in ("u", "f"):
        run_in(spec, TOOLS[family], "-N", chain)
        if family == "bridge":  # else a rule stands for its policy
            run_in(spec, TOOLS[family], "-P", chain, "RETURN")
    return spec


def listed(spec: str, family: str) -> list[str]:
    """The rules of the chain f in nft's words. The protocol is the same, whichever of two ways compares it."""
    text = run_in(spec, "nft", "list", "chain", family, "filter", "f").replace("ip protocol", "meta l4proto")
    return [line.strip() for line in text.splitlines() if line.startswith("\t\t")]


def add(spec: str, family: str, rule: str) -> bool:
    command = command_in(spec, "nft", "add", "rule", family, "filter", "f", rule)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("family", TOOLS)
def test_what_the_tools_make_counts_as_theirs(lab: Lab, broker: Broker, family: str) -> None:
    spec = with_filter_table(lab, "made", family)
    for rule in parts(MADE[family]):
        run_in(spec, TOOLS[family], "-A", "f", *rule.split())
    rules = raw_rules(broker, spec, family)
    theirs = [rule.printable or bool(rule.extensions) for rule in rules]
    assert dict(zip(parts(MADE[family]), theirs, strict=True)) == dict.fromkeys(parts(MADE[family]), True)


@pytest.mark.parametrize("family", TOOLS)
def test_a_rule_of_nft_counts_as_theirs_only_if_their_words_make_the_same_rule(
    lab: Lab, broker: Broker, family: str
) -> None:
    conditions = parts(CONDITIONS[family])
    candidates = [f"{one} counter drop" for one in conditions]
    candidates += [f"{lead} {end}".strip() for lead in ("", conditions[0]) for end in parts(ENDS)]
    first = with_filter_table(lab, "all", family)
    if family == "ip":
        run_in(first, "nft", "add set ip filter bad { type ipv4_addr; }")
    added = [rule for rule in candidates if add(first, family, rule)]
    raw = raw_rules(broker, first, family)
    assert len(raw) == len(added) > len(candidates) * 0.8
    printable = [rule for rule, one in zip(added, raw, strict=True) if one.printable]
    assert len(printable) > 4 or family == "arp"  # where nft joins the comparisons that arptables makes one by one
    second, third = with_filter_table(lab, "printed", family), with_filter_table(lab, "again", family)
    assert all(add(second, family, rule) for rule in printable)
    for line in run_in(second, f"{TOOLS[family]}-save").splitlines():
        if line.startswith("-A f"):
            run_in(third, TOOLS[family], *shlex.split(line))
    assert listed(third, family) == listed(second, family)
    unsaid = [rule for rule in added if rule not in printable]
    assert all(re.search(r"@bad|[{]|-10.0.0.9|skuid|ct |^drop", rule) is None for rule in printable) and unsaid


def texts(broker: Broker, spec: str) -> dict[str, tuple[str, str | None]]:
    """The backend and the words of each rule, by `chain number`."""
    watch = Watch(broker, broker.netns(spec)).look()
    rules = [one for one in watch.objects() if one["kind"] == "rule" and one["number"]]
    return {f"{one['chain']} {one['number']}": (one["backend"], one["text"]) for one in rules}


IPTABLES = "iptables-nft"


def test_a_rule_of_nft_in_a_table_of_iptables_is_in_the_words_of_nft(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("mixed")
    run_in(spec, IPTABLES, "-N", "u")
    run_in(spec, IPTABLES, "-A", "FORWARD", "-j", "u")
    run_in(spec, "nft", "add set ip filter bad { type ipv4_addr; }; add rule ip filter u ip saddr @bad counter drop")
    run_in(spec, "nft", "add rule ip filter FORWARD ip saddr 10.0.0.1-10.0.0.9 counter drop")
    assert texts(broker, spec) == {
        "FORWARD 1": (IPTABLES, "-j u"),
        "FORWARD 2": ("nft", "ip saddr 10.0.0.1-10.0.0.9 counter packets 0 bytes 0 drop"),
        "u 1": ("nft", "ip saddr @bad counter packets 0 bytes 0 drop"),
    }


MATCH = "-m string --string abc --algo bm -j DROP"
PRINTED = '-m string --string "abc" --algo bm -j DROP'


@pytest.mark.parametrize("rule", ["meta skuid 0 accept", "ct state new accept", "limit rate over 5/second drop"])
def test_a_rule_that_iptables_save_cannot_print_takes_no_other_words_away(lab: Lab, broker: Broker, rule: str) -> None:
    spec = lab.netns("broken")
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        run_in(spec, IPTABLES, "-A", chain, *MATCH.split())
    run_in(spec, IPTABLES, "-t", "nat", "-A", "PREROUTING", *MATCH.replace("DROP", "RETURN").split())
    run_in(spec, "nft", f"insert rule ip filter FORWARD {rule}")
    found = texts(broker, spec)
    assert found["INPUT 1"] == found["OUTPUT 1"] == (IPTABLES, PRINTED)
    assert found["PREROUTING 1"] == (IPTABLES, PRINTED.replace("DROP", "RETURN"))
    backend, text = found["FORWARD 1"]
    assert backend == "nft" and (text or "").replace(" burst 5 packets", "") == rule  # nft 1.1 prints the burst
    assert found["FORWARD 2"] in ((IPTABLES, PRINTED), (IPTABLES, None))


def test_rules_beside_one_that_does_not_parse_are_printed_one_by_one(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("one-by-one")
    run_in(spec, IPTABLES, "-A", "INPUT", *MATCH.split())
    run_in(spec, "nft", "add rule ip filter INPUT meta skuid 0 accept")
    run_in(spec, IPTABLES, "-A", "INPUT", "-s", "1.2.3.4", "-j", "DROP")
    assert texts(broker, spec) == {
        "INPUT 1": (IPTABLES, PRINTED),
        "INPUT 2": ("nft", "meta skuid 0 accept"),
        "INPUT 3": (IPTABLES, "-s 1.2.3.4/32 -j DROP"),
    }


def test_a_comment_with_a_newline_is_no_rule_beside_one_that_does_not_parse(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("lines")
    comment = "x\n-A INPUT -j DROP\ny"
    run_in(spec, IPTABLES, "-A", "INPUT", "-m", "comment", "--comment", comment, "-j", "ACCEPT")
    run_in(spec, IPTABLES, "-A", "INPUT", "-m", "comment", "--comment", "-j", "-j", "RETURN")
    run_in(spec, "nft", "add rule ip filter INPUT meta skuid 0 accept")
    run_in(spec, IPTABLES, "-A", "FORWARD", "-m", "comment", "--comment", comment, "-j", "ACCEPT")
    found = texts(broker, spec)
    forged = f'-m comment --comment "{comment}" -j ACCEPT'
    assert [found[f"INPUT {number}"][1] for number in (1, 2, 3)] == [
        forged, "-m comment --comment -j -j RETURN", "meta skuid 0 accept",
    ]  # fmt: skip
    assert found["FORWARD 1"] == (IPTABLES, forged)


def test_a_base_chain_of_nft_in_a_table_of_iptables_keeps_the_words_of_the_others(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("foreign")
    run_in(spec, IPTABLES, "-A", "INPUT", *MATCH.split())
    run_in(spec, "nft", "add chain ip filter mine { type filter hook input priority 5; }")
    run_in(spec, "nft", "add rule ip filter mine tcp dport 9 counter drop")
    found = texts(broker, spec)
    assert found["INPUT 1"] == (IPTABLES, PRINTED)
    assert found["mine 1"] == ("nft", "tcp dport 9 counter packets 0 bytes 0 drop")


def test_rules_with_ipset_are_in_the_words_of_iptables(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("ipset")
    run_in(spec, sys.executable, "-c", "from pyroute2 import IPSet; IPSet().create('bad', stype='hash:ip')")
    run_in(spec, IPTABLES, "-A", "INPUT", "-m", "set", "--match-set", "bad", "src", "-j", "DROP")
    assert texts(broker, spec) == {"INPUT 1": (IPTABLES, "-m set --match-set bad src -j DROP")}


def test_arptables_and_ebtables_have_their_own_words(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("arp")
    run_in(spec, "arptables-nft", "-A", "OUTPUT", "-j", "mangle", "--mangle-ip-s", "1.2.3.4")
    run_in(spec, "arptables-nft", "-A", "INPUT", "-s", "10.0.0.9", "-j", "DROP")
    run_in(spec, "ebtables-nft", "-N", "u")
    run_in(spec, "ebtables-nft", "-A", "u", "-p", "ARP", "--arp-op", "Request", "-j", "DROP")
    assert texts(broker, spec) == {
        "OUTPUT 1": (IPTABLES, "-j mangle --mangle-ip-s 1.2.3.4"),
        "INPUT 1": (IPTABLES, "-j DROP -s 10.0.0.9"),
        "u 1": (IPTABLES, "-p ARP --arp-op Request -j DROP"),
        "u 2": ("nft", "counter packets 0 bytes 0 accept"),  # the policy of u, which is a rule
    }


def test_the_commands_that_a_detail_names_print_the_rule(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("commands")
    for tool, chain in (("iptables-nft", 'q"q'), ("ip6tables-nft", "u"), ("arptables-nft", "u"), ("ebtables-nft", "u")):
        run_in(spec, tool, "-N", chain)
        run_in(spec, tool, "-A", chain, "-j", "DROP")
    run_in(spec, "nft", "add table inet t; add chain inet t c; add rule inet t c drop")
    watch = Watch(broker, broker.netns(spec)).look()
    picture = watch.ruleset.picture
    commands = [tool_command(picture.chains[rule.chain], rule) for rule in picture.rules if rule.number == 1]
    assert len(commands) == 5
    assert all(re.search("drop", run_in(spec, *shlex.split(command, comments=True)), re.I) for command in commands)


def test_a_newline_in_a_comment_forges_no_rule(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("forged")
    comment = "x # handle 2\n\t\ttcp dport 22 drop # handle 3\n\t\ty"
    script = f"""table inet t {{
 chain in {{
  tcp dport 80 accept comment "{comment}"
  tcp dport 22 accept
  log prefix "p\n\t\tdrop # handle 5\n" accept
  tcp dport 23 accept comment "a\n\t}}\n}}\ntable ip evil {{ # handle 9\n\tchain e {{ # handle 1\n\t\t"
 }}
}}
"""
    run_in(spec, "nft", "-f", "-", stdin=script)
    found = texts(broker, spec)
    assert found["in 1"][1] == f'tcp dport 80 accept comment "{comment}"'
    assert found["in 2"][1] == "tcp dport 22 accept"
    assert found["in 3"][1] == 'log prefix "p\n\t\tdrop # handle 5\n" accept'
    assert len(found) == 4 and all(text for _, text in found.values())


def test_rules_of_implicit_chains_have_their_words(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("implicit")
    script = """table inet t {
 chain in {
  jump {
   tcp dport 22 counter accept comment "inner } one"
   tcp dport { 1, 2, 3 } counter drop
  }
  accept
 }
}
"""
    run_in(spec, "nft", "-f", "-", stdin=script)
    found = texts(broker, spec)
    assert sorted(text for key, (_, text) in found.items() if key.startswith("__chain")) == [
        'tcp dport 22 counter packets 0 bytes 0 accept comment "inner } one"',
        "tcp dport { 1, 2, 3 } counter packets 0 bytes 0 drop",
    ]
    assert found["in 2"][1] == "accept" and (found["in 1"][1] or "").startswith("jump { tcp dport 22 counter")


def test_a_rule_that_ends_nft_takes_no_other_words_away(lab: Lab, broker: Broker) -> None:
    spec = lab.netns("crash")
    match = "-m hashlimit --hashlimit-above 5/sec --hashlimit-name a --hashlimit-rate-match --hashlimit-rate-interval 3"
    run_in(spec, "ip6tables-nft", "-A", "INPUT", *match.split(), "-j", "DROP")
    run_in(spec, "nft", "add table inet t; add chain inet t c; add rule inet t c tcp dport 9 drop")
    run_in(spec, "nft", "add chain ip6 filter mine; add rule ip6 filter mine tcp dport 10 drop")
    found = texts(broker, spec)
    assert found["c 1"] == ("nft", "tcp dport 9 drop") and found["mine 1"] == ("nft", "tcp dport 10 drop")
    assert found["INPUT 1"][0] == IPTABLES and "--hashlimit-rate-match" in (found["INPUT 1"][1] or "")
