"""The log of changes of a ruleset: when, by whom, and which chains, rules and elements came, went or changed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from nettop.model.ruleset.merge import LEGACY, ChainView, Picture, RuleView
from nettop.model.ruleset.words import chain_path, rule_text
from nettop.text.units import plural

TableKey = tuple[str, str, str]  # backend, family, table

KEPT = 200  # commits, the latest
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


@dataclass(frozen=True, slots=True)
class Commit:
    """The difference between two states of the ruleset that are known whole: that of one commit, or of several."""

    ts_ns: int
    by: str  # `nft (4121)`, `several: nft (4121), iptables-nft (4125)`; "": not known
    changes: tuple[Change, ...]
    more: int  # changes that are left out


class ChangeLog:
    """The latest commits."""

    def __init__(self) -> None:
        self.commits: deque[Commit] = deque(maxlen=KEPT)
        self._known: Picture | None = None

    def add(
        self, picture: Picture, elements: list[Change], authors: Collection[str], changed_ns: int, now_ns: int
    ) -> None:
        """Add the difference of this picture from the one before; the first is only the beginning.

        `elements` are the changes of sets, `authors` the programs of all commits in between (`nft (4121)`), and
        `changed_ns` is the time of the last one.
        The kernel does not report the changes of iptables-legacy: their author is not known, nor when before `now_ns`.
        """
        before, self._known = self._known, picture
        if before is None or (before is picture and not elements):
            return
        by = next(iter(authors)) if len(authors) == 1 else "several: " * bool(authors) + ", ".join(authors)
        found = list(differences(before, picture))
        self._append(changed_ns, by, [*(change for change in found if change.backend != LEGACY), *elements])
        self._append(now_ns, "", [change for change in found if change.backend == LEGACY])

    def _append(self, ts_ns: int, by: str, changes: list[Change]) -> None:
        if changes:
            self.commits.append(Commit(ts_ns, by, tuple(changes[:MAX_CHANGES]), max(0, len(changes) - MAX_CHANGES)))


def differences(before: Picture, after: Picture) -> Iterator[Change]:
    """Yield what is different in the second of two pictures with the same idents: tables, chains, then their rules."""
    tables, old_chains, old_rules = _parts(before)
    new_tables, new_chains, new_rules = _parts(after)
    summed = {key for key in tables.keys() ^ new_tables.keys() if max(tables[key], new_tables[key]) >= SUMMED}
    for key in sorted(summed):
        yield from (_table("-", key, before),) if key in tables else (_table("+", key, after),)
    for ident, chain in new_chains.items():
        known = old_chains.get(ident)
        if (known is None or _settings(known) != _settings(chain)) and chain.table_key not in summed:
            sign, past = ("+", "") if known is None else ("~", f"{_settings(known)} → ")
            text = f"chain {past}{_settings(chain)}".rstrip()
            yield Change(sign, chain.backend, chain_path(chain), text, chain.name)
    for ident, chain in old_chains.items():
        if ident not in new_chains and chain.table_key not in summed:
            yield Change("-", chain.backend, chain_path(chain), "chain", chain.name)
    for ident, (chain, rule) in old_rules.items():
        if ident not in new_rules and chain.table_key not in summed:
            yield _change("-", chain, rule)
    for ident, (chain, rule) in new_rules.items():
        old = old_rules[ident][1] if ident in old_rules else None
        if old is None:
            yield from () if chain.table_key in summed else (_change("+", chain, rule),)
        elif old.text and rule.text and old.text != rule.text and rule_text(old) != rule_text(rule):
            yield _change("~", chain, rule, f"{rule_text(old)} → ")


def _parts(picture: Picture) -> tuple[Counter[TableKey], dict[int, ChainView], dict[int, tuple[ChainView, RuleView]]]:
    """Return the number of chains and rules by table, and both by ident."""
    chains = picture.chains
    sizes = Counter({chain.table_key: 0 for chain in chains})
    for chain in chains:
        sizes[chain.table_key] += 1 + chain.count
    rules = {rule.ident: (chains[rule.chain], rule) for rule in picture.rules}
    return sizes, {chain.ident: chain for chain in chains}, rules


def _table(sign: str, key: TableKey, picture: Picture) -> Change:
    backend, family, table = key
    counts = [chain.count for chain in picture.chains if chain.table_key == key]
    text = f"table of {plural(len(counts), 'chain')} and {plural(sum(counts), 'rule')}"
    return Change(sign, backend, f"{family} {table}", text, table)


def _change(sign: str, chain: ChainView, rule: RuleView, past: str = "") -> Change:
    text = rule_text(rule)
    return Change(sign, chain.backend, f"{chain_path(chain)} {rule.number}", past + text, text)


def _settings(chain: ChainView) -> str:
    """Return `hook forward priority 0 policy drop dormant`; "" of a user chain."""
    facts = (("hook", chain.hook), ("priority", chain.priority), ("policy", chain.policy))
    return " ".join([*(f"{name} {value}" for name, value in facts if value is not None), *chain.flags])
