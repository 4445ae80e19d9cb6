"""Conntrack, live: its events as they come, and dumps of the table."""

from __future__ import annotations

from dataclasses import replace

from nettop.batch import Counter64, Stream
from nettop.broker.client import Broker, NetlinkSocket, Netns, ReadRequest
from nettop.broker.requests import Narrowing
from nettop.sources.dumps import SHARE, DumpSource
from nettop.sources.exchange import Asked, Round
from nettop.sources.netlink import NetlinkEvents

# linux/netfilter/nfnetlink_compat.h NFNLGRP_CONNTRACK_{NEW,UPDATE,DESTROY}, …_EXP_{NEW,UPDATE,DESTROY}
EVENT_GROUPS = (1, 2, 3, 4, 5, 6)
EVENT_RCVBUF = 128 << 20  # bytes: a second and more of 100,000 events/s
BUCKETS, COUNT = "net.netfilter.nf_conntrack_buckets", "net.netfilter.nf_conntrack_count"
TABLE = Round("conntrack", (ReadRequest.CONNTRACK_DUMP,), steady=BUCKETS, counted=COUNT)
EXPECTATIONS = Round("expect", (ReadRequest.EXPECT_DUMP,))
EXPECT_SHARE = 0.005  # of a core at most; an empty table costs 0.3 ms, broker and all


class ConntrackEvents(NetlinkEvents):
    """The stream "conntrack": one event a record, of a socket that joined EVENT_GROUPS."""


class ConntrackDump(DumpSource):
    """The stream "conntrack-dump": the whole table at the start, every `interval` seconds, and after poke().

    A dump is complete when no message says NLM_F_DUMP_INTR, nothing was lost, the hash had as many buckets after
    as before (the kernel does not tell of a resize, and two thirds of the flows may be missing then), and about as
    many flows came as the kernel counts.
    """

    def __init__(
        self,
        stream: Stream,
        broker: Broker,
        netns: Netns,
        netlink_socket: NetlinkSocket,
        seq: Counter64,
        interval: float | None,
        share: float | None = SHARE,
        narrow: Narrowing | None = None,
    ) -> None:
        assert netlink_socket.netns == netns
        counted = TABLE.counted if narrow is None else ""
        table = replace(TABLE, requests=(Asked(ReadRequest.CONNTRACK_DUMP, narrow),), counted=counted)
        super().__init__(stream, broker, netlink_socket, seq, (table,), interval, share=share)


class ExpectationDump(DumpSource):
    """The stream "expect": every expectation at the start, every `interval` seconds, and after poke()."""

    def __init__(
        self, stream: Stream, broker: Broker, netlink_socket: NetlinkSocket, seq: Counter64, interval: float | None
    ) -> None:
        super().__init__(stream, broker, netlink_socket, seq, (EXPECTATIONS,), interval, share=EXPECT_SHARE)


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
