"""The lines that `nettop read` prints for batches of packets: text in the words of the packet list, or JSON Lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np

from nettop.batch import Array, Batch, Gap, PacketMeta, Stream
from nettop.columns import Columns
from nettop.decode.packets import columns as pc
from nettop.kinds import NO_TIME
from nettop.model.packets.tcp_streams import TcpReader
from nettop.model.packets.text import proto_texts, texts_of
from nettop.model.packets.wording import Described, PacketWords, tcp_headers, tcp_rows
from nettop.text.packet import DIRECTIONS
from nettop.text.sanitize import clean
from nettop.text.units import plural

_NULL = "null"
Streams = Mapping[int, Stream]


class _Writer:
    """The words for packets that are read in order."""

    def __init__(self) -> None:
        self._words = PacketWords()
        self._tcp = TcpReader()
        self._read = 0

    def _describe(self, batch: Batch, cols: Columns, linktype: int) -> Described:
        rows = tcp_rows(cols)
        idents = range(self._read, self._read + len(rows))
        self._read += len(rows)
        headers = tcp_headers(batch, cols, rows, idents)
        numbers = {row: self._tcp.numbers(*one) for row, one in zip(rows.tolist(), headers, strict=True)}
        return self._words.describe(batch, cols, linktype, numbers)


class LineWriter(_Writer):
    """Lines of text, one per packet, without time: `eth0 in IP 10.0.3.7.51830 > 10.0.0.1.443: TCP [SYN] Seq=0 …`."""

    def lines(self, streams: Streams, batch: Batch, cols: Columns) -> list[str]:
        """Return one line per row, safe for a terminal. `cols`: the batch, decoded in full."""
        linktype = streams[batch.stream].linktype
        src, dst = self._words.addresses(batch, cols, linktype)
        ported = (cols["have"] & pc.HAVE_PORTS) != 0
        texts = self._describe(batch, cols, linktype)
        endpoints = (_with_port(src, cols["sport"], ported), _with_port(dst, cols["dport"], ported))
        return list(map("%s%s > %s: %s %s".__mod__, zip(_heads(streams, batch, cols), *endpoints, *texts, strict=True)))


def stream_ids(batch: Batch) -> Array:
    """Return the stream of each row."""
    streams = batch.meta.streams if isinstance(batch.meta, PacketMeta) else None
    return np.broadcast_to(np.int32(batch.stream), len(batch)) if streams is None else streams


def _with_port(names: list[str], ports: Array, ported: Array) -> list[str]:
    pairs = zip(names, ports.tolist(), strict=True)
    if ported.all():
        return list(map("%s.%d".__mod__, pairs))
    if not ported.any():
        return names
    return [f"{name}.{port}" if has else name for (name, port), has in zip(pairs, ported.tolist(), strict=True)]


def _heads(streams: Streams, batch: Batch, cols: Columns) -> list[str]:
    """Return `eth0 in vlan 100, vlan 7, IP `: the text before the source."""
    have = cols["have"]
    known = (have & pc.HAVE_DIRECTION) != 0
    direction = np.where(known, cols["direction"], 255) if known.any() else np.full(len(cols), 255)
    vlan = np.where((have & pc.HAVE_VLAN) != 0, cols["vlan"].astype(np.int64) + 1, 0)
    inner = np.where((have & pc.HAVE_INNER_VLAN) != 0, cols["inner_vlan"].astype(np.int64) + 1, 0)
    family = np.where((have & pc.HAVE_IP) != 0, cols["family"], 0).astype(np.int64)
    code = (
        family | direction.astype(np.int64) << 4 | vlan << 12 | inner << 25 | stream_ids(batch).astype(np.int64) << 38
    )
    return texts_of(code, lambda value: _head(clean(streams[value >> 38].name), value))


_FAMILIES = {2: "IP ", 10: "IP6 "}


def _head(device: str, code: int) -> str:
    tags = [number - 1 for number in (code >> 12 & 0x1FFF, code >> 25 & 0x1FFF) if number]
    parts = [device, DIRECTIONS.get(code >> 4 & 255, ""), *(f"vlan {number}," for number in tags)]
    return "".join(f"{part} " for part in parts if part) + _FAMILIES.get(code & 15, "")


class JsonWriter(_Writer):
    """JSON Lines, one object per packet: `protocol` and `info` are PROTO and INFO of the packet list."""

    def lines(self, streams: Streams, batch: Batch, cols: Columns) -> list[str]:
        """Return one object per row, its number that of its file. `cols`: the batch, decoded in full."""
        template = (
            '{"kind": "packet", %s, "number": %s, "ts_ns": %s, "interface": %s, '
            f'"linktype": {streams[batch.stream].linktype}, "caplen": %s, "len": %s, "direction": %s, "vlan": %s, '
            '"inner_vlan": %s, '
            '"proto": %s, "src": %s, "sport": %s, "dst": %s, "dport": %s, "protocol": %s, "info": %s, "comment": %s}'
        )
        return list(map(template.__mod__, zip(*self._columns(streams, batch, cols), strict=True)))

    def _columns(self, streams: Streams, batch: Batch, cols: Columns) -> list[Sequence[Any]]:
        have, ids = cols["have"], stream_ids(batch)
        linktype = streams[batch.stream].linktype
        src, dst = self._words.addresses(batch, cols, linktype)
        protos, infos = self._describe(batch, cols, linktype)
        ts_ns = cols["ts_ns"]
        return [
            texts_of(ids, lambda one: f'"netns": {dumps(streams[one].netns)}, "file": {dumps(streams[one].file)}'),
            frame_numbers(batch),
            _or_null(ts_ns, ts_ns != NO_TIME),
            texts_of(ids, lambda one: dumps(streams[one].name) if streams[one].name else _NULL),
            cols["caplen"].tolist(),
            cols["len"].tolist(),
            _directions(cols),
            _or_null(cols["vlan"], (have & pc.HAVE_VLAN) != 0),
            _or_null(cols["inner_vlan"], (have & pc.HAVE_INNER_VLAN) != 0),
            [_NULL if name is None else f'"{name}"' for name in proto_texts(cols)],
            _quoted(src),
            _or_null(cols["sport"], (have & pc.HAVE_PORTS) != 0),
            _quoted(dst),
            _or_null(cols["dport"], (have & pc.HAVE_PORTS) != 0),
            [_NULL if title == "–" else dumps(title) for title in protos],
            list(map(encode_basestring_ascii, infos)),
            _comments(batch),
        ]


def frame_numbers(batch: Batch) -> list[int]:
    """Return the records' numbers in their file, from 1."""
    number = batch.meta.number if isinstance(batch.meta, PacketMeta) else None
    return list(range(1, len(batch) + 1)) if number is None else [int(n) for n in number.tolist()]


