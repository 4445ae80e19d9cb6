"""What else the kernel counts, polled: nfacct's objects, and nft's named counters without the rest of the ruleset."""

from __future__ import annotations

from nettop.batch import Counter64, Stream
from nettop.broker.client import Broker, NetlinkSocket, ReadRequest
from nettop.sources.dumps import DumpSource
from nettop.sources.exchange import Round
from nettop.sources.nftables import OBJECTS

NFACCT = Round("nfacct", (ReadRequest.NFACCT,))
SHARE = 0.005  # of a core: a host has few of these, and where it has many they may be older


class NfacctDump(DumpSource):
    """The stream "nfacct": all objects every `interval` seconds; `interval` None: once, then the End.

    A kernel without nfacct refuses each time: nothing is shown then, and nothing is lost.
    """

    def __init__(
        self, stream: Stream, broker: Broker, netlink_socket: NetlinkSocket, seq: Counter64, interval: float | None
    ) -> None:
        super().__init__(stream, broker, netlink_socket, seq, (NFACCT,), interval, share=SHARE)


class NftObjectDump(DumpSource):
    """A stream "nft" of nothing but named objects, for who wants no rules."""

    def __init__(
        self, stream: Stream, broker: Broker, netlink_socket: NetlinkSocket, seq: Counter64, interval: float | None
    ) -> None:
        super().__init__(stream, broker, netlink_socket, seq, (OBJECTS,), interval)
