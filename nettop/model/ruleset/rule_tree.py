"""The rules of one base chain, and those of its user chains under the first rule that jumps there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nettop.batch import Array
from nettop.model.filter.fields import Fields
from nettop.model.ruleset.picture import ChainView, Key, Picture, RuleView
from nettop.model.ruleset.sets.contents import SetRef
from nettop.model.table import ViewSpec

_MAX_DEPTH = 32  # more than the kernel allows (16 jumps, NFT_JUMP_STACK_SIZE)

LEAF, OPENED, ELSEWHERE = "", "▾ ", "▸ "  # no jump; the target chain follows; the target chain is elsewhere in the list
HEADING = "heading"  # no rule: the name of the chain whose rules follow
_HEADING_IDENT = 1 << 40  # above all idents of chains
_MANY = 200  # rows from which user chains are folded until they are opened


@dataclass(frozen=True, slots=True)
class SetPlace:
    """A row below a rule: the title of a set (`at` -1), an element, or what follows the last one that was read."""

    ident: int
    ref: SetRef
    at: int


class RuleRow(NamedTuple):
    """One row: a rule, the policy of the base chain, or the heading of a user chain; with `place` a row of a set."""

    chain: int  # index in Picture.chains
    rule: int | None  # index in Picture.rules; None: the policy, or a heading
    cell: int  # in Counts
    depth: int
    jump: str  # LEAF, OPENED, ELSEWHERE or HEADING
    place: SetPlace | None = None


def _chain_rows(picture: Picture, index: int, depth: int, opened: set[int]) -> Iterator[RuleRow]:
    opened.add(index)
    chain = picture.chains[index]
    for at, rule in enumerate(picture.rules_of(chain), chain.first):
        if not rule.targets:
            yield RuleRow(index, at, at, depth, LEAF)
            continue
        targets = list(picture.targets(rule))
        fresh = [t for t in dict.fromkeys(targets) if t not in opened and depth < _MAX_DEPTH]
        yield RuleRow(index, at, at, depth, OPENED if fresh else ELSEWHERE if targets else LEAF)
        for target in fresh:
            if target not in opened:
                yield RuleRow(target, None, picture.policy_cell(target), depth + 1, HEADING)
                yield from _chain_rows(picture, target, depth + 1, opened)


def rows_of(picture: Picture, chain: int) -> list[RuleRow]:
    """Return the rows of a chain, its policy last. Each rule is there once: a second jump does not repeat a chain."""
    return rules_of_tree(tree_of(picture, chain))


def rules_of_tree(tree: Sequence[RuleRow]) -> list[RuleRow]:
    """Return the rules and the policy of a tree, without headings."""
    return [row for row in tree if row.jump != HEADING]


def tree_of(picture: Picture, chain: int) -> list[RuleRow]:
    """Return the rows of a chain with the headings of the user chains below it."""
    rows = list(_chain_rows(picture, chain, 0, set()))
    if picture.chains[chain].policy is not None:
        rows.append(RuleRow(chain, None, picture.policy_cell(chain), 0, LEAF))
    return rows


class RuleTrees:
    """The trees of the chains of a picture. A tree stays the same object while no chain of its table changes."""

    def __init__(self) -> None:
        self._picture = Picture()
        self._tables: dict[Key, list[object]] = {}  # the chains of each table
        self._trees: dict[int, tuple[object, list[RuleRow]]] = {}  # by chain, with what they are made of

    def of(self, picture: Picture, chain: int) -> list[RuleRow]:
        """Return the tree of a chain (an index in the picture)."""
        if picture is not self._picture:
            self._picture, self._tables = picture, {}
            for index, one in enumerate(picture.chains):
                part = index, picture.policy_cell(index), one.first, one.policy, picture.chain_rules[index]
                self._tables.setdefault(one.table_key, []).append(part)
        made_of = self._tables[picture.chains[chain].table_key]
        known = self._trees.get(chain)
        if known is None or known[0] != made_of:
            known = self._trees[chain] = made_of, tree_of(picture, chain)
        return known[1]


@dataclass(frozen=True, slots=True)
class Folding:
    """The rows shown of a tree. `folded`: chains whose rules are hidden; `homes`: the chain whose heading is shown."""

    rows: list[RuleRow]
    folded: set[int]
    homes: dict[int, int]  # by chain: itself, or the folded chain that hides it


def heading_ident(chain: ChainView) -> int:
    """Return the ident of the heading of a chain: negative, and below those of policies."""
    return -(_HEADING_IDENT + chain.ident)


def is_long(tree: Sequence[RuleRow]) -> bool:
    """Return whether a tree is so long that its chains are folded at first."""
    return len(tree) > _MANY


def chain_of_ident(ident: int) -> int:
    """Return the ident of the chain of a heading or a policy."""
    return -ident % _HEADING_IDENT


def fold(
    tree: Sequence[RuleRow], is_toggled: Callable[[int], bool], is_empty: Callable[[int], bool] = lambda chain: False
) -> Folding:
    """Return the rows of a tree without those of folded chains. In a long tree all are, until they are toggled.

    Empty chains have no heading: firewalld makes more of them than others.
    """
    many = is_long(tree)
    found = Folding([], set(), {})
    hiding: RuleRow | None = None  # the folded heading
    for row in tree:
        if hiding is not None and row.depth >= hiding.depth + (row.jump == HEADING):
            if row.jump == HEADING:
                found.homes[row.chain] = hiding.chain
            continue
        hiding = None
        if row.jump == HEADING and is_empty(row.chain):
            continue
        found.rows.append(row)
        if row.jump == HEADING:
            found.homes[row.chain] = row.chain
            if is_toggled(row.chain) != many:
                found.folded.add(row.chain)
                hiding = row
    return found


def jumpers(picture: Picture) -> dict[int, list[int]]:
    """Return the rules (indices) that jump or go to each chain."""
    found: dict[int, list[int]] = {}
    for at, rule in enumerate(picture.rules):
        for target in picture.targets(rule) if rule.targets else ():
            found.setdefault(target, []).append(at)
    return found


def chains_from(picture: Picture, first: Iterable[int]) -> set[int]:
    """Return these chains, and those that their rules lead to."""
    found: set[int] = set()
    todo = list(first)
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += [target for rule in picture.rules_of(picture.chains[index]) for target in picture.targets(rule)]
    return found


def reached(picture: Picture, jumped: Mapping[int, list[int]]) -> set[int]:
    """Return the user chains with a place below another: those jumped to, but one of a circle that nothing leads to."""
    targets: dict[int, list[int]] = {}
    for target, rules in jumped.items():
        for at in rules:
            targets.setdefault(picture.rules[at].chain, []).append(target)
    below, seen = set(jumped), set[int]()
    chains = range(len(picture.chains))
    for index in (*(one for one in chains if one not in jumped or picture.chains[one].hook is not None), *chains):
        todo = [index] if index not in seen else []
        below -= set(todo)
        while todo:
            seen.add(one := todo.pop())
            todo += [target for target in targets.get(one, ()) if target not in seen]
    return below


def own_cells(picture: Picture, index: int) -> Array:
    """Return the cells of a chain's own rules and policy."""
    chain: ChainView = picture.chains[index]
    cells = np.arange(chain.first, chain.first + chain.count + 1, dtype=np.int64)
    cells[-1] = picture.policy_cell(index)
    return cells


def filtered(order: Sequence[int], spec: ViewSpec, fields: Callable[[], Fields]) -> list[int]:
    """Return the rows (indices) that the filter matches, in order."""
    if spec.filter is None or not len(order):
        return list(order)
    mask = spec.filter.mask(fields())
    return [index for index in order if mask[index]]


def verdict_of(rule: RuleView) -> str:
    """Return the verdict of a rule in the words of nft or iptables: accept, DROP, jump lan, …; "" for none."""
    if rule.verdict in ("jump", "goto") and rule.targets:
        return f"{rule.verdict} {rule.targets[0]}"
    return rule.verdict
