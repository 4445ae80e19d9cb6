"""The bytes of every netlink read the broker sends: nlmsghdr and nfgenmsg (linux/netlink.h, nfnetlink.h)."""

from __future__ import annotations

import struct

from nettop.broker.abi import NLM_F_DUMP, NLM_F_REQUEST
from nettop.broker.requests import ReadRequest

_HEADERS = struct.Struct("=IHHIIBBH")  # nlmsghdr: length type flags seq pid; nfgenmsg: family version res_id
AF_UNSPEC = 0

# linux/netfilter/nfnetlink.h
NFNL_SUBSYS_CTNETLINK = 1
NFNL_SUBSYS_CTNETLINK_EXP = 2
NFNL_SUBSYS_ACCT = 7
NFNL_SUBSYS_NFTABLES = 10

# subsystem, message (nfnetlink_conntrack.h, nfnetlink_acct.h, nf_tables.h), whether it is a dump
_READS: dict[ReadRequest, tuple[int, int, bool]] = {
    ReadRequest.CONNTRACK_DUMP: (NFNL_SUBSYS_CTNETLINK, 1, True),  # IPCTNL_MSG_CT_GET
    ReadRequest.CONNTRACK_STATS_CPU: (NFNL_SUBSYS_CTNETLINK, 4, True),  # IPCTNL_MSG_CT_GET_STATS_CPU
    ReadRequest.CONNTRACK_STATS: (NFNL_SUBSYS_CTNETLINK, 5, False),  # IPCTNL_MSG_CT_GET_STATS
    ReadRequest.EXPECT_DUMP: (NFNL_SUBSYS_CTNETLINK_EXP, 1, True),  # IPCTNL_MSG_EXP_GET
    ReadRequest.EXPECT_STATS_CPU: (NFNL_SUBSYS_CTNETLINK_EXP, 3, True),  # IPCTNL_MSG_EXP_GET_STATS_CPU
    ReadRequest.NFT_TABLES: (NFNL_SUBSYS_NFTABLES, 1, True),  # NFT_MSG_GETTABLE
    ReadRequest.NFT_CHAINS: (NFNL_SUBSYS_NFTABLES, 4, True),  # NFT_MSG_GETCHAIN
    ReadRequest.NFT_RULES: (NFNL_SUBSYS_NFTABLES, 7, True),  # NFT_MSG_GETRULE
    ReadRequest.NFT_SETS: (NFNL_SUBSYS_NFTABLES, 10, True),  # NFT_MSG_GETSET
    ReadRequest.NFT_GEN: (NFNL_SUBSYS_NFTABLES, 16, False),  # NFT_MSG_GETGEN
    ReadRequest.NFT_OBJECTS: (NFNL_SUBSYS_NFTABLES, 19, True),  # NFT_MSG_GETOBJ
    ReadRequest.NFT_FLOWTABLES: (NFNL_SUBSYS_NFTABLES, 23, True),  # NFT_MSG_GETFLOWTABLE
    ReadRequest.NFACCT: (NFNL_SUBSYS_ACCT, 1, True),  # NFNL_MSG_ACCT_GET
}


def read_bytes(what: ReadRequest, sequence: int) -> bytes:
    """The request for `what` in host byte order: 20 bytes, all families, port id 0."""
    subsystem, message, dump = _READS[what]
    flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else 0)
    return _HEADERS.pack(_HEADERS.size, subsystem << 8 | message, flags, sequence, 0, AF_UNSPEC, 0, 0)
