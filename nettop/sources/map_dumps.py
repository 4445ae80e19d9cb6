"""The datagrams of one answer of the broker, apart by read."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from nettop.linux import rtnetlink as rtnl
from nettop.linux.netlink import NLM_F_REQUEST, NLMSG_HDRLEN, NLMSGHDR

_LENGTH = Struct("=I")


def by_read(body: bytes) -> Iterator[list[bytes]]:
    """Yield the datagrams of each read. Filters and proxied neighbours follow with requests of their own."""
    found: list[bytes] = []
    at = 0
    while at < len(body):
        size = _LENGTH.unpack_from(body, at)[0]
        datagram = body[at + _LENGTH.size : at + _LENGTH.size + size]
        at += _LENGTH.size + (size + 3 & ~3)
        if found and is_request(datagram) and not _is_second(datagram):
            yield found
            found = []
        found.append(datagram)
    if found:
        yield found


def _is_second(request: bytes) -> bool:
    """Return whether a request belongs to the read before it."""
    kind = NLMSGHDR.unpack_from(request)[1]
    return kind == rtnl.RTM_GETTFILTER or (
        kind == rtnl.RTM_GETNEIGH and bool(rtnl.NDMSG.unpack_from(request, NLMSG_HDRLEN)[3] & rtnl.NTF_PROXY)
    )


def is_request(datagram: bytes) -> bool:
    """Return whether a datagram is a request of ours."""
    return bool(NLMSGHDR.unpack_from(datagram)[2] & NLM_F_REQUEST)
