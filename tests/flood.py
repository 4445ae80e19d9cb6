"""`python -m tests.flood COUNT [RATE]`: UDP packets, each a new flow, at a rate: sendmmsg over arrays made by NumPy.

Packet i goes to FIRST + i // PORTS, port 1000 + i % PORTS, from port 5555. Prints how long it took.
"""

from __future__ import annotations

import ctypes
import socket
import sys
import time
from dataclasses import dataclass

import numpy as np

FIRST = 0x0A80_0000  # 10.128.0.0
PORTS = 50
SOURCE_PORT = 5555
BURST = 64
PAYLOAD = 18

# struct sockaddr_in (netinet/in.h) and struct mmsghdr (sys/socket.h) of 64-bit Linux
SOCKADDR = np.dtype([("family", "<u2"), ("port", ">u2"), ("address", ">u4"), ("zero", "V8")])
_MSGHDR = [("name", "<u8"), ("namelen", "<u4"), ("pad", "<u4"), ("iov", "<u8"), ("iovlen", "<u8")]
_MSGHDR_END = [("control", "<u8"), ("controllen", "<u8"), ("flags", "<i4"), ("pad2", "<u4")]
MMSGHDR = np.dtype([*_MSGHDR, *_MSGHDR_END, ("len", "<u4"), ("pad3", "<u4")])
IOVEC = np.dtype([("base", "<u8"), ("len", "<u8")])

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Messages:
    """The prepared headers and everything they point at."""

    headers: np.ndarray  # MMSGHDR[count]
    keep: tuple[np.ndarray, ...]


def prepare(count: int, first: int = FIRST) -> Messages:
    """`count` messages to `count` different address and port pairs."""
    index = np.arange(count)
    names = np.zeros(count, SOCKADDR)
    names["family"], names["port"], names["address"] = socket.AF_INET, 1000 + index % PORTS, first + index // PORTS
    payload = np.frombuffer(b"nettop flood     \n"[:PAYLOAD], np.uint8).copy()
    iov = np.zeros(1, IOVEC)
    iov["base"], iov["len"] = payload.ctypes.data, len(payload)
    headers = np.zeros(count, MMSGHDR)
    headers["name"], headers["namelen"] = names.ctypes.data + index * SOCKADDR.itemsize, SOCKADDR.itemsize
    headers["iov"], headers["iovlen"] = iov.ctypes.data, 1
    return Messages(headers, (names, payload, iov))


def send(messages: Messages, rate: float = 0) -> float:
    """Send them all, at `rate` a second (0: as fast as it goes); returns the seconds it took."""
    headers = messages.headers
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
        out.bind(("", SOURCE_PORT))
        began = time.perf_counter()
        sent = 0
        while sent < len(headers):
            burst = min(BURST, len(headers) - sent)
            pointer = ctypes.c_void_p(headers.ctypes.data + sent * MMSGHDR.itemsize)
            done = _libc.sendmmsg(out.fileno(), pointer, burst, 0)
            if done < 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            sent += done
            while rate and (time.perf_counter() - began) * rate < sent:
                pass  # pacing finer than a timer: this process exists to load the kernel
        return time.perf_counter() - began


def main() -> None:
    """COUNT [RATE]"""
    count = int(sys.argv[1])
    took = send(prepare(count), float(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"{count} in {took:.2f} s = {count / took:.0f}/s")


if __name__ == "__main__":
    main()
