"""Numbers of linux/netfilter/nf_tables.h, and nft's names for them."""

from __future__ import annotations

NFT_NAME_MAXLEN = 256  # bytes, the NUL included

# enum nf_tables_msg_types
NFT_MSG_NEWTABLE, NFT_MSG_GETTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_GETCHAIN = 0, 1, 3, 4
NFT_MSG_NEWRULE, NFT_MSG_GETRULE, NFT_MSG_NEWSET, NFT_MSG_GETSET = 6, 7, 9, 10
NFT_MSG_NEWSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_DELSETELEM, NFT_MSG_NEWGEN, NFT_MSG_GETGEN = 12, 13, 14, 15, 16
NFT_MSG_TRACE, NFT_MSG_NEWOBJ, NFT_MSG_GETOBJ, NFT_MSG_GETOBJ_RESET = 17, 18, 19, 21
NFT_MSG_DELTABLE, NFT_MSG_DELCHAIN, NFT_MSG_DELRULE = 2, 5, 8
NFT_MSG_NEWFLOWTABLE, NFT_MSG_GETFLOWTABLE, NFT_MSG_DELFLOWTABLE = 22, 23, 24

NFTA_LIST_ELEM = 1
NFTA_TABLE_NAME, NFTA_TABLE_FLAGS, NFTA_TABLE_HANDLE = 1, 2, 4
NFTA_TABLE_USERDATA, NFTA_TABLE_OWNER = 6, 7
NFT_TABLE_F_OWNER = 2
NFT_TABLE_FLAGS = ((1, "dormant"), (2, "owner"), (4, "persist"))

NFTA_CHAIN_TABLE, NFTA_CHAIN_HANDLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY = 1, 2, 3, 4, 5
NFTA_CHAIN_USE, NFTA_CHAIN_TYPE, NFTA_CHAIN_COUNTERS, NFTA_CHAIN_FLAGS, NFTA_CHAIN_USERDATA = 6, 7, 8, 10, 12
NFT_CHAIN_FLAGS = ((1, "base"), (2, "offload"), (4, "binding"))
NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_HOOK_DEV, NFTA_HOOK_DEVS = 1, 2, 3, 4
NFTA_DEVICE_NAME, NFTA_DEVICE_PREFIX = 1, 2

