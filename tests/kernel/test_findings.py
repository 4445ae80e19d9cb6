"""`nettop rules --findings`: each check on a namespace that has the fault, and none on one that has not."""

from __future__ import annotations

import pytest

from tests.kernel.commands import nettop, rows
from tests.kernel.namespaces import Lab, run_in

pytestmark = pytest.mark.kernel

SOUND = """
table inet fw {
    set ports { type inet_service; elements = { 22 } }
    set seen { type ipv4_addr; size 8; flags dynamic; }
    chain lan { tcp dport @ports accept
        counter drop
    }
    map lead { type ipv4_addr : verdict; elements = { 10.0.0.1 : jump led } }
    chain led { return
    }
    set all4 { type ipv4_addr; flags interval; elements = { * } }
    map rest { type inet_service : verdict; flags interval; elements = { * : jump others } }
    chain others { return
    }
    chain nested { accept
    }
    chain forw { type filter hook forward priority 0; policy drop
        ip saddr vmap @lead
        ip saddr @all4 tcp dport vmap @rest
        ip saddr vmap { 10.0.0.2 : goto nested }
        update @seen { ip saddr counter }
        add @seen { ip saddr }
        iifname "lan0" jump lan
        meta l4proto tcp drop
        log prefix "end " counter accept
    }
    chain to { type nat hook prerouting priority dstnat; policy accept
        dnat ip to 10.0.0.1
        dnat ip6 to fd00::1
    }
}
"""
FAULTS = """
table inet fw {
    set none { type ipv4_addr; }
    set full { type ipv4_addr; size 2; elements = { 1.1.1.1, 2.2.2.2 } }
    chain orphan { accept
    }
    chain forw { type filter hook forward priority 0; policy accept
        ip saddr @none ip daddr @full accept
        log prefix "end " counter drop comment "all \\x1b[31m"
        tcp dport 22 accept
        udp dport 53 accept
    }
}
table inet asleep { flags dormant; chain in { type filter hook input priority 0; policy drop; }
}
"""


# As fail2ban makes it while nobody is banned, and kube-proxy while every service has endpoints.
IDLE = """
table inet f2b-table {
    set addr-set-sshd { type ipv4_addr; }
    chain f2b-chain { type filter hook input priority -1; policy accept
        tcp dport 22 ip saddr @addr-set-sshd reject
    }
}
table ip kube-proxy {
    map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; }
    chain filter-input { type filter hook input priority -110; policy accept
        ip daddr . meta l4proto . th dport vmap @no-endpoint-services
    }
}
"""


def test_a_sound_ruleset_has_no_findings(lab: Lab) -> None:
    ns = lab.netns("sound")
    run_in(ns, "nft", "-f", "-", stdin=SOUND + IDLE)
    for tool in ("iptables-nft", "iptables-legacy"):
        run_in(ns, tool, "-N", "USER")
        run_in(ns, tool, "-A", "INPUT", "-p", "tcp", "-g", "USER")
        run_in(ns, tool, "-A", "INPUT", "-m", "comment", "--comment", "-j DROP", "-j", "ACCEPT")
    continues = ("-j", "dnat", "--to-dst", "02:00:00:00:00:01", "--dnat-target", "CONTINUE")
    for rule in (continues, ("-i", "eth0", "-j", "DROP")):
        run_in(ns, "ebtables-nft", "-t", "nat", "-A", "PREROUTING", *rule)
    assert rows("rules", "--findings", "--netns", ns) == []
    done = nettop("rules", "--findings", "--netns", ns)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no findings\n", "")


def test_each_fault_is_found_with_its_evidence(lab: Lab) -> None:
    ns = lab.netns("faults")
    run_in(ns, "nft", "-f", "-", stdin=FAULTS)
    for tool in ("iptables-legacy", "ip6tables-legacy"):
        run_in(ns, tool, "-N", "LOST")
        run_in(ns, tool, "-A", "FORWARD", "-m", "comment", "--comment", "every one", "-j", "DROP")
        run_in(ns, tool, "-A", "FORWARD", "-p", "tcp", "-j", "ACCEPT")
    found = rows("rules", "--findings", "--netns", ns)
    assert {(row["name"], row["family"], row["table"], row.get("chain")) for row in found} == {
        ("unreachable-rule", "inet", "fw", "forw"),
        ("unreachable-rule", "ip", "filter", "FORWARD"),
        ("unreachable-rule", "ip6", "filter", "FORWARD"),
        ("unused-chain", "inet", "fw", "orphan"),
        ("unused-chain", "ip", "filter", "LOST"),
        ("unused-chain", "ip6", "filter", "LOST"),
        ("legacy-and-nft", "ip", "filter", "FORWARD"),
        ("legacy-and-nft", "ip6", "filter", "FORWARD"),
        ("dormant-table", "inet", "asleep", None),
        ("empty-set", "inet", "fw", "forw"),
        ("full-set", "inet", "fw", "forw"),
    }
    assert all(row["evidence"] and row["summary"] for row in found)
    behind = next(row for row in found if (row["name"], row["table"]) == ("unreachable-rule", "fw"))
    handles = {
        row["number"]: row["handle"] for row in rows("rules", "--chain", "forw", "--netns", ns) if "number" in row
    }
    assert (behind["number"], behind["handle"], len(behind["evidence"])) == (3, handles[3], 3)
    assert f"inet fw forw rule 2 (handle {handles[2]}): log" in behind["evidence"][0]
    text = nettop("rules", "--findings", "--table", "fw", "--netns", ns)
    assert (text.returncode, text.stderr) == (0, "") and "\x1b" not in text.stdout
    assert "rules 3 to 4 of inet fw forw cannot match: rule 2 ends every packet before" in text.stdout
    assert "filter" not in text.stdout and "asleep" not in text.stdout


def test_a_finding_of_iptables_legacy_is_of_its_chain_and_not_of_that_of_nft(lab: Lab) -> None:
    ns = lab.netns("both")
    for tool in ("iptables-nft", "iptables-legacy"):
        run_in(ns, tool, "-N", "USER")
    run_in(ns, "iptables-nft", "-A", "INPUT", "-j", "USER")
    found = rows("rules", "--findings", "--netns", ns)
    assert [(one["name"], one["chain"], one["backend"]) for one in found] == [
        ("unused-chain", "USER", "iptables-legacy")
    ]
    assert found[0]["summary"] == "nothing jumps to ip filter USER (iptables-legacy)"


def test_rules_that_their_tool_cannot_print_are_a_finding(lab: Lab) -> None:
    ns = lab.netns("unprinted")
    run_in(ns, "iptables-nft", "-A", "INPUT", *["-m", "string", "--string", "abc", "--algo", "bm", "-j", "DROP"])
    run_in(ns, "nft", "add rule ip filter INPUT ct state new accept")
    done = nettop("rules", "--findings", "--netns", ns)
    assert "unprinted-rule: 1 rule of ip filter INPUT cannot be printed by their tool" in done.stdout
