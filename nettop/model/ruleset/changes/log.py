"""The log of changes of a ruleset: when, by whom, and which chains, rules and elements came, went or changed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from nettop.decode.nftables.commits import NftCommit
from nettop.decode.nftables.sets import NftSet, SetId
from nettop.model.ruleset.changes.announced import AnnouncedRules
from nettop.model.ruleset.changes.change import (
    MAX_CHANGES,
    SUMMED,
    Change,
    chain_change,
    place,
    rule_change,
    settings,
    table_text,
)
from nettop.model.ruleset.changes.elements import element_changes
from nettop.model.ruleset.picture import IPTABLES_NFT, LEGACY, ChainView, Key, Picture, RuleView
from nettop.model.ruleset.words import chain_path, rule_text
from nettop.text.units import clock, plural

TableKey = tuple[str, str, str]  # backend, family, table
_Chains = dict[Key, dict[int | None, tuple[ChainView, RuleView]]]  # rules that were looked up, by handle

KEPT = 200  # commits, the latest
MARKED_NS = 60_000_000_000  # what changed is marked for so long


@dataclass(frozen=True, slots=True)
class Commit:
    """The difference between two states of the ruleset that are known whole: that of one commit, or of several."""

    ts_ns: int
    by: str  # `nft (4121)`, `several: nft (4121), iptables-nft (4125)`; "": not known
    changes: tuple[Change, ...]  # of more than MAX_CHANGES the last one has their number


class ChangeLog:
    """The latest commits: each as the kernel announces it, and what it did not announce once that is known."""

    def __init__(self) -> None:
        self.commits: deque[Commit] = deque(maxlen=KEPT)
        self._known: Picture | None = None  # the last one that was complete
        self._rules: AnnouncedRules | None = None  # of that picture, with what was announced since
        self._announced: set[tuple[str, Key]] = set()  # signs and keys of that
        self._pending = False  # rules wait for their words
        self._searched: Picture | None = None  # the last one in which all were looked for
        self._marks: dict[Key, tuple[int, str]] = {}  # time and sign of the latest changes, oldest first

    def announce(self, commit: NftCommit, picture: Picture, sets: Mapping[SetId, NftSet]) -> None:
        """Add a commit as its events have it. `picture` is the current one."""
        if self._rules is None:
            self._rules = AnnouncedRules(self._known or picture)
        chains: _Chains = {}
        announced = self._rules.apply(commit)
        changes = [_with_words(one, picture, chains) if one.sign == "-" else one for one in announced]
        changes += element_changes(commit.members, sets)
        for change in changes:
            if change.sign == "-" and ("+", change.key) in self._announced:
                self._announced.remove(("+", change.key))
            else:
                self._announced.add((change.sign, change.key))
        if any(change.rule for change in changes):
            self._pending, self._searched = True, None
        if commit.generation is not None:
            self._append(commit.generation.ts_ns, commit.generation.author, changes)

    def find_words(self, picture: Picture, are_final: bool = False) -> None:
        """Put the words that this picture has into the changes that wait for them; `are_final`: none wait any more."""
        if not self._pending or (picture is self._searched and not are_final):
            return
        self._pending, self._searched = not are_final, picture
        chains: _Chains = {}
        for at, commit in enumerate(self.commits):
            if any(change.rule and (are_final or not change.text) for change in commit.changes):
                changes = (_with_words(change, picture, chains) for change in commit.changes)
                final = (replace(change, rule=None) if are_final else change for change in changes)
                self.commits[at] = replace(commit, changes=tuple(final))

    def add(self, picture: Picture, authors: Collection[str], changed_ns: int, now_ns: int) -> None:
        """Add what no commit announced of the difference of this complete picture from the one before.

        `authors` are the programs of all commits in between (`nft (4121)`), and `changed_ns` is the time of the last.
        The kernel does not report the changes of iptables-legacy: their author is not known, nor when before `now_ns`.
        """
        self.find_words(picture, are_final=True)
        before, self._known = self._known, picture
        if before is picture:
            return
        announced, self._announced = self._announced, set()
        self._rules = None
        if before is None:
            return
        by = next(iter(authors)) if len(authors) == 1 else "several: " * bool(authors) + ", ".join(authors)
        found = list(differences(before, picture))
        self._append(changed_ns, by, [one for one in found if one.backend != LEGACY and not _is_in(announced, one)])
        self._append(now_ns, "", [change for change in found if change.backend == LEGACY])

    def mark(self, chain: ChainView, rule: RuleView | None, now_ns: int) -> str:
        """Return `+ 12:03:11` for a rule that came or changed (~) in the last minute, or "". None: for the policy."""
        own = _key(chain_change(chain, None) if rule is None else rule_change("+", chain, rule))
        ts_ns, sign = max(self._marks.get(key, (0, "")) for key in (own, place(chain)[:2]))
        return f"{sign} {clock(ts_ns)}" if sign and now_ns - ts_ns < MARKED_NS else ""

    def _append(self, ts_ns: int, by: str, changes: list[Change]) -> None:
        if not changes:
            return
        more = len(changes) - MAX_CHANGES
        rest = (Change("…", "", f"and {plural(more, 'more change')}", "", ""),) if more > 0 else ()
        self.commits.append(Commit(ts_ns, by, (*changes[:MAX_CHANGES], *rest)))
        for change in changes:
            self._marks.pop(_key(change), None)
            if change.sign != "-":
                self._marks[_key(change)] = ts_ns, change.sign
        while self._marks and ts_ns - next(iter(self._marks.values()))[0] >= MARKED_NS:
            del self._marks[next(iter(self._marks))]


def _key(change: Change) -> Key:
    """Return the key of what changed. Rules of iptables-legacy have no handles: they are known by their words."""
    return (*change.key, change.found) if change.backend == LEGACY else change.key


def _is_in(announced: Collection[tuple[str, Key]], change: Change) -> bool:
    """Return whether a change was announced, itself or with its table."""
    signs = (change.sign, "+") if change.sign == "~" else (change.sign,)
    return any((sign, key) in announced for sign in signs for key in (change.key, change.key[:2]))


def _with_words(change: Change, picture: Picture, chains: _Chains) -> Change:
    """Return a change with the words of its rule, if the picture has it. `chains`: the rules that were looked up."""
    if change.rule is None:
        return change
    of = change.rule.family, change.rule.table, change.rule.chain
    if of not in chains:
        chain = picture.chain(*of, legacy=False)
        chains[of] = {rule.handle: (chain, rule) for rule in picture.rules_of(chain)} if chain else {}
    found = chains[of].get(change.rule.handle)
    if found is None or found[1].text is None or found[1].raw != change.rule:
        return change
    return replace(rule_change(change.sign, *found), rule=change.rule)  # another tool may have its own words


def differences(before: Picture, after: Picture) -> Iterator[Change]:
    """Yield what is different in the second of two pictures with the same idents: tables, chains, then their rules."""
    same = {id(rules) for rules in before.chain_rules} & {id(rules) for rules in after.chain_rules}
    tables, old_chains, old_rules = _parts(before, same)
    new_tables, new_chains, new_rules = _parts(after, same)
    summed = {key for key in tables.keys() ^ new_tables.keys() if max(tables[key], new_tables[key]) >= SUMMED}
    for key in sorted(summed):
        yield from (_table("-", key, before),) if key in tables else (_table("+", key, after),)
    for ident, chain in new_chains.items():
        known = old_chains.get(ident)
        if (known is None or settings(known) != settings(chain)) and chain.table_key not in summed:
            yield chain_change(chain, known)
    for ident, chain in old_chains.items():
        if ident not in new_chains and chain.table_key not in summed:
            yield Change("-", chain.backend, chain_path(chain), "chain", chain.name, place(chain))
    for ident, (chain, rule) in old_rules.items():
        if ident not in new_rules and chain.table_key not in summed:
            yield rule_change("-", chain, rule)
    for ident, (chain, rule) in new_rules.items():
        old = old_rules[ident][1] if ident in old_rules else None
        if old is None:
            yield from () if chain.table_key in summed else (rule_change("+", chain, rule),)
        elif old.text and rule.text and old.text != rule.text and rule_text(old) != rule_text(rule):
            yield rule_change("~", chain, rule, f"{rule_text(old)} → ")


def _parts(
    picture: Picture, same: Collection[int]
) -> tuple[Counter[TableKey], dict[int, ChainView], dict[int, tuple[ChainView, RuleView]]]:
    """Return the number of chains and rules by table, and both by ident. `same`: lists of rules without a change."""
    chains = picture.chains
    sizes = Counter({chain.table_key: 0 for chain in chains})
    for chain in chains:
        sizes[chain.table_key] += 1 + chain.count
    changed = [rules for rules in picture.chain_rules if id(rules) not in same]
    rules = {rule.ident: (chains[rule.chain], rule) for rules in changed for rule in rules}
    return sizes, {chain.ident: chain for chain in chains}, rules


def _table(sign: str, key: TableKey, picture: Picture) -> Change:
    backend, family, table = key
    counts = [chain.count for chain in picture.chains if chain.table_key == key]
    tool = IPTABLES_NFT if key in picture.tables_of_iptables() else backend
    return Change(sign, tool, f"{family} {table}", table_text(len(counts), sum(counts)), table, (family, table))
