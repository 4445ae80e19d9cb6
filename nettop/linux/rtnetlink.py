"""Links, addresses and routes: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h."""

import sys
from struct import Struct

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE = 16, 18, 20, 22, 24, 26
RTM_NEWNEIGH, RTM_GETNEIGH, RTM_NEWRULE, RTM_GETRULE = 28, 30, 32, 34
RTM_NEWQDISC, RTM_GETQDISC, RTM_NEWTFILTER, RTM_GETTFILTER = 36, 38, 44, 46
RTM_NEWNSID, RTM_GETNSID, RTM_NEWSTATS, RTM_GETSTATS = 88, 90, 92, 94
RTM_NEWNETCONF, RTM_DELNETCONF, RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 80, 81, 104, 105, 106
RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_TC, RTNLGRP_NSID, RTNLGRP_NEXTHOP, RTNLGRP_MAX = 1, 3, 4, 28, 32, 36
RTM_NEWMDB, RTM_DELMDB, RTM_GETMDB, RTNLGRP_MDB = 84, 85, 86, 26
RTNLGRP_IFADDR = (5, 9)  # RTNLGRP_{IPV4,IPV6}_IFADDR
RTNLGRP_ROUTE = (7, 11)  # RTNLGRP_{IPV4,IPV6}_ROUTE
RTNLGRP_RULE = (8, 19)  # RTNLGRP_{IPV4,IPV6}_RULE
RTNLGRP_NETCONF = (24, 25)  # RTNLGRP_{IPV4,IPV6}_NETCONF
RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE, RTM_DELNEIGH, RTM_DELRULE, RTM_DELNSID = 17, 21, 25, 29, 33, 89
RTM_DELQDISC, RTM_NEWTCLASS, RTM_DELTCLASS, RTM_DELTFILTER = 37, 40, 41, 45
IFINFOMSG = Struct("=BxHiII")  # family, type (ARPHRD_*), index, flags, change
IFADDRMSG = Struct("=BBBBI")  # family, prefixlen, flags, scope, index
RTPROT = {  # of all hosts: /etc/iproute2/rt_protos
    0: "unspec", 1: "redirect", 2: "kernel", 3: "boot", 4: "static", 8: "gated", 9: "ra", 10: "mrt", 11: "zebra",
    12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk", 16: "dhcp", 18: "keepalived", 42: "babel", 186: "bgp",
    187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
}  # fmt: skip
RTMSG = Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
RTNEXTHOP = Struct("=HBBi")  # len, flags, hops (the weight less 1), ifindex
NDMSG = Struct("=B3xiHBB")  # family, ifindex, state, flags, type
TCMSG = Struct("=B3xiIII")  # family, ifindex, handle, parent, info
FIB_RULE_HDR = Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, res1, res2, action, flags
IF_STATS_MSG = Struct("=B3xII")  # family, ifindex, filter_mask
RTGENMSG_LEN = 4  # struct rtgenmsg, padded

RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST, RTN_MULTICAST = 1, 2, 3, 4, 5
RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW = 6, 7, 8, 9
RT_TABLE_DEFAULT, RT_TABLE_MAIN, RT_TABLE_LOCAL = 253, 254, 255
RT_TABLES = {RT_TABLE_DEFAULT: "default", RT_TABLE_MAIN: "main", RT_TABLE_LOCAL: "local"}  # of every host
RTNH_F_DEAD = 1
RTNH_F = {1: "dead", 4: "onlink", 2: "pervasive", 8: "offload", 64: "trap", 16: "linkdown", 32: "unresolved"}
RTM_F_CLONED = 0x200
RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH = 0x1000, 0x2000  # in a question: answer with its table; with the route itself
RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS = 1, 2, 3, 4, 5, 6, 7, 8
RTA_MULTIPATH, RTA_TABLE, RTA_MARK, RTA_VIA, RTA_UID, RTA_IP_PROTO, RTA_SPORT, RTA_DPORT = 9, 15, 16, 18, 25, 27, 28, 29
RTA_FLOW, RTA_PREF, RTA_ENCAP_TYPE, RTA_ENCAP, RTA_NH_ID = 11, 20, 21, 22, 30
RTAX_LOCK, RTAX_MTU, RTAX_CC_ALGO = 1, 2, 16

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_OPERSTATE = 1, 3, 4, 5, 10, 16
IFLA_LINKINFO, IFLA_LINK_NETNSID = 18, 37
IFLA_INFO_KIND = 1
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 3, 4, 8

