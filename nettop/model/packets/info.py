"""The INFO of visible packets, similar to Wireshark's: TCP flags and options, DNS questions, TLS names, ARP, ICMP.

For the rows on screen only. Reads a few fields after the ports; hostile bytes give less text, never an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from nettop.decode.packets import columns as pc
from nettop.linux.inet import IPPROTO_TCP, IPPROTO_UDP, PORT_VXLAN
from nettop.text.packet import tcp_flag_names
from nettop.text.sanitize import clean_bytes

PORT_DNS, PORT_MDNS, PORT_DHCP, PORT_DHCP_CLIENT, PORT_NTP = 53, 5353, 67, 68, 123  # IANA
TLS_HANDSHAKE, TLS_CLIENT_HELLO, TLS_SERVER_HELLO, TLS_SERVER_NAME = 22, 1, 2, 0  # RFC 8446, RFC 6066
_TLS_RECORDS = {20: "Change Cipher Spec", 21: "Alert", 22: "Handshake", 23: "Application Data"}
_DNS_TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 65: "HTTPS",
    255: "ANY",
}  # fmt: skip
_DNS_CODES = {1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
_DHCP_MESSAGES = {1: "Discover", 2: "Offer", 3: "Request", 4: "Decline", 5: "ACK", 6: "NAK", 7: "Release", 8: "Inform"}
_NTP_MODES = {1: "symmetric", 2: "symmetric", 3: "client", 4: "server", 5: "broadcast", 6: "control"}  # RFC 5905
_HTTP = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"HTTP/1.")
MAX_NAME = 255  # RFC 1035


@dataclass(frozen=True, slots=True)
class PacketHeader:
    """The columns of one row that are needed here."""

    have: int
    proto: int
    sport: int
    dport: int
    flags: int
    seq: int
    ack: int
    window: int
    payload: int
    l4: int


def application(header: PacketHeader, record: bytes) -> tuple[str, str] | None:
    """Return the application protocol and its info; None where it is not recognised."""
    if not header.have & pc.HAVE_PORTS or not header.l4:
        return None
    try:
        if header.proto == IPPROTO_UDP:
            return _datagram(header, record[header.l4 + 8 :])
        if header.proto == IPPROTO_TCP and header.payload:
            return _segment(header, record[header.l4 + (record[header.l4 + 12] >> 4) * 4 :])
    except (struct.error, IndexError):  # cut off, or with wrong lengths
        return None
    return None


def _datagram(header: PacketHeader, data: bytes) -> tuple[str, str] | None:
    ports = {header.sport, header.dport}
    if ports & {PORT_DNS, PORT_MDNS}:
        return "MDNS" if PORT_MDNS in ports else "DNS", dns_text(data)
    if ports & {PORT_DHCP, PORT_DHCP_CLIENT}:
        return "DHCP", _dhcp_text(data)
    if PORT_NTP in ports and len(data) >= 48:
        return "NTP", f"NTPv{data[0] >> 3 & 7} {_NTP_MODES.get(data[0] & 7, '')}".rstrip()
    if header.dport == PORT_VXLAN and len(data) >= 8:
        return "VXLAN", f"VNI {int.from_bytes(data[4:7], 'big')}"
    return None


def _segment(header: PacketHeader, data: bytes) -> tuple[str, str] | None:
    if data.startswith(_HTTP):
        return "HTTP", clean_bytes(data[:200].split(b"\r\n", 1)[0])
    if {header.sport, header.dport} & {PORT_DNS} and len(data) > 14:
        return "DNS", dns_text(data[2:])
    if len(data) >= 6 and data[0] in _TLS_RECORDS and data[1] == 3 and data[2] <= 4:
        return "TLS", _tls_text(data)
    if data.startswith(b"SSH-"):
        return "SSH", clean_bytes(data[:100].split(b"\r\n", 1)[0])
    return None


def tcp_text(header: PacketHeader, record: bytes, numbers: tuple[int, int]) -> str:
    """Return `[SYN] Seq=0 Len=0 Win=64240 MSS=1460 WS=128`; `numbers` are Seq and Ack as shown."""
    ack = f" Ack={numbers[1]}" if header.flags & 16 else ""
    text = f"[{tcp_flag_names(header.flags)}] Seq={numbers[0]}{ack} Len={header.payload} Win={header.window}"
    return text + ("".join(f" {option}" for option in tcp_options(header, record)) if header.flags & 2 else "")


def tcp_options(header: PacketHeader, record: bytes) -> Iterator[str]:
    """Yield MSS, window scale, SACK permitted (RFC 9293, 7323, 2018), up to the first that is cut off."""
    if len(record) < header.l4 + 20:
        return
    at, end = header.l4 + 20, min(len(record), header.l4 + (record[header.l4 + 12] >> 4) * 4)
    while at + 1 < end and record[at] != 0:
        kind, size = record[at], record[at + 1]
        if kind == 1:
            at += 1
            continue
        if size < 2 or at + size > end:
            return
        if kind == 2 and size == 4:
            yield f"MSS={int.from_bytes(record[at + 2 : at + 4], 'big')}"
        elif kind == 3 and size == 3:
            yield f"WS={1 << min(record[at + 2], 14)}"
        elif kind == 4:
            yield "SACK_PERM"
        at += size


def dns_text(data: bytes) -> str:
    """Return `query A example.net`, `answer A example.net, 2 records`, `no such name: A example.net` (RFC 1035)."""
    _, flags, questions, answers = struct.unpack_from(">HHHH", data)
    name, at = dns_name(data, 12) if questions else ("", 12)
    kind = struct.unpack_from(">H", data, at)[0] if questions else 0
    what = f"{_DNS_TYPES.get(kind, f'TYPE{kind}')} {name}" if questions else "no question"
    if not flags & 0x8000:
        return f"query {what}"
    code = flags & 15
    if code:
        return f"{_DNS_CODES.get(code, f'error {code}')}: {what}"
    return f"answer {what}, {answers} record{'' if answers == 1 else 's'}"


def dns_name(data: bytes, at: int) -> tuple[str, int]:
    """Return the name at an offset, and the offset after it; at most eight compression pointers are followed."""
    labels: list[str] = []
    after, jumps, size = 0, 0, 0
    while data[at]:
        length = data[at]
        if length >= 0xC0:
            after = after or at + 2
            at, jumps = (length & 0x3F) << 8 | data[at + 1], jumps + 1
            if jumps > 8:
                break
            continue
        size += length + 1
        if size > MAX_NAME:
            break
        labels.append(clean_bytes(data[at + 1 : at + 1 + length]))
        at += length + 1
    return ".".join(labels) or ".", after or at + 1


def _dhcp_text(data: bytes) -> str:
    """Return the message type of RFC 2132's option 53."""
    at = 240
    while at + 2 < len(data) and data[at] != 255:
        if data[at] == 53:
            return _DHCP_MESSAGES.get(data[at + 2], f"message {data[at + 2]}")
        at += 1 if data[at] == 0 else 2 + data[at + 1]
    return "BOOTP " + ("request" if data[:1] == b"\1" else "reply")


