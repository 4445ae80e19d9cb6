"""A source of nftables' sets and maps, and of the elements of those with counters, as often as their cost allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from nettop.batch import Batch, Item
from nettop.broker.requests import ReadRequest, SetName
from nettop.linux import nf_tables as nft
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes, MalformedError, messages
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_NFTABLES
from nettop.sources.dumps import DumpSource
from nettop.sources.exchange import Round, ScopedRead

SETS = Round("nft-sets", (ReadRequest.NFT_SETS,))
ELEMENTS = "nft-elements"  # DumpMark.what of the elements of one set
# Larger sets are not read: the kernel walks a hash from its start for each datagram, so the time grows with the square
# (100,000 elements 0.6 s, a million about a minute).
MAX_ELEMENTS = 250_000
_MAX_SETS = 256  # read in one turn; the others in the next turns

_Found = TypeVar("_Found")
_NEWSET = NFNL_SUBSYS_NFTABLES << 8 | nft.NFT_MSG_NEWSET
_BODY = NLMSG_HDRLEN + NFGEN_LENGTH


@dataclass(frozen=True, slots=True)
class _ListedSet:
    """One set of the listing."""

    name: SetName
    flags: int
    handle: int
    count: int | None  # None: this kernel does not report it
    verdicts: bool  # a verdict map

    @property
    def state(self) -> tuple[int, int | None]:
        """Handle and count: a difference shows that its elements changed."""
        return self.handle, self.count


class NftSetDump(DumpSource):
    """The stream "nft-sets": a turn lists the sets, then reads the elements of those that may have counters.

    Every named set is read once, and again when its count changed; those with counters, and those that packets add
    to, in every turn. `interval` None: once, then the End.
    """

    listing: ClassVar[Round] = SETS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._listing = False
        self._listed: dict[SetName, _ListedSet] = {}  # of the current turn
        self._read: dict[SetName, tuple[int, int | None]] = {}  # state when its elements were read, oldest first
        self._counting: set[SetName] = set()

    def _continue(self, max_bytes: int) -> list[Item]:
        current = self._todo[0]
        self._listing = current is self.listing
        items = super()._continue(max_bytes)
        for item in items:
            if isinstance(item, Batch):
                self._learn(current, item)
        if self._listing and not self._exchange.active and not self._todo:
            self._todo.extend(self._due_rounds())
            self._listing = False
            if not self._todo:
                items += self._end_turn()
        return items

    def _end_turn(self) -> list[Item]:
        """End the turn, except after the listing: the elements follow."""
        return [] if self._listing else super()._end_turn()

    def _learn(self, current: Round, batch: Batch) -> None:
        data = bytes(batch.buf)
        if current is self.listing:
            self._listed.update((found.name, found) for found in each_answer(batch, data, _NEWSET, _listed))
            return
        read = current.requests[0]
        if isinstance(read, ScopedRead) and read.of_set is not None and b"counter\0" in data:
            self._counting.add(read.of_set)

    def _due_rounds(self) -> list[Round]:
        """Return the rounds of elements that are due."""
        listed, self._listed = self._listed, {}
        self._read = {name: state for name, state in self._read.items() if name in listed}
        self._counting &= listed.keys()
        due = [found for found in listed.values() if self._is_due(found)]
        order = {name: number for number, name in enumerate(self._read)}
        due.sort(key=lambda found: order.get(found.name, -1))
        chosen = due if self._interval_ns is None else due[:_MAX_SETS]
        for found in chosen:
            self._read.pop(found.name, None)
            self._read[found.name] = found.state
        return [Round(ELEMENTS, (ScopedRead(ReadRequest.NFT_SET_ELEMENTS, of_set=found.name),)) for found in chosen]

    def _is_due(self, found: _ListedSet) -> bool:
        if found.flags & nft.NFT_SET_ANONYMOUS or (found.count or 0) > MAX_ELEMENTS:
            return False
        if found.count is None or found.flags & nft.NFT_SET_EVAL or found.name in self._counting:
            return True
        return self._read.get(found.name) != found.state


class VerdictMapDump(NftSetDump):
    """The same stream with the elements of verdict maps only: the chains that rules may jump to.

    A set of no elements may have the catch-all one, which the kernel does not count: it is read, too.
    """

    def _is_due(self, found: _ListedSet) -> bool:
        return (found.verdicts or found.count == 0) and super()._is_due(found)


def each_answer(
    batch: Batch, data: bytes, wanted: int, read: Callable[[int, Attributes], Iterator[_Found]]
) -> Iterator[_Found]:
    """Yield what `read` makes of the family and the attributes of each message of a type, in a batch of answers.

    What cannot be read is left out (the decoder reports it).
    """
    for start, length in zip(batch.off.tolist(), batch.caplen.tolist(), strict=True):
        with suppress(MalformedError):
            for kind, first, last in messages(data, start, start + length):
                if kind == wanted and last - first >= _BODY:
                    yield from read(data[first + NLMSG_HDRLEN], Attributes(data, first + _BODY, last))


def _listed(family: int, found: Attributes) -> Iterator[_ListedSet]:
    if nft.NFTA_SET_TABLE in found and nft.NFTA_SET_NAME in found:
        name = SetName(family, found.text(nft.NFTA_SET_TABLE), found.text(nft.NFTA_SET_NAME))
        flags, handle = found.number(nft.NFTA_SET_FLAGS) or 0, found.number(nft.NFTA_SET_HANDLE) or 0
        verdicts = found.number(nft.NFTA_SET_DATA_TYPE) == nft.NFT_DATA_VERDICT
        yield _ListedSet(name, flags, handle, found.number(nft.NFTA_SET_COUNT), verdicts)
