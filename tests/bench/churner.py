"""`python -m tests.bench.churner FLOWS RATE SECONDS`: a table of so many flows, and so many events a second in it.

In a namespace of world.netns: each new flow comes with the deletion of the oldest, so the table stays as large as it
is; half of the events are NEW, half DESTROY. Prints {"flows": …} when the table is full, and what it sent at the end.
"""

from __future__ import annotations

import ctypes
import json
import socket
import struct
import sys
import threading
import time

import numpy as np

from tests.flood import FIRST, MMSGHDR, PORTS, SOURCE_PORT, prepare

TICK_S = 0.01
HOST = 0x0A00_0001  # 10.0.0.1, the address of world.netns
_SOURCE = struct.pack("!I", HOST)
# linux/netfilter/nfnetlink_conntrack.h: IPCTNL_MSG_CT_DELETE with CTA_TUPLE_ORIG { CTA_TUPLE_IP, CTA_TUPLE_PROTO }
_DELETE, _REQUEST = 1 << 8 | 2, 1  # NFNL_SUBSYS_CTNETLINK, NLM_F_REQUEST; no answer is asked for
_NESTED = 0x8000
_HEADER = [("length", "<u4"), ("kind", "<u2"), ("flags", "<u2"), ("sequence", "<u4"), ("port", "<u4"), ("family", "V4")]
_ADDRESSES = [("tuple", "V4"), ("ip", "V4"), ("src", "V8"), ("dst_head", "V4"), ("dst", ">u4")]
_PORTS = [("proto", "V4"), ("number", "V8"), ("sport", "V8"), ("dport_head", "V4"), ("dport", ">u2"), ("pad", "V2")]
MESSAGE = np.dtype([*_HEADER, *_ADDRESSES, *_PORTS])

_libc = ctypes.CDLL(None, use_errno=True)


def deletions(count: int) -> np.ndarray:
    """One request for each flow of tests.flood, by number."""
    index = np.arange(count)
    made = np.zeros(count, MESSAGE)
    made["length"], made["kind"], made["flags"] = MESSAGE.itemsize, _DELETE, _REQUEST
    made["family"] = np.void(bytes([socket.AF_INET, 0, 0, 0]))
    made["tuple"], made["ip"] = _head(52, _NESTED | 1), _head(20, _NESTED | 1)
    made["src"], made["dst_head"], made["dst"] = _head(8, 1, _SOURCE), _head(8, 2), FIRST + index // PORTS
    made["proto"], made["number"] = _head(28, _NESTED | 2), _head(5, 1, bytes([socket.IPPROTO_UDP, 0, 0, 0]))
    made["sport"] = _head(6, 2, struct.pack("!HH", SOURCE_PORT, 0))
    made["dport_head"], made["dport"] = _head(6, 3), 1000 + index % PORTS
    return made


def _head(length: int, kind: int, value: bytes = b"") -> np.void:
    return np.void(struct.pack("=HH", length, kind) + value)


class Churn:
    """A window of flows that moves over twice as many tuples."""

    def __init__(self, flows: int) -> None:
        self._flows, self._of = flows, 2 * flows
        self._new, self._gone = prepare(self._of), deletions(self._of)
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
        self._out.bind(("", SOURCE_PORT))
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self._netlink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self._at = 0

    def fill(self) -> None:
        """The first flows."""
        self._send(self._flows)

    def move(self, count: int) -> None:
        """So many flows more, and as many of the oldest less."""
        oldest = (self._at - self._flows) % self._of
        self._send(count)
        for start, end in self._spans(oldest, count):
            for first in range(start, end, 200):
                self._netlink.send(self._gone[first : min(first + 200, end)].tobytes())

    def _send(self, count: int) -> None:
        for start, end in self._spans(self._at, count):
            while start < end:
                pointer = ctypes.c_void_p(self._new.headers.ctypes.data + start * MMSGHDR.itemsize)
                done = _libc.sendmmsg(self._out.fileno(), pointer, min(64, end - start), 0)
                if done < 0:
                    raise OSError(ctypes.get_errno(), "sendmmsg")
                start += done
        self._at = (self._at + count) % self._of

    def _spans(self, first: int, count: int) -> list[tuple[int, int]]:
        """Runs of numbers from `first` on, around the end of the tuples."""
        if first + count <= self._of:
            return [(first, first + count)]
        return [(first, self._of), (0, first + count - self._of)]


def main(flows: int, rate: int, seconds: float) -> None:
    """Fill the table, then churn it by the clock."""
    churn, pause = Churn(flows), threading.Event()
    churn.fill()
    print(json.dumps({"flows": flows}), flush=True)
    began, moved = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate / 2) - moved
        churn.move(due)
        moved += due
        pause.wait(TICK_S)
    print(json.dumps({"events": 2 * moved, "rate": 2 * moved / (time.monotonic() - began)}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
