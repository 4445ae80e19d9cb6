"""The changes of a commit to nf_tables, from the events that announce them (NFNLGRP_NFTABLES)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from nettop.decode.nftables import objects
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.objects import Generation, NftChain, NftTable
from nettop.decode.nftables.rule_shapes import RuleShapes
from nettop.decode.nftables.rules import NftRule, decode_rule
from nettop.decode.nftables.sets import NEWSET, NftSet, NftSetsDecoded, NftSetsDecoder, SetId
from nettop.linux import netlink as nl
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes
from nettop.linux.nfnetlink import NFGEN_LENGTH

MAX_DESCRIBED = 40  # elements of one set in a commit that are decoded
_MAX_CHANGES = 20_000  # of a commit that are decoded
_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_ADDED = (nft.NFT_MSG_NEWTABLE, nft.NFT_MSG_NEWCHAIN, nft.NFT_MSG_NEWRULE)
_DELETED = (nft.NFT_MSG_DELTABLE, nft.NFT_MSG_DELCHAIN, nft.NFT_MSG_DELRULE)


@dataclass(frozen=True, slots=True)
class MembersChanged:
    """Elements that were added to a set or deleted from it (NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM)."""

    of: SetId
    added: bool
    count: int  # those that end an interval included
    elements: Elements | None = None  # None: the commit changed so many that these are only counted


@dataclass(frozen=True, slots=True)
class Announced:
    """A table, a chain or a rule that was added, or a chain's or table's new state; or one that was deleted."""

    added: bool
    what: NftTable | NftChain | NftRule  # of a deleted one at least the names and the handle


@dataclass(slots=True)
class NftCommit:
    """The content of one commit; `generation` is None until its last event."""

    generation: Generation | None = None
    changes: list[Announced] = field(default_factory=list)
    members: list[MembersChanged] = field(default_factory=list)
    flowtables: set[tuple[str, str]] = field(default_factory=set)  # tables (family, name) of those added or deleted


def reworded(commits: Collection[NftCommit]) -> set[tuple[str, str]] | None:
    """Return the tables (family, name) to list again after these commits; None: it is not known.

    Those in which rules may have new words, or flowtables have changed.
    """
    if not commits or any(len(commit.changes) >= _MAX_CHANGES for commit in commits):
        return None
    added = (one.what for commit in commits for one in commit.changes if one.added)
    tables = {(one.family, one.table) for one in added if not isinstance(one, NftTable)}
    return tables.union(*(commit.flowtables for commit in commits))


def changed_tables(commits: Collection[NftCommit]) -> set[tuple[str, str]] | None:
    """Return the tables (family, name) whose rules these commits added, replaced or deleted; None: any may be."""
    if not commits or any(len(commit.changes) >= _MAX_CHANGES for commit in commits):
        return None
    found = set()
    for one in (change.what for commit in commits for change in commit.changes):
        if not isinstance(one, NftChain):
            found.add((one.family, one.name if isinstance(one, NftTable) else one.table))
    return found


class CommitDecoder:
    """Collects the events of a commit, which may come in several batches."""

    def __init__(self) -> None:
        self._shapes, self._sets = RuleShapes(), NftSetsDecoder()
        self._commit = NftCommit()
        self._described: Counter[tuple[SetId, bool]] = Counter()  # elements of this commit

    def end(self, generation: Generation) -> NftCommit:
        """Return the commit that this generation ends, and begin the next one."""
        ended, self._commit = self._commit, NftCommit()
        ended.generation = generation
        self._described.clear()
        return ended

    def add(self, message: int, data: bytes, at: int, end: int, sets: list[NftSet]) -> None:
        """Add the event data[at:end] to the commit, or a set to `sets`. Raises MalformedError."""
        family = objects.family_name(data[at + NLMSG_HDRLEN])
        if message == nft.NFT_MSG_NEWSET:
            read = NftSetsDecoded(0)
            self._sets.read(data, NEWSET, at, end, read)
            sets += read.sets
        elif message in (nft.NFT_MSG_NEWSETELEM, nft.NFT_MSG_DELSETELEM):
            self._members(message, data, at, end, family)
        elif message in (nft.NFT_MSG_NEWFLOWTABLE, nft.NFT_MSG_DELFLOWTABLE):
            table = Attributes(data, at + _BODY, end).text(nft.NFTA_FLOWTABLE_TABLE)
            self._commit.flowtables.add((family, table))
        elif message in (*_ADDED, *_DELETED) and len(self._commit.changes) < _MAX_CHANGES:
            self._commit.changes.append(Announced(message in _ADDED, self._decoded(message, data, at, end, family)))

    def _decoded(self, message: int, data: bytes, at: int, end: int, family: str) -> NftTable | NftChain | NftRule:
        if message == nft.NFT_MSG_NEWRULE:
            return self._shapes.decode(data, at, end, family)[0]
        found = Attributes(data, at + _BODY, end)
        if message == nft.NFT_MSG_DELRULE:
            return decode_rule(found, family)[0]
        if message in (nft.NFT_MSG_NEWCHAIN, nft.NFT_MSG_DELCHAIN):
            return objects.decode_chain(found, family)
        return objects.decode_table(found, family)

    def _members(self, message: int, data: bytes, at: int, end: int, family: str) -> None:
        found = Attributes(data, at + _BODY, end)
        of = family, found.text(nft.NFTA_SET_TABLE), found.text(nft.NFTA_SET_NAME)
        added = message == nft.NFT_MSG_NEWSETELEM
        count = sum(1 for _ in nl.attributes(data, *found.span(nft.NFTA_SET_ELEM_LIST_ELEMENTS)))
        self._described[of, added] += count
        if self._described[of, added] > MAX_DESCRIBED:
            self._commit.members.append(MembersChanged(of, added, count))
            return
        read = NftSetsDecoded(0)
        self._sets.read(data, message, at, end, read)
        parts = (part for _, part in read.elements if part is not None)
        self._commit.members += [MembersChanged(of, added, len(part), part) for part in parts]
