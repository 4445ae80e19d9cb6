"""Texts of decoded packets, in bulk: endpoints, protocol names and the info of each row by its columns.

One `%` template for each kind of packet, and caches of addresses: about a microsecond per row. See wording for what
needs the bytes of a packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array, Batch
from nettop.columns import Columns
from nettop.decode.packets import columns as pc
from nettop.linux import inet
from nettop.linux.linktypes import LINKTYPE_ETHERNET
from nettop.linux.packet import ETH_P_RARP
from nettop.text import packet as words
from nettop.text.address import address_text, ipv4_text

_Value = TypeVar("_Value")
_Text = TypeVar("_Text", str, str | None)
CACHE_LIMIT = 262_144  # address texts: bounds the memory that hostile input can cost

# Kinds of rows, least specific first: a later match wins.
_NONE, _LLC, _OTHER, _ARP, _CUT, _IP, _LATER, _PORTS, _UDP, _TCP, _ICMP = range(11)


class TextCache(dict[_Value, str]):
    """The texts of values, each made once."""

    def __init__(self, make: Callable[[_Value], str], limit: int) -> None:
        super().__init__()
        self._make, self._limit = make, limit

    def __missing__(self, value: _Value) -> str:
        if len(self) >= self._limit:
            self.clear()
        text = self[value] = self._make(value)
        return text


class PacketTexts:
    """Texts of decoded packets, with a cache of address texts."""

    def __init__(self) -> None:
        self._ipv4 = TextCache(ipv4_text, CACHE_LIMIT)
        self._ipv6 = TextCache[tuple[int, int]](lambda halves: address_text(10, *halves), CACHE_LIMIT)

    def addresses(self, batch: Batch, cols: Columns, linktype: int) -> tuple[list[str], list[str]]:
        """Return source and destination of every row: IP (ARP's, not RARP's), else MAC on Ethernet, else `-`."""
        return self._side(batch, cols, linktype, "src"), self._side(batch, cols, linktype, "dst")

    def _side(self, batch: Batch, cols: Columns, linktype: int, side: str) -> list[str]:
        have, is_ipv6 = cols["have"], cols["family"] == 10
        addressed = (have & (pc.HAVE_IP | pc.HAVE_ARP)) != 0
        if linktype == LINKTYPE_ETHERNET:
            addressed &= cols["ethertype"] != ETH_P_RARP  # asks for its own address
        lo = cols[f"{side}_lo"]
        ipv4 = self._ipv4
        if addressed.all() and not is_ipv6.any():
            return [ipv4[value] for value in lo.tolist()]
        out = ["-"] * len(cols)
        rows = np.flatnonzero(addressed & ~is_ipv6)
        _spread(out, rows, [ipv4[value] for value in lo[rows].tolist()])
        rows = np.flatnonzero(addressed & is_ipv6)
        if len(rows):
            ipv6 = self._ipv6
            pairs = zip(cols[f"{side}_hi"][rows].tolist(), lo[rows].tolist(), strict=True)
            _spread(out, rows, [ipv6[pair] for pair in pairs])
        rows = np.flatnonzero(~addressed)
        if len(rows) and linktype == LINKTYPE_ETHERNET:
            _spread(out, rows, _macs(batch, rows, 6 if side == "src" else 0))
        return out

    def infos(self, batch: Batch, cols: Columns, linktype: int) -> list[str]:
        """Return the info of every row, without protocol and endpoints; "" for TCP."""
        kind = _kinds(cols)
        out = [""] * len(cols)
        counts = np.bincount(kind, minlength=11)
        for number in np.flatnonzero(counts).tolist():
            rows = slice(None) if counts[number] == len(cols) else np.flatnonzero(kind == number)
            texts = _INFOS[number](_Group(batch, cols, linktype, rows))
            if isinstance(rows, slice):
                out = list(texts)
            else:
                _spread(out, rows, texts)
        return out


@dataclass(slots=True)
class _Group:
    """The rows of one kind: their columns as lists."""

    batch: Batch
    _cols: Columns
    linktype: int
    _rows: Array | slice

    def __getitem__(self, name: str) -> list[Any]:
        values: list[Any] = self._cols[name][self._rows].tolist()
        return values

    def rows(self) -> list[int]:
        numbers: list[int] = np.arange(len(self._cols))[self._rows].tolist()
        return numbers


def proto_texts(cols: Columns) -> list[str | None]:
    """Return the protocol of every row: `tcp`, `arp`, `llc`, `0x88b5`; None where the link type is not known."""
    have = cols["have"]
    code = np.zeros(len(cols), np.int32)
    code[(have & pc.HAVE_LLC) != 0] = -1
    typed = (have & pc.HAVE_ETHERTYPE) != 0
    code[typed] = cols["ethertype"][typed].astype(np.int32) + 256
    ip = (have & pc.HAVE_IP) != 0
    code[ip] = cols["proto"][ip].astype(np.int32) + 70_000
    return texts_of(code, _proto_text)


def texts_of(codes: Array, text: Callable[[int], _Text]) -> list[_Text]:
    """Return the text of each code, each made once."""
    values = np.unique(codes).tolist()
    table = {value: text(value) for value in values}
    return [table[values[0]]] * len(codes) if len(values) == 1 else [table[value] for value in codes.tolist()]


def _proto_text(code: int) -> str | None:
    if code >= 70_000:
        return words.proto_name(code - 70_000)
    if code >= 256:
        return words.ethertype_name(code - 256)
    return "llc" if code else None


def _spread(out: list[str], rows: Array, texts: Iterable[str]) -> None:
    for row, text in zip(rows.tolist(), texts, strict=True):
        out[row] = text


def _macs(batch: Batch, rows: Array, at: int) -> list[str]:
    """Return the MAC address at offset `at` of each Ethernet frame; `-` where it is cut off."""
    records = (batch.record(row)[at : at + 6] for row in rows.tolist())
    return [address.hex(":") if len(address) == 6 else "-" for address in records]


def _kinds(cols: Columns) -> NDArray[np.uint8]:
    have, proto = cols["have"], cols["proto"]
    kind = np.zeros(len(cols), np.uint8)
    usual = (have & (pc.HAVE_PORTS | pc.HAVE_IP)) == pc.HAVE_PORTS | pc.HAVE_IP
    if not usual.all():
        kind[(have & pc.HAVE_ETHERTYPE) != 0] = _OTHER
        kind[(have & pc.HAVE_LLC) != 0] = _LLC
        kind[cols["family"] != 0] = _CUT
        kind[(have & pc.HAVE_ARP) != 0] = _ARP
        kind[(have & pc.HAVE_IP) != 0] = _IP
        kind[(have & pc.HAVE_LATER_FRAGMENT) != 0] = _LATER
        kind[(have & pc.HAVE_ICMP) != 0] = _ICMP
    kind[usual] = _PORTS
    kind[usual & (proto == inet.IPPROTO_UDP)] = _UDP
    tcp = (have & pc.HAVE_TCP) != 0
    if tcp.any():
        kind[tcp] = _TCP
    return kind


def _ports(group: _Group) -> Iterable[str]:
    for proto, have, length in zip(group["proto"], group["have"], group["payload"], strict=True):
        cut = "header cut off, " if proto == inet.IPPROTO_TCP and not have & pc.HAVE_TCP else ""
        yield f"{cut}length {length}"


def _icmp(group: _Group) -> Iterable[str]:
    columns = (group[name] for name in ("proto", "have", "dport", "sport", "seq", "payload"))
    for proto, have, typecode, ident, seq, length in zip(*columns, strict=True):
        v6 = proto == inet.IPPROTO_ICMPV6
        what = words.icmpv6_message(typecode) if v6 else words.icmp_message(typecode)
        echo = f", id {ident}, seq {seq}" if have & pc.HAVE_ICMP_ID else ""
        yield f"{what}{echo}, length {length}"


def _later(group: _Group) -> Iterable[str]:
    for ident, frag, length in zip(group["ip_id"], group["frag"], group["payload"], strict=True):
        more = ", more follow" if frag & pc.FRAG_MORE else ", the last"
        yield f"fragment at {frag & pc.FRAG_OFFSET}{more}, id {ident}, length {length}"


def _ip(group: _Group) -> Iterable[str]:
    for proto, have, tunnel, length in zip(
        group["proto"], group["have"], group["tunnel"], group["payload"], strict=True
    ):
        name = "key" if proto == inet.IPPROTO_GRE else "spi"
        key = f"{name} 0x{tunnel:x}, " if have & pc.HAVE_TUNNEL else ""
        cut = "header cut off, " if proto in _HEADED else ""
        yield f"{key}{cut}length {length}"


_HEADED = frozenset(
    (inet.IPPROTO_TCP, inet.IPPROTO_UDP, inet.IPPROTO_ICMP, inet.IPPROTO_ICMPV6, inet.IPPROTO_SCTP, inet.IPPROTO_DCCP)
)


def _cut(group: _Group) -> Iterable[str]:
    for length in group["len"]:
        yield f"header cut off or wrong, length {length}"


def _arp(group: _Group) -> Iterable[str]:
    columns = (group.rows(), group["dport"], group["src_lo"], group["dst_lo"], group["l3"], group["len"])
    for row, operation, src, dst, l3, length in zip(*columns, strict=True):
        data = group.batch.record(row)[l3 : l3 + 28]
        yield f"{_arp_text(operation, ipv4_text(src), ipv4_text(dst), data)}, length {length - l3}"


def _arp_text(operation: int, src: str, dst: str, data: bytes) -> str:
    """Return the message of ARP (RFC 826), RARP (RFC 903) or InARP (RFC 2390), as tcpdump words them."""
    name = words.ARP_OPERATIONS.get(operation, f"operation {operation}")
    sender, target = data[8:14].hex(":"), data[18:24].hex(":")
    match operation:
        case 1:
            return f"{name} who-has {dst} tell {src}"
        case 2:
            return f"{name} {src} is-at {sender}"
        case 3:
            return f"{name} who-is {target} tell {sender}"
        case 4:
            return f"{name} {target} at {dst}"
        case 8:
            return f"{name} who-is {target} tell {src}"
        case 9:
            return f"{name} {sender} at {src}"
    return name


def _llc(group: _Group) -> Iterable[str]:
    for row, l3, length in zip(group.rows(), group["l3"], group["len"], strict=True):
        points = group.batch.record(row)[l3 : l3 + 2]
        what = f"dsap 0x{points[0]:02x} ssap 0x{points[1]:02x}" if len(points) == 2 else "header cut off"
        yield f"{what}, length {length - l3}"


def _other(group: _Group) -> Iterable[str]:
    for ethertype, l3, length in zip(group["ethertype"], group["l3"], group["len"], strict=True):
        yield f"ethertype 0x{ethertype:04x}, length {length - l3}"


def _none(group: _Group) -> Iterable[str]:
    for length in group["len"]:
        yield f"link type {words.linktype_name(group.linktype)}, length {length}"


_INFOS: dict[int, Callable[[_Group], Iterable[str]]] = {
    _NONE: _none,
    _LLC: _llc,
    _OTHER: _other,
    _ARP: _arp,
    _CUT: _cut,
    _IP: _ip,
    _LATER: _later,
    _PORTS: _ports,
    _UDP: lambda group: map("length %d".__mod__, group["payload"]),
    _TCP: lambda group: [""] * len(group.rows()),
    _ICMP: _icmp,
}
