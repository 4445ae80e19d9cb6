"""The packet inside a tunnel's packet: `10.9.0.1 > 10.9.0.2 udp port 53`. IP in IP, GRE, VXLAN, PPPoE, MPLS."""

from __future__ import annotations

from nettop.linux import inet
from nettop.linux.packet import ETH_P_IP, ETH_P_IPV6, ETH_P_MPLS, ETH_P_PPP_SES
from nettop.model.packets.icmp_quotes import ends

_ETH_P_TEB = 0x6558  # Ethernet in GRE, linux/if_ether.h
_PPP_IP, _PPP_IPV6 = 0x0021, 0x0057  # linux/ppp_defs.h
_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQ, _GRE_VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 7  # RFC 2890
_BOTTOM = 1  # of the stack of labels, in a label's third byte (RFC 3032)
_MAX_LABELS = 8
PROTOCOLS = (inet.IPPROTO_IPIP, inet.IPPROTO_IPV6, inet.IPPROTO_GRE)
ETHERTYPES = (ETH_P_PPP_SES, ETH_P_MPLS)


def in_transport(proto: int, data: bytes) -> str:
    """Return the ends of the packet behind an IP header of this protocol, `data`; "" if there is none."""
    return _gre(data) if proto == inet.IPPROTO_GRE else ends(data)


def in_frame(ethertype: int, data: bytes) -> str:
    """Return the ends of the packet behind the header of PPPoE or MPLS, `data`; "" if there is none."""
    if ethertype == ETH_P_PPP_SES:
        return ends(data[8:]) if int.from_bytes(data[6:8], "big") in (_PPP_IP, _PPP_IPV6) else ""
    for at in range(0, 4 * _MAX_LABELS, 4):
        if data[at + 2 : at + 3] and data[at + 2] & _BOTTOM:
            return ends(data[at + 4 :])
    return ""


def in_ethernet(frame: bytes) -> str:
    """Return the ends of the IP packet in a frame; "" if there is none."""
    return ends(frame[14:]) if int.from_bytes(frame[12:14], "big") in (ETH_P_IP, ETH_P_IPV6) else ""


def _gre(data: bytes) -> str:
    flags, protocol = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    if flags & _GRE_VERSION:
        return ""
    words = bool(flags & (_GRE_CHECKSUM | _GRE_ROUTING)) + bool(flags & _GRE_KEY) + bool(flags & _GRE_SEQ)
    inner = data[4 + 4 * words :]
    if protocol == _ETH_P_TEB:
        return in_ethernet(inner)
    return ends(inner) if protocol in (ETH_P_IP, ETH_P_IPV6) else ""
