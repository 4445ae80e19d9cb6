"""The cells of visible packet rows, decoded again from their bytes, at most one screen at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nettop.batch import Batch, Gap, PacketMeta, Stream
from nettop.columns import Columns
from nettop.decode.packets import columns as pc
from nettop.decode.packets.decoder import PacketDecoder
from nettop.kinds import NO_TIME
from nettop.linux.packet import DIRECTION_UNKNOWN
from nettop.model.packets.blocks import PacketBlock
from nettop.model.packets.lines import gap_line
from nettop.model.packets.store import GapRow, PacketStore
from nettop.model.packets.tcp_streams import TcpHeader, TcpNumbers, TcpStreams
from nettop.model.packets.wording import PacketWords, tcp_headers, tcp_rows
from nettop.model.table import Column, Row
from nettop.text.address import with_port
from nettop.text.units import ABSENT, clock

COLUMNS = (
    Column("number", "#", 7, right=True, rank=4, sortable=False, frozen=True),
    Column("time", "TIME", 15, sortable=False),
    Column("delta", "Δ", 10, right=True, rank=5, sortable=False),
    Column("device", "DEV", 6, rank=6, grow=1, sortable=False),
    Column("netns", "NETNS", 8, rank=4, grow=1, max_width=16, sortable=False),
    Column("source", "SOURCE", 21, grow=1, sortable=False),
    Column("destination", "DESTINATION", 21, grow=1, sortable=False),
    Column("proto", "PROTO", 6, rank=2, sortable=False),
    Column("length", "LEN", 6, right=True, rank=3, sortable=False),
    Column("vlan", "VLAN", 9, right=True, rank=7, sortable=False),
    Column("way", "WAY", 4, rank=8, sortable=False),
    Column("info", "INFO", 10, grow=12, rank=1, sortable=False),
)
_DIRECTION_TEXTS = {0: "in", 1: "bcast", 2: "mcast", 3: "other", 4: "out"}
_ROLES = {
    **dict.fromkeys(("number", "delta", "way"), "dim"),
    **{"device": "accent", "netns": "accent", "source": "address", "destination": "address"},
    **{"proto": "proto", "length": "number", "vlan": "number"},
}
_TCP_RST = 4


@dataclass(frozen=True, slots=True)
class PacketRow:
    """One packet of the list: its block, its row there, and the time of the packet before it."""

    block: PacketBlock
    row: int
    before_ns: int | None

    @property
    def ident(self) -> int:
        """The number in the # column."""
        return int(self.block.ident[self.row])


class PacketCells:
    """The table rows of packets, with caches of address texts and of the first sequence numbers of TCP streams."""

    def __init__(self, store: PacketStore) -> None:
        self._store = store
        self._words = PacketWords()
        self._streams = TcpStreams()

    def rows(self, rows: Iterable[PacketRow | GapRow], columns: tuple[str, ...]) -> list[Row]:
        """Return a table row for each of `rows`, in order; the rows of one stream are decoded together."""
        listed = list(rows)
        made = {at: _gap_row(row, columns) for at, row in enumerate(listed) if isinstance(row, GapRow)}
        of_stream: dict[Stream, dict[int, PacketRow]] = {}
        for at, packet in enumerate(listed):
            if isinstance(packet, PacketRow):
                of_stream.setdefault(packet.block.stream(packet.row), {})[at] = packet
        for stream, packets in of_stream.items():
            made.update(zip(packets, self._rows(stream, list(packets.values()), columns), strict=True))
        return [made[at] for at in range(len(listed))]

    def _rows(self, stream: Stream, packets: list[PacketRow], columns: tuple[str, ...]) -> Iterator[Row]:
        records = [self._store.record(packet.block, packet.row) for packet in packets]
        batch = records_batch(stream, [(packet.block, packet.row) for packet in packets], records)
        cols = PacketDecoder(stream.linktype)(batch).cols
        sources, destinations = self._words.addresses(batch, cols, stream.linktype)
        protos, infos = self._words.describe(batch, cols, stream.linktype, self._numbers(batch, cols, packets))
        values = zip(*(cols[name].tolist() for name in _PER_ROW), strict=True)
        for at, (packet, record) in enumerate(zip(packets, records, strict=True)):
            row = dict(zip(_PER_ROW, next(values), strict=True))
            bad = bool(row["have"] & pc.HAVE_TCP and row["flags"] & _TCP_RST)
            if len(record) < int(packet.block.caplen[packet.row]):
                infos[at], bad = "its file can no longer be read", True
            cells = _packet_cells(packet, stream, row) | {"proto": protos[at], "info": infos[at]}
            cells["source"] = _endpoint(sources[at], row["sport"], row["have"])
            cells["destination"] = _endpoint(destinations[at], row["dport"], row["have"])
            roles = _ROLES | {"info": "bad" if bad else ""}
            yield Row(packet.ident, tuple(cells.get(k, "") for k in columns), tuple(roles.get(k, "") for k in columns))

    def _numbers(self, batch: Batch, cols: Columns, packets: list[PacketRow]) -> dict[int, TcpNumbers]:
        """Return Seq, Ack and Win of the TCP rows, counted from the beginning of their streams."""
        rows = tcp_rows(cols)
        if not len(rows):
            return {}
        headers = tcp_headers(batch, cols, rows, [packets[row].ident for row in rows.tolist()])
        blocks = [segment for segment in self._store.segments if isinstance(segment, PacketBlock)]
        self._streams.learn(headers, blocks, self._read)
        return {row: self._streams.numbers(*one) for row, one in zip(rows.tolist(), headers, strict=True)}

    def _read(self, rows: Sequence[tuple[PacketBlock, int]]) -> list[TcpHeader]:
        """Return the TCP headers of kept rows, decoded again."""
        of_stream: dict[Stream, list[int]] = {}
        for at, (block, row) in enumerate(rows):
            of_stream.setdefault(block.stream(row), []).append(at)
        headers: dict[int, TcpHeader] = {}
        for stream, ats in of_stream.items():
            some = [rows[at] for at in ats]
            batch = records_batch(stream, some, [self._store.record(block, row) for block, row in some])
            cols = PacketDecoder(stream.linktype)(batch).cols
            idents = [int(block.ident[row]) for block, row in some]
            found = tcp_headers(batch, cols, np.arange(len(some)), idents)
            headers |= zip(ats, (header for _, header in found), strict=True)
        return [headers[at] for at in range(len(rows))]


