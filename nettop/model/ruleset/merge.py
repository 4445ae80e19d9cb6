"""One picture of the chains and rules of nft, iptables-nft and iptables-legacy, joined from raw dumps and texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nettop.decode.nftables.iptables_save import SavedChain, SavedRule, SavedRuleset
from nettop.decode.nftables.listing import ChainKey, ListedRule, jumps
from nettop.decode.nftables.objects import NftChain
from nettop.decode.nftables.rules import NftRule
from nettop.kinds import TRACE_PREFIX
from nettop.model.ruleset import hooks
from nettop.model.ruleset.picture import IPTABLES_NFT, LEGACY, NFT, ChainView, Key, Picture, Raw, RuleView
from nettop.model.ruleset.texts import RulesetTexts, is_of

_SAVE_POLICY = {"ACCEPT": "accept", "DROP": "drop"}


class _JoinedChain(NamedTuple):
    """The rules of a chain of nf_tables, joined with their words, and what they were joined of."""

    of: tuple[object, ...]  # place and backend of the chain, handle of its table, version of its words; (): of more
    rules: list[NftRule]
    views: list[RuleView]
    idents: dict[Key, int]
    missing_texts: int


class RuleIdents:
    """The idents of chains and rules: each keeps its number as long as it exists, wherever it moves."""

    def __init__(self) -> None:
        self._known: dict[Key, int] = {}
        self._used: dict[Key, int] = {}
        self.chains: dict[ChainKey, _JoinedChain] = {}  # of the picture before
        self._used_chains: dict[ChainKey, _JoinedChain] = {}
        self._next = 1

    def of(self, key: Key) -> int:
        """Return the number of the chain or rule with this key."""
        ident = self._known.get(key)
        if ident is None:
            ident = self._next
            self._next += 1
        self._used[key] = ident
        return ident

    def keep(self, chain: ChainKey, joined: _JoinedChain) -> None:
        """Keep the rules of a chain for the next picture."""
        self._used.update(joined.idents)
        self._used_chains[chain] = joined

    def end_picture(self) -> None:
        """End a picture: forget the keys that were not used in it."""
        self._known, self._used = self._used, {}
        self.chains, self._used_chains = self._used_chains, {}


def _by_chain(raw: Raw) -> dict[ChainKey, list[int]]:
    """Return the indexes in raw.rules by chain. An interrupted dump may have a rule twice."""
    found, at = dict[ChainKey, list[int]](), 0
    for chain, count in (run for rules in raw.datagrams for run in rules.chains):
        found.setdefault(chain, []).extend(range(at, at + count))
        at += count
    return {chain: _once(raw, members) for chain, members in found.items()} if raw.interrupted else found


def _once(raw: Raw, members: list[int]) -> list[int]:
    """Return the indexes in raw.rules without those of rules that came before."""
    once: dict[int, int] = {}
    for index in members:
        once.setdefault(raw.rules[index].handle, index)
    return list(once.values())


def _builtin(chain: NftChain) -> bool:
    """Return whether iptables-nft or its kin made this base chain: by its name, hook and priority."""
    names = hooks.IPTABLES_NFT_TABLES.get(chain.family, {}).get(chain.table, frozenset())
    return chain.name in names and chain.name.lower() == chain.hook


def _iptables_tables(raw: Raw) -> set[tuple[str, str]]:
    """Return the (family, table) whose user chains are of iptables-nft or its kin: at least one base chain is."""
    base: dict[tuple[str, str], list[bool]] = {}
    for chain in raw.chains:
        if chain.table in hooks.IPTABLES_NFT_TABLES.get(chain.family, {}):
            base.setdefault((chain.family, chain.table), []).extend([_builtin(chain)] if chain.hook else [])
    return {table for table, builtin in base.items() if any(builtin) or not builtin}


def _multiline(raw: Raw) -> set[str]:
    """Return the strings with a newline that nft prints in quotes."""
    comments = {one.comment for part in (raw.tables, raw.chains, raw.objects) for one in part}
    found = {comment for comment in comments if comment and "\n" in comment}
    return found.union(*(rules.multiline for rules in raw.datagrams))


class _PictureBuilder:
    def __init__(self, raw: Raw, texts: RulesetTexts, idents: RuleIdents, current: bool) -> None:
        self.raw, self.texts, self.idents, self.current = raw, texts, idents, current
        self.picture = Picture(raw_cells=[-1] * len(raw.rules))
        self.by_chain = _by_chain(raw)
        self.legacy_seen: dict[tuple[Key, str], int] = {}
        self.iptables = _iptables_tables(raw)
        self.tables = {(table.family, table.name): table for table in raw.tables}
        self.implicit: dict[int, ListedRule] = {}  # by index in raw.rules: rules of `jump { … }`
        texts.parse(_multiline(raw))
        self._find_implicit()

    def _find_implicit(self) -> None:
        """Join the rules of implicit chains with their words, which stand in the rule that jumps there."""
        bound = {(c.family, c.table, c.name) for c in self.raw.chains if "binding" in c.flags}
        for rule in self.raw.rules if bound else ():
            if (rule.family, rule.table, rule.chain) not in bound:
                listed = self.texts.listed(rule, self._table_handle(rule))
                self._join_implicit(rule, listed, bound)

    def _join_implicit(self, rule: NftRule, listed: ListedRule | None, bound: set[ChainKey]) -> None:
        targets = [(rule.family, rule.table, name) for name in rule.targets]
        for target in (target for target in targets if target in bound and listed is not None):
            members, inner = self.by_chain.get(target, []), listed.inner if listed else ()
            plain = len(members) == len(inner) and all(
                is_of(words, self.raw.rules[index]) for index, words in zip(members, inner, strict=True)
            )
            for index, words in zip(members, inner, strict=True) if plain else ():
                self.implicit[index] = words
                self._join_implicit(self.raw.rules[index], words, bound)

    def _table_handle(self, rule: NftRule) -> int | None:
        return self.raw.handles.get((rule.family, rule.table))

    def nft_chain(self, chain: NftChain) -> None:
        key = (chain.family, chain.table, chain.name)
        members = self.by_chain.get(key, [])
        iptables = _builtin(chain) if chain.hook else key[:2] in self.iptables
        table = self.tables.get(key[:2])
        flags = (*(table.flags if table else ()), *(flag for flag in chain.flags if flag in ("offload", "binding")))
        view = ChainView(
            ident=self.idents.of(("chain", *key)),
            backend=IPTABLES_NFT if iptables else NFT,
            family=chain.family,
            table=chain.table,
            name=chain.name,
            hook=chain.hook,
            priority=chain.priority,
            type=chain.type,
            policy=chain.policy,
            devices=chain.devices,
            handle=chain.handle,
            comment=chain.comment,
            flags=flags,
            references=max(0, chain.use - len(members)),
            first=len(self.picture.rules),
            count=len(members),
        )
        if iptables and self.current:
            handles = [self.raw.rules[index].handle for index in members]
            self.texts.align(key, self.raw.handles.get(key[:2]), handles)
        self._add_chain(view)
        joined = self._joined(view, key, members)
        for cell, index in enumerate(members, view.first):
            self.picture.raw_cells[index] = cell
        self.picture.rules += joined.views
        self.picture.chain_rules.append(joined.views)
        self.picture.missing_texts += joined.missing_texts
        self.idents.keep(key, joined)

    def _joined(self, view: ChainView, key: ChainKey, members: list[int]) -> _JoinedChain:
        """Return the rules of a chain: those of the picture before, if nothing that they show has changed."""
        rules = [self.raw.rules[index] for index in members]
        of = len(self.picture.chains) - 1, view.backend, self.raw.handles.get(key[:2]), self.texts.version_of(key)
        known = self.idents.chains.get(key)
        alone = not self.implicit and not self.raw.sets.branches  # words and targets of no other rule or map are theirs
        if known and alone and known.of == of and known.rules == rules:
            return known
        views = [self._nft_rule(view, index, number) for number, index in enumerate(members, 1)]
        idents: dict[Key, int] = {("rule", *key, one.handle or 0): one.ident for one in views}
        return _JoinedChain(of if alone else (), rules, views, idents, sum(one.text is None for one in views))

    def _add_chain(self, view: ChainView) -> None:
        self.picture.by_name[(*view.table_key, view.name)] = len(self.picture.chains)
        self.picture.chains.append(view)

    def _nft_rule(self, chain: ChainView, index: int, number: int) -> RuleView:
        rule = self.raw.rules[index]
        handle = self._table_handle(rule)
        listed = self.implicit.get(index) or self.texts.listed(rule, handle)
        owned = chain.backend == IPTABLES_NFT and (rule.printable or bool(rule.extensions))
        saved = self.texts.printed(rule, handle) if owned else None
        awaited = owned and self.texts.is_awaited(rule.family)
        text = saved.text if saved else listed.text if listed and not awaited and not rule.extensions else None
        return RuleView(
            ident=self.idents.of(("rule", rule.family, rule.table, rule.chain, rule.handle)),
            chain=len(self.picture.chains) - 1,
            number=number,
            handle=rule.handle,
            text=text,
            backend=IPTABLES_NFT if saved or (owned and text is None) else NFT,
            comment=rule.comment,
            targets=tuple(dict.fromkeys((*rule.targets, *jumps(listed.text if listed else ""), *self._by_map(rule)))),
            verdict=rule.verdicts[-1] if rule.verdicts else (saved.target if saved else None) or "",
            raw=rule,
        )

    def _by_map(self, rule: NftRule) -> Iterator[str]:
        """Yield the chains that the elements of the rule's verdict maps jump to."""
        for name in rule.sets if self.raw.sets.branches else ():
            for branch in self.raw.sets.branches.get((rule.family, rule.table, name), ()):
                if branch.value.target:
                    yield branch.value.target

    def legacy_chain(self, family: str, chain: SavedChain, saved: SavedRuleset) -> None:
        priority = hooks.LEGACY_TABLES.get(chain.table, {}).get(chain.name) if chain.policy else None
        hook = None if priority is None else chain.name.lower()
        key = ("legacy", family, chain.table, chain.name)
        view = ChainView(
            ident=self.idents.of(("chain", *key)),
            backend=LEGACY,
            family=family,
            table=chain.table,
            name=chain.name,
            hook=hook,
            priority=priority,
            type=hooks.legacy_type(chain.table, chain.name) if hook else None,
            policy=_SAVE_POLICY.get(chain.policy or "", chain.policy),
            first=len(self.picture.rules),
            count=len(chain.rules),
        )
        self._add_chain(view)
        jumping = [(chain.table, rule.target or "") in saved.chains for rule in chain.rules]
        views = [self._legacy_rule(key, rule, jumps) for rule, jumps in zip(chain.rules, jumping, strict=True)]
        self.picture.rules += views
        self.picture.chain_rules.append(views)

    def _legacy_rule(self, key: Key, rule: SavedRule, jumps_on: bool) -> RuleView:
        # without handles a rule is identified by its text and the number of equal ones before it
        known = self.legacy_seen.setdefault((key, rule.text), 0)
        self.legacy_seen[key, rule.text] = known + 1
        return RuleView(
            ident=self.idents.of(("rule", *key, rule.text, known)),
            chain=len(self.picture.chains) - 1,
            number=rule.number,
            text=rule.text,
            backend=LEGACY,
            comment=rule.comment,
            targets=(rule.target,) if rule.target else (),
            verdict=("goto" if rule.goes else "jump") if jumps_on else rule.target or "",
        )


def join(raw: Raw, texts: RulesetTexts, idents: RuleIdents, current: bool) -> Picture:
    """Return the picture. `current`: texts and dumps are of one ruleset, so a text without handles can be joined."""
    builder = _PictureBuilder(raw, texts, idents, current)
    for chain in raw.chains:
        builder.nft_chain(chain)
    for family, saved in sorted(texts.legacy.items()):
        for legacy in saved.chains.values():
            builder.legacy_chain(family, legacy, saved)
    picture = builder.picture
    chains = np.arange(len(picture.chains), dtype=np.int64)
    picture.chain_of_cell = np.append(np.repeat(chains, [chain.count for chain in picture.chains]), chains)
    picture.hooked = frozenset(
        (*chain.table_key, chain.name, chain.handle, chain.flags, raw.handles.get((chain.family, chain.table)))
        for chain in picture.chains
        if chain.hook is not None and not chain.table.startswith(TRACE_PREFIX)
    )
    idents.end_picture()
    texts.forget(raw.rules, raw.handles)
    return picture
