"""A source of IP sets and their elements, for recordings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from nettop.batch import Batch
from nettop.broker.requests import ReadRequest, SetName
from nettop.linux import ipset
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes, MalformedError, messages
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_IPSET
from nettop.sources.exchange import Round, ScopedRead
from nettop.sources.nft_sets import NftSetDump

IPSETS = Round("ipsets", (ReadRequest.IPSETS,))
IPSET_ELEMENTS = "ipset-elements"  # DumpMark.what of the elements of one IP set
MAX_ELEMENTS = 100_000  # larger sets are not read
_LIST = NFNL_SUBSYS_IPSET << 8 | ipset.IPSET_CMD_LIST
_BODY = NLMSG_HDRLEN + NFGEN_LENGTH


class IpsetDump(NftSetDump):
    """The stream "ipsets": a turn lists the IP sets, then reads the elements of each."""

    listing: ClassVar[Round] = IPSETS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._names: list[SetName] = []  # of the current turn

    def _learn(self, current: Round, batch: Batch) -> None:
        if current is IPSETS:
            self._names += _small_sets(batch, bytes(batch.buf))

    def _due_rounds(self) -> list[Round]:
        names, self._names = self._names, []
        return [Round(IPSET_ELEMENTS, (ScopedRead(ReadRequest.IPSET_ELEMENTS, of_set=name),)) for name in names]


def _small_sets(batch: Batch, data: bytes) -> Iterator[SetName]:
    """Yield the sets of a batch of answers that are read; what cannot be read is left out (the decoder reports it)."""
    for start, length in zip(batch.off.tolist(), batch.caplen.tolist(), strict=True):
        with suppress(MalformedError):
            for kind, first, last in messages(data, start, start + length):
                if kind == _LIST and last - first >= _BODY:
                    found = Attributes(data, first + _BODY, last)
                    count = found.nested(ipset.IPSET_ATTR_DATA).number(ipset.IPSET_ATTR_ELEMENTS) or 0
                    if ipset.IPSET_ATTR_SETNAME in found and count <= MAX_ELEMENTS:
                        yield SetName(0, "", found.text(ipset.IPSET_ATTR_SETNAME))
