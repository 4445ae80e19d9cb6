"""The elements of sets for the rules shown: pages of them, and those that hold what is searched.

A live session reads them from the kernel each time, a replay from its recording.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest, SetName
from nettop.decode.ipset import IpSet, IpSetElement
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.sets import NftSet
from nettop.errors import BrokerError, UsageError
from nettop.linux.nfnetlink import NFPROTO_NUMBERS
from nettop.model.ruleset.find import asked_text
from nettop.model.ruleset.opened_sets import SetPage, page_of
from nettop.model.ruleset.sets.contents import SetContents, SetRef, Sets, SetsUsed
from nettop.model.ruleset.sets.membership import Question, device_question, holding, ipset_holds, may_hold, question
from nettop.pipeline.engine import Engine
from nettop.pipeline.set_pages import IpsetPages, KernelDump, SetPages, ipset_elements, ipsets, nft_sets, set_elements
from nettop.session.run import Run

_MOST = 200_000  # elements read of one set, which takes about a second
_SEARCH_S = 5.0  # for all sets: other commands wait meanwhile
_Read = Callable[[int], tuple[NftSet | IpSet | None, Elements | list[IpSetElement] | None]]
Key = TypeVar("Key")
Found = TypeVar("Found")
_Found = tuple[SetContents, Sequence[str]]  # elements that hold it; sets that were not searched


def asked_of(text: str) -> Question | None:
    """Return what to look for in sets; None: a text that is no address, network, port, range of ports or device."""
    try:
        return question(asked_text(text))
    except UsageError:
        return device_question(asked_text(text))


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
        try:
            listed = [one for one in nft_sets(broker, netns) if one.id in used.sets] if used.sets else []
            used = _with_devices(used, ipsets(broker, netns)) if asked.of_device and used.ipsets else used
        except BrokerError:
            return SetContents(), used.names
        until = time.monotonic() + _SEARCH_S

        def in_time(read: Callable[[Broker, Netns, Key, int], Found], of: Key) -> Found:
            if time.monotonic() >= until:
                raise BrokerError("there are too many elements to search")
            return read(broker, netns, of, _MOST)

        return _held(asked, listed, partial(in_time, set_elements), used, partial(in_time, ipset_elements))


class RecordedSets:
    """The sets of a recording, as it has them at the time that is shown."""

    def __init__(self, run: Callable[[], Run]) -> None:
        self._run = run

    def search(self, asked: Question, used: SetsUsed) -> _Found:
        """Return the elements that hold what is asked, of the sets that rules use, and those not recorded."""
        sets = self._sets()
        used = _with_devices(used, sets.contents.ipsets) if asked.of_device else used
        listed = [sets.listed[one] for one in used.sets if one in sets.listed]
        elements, of_ipsets = sets.contents.elements, sets.contents.of_ipsets
        return _held(
            asked, listed, lambda one: (_recorded(elements, one.id), False), used, partial(_recorded, of_ipsets)
        )

    def page(self, ref: SetRef, count: int) -> SetPage:
        """Return the first `count` elements of a set, or that they are not recorded."""
        sets = self._sets()
        try:
            if isinstance(ref, str):
                of = next((one for one in sets.contents.ipsets if one.name == ref), None)
                return page_of(of, _recorded(sets.contents.of_ipsets, ref), count, False)
            return page_of(sets.listed.get(ref), _recorded(sets.contents.elements, ref), count, False)
        except BrokerError as error:
            return SetPage(None, error=str(error))

    def _sets(self) -> Sets:
        return self._run().waited(lambda engine, _: engine.ruleset.raw.sets)

    def close(self) -> None:
        """Close nothing."""


def _recorded(known: Mapping[Key, Found], key: Key) -> Found:
    if key not in known:
        raise BrokerError("its elements are not in this recording")
    return known[key]


def _with_devices(used: SetsUsed, known: Iterable[IpSet]) -> SetsUsed:
    """Return the sets used without the IP sets that have no devices."""
    return replace(used, ipsets=used.ipsets & {one.name for one in known if "iface" in one.type})


def _held(
    asked: Question,
    listed: Iterable[NftSet],
    of_set: Callable[[NftSet], tuple[Elements | None, bool]],
    used: SetsUsed,
    of_ipset: Callable[[str], list[IpSetElement]],
) -> _Found:
    """Return the elements that hold what is asked, and the sets that were not searched."""
    found, missing = SetContents(), []
    for one in (one for one in listed if may_hold(asked, one)):
        try:
            elements, interrupted = of_set(one)
        except BrokerError:
            missing.append(one.name)
            continue
        if elements is not None and (rows := np.flatnonzero(holding(asked, one, elements))).size:
            found.elements[one.id] = elements.rows(rows[:1])
        elif interrupted or (elements is not None and len(elements) >= _MOST):
            missing.append(one.name)
    for name in sorted(used.ipsets):
        try:
            of = of_ipset(name)
        except BrokerError:
            missing.append(name)
            continue
        if held := ipset_holds(asked, of):
            found.of_ipsets[name] = held[:1]
        elif len(of) >= _MOST:
            missing.append(name)
    return found, tuple(missing)


SetSource = KernelSets | RecordedSets  # their methods may wait, so they are not called on the model thread
