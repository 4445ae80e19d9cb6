"""One change of a ruleset: a table, a chain or a rule that came, went or changed."""

from __future__ import annotations

from dataclasses import dataclass

from nettop.decode.nftables.objects import NftChain
from nettop.decode.nftables.rules import NftRule
from nettop.model.ruleset.picture import NFT, ChainView, Key, RuleView
from nettop.model.ruleset.words import chain_path, rule_text
from nettop.text.units import plural

SUMMED = 8  # chains and rules: a table of so many that came or went is one change
MAX_CHANGES = 500  # of one commit: a ruleset that is loaded again may have 100,000


@dataclass(frozen=True, slots=True)
class Change:
    """A table, a chain or a rule that came (+), went (-) or changed (~)."""

    sign: str
    backend: str
    where: str  # `inet fw lan 3`: the rule's number; of a chain without it
    text: str
    found: str  # a text that finds the rule, or a chain's name
    key: Key = ()  # family, table, chain, handle of the rule; of a chain without the last, of a table the first two
    rule: NftRule | None = None  # the rule, while its words are not final


def place(chain: ChainView | NftChain) -> tuple[str, str, str]:
    """Return the family, table and name of a chain."""
    return chain.family, chain.table, chain.name


def table_text(chains: int, rules: int) -> str:
    """Return `table of 1 chain and 20 rules`."""
    return f"table of {plural(chains, 'chain')} and {plural(rules, 'rule')}"


def chain_change(chain: ChainView | NftChain, known: ChainView | NftChain | None) -> Change:
    """Return the change of a chain that came, or that is `known` with other settings."""
    sign, past = ("+", "") if known is None else ("~", f"{settings(known)} → ")
    backend = chain.backend if isinstance(chain, ChainView) else NFT
    text = f"chain {past}{settings(chain)}".rstrip()
    return Change(sign, backend, " ".join(place(chain)), text, chain.name, place(chain))


def rule_change(sign: str, chain: ChainView, rule: RuleView, past: str = "") -> Change:
    """Return the change of a rule in its words, after those of the `past`."""
    text = rule_text(rule)
    key = (*place(chain), rule.handle or 0)
    return Change(sign, chain.backend, f"{chain_path(chain)} {rule.number}", past + text, text, key)


def settings(chain: ChainView | NftChain) -> str:
    """Return `hook forward priority 0 policy drop dormant`; "" of a user chain."""
    facts = (("hook", chain.hook), ("priority", chain.priority), ("policy", chain.policy))
    flags = chain.flags if isinstance(chain, ChainView) else ()
    return " ".join([*(f"{name} {value}" for name, value in facts if value is not None), *flags])
