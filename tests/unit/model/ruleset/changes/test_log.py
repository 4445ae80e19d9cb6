"""The log of changes: commits as they are announced, each change once, whenever a dump or its words come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.decode.nftables.commits import Announced, NftCommit
from nettop.decode.nftables.objects import Generation, NftChain, NftTable
from nettop.decode.nftables.rules import NftRule
from nettop.model.ruleset.changes.change import MAX_CHANGES
from nettop.model.ruleset.changes.log import MARKED_NS, ChangeLog
from nettop.model.ruleset.picture import LEGACY, NFT, ChainView, Picture, RuleView
from nettop.text.units import clock

CHAIN = ChainView(1, NFT, "inet", "fw", "lan", None, None, None, None, first=0, count=0, flags=("dormant",))
TABLE = NftTable("inet", "fw", (), 1, None, None)
RAW_CHAIN = NftChain("inet", "fw", "lan", 1, 0, None, None, None, None, (), (), None, None, None)


def rule(handle: int, verdict: str = "accept") -> NftRule:
    return NftRule("inet", "fw", "lan", handle, None, (verdict,))


def deleted(handle: int) -> NftRule:
    return NftRule("inet", "fw", "lan", handle, None)


def picture(*rules: NftRule, words: bool = True) -> Picture:
    views = [
        RuleView(
            100 + raw.handle, 0, number, f"port {raw.handle}" if words else None, NFT, None, (), "", raw.handle, raw
        )
        for number, raw in enumerate(rules, 1)
    ]
    return Picture([replace(CHAIN, count=len(views))], views, {(*CHAIN.table_key, CHAIN.name): 0}, chain_rules=[views])


@pytest.fixture
def log() -> ChangeLog:
    known = ChangeLog()
    known.add(picture(rule(4)), (), 1, 1)
    return known


def announce(log: ChangeLog, *changes: Announced, current: Picture | None = None) -> None:
    log.announce(NftCommit(Generation(7, 41, "nft", 5), list(changes)), current or picture(rule(4)), {})


def told(log: ChangeLog) -> list[list[str]]:
    return [[f"{one.sign} {one.where}  {one.text}" for one in commit.changes] for commit in log.commits]


def test_an_announced_commit_is_in_the_log_at_once_and_gets_its_words_later(log: ChangeLog) -> None:
    announce(log, Announced(False, deleted(4)), Announced(True, rule(5)))
    assert told(log) == [["- inet fw lan 1  port 4", "+ inet fw lan handle 5  "]]
    assert (log.commits[0].by, log.commits[0].ts_ns) == ("nft (41)", 5)
    log.find_words(picture(rule(5), words=False))
    assert told(log) == [["- inet fw lan 1  port 4", "+ inet fw lan handle 5  "]]
    log.find_words(picture(rule(5)))
    log.add(picture(rule(5)), ("nft (41)",), 6, 6)
    assert told(log) == [["- inet fw lan 1  port 4", "+ inet fw lan 1  port 5"]]


def test_what_came_and_went_stays_in_the_log_and_what_nobody_announced_is_added(log: ChangeLog) -> None:
    announce(log, Announced(True, rule(5)))
    announce(log, Announced(False, deleted(5)), Announced(True, rule(6)))
    log.find_words(picture(rule(4), rule(6), rule(7)))
    log.add(picture(rule(4), rule(6), rule(7)), (), 6, 6)
    assert told(log) == [
        ["+ inet fw lan handle 5  "],
        ["- inet fw lan handle 5  ", "+ inet fw lan 2  port 6"],
        ["+ inet fw lan 3  port 7"],
    ]


def test_a_rule_that_is_deleted_has_its_words_of_before(log: ChangeLog) -> None:
    announce(log, Announced(True, rule(5)))
    known = picture(rule(4), rule(5))  # not complete: another table changes meanwhile
    log.find_words(known)
    announce(log, Announced(False, deleted(5)), current=known)
    assert told(log) == [["+ inet fw lan 2  port 5"], ["- inet fw lan 2  port 5"]]


def test_a_commit_that_a_dump_has_before_its_events_is_logged_once(log: ChangeLog) -> None:
    log.add(picture(rule(5)), (), 4, 4)
    announce(log, Announced(False, deleted(4)), Announced(True, rule(5)))
    log.add(picture(rule(5)), (), 6, 6)
    assert told(log) == [["- inet fw lan 1  port 4", "+ inet fw lan 1  port 5"]]


def test_a_table_that_is_loaded_again_has_the_same_handles(log: ChangeLog) -> None:
    gone = (Announced(False, deleted(4)), Announced(False, RAW_CHAIN), Announced(False, TABLE))
    announce(log, *gone, Announced(True, TABLE), Announced(True, RAW_CHAIN), Announced(True, rule(4, "drop")))
    log.find_words(picture(rule(4, "drop")))
    log.add(picture(rule(4, "drop")), (), 6, 6)
    changes = ["- inet fw lan 1  port 4", "- inet fw lan  chain", "+ inet fw lan  chain", "+ inet fw lan 1  port 4"]
    assert told(log) == [changes]


def test_a_chain_is_announced_with_each_new_policy(log: ChangeLog) -> None:
    base = replace(RAW_CHAIN, name="in", hook="input", priority=0, policy="accept")
    announce(log, Announced(True, base))
    announce(log, Announced(True, RAW_CHAIN), Announced(True, replace(base, policy="drop")))
    assert told(log)[1] == [
        "~ inet fw in  chain hook input priority 0 policy accept → hook input priority 0 policy drop"
    ]


def test_a_large_table_is_one_change_also_where_a_dump_finds_it(log: ChangeLog) -> None:
    many = [rule(handle) for handle in range(10, 40)]
    table = replace(TABLE, name="big")
    there = [replace(one, table="big") for one in many]
    chain = Announced(True, replace(RAW_CHAIN, table="big"))
    announce(log, Announced(True, table), chain, *(Announced(True, one) for one in there))
    big = picture(*there)
    big.chains[0] = replace(big.chains[0], ident=2, table="big")
    log.add(big, (), 6, 6)
    assert told(log)[0] == ["+ inet big  table of 1 chain and 30 rules"]
    assert told(log)[1:] == [["- inet fw lan  chain", "- inet fw lan 1  port 4"]], "not announced"


def test_a_commit_of_thousands_of_changes_says_how_many_are_left_out(log: ChangeLog) -> None:
    announce(log, *(Announced(True, rule(handle)) for handle in range(10, 10 + MAX_CHANGES + 1234)))
    assert len(told(log)[0]) == MAX_CHANGES + 1 and told(log)[0][-1] == "… and 1,234 more changes  "


def test_what_came_or_changed_is_marked_for_a_minute(log: ChangeLog) -> None:
    announce(log, Announced(True, rule(5)))
    shown = picture(rule(4), rule(5))
    chain, (old, new), at = shown.chains[0], shown.rules, log.commits[-1].ts_ns
    assert log.mark(chain, new, at + 1) == f"+ {clock(at)}"
    assert log.mark(chain, old, at + 1) == log.mark(chain, None, at + 1) == ""
    assert log.mark(chain, new, at + MARKED_NS) == ""


def test_a_rule_of_iptables_legacy_is_marked_by_its_words() -> None:
    log = ChangeLog()
    before, after = (picture(*(rule(handle) for handle in handles)) for handles in ((4,), (4, 5)))
    for one in (before, after):
        one.chains[:] = [replace(chain, backend=LEGACY, handle=None) for chain in one.chains]
        one.rules[:] = [replace(view, backend=LEGACY, handle=None, raw=None) for view in one.rules]
    log.add(before, (), 5, 5)
    log.add(after, (), 9, 9)
    marks = [log.mark(after.chains[0], one, 9) for one in after.rules]
    assert marks == ["", f"+ {clock(9)}"]
