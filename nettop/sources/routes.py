"""Links, addresses and routes, live: dumps at the start, now and then, and soon after rtnetlink tells of a change."""

from __future__ import annotations

import time
from collections.abc import Callable

from nettop.batch import Batch, Counter64, Item, Stream
from nettop.broker.client import Broker, NetlinkSocket, ReadRequest
from nettop.sources.dumps import DumpSource
from nettop.sources.exchange import Round
from nettop.sources.netlink import NetlinkEvents

# linux/rtnetlink.h RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
EVENT_GROUPS = (1, 5, 7, 9, 11)
ROUNDS = (
    Round("links", (ReadRequest.RTNL_LINKS,)),
    Round("addresses", (ReadRequest.RTNL_ADDRESSES,)),
    Round("routes", (ReadRequest.RTNL_ROUTES,)),
)
EVERY_S = 30.0  # without a change that we heard of
_REST_NS = 1_000_000_000  # between dumps that changes ask for …
_REST_OF_COST = 50  # … and as many times as long as the last one took: a busy routing daemon must not keep us busy


class RouteDump(DumpSource):
    """The stream "routes": three rounds, "links", "addresses" and "routes". `interval` None: once, then the End."""

    def __init__(
        self,
        stream: Stream,
        broker: Broker,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        interval: float | None = EVERY_S,
    ) -> None:
        super().__init__(stream, broker, netlink_socket, seq, ROUNDS, interval)


class RouteEvents(NetlinkEvents):
    """The stream "route-events". `changed` is called on the source's thread, soon after a read with a change or a Gap.

    `cost_ns` is what the last dump took: changes in quick succession are answered by one dump at their end.
    """

    def __init__(
        self,
        stream: Stream,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        changed: Callable[[], None],
        cost_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        super().__init__(stream, netlink_socket, seq)
        self._changed, self._cost_ns = changed, cost_ns
        self._pending = False
        self._rest_until_ns = 0

    def due_ns(self) -> int | None:
        """At once before the first read; then, while a change waits to be told, when it may be."""
        due = super().due_ns()
        return self._rest_until_ns if due is None and self._pending else due

    def read(self, max_bytes: int) -> list[Item]:
        """What waits in the socket."""
        return self._told(super().read(max_bytes))

    def losses(self) -> list[Item]:
        """Gaps and Counters since the last call."""
        return self._told(super().losses())

    def _told(self, items: list[Item]) -> list[Item]:
        self._pending |= self._receiver.take_lossy() or any(isinstance(item, Batch) for item in items)
        now = time.monotonic_ns()
        if self._pending and now >= self._rest_until_ns:
            self._pending = False
            self._rest_until_ns = now + max(_REST_NS, _REST_OF_COST * self._cost_ns())
            self._changed()
        return items
