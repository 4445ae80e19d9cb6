"""Protocol numbers of packets, each table with the header or registry it comes from."""

from __future__ import annotations

# linux/if_ether.h
ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_RARP = 0x8035
ETH_P_8021Q = 0x8100
ETH_P_8021AD = 0x88A8
ETH_P_QINQ1 = 0x9100
ETH_P_IPV6 = 0x86DD
ETH_P_802_3_MIN = 0x0600  # below it the field is a length

# linux/in.h, IANA protocol numbers
IPPROTO_HOPOPTS = 0
IPPROTO_ICMP = 1
IPPROTO_IGMP = 2
IPPROTO_IPIP = 4
IPPROTO_TCP = 6
IPPROTO_UDP = 17
IPPROTO_DCCP = 33
IPPROTO_IPV6 = 41
IPPROTO_ROUTING = 43
IPPROTO_FRAGMENT = 44
IPPROTO_GRE = 47
IPPROTO_ESP = 50
IPPROTO_AH = 51
IPPROTO_ICMPV6 = 58
IPPROTO_NONE = 59
IPPROTO_DSTOPTS = 60
IPPROTO_SCTP = 132
IPPROTO_MH = 135
IPPROTO_UDPLITE = 136

PROTO_NAMES = {
    IPPROTO_ICMP: "icmp",
    IPPROTO_IGMP: "igmp",
    IPPROTO_IPIP: "ipip",
    IPPROTO_TCP: "tcp",
    8: "egp",
    9: "igp",
    IPPROTO_UDP: "udp",
    IPPROTO_DCCP: "dccp",
    IPPROTO_IPV6: "ipv6",
    46: "rsvp",
    IPPROTO_GRE: "gre",
    IPPROTO_ESP: "esp",
    IPPROTO_AH: "ah",
    IPPROTO_ICMPV6: "icmpv6",
    IPPROTO_NONE: "none",
    88: "eigrp",
    89: "ospf",
    94: "ipip",
    103: "pim",
    108: "ipcomp",
    112: "vrrp",
    IPPROTO_SCTP: "sctp",
    IPPROTO_MH: "mh",
    IPPROTO_UDPLITE: "udplite",
    137: "mpls",
}

ETHERTYPE_NAMES = {
    ETH_P_IP: "ip",
    ETH_P_ARP: "arp",
    ETH_P_RARP: "rarp",
    ETH_P_IPV6: "ip6",
    0x0842: "wol",
    0x8847: "mpls",
    0x8848: "mpls",
    0x8863: "pppoe-d",
    0x8864: "pppoe",
    0x888E: "eapol",
    0x88CC: "lldp",
    0x88E5: "macsec",
    0x88F7: "ptp",
    0x8902: "cfm",
    0x9000: "loopback",
}

# https://www.tcpdump.org/linktypes.html
LINK_NULL = 0
LINK_ETHERNET = 1
LINK_RAW_BSD = 12
LINK_RAW_OPENBSD = 14
LINK_RAW = 101
LINK_LOOP = 108
LINK_SLL = 113
LINK_IPV4 = 228
LINK_IPV6 = 229
LINK_SLL2 = 276

PORT_VXLAN = 4789  # RFC 7348
ARPHRD_NETLINK = 824  # linux/if_arp.h: an SLL record of it carries no ethertype

PACKET_OUTGOING = 4  # linux/if_packet.h
DIRECTION_UNKNOWN = 255
