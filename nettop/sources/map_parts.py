"""The parts of a namespace in the map: the read of each, and those that an event concerns."""

from __future__ import annotations

from contextlib import suppress

from nettop.broker.requests import ReadRequest
from nettop.linux import rtnetlink as rtnl
from nettop.linux.netlink import NLMSG_HDRLEN, MalformedError, messages
from nettop.linux.socket import AF_BRIDGE

COUNTS, QUEUES = "map-counts", "map-queues"
NAMESPACES, SYSCTLS = "namespaces", "map-sysctls"  # texts
READS: dict[str, ReadRequest] = {  # DumpMark.what → the read
    "map-links": ReadRequest.RTNL_DETAILS,
    "map-addresses": ReadRequest.RTNL_ADDRESSES,
    "map-routes": ReadRequest.RTNL_ROUTES,
    "map-rules": ReadRequest.RTNL_RULES,
    "map-nexthops": ReadRequest.RTNL_NEXTHOPS,
    "map-neighbours": ReadRequest.RTNL_NEIGHBOURS,
    "map-fdb": ReadRequest.RTNL_FDB,
    "map-vlans": ReadRequest.RTNL_VLANS,
    "map-groups": ReadRequest.RTNL_GROUPS,
    QUEUES: ReadRequest.RTNL_QDISCS,
    COUNTS: ReadRequest.RTNL_COUNTS,
}
ALL = frozenset(READS)  # but the texts
GROUPS = (
    rtnl.RTNLGRP_LINK,
    rtnl.RTNLGRP_NEIGH,
    rtnl.RTNLGRP_TC,
    rtnl.RTNLGRP_NSID,
    rtnl.RTNLGRP_MDB,
    rtnl.RTNLGRP_NEXTHOP,
    *rtnl.RTNLGRP_IFADDR,
    *rtnl.RTNLGRP_ROUTE,
    *rtnl.RTNLGRP_RULE,
    *rtnl.RTNLGRP_NETCONF,
)
_OF_QUEUES = (
    *(rtnl.RTM_NEWQDISC, rtnl.RTM_DELQDISC, rtnl.RTM_NEWTCLASS, rtnl.RTM_DELTCLASS),
    *(rtnl.RTM_NEWTFILTER, rtnl.RTM_DELTFILTER),
)
_CONCERNS: dict[int, frozenset[str]] = {
    # The kernel reports no route that goes with its device.
    **dict.fromkeys((rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK), ALL - {COUNTS}),
    **dict.fromkeys((rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR), frozenset({"map-addresses", "map-routes"})),
    **dict.fromkeys((rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE), frozenset({"map-routes"})),
    **dict.fromkeys((rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH), frozenset({"map-neighbours"})),
    **dict.fromkeys((rtnl.RTM_NEWRULE, rtnl.RTM_DELRULE), frozenset({"map-rules"})),
    **dict.fromkeys((rtnl.RTM_NEWNEXTHOP, rtnl.RTM_DELNEXTHOP), frozenset({"map-nexthops", "map-routes"})),
    **dict.fromkeys(_OF_QUEUES, frozenset({QUEUES})),
    **dict.fromkeys((rtnl.RTM_NEWNSID, rtnl.RTM_DELNSID), frozenset({NAMESPACES})),
    **dict.fromkeys((rtnl.RTM_NEWNETCONF, rtnl.RTM_DELNETCONF), frozenset({SYSCTLS})),
}
_OF_BRIDGES = {  # of messages of AF_BRIDGE
    rtnl.RTM_NEWLINK: frozenset({"map-links", "map-vlans"}),  # a port's state or VLANs have changed
    **dict.fromkeys((rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH), frozenset({"map-fdb"})),
    **dict.fromkeys((rtnl.RTM_NEWMDB, rtnl.RTM_DELMDB), frozenset({"map-groups"})),
}


def concerned(datagram: bytes) -> set[str]:
    """Return the parts and texts that the messages of a datagram concern."""
    found: set[str] = set()
    with suppress(MalformedError):
        for kind, first, last in messages(datagram):
            is_of_bridge = last - first > NLMSG_HDRLEN and datagram[first + NLMSG_HDRLEN] == AF_BRIDGE
            found |= (_OF_BRIDGES if is_of_bridge and kind in _OF_BRIDGES else _CONCERNS).get(kind, frozenset())
    return found
