"""The elements that commits added to sets and deleted, as changes for the log: the first ones by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from nettop.decode.nftables.commits import MembersChanged
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.members import closed, member_text, rows_of, value_of
from nettop.decode.nftables.sets import NftSet, SetId
from nettop.linux import nf_tables as nft
from nettop.model.ruleset.changes.change import MAX_CHANGES, Change
from nettop.model.ruleset.picture import NFT
from nettop.text.units import grouped

_NAMED = 10  # elements of one set
_ANONYMOUS = ("__set", "__map")


@dataclass(slots=True)
class _Members:
    count: int = 0
    parts: list[Elements] = field(default_factory=list)


def element_changes(changed: Iterable[MembersChanged], sets: Mapping[SetId, NftSet]) -> list[Change]:
    """Return a change for each set and sign. The elements of anonymous sets are parts of rules and ignored."""
    found: dict[tuple[SetId, bool], _Members] = {}
    for one in changed:
        key = one.of, one.added
        if not one.of[2].startswith(_ANONYMOUS) and (key in found or len(found) < MAX_CHANGES):
            members = found.setdefault(key, _Members())
            members.count += one.count
            members.parts += [one.elements] if one.elements is not None else []
    return [
        Change("+" if added else "-", NFT, f"{of[0]} {of[1]} @{of[2]}", _text(sets.get(of), members), f"@{of[2]}")
        for (of, added), members in found.items()
    ]


def _text(of: NftSet | None, members: _Members) -> str:
    whole = Elements.whole(members.parts)
    if of is None or whole is None:
        return f"{grouped(members.count)} elements"
    in_pairs = bool(of.flags & nft.NFT_SET_INTERVAL) and not of.flags & nft.NFT_SET_CONCAT
    cut = len(whole) < members.count
    names = _names(of, whole, in_pairs, cut)
    count = members.count >> in_pairs if cut else len(names)
    more = f" and {grouped(count - _NAMED)} more" if count > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _names(of: NftSet, whole: Elements, in_pairs: bool, cut: bool) -> list[str]:
    """Return the elements in the order of their keys. `cut`: not all of them came.

    With `in_pairs` the end of an interval is an element of its own. The kernel's lists begin with the highest key.
    """
    order = sorted(range(len(whole)), key=lambda row: (whole.keys[row].tobytes(), whole.flags[row] & 1 == 0))
    found = closed(of, whole.rows(np.array(order[::-1], np.int64)))
    rows = [row for row in rows_of(found) if row or not (in_pairs and cut)]  # the end of the first one is not known
    values = [(member_text(of, found, row), value_of(of, found, row)) for row in reversed(rows)]
    return [f"{name} : {value.text}" if value else name for name, value in values]