NFTA_FLOWTABLE_TABLE = 1
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_EXPRESSIONS = 1, 2, 3, 4
NFTA_RULE_POSITION, NFTA_RULE_USERDATA = 6, 7
NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 2
NFTA_DATA_VALUE, NFTA_DATA_VERDICT = 1, 2
NFTA_VERDICT_CODE, NFTA_VERDICT_CHAIN = 1, 2
NFT_VERDICTS = {-1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return"}
NFT_GOTO = 0xFFFF_FFFC
NFT_REG_VERDICT, NFT_REG_1 = 0, 1
NFTA_IMMEDIATE_DREG, NFTA_IMMEDIATE_DATA = 1, 2
NFTA_PAYLOAD_DREG, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_OFFSET, NFTA_PAYLOAD_LEN, NFTA_PAYLOAD_SREG = 1, 2, 3, 4, 5
NFT_PAYLOAD_LL_HEADER, NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER = 0, 1, 2
NFTA_META_DREG, NFTA_META_KEY, NFTA_META_SREG = 1, 2, 3
NFT_META_PROTOCOL, NFT_META_MARK, NFT_META_IIFNAME, NFT_META_OIFNAME, NFT_META_NFTRACE = 1, 3, 6, 7, 12
NFT_META_NFPROTO, NFT_META_L4PROTO = 15, 16
NFTA_BITWISE_SREG, NFTA_BITWISE_DREG, NFTA_BITWISE_LEN = 1, 2, 3
NFTA_BITWISE_MASK, NFTA_BITWISE_XOR, NFTA_BITWISE_OP = 4, 5, 6
NFTA_CMP_SREG, NFTA_CMP_OP, NFTA_CMP_DATA = 1, 2, 3
NFT_CMP_EQ, NFT_CMP_NEQ, NFT_CMP_LT = 0, 1, 2
NFTA_RANGE_SREG, NFTA_RANGE_OP, NFTA_RANGE_FROM_DATA, NFTA_RANGE_TO_DATA = 1, 2, 3, 4
NFTA_LOG_GROUP, NFTA_LOG_PREFIX, NFTA_LOG_LEVEL, NFTA_LOG_FLAGS = 1, 2, 5, 6
NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS = 1, 2
NFTA_LOOKUP_SET = NFTA_DYNSET_SET_NAME = 1
NFTA_LOOKUP_DREG = 3
NFTA_MATCH_NAME = NFTA_TARGET_NAME = 1
NFTA_MATCH_INFO = 3
NFTA_OBJREF_IMM_TYPE, NFTA_OBJREF_IMM_NAME, NFTA_OBJREF_SET_NAME = 1, 2, 4
NFTA_NAT_TYPE, NFT_NAT_DNAT = 1, 1
NFTA_LAST_SET, NFTA_LAST_MSECS = 1, 2
NFTA_QUOTA_BYTES, NFTA_QUOTA_FLAGS, NFTA_QUOTA_CONSUMED = 1, 2, 4
NFTA_LIMIT_RATE, NFTA_LIMIT_UNIT, NFTA_LIMIT_BURST, NFTA_LIMIT_TYPE, NFTA_LIMIT_FLAGS = 1, 2, 3, 4, 5
NFT_LIMIT_TYPES = {0: "packets", 1: "bytes"}
NFT_QUOTA_F_INV = NFT_LIMIT_F_INV = 1

NFTA_OBJ_TABLE, NFTA_OBJ_NAME, NFTA_OBJ_TYPE, NFTA_OBJ_DATA, NFTA_OBJ_USE = 1, 2, 3, 4, 5
NFTA_OBJ_HANDLE, NFTA_OBJ_USERDATA = 6, 8
NFTA_CT_HELPER_NAME, NFTA_CT_HELPER_L3PROTO, NFTA_CT_HELPER_L4PROTO = 1, 2, 3
NFTA_CT_TIMEOUT_L3PROTO, NFTA_CT_TIMEOUT_L4PROTO = 1, 2
NFTA_CT_EXPECT_L3PROTO, NFTA_CT_EXPECT_L4PROTO, NFTA_CT_EXPECT_DPORT = 1, 2, 3
NFTA_CT_EXPECT_TIMEOUT, NFTA_CT_EXPECT_SIZE = 4, 5
NFTA_SECMARK_CTX = 1
NFTA_SYNPROXY_MSS, NFTA_SYNPROXY_WSCALE = 1, 2
NFT_OBJECT_COUNTER, NFT_OBJECT_QUOTA = 1, 2
NFT_OBJECTS = {
    NFT_OBJECT_COUNTER: "counter", NFT_OBJECT_QUOTA: "quota", 3: "ct helper", 4: "limit", 5: "ct count",
    6: "tunnel", 7: "ct timeout", 8: "secmark", 9: "ct expectation", 10: "synproxy",
}  # fmt: skip

NFTA_SET_TABLE, NFTA_SET_NAME, NFTA_SET_FLAGS, NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN = 1, 2, 3, 4, 5
NFTA_SET_DATA_TYPE, NFTA_SET_DESC, NFTA_SET_TIMEOUT, NFTA_SET_USERDATA, NFTA_SET_OBJ_TYPE = 6, 9, 11, 13, 15
NFTA_SET_HANDLE, NFTA_SET_EXPR, NFTA_SET_EXPRESSIONS, NFTA_SET_COUNT = 16, 17, 18, 20
NFTA_SET_DESC_SIZE = 1
NFT_SET_ANONYMOUS, NFT_SET_INTERVAL, NFT_SET_EVAL, NFT_SET_CONCAT = 1, 4, 32, 128
NFT_SET_FLAGS = ((1, "anonymous"), (2, "constant"), (4, "interval"), (16, "timeout"), (32, "dynamic"))
NFT_DATA_VERDICT, NFT_DATA_VALUE_MAXLEN = 0xFFFF_FF00, 64
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS = 1, 2, 3
NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_TIMEOUT = 1, 2, 3, 4
NFTA_SET_ELEM_EXPIRATION, NFTA_SET_ELEM_USERDATA, NFTA_SET_ELEM_EXPR = 5, 6, 7
NFTA_SET_ELEM_OBJREF, NFTA_SET_ELEM_KEY_END, NFTA_SET_ELEM_EXPRESSIONS = 9, 10, 11
NFT_SET_ELEM_INTERVAL_END, NFT_SET_ELEM_CATCHALL = 1, 2

NFTA_TRACE_TABLE, NFTA_TRACE_CHAIN, NFTA_TRACE_RULE_HANDLE, NFTA_TRACE_TYPE, NFTA_TRACE_VERDICT = 1, 2, 3, 4, 5
NFTA_TRACE_ID, NFTA_TRACE_NETWORK_HEADER, NFTA_TRACE_TRANSPORT_HEADER = 6, 8, 9
NFTA_TRACE_IIF, NFTA_TRACE_OIF, NFTA_TRACE_MARK, NFTA_TRACE_NFPROTO, NFTA_TRACE_POLICY = 10, 12, 14, 15, 16
NFTA_TRACE_CT_ID, NFTA_TRACE_CT_STATE = 18, 21
NFT_TRACE_TYPES = {1: "policy", 2: "return", 3: "rule"}

NFTA_GEN_ID, NFTA_GEN_PROC_PID, NFTA_GEN_PROC_NAME = 1, 2, 3
UDATA_TYPE_EBTABLES_POLICY = 1  # iptables/nft.c: the user data of ebtables-nft's rule for a user chain's policy
NFTNL_UDATA_COMMENT, NFTNL_UDATA_SET_COMMENT = 0, 7  # libnftnl/udata.h: of tables, chains, rules, objects; of sets

HOOK_ORDER = ("ingress", "brouting", "prerouting", "input", "forward", "output", "postrouting", "egress")
# Hook numbers by family: linux/netfilter.h (inet, ip, ip6), netfilter_arp.h, netfilter_bridge.h, netfilter_netdev.h
_INET_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting", 5: "ingress"}
NF_HOOKS: dict[str, dict[int, str]] = {
    "inet": _INET_HOOKS,
    "ip": _INET_HOOKS,
    "ip6": _INET_HOOKS,
    "bridge": {**_INET_HOOKS, 5: "brouting"},
    "arp": {0: "input", 1: "output", 2: "forward"},
    "netdev": {0: "ingress", 1: "egress"},
}

# nft 1.0.6, src/scanner.l: the words that it does not read as a name
NFT_KEYWORDS = frozenset({
    "accept", "add", "ah", "all", "and", "arp", "auto-merge", "bridge", "cgroup", "chain", "chains", "comment",
    "constant", "continue", "counter", "counters", "cpu", "create", "ct", "day", "dccp", "define", "delete",
    "describe", "device", "devices", "dnat", "drop", "dst", "dup", "dynamic", "ecn", "element", "elements", "eq",
    "esp", "ether", "exists", "expires", "export", "exthdr", "fib", "flags", "flow", "flowtable", "flowtables",
    "flush", "frag", "fwd", "gc-interval", "ge", "get", "goto", "gt", "handle", "hbh", "hook", "hooks", "hour",
    "ibriport", "ibrname", "icmp", "icmpv6", "igmp", "iif", "iifgroup", "iifname", "iiftype", "include", "index",
    "inet", "insert", "interval", "ip", "ip6", "ipsec", "jhash", "jump", "le", "limit", "limits", "list", "log",
    "lt", "map", "maps", "mark", "masquerade", "meta", "meter", "meters", "mh", "missing", "monitor", "ne",
    "netdev", "nftrace", "not", "notrack", "numgen", "obriport", "obrname", "offload", "oif", "oifgroup", "oifname",
    "oiftype", "or", "osf", "pkttype", "policy", "position", "priority", "queue", "quota", "quotas", "random",
    "redefine", "redirect", "reject", "rename", "replace", "reset", "return", "rt", "rt0", "rt2", "rtclassid",
    "rule", "ruleset", "sctp", "secmark", "secmarks", "set", "sets", "size", "skgid", "skuid", "snat", "socket",
    "srh", "symhash", "synproxy", "synproxys", "table", "tables", "tcp", "th", "time", "timeout", "tproxy", "type",
    "typeof", "udp", "undefine", "update", "vlan", "vmap", "xt",
})  # fmt: skip
