"""The ruleset's picture from dumps and texts: joins, order, rates, what is stale, and what both tables show."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nettop.batch import DumpMark, Gap, Text
from nettop.decode.nftables.decoder import NftDecoded, RuleBlock
from nettop.decode.nftables.objects import Generation, NftChain, NftTable
from nettop.decode.nftables.rules import NftRule, Rules
from nettop.headless.rule_listing import lines
from nettop.kinds import GapReason, TextKind
from nettop.model.filter.expression import Fields, parse
from nettop.model.ruleset.chain_table import ChainTable
from nettop.model.ruleset.find import RuleFinder
from nettop.model.ruleset.hooks import priority_name
from nettop.model.ruleset.rule_table import RuleTable
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.selection import RuleQuery
from nettop.model.table import SortKey, ViewSpec

S = 1_000_000_000
T0 = 1_000 * S


def base(table: str, name: str, hook: str = "forward", priority: int = 0, **more: object) -> NftChain:
    made = NftChain(
        "inet", table, name, 1, 1, hook, priority, "filter", "drop", ("base",), (), None, None, None
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def user(table: str, name: str, **more: object) -> NftChain:
    made = base(table, name, hook=None, priority=None, type=None, policy=None, flags=())  # type: ignore[arg-type]
    return replace(made, **more)  # type: ignore[arg-type]


def rule(chain: str, handle: int, *targets: str, table: str = "fw", family: str = "inet") -> NftRule:
    verdicts = ("jump",) if targets else ("accept",)
    return NftRule(family, table, chain, handle, None, verdicts, targets)


class Feed:
    """A Ruleset with the dumps and texts that reach it."""

    def __init__(self) -> None:
        self.ruleset = Ruleset("gw")
        self.chains = ChainTable(self.ruleset)
        self.finder = RuleFinder(self.ruleset, self.chains.order)
        self.rules = RuleTable(self.ruleset, self.chains, self.finder)

    def dump(self, what: str, decoded: NftDecoded, ts_ns: int, complete: bool = True) -> None:
        self.ruleset.apply(DumpMark(1, 0, ts_ns, what, begin=True), ts_ns)
        self.ruleset.apply(decoded, ts_ns)
        self.ruleset.apply(DumpMark(1, 0, ts_ns, what, begin=False, complete=complete), ts_ns)

    def layout(self, chains: list[NftChain], ts_ns: int = T0) -> None:
        tables = {(c.family, c.table): NftTable(c.family, c.table, (), 1, None, None) for c in chains}
        self.dump("nft-tables", NftDecoded(1, tables=list(tables.values())), ts_ns)
        self.dump("nft-chains", NftDecoded(1, chains=chains), ts_ns)
        self.dump("nft-objects", NftDecoded(1), ts_ns)

    def poll(
        self, rules: tuple[NftRule, ...], packets: list[int | None], ts_ns: int, complete: bool = True, of: str = ""
    ) -> None:
        counted = np.array([value is not None for value in packets], dtype=np.bool_)
        values = np.array([value or 0 for value in packets], dtype=np.uint64)
        block = RuleBlock(Rules(rules), counted, values, values * np.uint64(100))
        self.dump(f"nft-rules {of}".strip(), NftDecoded(1, blocks=[block]), ts_ns, complete)

    def text(self, what: TextKind, body: str, ts_ns: int = T0, error: str = "") -> None:
        self.ruleset.apply(Text(2, 0, ts_ns, what, body.encode(), error), ts_ns)

    def texts(self, listing: str = "", save: str = "", ts_ns: int = T0) -> None:
        self.text(TextKind.NFT_RULESET, listing, ts_ns)
        self.text(TextKind.IPTABLES_SAVE, save, ts_ns)
        self.text(TextKind.IP6TABLES_SAVE, "", ts_ns)

    def shown(self, now_ns: int, **spec: object) -> list[dict[str, str]]:
        columns = tuple(column.key for column in self.rules.columns)
        rows = self.rules.snapshot(ViewSpec(columns, **spec), now_ns).rows  # type: ignore[arg-type]
        shown = [dict(zip(columns, row.cells, strict=True)) for row in rows]
        return [row for row in shown if not row["number"].lstrip().startswith(("▾", "▸"))]  # without headings

    def objects(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in lines(self.ruleset, "gw", json=True)]


RULES = (rule("fwd", 4), rule("fwd", 5, "lan"), rule("fwd", 6, "lan"), rule("lan", 9, "blocked"), rule("blocked", 17))
CHAINS = [base("fw", "fwd"), user("fw", "lan"), user("fw", "blocked"), user("fw", "lonely", use=0)]


@pytest.fixture
def feed() -> Feed:
    made = Feed()
    made.layout(CHAINS)
    return made


def test_user_chains_are_nested_below_the_first_rule_that_jumps_there(feed: Feed) -> None:
    feed.poll(RULES, [1, 2, 3, 4, 5], T0)
    rows = [(row["chain"], row["number"]) for row in feed.shown(T0)]
    assert rows == [
        ("fwd", "1"), ("fwd", "2"), ("  lan", "1"), ("    blocked", "1"), ("fwd", "3"), ("fwd", "policy"),
    ]  # fmt: skip


def test_chains_that_jump_in_a_circle_end(feed: Feed) -> None:
    feed.poll((rule("fwd", 1, "lan"), rule("lan", 2, "blocked"), rule("blocked", 3, "lan")), [None] * 3, T0)
    assert len(feed.shown(T0)) == 4


def test_a_table_of_iptables_may_have_chains_of_nft_that_jump_to_those_of_iptables(feed: Feed) -> None:
    of = {"family": "ip", "table": "filter"}
    early = base("filter", "early", priority=-5, family="ip")
    chains = [base("filter", "FORWARD", family="ip"), early, user("filter", "DOCKER-USER", family="ip", use=2)]
    feed.layout(chains)
    feed.poll((rule("early", 1, "DOCKER-USER", **of), rule("DOCKER-USER", 2, **of)), [None, None], T0)
    backends = {chain.name: chain.backend for chain in feed.ruleset.picture.chains}
    assert backends == {"FORWARD": "iptables-nft", "early": "nft", "DOCKER-USER": "iptables-nft"}
    rows = [(row["chain"], row["number"]) for row in feed.shown(T0)]
    assert rows[:2] == [("early", "1"), ("  DOCKER-USER", "1")]
    query = RuleQuery(tables=("ip filter",))
    found = [json.loads(line) for line in lines(feed.ruleset, "gw", True, query)]
    assert {row["chain"] for row in found if row["kind"] == "chain"} == backends.keys()
    assert [row["backend"] for row in found if row["kind"] == "table"] == ["iptables-nft"]
    assert [row["jumps"] for row in found if row.get("handle") == 1 and row["kind"] == "rule"] == [["DOCKER-USER"]]


def test_chains_that_only_jump_to_each_other_are_shown_and_not_as_reached(feed: Feed) -> None:
    feed.layout([base("fw", "fwd"), *(user("fw", name, use=2) for name in ("a", "b", "own"))])
    rules = (rule("fwd", 1), rule("a", 2, "b"), rule("b", 3, "a"), rule("own", 4, "own"))
    feed.poll(rules, [None] * 4, T0)
    names = [feed.ruleset.picture.chains[at].name for at in feed.chains.order()]
    assert names == ["fwd", "a", "own"]
    printed = list(lines(feed.ruleset, "gw", json=False))
    assert printed[printed.index("not reached by any hook") + 1].startswith("  inet fw a ")
    assert sum("# handle" in line for line in printed) == 4
    assert len(feed.finder.every()) == 4


def test_rates_shares_and_the_last_minute_come_from_successive_polls(feed: Feed) -> None:
    feed.poll(RULES, [100, 0, 0, 0, 0], T0)
    feed.poll(RULES, [160, 20, 0, 0, None], T0 + 2 * S)
    first, second, *_ = rows = feed.shown(T0 + 2 * S)
    assert (first["rate"], first["share"], first["packets"], first["bytes"]) == ("30", "75.0%", "160", "16.0k")
    assert (second["rate"], second["share"]) == ("10", "25.0%")
    assert first["minute"].strip() and not rows[4]["minute"].strip()


def test_a_rule_that_never_moved_says_for_how_long_it_was_watched(feed: Feed) -> None:
    feed.poll(RULES, [5, 0, 0, 0, None], T0)
    feed.poll(RULES, [6, 0, 0, 0, None], T0 + S)
    rows = feed.shown(T0 + 41 * 60 * S)
    assert (rows[0]["note"], rows[1]["note"]) == ("", "never hit")
    assert (rows[3]["note"], rows[3]["packets"]) == ("no counter: t traces", "–")


def test_a_rule_with_hits_before_it_was_watched_did_not_never_match(feed: Feed) -> None:
    feed.poll(RULES, [5, 3, 0, 0, None], T0)
    feed.poll(RULES, [6, 3, 0, 0, None], T0 + S)
    assert [row["note"] for row in feed.shown(T0 + 42 * S)[:2]] == ["", "no hits in 42s"]


def shares_of(feed: Feed, rules: tuple[NftRule, ...], packets: list[int | None], policy: int = 0) -> list[str]:
    feed.layout([replace(chain, packets=policy, bytes=0) if chain.policy else chain for chain in CHAINS])
    feed.poll(rules, packets, T0)
    return [row["share"] for row in feed.shown(T0)]


def test_the_share_is_the_part_of_what_entered_the_chain(feed: Feed) -> None:
    passed = replace(RULES[0], handle=2, verdicts=())
    ended = replace(RULES[0], handle=3, verdicts=("drop",))
    assert shares_of(feed, (passed, ended, RULES[1]), [100, 40, 10]) == ["100%", "40.0%", "10.0%", "0%"]
    without = (passed, ended, RULES[0])
    assert shares_of(Feed(), without, [None, 40, 10], policy=50) == ["", "40.0%", "10.0%", "50.0%"]


def test_the_share_in_a_user_chain_is_of_what_jumped_there(feed: Feed) -> None:
    logged = replace(rule("lan", 9), verdicts=())
    assert shares_of(feed, (RULES[1], RULES[2], logged), [30, 10, 10]) == ["100%", "25.0%", "33.3%", "0%"]


def test_a_counter_before_a_condition_does_not_count_what_the_rule_ends(feed: Feed) -> None:
    first = replace(RULES[0], counts_matches=False)
    assert shares_of(feed, (first, replace(RULES[0], handle=6)), [100, 95])[:2] == ["100%", "95.0%"]


def test_nat_chains_run_at_the_priority_of_nat_whatever_their_own(feed: Feed) -> None:
    feed.layout([
        base("fw", "filter60", "prerouting", -60), base("fw", "nat50", "prerouting", -50, type="nat"),
        base("fw", "nat40", "prerouting", -40, type="nat"), base("fw", "raw", "prerouting", -300),
        base("fw", "same", "prerouting", -100),
    ])  # fmt: skip
    rows = feed.chains.snapshot(ViewSpec(("chain", "priority"), height=9), T0).rows
    assert [row.cells for row in rows] == [
        ("raw", "-300 raw"), ("same", "-100 dstnat ?"), ("nat50", "-50 at -100 ?"), ("nat40", "-40 at -100 ?"),
        ("filter60", "-60"),
    ]  # fmt: skip


def test_bridge_and_arp_are_paths_of_their_own(feed: Feed) -> None:
    feed.layout([
        base("t", "ip", "forward", 0), base("t", "pre", "prerouting", 0, family="ip"),
        base("t", "b", "forward", -200, family="bridge"), base("t", "a", "input", 0, family="arp"),
        base("t", "in", "ingress", 0, family="netdev"), base("t", "out", "egress", 0, family="netdev"),
    ])  # fmt: skip
    rows = feed.chains.snapshot(ViewSpec(("chain",), height=9), T0).rows
    assert [row.cells[0] for row in rows] == ["in", "b", "a", "pre", "ip", "out"]
    titles = [line for line in lines(feed.ruleset, "gw", json=False) if not line.startswith(" ")]
    assert titles == ["netdev ingress", "bridge forward", "arp input", "prerouting", "forward", "netdev egress"]


def test_a_dormant_tables_chains_do_not_run_and_tie_with_none() -> None:
    feed = Feed()
    feed.layout([base("fw", "a"), base("sleepy", "b")])
    tables = [NftTable("inet", name, flags, 1, None, None) for name, flags in (("fw", ()), ("sleepy", ("dormant",)))]
    feed.dump("nft-tables", NftDecoded(1, tables=tables), T0)
    first, second = feed.chains.snapshot(ViewSpec(("chain", "priority", "type"), height=9), T0).rows
    assert first.cells == ("a", "0 filter", "filter") and second.cells == ("b", "0 dormant", "filter")
    assert set(second.roles) == {"dim"} and "dim" not in first.roles
    text = list(lines(feed.ruleset, "gw", json=False))
    assert "dormant tables: these chains do not run" in text and not any("?" in line for line in text)


def test_ties_are_marked_in_text_and_tables_without_chains_named() -> None:
    feed = Feed()
    feed.layout([base("fw", "a"), base("fw", "b")])
    tables = [NftTable("inet", "fw", (), 1, None, None), NftTable("ip", "sets", (), 2, None, None)]
    feed.dump("nft-tables", NftDecoded(1, tables=tables), T0)
    text = list(lines(feed.ruleset, "gw", json=False))
    assert sum("priority 0 filter ?" in line for line in text) == 2 and text[-1].startswith("?  ")
    assert text[text.index("tables without chains") + 1] == "  ip sets"
    assert [o["table"] for o in feed.objects() if o["kind"] == "table"] == ["fw", "sets"]
    notes = feed.chains.snapshot(ViewSpec(("chain",)), T0).notes
    assert any("Tables without chains: ip sets" in text for line in notes for text, _ in line)


def test_a_counter_that_was_reset_counts_from_zero(feed: Feed) -> None:
    feed.poll(RULES, [1_000, 0, 0, 0, 0], T0)
    feed.poll(RULES, [10, 0, 0, 0, 0], T0 + S)
    assert feed.shown(T0 + S)[0]["rate"] == "10"


def test_the_largest_counters_keep_every_digit(feed: Feed) -> None:
    feed.poll(RULES, [2**64 - 1, 2**53 + 1, 0, 0, 0], T0)
    packets = [o["packets"] for o in feed.objects() if o["kind"] == "rule" and o["chain"] == "fwd"]
    assert packets[:2] == [2**64 - 1, 2**53 + 1]


def test_an_incomplete_dump_changes_nothing(feed: Feed) -> None:
    feed.poll(RULES, [1, 2, 3, 4, 5], T0)
    feed.poll(RULES[:1], [9], T0 + S, complete=False)
    assert len(feed.ruleset.picture.rules) == 5 and feed.shown(T0 + S)[0]["packets"] == "1"


def interrupted(feed: Feed, rules: tuple[NftRule, ...], packets: list[int], ts_ns: int) -> None:
    values = np.array(packets, dtype=np.uint64)
    block = RuleBlock(Rules(rules), np.ones(len(rules), np.bool_), values, values)
    feed.ruleset.apply(DumpMark(1, 0, ts_ns, "nft-rules", begin=True), ts_ns)
    feed.ruleset.apply(NftDecoded(1, blocks=[block]), ts_ns)
    feed.ruleset.apply(DumpMark(1, 0, ts_ns, "nft-rules", begin=False, interrupted=True), ts_ns)


def test_a_dump_of_a_ruleset_that_changes_is_used_when_there_is_no_other_and_called_incomplete(feed: Feed) -> None:
    interrupted(feed, (RULES[0], RULES[0], RULES[1]), [7, 7, 8], T0)
    numbers = [(o["number"], o["packets"]) for o in feed.objects() if o["kind"] == "rule" and o["chain"] == "fwd"]
    assert numbers[:2] == [(1, 7), (2, 8)]  # the rule that the dump has twice is one
    feed.texts()
    assert feed.ruleset.raw.interrupted and not feed.ruleset.is_whole
    feed.poll(RULES, [1, 2, 3, 4, 5], T0 + S // 2)
    interrupted(feed, RULES[:1], [9], T0 + S)
    assert len(feed.ruleset.picture.rules) == 5 and not feed.ruleset.raw.interrupted
    assert [row["packets"] for row in feed.shown(T0 + S)][:2] == ["9", "2"], "the counters that it has"
    interrupted(feed, RULES[:1], [9], T0 + 3 * S)
    assert len(feed.ruleset.picture.rules) == 5, "no event is missing: tables that change are read by themselves"
    feed.ruleset.apply(Gap(3, 0, 5, GapReason.KERNEL, T0, T0 + 4 * S), T0 + 4 * S)
    interrupted(feed, RULES[:1], [9], T0 + 5 * S)
    assert len(feed.ruleset.picture.rules) == 1


TABLED = "table inet fw {{ # handle {0}\n\tchain fwd {{ # handle 1\n\t\t{1} # handle 4\n\t}}\n}}\n"


def test_a_table_that_was_made_again_has_no_words_of_the_one_before(feed: Feed) -> None:
    feed.poll(RULES[:1], [0], T0)
    feed.texts(TABLED.format(1, "udp dport 1 accept"))
    assert [r.text for r in feed.ruleset.picture.rules] == ["udp dport 1 accept"]
    again = NftTable("inet", "fw", (), 2, None, None)
    feed.dump("nft-tables", NftDecoded(1, tables=[again]), T0 + S)
    feed.poll(RULES[:1], [0], T0 + S)
    assert [r.text for r in feed.ruleset.picture.rules] == [None]
    feed.texts(TABLED.format(2, "udp dport 2 accept"), ts_ns=T0 + 2 * S)
    assert [r.text for r in feed.ruleset.picture.rules] == ["udp dport 2 accept"]


def test_words_of_a_table_made_again_while_it_was_dumped_are_not_shown(feed: Feed) -> None:
    again = NftTable("inet", "fw", (), 2, None, None)
    feed.poll(RULES[:1], [0], T0)  # after the tables of `layout`, whose handle is 1
    feed.texts(TABLED.format(1, "udp dport 1 accept"))
    feed.dump("nft-tables", NftDecoded(1, tables=[again]), T0 + 1)
    assert [r.text for r in feed.ruleset.picture.rules] == [None]
    feed.texts(TABLED.format(2, "udp dport 2 accept"), ts_ns=T0 + 2)
    assert [r.text for r in feed.ruleset.picture.rules] == [None]  # the rules may still be those of table 1
    feed.poll(RULES[:1], [0], T0 + S)
    assert [r.text for r in feed.ruleset.picture.rules] == ["udp dport 2 accept"]


def test_words_that_are_older_than_the_ruleset_are_right_and_called_stale(feed: Feed) -> None:
    feed.poll(RULES[:1], [0], T0)
    feed.texts(TABLED.format(1, "udp dport 1 accept"))
    stale = [(o["text"], o["stale"]) for o in feed.objects() if o["kind"] == "rule" and o["number"]]
    assert stale == [("udp dport 1 accept", False)]
    feed.poll((rule("fwd", 99), RULES[0]), [0, 0], T0 + S)
    stale = [(o["text"], o["stale"]) for o in feed.objects() if o["kind"] == "rule" and o["number"]]
    assert stale == [(None, False), ("udp dport 1 accept", True)]


def test_the_words_of_iptables_are_joined_by_the_handles_in_the_text() -> None:
    feed = Feed()
    feed.layout([base("filter", "INPUT", "input", family="ip", policy="accept")])
    rules = tuple(rule("INPUT", handle, table="filter", family="ip") for handle in (7, 8, 9))
    feed.poll(tuple(replace(one, extensions=("string",)) for one in rules), [0, 0, 0], T0)
    line = '# nettop {"handles": {"filter": {"handle": 1, "chains": {"INPUT": [7, 9]}}}, "failures": ["it broke"]}\n'
    feed.texts(save=line + SAVE.format("-p udp"))
    assert [r.text for r in feed.ruleset.picture.rules] == ["-p tcp -j ACCEPT", None, "-p udp -j ACCEPT"]
    assert feed.ruleset.texts.failures() == ["it broke"]
    other = (replace(rules[0], extensions=("string",), verdicts=("drop",)), *rules[1:])
    feed.poll(other, [0, 0, 0], T0 + S)
    assert feed.ruleset.picture.rules[0].text is None  # words with another verdict are of another rule


def test_rules_keep_their_identity_and_history_when_others_come_and_go(feed: Feed) -> None:
    feed.poll(RULES, [100, 0, 0, 0, 0], T0)
    feed.poll(RULES, [200, 0, 0, 0, 0], T0 + S)
    ident = feed.ruleset.picture.rules[0].ident
    feed.poll((rule("fwd", 99), *RULES), [0, 300, 0, 0, 0, 0], T0 + 2 * S)
    assert feed.ruleset.picture.rules[1].ident == ident
    rows = feed.shown(T0 + 2 * S)
    assert (rows[0]["handle"], rows[0]["rate"]) == ("99", "–")
    assert (rows[1]["handle"], rows[1]["rate"]) == ("4", "100")


def test_text_is_wanted_at_first_after_a_change_and_not_again_after_an_error(feed: Feed) -> None:
    assert feed.ruleset.wants_text()
    feed.texts()
    assert not feed.ruleset.wants_text()
    feed.ruleset.apply(NftDecoded(3, 0, generations=[Generation(7, 41, "nft", T0 + S)]), T0 + S)
    assert feed.ruleset.wants_text() and feed.ruleset.dumps.are_old()
    for kind in (TextKind.NFT_RULESET, TextKind.IPTABLES_SAVE, TextKind.IP6TABLES_SAVE):
        feed.text(kind, "", T0 + 2 * S, error="nft timed out")
    assert not feed.ruleset.wants_text() and feed.ruleset.stale()


def test_only_the_chains_with_other_words_are_joined_again(feed: Feed) -> None:
    listing = "table inet fw { # handle 1\n\tchain %s { # handle 2\n\t\ttcp dport %d accept # handle %d\n\t}\n}\n"
    feed.poll(RULES, [None] * 5, T0)
    feed.texts(listing % ("fwd", 22, 4) + listing % ("lan", 80, 9))
    before = list(feed.ruleset.picture.rules)
    assert (before[0].text, before[3].text) == ("tcp dport 22 accept", "tcp dport 80 accept")
    feed.texts(listing % ("fwd", 22, 4) + listing % ("lan", 443, 9), ts_ns=T0 + S)
    after = feed.ruleset.picture.rules
    assert after[3].text == "tcp dport 443 accept"
    assert [old is new for old, new in zip(before, after, strict=True)] == [True, True, True, False, True]


def test_a_change_nobody_announced_is_noticed_by_the_dump(feed: Feed) -> None:
    feed.poll(RULES, [None] * 5, T0)
    feed.texts()
    feed.poll((*RULES, rule("lan", 99)), [None] * 6, T0 + S)
    assert {table for _, table in feed.ruleset.texts.wanted()} == {("inet", "fw")}
    feed.texts(ts_ns=T0 + 2 * S)
    assert not feed.ruleset.wants_text()
    feed.poll(RULES, [None] * 5, T0 + 3 * S)
    assert not feed.ruleset.wants_text(), "the words of those that are left are known"


def test_a_table_that_goes_or_comes_without_an_event_makes_no_other_words_old(feed: Feed) -> None:
    """The kernel removes the table of a program that has ended (nettop's own, after a trace) without an event."""
    kept, new = base("fw", "forward"), base("other", "input", "input")
    feed.layout([kept, base("nettop-7-ab", "mark", "prerouting", -500)])
    feed.poll(RULES, [None] * 5, T0)
    feed.texts()
    feed.layout([kept], T0 + S)
    assert not feed.ruleset.wants_text() and not feed.ruleset.stale()
    feed.layout([kept, new], T0 + 2 * S)
    assert {table for _, table in feed.ruleset.texts.wanted()} == {("inet", "other")}
    feed.texts(ts_ns=T0 + 3 * S)
    feed.layout([replace(kept, policy="accept"), new], T0 + 4 * S)
    assert {table for _, table in feed.ruleset.texts.wanted()} == {("inet", "fw")}


SAVE = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
[1:2] -A INPUT -p tcp -j ACCEPT
[0:0] -A INPUT {} -j ACCEPT
COMMIT
"""


def test_iptables_words_are_joined_by_position_only_with_a_text_of_the_same_ruleset() -> None:
    feed = Feed()
    chain = base("filter", "INPUT", "input", family="ip", policy="accept")
    feed.layout([chain])
    rules = (rule("INPUT", handle, table="filter", family="ip") for handle in (1, 2, 3))
    one, two, three = (replace(one, printable=True) for one in rules)
    feed.poll((one, two), [0, 0], T0)
    feed.texts(save=SAVE.format("-p udp"))
    assert [r.text for r in feed.ruleset.picture.rules] == ["-p tcp -j ACCEPT", "-p udp -j ACCEPT"]
    assert [c.name for c in feed.ruleset.picture.chains] == ["INPUT"]
    feed.poll((two, three), [0, 0], T0 + S)
    assert [r.text for r in feed.ruleset.picture.rules] == ["-p udp -j ACCEPT", None]
    feed.texts(save=SAVE.format("-p sctp"), ts_ns=T0 + 2 * S)
    assert [r.text for r in feed.ruleset.picture.rules] == ["-p tcp -j ACCEPT", "-p sctp -j ACCEPT"]
    assert feed.ruleset.picture.chains[0].backend == "iptables-nft"


def test_a_table_named_like_iptables_but_unlike_it_is_nfts() -> None:
    feed = Feed()
    feed.layout([base("filter", "input", "input", family="ip")])
    assert feed.ruleset.picture.chains[0].backend == "nft"


LEGACY = "*filter\n:INPUT ACCEPT [{0}:{1}]\n:lan - [0:0]\n[{0}:{1}] -A INPUT -j lan\n[0:0] -A lan -j DROP\nCOMMIT\n"


def test_legacy_tables_have_fixed_places_and_rates_from_their_texts() -> None:
    feed = Feed()
    assert not feed.ruleset.has_legacy()
    feed.text(TextKind.IPTABLES_LEGACY_SAVE, LEGACY.format(10, 100), T0)
    feed.text(TextKind.IPTABLES_LEGACY_SAVE, LEGACY.format(50, 500), T0 + 4 * S)
    assert feed.ruleset.has_legacy()
    rows = feed.shown(T0 + 4 * S)
    assert [(row["chain"], row["rate"], row["handle"]) for row in rows] == [
        ("INPUT", "10", "–"), ("  lan", "0", "–"), ("INPUT", "10", ""),
    ]  # fmt: skip
    chain = next(o for o in feed.objects() if o["kind"] == "chain")
    assert (chain["hook"], chain["priority"], chain["priority_name"]) == ("input", 0, "filter")
    assert (chain["policy"], chain["backend"], chain["packets"]) == ("accept", "iptables-legacy", 50)


def test_chains_stand_in_the_order_a_packet_meets_them_and_ties_are_marked() -> None:
    feed = Feed()
    chains = [
        base("fw", "post", "postrouting", 100), base("fw", "fwd"), base("fw", "in", "input"),
        base("fw", "fwd2"), base("nd", "ing", "ingress", -500, family="netdev", devices=("lo",)),
        base("fw", "early", "forward", -150),
    ]  # fmt: skip
    feed.layout(chains)
    rows = feed.chains.snapshot(ViewSpec(("priority", "hook", "chain", "device")), T0).rows
    assert [row.cells for row in rows] == [
        ("-500", "ingress", "ing", "lo"),
        ("0 filter", "input", "in", ""),
        ("-150 mangle", "forward", "early", ""),
        ("0 filter ?", "forward", "fwd", ""),
        ("0 filter ?", "forward", "fwd2", ""),
        ("100 srcnat", "postrouting", "post", ""),
    ]


def test_chains_of_families_that_never_meet_are_no_tie() -> None:
    feed = Feed()
    feed.layout([base("a", "x", family="ip"), base("b", "y", family="ip6")])
    rows = feed.chains.snapshot(ViewSpec(("priority",)), T0).rows
    assert [row.cells for row in rows] == [("0 filter",), ("0 filter",)]


def test_a_user_chain_no_rule_reaches_is_listed_last(feed: Feed) -> None:
    feed.poll(RULES, [None] * 5, T0)
    rows = feed.chains.snapshot(ViewSpec(("hook", "chain", "rules")), T0).rows
    assert [row.cells for row in rows] == [("forward", "fwd", "5"), ("(no jump)", "lonely", "0")]
    assert {o["chain"] for o in feed.objects() if o["kind"] == "chain"} == {"fwd", "lan", "blocked", "lonely"}


@pytest.mark.parametrize(
    ("family", "hook", "priority", "name"),
    [
        ("ip", "prerouting", -300, "raw"),
        ("ip", "postrouting", 100, "srcnat"),
        ("inet", "forward", 5, "filter + 5"),
        ("inet", "forward", 11, None),
        ("inet", "forward", 100, None),
        ("bridge", "forward", -200, "filter"),
        ("bridge", "prerouting", -300, "dstnat"),
        ("bridge", "output", 100, "out"),
        ("bridge", "forward", 0, None),
        ("arp", "input", -1, "filter - 1"),
        ("netdev", "ingress", -300, None),
    ],
)
def test_priorities_have_the_names_of_their_family(family: str, hook: str, priority: int, name: str | None) -> None:
    assert priority_name(family, hook, priority) == name


def test_rules_sort_by_a_counter_with_the_unknown_last_and_the_cursor_is_found(feed: Feed) -> None:
    feed.poll(RULES, [5, 50, None, 7, 6], T0)
    ident = feed.ruleset.picture.rules[0].ident
    spec = ViewSpec(("packets",), sort=(SortKey("packets"),), anchor=ident)
    shown = feed.rules.snapshot(spec, T0)
    assert [row.cells[0] for row in shown.rows] == ["50", "7", "6", "5", "–", "–"]
    assert shown.anchor == 3
    upwards = feed.rules.snapshot(replace(spec, sort=(SortKey("packets", False),)), T0)
    assert [row.cells[0] for row in upwards.rows] == ["5", "6", "7", "50", "–", "–"]


def test_a_frozen_order_stays_while_counters_move(feed: Feed) -> None:
    spec = ViewSpec(("handle",), sort=(SortKey("packets"),))
    feed.poll(RULES, [5, 4, 3, 2, 1], T0)
    before = [row.ident for row in feed.rules.snapshot(spec, T0).rows]
    feed.poll(RULES, [5, 4, 3, 2, 100], T0 + S)
    assert [row.ident for row in feed.rules.snapshot(replace(spec, frozen=True), T0).rows] == before
    assert [row.ident for row in feed.rules.snapshot(spec, T0).rows] != before


def test_only_the_window_asked_for_is_given(feed: Feed) -> None:
    feed.poll(RULES, [1] * 5, T0)
    shown = feed.rules.snapshot(ViewSpec(("handle",), first=1, height=2), T0)
    assert [row.cells[0] for row in shown.rows] == ["5", ""], "a rule and the heading of the chain it jumps to"
    assert (shown.first, shown.matched, shown.total) == (1, 8, 8)
    assert feed.rules.snapshot(ViewSpec(("handle",), first=99, height=2), T0).first == 6


def test_a_scope_that_is_gone_says_what_to_do(feed: Feed) -> None:
    shown = feed.rules.snapshot(ViewSpec(("handle",), scope=12345), T0)
    assert shown.rows == () and "Choose a chain" in shown.notes[0][0][0]


def test_details_tell_rule_policy_and_chain(feed: Feed) -> None:
    feed.poll(RULES, [1] * 5, T0)
    feed.texts('table inet fw {\n\tchain fwd {\n\t\tcounter packets 1 bytes 2 comment "\x1b[2J" # handle 4\n\t}\n}\n')
    shown = feed.rules.snapshot(ViewSpec(("handle",)), T0)
    told = feed.rules.detail(shown.rows[0].ident, T0)
    assert told is not None
    words = "\n".join(text for line in told.lines for text, _ in line)
    assert 'counter comment "\\x1b[2J"' in words and "1 packet, 100 bytes" in words and "\x1b" not in words
    policy = feed.rules.detail(shown.rows[-1].ident, T0)
    assert policy is not None and policy.title[0][0] == "inet fw fwd"
    assert feed.rules.detail(99_999, T0) is None and feed.chains.detail(99_999, T0) is None


def test_what_can_be_asked_of_chains_and_rules_finds_them(feed: Feed) -> None:
    feed.layout([base("fw", "fwd"), base("raw", "pre", "prerouting", -300)])
    feed.poll((rule("fwd", 4), rule("fwd", 5)), [0, 7], T0)

    scope = feed.chains.snapshot(ViewSpec(("chain",)), T0).rows[-1].ident

    def found(model: ChainTable | RuleTable, kind: str, key: str, text: str) -> list[str]:
        shown = model.snapshot(ViewSpec((key,), filter=parse(text, kind), scope=scope), T0)
        return [row.cells[0] for row in shown.rows]

    for text in ("priority < 0", "hook prerouting", "table raw"):
        assert found(feed.chains, "chain", "chain", text) == ["pre"], text
    for text in ("handle 5", "packets > 0"):
        assert found(feed.rules, "rule", "handle", text) == ["5"], text


def test_one_is_said_in_the_singular(feed: Feed) -> None:
    feed.layout([base("fw", "fwd")])
    feed.poll((rule("fwd", 4),), [1], T0)
    shown = feed.chains.snapshot(ViewSpec(("chain",)), T0)
    assert "".join(text for text, _ in shown.totals).startswith("1 base chain, 0 user chains   1 rule")


def test_json_has_the_keys_of_the_contract(feed: Feed) -> None:
    feed.poll(RULES, [1, None, 3, 4, 5], T0)
    keys = {"kind", "netns", "family", "table", "chain", "hook", "priority", "priority_name", "device", "policy"}
    objects = [o for o in feed.objects() if o["kind"] != "table"]
    assert all(next(iter(o)) == "kind" and keys <= set(o) for o in objects)
    rules = [o for o in objects if o["kind"] == "rule"]
    assert all({"number", "handle", "text", "comment", "packets", "bytes", "backend"} <= set(o) for o in rules)
    assert all({"verdict", "jumps", "sets", "stale"} <= set(o) for o in rules)
    policy = [o for o in rules if o["number"] is None]
    assert [(o["chain"], o["policy"], o["packets"]) for o in policy] == [("fwd", "drop", None)]
    assert [o["number"] for o in rules if o["chain"] == "fwd"] == [1, 2, 3, None]


def test_lines_of_rules_are_as_json_writes_them_whatever_is_in_the_names() -> None:
    feed, evil = Feed(), '"\\\n\x1b\u2028é {}%'
    feed.layout([base(evil, evil, devices=(evil,)), user(evil, "b")])
    more = {"comment": evil, "verdicts": ("drop",), "sets": ("a", "__set1", evil), "counters": 1}
    feed.poll((replace(rule(evil, 1, "b", table=evil), **more), rule(evil, 2, table=evil)), [2**64 - 1, None], T0)  # type: ignore[arg-type]
    feed.texts(
        f"table inet {evil} {{ # handle 1\n\tchain {evil} {{\n\t\tcounter packets 1 bytes 2 # handle 2\n\t}}\n}}\n"
    )
    found = [line for line in lines(feed.ruleset, evil, json=True) if '"kind": "rule"' in line]
    assert found == [json.dumps(json.loads(line)) for line in found]
    assert len({tuple(json.loads(line)) for line in found}) == 1 and len(found) == 3
    first = json.loads(found[0])
    assert (first["comment"], first["sets"], first["jumps"]) == (evil, ["a", evil], ["b"])
    assert (first["netns"], first["table"], first["packets"]) == (evil, evil, 2**64 - 1)


@given(st.data())
def test_a_picture_joined_from_the_one_before_is_that_of_a_new_start(data: st.DataObject) -> None:
    changed, tables = Feed(), ("a", "filter")
    made = {(t, c, h): rule(c, h, table=t, family="ip") for t in tables for c in ("INPUT", "u") for h in range(1, 4)}
    for ts_ns in range(T0, T0 + data.draw(st.integers(2, 4)) * S, S):
        chains = [base(t, "INPUT", "input", family="ip") for t in data.draw(st.permutations(tables))]
        chains += [user(t, "u", family="ip") for t in data.draw(st.sets(st.sampled_from(tables)))]
        named = {(one.table, one.name) for one in chains}
        kept = data.draw(st.lists(st.sampled_from(sorted(made)), unique=True))
        rules = tuple(made[key] for key in kept if key[:2] in named)
        words = data.draw(st.sampled_from(("", "accept", "drop")))
        listing = "".join(
            f"table ip {t} {{ # handle 1\n\tchain {c} {{\n\t\t{words} # handle {h}\n\t}}\n}}\n" for t, c, h in kept[:1]
        )
        fresh = Feed()
        for feed in (changed, fresh):
            feed.layout(chains, ts_ns)
            feed.poll(rules, [1] * len(rules), ts_ns)
            if words:
                feed.texts(listing, ts_ns=ts_ns)
        latest, new = changed.ruleset.picture, fresh.ruleset.picture
        assert [replace(one, ident=0) for one in latest.chains] == [replace(one, ident=0) for one in new.chains]
        shown = [replace(one, ident=0, text="") for one in latest.rules]
        assert shown == [replace(one, ident=0, text="") for one in new.rules]
        known = [(one.text, other.text) for one, other in zip(latest.rules, new.rules, strict=True) if other.text]
        assert all(one == other for one, other in known)
        assert len({one.ident for one in latest.rules}) == len(latest.rules)
        assert (latest.raw_cells, latest.missing_texts <= new.missing_texts) == (new.raw_cells, True)


def test_a_change_of_one_chain_joins_no_rule_of_the_others_again(feed: Feed) -> None:
    feed.poll(RULES, [1, 2, 3, 4, 5], T0)
    before = feed.ruleset.picture.rules
    feed.poll((*RULES[:4], rule("blocked", 18)), [1, 2, 3, 4, 5], T0 + S)
    after = feed.ruleset.picture.rules
    assert [one is other for one, other in zip(before, after, strict=True)] == [True] * 4 + [False]


def test_names_from_the_host_never_reach_a_screen_raw() -> None:
    feed = Feed()
    evil = "\x1b]0;x\x07\u202e"
    feed.layout([base(evil, evil, comment=evil, devices=(evil,))])
    feed.poll((rule(evil, 1, table=evil),), [1], T0)
    feed.text(TextKind.NFT_RULESET, "", error=f"nft: {evil}")
    shown = [feed.chains.snapshot(ViewSpec(feed.chains.default_columns), T0)]
    shown.append(feed.rules.snapshot(ViewSpec(feed.rules.default_columns), T0))
    texts = [cell for one in shown for row in one.rows for cell in row.cells]
    texts += [text for one in shown for line in (one.totals, *one.notes) for text, _ in line]
    told = feed.chains.detail(shown[0].rows[0].ident, T0)
    assert told is not None
    texts += [text for line in (told.title, *told.lines) for text, _ in line]
    texts += list(lines(feed.ruleset, "", json=False))
    assert all(text.isprintable() for text in texts)


def test_a_rules_target_never_reaches_a_detail_raw() -> None:
    feed = Feed()
    feed.text(TextKind.IPTABLES_LEGACY_SAVE, "*filter\n:INPUT ACCEPT [1:1]\n[1:1] -A INPUT -j X\x1b[31m\nCOMMIT\n")
    for row in feed.rules.snapshot(ViewSpec(feed.rules.default_columns), T0).rows:
        told = feed.rules.detail(row.ident, T0)
        assert told is not None
        assert all(text.isprintable() for line in (told.title, *told.lines) for text, _ in line)


class Busy:
    """A display filter as the filter language gives it: rows that counted more than ten packets."""

    text = "packets > 10"

    def mask(self, fields: Fields) -> np.ndarray:
        values, present = fields.number("packets"), fields.present("packets")
        assert values is not None and present is not None and len(values) == fields.n
        return (values > 10) & present


def test_a_filter_lets_matching_rules_and_chains_through(feed: Feed) -> None:
    feed.poll(RULES, [5, 50, None, 70, 6], T0)
    spec = ViewSpec(("handle",), filter=Busy())  # type: ignore[arg-type]
    shown = feed.rules.snapshot(spec, T0)
    assert ([row.cells[0] for row in shown.rows], shown.matched, shown.total) == (["5", "9"], 2, 6)
    assert [row.cells for row in feed.chains.snapshot(replace(spec, columns=("chain",)), T0).rows] == [("fwd",)]


@pytest.mark.parametrize(
    ("text", "names"),
    [("verdict drop", ["fwd"]), ("verdict accept", ["fwd", "pre"]), ("chain blocked", ["fwd"]), ("packets > 50", [])],
)
def test_a_chain_is_shown_for_what_is_below_it(feed: Feed, text: str, names: list[str]) -> None:
    feed.layout([*CHAINS, base("fw", "pre", "prerouting", policy="accept")])
    feed.poll((*RULES[:4], replace(RULES[4], verdicts=("drop",))), [1, 2, 3, 4, 5], T0)
    shown = feed.chains.snapshot(ViewSpec(("chain",), filter=parse(text, "chain")), T0)
    assert sorted(row.cells[0] for row in shown.rows if row.cells[0] in ("fwd", "pre")) == names


def test_filter_words_are_the_chains_and_verdicts_of_each_row(feed: Feed) -> None:
    feed.poll(RULES, [1] * 5, T0)
    feed.rules.snapshot(ViewSpec(("handle",), filter=parse("packets > 0", "rule")), T0)
    fields = feed.rules.fields()
    for name, expected in (
        ("chain", ["fwd", "fwd", "lan", "blocked", "fwd", "fwd"]),
        ("verdict", ["accept", "jump lan", "jump blocked", "accept", "jump lan", "drop"]),
        ("netns", ["gw"] * 6),
    ):
        found = fields.words(name)
        assert found is not None and [found[1][code] for code in found[0]] == expected
    assert fields.words("process") is None and fields.number("mark") is None and fields.endpoints("any") == ()


def test_counters_of_rules_that_came_before_their_chain_are_not_lost() -> None:
    feed = Feed()
    feed.poll(RULES, [5, 6, 7, 8, 9], T0)
    feed.layout(CHAINS, T0 + S)
    assert [row["packets"] for row in feed.shown(T0 + S)][:2] == ["5", "6"]


def test_lost_announcements_ask_for_everything_again(feed: Feed) -> None:
    feed.poll(RULES, [1] * 5, T0)
    feed.texts()
    assert not feed.ruleset.wants_text() and not feed.ruleset.dumps.are_old()
    feed.ruleset.apply(Gap(3, 0, 2, GapReason.KERNEL, T0, T0 + S), T0 + S)
    assert feed.ruleset.wants_text() and feed.ruleset.dumps.are_old()


def test_a_chain_that_only_a_maps_elements_jump_to_is_no_unused_one() -> None:
    feed = Feed()
    feed.layout([base("fw", "fwd"), user("fw", "mapped", use=1), user("fw", "unused", use=0)])
    rows = feed.chains.snapshot(ViewSpec(("hook", "chain")), T0).rows
    assert [row.cells for row in rows[1:]] == [("(by a map)", "mapped"), ("(no jump)", "unused")]


def test_an_empty_ruleset_says_so() -> None:
    feed = Feed()
    assert "No chains" in feed.chains.snapshot(ViewSpec(("chain",)), T0).notes[0][0][0]
    assert list(lines(feed.ruleset, "", json=True)) == []
    assert len(list(lines(feed.ruleset, "", json=False))) == 1


def entered(feed: Feed, *packets: int | None, rules: tuple[NftRule, ...] = RULES, policy: int | None = None) -> str:
    """PACKETS of the first chain."""
    feed.layout([replace(chain, packets=policy, bytes=policy) if chain.policy else chain for chain in CHAINS])
    feed.poll(rules, [*packets], T0)
    return feed.chains.snapshot(ViewSpec(("packets",)), T0).rows[0].cells[0]


def test_a_packet_that_several_rules_counted_entered_the_chain_once() -> None:
    passed = tuple(replace(one, verdicts=(), targets=()) for one in RULES[:3])
    assert entered(Feed(), 100, 100, 90, rules=passed) == "≥100", "what no rule matched is not known"
    assert entered(Feed(), 100, 100, 90, rules=passed, policy=120) == "120", "the policy counted the rest"
    first = replace(passed[0], unconditional=True)
    assert entered(Feed(), 150, 100, 90, rules=(first, *passed[1:])) == "150"
    jumps = (RULES[0], *(replace(one, verdicts=("jump",)) for one in RULES[1:3]))
    assert entered(Feed(), 4, 20, 30, rules=jumps, policy=120) == "≥124", "lan may have ended some"
    assert entered(Feed(), None, None, None, rules=passed) == "–", "no counter: not known"
    assert entered(Feed(), 0, 0, 0, rules=passed) == "–", "at least 0 says nothing"
    assert entered(Feed(), None, 5, 5, rules=(RULES[0], *passed[1:]), policy=7) == "≥7", (
        "what the first ended is missing"
    )


def test_words_of_a_rule_without_a_condition_say_that_it_counts_all_that_comes() -> None:
    for words, total in (
        ("-A FORWARD -j lan", "9"), ('-A FORWARD -m comment --comment "a \\" -j b" -j lan', "9"),
        ("-A FORWARD", "9"), ("-A FORWARD -i eth0 -j lan", "≥9"), ('-A FORWARD -m comment --comment "-j x" -p 6', "≥9"),
    ):  # fmt: skip
        feed = Feed()
        rules = f"[9:9] {words}\n[7:7] -A FORWARD -p tcp -j lan\n[0:0] -A lan -j lan"
        saved = f"*filter\n:FORWARD DROP [0:0]\n:lan - [0:0]\n{rules}\nCOMMIT\n"
        feed.text(TextKind.IPTABLES_LEGACY_SAVE, saved)
        assert feed.chains.snapshot(ViewSpec(("packets",)), T0).rows[0].cells == (total,), words


def test_of_two_counters_the_first_of_which_counts_everything_the_last_is_shown() -> None:
    for counters, total in ((1, "9"), (2, "≥9")):
        feed, words = Feed(), "\t\tcounter ip saddr 10.0.0.1 counter accept # handle 4\n"
        feed.layout([base("fw", "fwd")])
        feed.poll((replace(RULES[0], counters=counters, counts_matches=False),), [9], T0)
        feed.texts(f"table inet fw {{ # handle 1\n\tchain fwd {{ # handle 1\n{words}\t}}\n}}\n")
        assert feed.chains.snapshot(ViewSpec(("packets",)), T0).rows[0].cells == (total,)


def test_two_polls_close_together_make_no_rate(feed: Feed) -> None:
    feed.poll(RULES, [5, 0, 0, 0, 0], T0)
    feed.poll(RULES, [9, 0, 0, 0, 0], T0 + 4 * S)
    feed.poll(RULES, [10, 0, 0, 0, 0], T0 + 4 * S + 45_000_000)
    row = feed.shown(T0 + 4 * S)[0]
    assert (row["packets"], row["rate"]) == ("10", "1")
    feed.poll(RULES, [11, 0, 0, 0, 0], T0 + 5 * S)
    assert feed.shown(T0 + 5 * S)[0]["rate"] == "2", "the packet between them is in the next rate"


def test_rows_have_their_verdict_in_a_column_and_a_chain_says_that_a_rule_is_not_counted(feed: Feed) -> None:
    feed.poll(RULES, [1, None, 3, 4, 5], T0)
    rows = {(row["chain"].strip(), row["number"]): row["verdict"] for row in feed.shown(T0)}
    assert rows["fwd", "2"] == "→ lan" and rows["lan", "1"] == "→ blocked" and rows["fwd", "policy"] == "drop"
    cells = feed.chains.snapshot(ViewSpec(("packets", "rate")), T0).rows[0].cells
    assert cells == ("≥4", "–"), "the rule without a counter may have matched more"
    ident = feed.chains.snapshot(ViewSpec(("packets",)), T0).rows[0].ident
    detail = feed.chains.detail(ident, T0)
    assert detail is not None and "1 rule not counted" in str(detail.lines)


def test_a_rule_that_counts_in_an_object_names_it(feed: Feed) -> None:
    feed.poll((replace(rule("fwd", 4), objects=(("counter", "web"),)),), [None], T0)
    assert feed.shown(T0)[0]["note"] == "in counter web"


def test_headings_name_user_chains_and_who_jumps_there_and_fold(feed: Feed) -> None:
    feed.poll(RULES, [1, 2, 3, 4, 0], T0)
    shown = feed.rules.snapshot(ViewSpec(("number",)), T0).rows
    heading = next(row for row in shown if "lan" in row.cells[0])
    assert heading.cells == ("▾ lan   1 rule, from fwd 2, 3   (1 of 1 hit)",) and heading.link == heading.ident
    jumps = [row for row in shown if row.cells[0] in ("2", "3")]
    assert [row.link for row in jumps] == [heading.ident, heading.ident]
    folded = feed.rules.snapshot(ViewSpec(("number",), toggled=frozenset({heading.ident})), T0).rows
    assert [row.cells[0] for row in folded] == [
        "1", "2", "▸ lan   1 rule, from fwd 2, 3   5 packets   (1 of 1 hit)", "3", "policy"
    ]  # fmt: skip


def test_the_chains_of_a_long_tree_are_folded_until_they_are_opened() -> None:
    feed = Feed()
    chains = [base("fw", "fwd"), *(user("fw", f"c{at}") for at in range(150))]
    rules = [rule("fwd", at + 1, f"c{at}") for at in range(150)] + [rule(f"c{at}", at + 500) for at in range(150)]
    feed.layout(chains)
    feed.poll(tuple(rules), [1] * 300, T0)
    shown = feed.rules.snapshot(ViewSpec(("number",), height=900), T0).rows
    assert len(shown) == 301 and shown[1].cells[0].startswith("▸ c0")
    opened = feed.rules.snapshot(ViewSpec(("number",), height=900, toggled=frozenset({shown[1].ident})), T0).rows
    assert len(opened) == 302 and opened[2].cells[0] == "1"


def test_rules_that_a_filter_finds_name_their_chain(feed: Feed) -> None:
    feed.poll(RULES, [1, 2, 3, 4, 5], T0)
    rows = feed.shown(T0, filter=parse("packets > 3", "rule"))
    assert [row["rule"] for row in rows] == ["fw lan: (no words yet)", "fw blocked: (no words yet)"]


@pytest.mark.parametrize("expression", ["hook forward", "device eth0", "priority 10"])
def test_rules_are_filtered_by_the_hook_device_and_priority_of_their_chain(expression: str) -> None:
    feed = Feed()
    feed.layout([base("fw", "fwd", devices=("eth0",), priority=10), base("fw", "in", hook="input"), user("fw", "lan")])
    feed.poll((rule("fwd", 4, "lan"), rule("in", 5), rule("lan", 6)), [1, 1, 1], T0)
    rows = feed.shown(T0, filter=parse(expression, "rule"), scope=feed.ruleset.picture.chains[0].ident)
    assert [(row["handle"], row["number"]) for row in rows] == [("4", "1"), ("", "policy")]


def test_only_what_moved_keeps_the_headings_above_it(feed: Feed) -> None:
    feed.poll(RULES, [1, 1, 1, 1, 1], T0)
    nothing = feed.rules.snapshot(ViewSpec(("number",), moved=True), T0)
    assert not nothing.rows and "v" in str(nothing.notes)
    feed.poll(RULES, [1, 1, 1, 1, 9], T0 + S)
    shown = feed.rules.snapshot(ViewSpec(("number",), moved=True), T0 + S)
    assert [row.cells[0].split("   ")[0].strip() for row in shown.rows] == ["▾ lan", "▾ blocked", "1"]
    assert "3 of 8 rows" in str(shown.totals)
    feed.poll(RULES, [2, 1, 1, 1, 9], T0 + 2 * S)
    folded = frozenset({shown.rows[0].ident, shown.rows[1].ident})
    rows = feed.rules.snapshot(ViewSpec(("number",), moved=True, toggled=folded), T0 + 2 * S).rows
    assert [row.cells[0] for row in rows] == ["1"], "lan itself did not move, what is folded in it is not looked for"


def test_a_jump_to_an_empty_chain_says_so_on_its_own_line(feed: Feed) -> None:
    feed.layout([base("fw", "fwd"), user("fw", "hooks"), user("fw", "lan")])
    feed.poll([rule("fwd", 1, "hooks"), rule("fwd", 2, "lan"), rule("lan", 3)], [0, 0, 0], T0)
    rows = feed.rules.snapshot(ViewSpec(("number", "rule")), T0).rows
    assert [row.cells[0] for row in rows] == ["1", "2", "▾ lan   1 rule, from fwd 2   (0 of 1 hit)", "1", "policy"]
    assert rows[0].cells[1].endswith("(empty chain)") and rows[0].link is None
    assert "empty" not in rows[1].cells[1] and rows[1].link == rows[2].ident
