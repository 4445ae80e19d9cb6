"""A batch as Enhanced Packet Blocks, built in bulk; epb_flags encoded and decoded (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, NetlinkMeta, PacketMeta
from nettop.kinds import NO_TIME
from nettop.linux import packet
from nettop.linux.interface import ARPHRD_NETLINK
from nettop.recording import blocks, bulk

Ints = NDArray[np.int64]

_INBOUND, _OUTBOUND = 1, 2  # epb_flags, bits 0-1; bits 2-4: 1 unicast, 2 multicast, 3 broadcast, 4 promiscuous
_STATUS_BITS = (
    (packet.TP_STATUS_CSUMNOTREADY, 1 << 9),
    (packet.TP_STATUS_CSUM_VALID, 1 << 10),
    (packet.TP_STATUS_GSO_TCP, 1 << 11),
)

_HEAD = 28  # bytes of an EPB before its data
_COOKED = 16  # bytes of LINKTYPE_NETLINK's header
_RECEPTION = {packet.PACKET_HOST: 1, packet.PACKET_MULTICAST: 2, packet.PACKET_BROADCAST: 3, packet.PACKET_OTHERHOST: 4}


def _flags_table() -> NDArray[np.uint32]:
    table = np.zeros(256, np.uint32)
    for direction, bits in _RECEPTION.items():
        table[direction] = _INBOUND | bits << 2
    table[packet.PACKET_OUTGOING] = _OUTBOUND
    return table


def _direction_table() -> NDArray[np.uint8]:
    """Return the reverse, by the low five bits; a direction without a reception type counts as unicast."""
    table = np.full(32, packet.DIRECTION_UNKNOWN, np.uint8)
    table[_INBOUND] = packet.PACKET_HOST
    for direction, bits in _RECEPTION.items():
        table[[bits << 2, _INBOUND | bits << 2]] = direction
    table[_OUTBOUND::4] = packet.PACKET_OUTGOING
    return table


_FLAGS = _flags_table()
_DIRECTIONS = _direction_table()


def direction_of(flags: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return PACKET_* of each epb_flags value; 255: unknown."""
    return np.asarray(_DIRECTIONS[flags & 31], np.uint8)


def status_of(flags: NDArray[np.uint32]) -> NDArray[np.uint32] | None:
    """Return the TP_STATUS_* bits that epb_flags can hold (checksum not ready or valid, TCP segmentation), or None."""
    status = np.zeros(len(flags), np.uint32)
    for tp, bit in _STATUS_BITS:
        status |= np.where(flags & bit, np.uint32(tp), np.uint32(0))
    return status if status.any() else None


def flags_of(meta: PacketMeta) -> NDArray[np.uint32] | None:
    """Return epb_flags of each record, or None when nothing is known of any."""
    if meta.direction is None and meta.tp_status is None:
        return None
    flags = np.zeros(len(meta.wirelen), np.uint32) if meta.direction is None else _FLAGS[meta.direction]
    if meta.tp_status is not None:
        for tp, bit in _STATUS_BITS:
            flags = flags | np.where(meta.tp_status & tp, np.uint32(bit), np.uint32(0))
    return flags


def encode(batch: Batch, interface: int | Ints, family: int = 0) -> tuple[NDArray[np.uint8], Ints]:
    """Return the batch as EPBs of `interface` (one, or each record's), and where each begins."""
    meta, off, caplen = batch.meta, batch.off.astype(np.int64), batch.caplen.astype(np.int64)
    if isinstance(meta, NetlinkMeta):
        out, start = _frame(batch, caplen + _COOKED, caplen + _COOKED, interface, 0)
        bulk.scatter(out, start + _HEAD, _cooked_headers(meta, family))
        bulk.copy(out, start + _HEAD + _COOKED, batch.buf, off, caplen)
        return out, start
    flags = flags_of(meta)
    comments = {row: _options(text, flags, row) for row, text in meta.comment.items() if 0 <= row < len(batch)}
    sizes = np.full(len(batch), 0 if flags is None else 12)
    sizes[list(comments)] = list(map(len, comments.values()))
    out, start = _frame(batch, caplen, meta.wirelen, interface, sizes)
    bulk.copy(out, start + _HEAD, batch.buf, off, caplen)
    at = start + _HEAD + (caplen + 3 & ~3)
    if flags is not None:
        options = np.zeros((len(batch), 3), np.uint32)
        options[:, 0], options[:, 1] = 4 << 16 | blocks.EPB_FLAGS, flags
        bulk.scatter(out, at, options)
    for row, data in comments.items():
        out[at[row] : at[row] + len(data)] = np.frombuffer(data, np.uint8)
    return out, start


def _options(comment: str, flags: NDArray[np.uint32] | None, row: int) -> bytes:
    """Return the options of a packet with a comment."""
    known = [] if flags is None else [(blocks.EPB_FLAGS, struct.pack("<I", flags[row]))]
    return blocks.encode_options([*known, (blocks.OPT_COMMENT, comment.encode("utf-8", "replace"))])


def _cooked_headers(meta: NetlinkMeta, family: int) -> NDArray[np.uint32]:
    """Return LINKTYPE_NETLINK headers: packet type, ARPHRD, address length, address (8 bytes), family.

    The fields are big-endian, of 16 bits. Netlink has no link-layer address: the nsid, where known, goes there as an
    address of four bytes.
    """
    headers = np.zeros((len(meta.outgoing), 8), ">u2")
    headers[:, 0] = np.where(meta.outgoing, packet.PACKET_OUTGOING, packet.PACKET_HOST)
    headers[:, 1] = ARPHRD_NETLINK
    headers[:, 7] = family
    if meta.nsid is not None:
        headers[:, 2] = 4
        headers[:, 3:5] = meta.nsid.astype(">i4").view(">u2").reshape(-1, 2)
    return headers.view(np.uint32)


def _frame(
    batch: Batch, captured: Ints, wire: NDArray[Any], interface: int | Ints, options: int | Ints
) -> tuple[NDArray[np.uint8], Ints]:
    """Return the blocks without their data and options (zeroed where padding goes), and where each begins.

    `options`: the bytes of each block's options.
    """
    padded = captured + 3 & ~3
    length = padded + (_HEAD + 4) + options
    end = np.cumsum(length)
    start = end - length
    out = np.empty(int(end[-1]) if len(end) else 0, np.uint8)
    words, last = out.view(np.uint32), (start + _HEAD + padded >> 2) - 1
    words[last] = 0  # the padding; for an empty record this is a header word, written next
    head = np.empty((len(captured), 7), np.uint32)
    ticks = np.where(batch.ts_ns == NO_TIME, 0, batch.ts_ns).view(np.uint64)  # a block must have a time: 0 is none
    head[:, 0] = blocks.EPB
    head[:, 1] = length
    head[:, 2] = interface
    head[:, 3] = ticks >> np.uint64(32)
    head[:, 4] = ticks
    head[:, 5] = captured
    head[:, 6] = wire
    bulk.scatter(out, start, head)
    words[(end >> 2) - 1] = length
    return out, start
