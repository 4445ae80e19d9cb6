"""Several rtnetlink dumps of the namespace that the caller has entered, read to their ends in one go.

A namespace of the map then costs one request to the broker, and no descriptor stays open in it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence

from nettop.broker.reads import DUMP, message, read_bytes
from nettop.broker.requests import ReadRequest, SendRead
from nettop.errors import BrokerError
from nettop.linux import netlink as nl
from nettop.linux import rtnetlink as rtnl

MAX_DUMP = 8 << 20  # bytes of one dump that are read: some 80,000 routes
MAX_READS = 32  # of one request
MAX_ANSWER = 64 << 20  # bytes of all dumps of one request: the maker of a namespace chooses its content
_MAX_HOOKS = 512  # of devices whose filters are read
_BUFFER = 1 << 18
_LENGTH = struct.Struct("=I")
_SEQUENCE = 1  # each dump has a socket of its own
_SECONDS = 2.0  # the kernel continues a dump inside our recv: it never takes this long

_WITH_CLASSES = frozenset(("htb", "hfsc", "prio", "drr", "qfq", "ets"))


def read_dumps(reads: Sequence[ReadRequest]) -> bytes:
    """Return the datagrams of all dumps: of each our request, then the answers.

    Each follows its length (u32, host order) and is padded to four bytes. A dump that is longer than MAX_DUMP, that
    does not fit MAX_ANSWER, or that the kernel does not end, has no NLMSG_DONE. Raises OSError.
    """
    if len(reads) > MAX_READS:
        raise BrokerError(f"not on the list: {len(reads)} reads at once")
    found: list[bytes] = []
    size = 0

    def dump(request: bytes) -> list[bytes]:
        nonlocal size
        answer = _dump(request, min(MAX_DUMP, MAX_ANSWER - size))
        size += sum(map(len, answer))
        found.extend(answer)
        return answer

    for read in reads:
        answer = dump(read_bytes(SendRead(0, read, None, None), nl.NETLINK_ROUTE, _SEQUENCE))
        if read is ReadRequest.RTNL_NEIGHBOURS:
            dump(message(rtnl.RTM_GETNEIGH, DUMP, _SEQUENCE, rtnl.NDMSG.pack(0, 0, 0, rtnl.NTF_PROXY, 0)))
        if read is ReadRequest.RTNL_QDISCS:
            for ifindex, parent in _hooks(answer[1:]):
                dump(message(rtnl.RTM_GETTFILTER, DUMP, _SEQUENCE, rtnl.TCMSG.pack(0, ifindex, 0, parent, 0)))
    return b"".join(_LENGTH.pack(len(datagram)) + datagram + bytes(-len(datagram) % 4) for datagram in found)


def _dump(request: bytes, limit: int) -> list[bytes]:
    found, size, buffer = [request], 0, bytearray(_BUFFER)
    if limit <= 0:
        return found
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, nl.NETLINK_ROUTE) as sock:
        sock.settimeout(_SECONDS)
        sock.sendto(request, (0, 0))
        while size < limit:
            try:
                length, _, flags, _ = sock.recvmsg_into([buffer])
            except TimeoutError:
                break
            datagram = bytes(memoryview(buffer)[:length])
            found.append(datagram)
            size += length
            ends = (kind in (nl.NLMSG_DONE, nl.NLMSG_ERROR) for kind, _, _ in nl.messages(datagram))
            if flags & socket.MSG_TRUNC or any(ends):
                break
    return found


def _hooks(datagrams: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return ifindex and parent of the places where devices have filters: their hooks, and queues with classes."""
    found: list[tuple[int, int]] = []
    for datagram in datagrams:
        for first, last in _qdiscs(datagram):
            _, ifindex, handle, parent, _ = rtnl.TCMSG.unpack_from(datagram, first)
            kind = nl.Attributes(datagram, first + rtnl.TCMSG.size, last).text(rtnl.TCA_KIND)
            if parent == rtnl.TC_H_CLSACT:
                found += [(ifindex, hook) for hook in rtnl.TC_HOOKS[: 2 if kind == "clsact" else 1]]
            elif kind in _WITH_CLASSES:
                found.append((ifindex, handle))
    return found[:_MAX_HOOKS]


def _qdiscs(datagram: bytes) -> Iterator[tuple[int, int]]:
    for kind, first, last in nl.messages(datagram):
        if kind == rtnl.RTM_NEWQDISC and last - first >= nl.NLMSG_HDRLEN + rtnl.TCMSG.size:
            yield first + nl.NLMSG_HDRLEN, last
