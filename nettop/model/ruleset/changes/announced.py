"""The changes of commits as the kernel announces them: those of rules before their words are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from nettop.decode.nftables.commits import Announced, NftCommit
from nettop.decode.nftables.expressions import expression_lines
from nettop.decode.nftables.objects import NftChain, NftTable
from nettop.decode.nftables.rules import NftRule
from nettop.model.ruleset.changes.change import SUMMED, Change, chain_change, place, rule_change, settings, table_text
from nettop.model.ruleset.picture import LEGACY, NFT, ChainView, Key, Picture

_Size = tuple[bool, str, str]  # added or deleted, family, table


class AnnouncedRules:
    """The chains and rules of nf_tables: those of a picture, with what was announced since."""

    def __init__(self, picture: Picture) -> None:
        own = [chain for chain in picture.chains if chain.backend != LEGACY]
        self._chains: dict[Key, ChainView | NftChain] = {place(chain): replace(chain, flags=()) for chain in own}
        self._picture = picture
        self._since: dict[Key, NftRule | None] = {}  # rules that were added, or (None) deleted

    def apply(self, commit: NftCommit) -> Iterator[Change]:
        """Apply a commit, and yield the changes that were not known: a table of SUMMED chains and rules is one."""
        chains, rules = (Counter(map(_size, _of(commit, kind))) for kind in (NftChain, NftRule))
        tables = {_size(one) for one in _of(commit, NftTable)}
        summed = {size for size in tables if chains[size] + rules[size] >= SUMMED}
        for one in commit.changes:
            size = _size(one)
            change = self._apply(one)
            if size in summed and isinstance(one.what, NftTable):
                text = table_text(chains[size], rules[size])
                yield Change("+" if one.added else "-", NFT, " ".join(size[1:]), text, size[2], size[1:])
            elif change is not None and size not in summed:
                yield change

    def _apply(self, one: Announced) -> Change | None:
        what = one.what
        if isinstance(what, NftRule):
            return self._add_rule(what) if one.added else self._delete_rule(what)
        if isinstance(what, NftTable):
            return None
        known = self._chains.pop(place(what), None)
        if one.added:
            self._chains[place(what)] = what
            changed = known is None or settings(known) != settings(what)
            return chain_change(what, known) if changed else None
        return Change("-", NFT, " ".join(place(what)), "chain", what.name, place(what)) if known else None

    def _add_rule(self, rule: NftRule) -> Change | None:
        key = _key(rule)
        known = None if key in self._since else self._picture.rule_of(key[:3], rule.handle)
        if known is not None and known.raw == rule:
            return None  # the picture has it already
        self._since[key] = rule
        return _without_words("+", rule)

    def _delete_rule(self, deleted: NftRule) -> Change | None:
        key = _key(deleted)
        added = self._since.get(key)
        known = None if key in self._since else self._picture.rule_of(key[:3], deleted.handle)
        self._since[key] = None
        if added is not None:
            return _without_words("-", added)
        return None if known is None else rule_change("-", self._picture.chains[known.chain], known)


def _of(commit: NftCommit, kind: type) -> Iterator[Announced]:
    return (one for one in commit.changes if isinstance(one.what, kind))


def _size(one: Announced) -> _Size:
    return one.added, one.what.family, one.what.name if isinstance(one.what, NftTable) else one.what.table


def _key(rule: NftRule) -> tuple[str, str, str, int]:
    return rule.family, rule.table, rule.chain, rule.handle


def _without_words(sign: str, rule: NftRule) -> Change:
    """Return a change with the expressions of a rule."""
    text = " ".join(expression_lines(rule.raw))
    return Change(
        sign, NFT, f"{rule.family} {rule.table} {rule.chain} handle {rule.handle}", text, rule.chain, _key(rule), rule
    )
