"""Nexthop objects (linux/nexthop.h), which several routes may share."""

from __future__ import annotations

from collections.abc import Iterator

from nettop.decode.route_options import encapsulation
from nettop.decode.rtnetlink import BYTES_OF, parts
from nettop.decode.topology.objects import Nexthop
from nettop.linux import rtnetlink as rtnl
from nettop.linux.netlink import Attributes, Buffer

_TICKS = 100  # a second (USER_HZ)


def read_nexthop(buf: Buffer, start: int, end: int) -> Nexthop:
    """Return the nexthop of an RTM_NEWNEXTHOP. MalformedError: it is none."""
    (family, scope, protocol, flags), found = parts(rtnl.NHMSG, buf, start, end)
    size = BYTES_OF.get(family, 0)
    gateway = found.number(rtnl.NHA_GATEWAY, size, size) if size else None
    return Nexthop(
        found.host(rtnl.NHA_ID) or 0,
        found.host(rtnl.NHA_OIF) or 0,
        None if gateway is None else (family, gateway),
        rtnl.NHA_BLACKHOLE in found,
        rtnl.NHA_FDB in found,
        tuple(_group(found)),
        tuple(_resilient(found.nested(rtnl.NHA_RES_GROUP))),
        scope,
        protocol,
        flags,
        encapsulation(found, rtnl.NHA_ENCAP, rtnl.NHA_ENCAP_TYPE),
    )


def _group(found: Attributes) -> Iterator[tuple[int, int]]:
    raw, size = found.raw(rtnl.NHA_GROUP), rtnl.NEXTHOP_GRP.size
    has_high = (found.host(rtnl.NHA_OP_FLAGS) or 0) & rtnl.NHA_OP_FLAG_RESP_GRP_RESVD_0  # before Linux 6.11 it is noise
    for ident, weight, high in rtnl.NEXTHOP_GRP.iter_unpack(raw[: len(raw) // size * size]):
        yield ident, 1 + weight + (high << 8 if has_high else 0)


def _resilient(found: Attributes) -> Iterator[tuple[str, str]]:
    if buckets := found.raw(rtnl.NHA_RES_GROUP_BUCKETS):
        yield "buckets", str(int.from_bytes(buckets[:2], rtnl.HOST_ORDER))
        for name, kind in rtnl.NHA_RES_GROUP_TIMES.items():
            yield name, f"{int.from_bytes(found.raw(kind)[:8], rtnl.HOST_ORDER) / _TICKS:g}"
