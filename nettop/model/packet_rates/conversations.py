"""One hash for both directions of a conversation, to join packets and flows of either direction.

The lowest bit is the direction of the row's tuple: 1 is from the lower endpoint to the higher one, or for ICMP that of
the request.
"""

from __future__ import annotations

import numpy as np

from nettop.batch import Array
from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6
from nettop.model.flows.index import Hashes, KeyHash

_PACKED = np.dtype(
    [("sport", np.uint16), ("dport", np.uint16), ("proto", np.uint8), ("family", np.uint8), ("netns", np.uint16)]
)
# RFC 792, RFC 4443: reply type → request type; any other type → itself.
_REQUEST = {IPPROTO_ICMP: np.arange(256, dtype=np.uint8), IPPROTO_ICMPV6: np.arange(256, dtype=np.uint8)}
_REQUEST[IPPROTO_ICMP][[0, 14, 16, 18]] = 8, 13, 15, 17
_REQUEST[IPPROTO_ICMPV6][129] = 128


def conversations(
    key_hash: KeyHash,
    netns: Array,
    family: Array,
    proto: Array,
    src: tuple[Array | None, Array, Array],
    dst: tuple[Array | None, Array, Array],
) -> Hashes:
    """Return hashes of rows from src to dst (high and low half of the address, port); the lowest bit is the direction.

    Of ICMP the ports are the id and type << 8 | code.
    """
    forward = _ascending(src, dst)
    sport, dport = src[2].copy(), dst[2].copy()
    for number, request in _REQUEST.items():
        ping = (proto == number).nonzero()[0]
        if len(ping):
            kind = (dport[ping] >> 8).astype(np.uint8)
            forward[ping] = request[kind] == kind
            ident = sport[ping]
            sport[ping] = np.where(forward[ping], ident, request[kind])  # swapped below, as for every reply
            dport[ping] = np.where(forward[ping], request[kind], ident)
    packed = np.empty(len(proto), _PACKED)
    packed["sport"], packed["dport"] = np.where(forward, sport, dport), np.where(forward, dport, sport)
    packed["proto"], packed["family"], packed["netns"] = proto, family, netns
    low, high = np.where(forward, src[1], dst[1]), np.where(forward, dst[1], src[1])
    hi = None
    if src[0] is not None and dst[0] is not None:
        hi = np.where(forward, src[0], dst[0]), np.where(forward, dst[0], src[0])
    hashes = key_hash(0, packed.view(np.uint64), low, high, hi)
    return (hashes & ~np.uint64(1)) | forward.astype(np.uint64)


def _ascending(src: tuple[Array | None, Array, Array], dst: tuple[Array | None, Array, Array]) -> Array:
    """Return where src comes before dst: by address, then by port."""
    less = (src[1] < dst[1]) | (src[1] == dst[1]) & (src[2] < dst[2])
    if src[0] is not None and dst[0] is not None:
        less = (src[0] < dst[0]) | (src[0] == dst[0]) & less
    return np.asarray(less)
