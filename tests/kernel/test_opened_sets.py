"""Sets, maps and IP sets opened below a rule in the app: what the kernel has of them, page by page."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from queue import SimpleQueue
from typing import Any

import pytest

from nettop.broker.client import Broker
from nettop.model.ruleset.opened_sets import PAGE
from nettop.model.table import Row, ViewSpec
from nettop.session.live import LiveSession
from nettop.session.replay import ReplaySession
from tests.kernel.namespaces import Lab, poll, run_in
from tests.kernel.pty_terminal import terminal
from tests.kernel.test_set_members import MAKE_IPSETS

pytestmark = pytest.mark.kernel

RULES = """
table inet fw {
    set bad { type ipv4_addr; flags timeout; counter
        elements = { 10.0.0.7 timeout 1h comment "seven", 10.0.0.5 counter packets 3 bytes 300 } }
    map ways { type inet_service : verdict; elements = { 22 : jump ssh, 80 : accept, 443 : goto web } }
    chain ssh { counter accept; }
    chain web { counter drop; }
    chain in { type filter hook input priority 0
        ip saddr @bad counter drop
        tcp dport vmap @ways
        counter
    }
}
"""
COLUMNS = ("number", "packets", "bytes", "verdict", "rule")


def answer(ask: Callable[..., Any], *arguments: Any) -> Any:
    found: SimpleQueue[Any] = SimpleQueue()
    ask(*arguments, lambda *what: found.put(what[0] if len(what) == 1 else what))
    return found.get(timeout=30)


def searched(session: LiveSession | ReplaySession, text: str) -> Any:
    """What a search finds, and the sets that it could not search, once the rules are read."""
    return poll(lambda: (found := answer(session.find_rules, text))[0] is not None and found, what="a search")


def rows(session: LiveSession | ReplaySession, *toggled: int, first: int = 0, scope: int | None = None) -> list[Row]:
    spec = ViewSpec(COLUMNS, height=99, first=first, toggled=frozenset(toggled), scope=scope)
    return list(answer(session.ask, "rules", spec).rows)


def rule_with(session: LiveSession | ReplaySession, text: str, table: str = "fw") -> Row:
    found: list[Row] = []

    def look() -> list[Row]:
        chains = answer(session.ask, "chains", ViewSpec(("table",), height=99)).rows
        scopes = [row.ident for row in chains if row.cells[0] == table]
        found.extend(row for scope in scopes for row in rows(session, scope=scope) if text in row.whole)
        return found

    poll(look, what=text)
    return found[0]


def opened(session: LiveSession | ReplaySession, rule: Row, scope: int | None = None) -> list[Row]:
    """The rows below a rule once its sets were read."""
    assert rule.reads and answer(session.read_elements, rule.ident) is None
    shown = rows(session, rule.ident, scope=scope)
    at = [row.ident for row in shown].index(rule.ident)
    return [row for row in shown[at + 1 :] if row.ident <= -(2 << 40)]


def test_a_sets_elements_have_counters_times_and_comments(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("opened")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    with closing(LiveSession(broker, ns)) as session:
        rule = rule_with(session, "@bad counter drop")
        assert rule.link == rule.ident and "▸" in rule.cells[4]
        title, five, seven = opened(session, rule)
        assert title.cells[0].startswith("▾ @bad   set of ipv4_addr   2 elements") and title.link == title.ident
        assert (five.cells[1:3], five.cells[4].strip()) == (("3", "300"), "10.0.0.5")
        assert "10.0.0.7   59m5" in seven.cells[4] and "timeout 1h00" in seven.whole
        assert seven.cells[4].endswith("/* seven */") and seven.whole.startswith("@bad   10.0.0.7   packets 0")
        run_in(ns, "nft", "add", "element", "inet", "fw", "bad", "{ 10.0.0.6 }")
        assert [row.cells[4].split()[0] for row in opened(session, rule)[1:]] == ["10.0.0.5", "10.0.0.6", "10.0.0.7"]
        folded = rows(session, rule.ident, title.ident)
        assert [row.cells[0][:8] for row in folded if "@bad   " in row.whole] == ["▸ @bad  "]
        run_in(ns, "nft", "flush", "chain", "inet", "fw", "in")


def test_the_branches_of_a_verdict_map_name_it_and_lead_to_their_chains(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("branches")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    with closing(LiveSession(broker, ns)) as session:
        rule_with(session, "counter accept")  # below the map's rule, by its elements
        rule = rule_with(session, "vmap @ways")
        title, ssh, http, web = opened(session, rule)
        assert title.cells[0].startswith("▾ @ways   map of inet_service : verdict   3 elements")
        assert [row.cells[3] for row in (ssh, http, web)] == ["→ ssh", "accept", "→ web"]
        assert [row.cells[4].strip() for row in (ssh, http, web)] == ["22", "80", "443"]
        headings = {row.ident: row.cells[0].split()[1] for row in rows(session) if row.cells[0].lstrip()[:1] == "▾"}
        assert (headings[ssh.link or 0], http.link, headings[web.link or 0]) == ("ssh", None, "web")
        assert "@ways   22 : jump ssh" in ssh.whole
        detail = answer(session.detail, "rules", ssh.ident)
        assert "vmap @ways" in str(detail.lines)
        only = answer(session.rule_filter, "rules", ssh.ident)[0]
        assert only == answer(session.rule_filter, "rules", rule.ident)[0]


def test_ipsets_of_a_rule_open_below_it(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("ipsets")
    run_in(ns, sys.executable, "-c", MAKE_IPSETS)
    run_in(ns, "iptables-nft", "-A", "INPUT", "-m", "set", "--match-set", "badnets", "src", "-j", "DROP")
    run_in(ns, "iptables-nft", "-A", "INPUT", "-j", "SET", "--add-set", "socks", "src,src")
    with closing(LiveSession(broker, ns)) as session:
        title, *found = opened(session, rule_with(session, "badnets", "filter"))
        assert title.cells[0].startswith("▾ ipset badnets   set of hash:net   2 elements")
        texts = {row.cells[4].split()[0]: row for row in found}
        assert set(texts) == {"10.0.0.0/8", "192.168.1.1"}
        assert texts["10.0.0.0/8"].cells[1:3] == ("3", "30") and "/* ten */" in texts["10.0.0.0/8"].cells[4]
        assert "10.0.0.5,tcp:80   4m5" in opened(session, rule_with(session, "socks", "filter"))[1].cells[4]
        run_in(ns, "iptables-nft", "-F")
        run_in(ns, sys.executable, "-c", "from pyroute2 import IPSet\nwith IPSet() as s: s.destroy('badnets')")


def test_a_set_that_is_gone_says_so_below_its_rule(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("gone")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    with closing(LiveSession(broker, ns)) as session:
        rule = rule_with(session, "@bad counter drop")
        run_in(ns, "nft", "flush", "ruleset")
        assert answer(session.read_elements, rule.ident) is None
        assert answer(session.read_elements, 10**9) is None  # a row that is no rule


def test_a_page_of_a_hundred_thousand_elements_is_read_in_a_moment_each(lab: Lab, broker: Broker) -> None:
    ns, count = lab.netns("hundred"), 100_000
    of_set = f"set s {{ type ipv4_addr; size {count}; }}"
    chain = "chain c { type filter hook input priority 0; ip saddr @s drop; }"
    run_in(ns, "nft", "-f", "-", stdin=f"table ip t {{ {of_set}\n{chain}\n}}")
    for start in range(0, count, 2_000):  # a user namespace's socket takes no larger transaction
        members = ", ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(start, start + 2_000))
        run_in(ns, "nft", "-f", "-", stdin=f"add element ip t s {{ {members} }}")
    with closing(LiveSession(broker, ns)) as session:
        rule = rule_with(session, "@s drop", "t")
        seen: set[str] = set()
        asked, times = rule.ident, list[float]()
        for page in range(3):
            began = time.monotonic()
            assert answer(session.read_elements, asked) is None
            shown = rows(session, rule.ident, first=page * PAGE)
            times.append(time.monotonic() - began)
            seen |= {row.cells[4].strip() for row in shown}
            more = next(row for row in rows(session, rule.ident, first=10**6) if "Enter reads the next" in row.cells[0])
            assert more.reads and more.link is None
            asked = more.ident
        assert min(times) < 0.3 and len(seen) > 200
        assert "the first 3,000, read" in rows(session, rule.ident)[1].cells[0]
        assert "100,000 elements" in rows(session, rule.ident)[1].cells[0]


def test_enter_and_e_open_a_rules_sets_on_the_screen(lab: Lab) -> None:
    ns = lab.netns("enter")
    run_in(ns, "nft", "-f", "-", stdin=RULES)
    with terminal("--netns", ns) as screen:
        poll(lambda: screen.shows("1 Flows"))
        screen.key("3")
        poll(lambda: screen.shows("@bad drop") or screen.shows("@bad"))
        screen.key("\r\r")  # to the rules, and the first one
        poll(lambda: screen.shows("set of ipv4_addr   2 elements") and screen.shows("10.0.0.7"))
        screen.key("jjjje")  # the next rule
        poll(lambda: screen.shows("map of inet_service : verdict   3 elements") and screen.shows("→ ssh"))
        assert screen.quit() == 0


def test_devices_and_ranges_of_ports_are_found_in_sets(lab: Lab, broker: Broker) -> None:
    ns = lab.netns("found")
    sets = "set nics { type ifname; elements = { eth7, wg0 }; }; set ports { type inet_service; flags interval; "
    sets += "elements = { 100-200, 443 }; }; set both { type ifname . inet_service; elements = { lan9 . 22 }; }"
    rules = "iifname @nics accept; tcp dport @ports accept; iifname . tcp dport @both drop; tcp dport 22 drop"
    head = "type filter hook input priority 0"
    run_in(ns, "nft", "-f", "-", stdin=f"table inet t {{ {sets}\nchain c {{ {head}; {rules}; }}\n}}")
    with closing(LiveSession(broker, ns)) as session:
        chain_rules = rule_with(session, "@nics accept", "t"), rule_with(session, "@ports", "t")
        assert all(row.reads for row in chain_rules)
        idents = [row.ident for row in rows(session) if row.ident > 0]
        for text, numbers in {
            "eth7": {1}, "dev wg0": {1}, "eth9": set(), "150-160": {2}, "190-300": {2}, "300-400": set(),
            "lan9": {3}, "22": {3, 4}, "443": {2}, "drop": {3, 4},
        }.items():  # fmt: skip
            hits, unsearched = searched(session, text)
            assert ({idents.index(hit.rule) + 1 for hit in hits}, list(unsearched)) == (numbers, []), text
