"""Links, addresses and routes out of rtnetlink messages, as plain values: there are few of them, so they are walked.

linux/rtnetlink.h, if_link.h, if_addr.h. pyroute2 decodes the same and is held to us by tests; importing it would cost
the start of the app 0.15 s, and a message takes it ten times as long.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.netlink import ERR_VALUE_SHORT, NLMSG_HDRLEN, BadAttribute, ErrorRows, attributes, split
from nettop.text.sanitize import clean_bytes

# linux/rtnetlink.h
RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 20, 24
RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = 1, 2, 3, 4, 5
RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW = 6, 7, 8, 9
RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL = 253, 254, 255
RTNH_F_DEAD = 1
RTM_F_CLONED = 0x200
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH = 1, 4, 5, 6, 9
_RTA_TABLE, _RTA_VIA = 15, 18
# linux/if_link.h
IFF_UP = 1  # linux/if.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_OPERSTATE = 1, 3, 4, 5, 10, 16
_IFLA_LINKINFO, _IFLA_LINK_NETNSID = 18, 37
_IFLA_INFO_KIND = 1
# linux/if_addr.h
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8

_LONGEST_NAME = 16  # bytes: IFNAMSIZ (linux/if.h); the names of kinds are shorter
AF_INET, AF_INET6 = 2, 10
_BYTES_OF = {AF_INET: 4, AF_INET6: 16}

_IFINFOMSG = struct.Struct("=BxHiII")  # family, type (ARPHRD_*), index, flags, change
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefixlen, flags, scope, index
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_RTNEXTHOP = struct.Struct("=HBBi")  # len, flags, hops, ifindex
_U32 = struct.Struct("=I").unpack_from
_I32 = struct.Struct("=i").unpack_from


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. `name` and `kind` are safe for a terminal; 0 and None where the kernel did not say."""

    ifindex: int
    name: str
    kind: str = ""  # IFLA_INFO_KIND: "veth", "bridge", …; "" for hardware and lo
    arphrd: int = 0  # linux/if_arp.h
    flags: int = 0  # IFF_*, linux/if.h
    mtu: int = 0
    master: int = 0  # ifindex of the bridge, bond or VRF it is a port of
    lower: int = 0  # IFLA_LINK: ifindex of what it stands on (VLAN, macvlan) or of its peer (veth)
    peer_nsid: int | None = None  # IFLA_LINK_NETNSID: `lower` is in that namespace
    operstate: int = 0
    address: bytes = b""  # of the link layer

    @property
    def up(self) -> bool:
        """Administratively up."""
        return bool(self.flags & IFF_UP)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a device: an integer in host order (128 bits for IPv6). `peer` is the other end's, or its own."""

    ifindex: int
    family: int
    address: int
    length: int  # of the prefix
    peer: int
    scope: int = 0  # RT_SCOPE_*
    flags: int = 0  # IFA_F_*


