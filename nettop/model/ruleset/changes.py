"""The log of changes of a ruleset: when, by whom, and which chains and rules came, went or changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from nettop.decode.nftables.objects import Generation
from nettop.model.ruleset.merge import ChainView, Picture, RuleView
from nettop.model.ruleset.words import chain_path, rule_text

KEPT = 200  # commits, the latest
MAX_CHANGES = 500  # of one commit: a ruleset that is loaded again may have 100,000


@dataclass(frozen=True, slots=True)
class Change:
    """A chain or a rule that came (+), went (-) or changed (~)."""

    sign: str
    where: str  # `inet fw lan 3`: the rule's number; of a chain without it
    text: str
    found: str  # a text that finds the rule, or a chain's name


@dataclass(frozen=True, slots=True)
class Commit:
    """The difference between two states of the ruleset that are known whole: that of one commit, or of several."""

    ts_ns: int
    by: str  # `nft (4121)`; "": not known
    changes: tuple[Change, ...]
    more: int  # changes that are left out


class ChangeLog:
    """The latest commits."""

    def __init__(self) -> None:
        self.commits: deque[Commit] = deque(maxlen=KEPT)
        self._known: Picture | None = None

    def add(self, picture: Picture, generation: Generation | None, ts_ns: int) -> None:
        """Add the difference of this picture from the one before; the first is only the beginning."""
        before, self._known = self._known, picture
        if before is None or before is picture:
            return
        found = differences(before, picture)
        if changes := tuple(islice(found, MAX_CHANGES)):
            known = generation is not None and generation.process
            by = f"{generation.process} ({generation.pid})" if generation is not None and known else ""
            self.commits.append(Commit(ts_ns, by, changes, sum(1 for _ in found)))


def differences(before: Picture, after: Picture) -> Iterator[Change]:
    """Yield what is different in the second of two pictures with the same idents: chains, then their rules."""
    old_chains, new_chains = ({chain.ident: chain for chain in one.chains} for one in (before, after))
    old_rules, new_rules = ({rule.ident: rule for rule in one.rules} for one in (before, after))
    for chain in after.chains:
        known = old_chains.get(chain.ident)
        if known is None or _settings(known) != _settings(chain):
            sign, past = ("+", "") if known is None else ("~", f"{_settings(known)} → ")
            yield Change(sign, chain_path(chain), f"chain {past}{_settings(chain)}".rstrip(), chain.name)
    for chain in before.chains:
        if chain.ident not in new_chains:
            yield Change("-", chain_path(chain), "chain", chain.name)
    for rule in before.rules:
        if rule.ident not in new_rules:
            yield _change("-", before.chains[rule.chain], rule)
    for rule in after.rules:
        old = old_rules.get(rule.ident)
        if old is None:
            yield _change("+", after.chains[rule.chain], rule)
        elif old.text and rule.text and old.text != rule.text and rule_text(old) != rule_text(rule):
            yield _change("~", after.chains[rule.chain], rule, f"{rule_text(old)} → ")


def _change(sign: str, chain: ChainView, rule: RuleView, past: str = "") -> Change:
    text = rule_text(rule)
    return Change(sign, f"{chain_path(chain)} {rule.number}", past + text, text)


def _settings(chain: ChainView) -> str:
    """Return `hook forward priority 0 policy drop dormant`; "" of a user chain."""
    facts = (("hook", chain.hook), ("priority", chain.priority), ("policy", chain.policy))
    return " ".join([*(f"{name} {value}" for name, value in facts if value is not None), *chain.flags])
