"""The names of IP protocols: one table, and the names that differ between tools."""

NAMES = {  # by linux/in.h, linux/in6.h and the IANA number
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "icmpv6",
    88: "eigrp", 89: "ospf", 103: "pim", 108: "ipcomp", 112: "vrrp", 132: "sctp", 136: "udplite",
}  # fmt: skip
FLOW_NAMES = NAMES | {4: "ipencap", 115: "l2tp"}  # as the conntrack tool prints them, from /etc/protocols
PACKET_NAMES = NAMES | {
    0: "hopopts", 4: "ipip", 8: "egp", 9: "igp", 43: "routing", 44: "fragment", 46: "rsvp", 59: "none",
    60: "dstopts", 94: "ipip", 135: "mh", 137: "mpls",
}  # fmt: skip
NFT_NAMES = {number: name for number, name in NAMES.items() if number not in (41, 88, 89, 112)} | {108: "comp"}
