"""The values of the parameters of devices, each from the bytes of its attribute (`ip -d -j link`)."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from nettop.linux.netlink import attributes

Read = Callable[[bytes], str]
Field = tuple[int, str, Read]  # the attribute's type, the name, and its value


def number(raw: bytes) -> str:
    """Return a number in host order, of any size."""
    return str(int.from_bytes(raw[:8], sys.byteorder))


def network(raw: bytes) -> str:
    """Return a number in network order."""
    return str(int.from_bytes(raw[:8], "big"))


def hexadecimal(raw: bytes) -> str:
    """Return a number as printf("%#x") does."""
    value = int.from_bytes(raw[:8], sys.byteorder)
    return f"{value:#x}" if value else "0"


def label(raw: bytes) -> str:
    """Return a flow label."""
    return f"{int.from_bytes(raw[:4], 'big'):#x}"


def switch(raw: bytes) -> str:
    """Return on or off."""
    return "on" if any(raw) else "off"


def present(raw: bytes) -> str:
    """Return on: the attribute has no value."""
    return "on"


def unless_zero(read: Read) -> Read:
    """Return the reader of a parameter that ip(8) prints only where it is set."""
    return lambda raw: read(raw) if any(raw) else ""


def address(raw: bytes) -> str:
    """Return an IP address; "" for another length."""
    return {4: IPv4Address, 16: IPv6Address}[len(raw)](raw).compressed if len(raw) in (4, 16) else ""


def _is_multicast(raw: bytes) -> bool:
    return raw[0] >> 4 == 0xE if len(raw) == 4 else raw[:1] == b"\xff"


def group(raw: bytes) -> str:
    """Return a multicast address, "" for another one."""
    return address(raw) if any(raw) and _is_multicast(raw) else ""


def remote(raw: bytes) -> str:
    """Return a unicast address, "" for another one."""
    return address(raw) if any(raw) and not _is_multicast(raw) else ""


def mac(raw: bytes) -> str:
    """Return a MAC address."""
    return raw[:32].hex(":")


def bridge_id(raw: bytes) -> str:
    """Return priority and MAC of a bridge."""
    return f"{raw[:2].hex()}.{mac(raw[2:8])}"


def ports(raw: bytes) -> str:
    """Return a range of ports."""
    return f"{int.from_bytes(raw[:2], 'big')}-{int.from_bytes(raw[2:4], 'big')}"


def ethertype(raw: bytes) -> str:
    """Return the name of the protocol of a VLAN tag, or its number."""
    return {0x8100: "802.1Q", 0x88A8: "802.1ad"}.get(int.from_bytes(raw[:2], "big"), f"0x{raw[:2].hex()}")


def words(*words: str) -> Read:
    """Return the reader of an enumeration from 0 on."""
    return named(dict(enumerate(words)))


def named(words: Mapping[int, str]) -> Read:
    """Return the reader of an enumeration."""
    return lambda raw: words.get(int.from_bytes(raw[:8], sys.byteorder), number(raw))


def flags(words: Mapping[int, str], none: str = "") -> Read:
    """Return the reader of a set of bits, in the first 32 bits."""

    def read(raw: bytes) -> str:
        value = int.from_bytes(raw[:4], sys.byteorder)
        return " ".join(word for bit, word in words.items() if value & bit) or none

    return read


def ttl(raw: bytes) -> str:
    """Return a TTL; 0 is that of the packet inside."""
    return "inherit" if not any(raw) else number(raw)


def _members(raw: bytes) -> Iterator[bytes]:
    return (raw[first:last] for _, first, last in attributes(raw, 0, len(raw)))


def macs(raw: bytes) -> str:
    """Return a list of MAC addresses."""
    return " ".join(map(mac, _members(raw)))


def addresses(raw: bytes) -> str:
    """Return a list of IP addresses."""
    return ",".join(map(address, _members(raw)))


def priorities(raw: bytes) -> str:
    """Return a map of priorities (struct ifla_vlan_qos_mapping): `1:2 3:4`."""
    pairs = (struct.unpack("=2I", one) for one in _members(raw) if len(one) == 8)
    return " ".join(f"{of}:{to}" for of, to in pairs)


def option(bit: int) -> Read:
    """Return the reader of one bit of struct br_boolopt_multi."""
    return lambda raw: str(int.from_bytes(raw[:4], sys.byteorder) >> bit & 1)
