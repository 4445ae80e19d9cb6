"""The columns of words of chains, rules and policies, for the display filter."""

from __future__ import annotations

from collections.abc import Sequence

from nettop.model.ruleset.merge import ChainView, RuleView
from nettop.model.ruleset.rule_tree import verdict_of

_OF_CHAIN = {"chain": "name", "table": "table", "family": "family", "hook": "hook"}
Entry = tuple[ChainView, RuleView | None]  # a rule and its chain; None: the chain itself, or its policy


def entry_words(netns: str, entries: Sequence[Entry], name: str) -> list[str] | None:
    """Return a column of words of chains or rules of a namespace (its label); None: there is no such column."""
    if name == "netns":
        return [netns] * len(entries)
    if name == "device":
        return [",".join(chain.devices) for chain, _ in entries]
    if name == "verdict":
        return [verdict_of(rule).lower() if rule else chain.policy or "" for chain, rule in entries]
    if name == "backend":
        return [(rule or chain).backend for chain, rule in entries]
    return [getattr(chain, _OF_CHAIN[name]) or "" for chain, _ in entries] if name in _OF_CHAIN else None
