"""The netlink requests, against pyroute2's constants and headers."""

from __future__ import annotations

import struct

import pytest
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, rtnl
from pyroute2.netlink.nfnetlink import (
    NFNL_SUBSYS_CTNETLINK,
    NFNL_SUBSYS_IPSET,
    NFNL_SUBSYS_NFTABLES,
    nfctsocket,
    nftsocket,
)
from pyroute2.netlink.nfnetlink.ipset import IPSET_CMD_LIST

from nettop.broker.reads import read_bytes
from nettop.broker.requests import ReadRequest, SendRead, SetName
from nettop.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE

_DUMP = NLM_F_REQUEST | NLM_F_DUMP


def conntrack(message: str) -> int:
    return NFNL_SUBSYS_CTNETLINK << 8 | int(getattr(nfctsocket, f"IPCTNL_MSG_CT_{message}"))


def nft(message: str) -> int:
    return NFNL_SUBSYS_NFTABLES << 8 | int(getattr(nftsocket, f"NFT_MSG_{message}"))


IPSET_LIST = NFNL_SUBSYS_IPSET << 8 | int(IPSET_CMD_LIST)


def request(what: ReadRequest, sequence: int) -> bytes:
    of_one = what in (ReadRequest.NFT_SET_ELEMENTS, ReadRequest.IPSET_ELEMENTS)
    of_set = SetName(2, "t", "s") if of_one else None
    protocol = NETLINK_ROUTE if what.name.startswith("RTNL") else NETLINK_NETFILTER
    return read_bytes(SendRead(1, what, None, of_set), protocol, sequence)


@pytest.mark.parametrize(
    ("what", "kind", "flags"),
    [
        (ReadRequest.CONNTRACK_DUMP, conntrack("GET"), _DUMP),
        (ReadRequest.CONNTRACK_STATS_CPU, conntrack("GET_STATS_CPU"), _DUMP),
        (ReadRequest.CONNTRACK_STATS, conntrack("GET_STATS"), NLM_F_REQUEST),
        (ReadRequest.NFT_TABLES, nft("GETTABLE"), _DUMP),
        (ReadRequest.NFT_CHAINS, nft("GETCHAIN"), _DUMP),
        (ReadRequest.NFT_RULES, nft("GETRULE"), _DUMP),
        (ReadRequest.NFT_SETS, nft("GETSET"), _DUMP),
        (ReadRequest.NFT_OBJECTS, nft("GETOBJ"), _DUMP),
    ],
)
def test_a_read_is_the_message_the_kernel_headers_name(what: ReadRequest, kind: int, flags: int) -> None:
    length, found_kind, found_flags, sequence, _, family, _, _ = struct.unpack("=IHHIIBBH", request(what, 7))
    assert (length, found_kind, found_flags, sequence, family) == (20, kind, flags, 7, 0)


@pytest.mark.parametrize(
    ("what", "kind", "body"),
    [
        (ReadRequest.RTNL_LINKS, rtnl.RTM_GETLINK, 16),
        (ReadRequest.RTNL_ADDRESSES, rtnl.RTM_GETADDR, 8),
        (ReadRequest.RTNL_ROUTES, rtnl.RTM_GETROUTE, 12),
        (ReadRequest.NFT_SET_ELEMENTS, nft("GETSETELEM"), 4 + 8 + 8),
        (ReadRequest.IPSETS, IPSET_LIST, 4 + 8 + 8),
        (ReadRequest.IPSET_ELEMENTS, IPSET_LIST, 4 + 8 + 8),
    ],
)
def test_other_reads_have_the_body_their_message_needs(what: ReadRequest, kind: int, body: int) -> None:
    asked = request(what, 7)
    assert struct.unpack_from("=IHHI", asked) == (16 + body, kind, _DUMP, 7)
    assert len(asked) == 16 + body


def test_every_read_asks_for_something_else() -> None:
    assert len({request(what, 1) for what in ReadRequest}) == len(ReadRequest)
