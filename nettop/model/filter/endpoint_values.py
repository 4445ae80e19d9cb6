"""The qualifiers of an endpoint, and its values, read as tests. A ValueError's message is for the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nettop.model.filter import values, vocabulary
from nettop.model.filter.byte_nodes import ethertype_node
from nettop.model.filter.nodes import Both, InNet, InPorts, Node


@dataclass(frozen=True, slots=True)
class Qualifiers:
    """The qualifiers of a primitive. A following value without qualifiers inherits them."""

    sides: tuple[str, ...] = ("any",)
    every: bool = False
    type: str = ""  # "": only a direction, followed by an address or a network
    protocol: tuple[Node, ...] = ()


def _host(text: str) -> InNet | InPorts | Both:
    """Read an address, a network, or either with a port."""
    pair = values.with_port(text) if text.count(":") == 1 or text.startswith("[") else None
    if pair is None:
        return InNet(values.net(text) if "/" in text else values.address(text))
    host, number = pair
    ports = InPorts(number, number)
    return ports if host is None else Both(InNet(host), ports)


def ethertype(text: str) -> Node:
    """Read a number or a name after `ether proto`."""
    number = vocabulary.ETHERTYPES.get(text.lstrip("\\").lower())
    if number is None and (not text[:1].isdigit() or values.integer(text) > 0xFFFF):
        names = ", ".join(vocabulary.ETHERTYPES)
        raise ValueError(f"“{text}” is no protocol of Ethernet; say a number up to 0xffff, or {names}")
    return ethertype_node(values.integer(text) if number is None else number)


def _ports(text: str) -> InPorts:
    return InPorts(*values.portrange(text))


ENDPOINT_TESTS: Final[dict[str, Callable[[str], InNet | InPorts | Both]]] = {
    "": _host,
    "host": _host,
    "net": lambda text: InNet(values.net(text)),
    "port": _ports,
    "portrange": _ports,
}