def _tls_text(data: bytes) -> str:
    kind = data[0]
    if kind != TLS_HANDSHAKE:
        return _TLS_RECORDS[kind]
    if data[5] == TLS_CLIENT_HELLO:
        name = server_name(data)
        return f"Client Hello SNI={name}" if name else "Client Hello"
    return "Server Hello" if data[5] == TLS_SERVER_HELLO else "Handshake"


def server_name(data: bytes) -> str:
    """Return the host name a TLS client asks for (RFC 8446 4.1.2, RFC 6066 3); "" if it is cut off."""
    try:
        at = 5 + 4 + 2 + 32
        at += 1 + data[at]  # session id
        at += 2 + int.from_bytes(data[at : at + 2], "big")  # cipher suites
        at += 1 + data[at]  # compression methods
        at += 2
        while at + 4 <= len(data):
            kind, size = struct.unpack_from(">HH", data, at)
            if kind == TLS_SERVER_NAME:
                length = int.from_bytes(data[at + 7 : at + 9], "big")
                return clean_bytes(data[at + 9 : at + 9 + min(length, MAX_NAME)])
            at += 4 + size
    except (IndexError, struct.error):
        return ""
    return ""


def protocol_title(name: str | None) -> str:
    """Return the PROTO column's text for a protocol: `TCP`, `ICMPv6`, `ARP`, `–`."""
    if name is None:
        return "–"
    return _TITLES.get(name) or (name if name.startswith("0x") else name.upper())


_TITLES = {"icmpv6": "ICMPv6", "udplite": "UDP-Lite", "ipv6": "IPv6"}


def short_info(text: str) -> str:
    """Return the info that `nettop read` prints, without the protocol, which the PROTO column shows."""
    for prefix in ("UDP, ", "ICMP6 ", "ICMP ", "802.3 LLC, "):
        text = text.removeprefix(prefix)
    return text
