"""Links, addresses and routes of rtnetlink messages (linux/rtnetlink.h, if_link.h, if_addr.h), as plain values.

There are few of them, so each message is walked. Tests compare the results with pyroute2, whose import would delay the
start of the app by 0.15 s and which needs ten times as long for a message.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct
from typing import TypeVar

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.netlink import read_each
from nettop.decode.route_options import encapsulation, route_options
from nettop.linux import netlink as nl
from nettop.linux import rtnetlink as rtnl
from nettop.linux.interface import IFF_UP, IFNAMSIZ
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.text.sanitize import clean_bytes

_Value = TypeVar("_Value")
BYTES_OF = {AF_INET: 4, AF_INET6: 16}
_HOP_FLAGS = sum(rtnl.RTNH_F)


@dataclass(frozen=True, slots=True)
class Link:
    """A network device. `name` and `kind` are safe for a terminal. 0 and None mean that the kernel sent no value."""

    ifindex: int
    name: str
    kind: str = ""  # IFLA_INFO_KIND: "veth", "bridge", …; "" for hardware and lo
    arphrd: int = 0  # linux/if_arp.h
    flags: int = 0  # IFF_*, linux/if.h
    mtu: int = 0
    master: int = 0  # ifindex of the bridge, bond or VRF it is a port of
    lower: int = 0  # IFLA_LINK: ifindex of the device below it (VLAN, macvlan) or of its peer (veth)
    peer_nsid: int | None = None  # IFLA_LINK_NETNSID: `lower` is in that namespace
    operstate: int = 0
    address: bytes = b""  # of the link layer

    @property
    def up(self) -> bool:
        """True if the device is administratively up."""
        return bool(self.flags & IFF_UP)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a device, an integer in host order (128 bits for IPv6). `peer` is the other end's, or equal."""

    ifindex: int
    family: int
    address: int
    length: int  # of the prefix
    peer: int
    scope: int = 0  # RT_SCOPE_*
    flags: int = 0  # IFA_F_*
    label: str = ""  # of IPv4, safe for a terminal: "eth0:1"
    broadcast: int | None = None  # of IPv4


@dataclass(frozen=True, slots=True)
class Hop:
    """One next hop: a device, and the (family, address) of the gateway if there is one."""

    ifindex: int
    gateway: tuple[int, int] | None = None
    flags: int = 0  # RTNH_F_*
    weight: int = 1
    encapsulation: str = ""  # as ip-route(8) prints it: "mpls 100"

    @property
    def dead(self) -> bool:
        """True if its device is down or has no carrier, and the kernel does not use it."""
        return bool(self.flags & rtnl.RTNH_F_DEAD)


@dataclass(frozen=True, slots=True)
class Route:
    """A route: `destination` is an integer in host order, `length` its prefix length in bits."""

    family: int
    table: int
    kind: int  # RTN_*
    destination: int
    length: int
    hops: tuple[Hop, ...] = ()
    metric: int = 0
    tos: int = 0
    source_length: int = 0  # prefix length of its source in bits; 0: any source
    protocol: int = 0  # RTPROT_*: its origin
    scope: int = 0
    flags: int = 0  # RTNH_F_*, RTM_F_*
    nexthop: int = 0  # id of its nexthop object; 0: it has hops of its own
    source: int = 0  # the prefix of `source_length`
    preferred: int | None = None  # RTA_PREFSRC: address that packets of this host get
    options: tuple[tuple[str, str], ...] = ()  # metrics and the like, by the names of ip-route(8)


@dataclass(frozen=True, slots=True)
class RouteAnswer:
    """The kernel's answer to a question for a route: an error, or the route."""

    error: int = 0  # errno
    route: Route | None = None  # of a lookup without RTM_F_FIB_MATCH: `destination` is the address asked for
    source: int | None = None  # address that a packet of this host gets, in host order
    mtu: int = 0  # bytes, of the route itself; 0: that of its device


