"""The packets that entered a chain, and SHARE: the part of them that each rule of it counted.

The kernel counts no entries. What is known: a packet that a rule counted was not ended by a rule before it. So what a
rule counted, plus all that the rules before it counted and ended, entered the chain; the largest such sum is the number
of entries if the last packets met a counter. A user chain is entered by what the rules that jump there counted. It is
exact if each packet met a counter: that of the policy, or of a rule without a condition, where all that left the chain
before was counted too; or that of one of the rules that jump there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nettop.batch import Array
from nettop.model.filter.fields import Mask
from nettop.model.ruleset.counters import Counts
from nettop.model.ruleset.picture import ChainView, Picture, RuleView
from nettop.text.units import AT_LEAST, scaled

_ENDS = frozenset(
    {"accept", "drop", "return", "goto", "reject", "queue", "nfqueue", "stolen", "fwd", "tproxy", "synproxy"}
    | {"snat", "dnat", "masquerade", "redirect", "netmap", "stop"}
)
_LEAVES = _ENDS | {"vmap", "jump"}
# Words of rules whose counter counts each packet that reaches them.
_COUNTS_ALL = re.compile(r'counter\b|(-m comment --comment ("(\\.|[^"\\])*"|[^"\s]\S*) ?)?(-[jg] |$)')


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of chains by the picture's layout. `order`: all cells, chain by chain; `starts`: of each chain."""

    order: Array
    starts: Array
    ends: Mask  # by cell: it counts exactly the packets that it keeps from the rest of its chain
    jumps: Array  # cells of rules that count exactly the packets that jump to a chain
    targets: Array  # the chain of each
    hides: Mask  # by cell: packets may leave the chain there that its counter does not count
    meets: Mask  # by cell: it counts each packet that reaches it
    unsure: Mask  # by chain: not each rule that jumps there counts exactly what jumps


class _ChainFacts(NamedTuple):
    """The properties of a chain's rules, from which the entries are computed."""

    rules: list[RuleView]
    masks: Mask  # (3, n) by rule, as in Entries: ends, hides, meets
    jumping: list[int]  # offsets of rules that jump or go to a chain


class EntriesFinder:
    """Computes the entries of pictures. It keeps the facts of chains whose rules stay the same."""

    def __init__(self) -> None:
        self._known: dict[int, _ChainFacts] = {}  # by the identity of their rules

    def of(self, picture: Picture) -> Entries:
        """Return the entries of a picture, which change only with its layout."""
        facts = [self._known.get(id(rules)) or _facts_of(rules) for rules in picture.chain_rules]
        self._known = {id(one.rules): one for one in facts}
        order = [np.append(np.arange(c.first, c.first + c.count), picture.policy_cell(i)) for i, c in _chains(picture)]
        ends, hides, meets = np.hstack([np.empty((3, 0), np.bool_), *(one.masks for one in facts)])
        policies = np.ones(len(facts), np.bool_)
        jumps = [
            chain.first + offset
            for (_, chain), one in zip(_chains(picture), facts, strict=True)
            for offset in one.jumping
        ]
        pairs = [(cell, target) for cell in jumps for target in picture.targets(picture.rules[cell])]
        exact = np.array([pair for pair in pairs if _is_exact(picture.rules[pair[0]])], np.int64).reshape(-1, 2)
        unsure = ~policies
        unsure[[target for cell, target in pairs if not _is_exact(picture.rules[cell])]] = True
        return Entries(
            np.concatenate([np.empty(0, np.int64), *order]),
            np.cumsum([0, *(len(cells) for cells in order)])[:-1],
            np.append(ends, policies),
            exact[:, 0],
            exact[:, 1],
            np.append(hides, ~policies),
            np.append(meets, policies),
            unsure,
        )


def _chains(picture: Picture) -> Iterable[tuple[int, ChainView]]:
    return enumerate(picture.chains)


def _facts_of(rules: list[RuleView]) -> _ChainFacts:
    ends = [_is_exact(rule) and rule.verdict.lower() in _ENDS for rule in rules]
    leave = [bool(rule.targets) or rule.verdict.lower() in _LEAVES for rule in rules]
    hides = [leaves and not ended for leaves, ended in zip(leave, ends, strict=True)]
    masks = np.array([ends, hides, [_meets(rule) for rule in rules]], np.bool_)
    return _ChainFacts(rules, masks, [at for at, rule in enumerate(rules) if rule.targets])


