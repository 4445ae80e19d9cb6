"""The transport layer of packets in bulk: TCP, UDP, SCTP, DCCP, ICMP and ICMPv6, and the ids of tunnels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nettop.batch import Array
from nettop.decode.packets.columns import BAD_TRANSPORT, HAVE_ICMP, HAVE_ICMP_ID, HAVE_PORTS, HAVE_TCP, HAVE_TUNNEL
from nettop.decode.packets.rows import PacketRows
from nettop.linux import inet

_Layer = Callable[[PacketRows, Array | slice], None]

_PORTS = np.dtype([("sport", ">u2"), ("dport", ">u2")])
_TCP = np.dtype(
    {  # RFC 9293; the first eight bytes serve UDP as well (RFC 768): its length is at 4
        "names": ["sport", "dport", "length", "seq", "ack", "flags", "window"],
        "formats": [">u2", ">u2", ">u2", ">u4", ">u4", ">u2", ">u2"],
        "offsets": [0, 2, 4, 4, 8, 12, 14],
        "itemsize": 20,
    }
)
_ICMP = np.dtype(
    {  # RFC 792, RFC 4443: type and code, checksum; echo messages have id and sequence number
        "names": ["typecode", "id", "seq"],
        "formats": [">u2", ">u2", ">u2"],
        "offsets": [0, 4, 6],
        "itemsize": 8,
    }
)
_GRE = np.dtype([("flags", ">u2"), ("protocol", ">u2"), ("word", ">u4", (3,))])  # RFC 2784, RFC 2890
_SPI = np.dtype([("words", ">u4", (2,))])  # ESP (RFC 4303): the first word; AH (RFC 4302): the second
_VXLAN = np.dtype([("udp", "V8"), ("flags", "u1"), ("rest", "V3"), ("vni", ">u4")])  # RFC 7348

_NEEDS = np.zeros(256, np.uint8)  # the minimum header of each protocol with ports, in bytes
_NEEDS[[inet.IPPROTO_TCP, inet.IPPROTO_SCTP, inet.IPPROTO_DCCP]] = 20, 12, 12
_NEEDS[[inet.IPPROTO_UDP, inet.IPPROTO_UDPLITE]] = 8
_HAS_PORTS = _NEEDS > 0

# Types whose third word is an id: echo, timestamp, information, mask of ICMP; echo of ICMPv6.
_ICMP_WITH_ID = np.zeros(256, np.bool_)
_ICMP_WITH_ID[[0, 8, 13, 14, 15, 16, 17, 18]] = True
_ICMPV6_WITH_ID = np.zeros(256, np.bool_)
_ICMPV6_WITH_ID[[128, 129]] = True


def decode_transport(rows: PacketRows, full: bool) -> None:
    """Fill ports, or ICMP's type, code and id; with `full` also TCP's fields, payload of TCP and UDP, tunnel ids."""
    l4, proto = rows.cols["l4"], rows.cols["proto"]
    rows.column("sport")
    rows.column("dport")
    ported = _HAS_PORTS[proto] & (l4 > 0)
    if ported.any():
        at = rows.where(ported)
        if full:
            _with_ports(rows, at)
        else:
            _ports_only(rows, at)
    if ported.all():
        return
    rest = (l4 > 0) & ~ported
    for number, layer in _MESSAGES + (_TUNNELS if full else ()):
        mask = rest & (proto == number)
        if mask.any():
            layer(rows, rows.where(mask))


def _ports_only(rows: PacketRows, at: Array | slice) -> None:
    at, _ = rows.require(at, rows.remaining(at) >= _PORTS.itemsize, BAD_TRANSPORT)
    header = rows.data.at(rows.pos[at], _PORTS)
    rows.cols["sport"][at] = header["sport"]
    rows.cols["dport"][at] = header["dport"]
    rows.have(at, HAVE_PORTS)


def _with_ports(rows: PacketRows, at: Array | slice) -> None:
    remaining, proto = rows.remaining(at), rows.cols["proto"][at]
    header = rows.data.at(rows.pos[at], _TCP)
    ported = remaining >= 4
    at_ports, good = (at, slice(None)) if ported.all() else (np.arange(rows.n)[at][ported], ported)
    rows.cols["sport"][at_ports] = header["sport"][good]
    rows.cols["dport"][at_ports] = header["dport"][good]
    rows.have(at_ports, HAVE_PORTS)
    at, good = rows.require(at, remaining >= _NEEDS[proto], BAD_TRANSPORT)
    header, proto = header[good], proto[good]
    index = np.arange(rows.n)[at]
    tcp = proto == inet.IPPROTO_TCP
    _tcp(rows, index[tcp], header[tcp])
    udp = (proto == inet.IPPROTO_UDP) | (proto == inet.IPPROTO_UDPLITE)
    _udp(rows, index[udp], header[udp])


def _tcp(rows: PacketRows, at: Array, header: Array) -> None:
    flags = header["flags"].astype(np.uint16)
    size = (flags >> 12).astype(np.int64) * 4
    for name in ("seq", "ack", "window"):
        rows.column(name)[at] = header[name]
    rows.column("flags")[at] = flags & np.uint16(0x1FF)
    rows.have(at, HAVE_TCP)
    if (size < 20).any():
        rows.require(at, size >= 20, BAD_TRANSPORT)
    payload = rows.cols["payload"]
    payload[at] = np.maximum(payload[at].astype(np.int64) - np.maximum(size, 20), 0)


def _udp(rows: PacketRows, at: Array, header: Array) -> None:
    payload = rows.cols["payload"]
    length = header["length"].astype(np.int64)
    ip_payload = payload[at].astype(np.int64)
    payload[at] = np.maximum(np.where(length == 0, ip_payload, length) - 8, 0)  # 0: a jumbogram (RFC 2675)
    tunnels = at[(header["dport"] == inet.PORT_VXLAN) & (rows.remaining(at) >= _VXLAN.itemsize)]
    if len(tunnels):
        vxlan = rows.data.at(rows.pos[tunnels], _VXLAN)
        valid = vxlan["flags"] & 0x08 != 0
        rows.column("tunnel")[tunnels[valid]] = vxlan["vni"][valid] >> 8
        rows.have(tunnels[valid], HAVE_TUNNEL)


def _icmp(rows: PacketRows, at: Array | slice, with_id: Array = _ICMP_WITH_ID) -> None:
    at, _ = rows.require(at, rows.remaining(at) >= 2, BAD_TRANSPORT)
    header = rows.data.at(rows.pos[at], _ICMP)
    typecode = header["typecode"].astype(np.uint16)
    rows.cols["dport"][at] = typecode
    has_id = with_id[typecode >> 8] & (rows.remaining(at) >= 8)
    rows.cols["sport"][at] = np.where(has_id, header["id"], 0)
    rows.column("seq")[at] = np.where(has_id, header["seq"], 0)
    rows.cols["have"][at] |= np.where(has_id, HAVE_ICMP | HAVE_ICMP_ID, HAVE_ICMP).astype(np.uint16)


def _gre(rows: PacketRows, at: Array | slice) -> None:
    remaining = rows.remaining(at)
    header = rows.data.at(rows.pos[at], _GRE)
    flags = header["flags"].astype(np.uint16)
    checksum = (flags >> 15 & 1) | (flags >> 14 & 1)  # the checksum word is present if C or R is set
    has_key = (flags >> 13 & 1 == 1) & (flags & 7 == 0) & (remaining >= 8 + 4 * checksum.astype(np.int64))
    words = header["word"]
    key = np.where(checksum == 1, words[:, 1], words[:, 0])
    pptp = (flags & 7 == 1) & (flags >> 13 & 1 == 1) & (remaining >= 8)  # RFC 2637: payload length, then the call id
    rows.column("tunnel")[at] = np.where(pptp, words[:, 0] & 0xFFFF, np.where(has_key, key, 0))
    rows.cols["have"][at] |= np.where(has_key | pptp, HAVE_TUNNEL, 0).astype(np.uint16)


def _spi(rows: PacketRows, at: Array | slice, word: int) -> None:
    at, _ = rows.require(at, rows.remaining(at) >= 4 * word + 4, BAD_TRANSPORT)
    rows.column("tunnel")[at] = rows.data.at(rows.pos[at], _SPI)["words"][:, word]
    rows.have(at, HAVE_TUNNEL)


_MESSAGES: tuple[tuple[int, _Layer], ...] = (
    (inet.IPPROTO_ICMP, _icmp),
    (inet.IPPROTO_ICMPV6, partial(_icmp, with_id=_ICMPV6_WITH_ID)),
)
_TUNNELS: tuple[tuple[int, _Layer], ...] = (
    (inet.IPPROTO_GRE, _gre),
    (inet.IPPROTO_ESP, partial(_spi, word=0)),
    (inet.IPPROTO_AH, partial(_spi, word=1)),
)
