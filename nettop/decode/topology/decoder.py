"""The rtnetlink messages of the map (linux/rtnetlink.h, if_link.h, neighbour.h), as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from struct import Struct
from typing import TypeVar

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.rtnetlink import (
    BYTES_OF,
    Address,
    Link,
    Route,
    link_of,
    name,
    parts,
    read_address,
    read_messages,
    read_route,
)
from nettop.decode.topology import kinds, objects
from nettop.decode.topology.filters import read_filter
from nettop.decode.topology.groups import read_groups
from nettop.decode.topology.nexthops import read_nexthop
from nettop.decode.topology.policy_rules import read_rule
from nettop.decode.topology.virtual_functions import virtual_functions
from nettop.linux import netlink as nl
from nettop.linux import rtnetlink as rtnl
from nettop.linux.netlink import Attributes, Buffer, MalformedError, attributes
from nettop.linux.socket import AF_BRIDGE
from nettop.text.sanitize import clean_bytes

_Value = TypeVar("_Value")
_VLAN_INFO = Struct("=HH")  # struct bridge_vlan_info: flags, vid
_QUEUE = Struct("=3I")  # the head of struct gnet_stats_queue: qlen, backlog, drops
_U64 = Struct("=Q")
_MAX_TEXT = 256  # bytes of an alias (IFALIASZ)
_XDP = {1: "xdp driver", 2: "xdp generic", 3: "xdp offloaded"}  # XDP_ATTACHED_*
_WITHOUT_LOWER = frozenset(("vxlan", "geneve", "wireguard", "bareudp", "gtp", "amt"))
_OFFLOADS = (
    ("gso_max_size", rtnl.IFLA_GSO_MAX_SIZE),
    ("gso_max_segs", rtnl.IFLA_GSO_MAX_SEGS),
    ("gro_max_size", rtnl.IFLA_GRO_MAX_SIZE),
    ("tso_max_size", rtnl.IFLA_TSO_MAX_SIZE),
    ("tso_max_segs", rtnl.IFLA_TSO_MAX_SEGS),
)


@dataclass(slots=True)
class MapRows:
    """The rows of one batch, in its order."""

    devices: list[objects.Device] = field(default_factory=list)
    counts: list[tuple[int, objects.LinkCounts]] = field(default_factory=list)  # with the ifindex
    addresses: list[Address] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    rules: list[objects.PolicyRule] = field(default_factory=list)
    nexthops: list[objects.Nexthop] = field(default_factory=list)
    neighbours: list[objects.Neighbour] = field(default_factory=list)
    vlans: list[objects.PortVlan] = field(default_factory=list)
    groups: list[objects.PortGroup] = field(default_factory=list)
    queues: list[objects.Queue] = field(default_factory=list)
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


def decode_map(batch: Batch) -> MapRows:
    """Decode the messages of a batch. Never raises: bad bytes become error rows."""
    rows = MapRows()
    readers: dict[int, Callable[[Buffer, int, int], None]] = {
        rtnl.RTM_NEWLINK: partial(_link, rows),
        rtnl.RTM_NEWSTATS: partial(_counts, rows),
        rtnl.RTM_NEWADDR: lambda *at: rows.addresses.extend(filter(None, (read_address(*at),))),
        rtnl.RTM_NEWROUTE: lambda *at: rows.routes.extend(filter(None, (read_route(*at),))),
        rtnl.RTM_NEWNEIGH: partial(_neighbour, rows),
        rtnl.RTM_NEWRULE: partial(_rule, rows),
        rtnl.RTM_NEWNEXTHOP: lambda *at: rows.nexthops.append(read_nexthop(*at)),
        # a dump of groups has the type of its request for bridges, and the other one for VXLANs
        **dict.fromkeys((rtnl.RTM_NEWMDB, rtnl.RTM_GETMDB), lambda *at: rows.groups.extend(read_groups(*at))),
        rtnl.RTM_NEWQDISC: partial(_queue, rows),
        rtnl.RTM_NEWTFILTER: partial(_filter, rows),
    }
    rows.errors = read_messages(batch, readers)
    return rows


def _link(rows: MapRows, buf: Buffer, start: int, end: int) -> None:
    header, found = parts(rtnl.IFINFOMSG, buf, start, end)
    if header[0] == AF_BRIDGE:
        rows.vlans += _vlans(header[2], found)
        return
    link = link_of(header, found)
    if link is None:
        return
    info = found.nested(rtnl.IFLA_LINKINFO)
    master_kind = name(info.raw(rtnl.IFLA_INFO_SLAVE_KIND))
    carrier = found.number(rtnl.IFLA_CARRIER)
    parameters = kinds.parameters(link.kind, info.raw(rtnl.IFLA_INFO_DATA))
    rows.devices.append(
        objects.Device(
            _with_lower(link, parameters),
            objects.LinkCounts(),
            parameters,
            kinds.port_parameters(master_kind, info.raw(rtnl.IFLA_INFO_SLAVE_DATA)),
            master_kind,
            clean_bytes(found.raw(rtnl.IFLA_IFALIAS)[:_MAX_TEXT].split(b"\0", 1)[0]),
            tuple(_altnames(found)),
            name(found.raw(rtnl.IFLA_QDISC)),
            found.host(rtnl.IFLA_TXQLEN) or 0,
            None if carrier is None else bool(carrier),
            found.host(rtnl.IFLA_CARRIER_CHANGES),
            tuple(_programs(found.nested(rtnl.IFLA_XDP))),
            tuple(_offloads(found)),
            functions=tuple(virtual_functions(found)),
        )
    )


def _with_lower(link: Link, parameters: objects.Parameters) -> Link:
    """Return the link of a tunnel whose own number the kernel gives as IFLA_LINK, with that of its parameters."""
    if link.kind not in _WITHOUT_LOWER or link.lower not in (0, link.ifindex):
        return link
    lower = next((value for name, value in parameters if name == "link"), "0")
    return replace(link, lower=int(lower))


def _altnames(found: Attributes) -> Iterator[str]:
    for kind, first, last in attributes(found.buf, *found.span(rtnl.IFLA_PROP_LIST)):
        if kind == rtnl.IFLA_ALT_IFNAME:
            yield clean_bytes(bytes(found.buf[first : min(last, first + rtnl.ALTIFNAMSIZ)]).split(b"\0", 1)[0])


def _programs(xdp: Attributes) -> Iterator[str]:
    """Yield the XDP programs: of one mode with their id, of several (XDP_ATTACHED_MULTI) each with its own."""
    attached = xdp.number(rtnl.IFLA_XDP_ATTACHED) or 0
    if attached in _XDP:
        yield f"{_XDP[attached]} id {xdp.host(rtnl.IFLA_XDP_PROG_ID) or 0}"
        return
    for mode, kind in enumerate(rtnl.IFLA_XDP_MODE_PROG_IDS, 1):
        if ident := xdp.host(kind):
            yield f"{_XDP[mode]} id {ident}"


def _offloads(found: Attributes) -> Iterator[tuple[str, str]]:
    for word, kind in _OFFLOADS:
        value = found.host(kind)
        if value is not None:
            yield word, str(value)


def _vlans(ifindex: int, found: Attributes) -> Iterator[objects.PortVlan]:
    begin = 0
    for kind, first, last in attributes(found.buf, *found.span(rtnl.IFLA_AF_SPEC)):
        if kind != rtnl.IFLA_BRIDGE_VLAN_INFO:
            continue
        if last - first < _VLAN_INFO.size:
            raise MalformedError(first, nl.ERR_VALUE_SHORT)
        flags, vlan = _VLAN_INFO.unpack_from(found.buf, first)
        untagged, pvid = bool(flags & rtnl.BRIDGE_VLAN_INFO_UNTAGGED), bool(flags & rtnl.BRIDGE_VLAN_INFO_PVID)
        vlan &= 0xFFF
        if flags & rtnl.BRIDGE_VLAN_INFO_RANGE_END and begin:
            yield from (objects.PortVlan(ifindex, one, untagged, pvid) for one in range(begin + 1, vlan))
        begin = vlan if flags & rtnl.BRIDGE_VLAN_INFO_RANGE_BEGIN else 0
        yield objects.PortVlan(ifindex, vlan, untagged, pvid)


def _counts(rows: MapRows, buf: Buffer, start: int, end: int) -> None:
    (_, ifindex, _), found = parts(rtnl.IF_STATS_MSG, buf, start, end)
    first, last = found.span(rtnl.IFLA_STATS_LINK_64)
    if last - first >= rtnl.STATS64.size:
        rest = bytes(buf[first + rtnl.STATS64.size : last])
        values = _U64.iter_unpack(rest[: len(rest) // 8 * 8])
        reasons = tuple(
            (name, value) for name, (value,) in zip(rtnl.STATS64_REASONS, values, strict=False) if value and name
        )
        rows.counts.append((ifindex, objects.LinkCounts(*(*rtnl.STATS64.unpack_from(buf, first), reasons))))


def _neighbour(rows: MapRows, buf: Buffer, start: int, end: int) -> None:
    (family, ifindex, state, flags, _), found = parts(rtnl.NDMSG, buf, start, end)
    size = BYTES_OF.get(family)
    if size is None and family != AF_BRIDGE:
        return
    destination = found.raw(rtnl.NDA_DST)
    remote = None
    if family == AF_BRIDGE:
        of = {length: other for other, length in BYTES_OF.items()}.get(len(destination))
        remote = None if of is None else (of, int.from_bytes(destination, "big"))
    address = found.number(rtnl.NDA_DST, size, size) if size is not None else None
    vlan = int.from_bytes(found.raw(rtnl.NDA_VLAN)[:2], rtnl.HOST_ORDER)
    lladdr = found.raw(rtnl.NDA_LLADDR)[:32]
    flags |= (found.host(rtnl.NDA_FLAGS_EXT) or 0) << 8
    tunnel = tuple(_tunnel(found))
    rows.neighbours.append(objects.Neighbour(ifindex, family, address, lladdr, state, flags, vlan, remote, tunnel))


def _tunnel(found: Attributes) -> Iterator[tuple[str, int]]:
    if port := found.number(rtnl.NDA_PORT):
        yield "port", port
    yield from ((name, value) for name, kind in rtnl.NDA_TUNNEL.items() if (value := found.host(kind)))


def _rule(rows: MapRows, buf: Buffer, start: int, end: int) -> None:
    if start < end and buf[start] in BYTES_OF:  # multicast routing (RTNL_FAMILY_IPMR) has rules of its own
        rows.rules.append(_of_body(read_rule, buf, start, end))


def _filter(rows: MapRows, buf: Buffer, start: int, end: int) -> None:
    rows.queues.append(_of_body(read_filter, buf, start, end))


def _of_body(read: Callable[[bytes], _Value], buf: Buffer, start: int, end: int) -> _Value:
    try:
        return read(bytes(buf[start:end]))
    except MalformedError as error:
        raise MalformedError(start + error.offset, error.code) from error


def _queue(rows: MapRows, buf: Buffer, start: int, end: int) -> None:
    (_, ifindex, handle, parent, _), found = parts(rtnl.TCMSG, buf, start, end)
    first, last = found.nested(rtnl.TCA_STATS2).span(rtnl.TCA_STATS_QUEUE)
    _, backlog, drops = _QUEUE.unpack_from(buf, first) if last - first >= _QUEUE.size else (0, 0, 0)
    kind = name(found.raw(rtnl.TCA_KIND))
    blocks = found.host(rtnl.TCA_INGRESS_BLOCK) or 0, found.host(rtnl.TCA_EGRESS_BLOCK) or 0
    rows.queues.append(objects.Queue(ifindex, kind, handle, parent, drops=drops, backlog=backlog, blocks=blocks))
