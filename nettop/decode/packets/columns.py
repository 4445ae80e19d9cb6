"""The columns of decoded packets: their dtypes, the `have` bits of what is present, and the error codes."""

from __future__ import annotations

import numpy as np

HAVE_VLAN = 1 << 0  # vlan: the outer tag's id
HAVE_ETHERTYPE = 1 << 1  # ethertype is set: the one after all tags, or the one that the link header implies
HAVE_LLC = 1 << 2  # 802.3 with a length instead of a type, before an LLC header
HAVE_IP = 1 << 3  # a whole IPv4 or IPv6 header: addresses, proto, ttl, l4
HAVE_ARP = 1 << 4  # src_lo and dst_lo are ARP's sender and target (family stays 0), dport is the operation
HAVE_FRAGMENT = 1 << 5  # part of a fragmented packet: frag and ip_id are set
HAVE_LATER_FRAGMENT = 1 << 6  # not the first fragment: no layer 4 header
HAVE_PORTS = 1 << 7  # sport and dport are ports (TCP, UDP, UDP-Lite, SCTP, DCCP)
HAVE_ICMP = 1 << 8  # dport is type << 8 | code
HAVE_ICMP_ID = 1 << 9  # sport is the echo (or timestamp) id, seq its sequence number
HAVE_TCP = 1 << 10  # a whole TCP header: flags, seq, ack, window
HAVE_TUNNEL = 1 << 11  # tunnel: GRE key, VXLAN VNI, or the SPI of ESP and AH
HAVE_PAYLOAD = 1 << 12  # payload is known
HAVE_DIRECTION = 1 << 13  # direction is set: PACKET_* of linux/if_packet.h
HAVE_INNER_VLAN = 1 << 14  # inner_vlan: the id of the last tag, if there are several
HAVE_AH = 1 << 15  # an authentication header: IPv4's protocol, or an extension header of IPv6

# The *_hi halves exist in a Columns only if one of its rows is IPv6. Offsets are from the frame's first byte.
PACKET_DTYPES: dict[str, type[np.generic]] = {
    "ts_ns": np.int64,
    "len": np.uint32,  # on the wire
    "caplen": np.uint32,
    "direction": np.uint8,
    "vlan": np.uint16,
    "inner_vlan": np.uint16,
    "ethertype": np.uint16,
    "family": np.uint8,  # AF_INET 2, AF_INET6 10, else 0; set by the link layer, even if the IP header is cut off
    "proto": np.uint8,  # IPPROTO_*, after IPv6 extension headers
    "src_lo": np.uint64,
    "dst_lo": np.uint64,
    "src_hi": np.uint64,
    "dst_hi": np.uint64,
    "sport": np.uint16,
    "dport": np.uint16,
    "flags": np.uint16,  # TCP, nine bits: FIN 1 … CWR 128, NS 256
    "seq": np.uint32,
    "ack": np.uint32,
    "window": np.uint16,
    "payload": np.uint32,  # bytes after the TCP or UDP header, else after the IP headers
    "ttl": np.uint8,  # or hop limit
    "ip_id": np.uint32,  # IPv4: every packet; IPv6: fragments
    "frag": np.uint16,  # offset in bytes | FRAG_MORE | FRAG_DONT
    "size": np.uint32,  # bytes of the IP packet with its header, without padding of the frame
    "l3": np.uint16,
    "l4": np.uint16,  # 0: none
    "tunnel": np.uint32,
    "have": np.uint16,
}
PACKET_HI = ("src_hi", "dst_hi")

FRAG_DONT = 1 << 1  # the offset is a multiple of 8, which leaves three bits
FRAG_MORE = 1 << 0
FRAG_OFFSET = 0xFFF8

BAD_LINK, BAD_TAGS, BAD_IPV4, BAD_IPV6, BAD_EXTENSION, BAD_TRANSPORT, BAD_ARP = range(1, 8)
ERROR_TEXT = {
    BAD_LINK: "link header cut off",
    BAD_TAGS: "VLAN tags cut off, or more than eight",
    BAD_IPV4: "IPv4 header cut off, or its version or length is wrong",
    BAD_IPV6: "IPv6 header cut off, or its version is wrong",
    BAD_EXTENSION: "IPv6 extension headers cut off, or more than sixteen",
    BAD_TRANSPORT: "transport header cut off, or its length is wrong",
    BAD_ARP: "ARP cut off",
}
