"""SHARE: the part of the packets that entered a chain which each rule of it counted.

The kernel counts no entries. What is known: a packet that a rule counted was not ended by a rule before it. So what a
rule counted, plus all that the rules before it counted and ended, entered the chain; the largest such sum is the number
of entries if the last packets met a counter. A user chain is entered by what the rules that jump there counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nettop.batch import Array
from nettop.model.filter.expression import Mask
from nettop.model.ruleset.counters import Counts
from nettop.model.ruleset.merge import Picture, RuleView

_ENDS = frozenset(
    {"accept", "drop", "return", "goto", "reject", "queue", "nfqueue", "stolen", "fwd", "tproxy", "synproxy"}
    | {"snat", "dnat", "masquerade", "redirect", "netmap", "stop"}
)


@dataclass(frozen=True, slots=True)
class Entries:
    """What a picture's layout says of entries. `order`: all cells, chain by chain; `starts`: of each chain in it."""

    order: Array
    starts: Array
    ends: Mask  # by cell: it counts exactly the packets that it keeps from the rest of its chain
    jumps: Array  # cells of rules that count exactly the packets that jump to a chain
    targets: Array  # the chain of each


def entries_of(picture: Picture) -> Entries:
    """Return the entries of a picture, which change only with its layout."""
    order: list[int] = []
    starts: list[int] = []
    for index, chain in enumerate(picture.chains):
        starts.append(len(order))
        order += [*range(chain.first, chain.first + chain.count), picture.policy_cell(index)]
    ends = [_is_exact(rule) and rule.verdict.lower() in _ENDS for rule in picture.rules] + [True] * len(picture.chains)
    jumps = [(cell, target) for cell, rule in enumerate(picture.rules) for target in picture.targets(rule)]
    exact = [(cell, target) for cell, target in jumps if _is_exact(picture.rules[cell])]
    pairs = np.array(exact, dtype=np.int64).reshape(-1, 2)
    return Entries(
        np.array(order, np.int64), np.array(starts, np.int64), np.array(ends, np.bool_), pairs[:, 0], pairs[:, 1]
    )


def _is_exact(rule: RuleView) -> bool:
    """Return whether the counter counts just the packets that the verdict applies to."""
    return len(rule.targets) < 2 and (rule.raw is None or rule.raw.counts_matches)


def shares(picture: Picture, entries: Entries, counts: Counts, cells: Array) -> Array:
    """Return the share of each cell in what entered its chain: by rate, or without rates by packets.

    float64 in 0…1, NaN if the cell has no counter or nothing is known to have entered its chain.
    """
    at = np.array(picture.chain_of_cell, dtype=np.int64)[cells]
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
