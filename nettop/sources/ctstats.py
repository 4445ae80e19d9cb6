"""Conntrack's statistics, polled: per CPU, and the table's use and limit."""

from __future__ import annotations

from nettop.batch import Counter64, Stream
from nettop.broker.client import Broker, NetlinkSocket, ReadRequest
from nettop.sources.dumps import DumpSource
from nettop.sources.exchange import Round

STATS = Round("ctstats", (ReadRequest.CONNTRACK_STATS_CPU, ReadRequest.EXPECT_STATS_CPU, ReadRequest.CONNTRACK_STATS))


class ConntrackStats(DumpSource):
    """The stream "ctstats": both answers between two marks, every `interval` seconds."""

    def __init__(
        self,
        stream: Stream,
        broker: Broker,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        interval: float | None = 1.0,
    ) -> None:
        super().__init__(stream, broker, netlink_socket, seq, (STATS,), interval)
