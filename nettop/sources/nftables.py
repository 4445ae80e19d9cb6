"""nftables, live: its raw dumps with counters polled, and the events that say the ruleset changed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from nettop.batch import Batch, Counter64, Item, Stream
from nettop.broker.client import Broker, NetlinkSocket, ReadRequest
from nettop.sources.dumps import SHARE, DumpSource
from nettop.sources.exchange import Round
from nettop.sources.netlink import NetlinkEvents

EVENT_GROUPS = (7,)  # linux/netfilter/nfnetlink.h NFNLGRP_NFTABLES
_NEWGEN = 10 << 8 | 15  # NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN: the last message of every commit
TABLES = Round("nft-tables", (ReadRequest.NFT_TABLES,))
CHAINS = Round("nft-chains", (ReadRequest.NFT_CHAINS,))
RULES = Round("nft-rules", (ReadRequest.NFT_RULES,))
OBJECTS = Round("nft-objects", (ReadRequest.NFT_OBJECTS,))
_OBJECT_SHARE = 0.02  # of a core: what named objects may cost downstream, …
_OBJECT_NS = 100  # … where each becomes a value and a row: for each byte of their dump (10,000 are 1 MB, 50 to 200 ms)


class NftDump(DumpSource):
    """The stream "nft": tables, chains, rules and objects at the start and after poke(); those that count, by time.

    Chains count too: a base chain's policy. Objects by the thousand are polled more seldom than the rest.
    `interval` None: once, then the End.
    """

    def __init__(
        self,
        stream: Stream,
        broker: Broker,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        interval: float | None = 1.0,
        share: float | None = SHARE,
    ) -> None:
        everything, counting = (TABLES, CHAINS, RULES, OBJECTS), (CHAINS, RULES, OBJECTS)
        super().__init__(stream, broker, netlink_socket, seq, everything, interval, counting, share)
        self._objects_due_ns = self._object_bytes = 0

    def _start_turn(self) -> None:
        super()._start_turn()
        if len(self._todo) > 1 and self._todo[0] is CHAINS and time.monotonic_ns() < self._objects_due_ns:
            self._todo.remove(OBJECTS)

    def _continue(self, max_bytes: int) -> list[Item]:
        objects = self._todo[0] is OBJECTS
        items = super()._continue(max_bytes)
        if objects:
            self._object_bytes += sum(len(item.buf) for item in items if isinstance(item, Batch))
            rest = int(self._object_bytes * _OBJECT_NS / _OBJECT_SHARE)
            self._objects_due_ns = self._began_ns + rest
        if not self._exchange.active:
            self._object_bytes = 0
        return items


class NftEvents(NetlinkEvents):
    """The stream "nft-events". `changed` is called on the source's thread when a commit or a Gap is in a read."""

    def __init__(
        self,
        stream: Stream,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(stream, netlink_socket, seq)
        self._changed = changed

    def read(self, max_bytes: int) -> list[Item]:
        """What waits in the socket."""
        return self._told(super().read(max_bytes))

    def losses(self) -> list[Item]:
        """Gaps and Counters since the last call."""
        return self._told(super().losses())

    def _told(self, items: list[Item]) -> list[Item]:
        if self._receiver.take_lossy() or any(isinstance(item, Batch) and _commits(item) for item in items):
            self._changed()
        return items


def _commits(batch: Batch) -> bool:
    """Whether a datagram begins with NFT_MSG_NEWGEN: the kernel sends it alone."""
    words = np.frombuffer(batch.buf, np.uint16)
    whole = batch.off[batch.caplen >= 16]  # struct nlmsghdr; nlmsg_type at byte 4
    return bool(np.any(words[(whole >> 1) + 2] == _NEWGEN))
