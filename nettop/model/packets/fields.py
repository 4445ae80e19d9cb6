"""The packet fields of the display filter (model.filter.Fields), of records or of kept columns.

The words mean the same as in tcpdump, with two differences that people expect: a filter looks through VLAN tags
(tcpdump needs `vlan and …`) and through IPv6 extension headers (tcpdump's `tcp` and `port` see the first header only).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nettop.batch import Array, Batch, Stream
from nettop.decode.packets import columns as pc
from nettop.decode.packets.decoder import Depth, Layers, wirelen
from nettop.decode.packets.rows import PacketRows
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.model.filter.fields import Endpoint, Loaded, Mask

_SIDES = {"src": ("src",), "dst": ("dst",), "any": ("src", "dst")}

# name in the language and of its column → decoding depth, the `have` bits that say it is present (0: always)
_NUMBERS = {
    "family": (Depth.LINK, 0),
    "ethertype": (Depth.LINK, pc.HAVE_ETHERTYPE),
    "vlan": (Depth.LINK, pc.HAVE_VLAN),
    "inner_vlan": (Depth.LINK, pc.HAVE_INNER_VLAN),
    "direction": (Depth.LINK, pc.HAVE_DIRECTION),
    "proto": (Depth.NETWORK, pc.HAVE_IP),
    "ah": (Depth.NETWORK, pc.HAVE_AH),
}


@dataclass(slots=True)
class PacketFields:
    """Fields of n packets; `upto(depth)` gives their columns, decoded at least that deep."""

    n: int
    _length: Array
    _upto: Callable[[Depth], Mapping[str, Array]]
    _words: Mapping[str, tuple[Array, Sequence[str]]]
    _layers: Layers | None = None  # the packets' bytes: kept columns have none
    _linktype: int = -1

    def number(self, name: str) -> Array | None:
        """Return a column of _NUMBERS or len; None for other names."""
        if name == "len":
            return self._length
        return self._upto(_NUMBERS[name][0]).get(name) if name in _NUMBERS else None

    def present(self, name: str) -> Mask | None:
        """Return the rows that have that number; None: all of them."""
        depth, bits = _NUMBERS.get(name, (Depth.LINK, 0))
        return self._has(depth, bits) if bits else None

    def _has(self, depth: Depth, bits: int) -> Mask:
        mask: Mask = self._upto(depth)["have"] & np.uint16(bits) != 0
        return mask

    def endpoints(self, side: str) -> Sequence[Endpoint]:
        """Return the endpoints of a side ("src", "dst" or "any"): of IP and, as in tcpdump, of ARP."""
        cols = self._upto(Depth.PORTS)
        has_port = self._has(Depth.PORTS, pc.HAVE_PORTS)
        return [
            Endpoint(cols.get(f"{end}_hi"), cols[f"{end}_lo"], cols[f"{end[0]}port"], has_port)
            for end in _SIDES.get(side, ())
        ]

    def load(self, layer: str, offset: Array, size: int) -> Loaded:
        """Return 1, 2 or 4 bytes of a layer of every packet (see ByteFields)."""
        if self._layers is None:
            raise TypeError("the bytes of kept packets are with their store")
        rows = self._layers.upto(Depth.NETWORK if layer == "transport" else Depth.LINK)
        begin, there = self._layer(layer, rows)
        at = rows.start + begin + offset
        captured = at + size <= rows.end
        value = rows.data.at(np.where(captured, at, 0), np.dtype([("v", f">u{size}")]))["v"].astype(np.uint32)
        return Loaded(value, there, captured)

    def _layer(self, layer: str, rows: PacketRows) -> tuple[Array, Mask]:
        """Return where a layer begins in each frame, and the rows that have it."""
        absent = np.zeros(self.n, np.uint16)
        if layer in ("link", "mac"):
            return absent.astype(np.int64), np.full(self.n, layer == "link" or self._linktype == LINKTYPE_ETHERNET)
        if layer == "transport":
            return rows.cols.get("l4", absent).astype(np.int64), rows.cols.get("l4", absent) > 0
        bits = pc.HAVE_LLC if layer == "llc" else pc.HAVE_ETHERTYPE
        return rows.cols.get("l3", absent).astype(np.int64), rows.cols["have"] & np.uint16(bits) != 0

    def words(self, name: str) -> tuple[Array, Sequence[str]] | None:
        """Return the codes and texts of device or netns; None for other names."""
        return self._words.get(name)


def fields_of(batch: Batch, streams: Sequence[Stream], code: Array, start: int, stop: int) -> PacketFields:
    """Return the fields of records start to stop of a batch, decoded only as deep as a filter needs.

    `streams[code[i]]` is the stream of record i; all are of one link type.
    """
    layers = Layers(batch, streams[0].linktype, start, stop)
    part = code[start:stop]
    words = {"device": (part, [one.name for one in streams]), "netns": (part, [one.netns for one in streams])}
    upto = lambda depth: layers.upto(depth).cols  # noqa: E731
    return PacketFields(stop - start, wirelen(batch)[start:stop], upto, words, layers, streams[0].linktype)
