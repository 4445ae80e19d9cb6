"""The network layer of packets in bulk: IPv4, IPv6 with its extension headers, ARP."""

from __future__ import annotations

import numpy as np

from nettop.batch import Array
from nettop.decode.packets import columns as pc
from nettop.decode.packets.rows import PacketRows
from nettop.linux.inet import IPPROTO_AH, IPPROTO_DSTOPTS, IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_ROUTING
from nettop.linux.packet import ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, ETH_P_RARP

MAX_EXTENSIONS = 16

_IPV4 = np.dtype(
    {  # RFC 791
        "names": ["vihl", "total", "id", "frag", "ttl", "proto", "src", "dst"],
        "formats": ["u1", ">u2", ">u2", ">u2", "u1", "u1", ">u4", ">u4"],
        "offsets": [0, 2, 4, 6, 8, 9, 12, 16],
        "itemsize": 20,
    }
)
_IPV6 = np.dtype(
    {  # RFC 8200
        "names": ["version", "payload", "next", "hops", "src_hi", "src_lo", "dst_hi", "dst_lo"],
        "formats": ["u1", ">u2", "u1", "u1", ">u8", ">u8", ">u8", ">u8"],
        "offsets": [0, 4, 6, 7, 8, 16, 24, 32],
        "itemsize": 40,
    }
)
_EXTENSION = np.dtype(
    {  # RFC 8200 4.3 to 4.6, with the fragment header's offset and id; the SPI of RFC 4302 is at the offset of that id
        "names": ["next", "len", "frag", "id"],
        "formats": ["u1", "u1", ">u2", ">u4"],
        "offsets": [0, 1, 2, 4],
        "itemsize": 8,
    }
)
_ARP = np.dtype(
    {  # RFC 826, for Ethernet and IPv4
        "names": ["type", "hlen", "plen", "op", "src", "dst"],
        "formats": [">u2", "u1", "u1", ">u2", ">u4", ">u4"],
        "offsets": [2, 4, 5, 6, 14, 24],
        "itemsize": 28,
    }
)
_IS_EXTENSION = np.zeros(256, np.bool_)
_IS_EXTENSION[[IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_AH, IPPROTO_DSTOPTS]] = True


def decode_network(rows: PacketRows, wirelen: Array, full: bool) -> None:
    """Fill addresses, proto, size and l4, with `full` also ttl, ip_id, frag and payload. Move `pos` to layer 4.

    `wirelen` is the length of each frame on the wire, in bytes.
    """
    ethertype = rows.cols["ethertype"]
    for name in ("proto", "src_lo", "dst_lo", "size", "l4", *(("ttl", "ip_id", "frag", "payload") if full else ())):
        rows.column(name)
    is_ipv4 = ethertype == ETH_P_IP
    if is_ipv4.any():
        _ipv4(rows, rows.where(is_ipv4), wirelen, full)
    if is_ipv4.all():
        return
    is_ipv6 = ethertype == ETH_P_IPV6
    if is_ipv6.any():
        _ipv6(rows, rows.where(is_ipv6), wirelen, full)
    is_arp = (ethertype == ETH_P_ARP) | (ethertype == ETH_P_RARP)
    if is_arp.any():
        _arp(rows, rows.where(is_arp))


def _ipv4(rows: PacketRows, at: Array | slice, wirelen: Array, full: bool) -> None:
    pos = rows.pos[at].copy()  # a slice would be a view, and _set_l4 changes rows.pos
    header = rows.data.at(pos, _IPV4)
    vihl = header["vihl"]
    size = (vihl & np.uint8(15)).astype(np.int64) * 4
    ok = (rows.end[at] - pos >= np.maximum(size, 20)) & (vihl >= 0x45) & (vihl <= 0x4F)
    at, good = rows.require(at, ok, pc.BAD_IPV4)
    header, pos, size = header[good], pos[good], size[good]
    cols = rows.cols
    cols["proto"][at] = header["proto"]
    cols["src_lo"][at] = header["src"]
    cols["dst_lo"][at] = header["dst"]
    on_wire = wirelen[at].astype(np.int64) - (pos - rows.start[at])
    cols["size"][at] = _size(header["total"].astype(np.int64), on_wire)
    is_ah = header["proto"] == IPPROTO_AH
    if is_ah.any():
        rows.have(np.arange(rows.n)[at][is_ah], pc.HAVE_AH)
    frag = header["frag"].astype(np.uint16)
    _mark(rows, at, (frag & 0x3FFF) != 0, (frag & 0x1FFF) != 0)
    _set_l4(rows, at, pos + size, (frag & 0x1FFF) == 0)
    if full:
        cols["ttl"][at] = header["ttl"]
        cols["ip_id"][at] = header["id"]
        cols["frag"][at] = (frag << 3) | (frag >> 13 & 1) * pc.FRAG_MORE | (frag >> 14 & 1) * pc.FRAG_DONT
        length = header["total"].astype(np.int64)
        cols["payload"][at] = np.maximum(np.where(length == 0, on_wire, length) - size, 0)


def _size(stated: Array, on_wire: Array) -> Array:
    """Return the length in the header, at most that on the wire; the latter if the header has 0 (before TSO)."""
    return np.maximum(np.minimum(stated if stated.all() else np.where(stated == 0, on_wire, stated), on_wire), 0)


