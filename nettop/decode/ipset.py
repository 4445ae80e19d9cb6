"""IP sets and their elements, as the ipset tool prints them (linux/netfilter/ipset/ip_set.h)."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

from nettop.batch import Batch
from nettop.columns import DecodeErrors
from nettop.decode.netlink import read_each
from nettop.linux import ipset
from nettop.linux.netlink import NLMSG_HDRLEN, Attributes, attributes
from nettop.linux.nfnetlink import NFGEN_LENGTH, NFNL_SUBSYS_IPSET, NFPROTO_NAMES
from nettop.text.protocols import NAMES

_LIST = NFNL_SUBSYS_IPSET << 8 | ipset.IPSET_CMD_LIST
_BODY = NLMSG_HDRLEN + NFGEN_LENGTH
_ADDRESS = {"ip": (ipset.IPSET_ATTR_IP, ipset.IPSET_ATTR_CIDR), "2": (ipset.IPSET_ATTR_IP2, ipset.IPSET_ATTR_CIDR2)}
_PORTED = frozenset((6, 17, 33, 132, 136))  # protocols with ports

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class IpSet:
    """One IP set. Names are not safe for a terminal."""

    name: str
    type: str  # hash:net,port
    family: str  # ip, ip6, or "" for a type without addresses
    flags: tuple[str, ...]
    size: int | None  # the largest number of elements
    count: int | None
    timeout_s: int | None  # of elements that have none of their own


@dataclass(frozen=True, slots=True)
class IpSetElement:
    """One element: its parts in the order of the type, as text, and those that are addresses or ports as values."""

    text: str
    values: tuple[Network | int, ...]
    nomatch: bool  # an exception: packets that it matches are not in the set
    packets: int | None
    bytes: int | None
    timeout_s: int | None
    comment: str | None


@dataclass(slots=True)
class IpSetsDecoded:
    """The sets and elements of one batch."""

    sets: list[IpSet] = field(default_factory=list)
    elements: list[IpSetElement] = field(default_factory=list)
    errors: DecodeErrors = field(default_factory=DecodeErrors.none)


def decode_ipsets(batch: Batch) -> IpSetsDecoded:
    """Decode the sets of a batch, and their elements if they were requested. Never raises on bad bytes."""
    out = IpSetsDecoded()

    def read(kind: int, record: int, start: int, end: int) -> None:
        found = Attributes(batch.buf, start + _BODY, end)
        if ipset.IPSET_ATTR_DATA in found:
            out.sets.append(_set(found))
        if ipset.IPSET_ATTR_ADT in found:
            parts = found.text(ipset.IPSET_ATTR_TYPENAME).partition(":")[2].split(",")
            for _, first, last in attributes(batch.buf, *found.span(ipset.IPSET_ATTR_ADT)):
                out.elements.append(_element(Attributes(batch.buf, first, last), parts))

    out.errors = read_each(batch, (_LIST,), read, min_length=_BODY)
    return out


def _set(found: Attributes) -> IpSet:
    data = found.nested(ipset.IPSET_ATTR_DATA)
    bits = data.number(ipset.IPSET_ATTR_CADT_FLAGS) or 0
    return IpSet(
        name=found.text(ipset.IPSET_ATTR_SETNAME),
        type=found.text(ipset.IPSET_ATTR_TYPENAME),
        family=NFPROTO_NAMES.get(found.number(ipset.IPSET_ATTR_FAMILY) or 0, ""),
        flags=tuple(word for bit, word in ipset.IPSET_FLAGS if bits & bit),
        size=data.number(ipset.IPSET_ATTR_MAXELEM) or data.number(ipset.IPSET_ATTR_SIZE),
        count=data.number(ipset.IPSET_ATTR_ELEMENTS),
        timeout_s=data.number(ipset.IPSET_ATTR_TIMEOUT),
    )


def _element(found: Attributes, kinds: list[str]) -> IpSetElement:
    flags = found.number(ipset.IPSET_ATTR_CADT_FLAGS) or 0
    texts: list[str] = []
    values: list[Network | int] = []
    for number, kind in enumerate(kinds):
        if kind in ("ip", "net"):
            again = any(one in ("ip", "net") for one in kinds[:number])
            network = _network(found, *_ADDRESS["2" if again else "ip"])
            texts.append("" if network is None else _address_text(network))
            values += [] if network is None else [network]
        else:
            texts.append(_part(found, kind, flags))
            values += [found.number(ipset.IPSET_ATTR_PORT) or 0] if kind == "port" else []
    return IpSetElement(
        text=",".join(texts),
        values=tuple(values),
        nomatch=bool(flags & ipset.IPSET_FLAG_NOMATCH),
        packets=found.number(ipset.IPSET_ATTR_PACKETS),
        bytes=found.number(ipset.IPSET_ATTR_BYTES),
        timeout_s=found.number(ipset.IPSET_ATTR_TIMEOUT),
        comment=found.text(ipset.IPSET_ATTR_COMMENT) or None,
    )


def _network(found: Attributes, address: int, prefix: int) -> Network | None:
    nested = found.nested(address)
    raw = nested.raw(ipset.IPSET_ATTR_IPADDR_IPV4) or nested.raw(ipset.IPSET_ATTR_IPADDR_IPV6)
    if len(raw) not in (4, 16):
        return None
    bits = found.number(prefix)
    return ip_network((raw, min(8 * len(raw), 8 * len(raw) if bits is None else bits)), strict=False)


def _address_text(network: Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _part(found: Attributes, kind: str, flags: int) -> str:
    """Return a part that is no address."""
    if kind == "port":
        port, proto = found.number(ipset.IPSET_ATTR_PORT) or 0, found.number(ipset.IPSET_ATTR_PROTO)
        return str(port) if proto is None else f"{NAMES.get(proto, proto)}:{_port(port, proto)}"
    if kind == "mark":
        return f"{found.number(ipset.IPSET_ATTR_MARK) or 0:#010x}"
    if kind == "mac":
        return found.raw(ipset.IPSET_ATTR_ETHER).hex(":")
    if kind == "iface":
        return ("physdev:" if flags & ipset.IPSET_FLAG_PHYSDEV else "") + found.text(ipset.IPSET_ATTR_IFACE)
    return found.text(ipset.IPSET_ATTR_NAME)


def _port(port: int, proto: int) -> str:
    return str(port) if proto in _PORTED else f"{port >> 8}/{port & 0xFF}"  # icmp: type and code