@dataclass(slots=True)
class RouteRows:
    """The links, addresses and routes of one batch, in its order."""

    links: list[Link] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


def decode_rtnetlink(batch: Batch) -> RouteRows:
    """Decode the NEWLINK, NEWADDR and NEWROUTE messages of a batch. Never raises: bad bytes become error rows."""
    rows = RouteRows()
    readers: dict[int, Callable[[nl.Buffer, int, int], None]] = {
        rtnl.RTM_NEWLINK: lambda *at: _add(rows.links, link_of(*parts(rtnl.IFINFOMSG, *at))),
        rtnl.RTM_NEWADDR: lambda *at: _add(rows.addresses, read_address(*at)),
        rtnl.RTM_NEWROUTE: lambda *at: _add(rows.routes, read_route(*at)),
    }
    rows.errors = read_messages(batch, readers)
    return rows


def read_messages(batch: Batch, readers: Mapping[int, Callable[[nl.Buffer, int, int], None]]) -> DecodeErrors:
    """Call the reader of each message's type with the span of its body. Return the errors."""
    return read_each(
        batch, tuple(readers), lambda kind, _, start, end: readers[kind](batch.buf, start + nl.NLMSG_HDRLEN, end)
    )


def _add(rows: list[_Value], value: _Value | None) -> None:
    if value is not None:
        rows.append(value)


def link_of(header: tuple[int, ...], found: nl.Attributes) -> Link | None:
    """Return the link of the parts of an RTM_NEWLINK; None for a port that PF_BRIDGE lists a second time."""
    family, arphrd, ifindex, flags, _ = header
    if family not in (0, AF_INET6) or rtnl.IFLA_IFNAME not in found:
        return None
    return Link(
        ifindex,
        name(found.raw(rtnl.IFLA_IFNAME)),
        name(found.nested(rtnl.IFLA_LINKINFO).raw(rtnl.IFLA_INFO_KIND)),
        arphrd,
        flags,
        found.host(rtnl.IFLA_MTU) or 0,
        found.host(rtnl.IFLA_MASTER) or 0,
        found.host(rtnl.IFLA_LINK) or 0,
        found.host(rtnl.IFLA_LINK_NETNSID, signed=True),
        found.number(rtnl.IFLA_OPERSTATE) or 0,
        found.raw(rtnl.IFLA_ADDRESS)[:32],
    )


def read_address(buf: nl.Buffer, start: int, end: int) -> Address | None:
    """Return the address of an RTM_NEWADDR; None if it is neither IPv4 nor IPv6."""
    (family, length, flags, scope, ifindex), found = parts(rtnl.IFADDRMSG, buf, start, end)
    size = BYTES_OF.get(family)
    if size is None:
        return None
    peer = found.number(rtnl.IFA_ADDRESS, size, size)
    own = found.number(rtnl.IFA_LOCAL, size, size)
    own = peer if own is None else own  # IPv6 without a peer has IFA_ADDRESS alone
    if own is None:
        return None
    flags = found.host(rtnl.IFA_FLAGS) or flags
    label, broadcast = name(found.raw(rtnl.IFA_LABEL)), found.number(rtnl.IFA_BROADCAST, size, size)
    return Address(ifindex, family, own, length, own if peer is None else peer, scope, flags, label, broadcast)


def read_route(buf: nl.Buffer, start: int, end: int) -> Route | None:
    """Return the route of an RTM_NEWROUTE; None for those of other families and of a route cache."""
    route = _route_of(*parts(rtnl.RTMSG, buf, start, end))
    return None if route is None or route.flags & rtnl.RTM_F_CLONED else route


