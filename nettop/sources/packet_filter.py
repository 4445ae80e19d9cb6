"""libpcap's filter run in this process, for programs that the kernel refuses (pcap_offline_filter(3PCAP))."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from nettop.broker.capture_filter import libpcap
from nettop.broker.capture_filter.words import tokens
from nettop.linux.packet import TP_STATUS_VLAN_VALID
from nettop.sources.tpacket import Frames

_MACS, _TAG = 12, 4  # bytes: the two addresses before the tag; the tag


class PacketFilter:
    """A capture filter. FilterError if it needs the kernel, as `inbound`.

    As in the kernel, an expression without `vlan` sees a frame without the tag that the kernel had taken out of it.
    """

    def __init__(self, linktype: int, expression: str, snaplen: int) -> None:
        program = libpcap.compile_program(linktype, expression, snaplen)
        self._program = ctypes.create_string_buffer(program, len(program))
        self._run = libpcap.bpf_filter()
        self._sees_tags = any(token.text == "vlan" for token in tokens(expression))

    def accepted(self, block: bytearray, frames: Frames) -> NDArray[np.bool_]:
        """Return a mask of the frames that match. About a microsecond for each."""
        base, run, program = np.frombuffer(block, np.uint8).ctypes.data, self._run, self._program
        each = frames.off, frames.wirelen, frames.caplen
        rows = zip(*(column.tolist() for column in each), strict=True)
        found = np.array([run(program, base + off, wirelen, caplen) != 0 for off, wirelen, caplen in rows], np.bool_)
        if not self._sees_tags:
            for row in np.flatnonzero(frames.status & TP_STATUS_VLAN_VALID).tolist():
                found[row] = self._accepts_untagged(block, *(int(column[row]) for column in each))
        return found

    def _accepts_untagged(self, block: bytearray, off: int, wirelen: int, caplen: int) -> bool:
        frame = block[off : off + _MACS] + block[off + _MACS + _TAG : off + caplen]
        start = np.frombuffer(frame, np.uint8).ctypes.data
        return self._run(self._program, start, wirelen - _TAG, len(frame)) != 0
