"""The packet that an ICMP error quotes (RFC 792, RFC 4443): `10.9.0.7 udp port 80`, as tcpdump writes it."""

from __future__ import annotations

from nettop.linux import inet
from nettop.linux.socket import AF_INET6
from nettop.text.address import address_text, ipv4_text
from nettop.text.packet import proto_name

_ERRORS, _ERRORS_V6 = frozenset((3, 4, 5, 11, 12)), frozenset((1, 2, 3, 4))  # types
_REDIRECT, _TOO_BIG_CODE, _PACKET_TOO_BIG = 5, (3, 4), 2
_SKIPPED = frozenset((inet.IPPROTO_HOPOPTS, inet.IPPROTO_ROUTING, inet.IPPROTO_DSTOPTS))


def quoted(message: bytes, v6: bool) -> str:
    """Return the destination that the packet in an error was sent to, and what the error adds; "" without one.

    `message` is the ICMP message from its type on.
    """
    if len(message) < 8 or message[0] not in (_ERRORS_V6 if v6 else _ERRORS):
        return ""
    end = destination(message[8:])
    return f": {end}{_more(message, v6)}" if end else ""


def _more(message: bytes, v6: bool) -> str:
    if v6:
        return f", mtu {int.from_bytes(message[4:8], 'big')}" if message[0] == _PACKET_TOO_BIG else ""
    if message[0] == _REDIRECT:
        return f", gateway {ipv4_text(int.from_bytes(message[4:8], 'big'))}"
    mtu = int.from_bytes(message[6:8], "big")
    return f", mtu {mtu}" if (message[0], message[1]) == _TOO_BIG_CODE and mtu else ""


def ends(packet: bytes) -> str:
    """Return `10.9.0.2 > 10.9.0.7 udp port 80` of an IP packet; "" if it is none, or cut off."""
    end = destination(packet)
    return f"{_address(packet, 12, 8)} > {end}" if end else ""


def destination(packet: bytes) -> str:
    """Return `10.9.0.7 udp port 80` of an IP packet; "" if it is none, or cut off."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        first = int.from_bytes(packet[6:8], "big") & 0x1FFF == 0
        proto, l4 = packet[9], packet[(packet[0] & 15) * 4 :] if first else b""
    elif version == 6 and len(packet) >= 40:
        proto, l4 = _transport_v6(packet)
    else:
        return ""
    return f"{_address(packet, 16, 24)} {_protocol(proto, l4)}"


def _address(packet: bytes, at: int, at_v6: int) -> str:
    if packet[0] >> 4 == 4:
        return ipv4_text(int.from_bytes(packet[at : at + 4], "big"))
    halves = (int.from_bytes(packet[part : part + 8], "big") for part in (at_v6, at_v6 + 8))
    return address_text(AF_INET6, *halves)


def _transport_v6(packet: bytes) -> tuple[int, bytes]:
    proto, l4 = packet[6], packet[40:]
    for _ in range(8):
        if proto not in _SKIPPED or len(l4) < 8:
            break
        proto, l4 = l4[0], l4[(l4[1] + 1) * 8 :]
    return proto, l4


def _protocol(proto: int, l4: bytes) -> str:
    """Return `udp port 80`, or `icmp` for a protocol without ports or where they are cut off."""
    port = f" port {int.from_bytes(l4[2:4], 'big')}" if proto in inet.WITH_PORTS and len(l4) >= 4 else ""
    return f"{proto_name(proto)}{port}"
