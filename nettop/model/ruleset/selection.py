"""The part of a ruleset that a command prints: by table, chain, hook, set and display filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from nettop.decode.ipset import IpSet
from nettop.decode.nftables.listing import Flowtable
from nettop.decode.nftables.objects import NftObject
from nettop.decode.nftables.sets import NftSet
from nettop.errors import UsageError
from nettop.linux.nf_tables import HOOK_ORDER
from nettop.model.filter.fields import Mask
from nettop.model.ruleset.fields import rule_fields
from nettop.model.ruleset.order import traversal
from nettop.model.ruleset.picture import LEGACY, NFT
from nettop.model.ruleset.rule_tree import chains_from
from nettop.model.ruleset.ruleset import Ruleset
from nettop.model.ruleset.sets.contents import SetContents, ipsets_of, sets_of
from nettop.model.ruleset.sets.membership import Question
from nettop.text.units import listed

if TYPE_CHECKING:
    from nettop.model.filter.expression import Filter

_NAMED = 12  # names in the line that refuses an unknown one
_TableKey = tuple[str, str, str]  # as ChainView.table_key
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RuleQuery:
    """The names that a person gives. Tables, chains and sets may have `FAMILY` and `TABLE` before them."""

    tables: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()  # only these sets, no chains
    display_filter: Filter | None = None
    holds: Question | None = None  # only sets that hold this, and the rules that use them


@dataclass(slots=True)
class Selection:
    """The chains, rules and sets to print."""

    tables: list[_TableKey] = field(default_factory=list)
    chains: list[int] = field(default_factory=list)  # indices in Picture.chains, in traversal order
    cells: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))  # rules and policies, as in Counts
    sets: list[NftSet] = field(default_factory=list)
    ipsets: list[IpSet] = field(default_factory=list)
    objects: list[NftObject] = field(default_factory=list)
    flowtables: list[Flowtable] = field(default_factory=list)


def select(ruleset: Ruleset, query: RuleQuery, contents: SetContents) -> Selection:
    """Return what the query selects; with `holds` `contents` has only the elements that do.

    UsageError for a name that the ruleset does not have.
    """
    tables = _tables(ruleset)
    chosen = _named("table", query.tables, tables, lambda key: key[1:])
    found = Selection([key for key in tables if key in chosen] if query.tables else tables)
    picture = ruleset.picture
    found.cells = np.zeros(len(picture.chain_of_cell), np.bool_)
    if query.sets:
        every: list[NftSet | IpSet] = [*ruleset.raw.sets.listed.values(), *contents.ipsets]
        names = _named("set", query.sets, every, lambda one: one.id if isinstance(one, NftSet) else (one.name,))
        found.sets = [one for one in ruleset.raw.sets.listed.values() if one in names and _in(one, found.tables)]
        found.ipsets, found.tables = [one for one in contents.ipsets if one in names], []
        return found
    _named("hook", query.hooks, HOOK_ORDER, lambda hook: (hook,))
    chains = _named("chain", query.chains, picture.chains, lambda chain: (chain.family, chain.table, chain.name))
    reached = chains_from(picture, (index for index, chain in enumerate(picture.chains) if chain.hook in query.hooks))
    rows = [
        index
        for index in traversal(picture)
        if (not query.tables or picture.chains[index].table_key in chosen)
        and (not query.chains or picture.chains[index] in chains)
        and (not query.hooks or index in reached)
    ]
    shown = np.zeros(len(picture.chains), np.bool_)
    shown[rows] = True
    found.cells = shown[picture.chain_of_cell]
    if query.display_filter is not None:
        found.cells &= query.display_filter.mask(rule_fields(ruleset))
    if query.holds is not None:
        found.cells &= users_of(ruleset, contents)
    narrowed = query.display_filter is not None or query.holds is not None
    alive = set(picture.chain_of_cell[found.cells].tolist())
    found.chains = [index for index in rows if not narrowed or index in alive]
    _add_parts(ruleset, query, contents, found)
    return found


def _add_parts(ruleset: Ruleset, query: RuleQuery, contents: SetContents, found: Selection) -> None:
    """Add the sets and objects: all of the tables, or those that the rules use."""
    found.sets = [one for one in ruleset.raw.sets.listed.values() if _in(one, found.tables)]
    found.objects = [one for one in ruleset.raw.objects if _in(one, found.tables)]
    whole = not (query.tables or query.chains or query.hooks or query.display_filter)
    used, named, ipsets = _used(ruleset, found) if not whole else (set(), set(), set())
    if query.holds is not None:
        found.sets = [one for one in found.sets if one.id in contents.elements]
        found.ipsets = [one for one in contents.ipsets if one.name in contents.of_ipsets]
        found.tables, found.objects = [], []
    elif query.chains or query.hooks or query.display_filter:
        keys = {ruleset.picture.chains[index].table_key for index in found.chains}
        found.tables = [key for key in found.tables if key in keys]
        found.sets = [one for one in found.sets if one.id in used]
        found.objects = [one for one in found.objects if (one.family, one.table, one.type, one.name) in named]
    if query.holds is None:
        found.ipsets = [one for one in contents.ipsets if whole or one.name in ipsets]
        whole = whole or bool(query.tables and not (query.chains or query.hooks or query.display_filter))
        found.flowtables = [one for one in ruleset.texts.flowtables if whole and _in(one, found.tables)]


def _used(ruleset: Ruleset, found: Selection) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]], set[str]]:
    """Return the sets and objects with family and table, and the IP sets, that the selected rules use."""
    picture = ruleset.picture
    used, named, ipsets = set[tuple[str, ...]](), set[tuple[str, ...]](), set[str]()
    for cell in np.flatnonzero(found.cells[: len(picture.rules)]).tolist():
        rule = picture.rules[cell]
        key = picture.chains[rule.chain].table_key[1:]
        used.update((*key, name) for name in sets_of(rule.raw, None))
        named.update((*key, *one) for one in (rule.raw.objects if rule.raw else ()))
        ipsets.update(ipsets_of(rule.text))
    return used, named, ipsets


def users_of(ruleset: Ruleset, contents: SetContents) -> Mask:
    """Return the cells of the rules that use a set with contents."""
    picture = ruleset.picture
    uses = np.zeros(len(picture.chain_of_cell), np.bool_)
    for cell, rule in enumerate(picture.rules):
        key = picture.chains[rule.chain].table_key[1:]
        uses[cell] = any((*key, name) in contents.elements for name in sets_of(rule.raw, None)) or any(
            name in contents.of_ipsets for name in ipsets_of(rule.text)
        )
    return uses


def _in(one: NftSet | NftObject | Flowtable, tables: Iterable[_TableKey]) -> bool:
    return any(key[0] != LEGACY and key[1:] == (one.family, one.table) for key in tables)


def _tables(ruleset: Ruleset) -> list[_TableKey]:
    """Return all tables: those of the kernel's nf_tables, then the legacy ones."""
    nft = [(NFT, one.family, one.name) for one in ruleset.raw.tables]
    keys = dict.fromkeys(chain.table_key for chain in ruleset.picture.chains)
    return [*nft, *(key for key in keys if key[0] == LEGACY)]


def _named(what: str, names: tuple[str, ...], known: Iterable[T], key: Callable[[T], tuple[str, ...]]) -> set[T]:
    """Return those that have one of the names: their own, or with what they are in before it."""
    if not names:
        return set()
    by_name: dict[str, set[T]] = {}
    for one in known:
        parts = key(one)
        for start in range(len(parts)):
            by_name.setdefault(" ".join(parts[start:]), set()).add(one)
    for name in names:
        if name not in by_name:
            own = sorted({key(one)[-1] for group in by_name.values() for one in group})
            remedy = f"there are {listed(own, _NAMED)}" if own else f"there is no {what}"
            raise UsageError(f"no {what} {name!r} here", remedy)
    return {one for name in names for one in by_name[name]}