def _is_exact(rule: RuleView) -> bool:
    """Return whether the counter counts just the packets that the verdict applies to."""
    return len(rule.targets) < 2 and (rule.raw is None or rule.raw.counts_matches)


def _meets(rule: RuleView) -> bool:
    if rule.raw is not None and (rule.raw.unconditional or rule.raw.counters > 1):
        return rule.raw.unconditional  # of several counters the last one is shown
    return rule.text is not None and _COUNTS_ALL.match(rule.text) is not None


@dataclass(frozen=True, slots=True)
class Entered:
    """The entries of a chain: packets, bytes, packets a second, each None if not known; `least`: the part known."""

    packets: float | None
    bytes: float | None
    rate: float | None
    least: str  # AT_LEAST or ""

    def text(self, value: float | None) -> str:
        """Return `4`, `≥1.2k` or `–`."""
        return scaled(value) if value is None else self.least + scaled(value)


def entered(entries: Entries, counts: Counts) -> list[Entered]:
    """Return what entered each chain."""
    rated = counts.have & ~np.isnan(counts.rate)
    exact = _exact(entries, counts.have)
    sure = exact & _exact(entries, rated)
    rates = np.where(exact & ~sure, 0.0, _entered(entries, counts.rate, rated))  # a new rule has no rate yet
    sums = (
        _known(_entered(entries, counts.packets.astype(np.float64), counts.have), exact),
        _known(_entered(entries, counts.bytes.astype(np.float64), counts.have), exact),
        _known(rates, sure),
    )
    marks = ["" if whole else AT_LEAST for whole in exact.tolist()]
    return [Entered(*found) for found in zip(*sums, marks, strict=True)]


def _known(values: Array, exact: Mask) -> list[float | None]:
    """Return the values; None for those of which nothing is known: at least 0."""
    return [value if value or sure else None for value, sure in zip(values.tolist(), exact.tolist(), strict=True)]


def _exact(entries: Entries, have: Mask) -> Mask:
    """Return whether each packet that entered a chain met one of the counters."""
    if not len(entries.starts):
        return np.empty(0, np.bool_)
    hides = (entries.hides | (entries.ends & ~have))[entries.order].astype(np.int64)
    before = np.cumsum(hides) - hides
    before -= np.repeat(before[entries.starts], np.diff(np.append(entries.starts, len(hides))))
    exact: Mask = np.logical_or.reduceat((entries.meets & have)[entries.order] & (before == 0), entries.starts)
    sure = np.bincount(entries.targets, minlength=len(exact)) > 0
    sure[entries.targets[~have[entries.jumps]]] = False
    return exact | (sure & ~entries.unsure)


def shares(picture: Picture, entries: Entries, counts: Counts, cells: Array) -> Array:
    """Return the share of each cell in what entered its chain: by rate, or without rates by packets.

    float64 in 0…1, NaN if the cell has no counter or nothing is known to have entered its chain.
    """
    at = picture.chain_of_cell[cells]
    rates, packets = np.nan_to_num(counts.rate), counts.packets.astype(np.float64)
    by_rate, by_packets = _entered(entries, rates, counts.have), _entered(entries, packets, counts.have)
    moving = by_rate[at] > 0
    value, total = np.where(moving, rates[cells], packets[cells]), np.where(moving, by_rate[at], by_packets[at])
    share = np.full(len(cells), np.nan)
    np.divide(value, total, out=share, where=counts.have[cells] & (total > 0))
    return share


def _entered(entries: Entries, values: Array, have: Mask) -> Array:
    """Return the least number that entered each chain, by what its rules and those that jump to it counted."""
    if not len(entries.starts):
        return np.empty(0)
    counted = np.where(have, values, 0.0)[entries.order]
    ended = np.where(entries.ends[entries.order], counted, 0.0)
    before = np.cumsum(ended) - ended
    sizes = np.diff(np.append(entries.starts, len(counted)))
    before -= np.repeat(before[entries.starts], sizes)
    entered: Array = np.maximum.reduceat(counted + before, entries.starts)
    jumped = np.bincount(entries.targets, np.where(have, values, 0.0)[entries.jumps], minlength=len(entered))
    return np.maximum(entered, jumped)
