"""The memory layout of a TPACKET_V3 block, and its frames as columns.

Layouts: struct tpacket_block_desc, struct tpacket3_hdr and struct sockaddr_ll of linux/if_packet.h. A block is its
48-byte header, then 8-byte aligned frames, each linked to the next by a relative offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nettop.linux.packet import ETH_P_8021Q, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID

# Of the u32s of a block's header: block_status, num_pkts, offset_to_first_pkt, blk_len.
STATUS_WORD, COUNT_WORD, FIRST_WORD, LENGTH_WORD = 2, 3, 4, 5
_SECONDS = 0  # u64 index in a frame's header: tp_next_offset, tp_sec
_NSEC_SNAPLEN, _LEN_STATUS, _MAC_NET, _VLAN, _LINK = 1, 2, 3, 4, 7  # of these, then of sll_hatype, sll_pkttype
_MACS, _TAG = 12, 4  # bytes: the two addresses before the tag; the tag
_SHORT_RUN = 16  # frames: for a shorter run a guess costs more than it saves
_STRETCH = 512  # frames whose links are then followed


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of one block; arrays of one length. Frame i is block[off[i] : off[i] + caplen[i]]."""

    off: NDArray[np.uint32]
    caplen: NDArray[np.uint32]
    wirelen: NDArray[np.uint32]
    ts_ns: NDArray[np.int64]
    direction: NDArray[np.uint8]  # sll_pkttype
    status: NDArray[np.uint32]  # tp_status

    def __len__(self) -> int:
        return len(self.off)


def frames_of(block: bytearray, snaplen: int, ethernet: bool) -> Frames:
    """Return the frames of a copied block, at most `snaplen` bytes each.

    On Ethernet a VLAN tag that the kernel moved into the header is put back, in place in `block`: TPACKET_ALIGN leaves
    14 bytes before every frame.
    """
    starts = _frame_starts(block)
    longs = np.frombuffer(block, np.uint64)
    begins = _pairs(longs, starts + _SECONDS)
    lengths = _pairs(longs, starts + _NSEC_SNAPLEN)
    totals = _pairs(longs, starts + _LEN_STATUS)
    mac = longs[starts + _MAC_NET].view(np.uint16)[::4]
    off = (starts * 8 + mac).astype(np.uint32)
    caplen, wirelen, status = lengths[:, 1].copy(), totals[:, 0].copy(), totals[:, 1].copy()
    if ethernet:
        _put_back_tags(block, longs, starts, off, caplen, wirelen, status)
    return Frames(
        off,
        np.minimum(caplen, np.uint32(snaplen)),
        wirelen,
        begins[:, 1].astype(np.int64) * 1_000_000_000 + lengths[:, 0],
        longs[starts + _LINK].view(np.uint8)[2::8].copy(),
        status,
    )


def _frame_starts(block: bytearray) -> NDArray[np.intp]:
    """Return the position of each frame's header, in units of 8 bytes, by following tp_next_offset run by run.

    Frames of one size have one stride. A run is guessed to the end of the block, then cut where its own links differ.
    Where frames change size at every step, the links are followed one at a time.
    """
    words = np.frombuffer(block, np.uint32)
    at, remaining = int(words[FIRST_WORD]) >> 2, int(words[COUNT_WORD])
    runs = []
    while remaining:
        step = int(words[at]) >> 2
        run = _equal_steps(words, at, step, remaining) if step else np.array([at])
        if len(run) < _SHORT_RUN:
            run = _followed(block, at, min(remaining, _STRETCH))
        runs.append(run)
        remaining -= len(run)
        at = int(run[-1]) + (int(words[run[-1]]) >> 2)
    return np.concatenate(runs) >> 1 if runs else np.empty(0, np.intp)


def _equal_steps(words: NDArray[np.uint32], at: int, step: int, max_frames: int) -> NDArray[np.intp]:
    """Return the frames from `at` on that have the same distance, and the first one after them."""
    guess = at + step * np.arange(min(max_frames, (len(words) - 1 - at) // step + 1), dtype=np.intp)
    other = np.flatnonzero(words[guess] >> 2 != step)
    return guess if not len(other) else guess[: int(other[0]) + 1]


def _followed(block: bytearray, at: int, count: int) -> NDArray[np.intp]:
    words = memoryview(block).cast("I")
    starts = []
    for _ in range(count):
        starts.append(at)
        at += words[at] >> 2
    return np.array(starts, np.intp)


def _pairs(longs: NDArray[np.uint64], at: NDArray[np.intp]) -> NDArray[np.uint32]:
    return longs[at].view(np.uint32).reshape(-1, 2)


def _put_back_tags(
    block: bytearray,
    longs: NDArray[np.uint64],
    starts: NDArray[np.intp],
    off: NDArray[np.uint32],
    caplen: NDArray[np.uint32],
    wirelen: NDArray[np.uint32],
    status: NDArray[np.uint32],
) -> None:
    """Move the addresses of each tagged frame 4 bytes to the front and write TPID and TCI behind them (IEEE 802.1Q)."""
    rows = np.flatnonzero((status & TP_STATUS_VLAN_VALID) != 0)
    rows = rows[caplen[rows] >= _MACS]
    if not len(rows):
        return
    tci = longs[starts[rows] + _VLAN].view(np.uint16)[::4]
    tpid = longs[starts[rows] + _VLAN].view(np.uint16)[2::4]
    tpid = np.where(status[rows] & TP_STATUS_VLAN_TPID_VALID, tpid, np.uint16(ETH_P_8021Q))
    octets = np.frombuffer(block, np.uint8)
    source = off[rows, None].astype(np.intp) + np.arange(_MACS)
    octets[source - _TAG] = octets[source]
    tag = np.column_stack((tpid, tci)).astype(">u2").view(np.uint8).reshape(-1, _TAG)
    octets[source[:, -_TAG:]] = tag
    off[rows] -= _TAG
    caplen[rows] += _TAG
    wirelen[rows] += _TAG
