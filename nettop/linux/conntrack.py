"""The kernel's numbers for conntrack: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_{common,tcp,sctp}.h."""

from __future__ import annotations

from typing import Final

from nettop.linux.inet import IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP

IPCTNL_MSG_CT_NEW: Final = 0
IPCTNL_MSG_CT_GET: Final = 1
IPCTNL_MSG_CT_DELETE: Final = 2
IPCTNL_MSG_CT_GET_STATS_CPU: Final = 4
IPCTNL_MSG_CT_GET_STATS: Final = 5
IPCTNL_MSG_EXP_NEW: Final = 0
IPCTNL_MSG_EXP_GET: Final = 1
IPCTNL_MSG_EXP_DELETE: Final = 2
IPCTNL_MSG_EXP_GET_STATS_CPU: Final = 3

CTA_TUPLE_ORIG: Final = 1
CTA_TUPLE_REPLY: Final = 2
CTA_STATUS: Final = 3
CTA_PROTOINFO: Final = 4
CTA_HELP: Final = 5
CTA_TIMEOUT: Final = 7
CTA_MARK: Final = 8
CTA_COUNTERS_ORIG: Final = 9
CTA_COUNTERS_REPLY: Final = 10
CTA_USE: Final = 11
CTA_ID: Final = 12
CTA_TUPLE_MASTER: Final = 14
CTA_ZONE: Final = 18
CTA_SECCTX: Final = 19
CTA_TIMESTAMP: Final = 20
CTA_MARK_MASK: Final = 21
CTA_LABELS: Final = 22
CTA_STATUS_MASK: Final = 26
CTA_TIMESTAMP_EVENT: Final = 27

CTA_TUPLE_IP: Final = 1
CTA_TUPLE_PROTO: Final = 2
CTA_TUPLE_ZONE: Final = 3
CTA_IP_V4_SRC: Final = 1
CTA_IP_V4_DST: Final = 2
CTA_IP_V6_SRC: Final = 3
CTA_IP_V6_DST: Final = 4
CTA_PROTO_NUM: Final = 1
CTA_PROTO_SRC_PORT: Final = 2
CTA_PROTO_DST_PORT: Final = 3
CTA_PROTO_ICMP_ID: Final = 4
CTA_PROTO_ICMP_TYPE: Final = 5
CTA_PROTO_ICMP_CODE: Final = 6
CTA_PROTO_ICMPV6_ID: Final = 7
CTA_PROTO_ICMPV6_TYPE: Final = 8
CTA_PROTO_ICMPV6_CODE: Final = 9

CTA_PROTOINFO_TCP: Final = 1
CTA_PROTOINFO_DCCP: Final = 2
CTA_PROTOINFO_SCTP: Final = 3
CTA_PROTOINFO_STATE: Final = 1  # CTA_PROTOINFO_{TCP,DCCP,SCTP}_STATE
CTA_COUNTERS_PACKETS: Final = 1
CTA_COUNTERS_BYTES: Final = 2
CTA_COUNTERS32_PACKETS: Final = 3
CTA_COUNTERS32_BYTES: Final = 4
CTA_TIMESTAMP_START: Final = 1
CTA_TIMESTAMP_STOP: Final = 2
CTA_HELP_NAME: Final = 1

CTA_EXPECT_MASTER: Final = 1
CTA_EXPECT_TUPLE: Final = 2
CTA_EXPECT_MASK: Final = 3
CTA_EXPECT_TIMEOUT: Final = 4
CTA_EXPECT_ID: Final = 5
CTA_EXPECT_HELP_NAME: Final = 6
CTA_EXPECT_ZONE: Final = 7
CTA_EXPECT_FLAGS: Final = 8
CTA_EXPECT_CLASS: Final = 9
CTA_EXPECT_FN: Final = 11

CTA_STATS_GLOBAL_ENTRIES: Final = 1
CTA_STATS_GLOBAL_MAX_ENTRIES: Final = 2
CTA_STATS_CPU: Final = {  # enum ctattr_stats_cpu: attribute → name
    1: "searched",
    2: "found",
    3: "new",
    4: "invalid",
    5: "ignore",
    6: "delete",
    7: "delete_list",
    8: "insert",
    9: "insert_failed",
    10: "drop",
    11: "early_drop",
    12: "error",
    13: "search_restart",
    14: "clash_resolve",
    15: "chain_toolong",
}
CTA_STATS_EXP: Final = {1: "new", 2: "create", 3: "delete"}  # enum ctattr_expect_stats

# enum ip_conntrack_status: bit → name, in the order of the bits.
IPS_NAMES: Final = (
    "expected",
    "seen_reply",
    "assured",
    "confirmed",
    "src_nat",
    "dst_nat",
    "seq_adjust",
    "src_nat_done",
    "dst_nat_done",
    "dying",
    "fixed_timeout",
    "template",
    "nat_clash",  # IPS_UNTRACKED in older headers
    "helper",
    "offload",
    "hw_offload",
)
IPS_SEEN_REPLY: Final = 1 << 1
IPS_ASSURED: Final = 1 << 2
IPS_SRC_NAT: Final = 1 << 4
IPS_DST_NAT: Final = 1 << 5
IPS_OFFLOAD: Final = 1 << 14
IPS_HW_OFFLOAD: Final = 1 << 15
NF_CT_EXPECT_NAMES: Final = ("permanent", "inactive", "userspace")  # NF_CT_EXPECT_*, bit by bit

# Names by number, as conntrack-tools prints them, but in lower case.
TCP_STATES: Final = (  # enum tcp_conntrack
    "none",
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    "syn_sent2",  # TCP_CONNTRACK_LISTEN, reused for simultaneous open
)
SCTP_STATES: Final = (  # enum sctp_conntrack
    "none",
    "closed",
    "cookie_wait",
    "cookie_echoed",
    "established",
    "shutdown_sent",
    "shutdown_recd",
    "shutdown_ack_sent",
    "heartbeat_sent",
    "heartbeat_acked",
)
DCCP_STATES: Final = (  # enum ct_dccp_states
    "none",
    "request",
    "respond",
    "partopen",
    "open",
    "closereq",
    "closing",
    "timewait",
    "ignore",
    "invalid",
)
STATES: Final = {IPPROTO_TCP: TCP_STATES, IPPROTO_DCCP: DCCP_STATES, IPPROTO_SCTP: SCTP_STATES}  # IPPROTO_* → names
