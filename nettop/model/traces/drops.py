"""The drop reason of a journey: a packet that the kernel dropped, which is this one by device, length and time.

The kernel's record has no number of the packet, so the reason is likely, not certain.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from nettop.decode.drops import DropRecord, Place
from nettop.linux.packet import ETH_P_IP, ETH_P_IPV6
from nettop.model.traces.headers import PacketHead

# Trace records have the time when they were read, which is later than the kernel's: on a busy host by a second.
_BEFORE_NS, AFTER_NS = 100_000_000, 50_000_000
_LATE_NS = 1_000_000_000  # of a packet that is certain to have no verdict
BY_RULES = "NETFILTER_DROP"
_MIN_PAYLOAD = 46  # bytes: shorter packets have a padding on Ethernet


class Drop(NamedTuple):
    """A drop that is a packet's: `certainty` is likely, or possible where others fit it as well."""

    record: DropRecord
    certainty: str


class Seen(Protocol):
    """A traced packet: `device` it came from, `head` as it was marked, its first and last record (ns), its end."""

    device: str | None
    head: PacketHead
    ts_ns: int
    last_ns: int
    drop: Drop | None

    @property
    def end(self) -> object | None:
        """Its end; None: it may still be on its way."""
        ...

    @property
    def verdict(self) -> str:
        """The verdict that ended it; "lost": none was seen."""
        ...


Packet = TypeVar("Packet", bound=Seen)


def places(packet: Seen) -> tuple[Place, ...]:
    """Return the places that a drop of a packet may have. Of one made on this host nothing names the device."""
    length = packet.head.length or 0
    found = (packet.device, length), (packet.device, max(length, _MIN_PAYLOAD))
    return ((None, None),) if packet.device is None else found


def dropped(record: DropRecord, packets: Iterable[Packet]) -> Packet | None:
    """Give a drop to the packet that it is of, and return that; None: of none of them.

    Packets without a verdict come first, and of those the earliest.
    """
    ts_ns = record.ts_ns
    same = (one for one in packets if one.device == record.device and one.drop is None)
    near = (one for one in same if one.ts_ns - _LATE_NS <= ts_ns <= one.last_ns + AFTER_NS)  # most are not
    found = [packet for packet in near if _fits(packet, record)]
    if not found:
        return None
    first = min(found, key=lambda packet: (packet.verdict == "accept", packet.ts_ns))
    sure = record.device is not None and (first.verdict != "accept" or len(found) == 1)
    first.drop = Drop(record, "likely" if sure else "possible")
    return first


def _fits(packet: Seen, record: DropRecord) -> bool:
    verdict, head = packet.verdict, packet.head
    if record.place not in places(packet) or (record.device is None and verdict != "lost"):
        return False
    before_ns = _LATE_NS if packet.end is not None and verdict == "lost" else _BEFORE_NS
    if not packet.ts_ns - before_ns <= record.ts_ns <= packet.last_ns + AFTER_NS:
        return False
    if record.protocol != (ETH_P_IPV6 if ":" in (head.src or "") else ETH_P_IP):
        return False
    return verdict == "lost" or (record.reason == BY_RULES) == (verdict == "drop")
