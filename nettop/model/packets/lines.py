"""The lines that `nettop read` prints for batches of packets: text similar to tcpdump's, or JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from nettop.batch import Array, Batch, PacketMeta, Stream
from nettop.columns import Columns
from nettop.decode.packets import columns as pc
from nettop.model.packets.text import PacketTexts, TextCache, proto_texts
from nettop.text.packet import DIRECTIONS
from nettop.text.sanitize import clean
from nettop.text.units import clock

_NULL = "null"


class LineWriter:
    """Lines of text, one per packet: `12:04:31.150771 eth0 in IP 10.0.3.7.51830 > 200.200.200.1.443: Flags [S], …`."""

    def __init__(self) -> None:
        self._texts = PacketTexts()
        self._clock = TextCache[int](lambda second: clock(second * 1_000_000_000), 4096)

    def lines(self, stream: Stream, batch: Batch, cols: Columns, nanoseconds: bool) -> list[str]:
        """Return one line per row, safe for a terminal. `cols`: the batch, decoded in full."""
        src, dst = self._texts.addresses(batch, cols, stream.linktype)
        ported = (cols["have"] & pc.HAVE_PORTS) != 0
        infos = self._texts.infos(batch, cols, stream.linktype)
        seconds, parts = np.divmod(cols["ts_ns"], 1_000_000_000)
        parts = parts if nanoseconds else parts // 1000
        times = [self._clock[second] for second in seconds.tolist()]
        digits = "%09d" if nanoseconds else "%06d"
        template = f"%s.{digits} %s%s > %s: %s"
        heads = _heads(stream, cols)
        endpoints = (_with_port(src, cols["sport"], ported), _with_port(dst, cols["dport"], ported))
        return list(map(template.__mod__, zip(times, parts.tolist(), heads, *endpoints, infos, strict=True)))


def _with_port(names: list[str], ports: Array, ported: Array) -> list[str]:
    pairs = zip(names, ports.tolist(), strict=True)
    if ported.all():
        return list(map("%s.%d".__mod__, pairs))
    if not ported.any():
        return names
    return [f"{name}.{port}" if has else name for (name, port), has in zip(pairs, ported.tolist(), strict=True)]


def _heads(stream: Stream, cols: Columns) -> list[str]:
    """Return `eth0 in vlan 7, IP `: the text between time and source."""
    have = cols["have"]
    known = (have & pc.HAVE_DIRECTION) != 0
    direction = np.where(known, cols["direction"], 255) if known.any() else np.full(len(cols), 255)
    vlan = np.where((have & pc.HAVE_VLAN) != 0, cols["vlan"].astype(np.int32), -1)
    label = np.where((have & pc.HAVE_IP) != 0, cols["family"], 0).astype(np.int32)
    label[(have & pc.HAVE_ARP) != 0] = 1
    code = (vlan + 1 << 16) | (direction.astype(np.int32) << 8) | label
    device = clean(stream.name)
    values = np.unique(code).tolist()
    table = {value: _head(device, value) for value in values}
    if len(values) == 1:
        return [table[values[0]]] * len(cols)
    return [table[value] for value in code.tolist()]


_LABELS = {1: "ARP ", 2: "IP ", 10: "IP6 "}


def _head(device: str, code: int) -> str:
    vlan, direction, label = (code >> 16) - 1, code >> 8 & 255, code & 255
    parts = [device, DIRECTIONS.get(direction, ""), f"vlan {vlan}," if vlan >= 0 else ""]
    return "".join(f"{part} " for part in parts if part) + _LABELS.get(label, "")


class JsonWriter:
    """JSON Lines, one object per packet."""

    def __init__(self) -> None:
        self._texts = PacketTexts()

    def lines(self, stream: Stream, batch: Batch, cols: Columns, numbers: Sequence[int]) -> list[str]:
        """Return one object per row; `numbers` count the file's packets from 1. `cols`: the batch, decoded in full."""
        template = (
            f'{{"kind": "packet", "netns": {_constant(stream.netns)}, "file": {_constant(stream.file)}, '
            f'"number": %s, "ts_ns": %s, "interface": {_constant(stream.name) if stream.name else _NULL}, '
            f'"linktype": {stream.linktype}, "caplen": %s, "len": %s, "direction": %s, "vlan": %s, "proto": %s, '
            '"src": %s, "sport": %s, "dst": %s, "dport": %s, "info": "%s", "comment": %s}'
        )
        return list(map(template.__mod__, zip(*self._columns(stream, batch, cols, numbers), strict=True)))

    def _columns(self, stream: Stream, batch: Batch, cols: Columns, numbers: Sequence[int]) -> list[Sequence[Any]]:
        have = cols["have"]
        src, dst = self._texts.addresses(batch, cols, stream.linktype)
        return [
            numbers,
            cols["ts_ns"].tolist(),
            cols["caplen"].tolist(),
            cols["len"].tolist(),
            _directions(cols),
            _or_null(cols["vlan"], (have & pc.HAVE_VLAN) != 0),
            [_NULL if name is None else f'"{name}"' for name in proto_texts(cols)],
            _quoted(src),
            _or_null(cols["sport"], (have & pc.HAVE_PORTS) != 0),
            _quoted(dst),
            _or_null(cols["dport"], (have & pc.HAVE_PORTS) != 0),
            self._texts.infos(batch, cols, stream.linktype),
            _comments(batch),
        ]


def _constant(text: str) -> str:
    """Return a JSON string for a `%` template."""
    return json.dumps(text).replace("%", "%%")


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
    values = zip(cols["direction"].tolist(), known.tolist(), strict=True)
    return [names.get(value, _NULL) if has else _NULL for value, has in values]


def _comments(batch: Batch) -> list[str]:
    texts = [_NULL] * len(batch)
    if isinstance(batch.meta, PacketMeta):
        for row, comment in batch.meta.comment.items():
            texts[row] = json.dumps(comment)
    return texts
