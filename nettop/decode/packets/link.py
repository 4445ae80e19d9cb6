"""The link layer of packets in bulk: Ethernet, VLAN tags, Linux cooked captures, raw IP, null and loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nettop.batch import Array
from nettop.decode.packets import columns as pc
from nettop.decode.packets.rows import PacketRows
from nettop.linux import linktypes
from nettop.linux.interface import ARPHRD_NETLINK
from nettop.linux.packet import ETH_P_802_3_MIN, ETH_P_8021AD, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6, ETH_P_QINQ1

MAX_TAGS = 8

_ETHERNET = np.dtype({"names": ["type"], "formats": [">u2"], "offsets": [12], "itemsize": 14})
_TAG = np.dtype([("tci", ">u2"), ("type", ">u2")])
_SLL = np.dtype({"names": ["packet", "arphrd", "type"], "formats": [">u2"] * 3, "offsets": [0, 2, 14], "itemsize": 16})
_SLL2 = np.dtype(
    {"names": ["type", "arphrd", "packet"], "formats": [">u2", ">u2", "u1"], "offsets": [0, 8, 10], "itemsize": 20}
)
_BYTE = np.dtype([("v", "u1")])
_NULL = np.dtype([("af", "<u4")])

# The address family of a null or loop header, in either byte order. IPv6 is 24, 28, 30 on BSDs, 10 on Linux.
_NULL_FAMILY = {2: ETH_P_IP, 10: ETH_P_IPV6, 24: ETH_P_IPV6, 28: ETH_P_IPV6, 30: ETH_P_IPV6}


def decode_link(rows: PacketRows, linktype: int) -> None:
    """Fill the columns ethertype, family, vlan and l3, and move `pos` to layer 3. Do nothing for unknown link types."""
    layer = _LINKS.get(linktype)
    ethertype, family, l3 = rows.column("ethertype"), rows.column("family"), rows.column("l3")
    rows.column("vlan")
    if layer is None:
        return
    layer(rows)
    _tags(rows, ethertype)
    family[ethertype == ETH_P_IP] = 2
    family[ethertype == ETH_P_IPV6] = 10
    l3[:] = np.minimum(rows.pos - rows.start, 0xFFFF)


def _header(rows: PacketRows, dtype: np.dtype[Any]) -> tuple[Array | slice, Array]:
    """Return the index of all rows long enough for a link header, and these headers. Move `pos` after them."""
    at, _ = rows.require(slice(None), rows.remaining(slice(None)) >= dtype.itemsize, pc.BAD_LINK)
    header = rows.data.at(rows.pos[at], dtype)
    rows.pos[at] += dtype.itemsize
    return at, header


def _ethernet(rows: PacketRows) -> None:
    """Decode IEEE 802.3 and Ethernet II headers (RFC 1042)."""
    at, header = _header(rows, _ETHERNET)
    kind = header["type"].astype(np.uint16)
    typed = kind >= ETH_P_802_3_MIN
    if typed.all():
        rows.column("ethertype")[at] = kind
        rows.have(at, pc.HAVE_ETHERTYPE)
        return
    rows.column("ethertype")[at] = np.where(typed, kind, 0)
    rows.cols["have"][at] |= np.where(typed, pc.HAVE_ETHERTYPE, pc.HAVE_LLC).astype(np.uint16)


def _cooked(rows: PacketRows, dtype: np.dtype[Any]) -> None:
    """Decode LINUX_SLL and SLL2: the packet type is the direction, the protocol an ethertype (except netlink)."""
    at, header = _header(rows, dtype)
    rows.column("direction")[at] = np.minimum(header["packet"], 255)
    kind = header["type"].astype(np.uint16)
    typed = (kind >= ETH_P_802_3_MIN) & (header["arphrd"] != ARPHRD_NETLINK)
    rows.column("ethertype")[at] = np.where(typed, kind, 0)
    rows.cols["have"][at] |= np.where(typed, pc.HAVE_ETHERTYPE | pc.HAVE_DIRECTION, pc.HAVE_DIRECTION).astype(np.uint16)


def _raw(rows: PacketRows) -> None:
    """Decode frames without a link header by their IP version."""
    at, _ = rows.require(slice(None), rows.remaining(slice(None)) >= 1, pc.BAD_LINK)
    version = rows.data.at(rows.pos[at], _BYTE)["v"] >> 4
    ethertype = np.zeros(len(version), np.uint16)
    ethertype[version == 4] = ETH_P_IP
    ethertype[version == 6] = ETH_P_IPV6
    rows.column("ethertype")[at] = ethertype
    rows.cols["have"][at] |= np.where(ethertype > 0, pc.HAVE_ETHERTYPE, 0).astype(np.uint16)


def _ip_only(ethertype: int) -> Callable[[PacketRows], None]:
    def layer(rows: PacketRows) -> None:
        rows.column("ethertype")[:] = ethertype
        rows.have(slice(None), pc.HAVE_ETHERTYPE)

    return layer


def _null(rows: PacketRows) -> None:
    """Decode LINKTYPE_NULL (the writer's byte order) and LINKTYPE_LOOP (network order): an AF_* number."""
    at, header = _header(rows, _NULL)
    family = header["af"].astype(np.uint32)
    swapped = family.byteswap()
    ethertype = np.zeros(len(family), np.uint16)
    for number, kind in _NULL_FAMILY.items():
        ethertype[(family == number) | (swapped == number)] = kind
    rows.column("ethertype")[at] = ethertype
    rows.cols["have"][at] |= np.where(ethertype > 0, pc.HAVE_ETHERTYPE, 0).astype(np.uint16)


def _is_tag(ethertype: Array) -> NDArray[np.bool_]:
    return np.asarray((ethertype == ETH_P_8021Q) | (ethertype == ETH_P_8021AD) | (ethertype == ETH_P_QINQ1))


def _tags(rows: PacketRows, ethertype: Array) -> None:
    """Step over all tags of IEEE 802.1Q and 802.1ad: `vlan` is the id of the first, `inner_vlan` of the last one."""
    for depth in range(MAX_TAGS + 1):
        tagged = _is_tag(ethertype)
        if not tagged.any():
            return
        at = np.flatnonzero(tagged)
        enough = (rows.remaining(at) >= _TAG.itemsize) & (depth < MAX_TAGS)
        ethertype[at[~enough]] = 0
        rows.cols["have"][at[~enough]] &= np.uint16(0xFFFF ^ pc.HAVE_ETHERTYPE)
        tagged_rows, _ = rows.require(at, enough, pc.BAD_TAGS)
        _step_over_tag(rows, tagged_rows, ethertype, depth)


def _step_over_tag(rows: PacketRows, at: Array | slice, ethertype: Array, depth: int) -> None:
    tag = rows.data.at(rows.pos[at], _TAG)
    rows.column("inner_vlan" if depth else "vlan")[at] = tag["tci"] & 0x0FFF
    rows.have(at, pc.HAVE_INNER_VLAN if depth else pc.HAVE_VLAN)
    kind = tag["type"].astype(np.uint16)
    llc = kind < ETH_P_802_3_MIN
    ethertype[at] = np.where(llc, 0, kind)
    if llc.any():
        rows.cols["have"][at] ^= np.where(llc, pc.HAVE_ETHERTYPE | pc.HAVE_LLC, 0).astype(np.uint16)
    rows.pos[at] += _TAG.itemsize


_LINKS: dict[int, Callable[[PacketRows], None]] = {
    linktypes.LINKTYPE_NULL: _null, linktypes.LINKTYPE_ETHERNET: _ethernet, linktypes.LINKTYPE_RAW_BSD: _raw,
    linktypes.LINKTYPE_RAW_OPENBSD: _raw, linktypes.LINKTYPE_RAW: _raw, linktypes.LINKTYPE_LOOP: _null,
    linktypes.LINKTYPE_SLL: lambda rows: _cooked(rows, _SLL), linktypes.LINKTYPE_IPV4: _ip_only(ETH_P_IP),
    linktypes.LINKTYPE_IPV6: _ip_only(ETH_P_IPV6), linktypes.LINKTYPE_SLL2: lambda rows: _cooked(rows, _SLL2),
}  # fmt: skip
