"""The bytes of every netlink read the broker sends: nlmsghdr and the header below it (linux/netlink.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nettop.broker import attributes
from nettop.broker.abi import NLM_F_DUMP, NLM_F_REQUEST
from nettop.broker.requests import Narrowing, ReadRequest, SendRead, SetName
from nettop.errors import BrokerError
from nettop.kinds import NETLINK_NETFILTER, NETLINK_ROUTE

_NLMSGHDR = struct.Struct("=IHHII")  # length type flags seq pid
_NFGENMSG = struct.Struct("=BBH")  # family version res_id, linux/netfilter/nfnetlink.h

# linux/netfilter/nfnetlink.h
NFNL_SUBSYS_CTNETLINK = 1
NFNL_SUBSYS_CTNETLINK_EXP = 2
NFNL_SUBSYS_ACCT = 7
NFNL_SUBSYS_NFTABLES = 10

# linux/netfilter/nfnetlink_conntrack.h enum ctattr_type
CTA_STATUS, CTA_MARK, CTA_ZONE, CTA_MARK_MASK, CTA_STATUS_MASK = 3, 8, 18, 21, 26

# linux/netfilter/nf_tables.h
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET = 1, 2
NFT_NAME_MAX = 255  # bytes: NFT_NAME_MAXLEN with its NUL


@dataclass(frozen=True, slots=True)
class _Read:
    """A message type of a protocol, whether it is a dump, and the length of the zeros after its header."""

    protocol: int
    kind: int
    dump: bool
    body: int = _NFGENMSG.size


def _netfilter(subsystem: int, message: int, dump: bool = True) -> _Read:
    return _Read(NETLINK_NETFILTER, subsystem << 8 | message, dump)


# The messages: nfnetlink_conntrack.h, nfnetlink_acct.h, nf_tables.h, rtnetlink.h (there: body is struct ifinfomsg,
# ifaddrmsg, rtmsg; all zero asks for everything).
_READS: dict[ReadRequest, _Read] = {
    ReadRequest.CONNTRACK_DUMP: _netfilter(NFNL_SUBSYS_CTNETLINK, 1),  # IPCTNL_MSG_CT_GET
    ReadRequest.CONNTRACK_STATS_CPU: _netfilter(NFNL_SUBSYS_CTNETLINK, 4),  # IPCTNL_MSG_CT_GET_STATS_CPU
    ReadRequest.CONNTRACK_STATS: _netfilter(NFNL_SUBSYS_CTNETLINK, 5, dump=False),  # IPCTNL_MSG_CT_GET_STATS
    ReadRequest.EXPECT_DUMP: _netfilter(NFNL_SUBSYS_CTNETLINK_EXP, 1),  # IPCTNL_MSG_EXP_GET
    ReadRequest.EXPECT_STATS_CPU: _netfilter(NFNL_SUBSYS_CTNETLINK_EXP, 3),  # IPCTNL_MSG_EXP_GET_STATS_CPU
    ReadRequest.NFT_TABLES: _netfilter(NFNL_SUBSYS_NFTABLES, 1),  # NFT_MSG_GETTABLE
    ReadRequest.NFT_CHAINS: _netfilter(NFNL_SUBSYS_NFTABLES, 4),  # NFT_MSG_GETCHAIN
    ReadRequest.NFT_RULES: _netfilter(NFNL_SUBSYS_NFTABLES, 7),  # NFT_MSG_GETRULE
    ReadRequest.NFT_SETS: _netfilter(NFNL_SUBSYS_NFTABLES, 10),  # NFT_MSG_GETSET
    ReadRequest.NFT_SET_ELEMENTS: _netfilter(NFNL_SUBSYS_NFTABLES, 13),  # NFT_MSG_GETSETELEM
    ReadRequest.NFT_GEN: _netfilter(NFNL_SUBSYS_NFTABLES, 16, dump=False),  # NFT_MSG_GETGEN
    ReadRequest.NFT_OBJECTS: _netfilter(NFNL_SUBSYS_NFTABLES, 19),  # NFT_MSG_GETOBJ
    ReadRequest.NFT_FLOWTABLES: _netfilter(NFNL_SUBSYS_NFTABLES, 23),  # NFT_MSG_GETFLOWTABLE
    ReadRequest.NFACCT: _netfilter(NFNL_SUBSYS_ACCT, 1),  # NFNL_MSG_ACCT_GET
    ReadRequest.RTNL_LINKS: _Read(NETLINK_ROUTE, 18, True, 16),  # RTM_GETLINK
    ReadRequest.RTNL_ADDRESSES: _Read(NETLINK_ROUTE, 22, True, 8),  # RTM_GETADDR
    ReadRequest.RTNL_ROUTES: _Read(NETLINK_ROUTE, 26, True, 12),  # RTM_GETROUTE
}


def read_bytes(request: SendRead, protocol: int, sequence: int) -> bytes:
    """Return the request in host byte order, port id 0, for a socket of that protocol; raises BrokerError.

    Without `narrow` and `of_set`: all families.
    """
    read = _READS[request.what]
    if read.protocol != protocol:
        raise BrokerError(f"not on the list: {request.what.value} on a socket of netlink protocol {protocol}")
    if request.narrow is not None and request.what is not ReadRequest.CONNTRACK_DUMP:
        raise BrokerError(f"not on the list: {request.what.value} narrowed")
    if (request.of_set is None) == (request.what is ReadRequest.NFT_SET_ELEMENTS):
        raise BrokerError(f"not on the list: {request.what.value} with of_set={request.of_set}")
    flags = NLM_F_REQUEST | (NLM_F_DUMP if read.dump else 0)
    return message(read.kind, flags, sequence, _body(request, read))


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return a netlink message of ours, for the kernel."""
    return _NLMSGHDR.pack(_NLMSGHDR.size + len(body), kind, flags, sequence, 0) + body


def nfgenmsg(family: int) -> bytes:
    """Return the header below nlmsghdr in every nfnetlink message (version NFNETLINK_V0); raises BrokerError."""
    if not 0 <= family <= 0xFF:
        raise BrokerError(f"not on the list: family {family}")
    return _NFGENMSG.pack(family, 0, 0)


def _body(request: SendRead, read: _Read) -> bytes:
    if request.narrow is not None:
        return nfgenmsg(request.narrow.family) + _narrowing(request.narrow)
    if request.of_set is not None:
        return nfgenmsg(request.of_set.family) + _set_name(request.of_set)
    return bytes(read.body)


def _narrowing(narrow: Narrowing) -> bytes:
    """Return the attributes ctnetlink_alloc_filter takes (net/netfilter/nf_conntrack_netlink.c)."""
    parts = []
    if narrow.zone is not None:
        parts.append(attributes.be16(CTA_ZONE, narrow.zone))
    if narrow.mark is not None:
        parts += [attributes.be32(CTA_MARK, narrow.mark), attributes.be32(CTA_MARK_MASK, narrow.mark_mask)]
    if narrow.status is not None:
        mask = narrow.status if narrow.status_mask is None else narrow.status_mask
        parts += [attributes.be32(CTA_STATUS, narrow.status), attributes.be32(CTA_STATUS_MASK, mask)]
    return b"".join(parts)


def _set_name(of: SetName) -> bytes:
    table = attributes.name(NFTA_SET_ELEM_LIST_TABLE, of.table, NFT_NAME_MAX)
    return table + attributes.name(NFTA_SET_ELEM_LIST_SET, of.name, NFT_NAME_MAX)
