"""The words for layers and fields that scapy dissects: its classes and fields have names of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nettop.linux.packet import ETH_P_8021AD, ETH_P_8021Q, ETH_P_QINQ1
from nettop.model.packets.info import protocol_title
from nettop.text.packet import ethertype_name, icmp_message, icmpv6_message, tcp_flag_names
from nettop.text.sanitize import clean, clean_bytes

MAX_ITEMS = 24  # options
NOT_SENT: Final = frozenset(("autopad", "unused", "extpad"))  # fields of scapy that are not in the packet
_TITLES: Final = {
    **{"Ether": "Ethernet", "Dot3": "802.3", "IP": "IPv4", "IPv6": "IPv6", "Dot1Q": "VLAN", "Dot1AD": "VLAN"},
    **{"CookedLinux": "Linux cooked", "CookedLinuxV2": "Linux cooked", "NTPHeader": "NTP", "STP": "Spanning tree"},
    **{"IPv6ExtHdrHopByHop": "IPv6 hop-by-hop options", "IPv6ExtHdrDestOpt": "IPv6 destination options"},
    **{"IPv6ExtHdrFragment": "IPv6 fragment", "IPv6ExtHdrRouting": "IPv6 routing"},
}
_TEXTS: Final[dict[str, Callable[[Any], str]]] = {
    "Ether": lambda p: f"{p.src} → {p.dst}",
    "Dot3": lambda p: f"{p.src} → {p.dst}",
    "Dot1Q": lambda p: f"id {p.vlan}   priority {p.prio}",
    "Dot1AD": lambda p: f"id {p.vlan}   priority {p.prio}",
    "ARP": lambda p: f"{p.psrc} → {p.pdst}" if p.op not in (3, 4) else f"{p.hwsrc} → {p.hwdst}",
    "IP": lambda p: f"{p.src} → {p.dst}   ttl {p.ttl}   id 0x{p.id:04x}   {p.flags}",
    "IPv6": lambda p: f"{p.src} → {p.dst}   hop limit {p.hlim}",
    "AH": lambda p: f"spi 0x{p.spi:x}",
    "TCP": lambda p: f"{p.sport} → {p.dport}   {tcp_flag_names(int(p.flags))}",
    "UDP": lambda p: f"{p.sport} → {p.dport}   length {p.len}",
    "SCTP": lambda p: f"{p.sport} → {p.dport}",
    "ICMP": lambda p: icmp_message(p.type << 8 | p.code),
    "DNS": lambda p: "response" if p.qr else "query",
    "VXLAN": lambda p: f"VNI {p.vni}",
}

_WORDS: Final = {  # of fields that mean the same in every layer
    **{"sport": "Source port", "dport": "Destination port", "seq": "Seq", "ack": "Ack", "reserved": "Reserved"},
    **{"res1": "Reserved", "res2": "Reserved", "reserved1": "Reserved", "reserved2": "Reserved", "flags": "Flags"},
    **{"window": "Window", "chksum": "Checksum", "cksum": "Checksum", "urgptr": "Urgent pointer"},
    **{"options": "Options", "src": "Source", "dst": "Destination", "nh": "Next header", "len": "Length"},
    **{"length": "Length"},
    **{"version": "Version", "id": "Id", "type": "Type", "code": "Code", "spi": "SPI"},
}
_IPV4_WORDS: Final = {
    **{"ihl": "Header length", "tos": "Type of service", "frag": "Fragment offset", "ttl": "Time to live"},
    "proto": "Protocol",
}
_IPV6_WORDS: Final = {"tc": "Traffic class", "fl": "Flow label", "plen": "Payload length", "hlim": "Hop limit"}
_VLAN_WORDS: Final = {"vlan": "VLAN id", "prio": "Priority", "dei": "Drop eligible"}
_COOKED_WORDS: Final = {
    **{"pkttype": "Packet type", "lladdrtype": "Link type", "lladdrlen": "Address length", "proto": "Protocol"},
    "ifindex": "Interface",
}
_EXTENSION_WORDS: Final = {"offset": "Fragment offset", "m": "More fragments", "len": "Header length"}
_LAYER_WORDS: Final[dict[str, dict[str, str]]] = {
    "IP": _IPV4_WORDS,
    "IPv6": _IPV6_WORDS,
    "TCP": {"dataofs": "Header length"},
    "Dot1Q": _VLAN_WORDS,
    "Dot1AD": _VLAN_WORDS,
    "CookedLinux": _COOKED_WORDS,
    "CookedLinuxV2": _COOKED_WORDS,
    "ARP": {
        **{"hwtype": "Hardware type", "ptype": "Protocol type", "hwlen": "Hardware size", "plen": "Protocol size"},
        **{"op": "Operation", "hwsrc": "Sender MAC", "psrc": "Sender address", "hwdst": "Target MAC"},
        "pdst": "Target address",
    },
    "AH": {"payloadlen": "Header length", "icv": "Integrity check value"},
    "GRE": {"proto": "Protocol", "key": "Key", "seqence_number": "Seq"},
    "ICMP": {"nexthopmtu": "MTU of next hop", "gw": "Gateway", "length": "Length", "ptr": "Pointer"},
    "STP": {"proto": "Protocol id", "bpdutype": "BPDU type", "bpduflags": "BPDU flags", "age": "Message age"},
    "LLC": {"dsap": "DSAP", "ssap": "SSAP", "ctrl": "Control"},
    "BOOTP": {"op": "Operation", "xid": "Transaction id", "chaddr": "Client MAC", "yiaddr": "Your address"},
    "DNS": {
        **{"qr": "Response", "opcode": "Operation", "aa": "Authoritative", "tc": "Truncated"},
        **{"rd": "Recursion desired", "ra": "Recursion available", "z": "Reserved", "ad": "Authentic data"},
        **{"cd": "Checking disabled", "rcode": "Reply code", "qdcount": "Questions", "ancount": "Answers"},
        **{"nscount": "Authorities", "arcount": "Additional", "qd": "Question", "an": "Answer", "ns": "Authority"},
        "ar": "Additional",
    },
    "NTPHeader": {
        **{"id": "Reference id", "ref": "Reference time", "orig": "Origin time", "recv": "Receive time"},
        **{"sent": "Transmit time", "delay": "Root delay", "dispersion": "Root dispersion"},
    },
    "VXLAN": {"vni": "VNI"},
}


def layer_name(packet: Any) -> str:
    """Return the name of scapy's class; of a packet quoted in an ICMP error that of the whole packet's class."""
    name = type(packet).__name__
    return str(_QUOTED.get(name, name))


_QUOTED: Final = {f"{name}error": name for name in ("IP", "TCP", "UDP", "ICMP", "SCTP")} | {"IPerror6": "IPv6"}


def layer_title(packet: Any) -> str:
    """Return the title of a layer: `IPv4`, `TCP in ICMP`."""
    name = layer_name(packet)
    if name != type(packet).__name__:
        return f"{_TITLES.get(name, name)} in ICMP"
    return "RARP" if name == "ARP" and packet.op in (3, 4) else _TITLES.get(name, str(packet.name))


def layer_text(packet: Any) -> str:
    """Return what a layer is about, in a line: `10.0.0.1 → 10.0.0.2   ttl 64`."""
    name = layer_name(packet)
    if name.startswith("ICMPv6"):
        return icmpv6_message(packet.type << 8 | packet.code)
    make = _TEXTS.get(name)
    return make(packet) if make else ""


def field_word(layer: str, field: str) -> str:
    """Return the word for a field of a layer; scapy's own where there is none."""
    words = _EXTENSION_WORDS if layer.startswith("IPv6ExtHdr") else _LAYER_WORDS.get(layer, {})
    return words.get(field) or _WORDS.get(field, field)


