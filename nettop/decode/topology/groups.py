"""The multicast groups behind the ports of bridges (RTM_NEWMDB, linux/if_bridge.h)."""

from __future__ import annotations

from collections.abc import Iterator

from nettop.decode.rtnetlink import parts
from nettop.decode.topology.objects import PortGroup
from nettop.decode.topology.parameter_values import address, mac
from nettop.linux import rtnetlink as rtnl
from nettop.linux.netlink import ERR_VALUE_SHORT, Attributes, Buffer, MalformedError, attributes

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"  # ethertypes


def read_groups(buf: Buffer, start: int, end: int) -> Iterator[PortGroup]:
    """Yield the groups of one message. MalformedError: it is none."""
    (_, bridge), found = parts(rtnl.BR_PORT_MSG, buf, start, end)
    for entry, *of_group in attributes(buf, *found.span(rtnl.MDBA_MDB)):
        for info, first, last in attributes(buf, *of_group) if entry == rtnl.MDBA_MDB_ENTRY else ():
            if info == rtnl.MDBA_MDB_ENTRY_INFO:
                yield _group(buf, bridge, first, last)


def _group(buf: Buffer, bridge: int, start: int, end: int) -> PortGroup:
    size = rtnl.BR_MDB_ENTRY.size
    if end - start < size:
        raise MalformedError(start, ERR_VALUE_SHORT)
    port, state, _, vlan, raw, proto = rtnl.BR_MDB_ENTRY.unpack_from(buf, start)
    group = {_IPV4: address(raw[:4]), _IPV6: address(raw)}.get(proto.to_bytes(2, rtnl.HOST_ORDER), mac(raw[:6]))
    source = address(Attributes(buf, start + size, end).raw(rtnl.MDBA_MDB_EATTR_SOURCE))
    return PortGroup(port, bridge, group, vlan & 0xFFF, bool(state & rtnl.MDB_PERMANENT), source)
