"""Values in a filter: addresses, networks, ports, sizes, durations, numbers. A ValueError's message is for the user."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from nettop.linux.socket import AF_INET, AF_INET6

_PREFIX = re.compile(r"\d{1,3}(\.\d{1,3}){0,3}", re.ASCII)
_WITH_PORT = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:]*)):(?P<port>[^:]*)")
_MAC = re.compile(r"[0-9a-f]{1,2}([:.-])[0-9a-f]{1,2}(\1[0-9a-f]{1,2}){4}|([0-9a-f]{4}\.){2}[0-9a-f]{4}", re.I | re.A)
_U64 = (1 << 64) - 1

SERVICES = {  # the common names of /etc/services: a lookup there would depend on the host
    "ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68,
    "tftp": 69, "http": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "ntp": 123, "imap": 143, "snmp": 161,
    "bgp": 179, "ldap": 389, "https": 443, "isakmp": 500, "syslog": 514, "submission": 587, "ldaps": 636,
    "imaps": 993, "pop3s": 995, "openvpn": 1194, "nfs": 2049, "mysql": 3306, "rdp": 3389, "sip": 5060, "mdns": 5353,
    "postgresql": 5432, "redis": 6379,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Net:
    """A network, or a host with a full mask: integers in host order, IPv4 in the low 32 bits."""

    family: int
    address: int
    mask: int


def address(text: str) -> Net:
    """Read an IPv4 or IPv6 address. A name is refused: a filter never queries the DNS."""
    text = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" in text:
        raise ValueError(f"“{text}”: an address here has no zone index")
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        if _MAC.fullmatch(text):
            raise ValueError(f"“{text}” is a MAC address: say ether host {text}") from None
        reason = "" if ":" in text or not text[:1].isalpha() else ": names are not looked up, give the host's address"
        raise ValueError(f"“{text}” is not an address{reason}") from None
    full = (1 << parsed.max_prefixlen) - 1
    return Net(AF_INET if parsed.version == 4 else AF_INET6, int(parsed), full)


def mac(text: str) -> int:
    """Read a MAC address: 02:00:5e:00:00:01, with `-` or `.` instead of `:`, or 0200.5e00.0001, as pcap-filter does."""
    if _MAC.fullmatch(text) is None:
        raise ValueError(f"“{text}” is not a MAC address (02:00:5e:00:00:01)")
    parts = re.split("[:.-]", text)
    return int("".join(part.zfill(4 if len(parts) == 3 else 2) for part in parts), 16)


def net(text: str) -> Net:
    """Read `10`, `10.1`, `10.1/16`, `192.168.1.0/24`, `fd00::/8`, or an address; host bits are dropped."""
    base, slash, length = text.partition("/")
    if _PREFIX.fullmatch(base):
        octets = [int(octet) for octet in base.split(".")]
        if max(octets) > 255:
            raise ValueError(f"“{text}”: an octet is at most 255")
        bits = 8 * len(octets)
        whole = Net(AF_INET, int.from_bytes(bytes(octets + [0] * (4 - len(octets))), "big"), 0xFFFFFFFF)
    else:
        whole = address(base)
        bits = whole.mask.bit_length()
    if slash:
        bits = _prefix_length(text, length, whole.mask.bit_length())
    return _masked(whole, bits)


def netmask(base: str, mask: str) -> Net:
    """Read `net A mask M`: IPv4 only, as in pcap-filter; the mask need not be contiguous."""
    one, two = net(base), address(mask)
    if "/" in base or one.family != AF_INET or two.family != AF_INET:
        raise ValueError(f"“{mask}”: a mask goes with an IPv4 network; else say NET/N")
    return Net(AF_INET, one.address & two.address, two.address)


def with_port(text: str) -> tuple[Net | None, int] | None:
    """Read `:443`, `10.0.0.1:443`, `[fd00::1]:443` as (address or None, port); None if the text is none of these."""
    match = _WITH_PORT.fullmatch(text)
    if match is None:
        return None
    host = match["six"] if match["six"] is not None else match["four"]
    return (address(host) if host else None), port(match["port"])


def looks_like_address(text: str) -> bool:
    """Return whether a text looks like an address, a network or an address with a port."""
    if text.startswith((":", "[")) or text.count(":") > 1:
        return True
    base = re.split("[:/]", text, maxsplit=1)[0]
    return bool(_PREFIX.fullmatch(base)) and ("." in base or base != text)


def port(text: str) -> int:
    """Read a port number or the name of a well-known service."""
    if text.lower() in SERVICES:
        return SERVICES[text.lower()]
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > 65535:
        raise ValueError(f"“{text}” is not a port (0–65535, or a well-known service)")
    return int(text)


def portrange(text: str) -> tuple[int, int]:
    """Read `8000-8080` or a single port as (first, last)."""
    if text.lower() in SERVICES or "-" not in text.lstrip("-"):
        return port(text), port(text)
    first, _, last = text.partition("-")
    low, high = port(first), port(last)
    return min(low, high), max(low, high)


def integer(text: str) -> int:
    """Read a decimal or 0x hexadecimal number of at most 64 bits."""
    try:
        value = int(text, 16 if text.lower().startswith("0x") else 10) if len(text) <= 24 else -1
    except ValueError:
        value = -1
    if not 0 <= value <= _U64 or not text.isascii():
        raise ValueError(f"“{text}” is not a number (decimal or 0x…)")
    return value


def masked(text: str) -> tuple[int, int]:
    """Read `0x1/0xff` as (value, mask); without a mask all bits are compared."""
    value, slash, mask = text.partition("/")
    return integer(value), integer(mask) if slash else _U64


def _prefix_length(text: str, length: str, maximum: int) -> int:
    if not length.isascii() or not length.isdigit() or len(length) > 3 or int(length) > maximum:
        raise ValueError(f"“{text}”: the prefix length is 0 to {maximum}")
    return int(length)


def _masked(whole: Net, bits: int) -> Net:
    width = whole.mask.bit_length()
    mask = whole.mask >> (width - bits) << (width - bits)
    return Net(whole.family, whole.address & mask, mask)
