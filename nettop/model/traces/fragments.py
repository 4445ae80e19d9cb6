"""The fragments of one packet, which the kernel reassembles: each is marked, and one of them continues as the packet.

RFC 791: those of a packet have its addresses, protocol and id. nf_tables does not give the id of those of IPv6.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from nettop.model.traces.headers import PacketHead
from nettop.model.traces.journey import Journey


def is_reassembled(packet: Journey) -> bool:
    """Return whether a packet that was a fragment is a whole one as it was last seen."""
    return packet.head.fragment is not None and packet.last.src is not None and packet.last.fragment is None


def others_of(packet: Journey, candidates: Iterable[Journey]) -> list[Journey]:
    """Return the fragments among `candidates` that were reassembled into a packet (see is_reassembled())."""
    return [one for one in candidates if one is not packet and _is_part(one, packet)]


def _is_part(one: Journey, packet: Journey) -> bool:
    own, head = one.head, packet.head
    if one.netns != packet.netns or own.fragment != head.fragment or own.family != head.family or own.family == 0:
        return False
    known = head if head.src is not None else packet.last
    return own.src is None or (own.src, own.dst) == (known.src, known.dst)


def whole_head(packet: Journey, others: Iterable[Journey]) -> PacketHead:
    """Return the head of a reassembled packet as it was marked: its ports are those of its first fragment."""
    heads = [packet.head, *(one.head for one in others)]
    first = next((head for head in heads if head.sport is not None), packet.head)
    last = packet.last
    if first.src in (None, last.src) and first.dst in (None, last.dst) and first.sport in (None, last.sport):
        return last
    return replace(first, length=last.length, proto=last.proto, info=last.info, fragment=None)
