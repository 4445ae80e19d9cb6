"""One packet as a tree of layers and fields, each with its bytes, made by scapy, which is imported on first use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nettop.linux import linktypes
from nettop.text.packet import icmp_message, icmpv6_message, tcp_flag_names
from nettop.text.sanitize import clean, clean_bytes

MAX_DISSECTED = 4_096  # bytes given to scapy: limits the time that hostile bytes can cost
MAX_LAYERS = 24
MAX_FIELDS = 64  # of one layer
MAX_ITEMS = 24  # of one list in a field
MAX_TEXT = 160


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A line of the tree: a layer (depth 0), its fields (1), the parts of a field (2)."""

    depth: int
    name: str
    text: str
    start: int
    end: int  # of the record: bytes start to end; both 0 when not known


def dissect(data: bytes, linktype: int) -> list[TreeNode]:
    """Return the layers and fields of a frame. Never raises: where scapy fails the last line is "not dissected"."""
    nodes: list[TreeNode] = []
    try:
        packet = _dissected(data[:MAX_DISSECTED], linktype)
        for node in _layers(packet, len(data)):
            nodes.append(node)  # noqa: PERF402 - layers before an exception are kept
    except (Exception, RecursionError) as error:
        nodes.append(TreeNode(0, "not dissected", type(error).__name__, 0, len(data)))
    if len(data) > MAX_DISSECTED:
        nodes.append(TreeNode(0, "not dissected", f"bytes {MAX_DISSECTED} to {len(data)}", MAX_DISSECTED, len(data)))
    return nodes


def _dissected(data: bytes, linktype: int) -> Any:
    layer = _link_layer(linktype, data)
    if layer is None:
        raise ValueError(f"link type {linktype}")
    return layer(data)


_ready: dict[int, Any] = {}


def _link_layer(linktype: int, data: bytes) -> Any:
    """Return scapy's class for a link type. The first call imports scapy, which costs a quarter of a second."""
    if not _ready:
        logging.getLogger("scapy").setLevel(logging.CRITICAL)  # it would write to the terminal
        _keep_from_network()
        from scapy.layers import dhcp, dhcp6, dns, inet, inet6, l2, ntp, sctp, vxlan  # noqa: F401

        _ready.update(
            {
                linktypes.LINKTYPE_ETHERNET: l2.Ether,
                linktypes.LINKTYPE_NULL: l2.Loopback,
                linktypes.LINKTYPE_LOOP: l2.Loopback,
                linktypes.LINKTYPE_SLL: l2.CookedLinux,
                linktypes.LINKTYPE_SLL2: l2.CookedLinuxV2,
                linktypes.LINKTYPE_IPV4: inet.IP,
                linktypes.LINKTYPE_IPV6: inet6.IPv6,
                -4: inet.IP,
                -6: inet6.IPv6,
            }
        )
    if linktype in (linktypes.LINKTYPE_RAW, linktypes.LINKTYPE_RAW_BSD, linktypes.LINKTYPE_RAW_OPENBSD):
        return _ready.get(-(data[0] >> 4)) if data else None
    return _ready.get(linktype)


def _keep_from_network() -> None:
    """Have scapy not read the host's devices and routes at import: the confined app has no sockets."""
    from scapy.config import conf
    from scapy.interfaces import NetworkInterfaceDict

    conf.route_autoload = conf.route6_autoload = False
    NetworkInterfaceDict.reload = lambda self: None


def _layers(packet: Any, size: int) -> Iterator[TreeNode]:
    at = 0
    for _ in range(MAX_LAYERS):
        if not packet:
            return
        header = packet.raw_packet_cache
        length = len(header) if header is not None else 0
        name = type(packet).__name__
        if name in ("Raw", "Padding"):
            load = bytes(packet.load)
            yield TreeNode(0, "Payload" if name == "Raw" else "Padding", f"{len(load)} bytes", at, at + len(load))
            at += len(load)
        elif name != "NoPayload":
            title = _NAMES.get(name) or str(packet.name)[:MAX_TEXT]
            yield TreeNode(0, title, _safe(_title, packet), at, min(size, at + length))
            yield from _fields(packet, header or b"", at)
            at += length
        packet = packet.payload


def _safe(make: Callable[..., str], *values: Any) -> str:
    """Return the text, or "" where the packet is not as its class expects."""
    try:
        return make(*values)
    except Exception:
        return ""


_NAMES = {
    "Ether": "Ethernet",
    "Dot3": "802.3",
    "IP": "IPv4",
    "IPv6": "IPv6",
    "Dot1Q": "VLAN",
    "Dot1AD": "VLAN",
    "CookedLinux": "Linux cooked",
    "CookedLinuxV2": "Linux cooked",
}


def _title(packet: Any) -> str:
    kind = type(packet).__name__
    if kind.startswith("ICMPv6"):
        return icmpv6_message(packet.type << 8 | packet.code)
    make = _TITLES.get(kind)
    return make(packet) if make else ""


