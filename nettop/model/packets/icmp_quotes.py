"""The packet that an ICMP error quotes (RFC 792, RFC 4443): `10.9.0.7 udp port 80`, as tcpdump writes it."""

from __future__ import annotations

from nettop.linux import inet
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
    inner = message[8:]
    end = _destination_v6(inner) if v6 else _destination(inner)
    return f": {end}{_more(message, v6)}" if end else ""


def _more(message: bytes, v6: bool) -> str:
    if v6:
        return f", mtu {int.from_bytes(message[4:8], 'big')}" if message[0] == _PACKET_TOO_BIG else ""
    if message[0] == _REDIRECT:
        return f", gateway {ipv4_text(int.from_bytes(message[4:8], 'big'))}"
    mtu = int.from_bytes(message[6:8], "big")
    return f", mtu {mtu}" if (message[0], message[1]) == _TOO_BIG_CODE and mtu else ""


def _destination(inner: bytes) -> str:
    if len(inner) < 20 or inner[0] >> 4 != 4:
        return ""
    first = int.from_bytes(inner[6:8], "big") & 0x1FFF == 0
    l4 = inner[(inner[0] & 15) * 4 :] if first else b""
    return _end(ipv4_text(int.from_bytes(inner[16:20], "big")), inner[9], l4)


def _destination_v6(inner: bytes) -> str:
    if len(inner) < 40 or inner[0] >> 4 != 6:
        return ""
    proto, l4 = inner[6], inner[40:]
    for _ in range(8):
        if proto not in _SKIPPED or len(l4) < 8:
            break
        proto, l4 = l4[0], l4[(l4[1] + 1) * 8 :]
    return _end(address_text(10, int.from_bytes(inner[24:32], "big"), int.from_bytes(inner[32:40], "big")), proto, l4)


def _end(address: str, proto: int, l4: bytes) -> str:
    """Return `10.9.0.7 udp port 80`, or `10.9.0.7 icmp` for a protocol without ports or where they are cut off."""
    port = f" port {int.from_bytes(l4[2:4], 'big')}" if proto in inet.WITH_PORTS and len(l4) >= 4 else ""
    return f"{address} {proto_name(proto)}{port}"
