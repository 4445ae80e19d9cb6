"""Findings of a ruleset. A check is a function from the ruleset to findings; a new one needs a place in CHECKS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nettop.decode.ipset import IpSet
from nettop.decode.nftables.iptables_save import words
from nettop.decode.nftables.sets import NftSet
from nettop.linux import nf_tables as nft
from nettop.model.findings import Finding
from nettop.model.ruleset.order import is_dormant, path_of, sees_same, traversal
from nettop.model.ruleset.picture import LEGACY, ChainView, RuleView
from nettop.model.ruleset.rule_tree import chains_from, jumpers
from nettop.model.ruleset.rule_words import arp_matches
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.sets.contents import SetContents, ipsets_of, sets_of
from nettop.model.ruleset.words import chain_path, rule_text
from nettop.text.units import grouped, plural

_ENDS = frozenset(
    {"accept", "drop", "reject", "return", "goto", "stolen", "snat", "dnat", "masquerade", "redirect", "netmap"}
)
_DROPS = frozenset({"drop", "reject"})
# Names of the tables and sets of programs that fill them as they run: theirs are often empty.
_FILLING = ("f2b-", "crowdsec", "sshguard", "kube-proxy", "KUBE-")
_LISTED = 5  # rules named as evidence


@dataclass(frozen=True, slots=True)
class Facts:
    """The ruleset, and the IP sets if they were read."""

    ruleset: Ruleset
    contents: SetContents

    def order(self) -> list[int]:
        """Return the chains in the order of traversal."""
        return traversal(self.ruleset.picture)

    def chain_of(self, rule: RuleView) -> ChainView:
        """Return the chain of a rule."""
        return self.ruleset.picture.chains[rule.chain]

    def rules_of(self, index: int) -> list[RuleView]:
        """Return the rules of a chain."""
        return self.ruleset.picture.rules_of(self.ruleset.picture.chains[index])


def findings(ruleset: Ruleset, contents: SetContents) -> list[Finding]:
    """Return what is probably wrong with a ruleset."""
    facts = Facts(ruleset, contents)
    return [found for check in CHECKS for found in check(facts)]


def chain_key(found: Finding) -> tuple[object, ...]:
    """Return family, table and chain (None: of a table) of a finding, and whether it is of iptables-legacy."""
    place = dict(found.place)
    return place["family"], place["table"], place.get("chain"), place.get("backend") == LEGACY


def ends_all(rule: RuleView) -> bool:
    """Return whether no packet that reaches a rule goes on to the next one of its chain."""
    if rule.verdict.lower() not in _ENDS:
        return False
    return rule.raw.unconditional if rule.raw is not None else _is_bare(rule.text or "")


def _is_bare(text: str) -> bool:
    """Return whether a rule of iptables has a target and no match but a comment."""
    split = words(text) or [""]
    if split[:3] == ["-m", "comment", "--comment"]:
        split = split[4:]
    return split[:1] in (["-j"], ["-g"]) and not arp_matches(split[2:])


def _unreachable(facts: Facts) -> Iterator[Finding]:
    for index in facts.order():
        rules = facts.rules_of(index)
        last = next((number for number, rule in enumerate(rules) if ends_all(rule)), len(rules))
        behind = rules[last + 1 :]
        if behind:
            noun = (
                f"rule {behind[0].number}" if len(behind) == 1 else f"rules {behind[0].number} to {behind[-1].number}"
            )
            why = f"rule {rules[last].number} ends every packet before"
            summary = f"{noun} of {_path(facts.chain_of(behind[0]))} cannot match: {why}"
            yield _of_rule(facts, "unreachable-rule", summary, behind[0], [rules[last], *behind])


def _of_rule(facts: Facts, name: str, summary: str, rule: RuleView, evidence: list[RuleView]) -> Finding:
    place = (*_place(facts.chain_of(rule)), ("number", rule.number), ("handle", rule.handle))
    lines = [_rule_line(facts, one) for one in evidence[:_LISTED]]
    if len(evidence) > _LISTED:
        lines.append(f"and {grouped(len(evidence) - _LISTED)} more")
    return Finding(name, summary, place, tuple(lines))


def _place(chain: ChainView) -> tuple[tuple[str, str | int | None], ...]:
    return ("family", chain.family), ("table", chain.table), ("chain", chain.name), ("backend", chain.backend)


def _path(chain: ChainView) -> str:
    """Return `ip filter INPUT`, and the tool if a chain of nf_tables may have the same name."""
    return chain_path(chain) + (f" ({chain.backend})" if chain.backend == LEGACY else "")


def _rule_line(facts: Facts, rule: RuleView) -> str:
    handle = "" if rule.handle is None else f" (handle {rule.handle})"
    return f"{_path(facts.chain_of(rule))} rule {rule.number}{handle}: {rule_text(rule)}"


def _unused(facts: Facts) -> Iterator[Finding]:
    targets = jumpers(facts.ruleset.picture)
    for index in facts.order():
        chain = facts.ruleset.picture.chains[index]
        if chain.hook is None and index not in targets and not chain.references:
            lines = (f"{_path(chain)}: {plural(chain.count, 'rule')}, no jump, no goto and no map leads here",)
            yield Finding("unused-chain", f"nothing jumps to {_path(chain)}", _place(chain), lines)


def _mixed(facts: Facts) -> Iterator[Finding]:
    filtering = [facts.ruleset.picture.chains[index] for index in facts.order() if _filters(facts, index)]
    for legacy in (chain for chain in filtering if chain.backend == LEGACY):
        others = [one for one in filtering if one.backend != LEGACY and one.hook == legacy.hook]
        others = [one for one in others if path_of(one) == path_of(legacy) and sees_same(one, legacy)]
        if others:
            summary = f"iptables-legacy and nftables both filter {legacy.family} {legacy.hook}: a packet must pass both"
            lines = tuple(
                f"{chain_path(one)} ({one.backend}), priority {one.priority}, policy {one.policy}, "
                f"{plural(one.count, 'rule')}"
                for one in (legacy, *others)
            )
            yield Finding("legacy-and-nft", summary, _place(legacy), lines)


def _filters(facts: Facts, index: int) -> bool:
    """Return whether a base chain, or a chain that its rules jump to, can drop packets."""
    chain = facts.ruleset.picture.chains[index]
    if chain.hook is None or is_dormant(chain):
        return False
    followed = chains_from(facts.ruleset.picture, [index])
    drops = (rule.verdict.lower() in _DROPS for one in followed for rule in facts.rules_of(one))
    return chain.policy == "drop" or any(drops)


def _dormant(facts: Facts) -> Iterator[Finding]:
    for table in facts.ruleset.raw.tables:
        key = table.family, table.name
        if "dormant" in table.flags:
            of = [one for one in facts.ruleset.picture.chains if one.handle and one.table_key[1:] == key]
            path = " ".join(key)
            place = ("family", table.family), ("table", table.name), ("handle", table.handle)
            base = [f"{chain_path(one)} at {one.hook}, {plural(one.count, 'rule')}" for one in of if one.hook]
            yield Finding("dormant-table", f"table {path} is dormant: none of its chains runs", place, tuple(base))


def _sets(facts: Facts) -> Iterator[Finding]:
    users: dict[tuple[str, ...], list[RuleView]] = {}
    for rule in facts.ruleset.picture.rules:
        key = facts.chain_of(rule).table_key[1:]
        for name in sets_of(rule.raw, None):
            users.setdefault((*key, name), []).append(rule)
        for name in ipsets_of(rule.text):
            users.setdefault((name,), []).append(rule)
    for one in facts.ruleset.raw.sets.listed.values():
        if one.id in users:
            yield from _set(facts, one, f"set {' '.join(one.id)}", users[one.id])
    for ipset in facts.contents.ipsets:
        if (ipset.name,) in users:
            yield from _set(facts, ipset, f"ipset {ipset.name}", users[ipset.name,])


def _set(facts: Facts, one: NftSet | IpSet, name: str, users: list[RuleView]) -> Iterator[Finding]:
    used = f"{plural(len(users), 'rule')} {'uses' if len(users) == 1 else 'use'} it"
    filled = isinstance(one, NftSet) and bool(one.flags & nft.NFT_SET_EVAL)  # by rules
    filled = filled or any(
        part.startswith(_FILLING) for part in ((one.name,) if isinstance(one, IpSet) else one.id[1:])
    )
    catches_all = isinstance(one, NftSet) and one.id in facts.ruleset.raw.sets.catchalls
    if one.count == 0 and not filled and not catches_all:
        yield _of_rule(facts, "empty-set", f"{name} is empty and {used}", users[0], users)
    elif one.count is not None and one.size and one.count >= one.size:
        full = f"{name} is full ({grouped(one.count)} of {grouped(one.size)} elements) and {used}"
        yield _of_rule(facts, "full-set", full, users[0], users)


def _unprinted(facts: Facts) -> Iterator[Finding]:
    for index in facts.order():
        rules = [rule for rule in facts.rules_of(index) if rule.text is None and rule.raw and rule.raw.extensions]
        if rules:
            path = chain_path(facts.chain_of(rules[0]))
            summary = f"{plural(len(rules), 'rule')} of {path} cannot be printed by their tool"
            yield _of_rule(facts, "unprinted-rule", summary, rules[0], rules)


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (_unreachable, _unused, _mixed, _dormant, _sets, _unprinted)


class ChainFindings:
    """The findings of one ruleset by chain, computed again when it has changed."""

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset, self._of = ruleset, dict[tuple[object, ...], list[Finding]]()
        self._known: tuple[int, object] = (-1, None)

    def __call__(self, chain: ChainView) -> list[Finding]:
        """Return the findings of a chain."""
        self._refresh()
        return self._of.get((chain.family, chain.table, chain.name, chain.backend == LEGACY), [])

    def all(self) -> list[Finding]:
        """Return all findings, those of one chain together."""
        self._refresh()
        return [one for found in self._of.values() for one in found]

    def _refresh(self) -> None:
        now = self._ruleset.layout_version, self._ruleset.raw.sets.listed
        if self._known[0] != now[0] or self._known[1] is not now[1]:
            self._known, self._of = now, {}
            for found in findings(self._ruleset, SetContents()):
                self._of.setdefault(chain_key(found), []).append(found)