# linux/net_namespace.h, linux/if_link.h, linux/pkt_sched.h
NETNSA_NSID, NETNSA_FD = 1, 3
IFLA_STATS_LINK_64 = 1
STATS64 = Struct("=8Q")  # the head of struct rtnl_link_stats64: packets, bytes, errors, dropped, each received and sent
STATS64_REASONS = (  # its next fields, of which older kernels have fewer; "": no reason of an error
    *("", "collisions", "rx_length_errors", "rx_over_errors", "rx_crc_errors", "rx_frame_errors", "rx_fifo_errors"),
    *("rx_missed_errors", "tx_aborted_errors", "tx_carrier_errors", "tx_fifo_errors", "tx_heartbeat_errors"),
    *("tx_window_errors", "", "", "rx_nohandler", "rx_otherhost_dropped"),
)
RTEXT_FILTER_VF, RTEXT_FILTER_BRVLAN_COMPRESSED, RTEXT_FILTER_SKIP_STATS = 1, 4, 8
IFLA_EXT_MASK = 29
TC_H_CLSACT, TC_H_MIN_INGRESS, TC_H_MIN_EGRESS = 0xFFFF_FFF1, 0xFFF2, 0xFFF3
HOST_ORDER = sys.byteorder
IFLA_QDISC, IFLA_TXQLEN, IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_CARRIER, IFLA_CARRIER_CHANGES = 6, 13, 20, 26, 33, 35
IFLA_GSO_MAX_SEGS, IFLA_GSO_MAX_SIZE, IFLA_XDP, IFLA_PROP_LIST, IFLA_ALT_IFNAME, ALTIFNAMSIZ = 40, 41, 43, 52, 53, 128
IFLA_GRO_MAX_SIZE, IFLA_TSO_MAX_SIZE, IFLA_TSO_MAX_SEGS = 58, 59, 60
IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 2, 4, 5
IFLA_XDP_ATTACHED, IFLA_XDP_PROG_ID, IFLA_XDP_MODE_PROG_IDS = 2, 4, (5, 6, 7)  # of driver, generic and offloaded
NDA_DST, NDA_LLADDR, NDA_VLAN, NDA_PORT, NDA_FLAGS_EXT = 1, 2, 5, 6, 15
NDA_TUNNEL = {"vni": 7, "src_vni": 11, "via": 8, "nhid": 13}  # of an entry of a tunnel, each a u32
NTF_PROXY = 8
# linux/if_bridge.h
BR_PORT_MSG = Struct("=B3xI")  # family, ifindex of the bridge
BR_MDB_ENTRY = Struct("=IBBH16sH2x")  # ifindex of the port, state, flags, vid, address, its ethertype (big-endian)
MDBA_MDB, MDBA_MDB_ENTRY, MDBA_MDB_ENTRY_INFO, MDBA_MDB_EATTR_SOURCE, MDB_PERMANENT = 1, 1, 1, 4, 1
IFLA_BRIDGE_VLAN_INFO = 2
BRIDGE_VLAN_INFO_PVID, BRIDGE_VLAN_INFO_UNTAGGED = 2, 4
BRIDGE_VLAN_INFO_RANGE_BEGIN, BRIDGE_VLAN_INFO_RANGE_END = 8, 16
TCA_KIND, TCA_STATS2, TCA_STATS_QUEUE, TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK = 1, 7, 3, 13, 14
TCM_IFINDEX_MAGIC_BLOCK = -1  # of filters that devices share: `parent` is their block
TC_HOOKS = TC_H_CLSACT & 0xFFFF0000 | TC_H_MIN_INGRESS, TC_H_CLSACT & 0xFFFF0000 | TC_H_MIN_EGRESS
# IFLA_VF_*, linux/if_link.h
IFLA_VFINFO_LIST, IFLA_VF_INFO = 22, 1
IFLA_VF_MAC, IFLA_VF_VLAN, IFLA_VF_TX_RATE, IFLA_VF_SPOOFCHK, IFLA_VF_LINK_STATE, IFLA_VF_RATE = 1, 2, 3, 4, 5, 6
IFLA_VF_RSS_QUERY_EN, IFLA_VF_TRUST, IFLA_VF_VLAN_LIST, IFLA_VF_VLAN_INFO = 7, 9, 12, 1
# linux/fib_rules.h
FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_GOTO, FRA_PRIORITY, FRA_FWMARK, FRA_FLOW, FRA_TUN_ID = 1, 2, 3, 4, 6, 10, 11, 12
FRA_SUPPRESS_IFGROUP, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK, FRA_OIFNAME = 13, 14, 15, 16, 17
FRA_L3MDEV, FRA_UID_RANGE, FRA_PROTOCOL, FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE = 19, 20, 21, 22, 23, 24
FRA_DSCP, FRA_FLOWLABEL, FRA_FLOWLABEL_MASK, FRA_SPORT_MASK, FRA_DPORT_MASK, FRA_DSCP_MASK = 25, 26, 27, 28, 29, 30
# linux/nexthop.h
NHMSG = Struct("=BBBxI")  # family, scope, protocol, flags
NEXTHOP_GRP = Struct("=IBB2x")  # id, weight (less 1), its high byte
NHA_ID, NHA_GROUP, NHA_GROUP_TYPE, NHA_BLACKHOLE, NHA_OIF, NHA_GATEWAY, NHA_FDB = 1, 2, 3, 4, 5, 6, 11
NHA_ENCAP_TYPE, NHA_ENCAP = 7, 8
NHA_RES_GROUP, NHA_OP_FLAGS, NHA_OP_FLAG_RESP_GRP_RESVD_0 = 12, 14, 1 << 31
NHA_RES_GROUP_TIMES = {"idle_timer": 2, "unbalanced_timer": 3, "unbalanced_time": 4}  # in 1/100 s (USER_HZ)
NHA_RES_GROUP_BUCKETS = 1
