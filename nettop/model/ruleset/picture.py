"""The chains and rules of nft, iptables-nft and iptables-legacy in one picture, and the dumps that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain as concatenated

import numpy as np

from nettop.batch import Array
from nettop.decode.nftables.listing import ChainKey
from nettop.decode.nftables.objects import NftChain, NftObject, NftTable
from nettop.decode.nftables.rules import NftRule, Rules
from nettop.model.ruleset import hooks
from nettop.model.ruleset.sets.contents import Sets

NFT, IPTABLES_NFT, LEGACY = "nft", "iptables-nft", "iptables-legacy"

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule. Its cell in Counts is its index in Picture.rules."""

    ident: int
    chain: int  # index in Picture.chains
    number: int  # from 1 in its chain
    text: str | None  # as written by the tool that owns it; None: not known (yet)
    backend: str  # that tool: NFT or that of its chain
    comment: str | None
    targets: tuple[str, ...]  # chains of its table that it may jump or go to, also by the elements of a map
    verdict: str  # the last one: accept, drop, jump, DNAT, vmap (a verdict map's), … or ""
    handle: int | None = None  # None: iptables-legacy has none
    raw: NftRule | None = None


@dataclass(frozen=True, slots=True)
class ChainView:
    """One chain. Its policy's cell in Counts is len(Picture.rules) + its index in Picture.chains."""

    ident: int
    backend: str
    family: str
    table: str
    name: str
    hook: str | None  # None: a user chain, as are the next three
    priority: int | None
    type: str | None
    policy: str | None
    first: int  # its rules are Picture.rules[first : first + count]
    count: int
    devices: tuple[str, ...] = ()  # this and the rest: iptables-legacy has none
    handle: int | None = None
    comment: str | None = None
    flags: tuple[str, ...] = ()  # dormant (its table is), offload, binding (of `jump { … }`)
    references: int | None = None  # jumps to it, also by set elements; None: the tool does not report them

    @property
    def table_key(self) -> tuple[str, str, str]:
        """The table of the chain: LEGACY, or NFT of nf_tables (one may have chains of both tools); family, table."""
        return LEGACY if self.backend == LEGACY else NFT, self.family, self.table

    @property
    def priority_name(self) -> str | None:
        """The priority as nft names it."""
        return hooks.priority_name(self.family, self.hook, self.priority)


@dataclass(slots=True)
class Raw:
    """The latest raw dumps."""

    tables: list[NftTable] = field(default_factory=list)
    chains: list[NftChain] = field(default_factory=list)
    datagrams: list[Rules] = field(default_factory=list)
    rules: list[NftRule] = field(default_factory=list)  # of these datagrams
    objects: list[NftObject] = field(default_factory=list)
    # Handles of the tables when the rules were dumped: with those of rules, the keys of words. None: not known.
    handles: dict[tuple[str, str], int | None] = field(default_factory=dict)
    sets: Sets = field(default_factory=Sets)
    interrupted: bool = False  # the ruleset changed during the dump of the rules: some may be missing, or in it twice

    @property
    def parts(self) -> tuple[NftTable | NftChain | NftRule, ...]:
        """Tables, chains and rules."""
        return *self.tables, *self.chains, *self.rules


@dataclass(slots=True)
class Picture:
    """Chains and rules of all backends."""

    chains: list[ChainView] = field(default_factory=list)
    rules: list[RuleView] = field(default_factory=list)
    by_name: dict[tuple[str, str, str, str], int] = field(default_factory=dict)  # (*table_key, chain) → index
    raw_cells: list[int] = field(default_factory=list)  # cell of each raw rule in dump order; -1: its chain is unknown
    chain_of_cell: Array = field(default_factory=lambda: np.empty(0, np.int64))  # index of the chain of each cell
    chain_rules: list[list[RuleView]] = field(default_factory=list)  # by chain; the same object while none changes
    missing_texts: int = 0  # rules whose text is not known
    proven: set[tuple[int, int]] = field(default_factory=set)  # tied chains (idents) that a packet met in this order
    hooked: frozenset[tuple[object, ...]] = frozenset()  # what registers a hook: while it is equal, so is that order
    _cells: dict[ChainKey, dict[int | None, int]] = field(default_factory=dict)  # by chain and handle, once looked up

    def origin(self, before: Picture) -> Array:
        """Return the cell that the rule or the policy of each cell had in the picture before; -1: it is new."""
        places = {id(rules): chain.first for chain, rules in zip(before.chains, before.chain_rules, strict=True)}
        same = places.keys() & {id(rules) for rules in self.chain_rules}
        changed = [rules for rules in before.chain_rules if id(rules) not in same]
        known = {rule.ident: cell for rules in changed for cell, rule in enumerate(rules, places[id(rules)])}
        policies = {chain.ident: before.policy_cell(index) for index, chain in enumerate(before.chains)}
        cells: list[Iterable[int]] = []
        for rules in self.chain_rules:
            first = places[id(rules)] if id(rules) in same else None
            new = (known.get(rule.ident, -1) for rule in rules)
            cells.append(new if first is None else range(first, first + len(rules)))
        cells.append(policies.get(chain.ident, -1) for chain in self.chains)
        return np.fromiter(concatenated.from_iterable(cells), np.int64)

    def policy_cell(self, chain: int) -> int:
        """Return the cell of a chain's policy counter."""
        return len(self.rules) + chain

    def chain(self, family: str, table: str, name: str, legacy: bool) -> ChainView | None:
        """Return a chain of iptables-legacy or of nf_tables; None if it is not known (yet)."""
        at = self.by_name.get((LEGACY if legacy else NFT, family, table, name))
        return None if at is None else self.chains[at]

    def tables_of_iptables(self) -> set[tuple[str, str, str]]:
        """Return the tables (their keys) of nf_tables that have a chain of iptables-nft or its kin."""
        return {chain.table_key for chain in self.chains if chain.backend == IPTABLES_NFT}

    def rules_of(self, chain: ChainView) -> list[RuleView]:
        """Return the rules of a chain, in order."""
        return self.rules[chain.first : chain.first + chain.count]

    def cells_of(self, rules: Rules) -> list[int]:
        """Return the cell of each of these rules of the kernel; -1: it is not known (yet)."""
        cells: list[int] = []
        for chain, count in rules.chains:
            known = self._cells_of(chain)
            cells += [known.get(rule.handle, -1) for rule in rules[len(cells) : len(cells) + count]]
        return cells

    def rule_of(self, chain: ChainKey, handle: int) -> RuleView | None:
        """Return the rule of the kernel with this handle; None if it is not known (yet)."""
        cell = self._cells_of(chain).get(handle)
        return None if cell is None else self.rules[cell]

    def _cells_of(self, chain: ChainKey) -> dict[int | None, int]:
        if chain not in self._cells:
            view = self.chain(*chain, legacy=False)
            rules = [] if view is None else self.rules_of(view)
            self._cells[chain] = {rule.handle: cell for cell, rule in enumerate(rules, view.first if view else 0)}
        return self._cells[chain]

    def targets(self, rule: RuleView) -> Iterator[int]:
        """Yield the chains (indices) that a rule jumps or goes to."""
        table_key = self.chains[rule.chain].table_key
        for name in rule.targets:
            index = self.by_name.get((*table_key, name))
            if index is not None:
                yield index