_PER_ROW = ("have", "flags", "sport", "dport", "vlan", "inner_vlan", "direction")


def _packet_cells(packet: PacketRow, stream: Stream, row: dict[str, int]) -> dict[str, str]:
    ts_ns, before_ns = int(packet.block.ts_ns[packet.row]), packet.before_ns
    return {
        "number": str(packet.ident),
        "time": clock(ts_ns, 6),
        "delta": "" if before_ns is None or ts_ns == NO_TIME else f"{(ts_ns - before_ns) / 1e9:.6f}",
        "device": stream.name or ABSENT,
        "netns": stream.netns or "host",
        "length": str(int(packet.block.length[packet.row])),
        "vlan": vlan_text(row["have"], row["vlan"], row["inner_vlan"]),
        "way": _DIRECTION_TEXTS.get(row["direction"], "") if row["have"] & pc.HAVE_DIRECTION else "",
    }


def vlan_text(have: int, outer: int, inner: int) -> str:
    """Return `7`, with an inner tag `100.7`, without a tag ""."""
    if not have & pc.HAVE_VLAN:
        return ""
    return f"{outer}.{inner}" if have & pc.HAVE_INNER_VLAN else str(outer)


def records_batch(stream: Stream, rows: list[tuple[PacketBlock, int]], records: list[bytes]) -> Batch:
    """Return a batch of a few records of one stream, with their times, lengths and directions."""
    caplen = np.array([len(record) for record in records], np.uint32)
    off = np.concatenate((np.zeros(1, np.uint32), np.cumsum(caplen, dtype=np.uint32)))[:-1]
    ts_ns = np.array([block.ts_ns[row] for block, row in rows], np.int64)
    length = np.array([block.length[row] for block, row in rows], np.uint32)
    direction = np.array([_direction(block, row) for block, row in rows], np.uint8)
    return Batch(stream.id, 0, b"".join(records), off, caplen, ts_ns, PacketMeta(length, direction))


def _direction(block: PacketBlock, row: int) -> int:
    directions = block.directions(np.array([row]))
    return DIRECTION_UNKNOWN if directions is None else int(directions[0])


def _endpoint(address: str, port: int, have: int) -> str:
    if not have & pc.HAVE_PORTS:
        return ABSENT if address == "-" else address
    return with_port(address, port)


def _gap_row(gap_row: GapRow, columns: tuple[str, ...]) -> Row:
    """Return the row of a loss, its text in the widest column that is shown."""
    text = gap_text(gap_row.gap, gap_row.stream)
    shown = next((key for key in ("info", "source", "destination") if key in columns), columns[0] if columns else "")
    cells = tuple(text if key == shown else "GAP" if key == "proto" else "┄┄┄" for key in columns)
    return Row(gap_row.ident, cells, ("bad",) * len(columns))


def gap_text(gap: Gap, stream: Stream | None) -> str:
    """Return `GAP 1,204 packets lost, kernel ring of eth1, between 12:04:30.13 and 12:04:30.18`."""
    times = ""
    if gap.from_ns and gap.to_ns:
        times = f", between {clock(gap.from_ns, 2)} and {clock(gap.to_ns, 2)}"
    return f"{gap_line(gap, stream)}{times}"
