"""The elements of sets for the rules shown: pages of them, and those that hold what is searched.

A live session reads them from the kernel each time, a replay from its recording.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np

from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest, SetName
from nettop.decode.ipset import IpSet, IpSetElement
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.sets import NftSet
from nettop.errors import BrokerError, UsageError
from nettop.linux.nfnetlink import NFPROTO_NUMBERS
from nettop.model.ruleset.find import asked_text
from nettop.model.ruleset.membership import Question, holding, ipset_holds, question
from nettop.model.ruleset.opened_sets import SetPage, page_of
from nettop.model.ruleset.sets import SetContents, SetRef, SetsUsed
from nettop.pipeline.engine import Engine
from nettop.pipeline.set_pages import IpsetPages, KernelDump, SetPages, ipset_elements, nft_sets, set_elements
from nettop.session.run import Run

_MOST = 200_000  # elements read of one set, which takes about a second
_Read = Callable[[int], tuple[NftSet | IpSet | None, Elements | list[IpSetElement] | None]]
_Found = tuple[SetContents, Sequence[str]]  # elements that hold it; sets that were not searched


class SetSource(Protocol):
    """Reads the elements of sets. Its methods may wait, so they are not called on the model thread."""

    def search(self, asked: Question, used: SetsUsed) -> _Found:
        """Return the elements that hold what is asked, of the sets that rules use, and the sets that were not read."""

    def page(self, ref: SetRef, count: int) -> SetPage:
        """Return the first `count` elements of a set, or the reason why they cannot be read."""

    def close(self) -> None:
        """Close what is open."""


def asked_of(text: str) -> Question | None:
    """Return what to look for in sets; None: a text that is no address, network or port."""
    try:
        return question(asked_text(text))
    except UsageError:
        return None


def read_pages(run: Run, source: SetSource, ident: int) -> None:
    """Read what belongs below a row of the rules that was opened, and show it there."""
    for ref, count in run.waited(lambda engine, _: engine.ruleset.opened.wanted(ident, engine.ruleset.picture)):
        page = source.page(ref, count)
        run.waited(partial(_show, ref, page))


def _show(ref: SetRef, page: SetPage, engine: Engine, now_ns: int) -> None:
    engine.ruleset.opened.put(ref, page)


class KernelSets:
    """The sets of a namespace. The dump of the page that was read last stays open: the next page is all that is read.

    To be closed when the namespace ends, which the dump would keep alive.
    """

    def __init__(self, broker: Broker, netns: Callable[[], Netns]) -> None:
        self._broker, self._netns = broker, netns
        self._of: SetRef | None = None
        self._dump: KernelDump | None = None
        self._read: _Read = lambda count: (None, None)
        self._count = 0  # elements that were asked for

    def page(self, ref: SetRef, count: int) -> SetPage:
        """Return the first `count` elements of a set, or the reason why they cannot be read."""
        try:
            if self._dump is None or self._of != ref or count <= self._count:
                self.close()
                self._dump = self._open(ref)
            self._of, self._count = ref, count
            of, found = self._read(count)
        except BrokerError as error:
            self.close()
            return SetPage(None, error=str(error))
        page, interrupted = page_of(of, found, count, self._dump.more), self._dump.interrupted
        if not page.more or interrupted:
            self.close()
        return replace(page, interrupted=interrupted, ts_ns=time.time_ns())

    def close(self) -> None:
        """Close the dump that is open."""
        if self._dump is not None:
            self._dump.close()
            self._dump = None

    def _open(self, ref: SetRef) -> KernelDump:
        broker, netns = self._broker, self._netns()
        if isinstance(ref, str):
            dump = KernelDump(broker, netns, ReadRequest.IPSET_ELEMENTS, SetName(0, "", ref))
            of_ipset = IpsetPages(dump)
            self._read = lambda count: (found := of_ipset.read(count), of_ipset.of)[::-1]
            return dump
        of = next((one for one in nft_sets(broker, netns) if one.id == ref), None)
        if of is None:
            raise BrokerError("this set is gone")
        dump = KernelDump(broker, netns, ReadRequest.NFT_SET_ELEMENTS, SetName(NFPROTO_NUMBERS[ref[0]], *ref[1:]))
        of_set = SetPages(dump, of)
        self._read = lambda count: (of, of_set.read(count))
        return dump

    def search(self, asked: Question, used: SetsUsed) -> _Found:
        """Return the elements that hold what is asked, of the sets that rules use, and the sets that were not read."""
        broker, netns = self._broker, self._netns()
        found, missing = SetContents(), []
        try:
            listed = [one for one in nft_sets(broker, netns) if one.id in used.sets] if used.sets else []
        except BrokerError:
            return found, used.names
        for one in listed:
            try:
                elements, interrupted = set_elements(broker, netns, one, _MOST)
            except BrokerError:
                missing.append(one.name)
                continue
            if elements is not None and (rows := np.flatnonzero(holding(asked, one, elements))).size:
                found.elements[one.id] = elements.rows(rows[:1])
            elif interrupted or (elements is not None and len(elements) >= _MOST):
                missing.append(one.name)
        for name in sorted(used.ipsets):
            try:
                of = ipset_elements(broker, netns, name, _MOST)
            except BrokerError:
                missing.append(name)
                continue
            if held := ipset_holds(asked, of):
                found.of_ipsets[name] = held[:1]
            elif len(of) >= _MOST:
                missing.append(name)
        return found, tuple(missing)


class RecordedSets:
    """The sets of a recording: none is read yet."""

    def search(self, asked: Question, used: SetsUsed) -> _Found:
        """Return that no set was searched."""
        return SetContents(), used.names

    def page(self, ref: SetRef, count: int) -> SetPage:
        """Return that there are no elements."""
        return SetPage(None, error="a recording does not have its elements")

    def close(self) -> None:
        """Close nothing."""
