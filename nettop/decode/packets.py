"""Packets to columns, layers 2 to 4, in bulk: link header, VLAN tags, IP, transport. Never raises on any bytes."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Batch, PacketMeta
from nettop.columns import Columns, Decoded, DecodeErrors
from nettop.decode.packet_columns import HAVE_DIRECTION, PACKET_DTYPES
from nettop.decode.packet_link import decode_link
from nettop.decode.packet_network import decode_network
from nettop.decode.packet_numbers import DIRECTION_UNKNOWN
from nettop.decode.packet_rows import Rows
from nettop.decode.packet_transport import decode_transport
from nettop.decode.packet_window import CHUNK_ROWS, Window

Array = NDArray[Any]


class Depth(IntEnum):
    """How much of a packet is wanted; a filter over a big file asks for no more than it reads."""

    LINK = 1  # ethertype, family, vlan
    NETWORK = 2  # and proto, addresses
    PORTS = 3  # and ports, or ICMP type, code, id
    FULL = 4  # and everything else


class PacketDecoder:
    """Decodes batches of one link type. Keeps nothing between batches."""

    __slots__ = ("_depth", "_linktype")

    def __init__(self, linktype: int, depth: Depth = Depth.FULL) -> None:
        self._linktype = linktype
        self._depth = depth

    def __call__(self, batch: Batch) -> Decoded:
        """One row a record, in order. Columns and their meaning: PACKET_DTYPES; what is not there has no `have` bit.

        A header that is cut off or lies leaves its columns absent and adds an error row (ERROR_TEXT names the codes).
        """
        chunks = [
            self.chunk(batch, start, min(start + CHUNK_ROWS, len(batch))) for start in range(0, len(batch), CHUNK_ROWS)
        ]
        cols = _joined(chunks, len(batch))
        cols.data["ts_ns"] = batch.ts_ns
        cols.data["caplen"] = batch.caplen
        cols.data["len"] = wirelen(batch)
        rows = np.arange(len(batch), dtype=np.uint32)
        return Decoded(batch.stream, batch.seq, cols, rows, _errors(chunks))

    def chunk(self, batch: Batch, start: int, stop: int) -> Rows:
        """The records start to stop of the batch, as deep as this decoder goes."""
        rows = Rows(Window(batch.buf), batch.off[start:stop], batch.caplen[start:stop])
        decode_link(rows, self._linktype)
        _direction(rows, batch, start, stop)
        if self._depth >= Depth.NETWORK:
            decode_network(rows, wirelen(batch)[start:stop], self._depth == Depth.FULL)
        if self._depth >= Depth.PORTS:
            decode_transport(rows, self._depth == Depth.FULL)
        return rows


def wirelen(batch: Batch) -> Array:
    """Bytes on the wire of each record: a uint32 array."""
    return batch.meta.wirelen if isinstance(batch.meta, PacketMeta) else batch.caplen


def _direction(rows: Rows, batch: Batch, start: int, stop: int) -> None:
    """What the source knows of the direction comes before what a cooked header says."""
    if isinstance(batch.meta, PacketMeta) and batch.meta.direction is not None:
        direction = batch.meta.direction[start:stop]
        known = direction != DIRECTION_UNKNOWN
        rows.column("direction")[known] = direction[known]
        rows.have(known, HAVE_DIRECTION)


def _joined(chunks: list[Rows], n: int) -> Columns:
    if len(chunks) == 1:
        return Columns(n, chunks[0].cols)
    names = {name for rows in chunks for name in rows.cols} | (set() if chunks else {"have"})
    out = Columns(n)
    for name in names:
        missing = np.zeros(CHUNK_ROWS, PACKET_DTYPES[name])
        parts = [rows.cols.get(name, missing[: rows.n]) for rows in chunks]
        out.data[name] = np.concatenate(parts) if parts else missing[:0]
    return out


def _errors(chunks: list[Rows]) -> DecodeErrors:
    record: list[Array] = []
    offset: list[Array] = []
    code: list[Array] = []
    for number, rows in enumerate(chunks):
        for bad, at, why in rows.errors:
            record.append(bad + number * CHUNK_ROWS)
            offset.append(at)
            code.append(np.full(len(bad), why, np.uint8))
    if not record:
        return DecodeErrors.none()
    order = np.argsort(np.concatenate(record), kind="stable")
    return DecodeErrors(
        np.concatenate(record)[order].astype(np.uint32),
        np.concatenate(offset)[order].astype(np.uint32),
        np.concatenate(code)[order],
    )
