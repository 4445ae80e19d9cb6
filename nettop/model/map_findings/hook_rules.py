"""The rules that a packet may meet at each hook of the IP stack."""

from __future__ import annotations

from collections.abc import Iterator

from nettop.linux.socket import AF_INET
from nettop.model.ruleset.order import IP, is_dormant, path_of
from nettop.model.ruleset.picture import Picture, RuleView
from nettop.model.topology.route_case import HookRules

_DSTNAT = {"prerouting": ("dnat", "redirect", "netmap"), "output": ("dnat", "redirect", "netmap")}
_SRCNAT = {"postrouting": ("snat", "masquerade", "netmap"), "input": ("snat", "netmap")}


def hook_rules(picture: Picture, family: int) -> dict[str, HookRules]:
    """Return the counts of rules by hook that see packets of a family (AF_*), those of user chains included."""
    hooks, of = {chain.hook for chain in picture.chains if chain.hook}, families(family)
    return {hook: _counts(picture, hook, of) for hook in hooks}


def families(family: int) -> tuple[str, ...]:
    """Return the families of tables that see packets of a family (AF_*)."""
    return ("ip" if family == AF_INET else "ip6", "inet")


def rules_at(picture: Picture, hook: str, of: tuple[str, ...]) -> Iterator[RuleView]:
    """Yield the rules at a hook in the chains of these families, and in the chains that they lead to, once each."""
    todo = _base_chains(picture, hook, of)
    seen = set(todo)
    while todo:
        for rule in picture.rules_of(picture.chains[todo.pop()]):
            yield rule
            fresh = set(picture.targets(rule)) - seen
            seen |= fresh
            todo += fresh


def is_dstnat(rule: RuleView, hook: str) -> bool:
    """Return whether a rule at a hook rewrites destinations."""
    return rule.verdict.lower() in _DSTNAT.get(hook, ())


def _base_chains(picture: Picture, hook: str, of: tuple[str, ...]) -> list[int]:
    return [
        index
        for index, chain in enumerate(picture.chains)
        if chain.hook == hook and chain.family in of and path_of(chain) == IP and not is_dormant(chain)
    ]


def _counts(picture: Picture, hook: str, of: tuple[str, ...]) -> HookRules:
    rules = list(rules_at(picture, hook, of))
    sources = [rule for rule in rules if rule.verdict.lower() in _SRCNAT.get(hook, ())]
    chains = [picture.chains[index] for index in _base_chains(picture, hook, of)]
    drop = any((chain.policy or "").lower() == "drop" for chain in chains)
    empty = any((chain.policy or "").lower() == "drop" and not chain.count for chain in chains)
    return HookRules(len(rules), sum(is_dstnat(rule, hook) for rule in rules), len(sources), drop, empty)
