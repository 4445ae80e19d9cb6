"""The machine's floor: `python -m tests.bench.bare dump|pyroute2|listen SECONDS`, inside a namespace. Prints JSON."""

from __future__ import annotations

import errno
import json
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from nettop.linux.netlink import NETLINK_NETFILTER

_RECEIVE = 1 << 16
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_SO_MEMINFO, _DROPS = 55, 8  # asm-generic/socket.h; SK_MEMINFO_DROPS of linux/sock_diag.h
# struct nlmsghdr and nfgenmsg: NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, AF_UNSPEC
_DUMP = struct.pack("=IHHII4x", 20, 1 << 8 | 1, 0x301, 1, 0)
_NLMSG_DONE = 3
_SILENCE_S = 0.7
_GROUPS = (1, 2, 3)  # linux/netfilter/nfnetlink_compat.h NFNLGRP_CONNTRACK_*
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP = 270, 1


def dump() -> dict[str, float]:
    """Receive a whole conntrack dump and look at nothing but its end."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        buffer = bytearray(_RECEIVE)
        began = time.perf_counter()
        sock.sendto(_DUMP, (0, 0))
        size = 0
        while not _is_done(buffer, length := sock.recv_into(buffer)):
            size += length
        return {"seconds": time.perf_counter() - began, "bytes": size}


def _is_done(buffer: bytearray, length: int) -> bool:
    """NLMSG_DONE is the last message of the last datagram."""
    return struct.unpack_from("=IH", buffer, length - 20) == (20, _NLMSG_DONE)


def pyroute2() -> dict[str, float]:
    """pyroute2's dump of the table (IPv4, its default)."""
    from pyroute2 import NFCTSocket

    with NFCTSocket() as sock:
        began = time.perf_counter()
        count = sum(1 for _ in sock.dump())
        return {"seconds": time.perf_counter() - began, "flows": count}


def listen() -> dict[str, float]:
    """Receive conntrack events, a recv each, until none came for a while; how many came and how many were lost."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as sock:
        for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):
            with suppress(PermissionError):  # the second needs root outside of user namespaces
                sock.setsockopt(socket.SOL_SOCKET, option, 128 << 20)
        sock.bind((0, 0))
        for group in _GROUPS:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        buffer, count = bytearray(_RECEIVE), 0
        sock.settimeout(30)
        try:
            while True:
                try:
                    sock.recv_into(buffer)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    continue
                count += 1
                if count == 1:
                    sock.settimeout(_SILENCE_S)
        except TimeoutError:
            drops = struct.unpack("=9I", sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))[_DROPS]
            return {"events": count, "lost": drops}


WORKS: dict[str, Callable[[], dict[str, float]]] = {"dump": dump, "pyroute2": pyroute2, "listen": listen}

if __name__ == "__main__":
    print(json.dumps(WORKS[sys.argv[1]]()))
