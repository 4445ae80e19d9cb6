"""The cells of visible packet rows: decoded again from their bytes, at most a screenful at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nettop.batch import Batch, Gap, PacketMeta, Stream
from nettop.columns import Columns
from nettop.decode.packets import columns as pc
from nettop.decode.packets.decoder import PacketDecoder
from nettop.linux.packet import DIRECTION_UNKNOWN
from nettop.model.packets.blocks import Block
from nettop.model.packets.info import Seen, application, protocol_title, short_info, tcp_text
from nettop.model.packets.store import GapRow, PacketStore
from nettop.model.packets.tcp_streams import WAY, Head, TcpStreams, Way
from nettop.model.packets.text import PacketWords, proto_texts
from nettop.model.table import Column, Row
from nettop.text.address import with_port
from nettop.text.units import ABSENT, clock, grouped

COLUMNS = (
    Column("number", "#", 7, right=True, rank=4, sortable=False, frozen=True),
    Column("time", "TIME", 15, sortable=False),
    Column("delta", "Δ", 10, right=True, rank=5, sortable=False),
    Column("device", "DEV", 6, rank=6, grow=1, sortable=False),
    Column("source", "SOURCE", 21, grow=1, sortable=False),
    Column("destination", "DESTINATION", 21, grow=1, sortable=False),
    Column("proto", "PROTO", 6, rank=2, sortable=False),
    Column("length", "LEN", 6, right=True, rank=3, sortable=False),
    Column("vlan", "VLAN", 4, right=True, rank=7, sortable=False),
    Column("way", "WAY", 4, rank=8, sortable=False),
    Column("info", "INFO", 10, grow=12, rank=1, sortable=False),
)
_WAYS = {0: "in", 1: "bcast", 2: "mcast", 3: "other", 4: "out"}
_ROLES = {
    "number": "dim",
    "time": "",
    "delta": "dim",
    "device": "accent",
    "source": "address",
    "destination": "address",
    "proto": "proto",
    "length": "number",
    "vlan": "number",
    "way": "dim",
    "info": "",
}
_TCP_RST = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a visible row stands, and the time of the row before it."""

    block: Block
    row: int
    before_ns: int | None


class PacketCells:
    """Makes Rows. Keeps caches of address texts, and where TCP streams begin."""

    def __init__(self, store: PacketStore) -> None:
        self._store = store
        self._words = PacketWords()
        self._streams = TcpStreams()

    def rows(self, places: Iterable[Place | GapRow], columns: tuple[str, ...]) -> list[Row]:
        """A Row for each place, in order; the rows of one stream are decoded together."""
        listed = list(places)
        made = {at: _gap_row(place, columns) for at, place in enumerate(listed) if isinstance(place, GapRow)}
        of_stream: dict[Stream, dict[int, Place]] = {}
        for at, place in enumerate(listed):
            if isinstance(place, Place):
                of_stream.setdefault(place.block.streams[int(place.block.which[place.row])], {})[at] = place
        for stream, places_at in of_stream.items():
            made.update(zip(places_at, self._rows(stream, list(places_at.values()), columns), strict=True))
        return [made[at] for at in range(len(listed))]

    def _rows(self, stream: Stream, places: list[Place], columns: tuple[str, ...]) -> Iterator[Row]:
        records = [self._store.record(place.block, place.row) for place in places]
        batch = records_batch(stream, [(place.block, place.row) for place in places], records)
        cols = PacketDecoder(stream.linktype)(batch).cols
        sources, destinations = self._words.addresses(batch, cols, stream.linktype)
        infos = self._words.infos(batch, cols, stream.linktype)
        numbers = self._numbers(cols, places)
        protos = proto_texts(cols)
        values = zip(*(cols[name].tolist() for name in _PER_ROW), strict=True)
        for at, (place, record) in enumerate(zip(places, records, strict=True)):
            row = dict(zip(_PER_ROW, next(values), strict=True))
            seen = Seen(*(row[name] for name in Seen.__slots__))
            proto, info = said(seen, record, protos[at], infos[at], numbers.get(at, (0, 0)))
            bad = bool(seen.have & pc.HAVE_TCP and seen.flags & _TCP_RST)
            if len(record) < int(place.block.caplen[place.row]):
                info, bad = "its file can no longer be read", True
            cells = _place_cells(place, stream, row) | {"proto": proto, "info": info}
            cells["source"] = _endpoint(sources[at], seen.sport, seen)
            cells["destination"] = _endpoint(destinations[at], seen.dport, seen)
            roles = _ROLES | {"info": "bad" if bad else ""}
            ident = int(place.block.ident[place.row])
            yield Row(ident, tuple(cells.get(k, "") for k in columns), tuple(roles.get(k, "") for k in columns))

    def _numbers(self, cols: Columns, places: list[Place]) -> dict[int, tuple[int, int]]:
        """Seq and Ack of the TCP rows, counted from where their streams begin."""
        tcp = np.flatnonzero(cols["have"] & np.uint16(pc.HAVE_TCP)).tolist()
        if not tcp:
            return {}
        heads = _heads(cols, [int(place.block.ident[place.row]) for place in places])
        ways = _ways(cols)
        blocks = [segment for segment in self._store.segments if isinstance(segment, Block)]
        self._streams.learn([(ways[at], heads[at]) for at in tcp], blocks, self._read)
        return {at: self._streams.relative(ways[at], heads[at]) for at in tcp}

    def _read(self, places: Sequence[tuple[Block, int]]) -> list[Head]:
        """The heads of kept rows, decoded again."""
        of_stream: dict[Stream, list[int]] = {}
        for at, (block, row) in enumerate(places):
            of_stream.setdefault(block.streams[int(block.which[row])], []).append(at)
        heads: dict[int, Head] = {}
        for stream, ats in of_stream.items():
            some = [places[at] for at in ats]
            batch = records_batch(stream, some, [self._store.record(block, row) for block, row in some])
            cols = PacketDecoder(stream.linktype)(batch).cols
            heads |= zip(ats, _heads(cols, [int(block.ident[row]) for block, row in some]), strict=True)
        return [heads[at] for at in range(len(places))]


