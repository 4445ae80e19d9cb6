"""The columns of words of chains, rules and policies, for the display filter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from nettop.model.filter.fields import ListedFields
from nettop.model.ruleset.picture import ChainView, RuleView
from nettop.model.ruleset.rule_tree import verdict_of
from nettop.model.ruleset.ruleset import Ruleset

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


def rule_fields(ruleset: Ruleset) -> ListedFields:
    """Return the columns of all rules and policies, by cell, for the display filter."""
    picture, counts = ruleset.picture, ruleset.counts
    rules: list[RuleView | None] = [*picture.rules, *[None] * len(picture.chains)]
    entries = [(picture.chains[at], rule) for at, rule in zip(picture.chain_of_cell.tolist(), rules, strict=True)]

    def numbers(name: str) -> list[float | None] | None:
        if name in ("packets", "bytes", "rate"):
            values = getattr(counts, name).astype(np.float64)
            held = counts.have & ~np.isnan(values)
            return [value if known else None for value, known in zip(values.tolist(), held.tolist(), strict=True)]
        if name == "handle":
            return [rule.handle if rule else None for rule in rules]
        return [chain.priority for chain, _ in entries] if name == "priority" else None

    return ListedFields(len(entries), numbers, partial(entry_words, ruleset.netns, entries))
