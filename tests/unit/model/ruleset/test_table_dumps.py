"""Dumps of the rules of one table, and of the rules on screen: what they replace, and what they leave."""

from __future__ import annotations

import numpy as np
import pytest

from nettop.decode.nftables.commits import Announced
from nettop.decode.nftables.decoder import RuleBlock
from nettop.decode.nftables.rules import NftRule, Rules
from nettop.model.ruleset.dumps import with_table
from tests.unit.model.ruleset.test_changed_tables import FW, OTHER, commit, known
from tests.unit.model.ruleset.test_ruleset import T0, Feed, S, rule

NEW = rule("in", 6, table="other")
OF_OTHER = "inet other"


def counted(feed: Feed) -> list[tuple[int, int | None]]:
    """Handle and packets of each rule, in order."""
    counts = feed.ruleset.counts
    return [
        (one.handle or 0, int(counts.packets[cell]) if counts.have[cell] else None)
        for cell, one in enumerate(feed.ruleset.picture.rules)
    ]


@pytest.fixture
def feed() -> Feed:
    made = known()
    made.poll((FW, OTHER), [10, 20], T0 + S)
    return made


def test_a_dump_of_a_table_replaces_its_rules_and_leaves_the_others_and_their_counters(feed: Feed) -> None:
    commit(feed, T0 + 2 * S, Announced(False, OTHER), Announced(True, NEW))
    assert feed.ruleset.dumps.unread() == {OF_OTHER}
    feed.poll((NEW,), [1], T0 + 3 * S, of=OF_OTHER)
    assert feed.ruleset.dumps.unread() == set() and counted(feed) == [(4, 10), (6, 1)]
    changed_ns = feed.ruleset.dumps.changed_ns
    feed.poll((FW, NEW), [11, 2], T0 + 4 * S)
    assert counted(feed) == [(4, 11), (6, 2)] and feed.ruleset.dumps.changed_ns == changed_ns, "nothing new is in it"
    feed.poll((), [], T0 + 5 * S, of=OF_OTHER)
    assert counted(feed) == [(4, 11)]


def test_a_dump_of_a_table_that_began_before_the_change_does_not_have_it(feed: Feed) -> None:
    commit(feed, T0 + 3 * S, Announced(True, NEW))
    feed.poll((OTHER,), [20], T0 + 2 * S, of=OF_OTHER)
    assert feed.ruleset.dumps.unread() == {OF_OTHER}
    feed.poll((FW, OTHER, NEW), [10, 20, 1], T0 + 4 * S)
    assert feed.ruleset.dumps.unread() == set()


def test_events_that_come_after_the_dump_that_has_their_change_make_nothing_old(feed: Feed) -> None:
    feed.poll((OTHER, NEW), [20, 0], T0 + 3 * S, of=OF_OTHER)
    commit(feed, T0 + 2 * S, Announced(True, NEW))
    assert feed.ruleset.dumps.unread() == set() and counted(feed) == [(4, 10), (5, 20), (6, 0)]


def test_a_commit_of_elements_leaves_all_rules_read(feed: Feed) -> None:
    commit(feed, T0 + 2 * S)
    assert feed.ruleset.dumps.unread() == set() and feed.ruleset.dumps.are_old(), "chains count the elements"


def test_the_counters_of_rules_on_screen_are_taken_whatever_else_they_lack(feed: Feed) -> None:
    feed.poll((OTHER, rule("in", 99, table="other")), [21, 7], T0 + 2 * S, complete=False, of="*")
    assert counted(feed) == [(4, 10), (5, 21)]


def blocks(*parts: tuple[NftRule, ...]) -> list[RuleBlock]:
    """Blocks whose counters are the handles of their rules."""
    made = []
    for part in parts:
        handles = np.array([one.handle for one in part], np.uint64)
        made.append(RuleBlock(Rules(part), handles > 0, handles, handles))
    return made


@pytest.mark.parametrize("handles", [(), (7,), (7, 8)])
@pytest.mark.parametrize(
    ("before", "place"),
    [
        ((("a", 1), ("t", 2)), 1),
        ((("a", 1), ("t", 2), ("b", 3)), 1),
        ((("t", 1), ("t", 2), ("b", 3)), 0),
        ((("a", 1), ("t", 2)), 1),
        ((("a", 1), ("b", 2)), 2),
        ((), 0),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 9])
def test_rules_take_the_place_of_those_of_their_table(
    before: tuple[tuple[str, int], ...], place: int, handles: tuple[int, ...], size: int
) -> None:
    rules = [rule("c", handle, table=table) for table, handle in before]
    read = blocks(tuple(rule("c", handle, table="t") for handle in handles))
    found = with_table(
        blocks(*[tuple(rules[at : at + size]) for at in range(0, len(rules), size)]), ("inet", "t"), read
    )
    kept = [handle for table, handle in before if table != "t"]
    expected = [*kept[:place], *handles, *kept[place:]]
    assert [one.handle for block in found for one in block.rules] == expected
    assert [int(value) for block in found for value in block.packets] == expected
    assert all(len(block.rules) == len(block.counted) == len(block.bytes) > 0 for block in found)
