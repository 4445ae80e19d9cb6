"""The sockets of the current namespace as sock_diag and /proc/net list them, read to the end.

A dump goes on inside the receiver's recv, with the receiver's rights: this one must not be left to the app.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from nettop.broker.reads import message
from nettop.linux import inet
from nettop.linux.netlink import (
    ERRNO,
    NETLINK_SOCK_DIAG,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_HDRLEN,
    messages,
)
from nettop.linux.socket import AF_INET, AF_INET6, SOCK_DIAG_BY_FAMILY

_PROTOCOLS = (inet.IPPROTO_TCP, inet.IPPROTO_UDP, inet.IPPROTO_SCTP, inet.IPPROTO_UDPLITE)
# linux/inet_diag.h: struct inet_diag_req_v2 (family protocol ext pad states, then struct inet_diag_sockid)
_REQUEST = struct.Struct("=BBBxI48x")
# struct inet_diag_msg: family state sport dport src dst, then from idiag_if on: uid inode
_WHO = struct.Struct("!BBxxHH16s16s")
_WHOSE = struct.Struct("=24xII")
_SIZE = 16 + _WHO.size + _WHOSE.size
# A socket in TIME_WAIT or SYN_RECV has no process (any more, yet).
_STATES = 0xFFFF & ~(1 << inet.TCP_TIME_WAIT | 1 << inet.TCP_SYN_RECV | 1 << inet.TCP_NEW_SYN_RECV)
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
_NET = "/proc/thread-self/net"
# Files of sockets sock_diag does not list everywhere: name, family, protocol (None: it stands where the port does)
_FILES = (
    ("raw", AF_INET, None),
    ("raw6", AF_INET6, None),
    ("icmp", AF_INET, inet.IPPROTO_ICMP),
    ("icmp6", AF_INET6, inet.IPPROTO_ICMPV6),
)


class Socket(NamedTuple):
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


def sockets() -> list[Socket]:
    """Return the internet sockets of the current namespace but those without a process by nature. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as sock:
        dumped = [one for family in (AF_INET, AF_INET6) for proto in _PROTOCOLS for one in _dump(sock, family, proto)]
    return dumped + [one for name, family, proto in _FILES for one in _listed(name, family, proto)]


def _dump(sock: socket.socket, family: int, proto: int) -> Iterator[Socket]:
    request = _REQUEST.pack(family, proto, 0, _STATES)
    sock.sendto(message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, request), (0, 0))
    while True:
        datagram = sock.recv(1 << 18)
        for kind, first, last in messages(datagram):
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                number = -ERRNO(datagram, first + NLMSG_HDRLEN)[0]
                if number == errno.ENOENT:  # the kernel has no such protocol
                    return
                raise OSError(number, os.strerror(number), "sock_diag")
            if last - first >= _SIZE:
                yield _socket(proto, datagram, first + NLMSG_HDRLEN)


def _socket(proto: int, datagram: bytes, at: int) -> Socket:
    family, state, sport, dport, src, dst = _WHO.unpack_from(datagram, at)
    uid, inode = _WHOSE.unpack_from(datagram, at + _WHO.size)
    family, local, remote = _addresses(family, src, dst)
    return Socket(family, proto, local, sport, remote, dport, state, uid, inode)


def _addresses(family: int, src: bytes, dst: bytes) -> tuple[int, str, str]:
    """Return the family of the packets, and both addresses as text."""
    if family == AF_INET:
        src, dst = src[:4], dst[:4]
    elif src.startswith(_MAPPED):
        family, src, dst = AF_INET, src[12:], dst[12:]
    return family, socket.inet_ntop(family, src), socket.inet_ntop(family, dst)


def _listed(name: str, family: int, proto: int | None) -> Iterator[Socket]:
    """Yield the sockets of a file of /proc/net: sl local rem st tx:rx tr:tm retrnsmt uid timeout inode ….

    Of a raw socket the local port is its protocol, of a ping socket its id.
    """
    with suppress(FileNotFoundError), open(f"{_NET}/{name}", encoding="ascii") as lines:
        next(lines, "")
        for line in lines:
            word = line.split()
            (src, number), (dst, _) = _endpoint(word[1]), _endpoint(word[2])
            found, local, remote = _addresses(family, src, dst)
            lport = 0 if proto is None else number
            state, uid, inode = int(word[3], 16), int(word[7]), int(word[9])
            yield Socket(found, number if proto is None else proto, local, lport, remote, 0, state, uid, inode)


def _endpoint(text: str) -> tuple[bytes, int]:
    """Address (its 32-bit words are printed in host order) and port of "0100007F:0035"."""
    address, _, port = text.partition(":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return struct.pack(f"={len(words)}I", *words), int(port, 16)