def _quoted(names: list[str]) -> list[str]:
    return [_NULL if name == "-" else f'"{name}"' for name in names]


def _or_null(values: Array, present: Array) -> list[Any]:
    if present.all():
        plain: list[Any] = values.tolist()
        return plain
    if not present.any():
        return [_NULL] * len(values)
    return [value if has else _NULL for value, has in zip(values.tolist(), present.tolist(), strict=True)]


def _directions(cols: Columns) -> list[str]:
    known = (cols["have"] & pc.HAVE_DIRECTION) != 0
    if not known.any():
        return [_NULL] * len(cols)
    names = {number: f'"{name}"' for number, name in DIRECTIONS.items()}
    return texts_of(np.where(known, cols["direction"], 255), lambda value: names.get(value, _NULL))


def _comments(batch: Batch) -> list[str]:
    texts = [_NULL] * len(batch)
    if isinstance(batch.meta, PacketMeta):
        for row, comment in batch.meta.comment.items():
            texts[row] = dumps(comment)
    return texts


_WHERE = {"ring": "kernel ring", "queue": "nettop's queue", "file": "the file"}


def gap_line(gap: Gap, stream: Stream | None) -> str:
    """Return `GAP 1,204 packets lost, kernel ring of eth1`."""
    count = "packets" if gap.lost is None else plural(gap.lost, "packet")
    device = f" of {clean(stream.name)}" if stream is not None and stream.name else ""
    return f"GAP {count} lost, {_WHERE.get(gap.why.value, gap.why.value)}{device}"


def gap_json(gap: Gap, stream: Stream) -> str:
    """Return the JSON object of a loss."""
    row = {"kind": "gap", "netns": stream.netns, "file": stream.file, "stream": stream.name, "lost": gap.lost}
    return dumps(row | {"reason": gap.why.value, "from_ns": gap.from_ns, "to_ns": gap.to_ns})
