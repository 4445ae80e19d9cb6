"""The elements of a set that hold what a person asks for: an address, a network, a port, a device, or several."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network

import numpy as np

from nettop.decode.ipset import IpSetElement, Network
from nettop.decode.nftables.elements import Elements
from nettop.decode.nftables.keys import IFNAME, IPV4_ADDR, IPV6_ADDR, SERVICE, parts_of
from nettop.decode.nftables.sets import NftSet
from nettop.errors import UsageError
from nettop.linux import nf_tables as nft
from nettop.model.filter.fields import Mask

_ADDRESS_OF = {IPV4_ADDR: 4, IPV6_ADDR: 6}
_DEVICE = re.compile(r"[^\s/,]{1,15}")  # a name that the kernel allows (IFNAMSIZ)
_PORTS = re.compile(r"(\d{1,5})-(\d{1,5})")
Value = Network | int | range | str  # of an address, a port, several ports, a device


@dataclass(frozen=True, slots=True)
class Question:
    """The values to look for, in the order of the parts of a key: addresses or networks, ports, devices.

    An element holds them if it holds each in a part of its own; its other parts may be anything.
    """

    values: tuple[Value, ...]
    text: str = ""

    @property
    def of_device(self) -> bool:
        """True if it asks for a device."""
        return any(isinstance(value, str) for value in self.values)


def question(text: str) -> Question:
    """Return the question of `10.0.0.5`, `10.0.0.0/24`, `10.0.0.5 . 443` or `10.0.0.5,443`. UsageError for others."""
    parts = [part.strip() for part in text.replace(" . ", ",").split(",")]
    try:
        return Question(tuple(_value(part) for part in parts), text)
    except ValueError:
        raise UsageError(f"{text!r} is no address", "say 10.0.0.5, 10.0.0.0/8, fd00::1 or 10.0.0.5,443") from None


def device_question(text: str) -> Question | None:
    """Return the question of the name of a device; None: it cannot be one."""
    return Question((text,), text) if _DEVICE.fullmatch(text) else None


def may_hold(asked: Question, of: NftSet) -> bool:
    """Return whether a set has parts of the types of all values."""
    kinds = [kind for kind, _, _ in parts_of(of.key_type, of.key_length)]
    return all(any(_span(value, kind, 16) is not None for kind in kinds) for value in asked.values)


def _value(part: str) -> Network | int | range:
    if ports := _PORTS.fullmatch(part):
        first, last = map(int, ports.groups())
        if first <= last <= 0xFFFF:
            return range(first, last + 1)
    if part.isascii() and part.isdigit():
        if int(part) > 0xFFFF:
            raise ValueError
        return int(part)
    return ip_network(part, strict=False)


def holding(asked: Question, of: NftSet, elements: Elements) -> Mask:
    """Return true for the elements (of members.closed) that hold all values: a catch-all does, intervals too."""
    ends = elements.flags & nft.NFT_SET_ELEM_INTERVAL_END == 0
    catchall = elements.flags & nft.NFT_SET_ELEM_CATCHALL != 0
    parts = parts_of(of.key_type, elements.keys.shape[1])
    # of every element: the part from which the next value may be found; beyond the last: it does not hold them
    free = np.zeros(len(elements), np.int64)
    for value in asked.values:
        found = np.full(len(elements), len(parts) + 1, np.int64)
        for number, (kind, at, size) in reversed(list(enumerate(parts))):
            if (span := _span(value, kind, size)) is not None:
                cells = slice(at, at + size)
                low, high = span[::-1] if isinstance(value, range) else span  # of several ports one is enough
                inside = _at_most(elements.keys[:, cells], low) & _at_least(elements.ends[:, cells], high)
                found[inside & (free <= number)] = number + 1
        free = found
    held: Mask = ends & ((free <= len(parts)) | catchall)
    return held


def _span(value: Value, kind: int, size: int) -> tuple[bytes, bytes] | None:
    """Return the first and last bytes of a value in a part of this type; None: it has no such values."""
    if isinstance(value, str):
        name = value.encode("utf-8", "surrogateescape")[:size].ljust(size, b"\0")
        return (name, name) if kind == IFNAME else None
    if isinstance(value, (int, range)):
        ports = range(value, value + 1) if isinstance(value, int) else value
        return None if kind != SERVICE else (ports[0].to_bytes(size, "big"), ports[-1].to_bytes(size, "big"))
    if _ADDRESS_OF.get(kind) != value.version:
        return None
    return value.network_address.packed, value.broadcast_address.packed


def _at_most(cells: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], value: bytes) -> Mask:
    """Return true for the rows that, as big-endian numbers, are at most the value."""
    found = np.ones(len(cells), np.bool_)
    for column in reversed(range(cells.shape[1])):
        found = (cells[:, column] < value[column]) | ((cells[:, column] == value[column]) & found)
    return found


def _at_least(cells: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], value: bytes) -> Mask:
    return _at_most(~cells, bytes(~byte & 0xFF for byte in value))


def ipset_holds(asked: Question, elements: list[IpSetElement]) -> list[IpSetElement]:
    """Return the elements of an IP set that hold all values; exceptions (nomatch) too, which say so."""
    if asked.of_device:
        return [one for one in elements if {*asked.values} & {*one.text.replace("physdev:", "").split(",")}]
    return [one for one in elements if _holds(asked.values, one.values)]


def _holds(asked: tuple[Value, ...], values: tuple[Network | int, ...]) -> bool:
    rest = iter(values)
    return all(any(_contains(value, want) for value in rest) for want in asked)


def _contains(value: Network | int, want: Value) -> bool:
    if isinstance(want, range):
        return value in want
    if isinstance(value, int) or isinstance(want, (int, str)):
        return value == want
    return value.version == want.version and want.subnet_of(value)  # type: ignore[arg-type]
