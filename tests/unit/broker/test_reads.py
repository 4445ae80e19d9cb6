"""The netlink requests, against pyroute2's constants and headers."""

from __future__ import annotations

import struct
from dataclasses import replace

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
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from nettop.broker.reads import read_bytes
from nettop.broker.requests import ReadRequest, RouteQuestion, RuleName, SendRead, SetName, TableName
from nettop.errors import BrokerError
from nettop.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE
from nettop.linux.nf_tables import NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_TABLE

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
    of_route = RouteQuestion(2, "10.0.0.1") if what is ReadRequest.RTNL_ROUTE else None
    of = (RuleName(1, "t", "c", 5), RuleName(1, "t", "c", 6)) if what is ReadRequest.NFT_RULE else ()
    return read_bytes(SendRead(1, what, None, of_set, of_route, of=of), protocol, sequence)


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


def test_the_rules_of_a_table_are_a_dump_with_its_name() -> None:
    of_table = TableName(1, "fw")
    asked = read_bytes(SendRead(1, ReadRequest.NFT_RULES, None, None, None, of_table), NETLINK_NETFILTER, 7)
    assert struct.unpack_from("=IHHIIBBH", asked) == (28, nft("GETRULE"), _DUMP, 7, 0, 1, 0, 0)
    assert asked[20:] == struct.pack("=HH4s", 7, NFTA_RULE_TABLE, b"fw")


def test_single_rules_are_one_request_each_and_the_last_one_has_the_number() -> None:
    asked = request(ReadRequest.NFT_RULE, 7)
    length = len(asked) // 2
    heads = [struct.unpack_from("=IHHIIBBH", asked, at) for at in (0, length)]
    assert heads == [(length, nft("GETRULE"), NLM_F_REQUEST, number, 0, 1, 0, 0) for number in (0, 7)]
    names = struct.pack("=HH4sHH4s", 6, NFTA_RULE_TABLE, b"t", 6, NFTA_RULE_CHAIN, b"c")
    handles = [struct.pack("=HH", 12, NFTA_RULE_HANDLE) + handle.to_bytes(8, "big") for handle in (5, 6)]
    assert [asked[20:length], asked[length + 20 :]] == [names + handle for handle in handles]


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


def test_a_question_for_a_route_is_the_message_that_pyroute2_makes_of_it() -> None:
    question = RouteQuestion(10, "fd00::1", "fd00::2", 3, 4, 0x7, 8, 6, 1024, 443, 1000, True)
    message = rtmsg(read_bytes(SendRead(1, ReadRequest.RTNL_ROUTE, None, None, question), NETLINK_ROUTE, 7))
    message.decode()
    assert (message["header"]["type"], message["header"]["flags"]) == (rtnl.RTM_GETROUTE, NLM_F_REQUEST)
    assert (message["family"], message["dst_len"], message["src_len"], message["tos"]) == (10, 128, 128, 8)
    assert message["flags"] == 0x1000 | 0x2000  # RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH
    known = dict(pair for pair in message["attrs"] if pair[0] != "UNKNOWN")
    assert known == {"RTA_DST": "fd00::1", "RTA_SRC": "fd00::2", "RTA_IIF": 3, "RTA_OIF": 4, "RTA_MARK": 7}
    # RTA_UID 25, RTA_IP_PROTO 27, RTA_SPORT 28, RTA_DPORT 29 of linux/rtnetlink.h, which it does not know
    more = struct.pack("=HHI", 8, 25, 1000) + struct.pack("=HHB3x", 5, 27, 6)
    assert message.data.endswith(
        more + struct.pack("=HH", 6, 28) + b"\4\0\0\0" + struct.pack("=HH", 6, 29) + b"\1\xbb\0\0"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"family": 1},
        {"destination": "fd00::1"},
        {"destination": ""},
        {"source": "x"},
        {"iif": -1},
        {"mark": 1 << 32},
        {"tos": 256},
        {"proto": 256},
        {"sport": 1 << 16},
        {"uid": -1},
    ],
    ids=str,
)
def test_a_question_for_a_route_that_fits_no_message_is_refused(wrong: dict[str, object]) -> None:
    question = replace(RouteQuestion(2, "10.0.0.1"), **wrong)
    with pytest.raises(BrokerError, match="not on the list"):
        read_bytes(SendRead(1, ReadRequest.RTNL_ROUTE, None, None, question), NETLINK_ROUTE, 7)


def test_every_read_asks_for_something_else() -> None:
    assert len({request(what, 1) for what in ReadRequest}) == len(ReadRequest)
