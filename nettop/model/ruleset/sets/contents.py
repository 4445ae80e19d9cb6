"""The sets and maps of one namespace, the branches of its verdict maps, and the sets that a rule uses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from nettop.batch import DumpMark
from nettop.decode.ipset import IpSet, IpSetElement, IpSetsDecoded
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.iptables_save import words
from nettop.decode.nftables.members import MapValue, closed, member_text, rows_of, value_of
from nettop.decode.nftables.rules import NftRule
from nettop.decode.nftables.sets import NftSet, NftSetsDecoded, SetId
from nettop.linux import nf_tables as nft

LISTING, ELEMENTS = "nft-sets", "nft-elements"  # DumpMark.what, as the next two
IPSETS, IPSET_ELEMENTS = "ipsets", "ipset-elements"
SET_DUMPS = (LISTING, ELEMENTS, IPSETS, IPSET_ELEMENTS)
SetsDecoded = NftSetsDecoded | IpSetsDecoded
SetRef = SetId | str  # a set of nf_tables, or the name of an IP set
_IPSET = re.compile(r"--(?:match|add|del|map)-set$")


@dataclass(frozen=True, slots=True)
class VerdictBranch:
    """One element of a verdict map: packets with this key get the verdict."""

    key: str
    value: MapValue


@dataclass(slots=True)
class SetContents:
    """The IP sets of the namespace, and what was read of the elements of sets and IP sets."""

    ipsets: list[IpSet] = field(default_factory=list)
    elements: dict[SetId, Elements] = field(default_factory=dict)
    of_ipsets: dict[str, list[IpSetElement]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetsUsed:
    """The named sets, and the IP sets, that rules use."""

    sets: frozenset[SetId] = frozenset()
    ipsets: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, each once."""
        return tuple(sorted({*(name for *_, name in self.sets), *self.ipsets}))


class Sets:
    """The named sets of the latest listing, and the branches of those that are verdict maps.

    With `keeps_elements`, in a recording, the elements of all that were read are `contents`, too.
    """

    def __init__(self) -> None:
        self.keeps_elements = False
        self.contents = SetContents()
        self._ipsets = IpSetsDecoded()  # of the dump in progress
        self.listed: dict[SetId, NftSet] = {}
        self.branches: dict[SetId, tuple[VerdictBranch, ...]] = {}
        self.is_listed = False  # there was a listing
        self.catchalls: set[SetId] = set()  # sets of no other element than `*`, which the kernel does not count
        self._pending: dict[SetId, NftSet] = {}
        self._parts: dict[SetId, list[Elements]] = {}

    def add(self, found: list[NftSet]) -> None:
        """Add sets that an event announces; the next listing replaces them."""
        self.listed.update((one.id, one) for one in found if not one.flags & nft.NFT_SET_ANONYMOUS)

    @property
    def is_read(self) -> bool:
        """True once there was a listing, and the elements of all its sets came."""
        known = self.contents.elements
        return self.is_listed and all(not one.count or one.id in known for one in self.listed.values())

    def apply(self, item: SetsDecoded | DumpMark) -> bool:
        """Apply one item. Return whether the branches of a map have changed."""
        if isinstance(item, IpSetsDecoded):
            self._ipsets.sets += item.sets
            self._ipsets.elements += item.elements if self.keeps_elements else ()
            return False
        if isinstance(item, NftSetsDecoded):
            self._pending.update((one.id, one) for one in item.sets if not one.flags & nft.NFT_SET_ANONYMOUS)
            for set_id, part in item.elements:
                known = self._set(set_id)
                if part is not None and (part.flags & nft.NFT_SET_ELEM_CATCHALL).any():
                    self.catchalls.add(set_id)
                elif part is None:
                    self.catchalls.discard(set_id)
                if known is not None and (known.holds == "verdicts" or self.keeps_elements):
                    self._parts.setdefault(set_id, []).extend([] if part is None else [part])
            return False
        if item.begin:
            self._parts, self._ipsets = {}, IpSetsDecoded()
            if item.what == LISTING:
                self._pending = {}
            return False
        if item.what in (IPSETS, IPSET_ELEMENTS):
            self._end_ipsets(item)
            return False
        return self._listed(item) if item.what == LISTING else self._read(item)

    def _end_ipsets(self, mark: DumpMark) -> None:
        found, contents = self._ipsets, self.contents
        if mark.what == IPSETS and mark.complete:
            contents.ipsets = found.sets
        elif mark.complete or mark.interrupted:
            contents.of_ipsets.update((one.name, found.elements) for one in found.sets[:1])

    def _set(self, set_id: SetId) -> NftSet | None:
        return self.listed.get(set_id) or self._pending.get(set_id)

    def _listed(self, mark: DumpMark) -> bool:
        if not mark.complete:
            return False
        self.listed, self._pending, self.is_listed = self._pending, {}, True
        self.catchalls &= self.listed.keys()
        filled = {one for one, found in self.listed.items() if found.count != 0} | self.catchalls
        kept = self.contents.elements
        self.contents.elements = {one: kept[one] for one in kept if one in filled}
        known = {one: found for one, found in self.branches.items() if one in filled}
        changed, self.branches = known != self.branches, known
        return changed

    def _read(self, mark: DumpMark) -> bool:
        parts, self._parts = self._parts, {}
        parts = {one: some for one, some in parts.items() if one in self.listed}
        if self.keeps_elements:
            wholes = ((one, Elements.whole(some)) for one, some in parts.items())
            self.contents.elements.update((one, closed(self.listed[one], found)) for one, found in wholes if found)
        maps = (one for one in parts if self.listed[one].holds == "verdicts")
        found = {one: self._branches(self.listed[one], parts[one]) for one in maps}
        changed = mark.complete and any(self.branches.get(one, ()) != some for one, some in found.items())
        if changed:
            self.branches.update(found)
        return changed

    def _branches(self, of: NftSet, parts: list[Elements]) -> tuple[VerdictBranch, ...]:
        whole = Elements.whole(parts)
        if whole is None:
            return ()
        found = closed(of, whole)
        rows = sorted(rows_of(found), key=lambda row: found.keys[row].tobytes())  # a hash has an order of its own
        values = ((row, value_of(of, found, row)) for row in rows)
        return tuple(VerdictBranch(member_text(of, found, row), value) for row, value in values if value is not None)


def sets_of(raw: NftRule | None, text: str | None) -> tuple[str, ...]:
    """Return the names of the sets, maps and IP sets that a rule uses, each once; anonymous sets have none."""
    if (raw is None or not raw.sets) and (text is None or "-set " not in text):
        return ()  # as most rules do
    names = [name for name in (raw.sets if raw is not None else ()) if not name.startswith("__")]
    return tuple(dict.fromkeys((*names, *ipsets_of(text))))


def ipsets_of(text: str | None) -> list[str]:
    """Return the names of the IP sets in the words of a rule of iptables."""
    if text is None or "-set " not in text:
        return []
    return [name.strip('"') for option, name in pairwise(words(text) or ()) if _IPSET.match(option)]
