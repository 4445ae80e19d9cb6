"""A source of IP sets and their elements, for recordings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from nettop.batch import Batch
from nettop.broker.requests import ReadRequest, SetName
from nettop.linux import ipset
from nettop.linux.netlink import Attributes
from nettop.linux.nfnetlink import NFNL_SUBSYS_IPSET
from nettop.sources.exchange import Round, ScopedRead
from nettop.sources.nft_sets import NftSetDump, each_answer

IPSETS = Round("ipsets", (ReadRequest.IPSETS,))
IPSET_ELEMENTS = "ipset-elements"  # DumpMark.what of the elements of one IP set
MAX_ELEMENTS = 100_000  # larger sets are not read
_LIST = NFNL_SUBSYS_IPSET << 8 | ipset.IPSET_CMD_LIST


class IpsetDump(NftSetDump):
    """The stream "ipsets": a turn lists the IP sets, then reads the elements of each."""

    listing: ClassVar[Round] = IPSETS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._names: list[SetName] = []  # of the current turn

    def _learn(self, current: Round, batch: Batch) -> None:
        if current is IPSETS:
            self._names += each_answer(batch, bytes(batch.buf), _LIST, _small_set)

    def _due_rounds(self) -> list[Round]:
        names, self._names = self._names, []
        return [Round(IPSET_ELEMENTS, (ScopedRead(ReadRequest.IPSET_ELEMENTS, of_set=name),)) for name in names]


def _small_set(_family: int, found: Attributes) -> Iterator[SetName]:
    count = found.nested(ipset.IPSET_ATTR_DATA).number(ipset.IPSET_ATTR_ELEMENTS) or 0
    if ipset.IPSET_ATTR_SETNAME in found and count <= MAX_ELEMENTS:
        yield SetName(0, "", found.text(ipset.IPSET_ATTR_SETNAME))
