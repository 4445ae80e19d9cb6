"""The elements of one set, map or IP set, read page by page: the kernel makes only as much of its dump as is read."""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from nettop.batch import Batch, Counter64
from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest, SetName
from nettop.decode.ipset import IpSet, IpSetElement, decode_ipsets
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.members import closed, rows_of
from nettop.decode.nftables.sets import NftSet, NftSetsDecoder
from nettop.errors import BrokerError
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.linux.nfnetlink import NFPROTO_NUMBERS
from nettop.sources.exchange import scan
from nettop.sources.netlink import Receiver

_READ = 1 << 15  # bytes of one datagram of a dump
_TIMEOUT_S = 5.0


class KernelDump:
    """One dump that is continued by each batch(). `more`: it has not ended; `interrupted`: its table changed."""

    def __init__(self, broker: Broker, netns: Netns, what: ReadRequest, of_set: SetName | None = None) -> None:
        self.more, self.interrupted = True, False
        self._broker, self._what = broker, f"set {of_set.name}" if of_set is not None else "sets"
        self._socket = broker.netlink_socket(netns, NETLINK_NETFILTER)
        self._receiver = Receiver(0, self._socket, Counter64())
        try:
            request, _ = broker.request(self._socket, what, of_set=of_set)
        except BrokerError:
            self.close()
            raise
        self._sequence = struct.unpack_from("=I", request, 8)[0]

    def batches(self) -> Iterator[Batch]:
        """Yield the answers one datagram at a time. BrokerError if the kernel refuses or is silent."""
        until = time.monotonic() + _TIMEOUT_S
        poller = select.poll()
        poller.register(self._receiver.fileno(), select.POLLIN)
        while self.more:
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                raise BrokerError(f"{self._what}: the kernel does not answer")
            for batch in self._receiver.receive(_READ, 1):
                if isinstance(batch, Batch):
                    self._apply_end(batch)
                    yield batch
                    until = time.monotonic() + _TIMEOUT_S

    def _apply_end(self, batch: Batch) -> None:
        end = scan(batch, self._sequence, True)
        self.interrupted = self.interrupted or end.interrupted
        self.more = not end.ended
        if end.error:
            raise BrokerError(f"{self._what}: {os.strerror(end.error)}")

    def close(self) -> None:
        """Close the socket, here and in the broker."""
        self._receiver.close()
        with suppress(BrokerError):
            self._broker.release(self._socket)


@contextmanager
def kernel_dump(broker: Broker, netns: Netns, what: ReadRequest, of_set: SetName | None = None) -> Iterator[KernelDump]:
    """Yield a dump that is closed afterwards."""
    dump = KernelDump(broker, netns, what, of_set)
    try:
        yield dump
    finally:
        dump.close()


class SetPages:
    """The elements of a set or map read so far, in a dump that can go on."""

    def __init__(self, dump: KernelDump, of: NftSet) -> None:
        self._dump, self._of = dump, of
        self._batches, self._decode = dump.batches(), NftSetsDecoder()
        self._parts: list[Elements] = []
        self._count = 0

    def read(self, count: int) -> Elements | None:
        """Return the elements once there are `count` of them or all; None: none. BrokerError: see KernelDump."""
        while self._count < count and (batch := next(self._batches, None)) is not None:
            new = [part for _, part in self._decode(batch).elements if part is not None]
            self._parts += new
            self._count += sum(len(rows_of(part)) for part in new)
        whole = Elements.whole(self._parts)
        return None if whole is None else closed(self._of, whole)


def set_elements(broker: Broker, netns: Netns, of: NftSet, count: int) -> tuple[Elements | None, bool]:
    """Return the first `count` elements of a set, and whether it changed meanwhile."""
    name = SetName(NFPROTO_NUMBERS[of.family], of.table, of.name)
    with kernel_dump(broker, netns, ReadRequest.NFT_SET_ELEMENTS, name) as dump:
        found = SetPages(dump, of).read(count)
        if found is not None:
            found = found.rows(np.array(rows_of(found)[:count], np.int64))
        return found, dump.interrupted


def nft_sets(broker: Broker, netns: Netns) -> list[NftSet]:
    """Return the sets and maps of a namespace."""
    with kernel_dump(broker, netns, ReadRequest.NFT_SETS) as dump:
        decode = NftSetsDecoder()
        return [found for batch in dump.batches() for found in decode(batch).sets]


def ipsets(broker: Broker, netns: Netns) -> list[IpSet]:
    """Return the IP sets of a namespace."""
    with kernel_dump(broker, netns, ReadRequest.IPSETS) as dump:
        return [found for batch in dump.batches() for found in decode_ipsets(batch).sets]


class IpsetPages:
    """The elements of an IP set read so far, in a dump that can go on."""

    def __init__(self, dump: KernelDump) -> None:
        self.of: IpSet | None = None  # known once some were read
        self._batches = dump.batches()
        self._elements: list[IpSetElement] = []

    def read(self, count: int) -> list[IpSetElement]:
        """Return the elements once there are `count` of them or all. BrokerError: see KernelDump."""
        while len(self._elements) < count and (batch := next(self._batches, None)) is not None:
            found = decode_ipsets(batch)
            self.of = self.of or next(iter(found.sets), None)
            self._elements += found.elements
        return self._elements[:]


def ipset_elements(broker: Broker, netns: Netns, name: str, count: int) -> list[IpSetElement]:
    """Return the first `count` elements of an IP set."""
    with kernel_dump(broker, netns, ReadRequest.IPSET_ELEMENTS, SetName(0, "", name)) as dump:
        return IpsetPages(dump).read(count)[:count]