def value_words(layer: str, field: str) -> Callable[[Any], str] | None:
    """Return the function that words a field's value; None where scapy's text is used."""
    return _VALUES.get(("IPv6ExtHdr" if layer.startswith("IPv6ExtHdr") else layer, field))


def _tcp_options(options: Any) -> str:
    """Return `MSS 1460, SACK permitted, timestamps 145127941 0, window scale 7 (×128)`."""
    parts = []
    for name, value in options[:MAX_ITEMS]:
        if name == "WScale":
            parts.append(f"window scale {value} (×{1 << min(value, 14)})")
        elif name not in ("NOP", "EOL"):
            values = value if isinstance(value, tuple) else (value,)
            texts = [
                clean_bytes(one) if isinstance(one, bytes) else str(one) for one in values if one not in (b"", None)
            ]
            parts.append(" ".join([_OPTIONS.get(name, str(name)), *texts]))
    return clean(", ".join(parts))


_OPTIONS: Final = {"SAckOK": "SACK permitted", "Timestamp": "timestamps", "SAck": "SACK"}


def _ethertype(value: int) -> str:
    name = "vlan" if value in (ETH_P_8021Q, ETH_P_8021AD, ETH_P_QINQ1) else ethertype_name(value)
    return name if name.startswith("0x") else f"{protocol_title(name)} (0x{value:04x})"


_VALUES: Final[dict[tuple[str, str], Callable[[Any], str]]] = {
    ("TCP", "flags"): lambda value: f"0x{int(value):03x} {tcp_flag_names(int(value))}",
    ("TCP", "options"): _tcp_options,
    ("TCP", "dataofs"): lambda value: f"{value * 4} bytes",
    ("IP", "ihl"): lambda value: f"{value * 4} bytes",
    ("IP", "frag"): lambda value: f"{value * 8} bytes",
    ("IPv6ExtHdr", "len"): lambda value: f"{(value + 1) * 8} bytes",  # RFC 8200: without the first eight
    ("IPv6ExtHdr", "offset"): lambda value: f"{value * 8} bytes",
    ("AH", "payloadlen"): lambda value: f"{(value + 2) * 4} bytes",  # RFC 4302: without the first two words
    ("Ether", "type"): _ethertype,
    ("Dot1Q", "type"): _ethertype,
    ("Dot1AD", "type"): _ethertype,
    ("CookedLinux", "proto"): _ethertype,
    ("CookedLinuxV2", "proto"): _ethertype,
    ("GRE", "proto"): _ethertype,
}
