"""The titles of protocols, and the info of TCP segments, similar to Wireshark's."""

from __future__ import annotations

from collections.abc import Iterator

from nettop.text.packet import tcp_flag_names

_FLAGS = [f"[{tcp_flag_names(flags)}]" for flags in range(512)]
_TITLES = {"icmpv6": "ICMPv6", "udplite": "UDP-Lite", "ipv6": "IPv6", "ip": "IPv4", "ip6": "IPv6"} | {
    "pppoe": "PPPoE",
    "pppoe-d": "PPPoED",
}
_MSS, _SCALE, _SACK = 2, 3, 4  # kinds of options: RFC 9293, 7323, 2018
_ACK = 16


def protocol_title(name: str | None) -> str:
    """Return the PROTO column's text for a protocol: `TCP`, `ICMPv6`, `ARP`, `–`."""
    if name is None:
        return "–"
    return _TITLES.get(name) or (name if name.startswith("0x") else name.upper())


def tcp_text(flags: int, numbers: tuple[int, int, int], payload: int, options: str) -> str:
    """Return `[SYN] Seq=0 Len=0 Win=64240 MSS=1460 WS=128`; `numbers` are Seq, Ack and Win as shown."""
    seq, ack, window = numbers
    if flags & _ACK:
        return f"{_FLAGS[flags]} Seq={seq} Ack={ack} Len={payload} Win={window}{options}"
    return f"{_FLAGS[flags]} Seq={seq} Len={payload} Win={window}{options}"


def syn_options(header: bytes) -> str:
    """Return ` MSS=1460 WS=128 SACK_PERM` of a TCP header, up to the first option that is cut off."""
    return "".join(f" {text}" for kind, data in _options(header) if (text := _option(kind, data)))


def window_shift(header: bytes) -> int | None:
    """Return the shift of the window that a SYN offers; None without the option (RFC 7323)."""
    return next((data[0] for kind, data in _options(header) if kind == _SCALE and len(data) == 1), None)


def _option(kind: int, data: bytes) -> str:
    if kind == _MSS and len(data) == 2:
        return f"MSS={int.from_bytes(data, 'big')}"
    if kind == _SCALE and len(data) == 1:
        return f"WS={1 << min(data[0], 14)}"
    return "SACK_PERM" if kind == _SACK else ""


def _options(header: bytes) -> Iterator[tuple[int, bytes]]:
    if len(header) < 20:
        return
    at, end = 20, min(len(header), (header[12] >> 4) * 4)
    while at + 1 < end and header[at] != 0:
        kind, size = header[at], header[at + 1]
        if kind == 1:
            at += 1
            continue
        if size < 2 or at + size > end:
            return
        yield kind, header[at + 2 : at + size]
        at += size