_TITLES: dict[str, Callable[[Any], str]] = {
    "Ether": lambda p: f"{p.src} → {p.dst}",
    "Dot3": lambda p: f"{p.src} → {p.dst}",
    "Dot1Q": lambda p: f"id {p.vlan}   priority {p.prio}",
    "Dot1AD": lambda p: f"id {p.vlan}   priority {p.prio}",
    "ARP": lambda p: f"{p.psrc} → {p.pdst}",
    "IP": lambda p: f"{p.src} → {p.dst}   ttl {p.ttl}   id 0x{p.id:04x}   {p.flags}",
    "IPv6": lambda p: f"{p.src} → {p.dst}   hop limit {p.hlim}",
    "TCP": lambda p: f"{p.sport} → {p.dport}   {tcp_flag_names(int(p.flags))}",
    "UDP": lambda p: f"{p.sport} → {p.dport}   length {p.len}",
    "SCTP": lambda p: f"{p.sport} → {p.dport}",
    "ICMP": lambda p: icmp_message(p.type << 8 | p.code),
    "DNS": lambda p: "response" if p.qr else "query",
    "VXLAN": lambda p: f"VNI {p.vni}",
}

_WORDS = {
    "sport": "Source port",
    "dport": "Destination port",
    "seq": "Seq",
    "ack": "Ack",
    "dataofs": "Header words",
    "reserved": "Reserved",
    "flags": "Flags",
    "window": "Window",
    "chksum": "Checksum",
    "cksum": "Checksum",
    "urgptr": "Urgent pointer",
    "options": "Options",
    "src": "Source",
    "dst": "Destination",
    "ttl": "Time to live",
    "hlim": "Hop limit",
    "proto": "Protocol",
    "nh": "Next header",
    "len": "Length",
    "plen": "Payload length",
    "ihl": "Header words",
    "version": "Version",
    "tos": "Type of service",
    "tc": "Traffic class",
    "fl": "Flow label",
    "id": "Id",
    "frag": "Fragment offset",
    "type": "Type",
    "code": "Code",
    "vlan": "VLAN id",
    "prio": "Priority",
    "hwsrc": "Sender MAC",
    "psrc": "Sender address",
    "hwdst": "Target MAC",
    "pdst": "Target address",
    "op": "Operation",
}


def _fields(packet: Any, header: bytes, base: int) -> Iterator[TreeNode]:
    spans = _spans(packet, header)
    for number, field in enumerate(packet.fields_desc[:MAX_FIELDS]):
        if hasattr(field, "cond") and not _safe(_is_there, packet, field):
            continue
        start, end = spans[number] if number < len(spans) else (0, 0)
        where = (base + start, base + end) if end > start else (0, 0)
        value = packet.getfieldval(field.name)
        if value in ([], {}, None):
            continue
        name = _WORDS.get(field.name, field.name)
        if isinstance(value, list) and value and hasattr(value[0], "fields_desc"):
            yield TreeNode(1, name, f"{len(value)}", *where)
            for item in value[:MAX_ITEMS]:
                yield TreeNode(2, str(item.name), _item(item), *where)
        else:
            yield TreeNode(1, name, _safe(_value, packet, field, value), *where)


def _is_there(packet: Any, field: Any) -> str:
    """Return "yes" for a conditional field that this packet has, else ""."""
    return "yes" if field._evalcond(packet) else ""


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


_OPTIONS = {"SAckOK": "SACK permitted", "Timestamp": "timestamps", "SAck": "SACK"}
_IN_WORDS: dict[tuple[str, str], Callable[[Any], str]] = {
    ("TCP", "flags"): lambda value: f"0x{int(value):03x} {tcp_flag_names(int(value))}",
    ("TCP", "options"): _tcp_options,
}


def _value(packet: Any, field: Any, value: Any) -> str:
    if (in_words := _IN_WORDS.get((type(packet).__name__, field.name))) is not None:
        return in_words(value)[:MAX_TEXT]
    if isinstance(value, bytes):
        return clean_bytes(value[:MAX_TEXT])
    text = clean(str(field.i2repr(packet, value)))
    if isinstance(value, int) and not isinstance(value, bool) and str(value) not in text:
        text = f"{text} ({value})"
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _item(item: Any) -> str:
    parts = []
    for field in item.fields_desc[:12]:
        text = _safe(_value, item, field, item.getfieldval(field.name))
        if text:
            parts.append(f"{field.name} {text}")
    return "  ".join(parts)[: 2 * MAX_TEXT]


def _spans(packet: Any, header: bytes) -> list[tuple[int, int]]:
    """Return the bytes of the header that each field covers, by parsing it again, up to the first error."""
    spans: list[tuple[int, int]] = []
    rest: Any = header
    try:
        for field in packet.fields_desc[:MAX_FIELDS]:
            before = _position(header, rest)
            rest, _ = field.getfield(packet, rest)
            after = _position(header, rest)
            spans.append((before, max(after, before + isinstance(rest, tuple))))
    except Exception:
        return spans
    return spans


def _position(header: bytes, rest: Any) -> int:
    """Return where the remainder begins; scapy gives a pair while bits of a byte remain."""
    left = rest[0] if isinstance(rest, tuple) else rest
    return len(header) - len(left)
