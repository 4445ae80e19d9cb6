"""The sets and maps of one namespace, the branches of its verdict maps, and the sets that a rule uses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from nettop.batch import DumpMark
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.iptables_save import words
from nettop.decode.nftables.members import MapValue, member_text, rows_of, value_of
from nettop.decode.nftables.rules import NftRule
from nettop.decode.nftables.sets import NftSet, NftSetsDecoded, SetId
from nettop.linux import nf_tables as nft

LISTING, ELEMENTS = "nft-sets", "nft-elements"  # DumpMark.what
_IPSET = re.compile(r"--(?:match|add|del|map)-set$")


@dataclass(frozen=True, slots=True)
class Branch:
    """One element of a verdict map: packets with this key get the verdict."""

    key: str
    value: MapValue


class Sets:
    """The named sets of the latest listing, and the branches of those that are verdict maps."""

    def __init__(self) -> None:
        self.listed: dict[SetId, NftSet] = {}
        self.branches: dict[SetId, tuple[Branch, ...]] = {}
        self._pending: dict[SetId, NftSet] = {}
        self._parts: dict[SetId, list[Elements]] = {}

    def apply(self, item: NftSetsDecoded | DumpMark) -> bool:
        """Apply one item. Return whether the branches of a map have changed."""
        if isinstance(item, NftSetsDecoded):
            self._pending.update((one.id, one) for one in item.sets if not one.flags & nft.NFT_SET_ANONYMOUS)
            for set_id, part in item.elements:
                known = self._set(set_id)
                if known is not None and known.holds == "verdicts":
                    self._parts.setdefault(set_id, []).extend([] if part is None else [part])
            return False
        if item.begin:
            self._parts = {}
            if item.what == LISTING:
                self._pending = {}
            return False
        return self._listed(item) if item.what == LISTING else self._read(item)

    def _set(self, set_id: SetId) -> NftSet | None:
        return self.listed.get(set_id) or self._pending.get(set_id)

    def _listed(self, mark: DumpMark) -> bool:
        if not mark.complete:
            return False
        self.listed, self._pending = self._pending, {}
        known = {
            one: found for one, found in self.branches.items() if one in self.listed and self.listed[one].count != 0
        }
        changed, self.branches = known != self.branches, known
        return changed

    def _read(self, mark: DumpMark) -> bool:
        parts, self._parts = self._parts, {}
        found = {one: self._branches(self.listed[one], some) for one, some in parts.items() if one in self.listed}
        changed = mark.complete and any(self.branches.get(one, ()) != some for one, some in found.items())
        if changed:
            self.branches.update(found)
        return changed

    def _branches(self, of: NftSet, parts: list[Elements]) -> tuple[Branch, ...]:
        whole = Elements.whole(parts)
        return tuple(
            Branch(member_text(of, whole, row), value)
            for row in (rows_of(whole) if whole is not None else ())
            if whole is not None and (value := value_of(of, whole, row)) is not None
        )


def sets_of(raw: NftRule | None, text: str | None) -> tuple[str, ...]:
    """Return the names of the sets, maps and ipsets that a rule uses, each once; anonymous sets have none."""
    names = [name for name in (raw.sets if raw is not None else ()) if not name.startswith("__")]
    if text is not None and "-set " in text:
        split = words(text) or []
        names += [name.strip('"') for option, name in pairwise(split) if _IPSET.match(option)]
    return tuple(dict.fromkeys(names))
