"""The rules of one table in the place of those that were read with all others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from nettop.decode.nftables.decoder import RuleBlock
from nettop.decode.nftables.rules import Rules
from nettop.model.ruleset.texts import TableKey


def with_table(blocks: Sequence[RuleBlock], table: TableKey, read: Sequence[RuleBlock]) -> list[RuleBlock]:
    """Return the blocks, in dump order, with those in `read` for the rules of this table; a new table is last."""
    kept: list[RuleBlock] = []
    place: int | None = None
    for block in blocks:
        others = [key[:2] != table for key, _ in block.rules.chains]
        if all(others):
            kept.append(block)
            continue
        others_of = np.repeat(others, [count for _, count in block.rules.chains])
        before = np.arange(len(others_of)) < np.argmin(others_of)
        kept.append(_part(block, others_of & before))
        place = len(kept) if place is None else place
        kept.append(_part(block, others_of & ~before))
    place = len(kept) if place is None else place
    return [block for block in (*kept[:place], *read, *kept[place:]) if block.rules]


def _part(block: RuleBlock, chosen: NDArray[np.bool_]) -> RuleBlock:
    rules = Rules(compress(block.rules, chosen))
    return RuleBlock(rules, block.counted[chosen], block.packets[chosen], block.bytes[chosen])
