"""Frames and packet sockets: linux/if_ether.h, linux/if_packet.h."""

from struct import Struct

# linux/if_ether.h
ETH_P_ALL = 0x0003
ETH_P_802_3_MIN = 0x0600  # a smaller value is a length
ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_RARP = 0x8035
ETH_P_8021Q = 0x8100
ETH_P_IPV6 = 0x86DD
ETH_P_MPLS = 0x8847  # linux: ETH_P_MPLS_UC
ETH_P_PPP_DISC, ETH_P_PPP_SES = 0x8863, 0x8864
ETH_P_8021AD = 0x88A8
ETH_P_LOOPBACK = 0x9000
ETH_P_QINQ1 = 0x9100
STP_SAP = 0x42  # of LLC, where a frame has no ethertype: IEEE 802.1D

# linux/if_packet.h
PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST, PACKET_OTHERHOST, PACKET_OUTGOING = range(5)
PACKET_KERNEL = 7  # a message to the kernel, seen by a netlink tap
DIRECTION_UNKNOWN = 255  # not a number of the kernel: none of the above
PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 1, 1
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, PACKET_IGNORE_OUTGOING = 5, 6, 10, 23
TPACKET_V3 = 2
SOCKADDR_LL = Struct("=HHiHBB8x")  # family, protocol (network order), ifindex, hatype, pkttype, halen; an address
TP_STATUS_KERNEL, TP_STATUS_USER = 0, 1
TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 3, 1 << 4, 1 << 6
TP_STATUS_CSUM_VALID, TP_STATUS_GSO_TCP = 1 << 7, 1 << 8