@dataclass(frozen=True, slots=True)
class Hop:
    """One way out: a device, and the gateway's (family, address) where there is one."""

    ifindex: int
    gateway: tuple[int, int] | None = None
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A route: `destination` is an integer in host order with `length` bits that count."""

    family: int
    table: int
    kind: int  # RTN_*
    destination: int
    length: int
    hops: tuple[Hop, ...] = ()
    metric: int = 0
    tos: int = 0
    source_length: int = 0  # bits of a source prefix that it is for: 0 is any source
    protocol: int = 0  # RTPROT_*: who made it
    scope: int = 0
    flags: int = 0  # RTNH_F_*, RTM_F_*


@dataclass(slots=True)
class RouteRows:
    """What one batch told of, in its order."""

    links: list[Link] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


def decode_rtnetlink(batch: Batch) -> RouteRows:
    """The NEWLINK, NEWADDR and NEWROUTE messages of a batch. Never raises: bad bytes become error rows."""
    rows, errors, messages = RouteRows(), ErrorRows(), split(batch)
    buf = memoryview(batch.buf).cast("B")
    kinds = messages.kind.tolist()
    starts, lengths = messages.offset.tolist(), messages.length.tolist()
    for kind, start, length, record in zip(kinds, starts, lengths, messages.record.tolist(), strict=True):
        take = _DECODERS.get(kind)
        if take is None:
            continue
        try:
            take(buf, start + NLMSG_HDRLEN, start + length, rows)
        except BadAttribute as bad:
            errors.add(record, bad.offset, bad.code)
        except struct.error:
            errors.add(record, start, ERR_VALUE_SHORT)
    rows.errors = errors.merged(messages.errors)
    return rows


def _link(buf: memoryview, start: int, end: int, rows: RouteRows) -> None:
    family, arphrd, ifindex, flags, _ = _header(_IFINFOMSG, buf, start, end)
    if family not in (0, AF_INET6):  # PF_BRIDGE tells of ports once more
        return
    values: dict[int, memoryview] = {kind: buf[a:b] for kind, a, b in attributes(buf, start + 16, end)}
    if _IFLA_IFNAME not in values:
        return
    kind = b""
    if _IFLA_LINKINFO in values:
        info = values[_IFLA_LINKINFO]
        kind = next((bytes(info[a:b]) for t, a, b in attributes(info, 0, len(info)) if t == _IFLA_INFO_KIND), b"")
    nsid = values.get(_IFLA_LINK_NETNSID)
    rows.links.append(
        Link(
            ifindex,
            _text(values[_IFLA_IFNAME]),
            _text(kind),
            arphrd,
            flags,
            _u32(values, _IFLA_MTU),
            _u32(values, _IFLA_MASTER),
            _u32(values, _IFLA_LINK),
            None if nsid is None else int(_I32(nsid)[0]),
            values[_IFLA_OPERSTATE][0] if values.get(_IFLA_OPERSTATE) else 0,
            bytes(values.get(_IFLA_ADDRESS, b""))[:32],
        )
    )


def _address(buf: memoryview, start: int, end: int, rows: RouteRows) -> None:
    family, length, flags, scope, ifindex = _header(_IFADDRMSG, buf, start, end)
    size = _BYTES_OF.get(family)
    if size is None:
        return
    values = {kind: buf[a:b] for kind, a, b in attributes(buf, start + 8, end)}
    peer = values.get(_IFA_ADDRESS)
    own = values.get(_IFA_LOCAL, peer)  # IPv6 without a peer has IFA_ADDRESS alone
    if own is None:
        return
    number = _number(own, size)
    flags = _u32(values, _IFA_FLAGS) or flags
    rows.addresses.append(
        Address(ifindex, family, number, length, number if peer is None else _number(peer, size), scope, flags)
    )


def _route(buf: memoryview, start: int, end: int, rows: RouteRows) -> None:
    family, length, source_length, tos, table, protocol, scope, kind, flags = _header(_RTMSG, buf, start, end)
    size = _BYTES_OF.get(family)
    if size is None or flags & RTM_F_CLONED or length > size * 8:
        return
    values = {kind: buf[a:b] for kind, a, b in attributes(buf, start + 12, end)}
    destination = _number(values[_RTA_DST], size) if _RTA_DST in values else 0
    rows.routes.append(
        Route(
            family,
            _u32(values, _RTA_TABLE) or table,
            kind,
            destination,
            length,
            _hops(values, family, flags),
            _u32(values, _RTA_PRIORITY),
            tos,
            source_length,
            protocol,
            scope,
            flags,
        )
    )


def _hops(values: dict[int, memoryview], family: int, flags: int) -> tuple[Hop, ...]:
    if _RTA_MULTIPATH in values:
        return tuple(_multipath(values[_RTA_MULTIPATH], family))
    ifindex = _u32(values, _RTA_OIF)
    return (Hop(ifindex, _gateway(values, family), bool(flags & RTNH_F_DEAD)),) if ifindex else ()


def _multipath(data: memoryview, family: int) -> list[Hop]:
    hops, at = [], 0
    while at + _RTNEXTHOP.size <= len(data):
        size, flags, _, ifindex = _RTNEXTHOP.unpack_from(data, at)
        if size < _RTNEXTHOP.size or at + size > len(data):
            raise struct.error("a next hop's length lies")
        values = {kind: data[a:b] for kind, a, b in attributes(data, at + _RTNEXTHOP.size, at + size)}
        hops.append(Hop(ifindex, _gateway(values, family), bool(flags & RTNH_F_DEAD)))
        at += size + 3 & ~3
    return hops


def _gateway(values: dict[int, memoryview], family: int) -> tuple[int, int] | None:
    if _RTA_GATEWAY in values:
        return family, _number(values[_RTA_GATEWAY], _BYTES_OF[family])
    via = values.get(_RTA_VIA)  # struct rtvia: an address of another family
    if via is None or len(via) < 2:
        return None
    other = int(struct.unpack_from("=H", via)[0])
    return (other, _number(via[2:], _BYTES_OF[other])) if other in _BYTES_OF else None


def _header(layout: struct.Struct, buf: memoryview, start: int, end: int) -> tuple[int, ...]:
    if end - start < layout.size:
        raise struct.error("the message is shorter than its header")
    return layout.unpack_from(buf, start)


def _number(value: memoryview, size: int) -> int:
    if len(value) < size:
        raise struct.error("an address is too short")
    return int.from_bytes(value[:size], "big")


def _u32(values: dict[int, memoryview], kind: int) -> int:
    value = values.get(kind)
    return 0 if value is None else int(_U32(value)[0])


def _text(value: memoryview | bytes) -> str:
    """Cut where the kernel has no more: names are put together by the thousand."""
    return clean_bytes(bytes(value[:_LONGEST_NAME]).split(b"\0", 1)[0])


_DECODERS: dict[int, Callable[[memoryview, int, int, RouteRows], None]] = {
    RTM_NEWLINK: _link,
    RTM_NEWADDR: _address,
    RTM_NEWROUTE: _route,
}