def _route_of(header: tuple[int, ...], found: nl.Attributes) -> Route | None:
    family, length, source_length, tos, table, protocol, scope, kind, flags = header
    size = BYTES_OF.get(family)
    if size is None or length > size * 8:
        return None
    return Route(
        family,
        found.host(rtnl.RTA_TABLE) or table,
        kind,
        found.number(rtnl.RTA_DST, size, size) or 0,
        length,
        _hops(found, family, flags),
        found.host(rtnl.RTA_PRIORITY) or 0,
        tos,
        source_length,
        protocol,
        scope,
        flags,
        found.host(rtnl.RTA_NH_ID) or 0,
        found.number(rtnl.RTA_SRC, size, size) or 0 if source_length else 0,
        found.number(rtnl.RTA_PREFSRC, size, size),
        route_options(found),
    )


def decode_route_answer(message: bytes) -> RouteAnswer:
    """Decode the answer to one RTM_GETROUTE, a message or an error. MalformedError if it is neither."""
    kind, start, end = next(nl.messages(message), (0, 0, 0))
    if kind == nl.NLMSG_ERROR and end - start >= nl.NLMSG_HDRLEN + 4:
        return RouteAnswer(-nl.ERRNO(message, start + nl.NLMSG_HDRLEN)[0])
    if kind != rtnl.RTM_NEWROUTE:
        raise nl.MalformedError(start, nl.ERR_VALUE_SHORT)
    header, found = parts(rtnl.RTMSG, message, start + nl.NLMSG_HDRLEN, end)
    source = found.number(rtnl.RTA_PREFSRC, 4, 16)
    return RouteAnswer(0, _route_of(header, found), source, found.nested(rtnl.RTA_METRICS).host(rtnl.RTAX_MTU) or 0)


def _hops(found: nl.Attributes, family: int, flags: int) -> tuple[Hop, ...]:
    if rtnl.RTA_MULTIPATH in found:
        return tuple(_multipath(found.buf, *found.span(rtnl.RTA_MULTIPATH), family))
    ifindex = found.host(rtnl.RTA_OIF)
    if not ifindex:
        return ()
    return (Hop(ifindex, _gateway(found, family), flags & _HOP_FLAGS, encapsulation=encapsulation(found)),)


def _multipath(buf: nl.Buffer, start: int, end: int, family: int) -> Iterator[Hop]:
    while start + rtnl.RTNEXTHOP.size <= end:
        size, flags, hops, ifindex = rtnl.RTNEXTHOP.unpack_from(buf, start)
        if size < rtnl.RTNEXTHOP.size or start + size > end:
            raise nl.MalformedError(start, nl.ERR_VALUE_SHORT)
        found = nl.Attributes(buf, start + rtnl.RTNEXTHOP.size, start + size)
        yield Hop(ifindex, _gateway(found, family), flags & _HOP_FLAGS, hops + 1, encapsulation(found))
        start += size + 3 & ~3


def _gateway(found: nl.Attributes, family: int) -> tuple[int, int] | None:
    size = BYTES_OF[family]
    gateway = found.number(rtnl.RTA_GATEWAY, size, size)
    if gateway is not None:
        return family, gateway
    via = found.raw(rtnl.RTA_VIA)  # struct rtvia: an address of another family
    other = int.from_bytes(via[:2], sys.byteorder)
    if other not in BYTES_OF:
        return None
    if len(via) < 2 + BYTES_OF[other]:
        raise nl.MalformedError(found.span(rtnl.RTA_VIA)[0], nl.ERR_VALUE_SHORT)
    return other, int.from_bytes(via[2 : 2 + BYTES_OF[other]], "big")


def parts(header: Struct, buf: nl.Buffer, start: int, end: int) -> tuple[tuple[int, ...], nl.Attributes]:
    """Return the header of a message and the attributes after it."""
    if end - start < header.size:
        raise nl.MalformedError(start, nl.ERR_VALUE_SHORT)
    return header.unpack_from(buf, start), nl.Attributes(buf, start + header.size, end)


def name(raw: bytes) -> str:
    """Return a name, cut at the kernel's limit: a hostile file may hold thousands of long ones."""
    return clean_bytes(raw[:IFNAMSIZ].split(b"\0", 1)[0])
