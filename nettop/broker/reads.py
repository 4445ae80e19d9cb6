"""The bytes of every netlink read the broker sends: nlmsghdr and the header below it (linux/netlink.h); its answers."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct

from nettop.broker import attributes
from nettop.broker.requests import DumpFilter, ReadRequest, RouteQuestion, RuleName, SendRead, SetName, TableName
from nettop.errors import BrokerError
from nettop.linux import conntrack as nfct
from nettop.linux import ipset, nfnetlink
from nettop.linux import netlink as nl
from nettop.linux import nf_tables as nft
from nettop.linux import rtnetlink as rtnl
from nettop.linux.socket import AF_BRIDGE, AF_INET

_MAX_RULES = 256  # in one request: more than a screen has lines
LONGEST_NAME = nft.NFT_NAME_MAXLEN - 1  # bytes
REQUEST, DUMP = nl.NLM_F_REQUEST, nl.NLM_F_REQUEST | nl.NLM_F_DUMP  # flags of a message
_LONGEST = 1 << 18  # bytes: the datagrams of a dump are smaller


@dataclass(frozen=True, slots=True)
class _Read:
    """A message type of a protocol, whether it is a dump, and what follows its header."""

    protocol: int
    kind: int
    dump: bool
    body: bytes = bytes(nfnetlink.NFGENMSG.size)


def _netfilter(subsystem: int, message: int, dump: bool = True) -> _Read:
    return _Read(nl.NETLINK_NETFILTER, subsystem << 8 | message, dump)


def _route(kind: int, header: Struct, *values: int, mask: int = 0) -> _Read:
    """Return an rtnetlink dump. A header of zeros: everything; `mask` is RTEXT_FILTER_*."""
    body = header.pack(*values) if values else bytes(header.size)
    extent = attributes.attribute(rtnl.IFLA_EXT_MASK, mask.to_bytes(4, sys.byteorder)) if mask else b""
    return _Read(nl.NETLINK_ROUTE, kind, True, body + extent)


_DETAILS = rtnl.RTEXT_FILTER_VF | rtnl.RTEXT_FILTER_SKIP_STATS
_COUNTS = 0, 0, 1 << rtnl.IFLA_STATS_LINK_64 - 1  # linux/if_link.h IFLA_STATS_FILTER_BIT
_BRIDGES = AF_BRIDGE, 0, 0, 0, 0  # as struct ndmsg and as struct ifinfomsg
_READS: dict[ReadRequest, _Read] = {
    ReadRequest.CONNTRACK_DUMP: _netfilter(nfnetlink.NFNL_SUBSYS_CTNETLINK, nfct.IPCTNL_MSG_CT_GET),
    ReadRequest.CONNTRACK_STATS_CPU: _netfilter(nfnetlink.NFNL_SUBSYS_CTNETLINK, nfct.IPCTNL_MSG_CT_GET_STATS_CPU),
    ReadRequest.CONNTRACK_STATS: _netfilter(nfnetlink.NFNL_SUBSYS_CTNETLINK, nfct.IPCTNL_MSG_CT_GET_STATS, dump=False),
    ReadRequest.EXPECT_DUMP: _netfilter(nfnetlink.NFNL_SUBSYS_CTNETLINK_EXP, nfct.IPCTNL_MSG_EXP_GET),
    ReadRequest.EXPECT_STATS_CPU: _netfilter(nfnetlink.NFNL_SUBSYS_CTNETLINK_EXP, nfct.IPCTNL_MSG_EXP_GET_STATS_CPU),
    ReadRequest.NFT_TABLES: _netfilter(nfnetlink.NFNL_SUBSYS_NFTABLES, nft.NFT_MSG_GETTABLE),
    ReadRequest.NFT_CHAINS: _netfilter(nfnetlink.NFNL_SUBSYS_NFTABLES, nft.NFT_MSG_GETCHAIN),
    ReadRequest.NFT_RULES: _netfilter(nfnetlink.NFNL_SUBSYS_NFTABLES, nft.NFT_MSG_GETRULE),
    ReadRequest.NFT_RULE: _netfilter(nfnetlink.NFNL_SUBSYS_NFTABLES, nft.NFT_MSG_GETRULE, dump=False),
    ReadRequest.NFT_SETS: _netfilter(nfnetlink.NFNL_SUBSYS_NFTABLES, nft.NFT_MSG_GETSET),
    ReadRequest.NFT_SET_ELEMENTS: _netfilter(nfnetlink.NFNL_SUBSYS_NFTABLES, nft.NFT_MSG_GETSETELEM),
    ReadRequest.NFT_OBJECTS: _netfilter(nfnetlink.NFNL_SUBSYS_NFTABLES, nft.NFT_MSG_GETOBJ),
    ReadRequest.IPSETS: _netfilter(nfnetlink.NFNL_SUBSYS_IPSET, ipset.IPSET_CMD_LIST),
    ReadRequest.IPSET_ELEMENTS: _netfilter(nfnetlink.NFNL_SUBSYS_IPSET, ipset.IPSET_CMD_LIST),
    ReadRequest.NFACCT: _netfilter(nfnetlink.NFNL_SUBSYS_ACCT, nfnetlink.NFNL_MSG_ACCT_GET),
    ReadRequest.RTNL_LINKS: _route(rtnl.RTM_GETLINK, rtnl.IFINFOMSG),
    ReadRequest.RTNL_ADDRESSES: _route(rtnl.RTM_GETADDR, rtnl.IFADDRMSG),
    ReadRequest.RTNL_ROUTES: _route(rtnl.RTM_GETROUTE, rtnl.RTMSG),
    ReadRequest.RTNL_DETAILS: _route(rtnl.RTM_GETLINK, rtnl.IFINFOMSG, mask=_DETAILS),
    ReadRequest.RTNL_COUNTS: _route(rtnl.RTM_GETSTATS, rtnl.IF_STATS_MSG, *_COUNTS),
    ReadRequest.RTNL_RULES: _route(rtnl.RTM_GETRULE, rtnl.FIB_RULE_HDR),
    ReadRequest.RTNL_NEXTHOPS: _route(rtnl.RTM_GETNEXTHOP, rtnl.NHMSG),
    ReadRequest.RTNL_NEIGHBOURS: _route(rtnl.RTM_GETNEIGH, rtnl.NDMSG),
    ReadRequest.RTNL_FDB: _route(rtnl.RTM_GETNEIGH, rtnl.NDMSG, *_BRIDGES),
    ReadRequest.RTNL_VLANS: _route(
        rtnl.RTM_GETLINK, rtnl.IFINFOMSG, *_BRIDGES, mask=rtnl.RTEXT_FILTER_BRVLAN_COMPRESSED
    ),
    ReadRequest.RTNL_GROUPS: _route(rtnl.RTM_GETMDB, rtnl.BR_PORT_MSG, AF_BRIDGE, 0),
    ReadRequest.RTNL_QDISCS: _route(rtnl.RTM_GETQDISC, rtnl.TCMSG),
    ReadRequest.RTNL_ROUTE: _Read(nl.NETLINK_ROUTE, rtnl.RTM_GETROUTE, False),
}

_OF_SET = frozenset((ReadRequest.NFT_SET_ELEMENTS, ReadRequest.IPSET_ELEMENTS))


def read_bytes(request: SendRead, protocol: int, sequence: int) -> bytes:
    """Return the request in host byte order, port id 0, for a socket of that protocol; raises BrokerError.

    Without a scope: all families.
    """
    read = _READS[request.what]
    if read.protocol != protocol:
        raise BrokerError(f"not on the list: {request.what.value} on a socket of netlink protocol {protocol}")
    if request.dump_filter is not None and request.what is not ReadRequest.CONNTRACK_DUMP:
        raise BrokerError(f"not on the list: {request.what.value} narrowed")
    if request.of_table is not None and request.what is not ReadRequest.NFT_RULES:
        raise BrokerError(f"not on the list: {request.what.value} in part")
    if bool(request.of) is not (request.what is ReadRequest.NFT_RULE) or len(request.of) > _MAX_RULES:
        raise BrokerError(f"not on the list: {request.what.value} of {len(request.of)} rules")
    if (request.of_set is None) == (request.what in _OF_SET):
        raise BrokerError(f"not on the list: {request.what.value} with of_set={request.of_set}")
    if (request.of_route is None) == (request.what is ReadRequest.RTNL_ROUTE):
        raise BrokerError(f"not on the list: {request.what.value} with of_route={request.of_route}")
    if request.of:
        return _rules(request.of, read, sequence)
    return message(read.kind, DUMP if read.dump else REQUEST, sequence, _body(request, read))


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return a netlink message of ours, for the kernel."""
    return nl.NLMSGHDR.pack(nl.NLMSGHDR.size + len(body), kind, flags, sequence, 0) + body


