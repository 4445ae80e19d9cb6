"""Chains at one hook and priority whose order a trace has shown: their place, their mark, and when both are void."""

from __future__ import annotations

from dataclasses import replace

from nettop.headless.rule_listing import lines
from nettop.model.ruleset.chain_matrix import ChainMatrix
from nettop.model.table import ViewSpec
from tests.unit.model.ruleset.test_ruleset import T0, Feed, S, base, rule

CHAINS = [base("a", "one"), base("b", "two"), base("c", "three", priority=5)]
RULES = (rule("one", 1, table="a"), rule("two", 1, table="b"), rule("three", 1, table="c"))


def fed() -> Feed:
    made = Feed()
    made.layout(CHAINS)
    made.poll(RULES, [1, 2, 3], T0)
    return made


def names(made: Feed) -> list[str]:
    return [place.name[0] for place in ChainMatrix(made.ruleset, made.chains, made.finder).matrix(ViewSpec(())).places]


def prove(made: Feed, *tables: str, at: int = T0 + S) -> None:
    chains = {chain.table: chain for chain in made.ruleset.picture.chains}
    made.ruleset.prove_order([chains[table] for table in tables], at)


def test_a_packet_that_met_both_chains_proves_their_order() -> None:
    made = fed()
    assert names(made) == ["N? a/one", "N? b/two", "N c/three"]
    version = made.chains.version
    prove(made, "b", "a", "c")
    assert names(made) == ["N✓ b/two", "N✓ a/one", "N c/three"] and made.chains.version > version
    assert [(row["table"], row["tie"]) for row in made.objects() if row["kind"] == "chain"] == [
        ("b", "proven"), ("a", "proven"), ("c", None),
    ]  # fmt: skip
    text = "\n".join(lines(made.ruleset, "", json=False))
    assert "priority 0 filter ✓" in text and "✓  another chain runs at the same place: a trace shows this order" in text
    assert any("✓ shown by a trace" in part for part, _ in made.chains.marks())
    prove(made, "a", "b")
    assert names(made)[:2] == ["N✓ a/one", "N✓ b/two"], "seen the other way round: the latest counts"


def test_of_three_tied_chains_each_is_unknown_until_its_order_among_all_is_shown() -> None:
    made = Feed()
    made.layout([base("a", "one"), base("b", "two"), base("c", "three")])
    made.poll(RULES, [1, 2, 3], T0)
    prove(made, "c", "a")
    assert sorted(names(made)) == ["N? a/one", "N? b/two", "N? c/three"]
    prove(made, "c", "b", "a")
    assert names(made) == ["N✓ c/three", "N✓ b/two", "N✓ a/one"]


def test_the_order_is_void_once_a_chain_is_made_again_and_lasts_through_other_changes() -> None:
    made = fed()
    prove(made, "b", "a")
    made.poll((*RULES, rule("one", 2, table="a")), [1, 2, 3, 4], T0 + 2 * S)
    made.layout([*CHAINS, base("nettop-1-2-3", "mark", "prerouting", -500)], T0 + 3 * S)
    assert names(made)[-3:-1] == ["N✓ b/two", "N✓ a/one"], "a rule, and the table of a trace"
    made.layout([replace(CHAINS[0], handle=7), *CHAINS[1:]], T0 + 4 * S)
    assert sorted(names(made)) == ["N c/three", "N? a/one", "N? b/two"]


def test_a_packet_from_before_the_latest_change_proves_nothing() -> None:
    made = fed()
    made.layout(CHAINS[:2], T0 + 2 * S)
    prove(made, "b", "a", at=T0)
    assert names(made) == ["N? a/one", "N? b/two"]
