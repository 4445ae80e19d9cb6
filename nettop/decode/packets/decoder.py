"""Packets as columns, layers 2 to 4 in bulk: link header, VLAN tags, IP, transport. Never raises on bad bytes."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from nettop.batch import Array, Batch, PacketMeta
from nettop.columns import Columns, Decoded, DecodeErrors
from nettop.decode.packets.columns import HAVE_DIRECTION, PACKET_DTYPES, PACKET_HI
from nettop.decode.packets.link import decode_link
from nettop.decode.packets.network import decode_network
from nettop.decode.packets.rows import PacketRows
from nettop.decode.packets.transport import decode_transport
from nettop.decode.packets.window import CHUNK_ROWS, HeaderWindow
from nettop.linux.packet import DIRECTION_UNKNOWN


class Depth(IntEnum):
    """The depth to which packets are decoded, so that a filter over a big file decodes only what it needs."""

    LINK = 1  # ethertype, family, vlan
    NETWORK = 2  # also proto, addresses
    PORTS = 3  # also ports, or ICMP type, code, id
    FULL = 4  # also everything else


class Layers:
    """Records start to stop (exclusive) of a batch, decoded layer by layer on request."""

    __slots__ = ("_batch", "_depth", "_linktype", "_span", "rows")

    def __init__(self, batch: Batch, linktype: int, start: int, stop: int) -> None:
        self._batch = batch
        self._linktype = linktype
        self._span = slice(start, stop)
        self._depth = 0
        self.rows = self._begin()

    def _begin(self) -> PacketRows:
        return PacketRows(HeaderWindow(self._batch.buf), self._batch.off[self._span], self._batch.caplen[self._span])

    def upto(self, depth: Depth) -> PacketRows:
        """Return the rows, decoded at least to this depth. FULL starts again after a lesser depth."""
        full = depth == Depth.FULL
        if full and Depth.NETWORK <= self._depth < Depth.FULL:
            self.rows, self._depth = self._begin(), 0
        if self._depth < Depth.LINK:
            decode_link(self.rows, self._linktype)
            _direction(self.rows, self._batch, self._span)
        if self._depth < Depth.NETWORK <= depth:
            decode_network(self.rows, wirelen(self._batch)[self._span], full)
        if self._depth < Depth.PORTS <= depth:
            decode_transport(self.rows, full)
        self._depth = max(self._depth, depth)
        return self.rows


class PacketDecoder:
    """A decoder of batches of one link type, without state between batches."""

    __slots__ = ("_depth", "_linktype")

    def __init__(self, linktype: int, depth: Depth = Depth.FULL) -> None:
        self._linktype = linktype
        self._depth = depth

    def __call__(self, batch: Batch) -> Decoded:
        """Return a row for each record, in order, with the columns of PACKET_DTYPES. Absent values have no `have` bit.

        The values of a header that is cut off or inconsistent are absent, and an error row is added (see ERROR_TEXT).
        """
        n = len(batch)
        chunks = [
            Layers(batch, self._linktype, start, min(start + CHUNK_ROWS, n)).upto(self._depth)
            for start in range(0, n, CHUNK_ROWS)
        ]
        cols = _joined(chunks, n)
        if self._depth == Depth.FULL:
            _complete(cols)
        cols.data["ts_ns"] = batch.ts_ns
        cols.data["caplen"] = batch.caplen
        cols.data["len"] = wirelen(batch)
        return Decoded(cols, np.arange(n, dtype=np.uint32), _errors(chunks))


def wirelen(batch: Batch) -> Array:
    """Return the number of bytes on the wire of each record, as uint32."""
    return batch.meta.wirelen if isinstance(batch.meta, PacketMeta) else batch.caplen


def _complete(cols: Columns) -> None:
    """Add the missing columns, except the IPv6 halves, as zeros: readers test `have`, not for the column."""
    for name, dtype in PACKET_DTYPES.items():
        if name not in cols and name not in PACKET_HI:
            cols.data[name] = np.zeros(cols.n, dtype)


def _direction(rows: PacketRows, batch: Batch, span: slice) -> None:
    """Set the direction that the source reported: it takes precedence over that of a cooked header."""
    if isinstance(batch.meta, PacketMeta) and batch.meta.direction is not None:
        direction = batch.meta.direction[span]
        known = direction != DIRECTION_UNKNOWN
        rows.column("direction")[known] = direction[known]
        rows.have(known, HAVE_DIRECTION)


def _joined(chunks: list[PacketRows], n: int) -> Columns:
    if len(chunks) == 1:
        return Columns(n, chunks[0].cols)
    names = {name for rows in chunks for name in rows.cols} | (set() if chunks else {"have"})
    out = Columns(n)
    for name in names:
        missing = np.zeros(CHUNK_ROWS, PACKET_DTYPES[name])
        parts = [rows.cols.get(name, missing[: rows.n]) for rows in chunks]
        out.data[name] = np.concatenate(parts) if parts else missing[:0]
    return out


def _errors(chunks: list[PacketRows]) -> DecodeErrors:
    record: list[Array] = []
    offset: list[Array] = []
    code: list[Array] = []
    for number, rows in enumerate(chunks):
        for bad, at, error in rows.errors:
            record.append(bad + number * CHUNK_ROWS)
            offset.append(at)
            code.append(np.full(len(bad), error, np.uint8))
    if not record:
        return DecodeErrors.none()
    order = np.argsort(np.concatenate(record), kind="stable")
    return DecodeErrors(
        np.concatenate(record)[order].astype(np.uint32),
        np.concatenate(offset)[order].astype(np.uint32),
        np.concatenate(code)[order],
    )
