"""Application protocols, recognised by ports and by what their messages look like; hostile bytes give no text."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from nettop.batch import Array, Batch
from nettop.columns import Columns
from nettop.decode.packets import columns as pc
from nettop.decode.packets.window import HeaderWindow
from nettop.linux.inet import IPPROTO_TCP, IPPROTO_UDP, PORT_VXLAN
from nettop.model.packets.dns import dns_text
from nettop.model.packets.tls import ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, tls_text
from nettop.model.packets.tunnels import in_ethernet
from nettop.text.sanitize import clean_bytes

PORT_DNS, PORT_MDNS, PORT_DHCP, PORT_DHCP_CLIENT, PORT_NTP = 53, 5353, 67, 68, 123  # IANA
_PORTS: Final = (PORT_DNS, PORT_MDNS, PORT_DHCP, PORT_DHCP_CLIENT, PORT_NTP, PORT_VXLAN)
_DHCP_MESSAGES: Final = {
    **{1: "Discover", 2: "Offer", 3: "Request", 4: "Decline", 5: "ACK", 6: "NAK", 7: "Release", 8: "Inform"}
}
_DHCP_COOKIE, _DHCP_FIXED = b"\x63\x82\x53\x63", 236  # RFC 2131, RFC 951
_NTP_MODES: Final = {1: "symmetric", 2: "symmetric", 3: "client", 4: "server", 5: "broadcast", 6: "control"}  # RFC 5905
# The first line of a request or a status (RFC 9112, 7826, 3261), of which the end may be in the next segment.
_REQUEST = re.compile(rb"([A-Z][A-Z_-]{1,15}) +(\S+)(?: +(HTTP|RTSP|SIP|ICAP)/\d(?:\.\d)?)? *(\r?\n|\Z)")
_STATUS = re.compile(rb"(HTTP|RTSP|SIP|ICAP)/\d(?:\.\d)? +\d{3}\b")
_SCHEMES: Final = ((b"rtsp", "RTSP"), (b"sip:", "SIP"), (b"sips:", "SIP"), (b"icap:", "ICAP"))
_HTTP_METHODS: Final = frozenset((b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT"))
_MAX_LINE = 200  # bytes of a first line
_TEXT_BEGINS = np.zeros(256, np.bool_)
_TEXT_BEGINS[ord("A") : ord("Z") + 1] = True
_RECORD_BEGINS = np.zeros(256, np.bool_)
_RECORD_BEGINS[[CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA]] = True


def candidates(batch: Batch, cols: Columns) -> Array:
    """Return the rows that may be of an application protocol, by their ports and first bytes."""
    have, proto = cols["have"], cols["proto"]
    ported = (have & pc.HAVE_PORTS != 0) & (cols["l4"] > 0)
    on_port = np.isin(cols["sport"], _PORTS) | np.isin(cols["dport"], _PORTS)
    mask = ported & on_port & (proto == IPPROTO_UDP)
    segments = np.flatnonzero((have & pc.HAVE_TCP != 0) & ported & (cols["payload"] > 0))
    if len(segments):
        first = _first_bytes(batch, cols, segments)
        begins = _TEXT_BEGINS[first[:, 0]] | (_RECORD_BEGINS[first[:, 0]] & (first[:, 1] == 3))
        dns = (cols["sport"][segments] == PORT_DNS) | (cols["dport"][segments] == PORT_DNS)
        mask[segments[begins | dns]] = True
    return np.flatnonzero(mask)


def _first_bytes(batch: Batch, cols: Columns, rows: Array) -> Array:
    """Return the first two bytes of the payload of TCP segments, as an array of two columns."""
    window = HeaderWindow(batch.buf)
    at = batch.off[rows].astype(np.int64) + cols["l4"][rows]
    size = window.at(at + 12, np.dtype([("v", "u1")]))["v"].astype(np.int64) >> 4
    pair: Array = window.at(at + size * 4, np.dtype([("v", "u1", (2,))]))["v"]
    return pair


def application(proto: int, ports: tuple[int, int], data: bytes, size: int) -> tuple[str, str] | None:
    """Return the protocol and the info of a payload of `size` bytes, of which `data` was captured; None: not known."""
    if proto == IPPROTO_UDP:
        return _datagram(ports, data, size)
    return _segment(ports, data) if proto == IPPROTO_TCP else None


def _datagram(ports: tuple[int, int], data: bytes, size: int) -> tuple[str, str] | None:
    if PORT_DNS in ports or PORT_MDNS in ports:
        text = dns_text(data, size)
        return (text and ("MDNS" if PORT_MDNS in ports else "DNS", text)) or None
    if PORT_DHCP in ports or PORT_DHCP_CLIENT in ports:
        return _dhcp(data, size)
    if PORT_NTP in ports and size >= 48 and data and 1 <= data[0] >> 3 & 7 <= 4:
        return "NTP", f"NTPv{data[0] >> 3 & 7} {_NTP_MODES.get(data[0] & 7, '')}".rstrip()
    if ports[1] == PORT_VXLAN and len(data) >= 8 and data[0] & 0x08:
        inner = in_ethernet(data[8:])
        return "VXLAN", f"VNI {int.from_bytes(data[4:7], 'big')}" + (f", {inner}" if inner else "")
    return None


def _segment(ports: tuple[int, int], data: bytes) -> tuple[str, str] | None:
    if PORT_DNS in ports:
        size = int.from_bytes(data[:2], "big")
        text = dns_text(data[2 : 2 + size], size)
        return ("DNS", text) if text is not None and text != "cut off" else None
    if (text := tls_text(data)) is not None:
        return "TLS", text
    if data.startswith((b"SSH-1.", b"SSH-2.")):
        return "SSH", _first_line(data)
    if data.startswith(b"PRI * HTTP/2.0\r\n"):
        return "HTTP2", "connection preface"
    protocol = _text_protocol(data[:_MAX_LINE])
    return (protocol, _first_line(data)) if protocol else None


def _text_protocol(line: bytes) -> str:
    """Return the protocol whose first line this is: its version says so, else the scheme of its target."""
    if status := _STATUS.match(line):
        return status[1].decode()
    request = _REQUEST.match(line)
    if request is None:
        return ""
    if request[3]:
        return request[3].decode()
    scheme = next((name for prefix, name in _SCHEMES if request[2].lower().startswith(prefix)), "")
    return scheme or ("HTTP" if request[1] in _HTTP_METHODS and not request[4] else "")


def _first_line(data: bytes) -> str:
    return clean_bytes(data[:_MAX_LINE].split(b"\n", 1)[0].rstrip(b"\r"))


def _dhcp(data: bytes, size: int) -> tuple[str, str] | None:
    """Return the message type of RFC 2132's option 53; BOOTP without it; None if the fixed part is not there."""
    if size < _DHCP_FIXED or not data or data[0] not in (1, 2):
        return None
    at = _DHCP_FIXED + len(_DHCP_COOKIE)
    dhcp = data[_DHCP_FIXED:at] == _DHCP_COOKIE
    while dhcp and at + 2 < len(data) and data[at] != 255:
        if data[at] == 53:
            return "DHCP", _DHCP_MESSAGES.get(data[at + 2], f"message {data[at + 2]}")
        at += 1 if data[at] == 0 else 2 + data[at + 1]
    return "BOOTP", "Boot Request" if data[0] == 1 else "Boot Reply"
