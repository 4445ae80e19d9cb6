"""The words of flows: protocol, state, status and NAT names, and the JSON-lines and plain-text forms of one flow."""

from __future__ import annotations

from functools import lru_cache

from nettop.text.units import ABSENT

IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_DCCP, IPPROTO_ICMPV6 = 1, 6, 17, 33, 58  # netinet/in.h
IPPROTO_GRE, IPPROTO_SCTP, IPPROTO_UDPLITE = 47, 132, 136
WITH_PORTS = (IPPROTO_TCP, IPPROTO_UDP, IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_UDPLITE)  # of others the ports are ids

# As conntrack writes them (tcp … dccp), the others as in /etc/protocols.
_PROTO_NAMES = {
    IPPROTO_ICMP: "icmp",
    2: "igmp",
    4: "ipencap",
    IPPROTO_TCP: "tcp",
    IPPROTO_UDP: "udp",
    IPPROTO_DCCP: "dccp",
    41: "ipv6",
    IPPROTO_GRE: "gre",
    50: "esp",
    51: "ah",
    IPPROTO_ICMPV6: "icmpv6",
    88: "eigrp",
    89: "ospf",
    103: "pim",
    108: "ipcomp",
    112: "vrrp",
    115: "l2tp",
    IPPROTO_SCTP: "sctp",
    IPPROTO_UDPLITE: "udplite",
}
PROTO_WORDS = tuple(_PROTO_NAMES.get(n, f"proto-{n}") for n in range(256))
_AF_INET, _AF_INET6 = 2, 10  # linux/socket.h
FAMILY_WORDS = {_AF_INET: "ipv4", _AF_INET6: "ipv6"}

# linux/netfilter/nf_conntrack_tcp.h, nf_conntrack_sctp.h and the kernel's enum ct_dccp_states.
_TCP = (
    *("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE"),
    "SYN_SENT2",  # once LISTEN
)
_SCTP = (
    *("NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD"),
    *("SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT", "HEARTBEAT_ACKED"),
)
_DCCP = ("NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID")

# One code space for every state a flow can show: first what status bits say, then 16 codes for each protocol.
STATE_NONE, STATE_UNREPLIED, STATE_REPLIED, STATE_ASSURED = 0, 1, 2, 3
STATE_BASE = {IPPROTO_TCP: 16, IPPROTO_SCTP: 32, IPPROTO_DCCP: 48}
TCP_ESTABLISHED = STATE_BASE[IPPROTO_TCP] + _TCP.index("ESTABLISHED")
TCP_TIME_WAIT = STATE_BASE[IPPROTO_TCP] + _TCP.index("TIME_WAIT")


def _sixteen(*names: str) -> tuple[str, ...]:
    return names + tuple(f"STATE_{n}" for n in range(len(names), 16))


STATE_WORDS = (
    *_sixteen(ABSENT, "UNREPLIED", "replied", "assured"),
    *(_sixteen(*_TCP) + _sixteen(*_SCTP) + _sixteen(*_DCCP)),
)

# linux/netfilter/nf_conntrack_common.h, enum ip_conntrack_status, bit by bit.
STATUS_WORDS = (
    *("expected", "seen_reply", "assured", "confirmed", "src_nat", "dst_nat", "seq_adjust", "src_nat_done"),
    *("dst_nat_done", "dying", "fixed_timeout", "template", "nat_clash", "helper", "offload", "hw_offload"),
)
IPS_SEEN_REPLY, IPS_ASSURED, IPS_SRC_NAT, IPS_DST_NAT = 1 << 1, 1 << 2, 1 << 4, 1 << 5
IPS_OFFLOAD, IPS_HW_OFFLOAD = 1 << 14, 1 << 15
OFFLOAD_WORDS = ("", "software", "hardware")  # what forwards the flow's packets instead of the stack

# What NAT did to a flow: which end was rewritten, and whether only its port was.
NAT_SNAT, NAT_DNAT, NAT_SNAT_PORT, NAT_DNAT_PORT = 1, 2, 4, 8

# columns.EVENT_*, a loss among them, and EVENT_EXPECT + …: those of expectations
EVENT_WORDS = ("dump", "new", "update", "destroy", "gap", "exp-new", "exp-upd", "exp-del")


@lru_cache(maxsize=4096)
def status_words(status: int) -> tuple[str, ...]:
    """Names of the set IPS_* bits, lowest first; bits without a name as `bit_N`."""
    bits = (n for n in range(32) if status >> n & 1)
    return tuple(STATUS_WORDS[n] if n < len(STATUS_WORDS) else f"bit_{n}" for n in bits)


def offload_code(status: int) -> int:
    """The place in OFFLOAD_WORDS."""
    return 2 if status & IPS_HW_OFFLOAD else int(bool(status & IPS_OFFLOAD))


def nat_words(nat: int) -> list[str]:
    """`snat` and `dnat`, for JSON."""
    return [word for bit, word in ((NAT_SNAT, "snat"), (NAT_DNAT, "dnat")) if nat & bit]


def nat_label(nat: int) -> str:
    """`SNAT`, `DNAT`, `SNAT+DNAT`, or with ` port` where only ports were rewritten; empty without NAT."""
    if not nat & (NAT_SNAT | NAT_DNAT):
        return ""
    only_ports = bool(nat & NAT_SNAT) == bool(nat & NAT_SNAT_PORT) and bool(nat & NAT_DNAT) == bool(nat & NAT_DNAT_PORT)
    return "+".join(word.upper() for word in nat_words(nat)) + (" port" if only_ports else "")


NAT_LABELS = tuple(nat_label(n) for n in range(16))


def labels_text(raw: bytes) -> str:
    """Connection labels as one hexadecimal number: bit n of it is label n (the kernel's bitmap is little-endian)."""
    return hex(int.from_bytes(raw, "little"))


def is_icmp(proto: int) -> bool:
    """Whether the port columns hold an ICMP id and type << 8 | code."""
    return proto in (IPPROTO_ICMP, IPPROTO_ICMPV6)
