"""The sockets of the current namespace as sock_diag and /proc/net list them, read to the end.

The kernel continues a dump inside the receiver's recv, with the receiver's rights: the app must not receive it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from nettop.broker.reads import DUMP, answers, message
from nettop.linux import inet
from nettop.linux import netlink as nl
from nettop.linux.socket import AF_INET, AF_INET6, SOCK_DIAG_BY_FAMILY

_PROTOCOLS = (inet.IPPROTO_TCP, inet.IPPROTO_UDP, inet.IPPROTO_SCTP, inet.IPPROTO_UDPLITE)
# linux/inet_diag.h: struct inet_diag_req_v2 (family protocol ext pad states, then struct inet_diag_sockid)
_REQUEST = struct.Struct("=BBBxI48x")
# struct inet_diag_msg: family state sport dport src dst, then from idiag_if on: uid inode
_INET_DIAG_HEAD = struct.Struct("!BBxxHH16s16s")
_UID_INODE = struct.Struct("=24xII")
_SIZE = 16 + _INET_DIAG_HEAD.size + _UID_INODE.size
# A socket in TIME_WAIT or SYN_RECV has no process (any more, yet).
_STATES = 0xFFFF & ~(1 << inet.TCP_TIME_WAIT | 1 << inet.TCP_SYN_RECV | 1 << inet.TCP_NEW_SYN_RECV)
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
_PROC_NET = "/proc/thread-self/net"
# Files of sockets sock_diag does not list everywhere: name, family, protocol (None: it is in the place of the port)
_PROC_FILES = (
    ("raw", AF_INET, None),
    ("raw6", AF_INET6, None),
    ("icmp", AF_INET, inet.IPPROTO_ICMP),
    ("icmp6", AF_INET6, inet.IPPROTO_ICMPV6),
)


class InetSocket(NamedTuple):
    """One socket; addresses as text, v4-mapped ones as IPv4 (with family 2). `lport` of ICMP is the id."""

    family: int
    proto: int
    local: str
    lport: int
    remote: str
    rport: int
    state: int
    uid: int
    inode: int


def sockets() -> list[InetSocket]:
    """Return the internet sockets of the current namespace, except in states without a process. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, nl.NETLINK_SOCK_DIAG) as sock:
        dumped = [
            entry for family in (AF_INET, AF_INET6) for proto in _PROTOCOLS for entry in _dump(sock, family, proto)
        ]
    return dumped + [entry for name, family, proto in _PROC_FILES for entry in _read_proc_file(name, family, proto)]


def _dump(sock: socket.socket, family: int, proto: int) -> Iterator[InetSocket]:
    request = message(SOCK_DIAG_BY_FAMILY, DUMP, 1, _REQUEST.pack(family, proto, 0, _STATES))
    for kind, datagram, first, last in answers(sock, request):
        if kind == nl.NLMSG_ERROR:
            number = -nl.ERRNO(datagram, first + nl.NLMSG_HDRLEN)[0]
            if number != errno.ENOENT:  # else the kernel has no such protocol
                raise OSError(number, os.strerror(number), "sock_diag")
        elif last - first >= _SIZE:
            yield _socket(proto, datagram, first + nl.NLMSG_HDRLEN)


def _socket(proto: int, datagram: bytes, at: int) -> InetSocket:
    family, state, sport, dport, src, dst = _INET_DIAG_HEAD.unpack_from(datagram, at)
    uid, inode = _UID_INODE.unpack_from(datagram, at + _INET_DIAG_HEAD.size)
    family, local, remote = _addresses(family, src, dst)
    return InetSocket(family, proto, local, sport, remote, dport, state, uid, inode)


def _addresses(family: int, src: bytes, dst: bytes) -> tuple[int, str, str]:
    """Return the family of the packets, and both addresses as text."""
    if family == AF_INET:
        src, dst = src[:4], dst[:4]
    elif src.startswith(_MAPPED):
        family, src, dst = AF_INET, src[12:], dst[12:]
    return family, socket.inet_ntop(family, src), socket.inet_ntop(family, dst)


def _read_proc_file(name: str, family: int, proto: int | None) -> Iterator[InetSocket]:
    """Yield the sockets of a file of /proc/net: sl local rem st tx:rx tr:tm retrnsmt uid timeout inode ….

    Of a raw socket the local port is its protocol, of a ping socket its id.
    """
    with suppress(FileNotFoundError), open(f"{_PROC_NET}/{name}", encoding="ascii") as lines:
        next(lines, "")
        for line in lines:
            columns = line.split()
            (src, number), (dst, _) = _endpoint(columns[1]), _endpoint(columns[2])
            packet_family, local, remote = _addresses(family, src, dst)
            lport = 0 if proto is None else number
            state, uid, inode = int(columns[3], 16), int(columns[7]), int(columns[9])
            yield InetSocket(
                packet_family, number if proto is None else proto, local, lport, remote, 0, state, uid, inode
            )


def _endpoint(text: str) -> tuple[bytes, int]:
    """Return the address (its 32-bit words are printed in host order) and port of "0100007F:0035"."""
    address, _, port = text.partition(":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return struct.pack(f"={len(words)}I", *words), int(port, 16)
