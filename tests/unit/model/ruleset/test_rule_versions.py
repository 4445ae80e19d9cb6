"""The rule that a handle names at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nettop.decode.nftables.rules import NftRule
from nettop.model.ruleset.picture import NFT, ChainView, Picture, RuleView
from nettop.model.ruleset.rule_versions import RuleVersions

SECOND = 1_000_000_000
KEY = ("ip", "t", 2)
CHAIN = ChainView(1, NFT, "ip", "t", "c", None, None, None, None, 0, 1)


def picture(*texts: str) -> Picture:
    """A chain with a rule of each text, whose last word is its verdict; handles count from 2."""
    rules = [
        RuleView(handle, 0, 1, text, NFT, None, (), "", handle, NftRule("ip", "t", "c", handle, None, (verdict,)))
        for handle, text in enumerate(texts, 2)
        for verdict in text.split()[-1:]
    ]
    return Picture(chains=[CHAIN], rules=rules)


def words(versions: RuleVersions, at_ns: int, verdict: str = "") -> str | None:
    found = versions.find(KEY, at_ns, verdict)
    return found and found[1].text


def test_a_rule_replaced_with_its_handle_is_the_one_of_the_time() -> None:
    versions = RuleVersions()
    versions.update(picture("tcp dport 22 accept"), 0)
    versions.update(picture("tcp dport 80 accept"), 5 * SECOND)
    assert words(versions, 4 * SECOND) == "tcp dport 22 accept"
    assert words(versions, 6 * SECOND) == "tcp dport 80 accept"


@pytest.mark.parametrize("off", [-200_000_000, 0, 50_000_000])
def test_near_the_change_the_verdict_tells_which_it_was(off: int) -> None:
    versions = RuleVersions()
    versions.update(picture("tcp dport 22 accept"), 0)
    versions.update(picture("tcp dport 22 drop"), 5 * SECOND)
    assert words(versions, 5 * SECOND + off, "accept") == "tcp dport 22 accept"
    assert words(versions, 5 * SECOND + off, "drop") == "tcp dport 22 drop"


def test_new_words_that_come_later_are_of_the_same_change() -> None:
    versions, after = RuleVersions(), picture("tcp dport 22 drop")
    versions.update(picture("tcp dport 22 accept"), 0)
    stale = replace(after.rules[0], text="tcp dport 22 accept")
    versions.update(replace(after, rules=[stale]), 5 * SECOND)
    versions.update(after, 5 * SECOND)
    assert words(versions, 4 * SECOND) == "tcp dport 22 accept" and words(versions, 6 * SECOND) == "tcp dport 22 drop"


def test_a_table_that_is_made_again_gives_its_handles_to_other_rules() -> None:
    versions = RuleVersions()
    versions.update(picture("tcp dport 22 accept"), 0)
    versions.update(Picture(rules=picture("accept", "accept").rules[1:], chains=[CHAIN]), SECOND)
    assert words(versions, 0) is None
    versions.update(picture("drop"), 5 * SECOND)
    assert words(versions, 2 * SECOND) is None and words(versions, 6 * SECOND) == "drop"
