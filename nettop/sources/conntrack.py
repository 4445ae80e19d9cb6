"""Conntrack, live: its events as they come, and dumps of the table."""

from __future__ import annotations

from nettop.batch import Counter64, Stream
from nettop.broker.client import Broker, NetlinkSocket, Netns, ReadRequest
from nettop.sources.dumps import SHARE, DumpSource
from nettop.sources.exchange import Round
from nettop.sources.netlink import NetlinkEvents

# linux/netfilter/nfnetlink_compat.h NFNLGRP_CONNTRACK_{NEW,UPDATE,DESTROY}, …_EXP_{NEW,UPDATE,DESTROY}
EVENT_GROUPS = (1, 2, 3, 4, 5, 6)
EVENT_RCVBUF = 128 << 20  # bytes: a second and more of 100,000 events/s
TABLE = Round("conntrack", (ReadRequest.CONNTRACK_DUMP,), steady="net.netfilter.nf_conntrack_buckets")


class ConntrackEvents(NetlinkEvents):
    """The stream "conntrack": one event a record, of a socket that joined EVENT_GROUPS."""


class ConntrackDump(DumpSource):
    """The stream "conntrack-dump": the whole table at the start, every `interval` seconds, and after poke().

    A dump is complete when no message says NLM_F_DUMP_INTR, nothing was lost, and the hash had as many buckets after
    as before (the kernel does not tell of a resize, and two thirds of the flows may be missing then).
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
    ) -> None:
        assert netlink_socket.netns == netns
        super().__init__(stream, broker, netlink_socket, seq, (TABLE,), interval, share=share)
