"""A question for the route of a packet, in words close to those of `ip route get`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from nettop.broker.requests import RouteQuestion
from nettop.decode.topology.objects import Device
from nettop.errors import UsageError
from nettop.linux.inet import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP
from nettop.linux.socket import AF_INET, AF_INET6
from nettop.text.units import listed

FORM = "to ADDRESS[:PORT] [from ADDRESS] [in DEVICE] [out DEVICE] [mark N] [tos N] [proto P] [sport N] [dport N]"
PROTOCOLS = {"tcp": IPPROTO_TCP, "udp": IPPROTO_UDP, "icmp": IPPROTO_ICMP, "ipv6-icmp": IPPROTO_ICMPV6}
_WORDS = {
    "to": "destination", "from": "source", "in": "in_device", "iif": "in_device", "dev": "in_device",
    "out": "out_device", "oif": "out_device", "mark": "mark", "fwmark": "mark", "tos": "tos", "dsfield": "tos",
    "proto": "proto", "ipproto": "proto", "sport": "sport", "dport": "dport", "uid": "uid",
}  # fmt: skip
_HIGHEST = {"mark": 0xFFFF_FFFF, "tos": 0xFF, "proto": 0xFF, "sport": 0xFFFF, "dport": 0xFFFF, "uid": 0xFFFF_FFFE}


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """A packet whose route is asked. Without `in_device` this host makes it; 0 and None: not given."""

    destination: IPv4Address | IPv6Address
    source: IPv4Address | IPv6Address | None = None
    in_device: str = ""
    out_device: str = ""
    mark: int = 0
    tos: int = 0
    proto: int = 0
    sport: int = 0
    dport: int = 0
    uid: int | None = None

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return AF_INET if self.destination.version == 4 else AF_INET6


def parse(text: str) -> RouteQuery:
    """Return the query of a text such as FORM. A port without a protocol is one of TCP. UsageError if it is none."""
    words = text.split()
    if words and words[0] not in _WORDS:
        words.insert(0, "to")
    if not words or len(words) % 2:
        raise UsageError(f"route: no value after {words[-1]!r}" if words else "route: no address", FORM)
    found: dict[str, object] = {}
    for word, value in zip(words[::2], words[1::2], strict=True):
        name = _WORDS.get(word)
        if name is None or name in found:
            raise UsageError(f"route: {'a second' if name else 'unknown'} word {word!r}", FORM)
        if name == "destination" and (split := _split_port(value)):
            value, found["dport"] = split
        found[name] = _value(name, value)
    return _checked(found)


def question(query: RouteQuery, devices: Mapping[int, Device]) -> RouteQuestion:
    """Return the question to the kernel. UsageError for a device that is not there."""
    indexes = {device.link.name: ifindex for ifindex, device in devices.items()}
    for name in (query.in_device, query.out_device):
        if name and name not in indexes:
            raise UsageError(f"route: no device {name!r} in this namespace", f"there are {listed([*indexes])}")
    return question_by_index(query, indexes.get(query.in_device, 0), indexes.get(query.out_device, 0))


def question_by_index(query: RouteQuery, iif: int, oif: int) -> RouteQuestion:
    """Return the question with these devices (0: none) in place of those of the query."""
    source = "" if query.source is None else str(query.source)
    rest = query.mark, query.tos, query.proto, query.sport, query.dport, query.uid
    return RouteQuestion(query.family, str(query.destination), source, iif, oif, *rest)


def _split_port(value: str) -> tuple[str, int] | None:
    """Return the address and the port of `10.0.0.1:80` or `[fd00::1]:80`."""
    address, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or (":" in address and not address.startswith("[")):
        return None
    return address.strip("[]"), _number("dport", port)


def _value(name: str, value: str) -> object:
    if name in ("destination", "source"):
        try:
            return ip_address(value.strip("[]").replace("%", "/"))  # a scope would be ignored: `out` gives the device
        except ValueError:
            raise UsageError(f"route: {value!r} is no IPv4 or IPv6 address", FORM) from None
    return value if name.endswith("_device") else _number(name, value)


def _number(name: str, value: str) -> int:
    if name == "proto" and value in PROTOCOLS:
        return PROTOCOLS[value]
    try:
        found = int(value, 0)
    except ValueError:
        found = -1
    if not 0 <= found <= _HIGHEST[name]:
        raise UsageError(f"route: {name} is a number up to {_HIGHEST[name]}, not {value!r}", FORM)
    return found


def _checked(found: dict[str, object]) -> RouteQuery:
    if "destination" not in found:
        raise UsageError("route: no address after `to`", FORM)
    query = RouteQuery(**found)  # type: ignore[arg-type]
    if query.source is None and query.in_device:
        raise UsageError("route: a packet that comes in has a source: `from ADDRESS`", FORM)
    if query.source is not None and query.source.version != query.destination.version:
        raise UsageError("route: one address is IPv4 and the other IPv6", FORM)
    with_port = (query.sport or query.dport) and not query.proto
    return replace(query, proto=IPPROTO_TCP) if with_port else query
