"""Two states of a ruleset compared chain by chain: as unified diffs, or as one JSON object for each difference."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher, unified_diff
from typing import Any

from nettop.model.ruleset.order import traversal
from nettop.model.ruleset.picture import LEGACY, ChainView, Picture, RuleView
from nettop.model.ruleset.words import chain_path, is_implicit, rule_text

ChainKey = tuple[bool, str, str, str]  # of iptables-legacy, family, table, chain
_ABSENT = "/dev/null"  # as diff names the side that a file is not on
_PROPERTIES = ("type", "hook", "priority", "device", "policy", "comment", "flags")


@dataclass(frozen=True, slots=True)
class ChainState:
    """One chain of one of the states."""

    view: ChainView
    rules: list[RuleView]

    def properties(self) -> dict[str, Any]:
        """Return the fields of the chain other than its rules: those without a value are None."""
        chain = self.view
        joined = {"device": ",".join(chain.devices), "flags": ",".join(chain.flags)}
        return {name: joined.get(name) or getattr(chain, name, None) for name in _PROPERTIES}

    def lines(self) -> list[str]:
        """Return the chain as lines: its properties, then its rules without counters."""
        given = [f"{name} {value}" for name, value in self.properties().items() if value not in (None, ())]
        return [*(f"{line};" for line in given), *map(rule_text, self.rules)]


def chains_of(picture: Picture, chosen: Collection[int]) -> dict[ChainKey, ChainState]:
    """Return the chosen chains (indices) of a picture in traversal order.

    Implicit chains, which get another name each time, are in the words of the rules that jump there.
    """
    found = {}
    for index in traversal(picture):
        chain = picture.chains[index]
        if index in chosen and not is_implicit(chain):
            key = (chain.backend == LEGACY, chain.family, chain.table, chain.name)
            found[key] = ChainState(chain, picture.rules_of(chain))
    return found


def complete(before: dict[ChainKey, ChainState], after: dict[ChainKey, ChainState]) -> None:
    """Give each rule without words those of the same rule on the other side: same handle, same expressions."""
    for key in before.keys() & after.keys():
        for one, other in ((before, after), (after, before)):
            known = {rule.handle: rule for rule in other[key].rules if rule.text is not None and rule.raw is not None}
            rules = one[key].rules
            for at, rule in enumerate(rules):
                same = known.get(rule.handle) if rule.text is None and rule.handle is not None else None
                if same is not None and same.raw == rule.raw:
                    rules[at] = replace(rule, text=same.text)


def unified(
    before: dict[ChainKey, ChainState], after: dict[ChainKey, ChainState], names: tuple[str, str]
) -> Iterator[str]:
    """Yield a unified diff of each chain that differs, as `diff -u` writes it of files."""
    for key in _keys(before, after):
        old, new = before.get(key), after.get(key)
        labels = [_label(side, name) for side, name in zip((old, new), names, strict=True)]
        lines = [side.lines() if side else [] for side in (old, new)]
        if old is None or new is None:
            yield from (f"--- {labels[0]}", f"+++ {labels[1]}")
            mark = "+" if old is None else "-"
            yield from (f"{mark}{line}" for line in lines[old is None])
        else:
            yield from unified_diff(lines[0], lines[1], labels[0], labels[1], lineterm="")


def _label(side: ChainState | None, name: str) -> str:
    return _ABSENT if side is None else f"{name}: {chain_path(side.view)} ({side.view.backend})"


def _keys(before: dict[ChainKey, ChainState], after: dict[ChainKey, ChainState]) -> list[ChainKey]:
    return list(dict.fromkeys((*before, *after)))


def differences(
    before: dict[ChainKey, ChainState], after: dict[ChainKey, ChainState], netns: str
) -> Iterator[dict[str, Any]]:
    """Yield each difference: a chain or a rule that was added, removed, changed or moved within its chain.

    A rule with the same handle and other words was changed; one with the same words elsewhere was moved.
    """
    for key in _keys(before, after):
        old, new = before.get(key), after.get(key)
        if (side := new or old) is None:
            continue
        chain = side.view
        where = {"kind": "difference", "netns": netns, "family": chain.family, "table": chain.table}
        where |= {"chain": chain.name, "backend": chain.backend}
        changes = [(name, pair) for name, pair in _properties(old, new) if pair[0] != pair[1]]
        if old is None or new is None:
            yield {**where, "what": "chain", "change": "added" if old is None else "removed"}
        else:
            for name, (was, now) in changes:
                yield {**where, "what": name, "change": "changed", "before": was, "after": now}
        for row in _rules(old.rules if old else [], new.rules if new else []):
            yield {**where, "what": "rule", **row}


def _properties(old: ChainState | None, new: ChainState | None) -> list[tuple[str, tuple[Any, Any]]]:
    if old is None or new is None:
        return []
    was, now = old.properties(), new.properties()
    return [(name, (was[name], now[name])) for name in _PROPERTIES]


def _rules(old: list[RuleView], new: list[RuleView]) -> Iterator[dict[str, Any]]:
    removed, added = _unequal(old, new)
    by_handle = {rule.handle: rule for rule in removed if rule.handle is not None}
    by_text: dict[str, list[RuleView]] = {}
    for rule in removed:
        by_text.setdefault(rule_text(rule), []).append(rule)
    gone = {rule.ident: rule for rule in removed}
    rows = []
    for rule in added:
        same = next((one for one in by_text.get(rule_text(rule), ()) if one.ident in gone), None)
        was = same or (by_handle.get(rule.handle) if rule.handle is not None else None)
        was = gone.pop(was.ident, None) if was is not None else None
        change = "added" if was is None else "moved" if was is same else "changed"
        rows.append(_row(change, was, rule))
    yield from (_row("removed", rule, None) for rule in gone.values())
    yield from rows


def _unequal(old: list[RuleView], new: list[RuleView]) -> tuple[list[RuleView], list[RuleView]]:
    """Return the rules of each side that are not in the longest common order."""
    texts = [rule_text(rule) for rule in old], [rule_text(rule) for rule in new]
    removed, added = list[RuleView](), list[RuleView]()
    if texts[0] != texts[1]:
        for tag, first, last, start, end in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
            if tag != "equal":
                removed += old[first:last]
                added += new[start:end]
    return removed, added


def _row(change: str, old: RuleView | None, new: RuleView | None) -> dict[str, Any]:
    return {
        "change": change,
        "handle": (new or old).handle if new or old else None,  # type: ignore[union-attr]
        "number_before": old and old.number,
        "number_after": new and new.number,
        "before": old and rule_text(old),
        "after": new and rule_text(new),
    }
