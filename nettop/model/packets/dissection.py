"""One packet as a tree of layers and fields, each with its bytes, made by scapy, which is imported on first use."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nettop.linux import linktypes
from nettop.linux.packet import ETH_P_RARP
from nettop.model.packets.dissection_words import NOT_SENT, field_word, layer_name, layer_text, layer_title, value_words
from nettop.text.packet import linktype_name
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
        layer = _link_layer(linktype, data)
        if data and layer is None:
            return [TreeNode(0, "not dissected", f"link type {linktype_name(linktype)}", 0, len(data))]
        for node in _layers(layer(data[:MAX_DISSECTED]), len(data)) if data else ():
            nodes.append(node)  # noqa: PERF402 - layers before an exception are kept
    except (Exception, RecursionError):
        nodes.append(TreeNode(0, "not dissected", "cut off, or not as its protocol requires", 0, len(data)))
    if len(data) > MAX_DISSECTED:
        nodes.append(TreeNode(0, "not dissected", f"bytes {MAX_DISSECTED} to {len(data)}", MAX_DISSECTED, len(data)))
    return nodes


_ready: dict[int, Any] = {}
_RAW = 1 << 16  # plus the IP version of a frame without a link header: no link type is so high


def _link_layer(linktype: int, data: bytes) -> Any:
    """Return scapy's class for a link type. The first call imports scapy, which costs a quarter of a second."""
    if not _ready:
        logging.getLogger("scapy").setLevel(logging.CRITICAL)  # it would write to the terminal
        _keep_from_network()
        from scapy.layers import dhcp, dhcp6, dns, inet, inet6, ipsec, l2, ntp, sctp, vxlan  # noqa: F401

        _bind(l2, inet, inet6, ipsec)
        _ready.update(
            {
                linktypes.LINKTYPE_ETHERNET: l2.Ether,
                linktypes.LINKTYPE_NULL: l2.Loopback,
                linktypes.LINKTYPE_LOOP: l2.Loopback,
                linktypes.LINKTYPE_SLL: l2.CookedLinux,
                linktypes.LINKTYPE_SLL2: l2.CookedLinuxV2,
                linktypes.LINKTYPE_IPV4: inet.IP,
                linktypes.LINKTYPE_IPV6: inet6.IPv6,
                _RAW + 4: inet.IP,
                _RAW + 6: inet6.IPv6,
            }
        )
    if linktype in (linktypes.LINKTYPE_RAW, linktypes.LINKTYPE_RAW_BSD, linktypes.LINKTYPE_RAW_OPENBSD):
        return _ready.get(_RAW + (data[0] >> 4)) if data else None
    return _ready.get(linktype)


def _bind(l2: Any, inet: Any, inet6: Any, ipsec: Any) -> None:
    """Add what scapy does not follow: RARP, and what an authentication header is before."""
    from scapy.packet import bind_bottom_up

    for lower, field in (
        (l2.Ether, "type"),
        (l2.Dot1Q, "type"),
        (l2.CookedLinux, "proto"),
        (l2.CookedLinuxV2, "proto"),
    ):
        bind_bottom_up(lower, l2.ARP, {field: ETH_P_RARP})
    for number, layer in ((1, inet.ICMP), (4, inet.IP), (6, inet.TCP), (17, inet.UDP), (41, inet6.IPv6)):
        bind_bottom_up(ipsec.AH, layer, {"nh": number})


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
        if header is None:  # of ICMP, whose payload scapy may change
            header = packet.original[: len(packet.original) - len(packet.payload.original or b"")]
        name = type(packet).__name__
        if name in ("Raw", "Padding"):
            load = bytes(packet.load)
            yield TreeNode(0, "Payload" if name == "Raw" else "Padding", f"{len(load)} bytes", at, at + len(load))
            at += len(load)
        elif name != "NoPayload":
            title = layer_title(packet)[:MAX_TEXT]
            yield TreeNode(0, title, _safe(layer_text, packet), at, min(size, at + len(header)))
            yield from _fields(packet, header, at)
            at += len(header)
        packet = packet.payload


def _safe(make: Callable[..., Any], *values: Any) -> Any:
    """Return the text or condition, or "" where the packet is not as its class expects."""
    try:
        return make(*values)
    except Exception:
        return ""


def _fields(packet: Any, header: bytes, base: int) -> Iterator[TreeNode]:
    spans = _spans(packet, header)
    for number, field in enumerate(packet.fields_desc[:MAX_FIELDS]):
        if hasattr(field, "cond") and not _safe(field._evalcond, packet):
            continue
        start, end = spans[number] if number < len(spans) else (0, 0)
        where = (base + start, base + end) if end > start else (0, 0)
        value = packet.getfieldval(field.name)
        if value in ([], {}, None, b"") or field.name in NOT_SENT:
            continue
        name = field_word(layer_name(packet), field.name)
        if isinstance(value, list) and value and hasattr(value[0], "fields_desc"):
            yield TreeNode(1, name, f"{len(value)}", *where)
            for item in value[:MAX_ITEMS]:
                yield TreeNode(2, str(item.name), _item(item), *where)
        else:
            yield TreeNode(1, name, _safe(_value, packet, field, value), *where)


def _value(packet: Any, field: Any, value: Any) -> str:
    if (in_words := value_words(layer_name(packet), field.name)) is not None:
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
