"""The elements of one set or map, read page by page: the kernel makes only as much of its dump as is read."""

from __future__ import annotations

import os
import select
import struct
import time
from contextlib import suppress
from types import TracebackType

from nettop.batch import Batch, Counter64
from nettop.broker.client import Broker
from nettop.broker.requests import Netns, ReadRequest, SetName
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.members import rows_of
from nettop.decode.nftables.sets import NftSetsDecoder, SetId
from nettop.errors import BrokerError
from nettop.linux.netlink import NETLINK_NETFILTER
from nettop.linux.nfnetlink import NFPROTO_NUMBERS
from nettop.sources.exchange import scan
from nettop.sources.netlink import Receiver

_READ = 1 << 15  # bytes of one datagram of a dump
_TIMEOUT_S = 5.0


class SetPages:
    """A dump of a set's elements that is continued by each read(). `elements`: those read so far; `more`: not all.

    `interrupted`: the ruleset changed meanwhile, so some may be missing or there twice. To be closed.
    """

    def __init__(self, broker: Broker, netns: Netns, name: SetId) -> None:
        self.elements: Elements | None = None
        self.more, self.interrupted = True, False
        self._name, self._broker = " ".join(name), broker
        self._socket = broker.netlink_socket(netns, NETLINK_NETFILTER)
        self._receiver, self._decode = Receiver(0, self._socket, Counter64()), NftSetsDecoder()
        of_set = SetName(NFPROTO_NUMBERS[name[0]], *name[1:])
        try:
            request = broker.request(self._socket, ReadRequest.NFT_SET_ELEMENTS, of_set=of_set)
        except BrokerError:
            self.close()
            raise
        self._sequence = struct.unpack_from("=I", request, 8)[0]

    def read(self, count: int) -> Elements | None:
        """Read until `elements` has `count` or all, and return it. BrokerError if the kernel refuses or is silent."""
        parts, until = [] if self.elements is None else [self.elements], time.monotonic() + _TIMEOUT_S
        found = sum(len(rows_of(part)) for part in parts)
        while self.more and found < count:
            for batch in self._receive(until):
                new = [part for _, part in self._decode(batch).elements if part is not None]
                parts += new
                found += sum(len(rows_of(part)) for part in new)
                self._apply_end(batch)
        self.elements = Elements.whole(parts)
        return self.elements

    def _receive(self, until: float) -> list[Batch]:
        poller = select.poll()
        poller.register(self._receiver.fileno(), select.POLLIN)
        if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
            raise BrokerError(f"set {self._name}: the kernel does not answer")
        return [item for item in self._receiver.receive(_READ, 1) if isinstance(item, Batch)]

    def _apply_end(self, batch: Batch) -> None:
        end = scan(batch, self._sequence, True)
        self.interrupted = self.interrupted or end.interrupted
        self.more = self.more and not end.ended
        if end.error:
            raise BrokerError(f"set {self._name}: {os.strerror(end.error)}")

    def close(self) -> None:
        """Close the socket, here and in the broker."""
        self._receiver.close()
        with suppress(BrokerError):
            self._broker.release(self._socket)

    def __enter__(self) -> SetPages:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
