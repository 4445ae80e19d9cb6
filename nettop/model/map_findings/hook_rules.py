"""The rules that a packet may meet at each hook of the IP stack."""

from __future__ import annotations

from collections.abc import Iterator

from nettop.linux.socket import AF_INET
from nettop.model.ruleset.merge import Picture, RuleView
from nettop.model.ruleset.order import IP, is_dormant, path_of
from nettop.model.topology.route_steps import HookRules

_DSTNAT = {"prerouting": ("dnat", "redirect", "netmap"), "output": ("dnat", "redirect", "netmap")}
_SRCNAT = {"postrouting": ("snat", "masquerade", "netmap"), "input": ("snat", "netmap")}


def hook_rules(picture: Picture, family: int) -> dict[str, HookRules]:
    """Return the counts of rules by hook that see packets of a family (AF_*), those of user chains included."""
    hooks = {chain.hook for chain in picture.chains if chain.hook}
    return {hook: _counts(list(rules_at(picture, hook, families(family))), hook) for hook in hooks}


def families(family: int) -> tuple[str, ...]:
    """Return the families of tables that see packets of a family (AF_*)."""
    return ("ip" if family == AF_INET else "ip6", "inet")


def rules_at(picture: Picture, hook: str, of: tuple[str, ...]) -> Iterator[RuleView]:
    """Yield the rules at a hook in the chains of these families, and in the chains that they lead to, once each."""
    chains = enumerate(picture.chains)
    todo = [
        index
        for index, chain in chains
        if chain.hook == hook and chain.family in of and path_of(chain) == IP and not is_dormant(chain)
    ]
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


def _counts(rules: list[RuleView], hook: str) -> HookRules:
    sources = [rule for rule in rules if rule.verdict.lower() in _SRCNAT.get(hook, ())]
    return HookRules(len(rules), sum(is_dstnat(rule, hook) for rule in rules), len(sources))
