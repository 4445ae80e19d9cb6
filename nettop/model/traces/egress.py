"""The packets that have left by a device: the chains of its egress hook come after the last one of our table."""

from __future__ import annotations

from nettop.decode.nftables.trace import TraceRecord
from nettop.kinds import TRACE_EGRESS, TRACE_INGRESS
from nettop.model.ruleset.merge import ChainView
from nettop.model.traces.journey import Journey

_KEEP = 5000


class DepartedPackets:
    """The accepted packets, by namespace and id."""

    def __init__(self) -> None:
        self._packets: dict[tuple[int, int], Journey] = {}

    def add(self, key: tuple[int, int], packet: Journey) -> None:
        """Add one that has ended; the earliest makes room for it."""
        self._packets[key] = packet
        if len(self._packets) > _KEEP:
            del self._packets[next(iter(self._packets))]

    def discard(self, key: tuple[int, int]) -> None:
        """Forget it: its id is that of another packet."""
        self._packets.pop(key, None)

    def at_egress(self, key: tuple[int, int], record: TraceRecord, chain: ChainView | None) -> Journey | None:
        """Return the packet that a record of `chain` shows in an egress hook; None: it is of none of them."""
        packet = self._packets.get(key)
        if packet is None or record.family != "netdev" or (chain is not None and chain.hook == TRACE_INGRESS):
            return None
        if packet.hook != TRACE_EGRESS:
            packet.arrive(TRACE_EGRESS, record.family)
        return packet
