"""Netfilter over netlink: linux/netfilter/nfnetlink.h, nfnetlink_acct.h, nfnetlink_log.h, linux/netfilter.h."""

from struct import Struct

NFGENMSG = Struct("=BBH")  # family, version, res_id (big endian): the header after nlmsghdr
NFGEN_LENGTH = NFGENMSG.size

# A message's type is subsystem << 8 | command.
NFNL_SUBSYS_CTNETLINK, NFNL_SUBSYS_CTNETLINK_EXP, NFNL_SUBSYS_IPSET = 1, 2, 6
NFNL_SUBSYS_ACCT, NFNL_SUBSYS_NFTABLES = 7, 10
NFNLGRP_CONNTRACK = (1, 2, 3)  # NFNLGRP_CONNTRACK_{NEW,UPDATE,DESTROY}
NFNLGRP_CONNTRACK_EXP = (4, 5, 6)  # NFNLGRP_CONNTRACK_EXP_{NEW,UPDATE,DESTROY}
NFNLGRP_NFTABLES, NFNLGRP_NFTRACE, NFNLGRP_MAX = 7, 9, 9
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 16, 17  # around changes of nftables, with the subsystem in res_id

# linux/netfilter.h
NF_DROP, NF_ACCEPT = 0, 1
NF_VERDICTS = {NF_DROP: "drop", NF_ACCEPT: "accept", 2: "stolen", 3: "queue", 4: "repeat", 5: "stop"}
NFPROTO_UNSPEC, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_NETDEV, NFPROTO_BRIDGE, NFPROTO_IPV6 = 0, 1, 2, 5, 7, 10
NFPROTO_NAMES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}  # nft's names
NFPROTO_NUMBERS = {name: number for number, name in NFPROTO_NAMES.items()}

# linux/netfilter/nfnetlink_log.h
NFNL_SUBSYS_ULOG = 4
NFULNL_MSG_PACKET, NFULNL_MSG_CONFIG = 0, 1
NFULA_PACKET_HDR, NFULA_PAYLOAD, NFULA_PREFIX = 1, 9, 10
NFULA_CFG_CMD, NFULA_CFG_MODE, NFULA_CFG_TIMEOUT, NFULA_CFG_QTHRESH = 1, 2, 4, 5
NFULNL_CFG_CMD_BIND, NFULNL_COPY_PACKET = 1, 2

# linux/netfilter/nfnetlink_acct.h
NFNL_MSG_ACCT_NEW, NFNL_MSG_ACCT_GET, NFNL_MSG_ACCT_GET_CTRZERO = 0, 1, 2
NFACCT_NAME, NFACCT_PKTS, NFACCT_BYTES, NFACCT_USE, NFACCT_FLAGS, NFACCT_QUOTA = 1, 2, 3, 4, 5, 6
NFACCT_F_QUOTA_PKTS, NFACCT_F_QUOTA_BYTES, NFACCT_F_OVERQUOTA = 1, 2, 4
NFACCT_NAME_MAX = 32  # bytes, the NUL included
