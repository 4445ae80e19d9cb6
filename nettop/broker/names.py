"""One look-up of a name, in a child of the broker: the app itself cannot use the network."""

from __future__ import annotations

import ipaddress
import socket

from nettop.broker.children import write_out
from nettop.broker.requests import ResolveName
from nettop.linux.inet import IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP

SECONDS = 12.0  # a name server that does not answer is asked twice, for five seconds
MAX_NAME = 1024  # bytes
_PROTOCOLS = {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp", IPPROTO_SCTP: "sctp", IPPROTO_DCCP: "dccp"}


def lookup(query: ResolveName) -> str | None:
    """Return the name of an address (gethostbyaddr) or of a protocol and port (getservbyport); None: it has none."""
    try:
        if query.address:
            address = str(ipaddress.ip_address(query.address))  # a host name would be resolved to its address
            return socket.gethostbyaddr(address)[0]
        name = _PROTOCOLS.get(query.proto)
        return None if name is None else socket.getservbyport(query.port, name)
    except (OSError, ValueError, OverflowError):  # ValueError: the name is not UTF-8
        return None


def print_name(query: ResolveName) -> None:
    """Write the name to stdout; nothing: there is none."""
    write_out((lookup(query) or "").encode(errors="replace")[:MAX_NAME])
