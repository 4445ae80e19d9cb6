"""The kernel's numbers for conntrack: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_{common,tcp,sctp}.h."""

from nettop.linux.inet import IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP

IPCTNL_MSG_CT_NEW, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 0, 1, 2
IPCTNL_MSG_CT_GET_STATS_CPU, IPCTNL_MSG_CT_GET_STATS = 4, 5
IPCTNL_MSG_EXP_NEW, IPCTNL_MSG_EXP_GET, IPCTNL_MSG_EXP_DELETE, IPCTNL_MSG_EXP_GET_STATS_CPU = 0, 1, 2, 3

CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_PROTOINFO, CTA_HELP, CTA_TIMEOUT, CTA_MARK = 1, 2, 3, 4, 5, 7, 8
CTA_COUNTERS_ORIG, CTA_COUNTERS_REPLY, CTA_USE, CTA_ID, CTA_TUPLE_MASTER, CTA_ZONE = 9, 10, 11, 12, 14, 18
CTA_SECCTX, CTA_TIMESTAMP, CTA_MARK_MASK, CTA_LABELS, CTA_STATUS_MASK, CTA_TIMESTAMP_EVENT = 19, 20, 21, 22, 26, 27

CTA_TUPLE_IP, CTA_TUPLE_PROTO, CTA_TUPLE_ZONE = 1, 2, 3
CTA_IP_V4_SRC, CTA_IP_V4_DST, CTA_IP_V6_SRC, CTA_IP_V6_DST = 1, 2, 3, 4
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE = 4, 5, 6
CTA_PROTO_ICMPV6_ID, CTA_PROTO_ICMPV6_TYPE, CTA_PROTO_ICMPV6_CODE = 7, 8, 9

CTA_PROTOINFO_TCP, CTA_PROTOINFO_DCCP, CTA_PROTOINFO_SCTP = 1, 2, 3
CTA_PROTOINFO_STATE = 1  # CTA_PROTOINFO_{TCP,DCCP,SCTP}_STATE
CTA_COUNTERS_PACKETS, CTA_COUNTERS_BYTES, CTA_COUNTERS32_PACKETS, CTA_COUNTERS32_BYTES = 1, 2, 3, 4
CTA_TIMESTAMP_START, CTA_TIMESTAMP_STOP = 1, 2
CTA_HELP_NAME = 1

CTA_EXPECT_MASTER, CTA_EXPECT_TUPLE, CTA_EXPECT_MASK, CTA_EXPECT_TIMEOUT, CTA_EXPECT_ID = 1, 2, 3, 4, 5
CTA_EXPECT_HELP_NAME, CTA_EXPECT_ZONE, CTA_EXPECT_FLAGS, CTA_EXPECT_CLASS, CTA_EXPECT_FN = 6, 7, 8, 9, 11

CTA_STATS_GLOBAL_ENTRIES, CTA_STATS_GLOBAL_MAX_ENTRIES = 1, 2
_STATS_CPU = """
    searched found new invalid ignore delete delete_list insert insert_failed drop early_drop error search_restart
    clash_resolve chain_toolong
"""
CTA_STATS_CPU = dict(enumerate(_STATS_CPU.split(), 1))  # enum ctattr_stats_cpu: attribute → name
CTA_STATS_EXP = {1: "new", 2: "create", 3: "delete"}  # enum ctattr_expect_stats

# enum ip_conntrack_status: bit → name, in the order of the bits; nat_clash is IPS_UNTRACKED in older headers.
_IPS = """
    expected seen_reply assured confirmed src_nat dst_nat seq_adjust src_nat_done dst_nat_done dying fixed_timeout
    template nat_clash helper offload hw_offload
"""
IPS_NAMES = tuple(_IPS.split())
IPS_EXPECTED, IPS_SEEN_REPLY, IPS_ASSURED, IPS_SRC_NAT, IPS_DST_NAT = 1, 1 << 1, 1 << 2, 1 << 4, 1 << 5
IPS_OFFLOAD, IPS_HW_OFFLOAD = 1 << 14, 1 << 15
NF_CT_EXPECT_NAMES = ("permanent", "inactive", "userspace")  # NF_CT_EXPECT_*, bit by bit

# Names by number, as conntrack-tools prints them, but in lower case: enum tcp_conntrack (syn_sent2 is
# TCP_CONNTRACK_LISTEN, reused for simultaneous open), sctp_conntrack, ct_dccp_states.
_TCP = "none syn_sent syn_recv established fin_wait close_wait last_ack time_wait close syn_sent2"
_SCTP = """
    none closed cookie_wait cookie_echoed established shutdown_sent shutdown_recd shutdown_ack_sent heartbeat_sent
    heartbeat_acked
"""
_DCCP = "none request respond partopen open closereq closing timewait ignore invalid"
TCP_STATES, SCTP_STATES, DCCP_STATES = (tuple(names.split()) for names in (_TCP, _SCTP, _DCCP))
STATES = {IPPROTO_TCP: TCP_STATES, IPPROTO_DCCP: DCCP_STATES, IPPROTO_SCTP: SCTP_STATES}  # IPPROTO_* → names