def answers(sock: socket.socket, request: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Send a request, and yield each message of its answer: type, datagram, first byte and one past the last.

    They end with NLMSG_DONE, which is not yielded, with NLMSG_ERROR, or if it is no dump with the datagram. Raises
    OSError, MalformedError.
    """
    _, _, flags, sequence, _ = nl.NLMSGHDR.unpack_from(request)
    sock.sendto(request, (0, 0))
    while True:
        datagram = sock.recv(_LONGEST)
        for kind, first, last in nl.messages(datagram):
            if nl.NLMSGHDR.unpack_from(datagram, first)[3] != sequence:
                continue  # of an earlier request
            if kind == nl.NLMSG_DONE:
                return
            yield kind, datagram, first, last
            if kind == nl.NLMSG_ERROR:
                return
        if not flags & nl.NLM_F_DUMP:
            return


def nfgenmsg(family: int) -> bytes:
    """Return the header below nlmsghdr in every nfnetlink message (version NFNETLINK_V0); raises BrokerError."""
    if not 0 <= family <= 0xFF:
        raise BrokerError(f"not on the list: family {family}")
    return nfnetlink.NFGENMSG.pack(family, 0, 0)


def _body(request: SendRead, read: _Read) -> bytes:
    if request.dump_filter is not None:
        return nfgenmsg(request.dump_filter.family) + _dump_filter(request.dump_filter)
    if request.what in (ReadRequest.IPSETS, ReadRequest.IPSET_ELEMENTS):
        return nfgenmsg(0) + _ipset(request.of_set)
    if request.of_route is not None:
        return _question(request.of_route)
    if request.of_set is not None:
        return nfgenmsg(request.of_set.family) + _set_name(request.of_set)
    if request.of_table is not None:
        return nfgenmsg(request.of_table.family) + _rules_of(request.of_table)
    return read.body


def _rules(names: Sequence[RuleName], read: _Read, sequence: int) -> bytes:
    """Return one request for each rule, which the kernel answers in turn; only the last one has the sequence number."""
    bodies = [nfgenmsg(of.family) + _rule_name(of) for of in names]
    numbers = [*[0] * (len(bodies) - 1), sequence]
    return b"".join(message(read.kind, REQUEST, *of) for of in zip(numbers, bodies, strict=True))


def _rule_name(of: RuleName) -> bytes:
    """Return the attributes that nf_tables_getrule reads (net/netfilter/nf_tables_api.c)."""
    table = attributes.name(nft.NFTA_RULE_TABLE, of.table, LONGEST_NAME)
    chain = attributes.name(nft.NFTA_RULE_CHAIN, of.chain, LONGEST_NAME)
    return table + chain + attributes.be64(nft.NFTA_RULE_HANDLE, of.handle)


def _dump_filter(dump_filter: DumpFilter) -> bytes:
    """Return the attributes that ctnetlink_alloc_filter reads (net/netfilter/nf_conntrack_netlink.c)."""
    parts = []
    if dump_filter.zone is not None:
        parts.append(attributes.be16(nfct.CTA_ZONE, dump_filter.zone))
    if dump_filter.mark is not None:
        parts += [
            attributes.be32(nfct.CTA_MARK, dump_filter.mark),
            attributes.be32(nfct.CTA_MARK_MASK, dump_filter.mark_mask),
        ]
    if dump_filter.status is not None:
        mask = dump_filter.status if dump_filter.status_mask is None else dump_filter.status_mask
        parts += [attributes.be32(nfct.CTA_STATUS, dump_filter.status), attributes.be32(nfct.CTA_STATUS_MASK, mask)]
    return b"".join(parts)


def _set_name(of: SetName) -> bytes:
    table = attributes.name(nft.NFTA_SET_ELEM_LIST_TABLE, of.table, LONGEST_NAME)
    return table + attributes.name(nft.NFTA_SET_ELEM_LIST_SET, of.name, LONGEST_NAME)


def _rules_of(of: TableName) -> bytes:
    """Return the attributes that nf_tables_dump_rules_start reads (net/netfilter/nf_tables_api.c)."""
    return attributes.name(nft.NFTA_RULE_TABLE, of.table, LONGEST_NAME)


def _ipset(of: SetName | None) -> bytes:
    """Return the attributes that ip_set_dump reads: one set, or the headers of all (net/netfilter/ipset)."""
    version = attributes.u8(ipset.IPSET_ATTR_PROTOCOL, ipset.IPSET_PROTOCOL)
    if of is None:
        return version + attributes.be32(ipset.IPSET_ATTR_FLAGS | nl.NLA_F_NET_BYTEORDER, ipset.IPSET_FLAG_LIST_HEADER)
    return version + attributes.name(ipset.IPSET_ATTR_SETNAME, of.name, ipset.IPSET_MAXNAMELEN - 1)


def _question(of: RouteQuestion) -> bytes:
    """Return the header and the attributes that inet_rtm_getroute reads (net/ipv4/route.c, net/ipv6/route.c)."""
    if not 0 <= of.tos <= 0xFF:
        raise BrokerError(f"not on the list: tos {of.tos}")
    parts = [attributes.attribute(rtnl.RTA_DST, attributes.address(of.family, of.destination))]
    if of.source:
        parts.append(attributes.attribute(rtnl.RTA_SRC, attributes.address(of.family, of.source)))
    numbers = ((rtnl.RTA_IIF, of.iif), (rtnl.RTA_OIF, of.oif), (rtnl.RTA_MARK, of.mark))
    parts += [attributes.host32(kind, value) for kind, value in numbers if value]
    if of.uid is not None:
        parts.append(attributes.host32(rtnl.RTA_UID, of.uid))
    if of.proto:
        parts.append(attributes.u8(rtnl.RTA_IP_PROTO, of.proto))
    ports = ((rtnl.RTA_SPORT, of.sport), (rtnl.RTA_DPORT, of.dport))
    parts += [attributes.be16(kind, value) for kind, value in ports if value]
    bits = 32 if of.family == AF_INET else 128
    flags = rtnl.RTM_F_LOOKUP_TABLE | (rtnl.RTM_F_FIB_MATCH if of.fib_match else 0)
    header = rtnl.RTMSG.pack(of.family, bits, bits if of.source else 0, of.tos, 0, 0, 0, 0, flags)
    return header + b"".join(parts)
