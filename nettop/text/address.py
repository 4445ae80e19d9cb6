"""The text of addresses, given as the two uint64 halves of a column."""

from __future__ import annotations

import ipaddress

from nettop.linux.socket import AF_INET


def ipv4_text(value: int) -> str:
    """Return the dotted quad of a 32-bit integer in host order."""
    return f"{value >> 24 & 255}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def address_text(family: int, hi: int, lo: int) -> str:
    """Return the text of an address: IPv4 from the low 32 bits, IPv6 from both halves (RFC 5952)."""
    if family == AF_INET:
        return ipv4_text(lo)
    return str(ipaddress.IPv6Address(hi << 64 | lo))


def endpoint_text(family: int, hi: int, lo: int, port: int | None) -> str:
    """Return `192.168.1.2:443`, `[fd00::1]:443`, or the address alone if there is no port."""
    address = address_text(family, hi, lo)
    return address if port is None else with_port(address, port)


def with_port(address: str, port: int | str) -> str:
    """Return `192.168.1.2:443` or `[fd00::1]:443`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
