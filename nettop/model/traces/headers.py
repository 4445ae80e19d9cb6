"""The ends of a traced packet, from the header bytes of a record: RFC 791, 8200, 9293, 768, 792, 4443.

Of an IPv6 fragment but the first, nf_tables has no network header; its first bytes are the transport header's.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

from nettop.linux.inet import IPPROTO_FRAGMENT, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, WITH_PORTS
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.text.address import with_port
from nettop.text.packet import icmp_message, icmpv6_message, proto_name, tcp_flag_names

_IPV4 = Struct("!2xHHHxBxx4s4s").unpack_from  # total length, id, flags and fragment offset, protocol, addresses
_IPV6 = Struct("!4xHBx16s16s").unpack_from  # payload length, next header, addresses
_IPV6_BEGIN = Struct("!4xHB").unpack_from
_MORE, _OFFSET = 0x2000, 0x1FFF
_PORTS = Struct("!HH").unpack_from
_TCP_FLAGS = 13
_FIXED_IPV6, _BEGIN_IPV6 = 40, 20


@dataclass(frozen=True, slots=True)
class PacketHead:
    """The protocol and ends of a packet; `length` is that of the IP packet in bytes. None: not in the headers."""

    proto: int | None = None
    src: str | None = None
    dst: str | None = None
    sport: int | None = None
    dport: int | None = None
    length: int | None = None
    info: str = ""  # TCP flags, ICMP message
    family: int = 0  # AF_INET, AF_INET6; 0: not known, and the addresses as numbers are 0
    src_number: int = 0
    dst_number: int = 0
    fragment: int | None = None  # of a fragment: its IP id, 0 of IPv6

    @property
    def proto_text(self) -> str:
        """The protocol's name, `ip` if it is not known."""
        return "ip" if self.proto is None else proto_name(self.proto)

    @property
    def way(self) -> str:
        """`10.0.0.1:4000 → 10.0.0.2:53`; "" without addresses."""
        return "" if self.src is None else f"{self.source} → {self.destination}"

    @property
    def source(self) -> str:
        """The address and port it comes from."""
        return _end(self.src, self.sport)

    @property
    def destination(self) -> str:
        """The address and port it goes to."""
        return _end(self.dst, self.dport)


@lru_cache(64)  # the first record of each base chain has them
def packet_head(network: bytes, transport: bytes, behind: int | None = None) -> PacketHead:
    """Return what the bytes say; of bytes that are no IP header an empty head.

    `behind` is the protocol behind extension headers of IPv6, if it is known.
    """
    fragment, begins, note = None, True, ""
    if len(network) >= 20 and network[0] >> 4 == 4:
        length, ident, place, proto, *found = _IPV4(network)
        family = AF_INET
        if place & (_MORE | _OFFSET):
            fragment, at = ident, (place & _OFFSET) * 8
            begins, note = not at, f"fragment at {at}, id {ident}" if at else f"first fragment, id {ident}"
    elif len(network) >= _FIXED_IPV6 and network[0] >> 4 == 6:
        length, proto, *found = _IPV6(network)
        length += _FIXED_IPV6
        family = AF_INET6
        fragment, note = (0, "first fragment") if proto == IPPROTO_FRAGMENT else (None, "")
        proto = proto if behind is None else behind
    elif not network and len(transport) >= _BEGIN_IPV6 and transport[0] >> 4 == 6:
        length, proto = _IPV6_BEGIN(transport)
        length += _FIXED_IPV6
        return PacketHead(proto, length=length, info="later fragment: no addresses", family=AF_INET6, fragment=0)
    else:
        return PacketHead()
    has_ports = begins and proto in WITH_PORTS and len(transport) >= 4
    sport, dport = _PORTS(transport) if has_ports else (None, None)
    (src, src_number), (dst, dst_number) = map(_address, found)
    info = ", ".join(filter(None, (_info(proto, transport) if begins else "", note)))
    return PacketHead(proto, src, dst, sport, dport, length, info, family, src_number, dst_number, fragment)


@lru_cache(4096)
def _address(raw: bytes) -> tuple[str, int]:
    """Return an address as text and as a number."""
    found = ipaddress.ip_address(raw)
    return str(found), int(found)


def _info(proto: int, transport: bytes) -> str:
    if proto == IPPROTO_TCP and len(transport) > _TCP_FLAGS:
        return f"[{tcp_flag_names(transport[_TCP_FLAGS])}]"
    if proto in (IPPROTO_ICMP, IPPROTO_ICMPV6) and len(transport) >= 2:
        typecode = transport[0] << 8 | transport[1]
        return icmp_message(typecode) if proto == IPPROTO_ICMP else icmpv6_message(typecode)
    return ""


def _end(address: str | None, port: int | None) -> str:
    if address is None:
        return ""
    return address if port is None else with_port(address, port)
