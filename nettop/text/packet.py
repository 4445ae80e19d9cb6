"""The vocabulary of packets: tables of the names of protocols, TCP flags, ICMP and ARP messages, and directions."""

from __future__ import annotations

from nettop.text.protocols import PACKET_NAMES

# linux/if_ether.h
ETHERTYPE_NAMES = {
    0x0800: "ip", 0x0806: "arp", 0x0842: "wol", 0x8035: "rarp", 0x86DD: "ip6", 0x8847: "mpls", 0x8848: "mpls",
    0x8863: "pppoe-d", 0x8864: "pppoe", 0x888E: "eapol", 0x88CC: "lldp", 0x88E5: "macsec", 0x88F7: "ptp",
    0x8902: "cfm", 0x9000: "loopback",
}  # fmt: skip

DIRECTIONS = {0: "in", 1: "broadcast", 2: "multicast", 3: "otherhost", 4: "out"}  # linux/if_packet.h PACKET_*

# https://www.tcpdump.org/linktypes.html
LINKTYPE_NAMES = {
    0: "null", 1: "ethernet", 12: "raw", 14: "raw", 101: "raw", 105: "ieee802_11", 108: "loop", 113: "linux_sll",
    127: "ieee802_11_radiotap", 228: "ipv4", 229: "ipv6", 253: "netlink", 276: "linux_sll2",
}  # fmt: skip

# RFC 792, 1122, 1256, 1812; RFC 4443, 4861. By type, and by (type, code) if the code has a name.
_ICMP = {
    0: "echo reply", 3: "unreachable", 4: "source quench", 5: "redirect", 8: "echo request",
    9: "router advertisement", 10: "router solicitation", 11: "time exceeded", 12: "parameter problem",
    13: "timestamp request", 14: "timestamp reply", 17: "address mask request", 18: "address mask reply",
}  # fmt: skip
_ICMP_CODE = {
    (3, 0): "net unreachable", (3, 1): "host unreachable", (3, 2): "protocol unreachable",
    (3, 3): "port unreachable", (3, 4): "unreachable, need to fragment", (3, 5): "source route failed",
    (3, 9): "net prohibited", (3, 10): "host prohibited", (3, 13): "administratively prohibited",
    (5, 0): "redirect to net", (5, 1): "redirect to host", (11, 0): "time exceeded in transit",
    (11, 1): "reassembly time exceeded",
}  # fmt: skip
_ICMPV6 = {
    1: "unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem", 128: "echo request",
    129: "echo reply", 130: "multicast listener query", 131: "multicast listener report",
    132: "multicast listener done", 133: "router solicitation", 134: "router advertisement",
    135: "neighbor solicitation", 136: "neighbor advertisement", 137: "redirect",
    143: "multicast listener report v2",
}  # fmt: skip
_ICMPV6_CODE = {
    (1, 0): "no route", (1, 1): "administratively prohibited", (1, 3): "address unreachable",
    (1, 4): "port unreachable", (3, 0): "time exceeded in transit", (3, 1): "reassembly time exceeded",
}  # fmt: skip

_TCP_FLAGS = {1: "FIN", 2: "SYN", 4: "RST", 8: "PSH", 16: "ACK", 32: "URG", 64: "ECE", 128: "CWR", 256: "AE"}

# RFC 826, 903, 2390
ARP_OPERATIONS = {
    1: "Request", 2: "Reply", 3: "Reverse Request", 4: "Reverse Reply", 8: "Inverse Request", 9: "Inverse Reply",
}  # fmt: skip


def tcp_flag_names(flags: int) -> str:
    """Return the names in the order of their bits, as Wireshark does: `SYN, ACK`; `none`."""
    return ", ".join(name for bit, name in _TCP_FLAGS.items() if flags & bit) or "none"


def icmp_message(typecode: int) -> str:
    """Return `echo request`, `port unreachable`, or `type 40 code 1` without a name. `typecode` is type << 8 | code."""
    return _message(_ICMP, _ICMP_CODE, typecode)


def icmpv6_message(typecode: int) -> str:
    """Return the name of an ICMPv6 message, like icmp_message()."""
    return _message(_ICMPV6, _ICMPV6_CODE, typecode)


def _message(types: dict[int, str], codes: dict[tuple[int, int], str], typecode: int) -> str:
    kind, code = typecode >> 8, typecode & 255
    return codes.get((kind, code)) or types.get(kind) or f"type {kind} code {code}"


def proto_name(number: int) -> str:
    """Return `tcp`, or `proto-200` if the number has no name."""
    return PACKET_NAMES.get(number) or f"proto-{number}"


def ethertype_name(number: int) -> str:
    """Return `arp`, or `0x88b5` if the number has no name."""
    return ETHERTYPE_NAMES.get(number) or f"0x{number:04x}"


def linktype_name(number: int) -> str:
    """Return `ethernet`, or the number if it has no name."""
    return LINKTYPE_NAMES.get(number) or str(number)