_PER_ROW = (*Seen.__slots__, "vlan", "direction")


def _heads(cols: Columns, idents: Iterable[int]) -> list[Head]:
    """The Head of every row."""
    values = (cols[name].tolist() for name in ("seq", "ack", "flags"))
    return [Head(*row) for row in zip(idents, *values, strict=True)]


def _ways(cols: Columns) -> list[Way]:
    """The direction of every row."""
    absent = np.zeros(len(cols), np.uint64)
    columns = [cols.get(name) for name in WAY]
    values = [(absent if column is None else column).tolist() for column in columns]
    return list(zip(*values, strict=True))


def said(seen: Seen, record: bytes, proto: str | None, info: str, numbers: tuple[int, int]) -> tuple[str, str]:
    """The PROTO and INFO of a row, of the highest layer that a glance tells."""
    known = application(seen, record)
    if known is not None:
        return known
    text = tcp_text(seen, record, numbers) if seen.have & pc.HAVE_TCP else short_info(info)
    return protocol_title(proto), text


def _place_cells(place: Place, stream: Stream, row: dict[str, int]) -> dict[str, str]:
    ts_ns = int(place.block.ts_ns[place.row])
    return {
        "number": str(int(place.block.ident[place.row])),
        "time": clock(ts_ns, 6),
        "delta": delta_text(ts_ns, place.before_ns),
        "device": stream.name or ABSENT,
        "length": str(int(place.block.length[place.row])),
        "vlan": str(row["vlan"]) if row["have"] & pc.HAVE_VLAN else "",
        "way": _WAYS.get(row["direction"], "") if row["have"] & pc.HAVE_DIRECTION else "",
    }


def records_batch(stream: Stream, rows: list[tuple[Block, int]], records: list[bytes]) -> Batch:
    """A batch of a few records of one stream, with what stands beside them."""
    caplen = np.array([len(record) for record in records], np.uint32)
    off = np.concatenate((np.zeros(1, np.uint32), np.cumsum(caplen, dtype=np.uint32)))[:-1]
    ts_ns = np.array([block.ts_ns[row] for block, row in rows], np.int64)
    length = np.array([block.length[row] for block, row in rows], np.uint32)
    direction = np.array([_direction(block, row) for block, row in rows], np.uint8)
    return Batch(stream.id, 0, b"".join(records), off, caplen, ts_ns, PacketMeta(length, direction))


def _direction(block: Block, row: int) -> int:
    directions = block.directions(np.array([row]))
    return DIRECTION_UNKNOWN if directions is None else int(directions[0])


def _endpoint(address: str, port: int, seen: Seen) -> str:
    if not seen.have & pc.HAVE_PORTS:
        return ABSENT if address == "-" else address
    return with_port(address, port)


def delta_text(ts_ns: int, before_ns: int | None) -> str:
    """Seconds since the row before, with µs; empty for the first."""
    return "" if before_ns is None else f"{(ts_ns - before_ns) / 1e9:.6f}"


def _gap_row(place: GapRow, columns: tuple[str, ...]) -> Row:
    """The loss in words stands where the row is widest, from the source on."""
    text = gap_text(place.gap, place.stream)
    shown = next((key for key in ("info", "source", "destination") if key in columns), columns[0] if columns else "")
    cells = tuple(text if key == shown else "GAP" if key == "proto" else "┄┄┄" for key in columns)
    return Row(place.ident, cells, ("bad",) * len(columns))


_WHERE = {"ring": "kernel ring", "queue": "nettop's queue", "file": "the file"}


def gap_text(gap: Gap, stream: Stream | None) -> str:
    """`GAP 1,204 packets lost, kernel ring of eth1, between 12:04:30.13 and 12:04:30.18`."""
    count = "packets" if gap.lost is None else "1 packet" if gap.lost == 1 else f"{grouped(gap.lost)} packets"
    device = f" of {stream.name}" if stream is not None and stream.name else ""
    where = _WHERE.get(gap.why.value, gap.why.value)
    times = ""
    if gap.from_ns and gap.to_ns:
        times = f", between {clock(gap.from_ns, 2)} and {clock(gap.to_ns, 2)}"
    return f"GAP {count} lost, {where}{device}{times}"
