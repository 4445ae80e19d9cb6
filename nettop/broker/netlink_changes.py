"""The changes the broker makes by netlink itself: deleting conntrack entries, setting named counters to zero."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence

from nettop.broker import attributes
from nettop.broker.attributes import be16, be32, nested, u8
from nettop.broker.reads import LONGEST_NAME, message, nfgenmsg
from nettop.broker.requests import MAX_FLOWS, CounterName, FlowKey
from nettop.broker.sockets import RECEIVE_BUFFER, set_buffer
from nettop.errors import BrokerError
from nettop.linux import conntrack as nfct
from nettop.linux import netlink as nl
from nettop.linux import nf_tables as nft
from nettop.linux import nfnetlink
from nettop.linux.inet import IPPROTO_GRE, IPPROTO_ICMP, IPPROTO_ICMPV6, WITH_PORTS
from nettop.linux.socket import AF_INET, AF_INET6, SOL_NETLINK

_FLAGS = nl.NLM_F_REQUEST | nl.NLM_F_ACK

_SRC_DST = {AF_INET: (nfct.CTA_IP_V4_SRC, nfct.CTA_IP_V4_DST), AF_INET6: (nfct.CTA_IP_V6_SRC, nfct.CTA_IP_V6_DST)}
_ICMP = {  # by protocol: the attributes of id, type, code
    IPPROTO_ICMP: (nfct.CTA_PROTO_ICMP_ID, nfct.CTA_PROTO_ICMP_TYPE, nfct.CTA_PROTO_ICMP_CODE),
    IPPROTO_ICMPV6: (nfct.CTA_PROTO_ICMPV6_ID, nfct.CTA_PROTO_ICMPV6_TYPE, nfct.CTA_PROTO_ICMPV6_CODE),
}
_WITH_PORTS = frozenset({*WITH_PORTS, IPPROTO_GRE})  # GRE's are its call ids
_RESETTABLE = {"nft-counter": nft.NFT_OBJECT_COUNTER, "nft-quota": nft.NFT_OBJECT_QUOTA}

_RCVBUF = 1 << 20  # bytes: room for an answer to each of MAX_FLOWS requests
_DATAGRAM = 64 << 10


def delete_flows(keys: Sequence[FlowKey]) -> tuple[int, int]:
    """Delete entries of the current namespace; returns (deleted, gone already). Raises BrokerError, OSError.

    Every request is checked before the first is sent, and one that the kernel refuses does not keep back the others.
    """
    if len(keys) > MAX_FLOWS:
        raise BrokerError(f"not on the list: more than {MAX_FLOWS} flows at once")
    requests = [deletion(key, sequence) for sequence, key in enumerate(keys, 1)]
    found = _exchange(requests)
    refused = sorted(set(found) - {0, errno.ENOENT})
    if refused:
        count = len(found) - found.count(0) - found.count(errno.ENOENT)
        raise OSError(refused[0], os.strerror(refused[0]), f"{count} of {len(keys)} flows were not deleted")
    return found.count(0), found.count(errno.ENOENT)


def deletion(key: FlowKey, sequence: int) -> bytes:
    """Return the IPCTNL_MSG_CT_DELETE of one entry. It always has a tuple: without one, the kernel would delete all."""
    if key.family not in _SRC_DST:
        raise BrokerError(f"not on the list: a flow of family {key.family}")
    src, dst = _SRC_DST[key.family]
    addresses = nested(
        nfct.CTA_TUPLE_IP,
        attributes.attribute(src, attributes.address(key.family, key.src)),
        attributes.attribute(dst, attributes.address(key.family, key.dst)),
    )
    parts = [
        nested(nfct.CTA_TUPLE_ORIG, addresses, nested(nfct.CTA_TUPLE_PROTO, *_protocol(key))),
        be16(nfct.CTA_ZONE, key.zone),
    ]
    if key.id is not None:
        parts.append(be32(nfct.CTA_ID, key.id))
    kind = nfnetlink.NFNL_SUBSYS_CTNETLINK << 8 | nfct.IPCTNL_MSG_CT_DELETE
    return message(kind, _FLAGS, sequence, nfgenmsg(key.family) + b"".join(parts))


def reset_counter(name: CounterName) -> None:
    """Set a counter of the current namespace to zero; raises BrokerError (also: there is none) and OSError."""
    answer = _exchange([resetting(name)])[0]
    if answer == errno.ENOENT:
        where = f" in the table {name.table}" if name.table else ""
        raise BrokerError(f"there is no {name.group} {name.name!r}{where} any more")
    if answer:
        raise OSError(answer, os.strerror(answer), f"{name.name} is not set to zero")


def resetting(name: CounterName) -> bytes:
    """Return the request that reads a counter and sets it to zero; raises BrokerError."""
    if name.group == "nfacct":
        if name.family or name.table:
            raise BrokerError("not on the list: an nfacct object of a family or table")
        body = nfgenmsg(0) + attributes.name(nfnetlink.NFACCT_NAME, name.name, nfnetlink.NFACCT_NAME_MAX - 1)
        return message(nfnetlink.NFNL_SUBSYS_ACCT << 8 | nfnetlink.NFNL_MSG_ACCT_GET_CTRZERO, _FLAGS, 1, body)
    if name.group not in _RESETTABLE:
        raise BrokerError(f"not on the list: setting a {name.group[:80]!r} to zero")
    table = attributes.name(nft.NFTA_OBJ_TABLE, name.table, LONGEST_NAME)
    named = attributes.name(nft.NFTA_OBJ_NAME, name.name, LONGEST_NAME)
    body = nfgenmsg(name.family) + table + named + be32(nft.NFTA_OBJ_TYPE, _RESETTABLE[name.group])
    return message(nfnetlink.NFNL_SUBSYS_NFTABLES << 8 | nft.NFT_MSG_GETOBJ_RESET, _FLAGS, 1, body)


def _protocol(key: FlowKey) -> list[bytes]:
    """Return the attributes inside CTA_TUPLE_PROTO: of a protocol the kernel has no tracker for, its number only."""
    parts = [u8(nfct.CTA_PROTO_NUM, key.proto)]
    if key.proto in _ICMP:
        ident, kind, code = _ICMP[key.proto]
        parts += [be16(ident, key.sport), u8(kind, key.dport >> 8), u8(code, key.dport & 0xFF)]
    elif key.proto in _WITH_PORTS:
        parts += [be16(nfct.CTA_PROTO_SRC_PORT, key.sport), be16(nfct.CTA_PROTO_DST_PORT, key.dport)]
    return parts


def _exchange(requests: Sequence[bytes]) -> list[int]:
    """Send all requests at once; return the errno (0: done) of each. All answers are there when the send returns."""
    if not requests:
        return []
    with netfilter_socket(RECEIVE_BUFFER, _RCVBUF) as sock:
        sock.sendto(b"".join(requests), (0, 0))
        found = answers(sock)
    if len(found) != len(requests):
        raise BrokerError(f"the kernel answered {len(found)} of {len(requests)} requests")
    return found


def netfilter_socket(buffer: tuple[int, int], size: int) -> socket.socket:
    """Return a non-blocking socket for changes, whose `buffer` (RECEIVE_BUFFER, SEND_BUFFER) has `size` bytes."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nl.NETLINK_NETFILTER)
    sock.setsockopt(SOL_NETLINK, nl.NETLINK_CAP_ACK, 1)  # an error without the request that caused it
    sock.setblocking(False)
    set_buffer(sock, buffer, size)
    return sock


def answers(sock: socket.socket) -> list[int]:
    """Return the errno (0: done) of each answer that waits on a non-blocking socket. Raises OSError."""
    return [number for datagram in _datagrams(sock) for number in _errors(datagram)]


def _datagrams(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(_DATAGRAM)
        except BlockingIOError:
            return


def _errors(datagram: bytes) -> Iterator[int]:
    """Yield the errno of each NLMSG_ERROR in a datagram, 0 for an acknowledgement; other messages are passed over."""
    for kind, first, _ in nl.messages(datagram):
        if kind == nl.NLMSG_ERROR:
            yield -nl.ERRNO(datagram, first + nl.NLMSG_HDRLEN)[0]
