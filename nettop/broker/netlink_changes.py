"""The changes the broker makes by netlink itself: deleting conntrack entries, setting named counters to zero."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress

from nettop.broker import abi, attributes
from nettop.broker.attributes import AF_INET, AF_INET6, be16, be32, nested, u8
from nettop.broker.reads import (
    CTA_ZONE,
    NFNL_SUBSYS_ACCT,
    NFNL_SUBSYS_CTNETLINK,
    NFNL_SUBSYS_NFTABLES,
    NFT_NAME_MAX,
    message,
    nfgenmsg,
)
from nettop.broker.requests import MAX_FLOWS, CounterName, FlowKey
from nettop.errors import BrokerError
from nettop.kinds import NETLINK_NETFILTER

# linux/netlink.h
NLM_F_ACK = 0x4
NLMSG_ERROR = 2
NETLINK_CAP_ACK = 10
_HEADER = struct.Struct("=IHHIIi")  # nlmsghdr, and what an NLMSG_ERROR begins with: the errno, negative; 0: done
_FLAGS = abi.NLM_F_REQUEST | NLM_F_ACK

# linux/netfilter/nfnetlink_conntrack.h
IPCTNL_MSG_CT_DELETE = 2
CTA_TUPLE_ORIG, CTA_ID = 1, 12
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_SRC_DST = {AF_INET: (1, 2), AF_INET6: (3, 4)}
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
CTA_PROTO_ICMP = {1: (4, 5, 6), 58: (7, 8, 9)}  # by protocol: the attributes of id, type, code
_WITH_PORTS = frozenset({6, 17, 33, 47, 132, 136})  # TCP UDP DCCP GRE (its call ids) SCTP UDPLITE: linux/in.h

# linux/netfilter/nf_tables.h
NFT_MSG_GETOBJ_RESET = 21
NFTA_OBJ_TABLE, NFTA_OBJ_NAME, NFTA_OBJ_TYPE = 1, 2, 3
NFT_OBJECT = {"nft-counter": 1, "nft-quota": 2}

# linux/netfilter/nfnetlink_acct.h
NFNL_MSG_ACCT_GET_CTRZERO = 2
NFACCT_NAME = 1
NFACCT_NAME_LONGEST = 31  # bytes: NFACCT_NAME_MAX with its NUL

_RCVBUF = 1 << 20  # bytes: room for an answer to each of MAX_FLOWS requests
_DATAGRAM = 64 << 10


def delete_flows(keys: Sequence[FlowKey]) -> tuple[int, int]:
    """Delete entries of the current namespace; returns (deleted, gone already). Raises BrokerError, OSError.

    Every request is checked before the first is sent, and one that the kernel refuses does not keep back the others.
    """
    if len(keys) > MAX_FLOWS:
        raise BrokerError(f"not on the list: more than {MAX_FLOWS} flows at once")
    requests = [deletion(key, sequence) for sequence, key in enumerate(keys, 1)]
    answers = _exchange(requests)
    refused = sorted(set(answers) - {0, errno.ENOENT})
    if refused:
        count = len(answers) - answers.count(0) - answers.count(errno.ENOENT)
        raise OSError(refused[0], os.strerror(refused[0]), f"{count} of {len(keys)} flows were not deleted")
    return answers.count(0), answers.count(errno.ENOENT)


def deletion(key: FlowKey, sequence: int) -> bytes:
    """Return the IPCTNL_MSG_CT_DELETE of one entry. It always has a tuple: without one, the kernel would delete all."""
    if key.family not in CTA_IP_SRC_DST:
        raise BrokerError(f"not on the list: a flow of family {key.family}")
    src, dst = CTA_IP_SRC_DST[key.family]
    addresses = nested(
        CTA_TUPLE_IP,
        attributes.attribute(src, attributes.address(key.family, key.src)),
        attributes.attribute(dst, attributes.address(key.family, key.dst)),
    )
    parts = [nested(CTA_TUPLE_ORIG, addresses, nested(CTA_TUPLE_PROTO, *_protocol(key))), be16(CTA_ZONE, key.zone)]
    if key.id is not None:
        parts.append(be32(CTA_ID, key.id))
    kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE
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
        body = nfgenmsg(0) + attributes.name(NFACCT_NAME, name.name, NFACCT_NAME_LONGEST)
        return message(NFNL_SUBSYS_ACCT << 8 | NFNL_MSG_ACCT_GET_CTRZERO, _FLAGS, 1, body)
    if name.group not in NFT_OBJECT:
        raise BrokerError(f"not on the list: setting a {name.group[:80]!r} to zero")
    table = attributes.name(NFTA_OBJ_TABLE, name.table, NFT_NAME_MAX)
    named = attributes.name(NFTA_OBJ_NAME, name.name, NFT_NAME_MAX)
    body = nfgenmsg(name.family) + table + named + be32(NFTA_OBJ_TYPE, NFT_OBJECT[name.group])
    return message(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETOBJ_RESET, _FLAGS, 1, body)


def _protocol(key: FlowKey) -> list[bytes]:
    """Return the attributes inside CTA_TUPLE_PROTO: of a protocol the kernel has no tracker for, its number only."""
    parts = [u8(CTA_PROTO_NUM, key.proto)]
    if key.proto in CTA_PROTO_ICMP:
        ident, kind, code = CTA_PROTO_ICMP[key.proto]
        parts += [be16(ident, key.sport), u8(kind, key.dport >> 8), u8(code, key.dport & 0xFF)]
    elif key.proto in _WITH_PORTS:
        parts += [be16(CTA_PROTO_SRC_PORT, key.sport), be16(CTA_PROTO_DST_PORT, key.dport)]
    return parts


def _exchange(requests: Sequence[bytes]) -> list[int]:
    """Send all requests at once; return the errno (0: done) of each. All answers are there when the send returns."""
    if not requests:
        return []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        for option in (abi.SO_RCVBUFFORCE, socket.SO_RCVBUF):  # the first is refused in a user namespace
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, option, _RCVBUF)
                break
        sock.setsockopt(abi.SOL_NETLINK, NETLINK_CAP_ACK, 1)  # an error without the request that caused it
        sock.setblocking(False)
        sock.sendto(b"".join(requests), (0, 0))
        answers = [number for datagram in _datagrams(sock) for number in _errors(datagram)]
    if len(answers) != len(requests):
        raise BrokerError(f"the kernel answered {len(answers)} of {len(requests)} requests")
    return answers


def _datagrams(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(_DATAGRAM)
        except BlockingIOError:
            return


def _errors(datagram: bytes) -> Iterator[int]:
    """Yield the errno of each NLMSG_ERROR in a datagram, 0 for an acknowledgement; other messages are passed over."""
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, _flags, _sequence, _port, number = _HEADER.unpack_from(datagram, at)
        if kind == NLMSG_ERROR:
            yield -number
        at += max(length, 16) + 3 & ~3