def _mark(rows: PacketRows, at: Array | slice, fragment: Array, later: Array) -> None:
    bits = np.full(len(fragment), pc.HAVE_IP | pc.HAVE_PAYLOAD, np.uint16)
    if fragment.any():
        bits |= np.where(fragment, pc.HAVE_FRAGMENT, 0).astype(np.uint16)
        bits |= np.where(later, pc.HAVE_LATER_FRAGMENT, 0).astype(np.uint16)
    rows.cols["have"][at] |= bits


def _set_l4(rows: PacketRows, at: Array | slice, pos: Array, ok: Array) -> None:
    offset = pos - rows.start[at]
    rows.cols["l4"][at] = np.where(ok & (offset <= 0xFFFF), offset, 0)
    rows.pos[at] = pos


def _ipv6(rows: PacketRows, at: Array | slice, wirelen: Array, full: bool) -> None:
    pos = rows.pos[at].copy()
    header = rows.data.at(pos, _IPV6)
    ok = (rows.end[at] - pos >= _IPV6.itemsize) & (header["version"] >> 4 == 6)
    at, good = rows.require(at, ok, pc.BAD_IPV6)
    header, pos = header[good], pos[good]
    for name in ("src_lo", "src_hi", "dst_lo", "dst_hi"):
        rows.column(name)[at] = header[name]
    stated, on_wire = header["payload"].astype(np.int64), wirelen[at].astype(np.int64) - (pos - rows.start[at])
    rows.cols["size"][at] = _size(np.where(stated == 0, 0, stated + _IPV6.itemsize), on_wire)
    rows.have(at, pc.HAVE_IP | pc.HAVE_PAYLOAD)
    rows.pos[at] = pos + _IPV6.itemsize
    rows.cols["proto"][at] = header["next"]
    if full:
        rows.cols["ttl"][at] = header["hops"]
    _extensions(rows, np.arange(rows.n)[at], header["next"].copy(), full)
    if full:
        extensions = rows.pos[at] - pos - _IPV6.itemsize  # `stated` is 0 in a jumbogram and before TSO
        rows.cols["payload"][at] = np.maximum(np.where(stated == 0, on_wire - _IPV6.itemsize, stated) - extensions, 0)


def _extensions(rows: PacketRows, at: Array, following: Array, full: bool) -> None:
    """Move `pos` over extension headers, up to the data of a later fragment. Set proto and l4 of the rows `at`."""
    whole = np.ones(len(at), np.bool_)  # a layer 4 header follows
    open_ = np.flatnonzero(_IS_EXTENSION[following])
    for _ in range(MAX_EXTENSIONS):
        if not len(open_):
            break
        row = at[open_]
        header = rows.data.at(rows.pos[row], _EXTENSION)
        is_fragment = following[open_] == IPPROTO_FRAGMENT
        is_ah = following[open_] == IPPROTO_AH
        size = np.where(is_fragment, 8, np.where(is_ah, (header["len"].astype(np.int64) + 2) * 4, 0))
        size = np.where(size == 0, (header["len"].astype(np.int64) + 1) * 8, size)
        enough = rows.remaining(row) >= size
        if not enough.all():
            rows.require(row, enough, pc.BAD_EXTENSION)
            whole[open_[~enough]] = False
            open_, row, header = open_[enough], row[enough], header[enough]
            is_fragment, is_ah, size = is_fragment[enough], is_ah[enough], size[enough]
        later = _fragments(rows, row[is_fragment], header[is_fragment], full)
        if is_ah.any():
            rows.column("tunnel")[row[is_ah]] = header["id"][is_ah]
            rows.have(row[is_ah], pc.HAVE_TUNNEL | pc.HAVE_AH)
        whole[open_[is_fragment][later]] = False
        following[open_] = header["next"]
        rows.pos[row] += size
        open_ = open_[_IS_EXTENSION[following[open_]] & whole[open_]]
    if len(open_):
        rows.require(at[open_], np.zeros(len(open_), np.bool_), pc.BAD_EXTENSION)
        whole[open_] = False
    rows.cols["proto"][at] = following
    _set_l4(rows, at, rows.pos[at], whole)


def _fragments(rows: PacketRows, row: Array, header: Array, full: bool) -> Array:
    """Mark these rows as fragments. Return a mask of those that are not the first one."""
    frag = header["frag"].astype(np.uint16)
    later: Array = (frag & 0xFFF8) != 0
    rows.have(row, pc.HAVE_FRAGMENT)
    rows.have(row[later], pc.HAVE_LATER_FRAGMENT)
    if full:
        rows.cols["ip_id"][row] = header["id"]
        rows.cols["frag"][row] = (frag & 0xFFF8) | (frag & 1) * pc.FRAG_MORE
    return later


def _arp(rows: PacketRows, at: Array | slice) -> None:
    at, good = rows.require(at, rows.remaining(at) >= _ARP.itemsize, pc.BAD_ARP)
    header = rows.data.at(rows.pos[at], _ARP)
    ipv4 = (header["type"] == ETH_P_IP) & (header["hlen"] == 6) & (header["plen"] == 4)
    at, good = rows.require(at, ipv4, pc.BAD_ARP)
    rows.cols["src_lo"][at] = header["src"][good]
    rows.cols["dst_lo"][at] = header["dst"][good]
    rows.column("dport")[at] = header["op"][good]
    rows.have(at, pc.HAVE_ARP)
